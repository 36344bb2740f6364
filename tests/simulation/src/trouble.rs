//! What goes wrong comes about here, and what was broken is mended.

use gitops::api::control::Request;
use gitops_agent::host::Observation;
use jiff::SignedDuration;

use crate::agent::{Disk, Machine};
use crate::daemon::HEARTBEAT;
use crate::docker::Edit;
use crate::network::Line;
use crate::plot::Trouble;
use crate::repository::Shape;
use crate::witness::Fact;
use crate::world::{Happening, World};

impl World {
    /// Something of the plot comes about.
    pub(crate) fn befall(&mut self, trouble: Trouble) {
        let daemons = self.daemons.len();
        let machines = self.plot.nodes;
        match trouble.clone() {
            Trouble::Push => self.push(),
            Trouble::ForcePush(back) => {
                let shape = self.git.head().shape.next(&mut self.people);
                self.git.force_push(back, shape);
                self.committed();
            }
            Trouble::Accept(daemon) => {
                self.operate(daemon % daemons, Request::Sync { accept_rewind: true, plan: None });
            }
            Trouble::GitDown(time) => {
                self.git.is_down = true;
                self.mend_after(time, trouble);
            }
            Trouble::GitBehind(commits, time) => {
                self.git.behind = commits;
                self.mend_after(time, trouble);
            }
            Trouble::KillDaemon(daemon, time) => self.kill_daemon(daemon % daemons, time),
            Trouble::DoomDaemon(daemon, effects) => {
                if let Some(process) = &mut self.daemons[daemon % daemons].process {
                    process.doom = Some(effects);
                }
            }
            Trouble::BackUp => self.storage.back_up(),
            Trouble::Restore => self.restore(),
            Trouble::Store(faults) => self.storage.faults.extend(faults),
            Trouble::KillAgent(machine, time, compose_dies) => {
                self.kill_agent(machine % machines, time, compose_dies);
            }
            Trouble::DoomAgent(machine, effects) => {
                if let Some(agent) = &mut self.machines[machine % machines].agent {
                    agent.doom = Some(effects);
                }
            }
            Trouble::WipeDisk(machine) => self.wipe(machine % machines),
            Trouble::FillDisk(machine, time) => {
                self.machines[machine % machines].disk.is_full = true;
                self.mend_after(time, trouble);
            }
            Trouble::Rival(machine, time) => self.rival(machine % machines, time),
            Trouble::Clone(machine, has_containers, time) => {
                self.copy(machine % machines, has_containers, time);
            }
            Trouble::Usurp(machine) => self.usurp(machine % machines),
            Trouble::Freeze(machine, time) => {
                self.machines[machine % machines].frozen_until = self.now + time;
                self.after(time, Happening::Thaw(machine % machines));
            }
            Trouble::DaemonClock(daemon, seconds) => {
                let daemon = daemon % daemons;
                self.daemons[daemon].clock.jump(SignedDuration::from_secs(seconds));
                self.witness.is_vague = true;
                self.witness.tell(&Fact::Informed(daemon));
            }
            Trouble::FreezeClock(daemon, time) => {
                self.daemons[daemon % daemons].clock.freeze(self.now);
                self.witness.is_vague = true;
                self.mend_after(time, trouble);
            }
            Trouble::MachineClock(machine, seconds) => {
                self.machines[machine % machines].clock.jump(SignedDuration::from_secs(seconds));
            }
            Trouble::Line(machine, line, time) => {
                self.machines[machine % machines].line = line;
                self.mend_after(time, trouble);
            }
            Trouble::DockerAway(machine, time) => {
                self.machines[machine % machines].docker.is_away = true;
                self.mend_after(time, trouble);
            }
            Trouble::ComposeFails(machine, calls) => self.machines[machine % machines].docker.failing = calls,
            Trouble::DockerLies(machine, is_old, time) => {
                let docker = &mut self.machines[machine % machines].docker;
                let nothing = Observation::default();
                docker.lie = Some(if is_old { docker.observation() } else { nothing });
                self.mend_after(time, trouble);
            }
            Trouble::Approve(daemon) => self.approve_what_waits(daemon % daemons),
            Trouble::Edit(machine, edit) => {
                let machine = machine % machines;
                let wall = self.machines[machine].clock.now(self.now);
                if self.machines[machine].docker.edit(edit, wall, &mut self.dice) {
                    self.docker_changed(machine);
                }
            }
            Trouble::Loss(machine) => {
                let machine = machine % machines;
                let wall = self.machines[machine].clock.now(self.now);
                // Nothing tells of it.
                self.machines[machine].docker.edit(Edit::Remove, wall, &mut self.dice);
            }
        }
    }

    fn mend_after(&mut self, time: u64, trouble: Trouble) {
        self.after(time, Happening::Mend(trouble));
    }

    /// What a trouble broke for a while is as it was.
    pub(crate) fn mend(&mut self, trouble: &Trouble) {
        let (daemons, machines) = (self.daemons.len(), self.plot.nodes);
        match *trouble {
            Trouble::GitDown(_) => self.git.is_down = false,
            Trouble::GitBehind(..) => self.git.behind = 0,
            Trouble::FillDisk(machine, _) => self.machines[machine % machines].disk.is_full = false,
            Trouble::FreezeClock(daemon, _) => self.daemons[daemon % daemons].clock.thaw(self.now),
            Trouble::Line(machine, ..) => self.machines[machine % machines].line = Line::GOOD,
            Trouble::DockerAway(machine, _) => self.machines[machine % machines].docker.is_away = false,
            Trouble::DockerLies(machine, ..) => self.machines[machine % machines].docker.lie = None,
            Trouble::Rival(machine, _) => self.retire(machine),
            Trouble::Edit(..) if self.now < self.plot.calm_at => self.befall(trouble.clone()),
            _ => {}
        }
    }

    /// Somebody commits something.
    pub(crate) fn push(&mut self) {
        let shape = self.git.head().shape.next(&mut self.people);
        self.commit(shape);
        // A webhook wakes one of the daemons, most of the time.
        if self.dice.chance(700) {
            let daemon = self.dice.below(self.daemons.len());
            self.tell_daemon(daemon, gitops::daemon::state::Event::Wake);
        }
    }

    /// A commit on top of the branch.
    pub(crate) fn commit(&mut self, shape: Shape) {
        self.git.push(shape);
        self.committed();
    }

    /// The witness hears what the newest commit says.
    pub(crate) fn committed(&mut self) {
        let commit = self.git.head();
        self.witness.shapes.insert(commit.revision.clone(), commit.shape.clone());
    }

    fn restore(&mut self) {
        for daemon in 0..self.daemons.len() {
            let down_for = self.dice.between(1_000, 10_000);
            self.kill_daemon(daemon, down_for);
        }
        if self.storage.restore() {
            let facts = self.storage.facts();
            self.witness.tell(&Fact::Restored(&facts.plans, facts.deployed.as_ref()));
        }
    }

    fn wipe(&mut self, machine: usize) {
        self.kill_agent(machine, 1_000, true);
        let id = 1_000 + self.dice.between(0, 1_000_000);
        self.machines[machine].disk = Disk::new(id);
        self.witness.tell(&Fact::Wiped(machine));
    }

    /// Another machine starts an agent for the same node.
    fn rival(&mut self, machine: usize, time: u64) {
        let Machine { node, daemon, .. } = &self.machines[machine];
        let id = 10_000_000 + self.dice.between(0, 1_000_000);
        let rival = Machine::new(node.clone(), id, *daemon);
        self.pretend(rival, 0, time);
    }

    /// Somebody copies a machine, and starts the copy a while later: which of the two is started last is not said.
    fn copy(&mut self, machine: usize, has_containers: bool, time: u64) {
        let copy = self.machines[machine].copy(has_containers);
        let pause = self.dice.between(0, 20_000);
        let number = self.pretend(copy, pause, time);
        self.witness.tell(&Fact::Copied { machine, copy: number });
    }

    /// A machine speaks for the node of another one, for so long. Returns its number.
    fn pretend(&mut self, machine: Machine, pause: u64, time: u64) -> usize {
        let number = self.machines.len();
        self.witness.nodes.push(machine.node.clone());
        self.witness.doubled.insert(machine.node.clone());
        self.machines.push(machine);
        self.after(pause, Happening::StartAgent(number));
        self.mend_after(pause + time, Trouble::Rival(number, time));
        number
    }

    fn usurp(&mut self, machine: usize) {
        self.machines[machine].line.lost = 1_000;
        self.mend_after(4 * HEARTBEAT, Trouble::Line(machine, Line::GOOD, 0));
        self.rival(machine, 8 * HEARTBEAT);
        self.after(5 * HEARTBEAT, Happening::Mend(Trouble::Edit(machine, Edit::Stop)));
    }

    /// A machine that pretended to be a node is gone.
    fn retire(&mut self, number: usize) {
        if let Some(machine) = self.machines.get_mut(number) {
            machine.is_gone = true;
            machine.agent = None;
        }
    }

    /// Nothing goes wrong any more: everything is mended that only people can mend.
    pub(crate) fn calm(&mut self) {
        self.note(|| "nothing goes wrong any more".to_owned());
        (self.git.is_down, self.git.behind) = (false, 0);
        self.storage.faults.clear();
        for number in 0..self.daemons.len() {
            self.daemons[number].clock.mend();
            self.witness.tell(&Fact::Informed(number));
            if let Some(process) = &mut self.daemons[number].process {
                process.doom = None;
            }
        }
        for number in 0..self.machines.len() {
            if number >= self.plot.nodes {
                self.retire(number);
                continue;
            }
            let machine = &mut self.machines[number];
            machine.clock.mend();
            machine.line = Line::GOOD;
            machine.disk.is_full = false;
            (machine.docker.is_away, machine.docker.failing, machine.docker.lie) = (false, 0, None);
            machine.docker.unpause();
            if let Some(agent) = &mut machine.agent {
                agent.doom = None;
            }
        }
        let mended = self.git.head().shape.mended();
        self.commit(mended);
        self.after(40_000, Happening::Look);
    }
}
