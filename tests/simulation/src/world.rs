//! The world of a story: one queue of what will happen, one clock, and everyone in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops::daemon::state::{Effect, Event};
use gitops_agent::agent::state::Event as AgentEvent;
use gitops_core::name::Revision;
use gitops_core::reconcile::Definitions;

use crate::agent::Machine;
use crate::clock::Millis;
use crate::daemon::Daemon;
use crate::dice::Dice;
use crate::git::Git;
use crate::network::{Reply, Request, Sender};
use crate::plot::{Plot, Trouble};
use crate::repository::{Shape, node_name};
use crate::spoiling::Spoiling;
use crate::storage::Storage;
use crate::witness::{Violation, Witness};

/// No story has more.
const MAX_HAPPENINGS: u64 = 3_000_000;
/// No second has more than this many, for each who is there: whoever goes round in circles is found out.
const MAX_IN_A_SECOND: u64 = 400;

/// Something that will happen.
pub(crate) enum Happening {
    /// Of the plot, by number.
    Beat(usize),
    /// What is not in the plot.
    Befall(Trouble),
    /// What a beat broke is mended, by what it was.
    Mend(Trouble),
    /// Nothing goes wrong any more.
    Calm,
    /// Is everything as it should be?
    Look,
    /// The quiet time is over.
    End,
    /// See `daemon`.
    StartDaemon(usize),
    /// See `daemon`.
    DaemonTick { daemon: usize, life: u64, tick: u64 },
    /// See `daemon`.
    CarryOut { daemon: usize, life: u64, effect: Box<Effect> },
    /// See `daemon`.
    TellDaemon { daemon: usize, life: u64, kind: &'static str, event: Box<Event> },
    /// See `daemon`.
    PollsOver { daemon: usize, life: u64 },
    /// A request arrives at a daemon.
    Arrive { daemon: usize, request: Box<Request> },
    /// An answer arrives at an agent.
    Reply { sender: Sender, reply: Box<Reply> },
    /// An agent waits no longer.
    Patience(Sender),
    /// See `agent`.
    StartAgent(usize),
    /// See `agent`.
    AgentTick { machine: usize, life: u64, tick: u64 },
    /// See `agent`.
    TellAgent { machine: usize, life: u64, event: Box<AgentEvent> },
    /// See `agent`.
    ComposeWorks { machine: usize, call: u64 },
    /// A machine that stood still goes on.
    Thaw(usize),
}

/// Everyone and everything.
pub(crate) struct World {
    /// The story.
    pub(crate) plot: Plot,
    /// Since it began.
    pub(crate) now: Millis,
    /// The chance of what is not in the plot.
    pub(crate) dice: Dice,
    /// What people commit.
    pub(crate) people: Dice,
    queue: BTreeMap<(Millis, u64), Happening>,
    order: u64,
    /// The forge.
    pub(crate) git: Git,
    /// The store.
    pub(crate) storage: Storage,
    /// By number.
    pub(crate) daemons: Vec<Daemon>,
    /// By number: first one for each node, then those that pretend to be one.
    pub(crate) machines: Vec<Machine>,
    /// Who looks on.
    pub(crate) witness: Witness,
    /// What was read, so that it is read once.
    pub(crate) definitions: BTreeMap<(Revision, bool), Arc<Definitions>>,
    /// Passes so far.
    pub(crate) passes: u64,
    /// Calls of Compose so far.
    pub(crate) calls: u64,
    /// Publications that met a conflict.
    pub(crate) conflicts: u64,
    /// Events that were recorded.
    pub(crate) events: u64,
    /// Statuses that were sent in full.
    pub(crate) statuses: u64,
    /// How often an agent wanted a person.
    pub(crate) alarms: u64,
    /// How much happened.
    pub(crate) happenings: u64,
    /// The release that fails when all is as it should be.
    pub(crate) spoiling: Option<Spoiling>,
    /// Since when all has been as it should be.
    pub(crate) settled: Option<Millis>,
    second: (Millis, u64),
    is_over: bool,
    trace: Option<Vec<String>>,
}

impl World {
    /// At the beginning: a repository with one commit, an empty store, empty machines.
    pub(crate) fn new(plot: Plot, is_traced: bool) -> Self {
        let dice = Dice::new(plot.seed);
        let mut people = dice.fork(2);
        let git = Git::new(Shape::first(plot.nodes, plot.is_gated, &mut people));
        let node = |number| node_name(number).parse().expect("a name");
        let daemons = plot.daemons;
        let mut world = Self {
            now: 0,
            dice: dice.fork(3),
            people,
            queue: BTreeMap::new(),
            order: 0,
            git,
            storage: Storage::new(plot.is_file, plot.defect),
            daemons: (0..daemons).map(|_| Daemon::new()).collect(),
            machines: (0..plot.nodes)
                .map(|number| Machine::new(node(number), number as u64, number % daemons))
                .collect(),
            witness: Witness::default(),
            definitions: BTreeMap::new(),
            passes: 0,
            calls: 0,
            conflicts: 0,
            events: 0,
            statuses: 0,
            alarms: 0,
            happenings: 0,
            spoiling: None,
            settled: None,
            second: (0, 0),
            is_over: false,
            trace: is_traced.then(Vec::new),
            plot,
        };
        world.witness.nodes = world.machines.iter().map(|machine| machine.node.clone()).collect();
        world.witness.is_vague = daemons > 1;
        world.committed();
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        for daemon in 0..self.daemons.len() {
            let at = self.dice.between(0, 3_000);
            self.after(at, Happening::StartDaemon(daemon));
        }
        for machine in 0..self.machines.len() {
            let at = self.dice.between(0, 5_000);
            self.after(at, Happening::StartAgent(machine));
        }
        for (number, at) in self.plot.beats.iter().map(|(at, _)| *at).enumerate().collect::<Vec<_>>() {
            self.after(at, Happening::Beat(number));
        }
        self.after(self.plot.calm_at, Happening::Calm);
    }

    /// Plays the story to its end, or until a rule is broken.
    pub(crate) fn play(&mut self) -> Option<Violation> {
        while !self.is_over && self.witness.broken.is_none() {
            let Some(((at, _), happening)) = self.queue.pop_first() else { break };
            self.now = self.now.max(at);
            self.witness.now = self.now;
            self.count();
            self.happen(happening);
        }
        if self.witness.broken.is_none() {
            self.look_back();
        }
        self.witness.broken.clone()
    }

    fn count(&mut self) {
        self.happenings += 1;
        let second = self.now / 1_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        let there = (self.daemons.len() + self.machines.len()) as u64;
        let (in_a_second, in_all) = (self.second.1, self.happenings);
        self.witness.require(14, in_a_second <= MAX_IN_A_SECOND * there && in_all <= MAX_HAPPENINGS, || {
            format!("{in_a_second} things happen in one second, {in_all} in all")
        });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Beat(number) => {
                let trouble = self.plot.beats[number].1.clone();
                self.note(|| format!("{trouble:?}"));
                self.befall(trouble);
            }
            Happening::Befall(trouble) => self.befall(trouble),
            Happening::Mend(trouble) => self.mend(&trouble),
            Happening::Calm => self.calm(),
            Happening::Look => self.look(),
            Happening::End => self.is_over = true,
            Happening::StartDaemon(number) => self.start_daemon(number),
            Happening::DaemonTick { daemon, life, tick } if self.lives(daemon, life) => {
                self.tick_daemon(daemon, tick)
            }
            Happening::CarryOut { daemon, life, effect } if self.lives(daemon, life) => {
                self.perform(daemon, *effect)
            }
            Happening::TellDaemon { daemon, life, kind, event } if self.lives(daemon, life) => {
                self.landed(daemon, kind);
                self.tell_daemon(daemon, *event);
            }
            Happening::PollsOver { daemon, life } if self.lives(daemon, life) => self.end_polls(daemon),
            Happening::Arrive { daemon, request } => self.arrive(daemon, *request),
            Happening::Reply { sender, reply } => self.reply(sender, *reply),
            Happening::Patience(sender) => self.reply(sender, Reply::Away),
            Happening::StartAgent(number) => self.start_agent(number),
            Happening::AgentTick { machine, life, tick } if self.works(machine, life) => {
                self.tick_agent(machine, tick)
            }
            Happening::TellAgent { machine, life, event } if self.works(machine, life) => {
                self.tell_agent(machine, *event)
            }
            Happening::ComposeWorks { machine, call } => self.compose_works(machine, call),
            Happening::Thaw(number) => self.thaw(number),
            // What was on its way to a process that is gone.
            Happening::DaemonTick { .. }
            | Happening::CarryOut { .. }
            | Happening::TellDaemon { .. }
            | Happening::PollsOver { .. }
            | Happening::AgentTick { .. }
            | Happening::TellAgent { .. } => {}
        }
    }

    fn lives(&self, daemon: usize, life: u64) -> bool {
        self.daemons[daemon].life == life && self.daemons[daemon].process.is_some()
    }

    fn works(&self, machine: usize, life: u64) -> bool {
        self.machines[machine].life == life && self.machines[machine].agent.is_some()
    }

    /// Something will happen, so many milliseconds from now.
    pub(crate) fn after(&mut self, pause: Millis, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + pause, self.order), happening);
    }

    /// A line of the trace, where there is one.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", self.now as f64 / 1_000.0, line()));
        }
    }

    /// What happened, as lines.
    pub(crate) fn trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}
