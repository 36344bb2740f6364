//! An agent on its machine: the state machine of the product, its disk, and its loop in virtual time.
//!
//! Files are written in place, as the loop of the product does it; everything else takes time. A kill comes before any
//! effect; what the disk and Docker hold stays, and the next process starts from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gitops_agent::agent::state::{
    Answer, Cause, Effect, Event, Failed, Message, Offer, Settings, State, Tell,
};
use gitops_agent::apply::{Fault, Limits};
use gitops_agent::checks;
use gitops_agent::drift::Pictures;
use gitops_agent::host::HookCall;
use gitops_agent::journal::{HookEnd, Journal};
use gitops_agent::ledger::Record;
use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::protocol::Report;
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, Orphans, PlanId, Start};

use crate::clock::{Millis, WallClock, moment};
use crate::daemon::HEARTBEAT;
use crate::defects::Defect;
use crate::docker::{Docker, Edit};
use crate::network::{Ask, Line, Reply, Request, Sender, hello};
use crate::plot::Trouble;
use crate::witness::Fact;
use crate::world::{Happening, World};

/// Steps under way at once.
const CONCURRENCY: usize = 2;

/// What survives the process.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Made at the first start.
    id: Arc<str>,
    /// How many starts were counted.
    starts: u64,
    ledger: Option<Arc<NodePlan>>,
    record: Record,
    journal: Journal,
    pictures: Pictures,
    blobs: BTreeSet<Digest>,
    /// Nothing can be written.
    pub(crate) is_full: bool,
    /// What was in the ledger before.
    before: Option<Arc<NodePlan>>,
}

impl Disk {
    /// An empty one: the agent that starts on it is another one.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id: format!("agent-{id}").into(),
            starts: 0,
            ledger: None,
            record: Record::new(),
            journal: Journal::new(),
            pictures: Pictures::default(),
            blobs: BTreeSet::new(),
            is_full: false,
            before: None,
        }
    }

    /// The start that the next process is: counted, where the disk can be written.
    fn start(&mut self, nonce: u64) -> Start {
        let count = self.starts + 1;
        if !self.is_full {
            self.starts = count;
        }
        Start { count, nonce }
    }

    /// The accepted plan.
    pub(crate) fn ledger(&self) -> Option<&Arc<NodePlan>> {
        self.ledger.as_ref()
    }
}

/// A machine, and the agent on it.
pub(crate) struct Machine {
    /// The node that it is, or pretends to be.
    pub(crate) node: NodeName,
    /// The disk of the agent.
    pub(crate) disk: Disk,
    /// The engine.
    pub(crate) docker: Docker,
    /// The clock on its wall.
    pub(crate) clock: WallClock,
    /// The line to the daemons.
    pub(crate) line: Line,
    /// The daemon that it talks to, until it finds no answer there.
    pub(crate) daemon: usize,
    /// The number of the start.
    pub(crate) life: u64,
    /// It stands still until then, and then goes on as if nothing had been.
    pub(crate) frozen_until: Millis,
    /// None while it is down.
    pub(crate) agent: Option<Agent>,
    /// Calls of Compose that go on, by number.
    calls: BTreeMap<u64, Call>,
    /// Who it is, is gone for good: nothing starts here any more.
    pub(crate) is_gone: bool,
}

struct Call {
    step: Step,
    generation: gitops_core::name::Generation,
}

/// An agent that runs.
pub(crate) struct Agent {
    state: State,
    /// Which start it is.
    start: Start,
    started: Millis,
    tick: u64,
    requests: u64,
    /// What it waits for.
    awaited: BTreeMap<u64, Ask>,
    /// The content that is being fetched is of this plan.
    fetching: BTreeMap<u64, Arc<NodePlan>>,
    flight: usize,
    /// It is killed after so many effects.
    pub(crate) doom: Option<u32>,
    /// Its last heard beat.
    frozen: VecDeque<Event>,
}

impl Machine {
    /// With nothing on it.
    pub(crate) fn new(node: NodeName, id: u64, daemon: usize) -> Self {
        Self {
            node,
            disk: Disk::new(id),
            docker: Docker::default(),
            clock: WallClock::default(),
            line: Line::GOOD,
            daemon,
            life: 0,
            frozen_until: 0,
            agent: None,
            calls: BTreeMap::new(),
            is_gone: false,
        }
    }

    /// Another one, with a copy of the disk of its agent; and of what Docker holds, or with nothing there.
    pub(crate) fn copy(&self, has_containers: bool) -> Self {
        let mut copy = Self::new(self.node.clone(), 0, self.daemon);
        copy.disk = Disk { is_full: false, ..self.disk.clone() };
        if has_containers {
            copy.docker = self.docker.clone();
            (copy.docker.is_away, copy.docker.failing, copy.docker.lie) = (false, 0, None);
        }
        copy
    }
}

/// What a process begins with that finds the disk so.
fn state(machine: &Machine, start: Start) -> State {
    let Disk { ledger, record, journal, pictures, .. } = machine.disk.clone();
    State::new(settings(machine, start), ledger, record, journal).with_pictures(pictures)
}

fn settings(machine: &Machine, start: Start) -> Settings {
    Settings {
        node: machine.node.clone(),
        agent: AgentInfo { id: machine.disk.id.clone(), version: "1".into(), start: Some(start) },
        limits: Limits { concurrency: CONCURRENCY, settle: Duration::from_secs(3) },
        observe_every: Duration::from_secs(10),
        heartbeat: Duration::from_millis(HEARTBEAT),
    }
}

impl World {
    /// Starts the agent of a machine.
    pub(crate) fn start_agent(&mut self, number: usize) {
        let nonce = self.dice.roll();
        let machine = &mut self.machines[number];
        if machine.agent.is_some() || machine.is_gone {
            return;
        }
        machine.life += 1;
        if let Some(defect) = self.plot.defect.filter(|defect| *defect == Defect::LedgerLosesItsLastPlan) {
            let _ = defect;
            machine.disk.ledger = machine.disk.before.take().or(machine.disk.ledger.take());
        }
        let start = machine.disk.start(nonce);
        let state = state(machine, start);
        machine.agent = Some(Agent {
            state,
            start,
            started: self.now,
            tick: 0,
            requests: 0,
            awaited: BTreeMap::new(),
            fetching: BTreeMap::new(),
            flight: 0,
            doom: None,
            frozen: VecDeque::new(),
        });
        self.note(|| format!("the agent on machine {number} starts"));
        // It has not asked anybody yet.
        self.witness.tell(&Fact::Told { machine: number, is_refused: false });
        self.tell_agent(number, Event::Tick);
    }

    /// `kill -9`. Calls of Compose end with it, or go on by themselves.
    pub(crate) fn kill_agent(&mut self, number: usize, down_for: Millis, compose_dies: bool) {
        let machine = &mut self.machines[number];
        if machine.agent.take().is_none() {
            return;
        }
        if compose_dies {
            machine.calls.clear();
        }
        self.note(|| format!("the agent on machine {number} is killed"));
        self.after(down_for, Happening::StartAgent(number));
    }

    fn agent(&mut self, number: usize) -> Option<&mut Agent> {
        self.machines[number].agent.as_mut()
    }

    /// Something happens to an agent, and to what follows from it in place.
    pub(crate) fn tell_agent(&mut self, number: usize, event: Event) {
        if self.now < self.machines[number].frozen_until {
            let Some(agent) = self.agent(number) else { return };
            agent.frozen.push_back(event);
            return;
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let dice = self.dice.roll();
            let now = self.now;
            let machine = &mut self.machines[number];
            let Some(agent) = &mut machine.agent else { return };
            agent.flight -= usize::from(matches!(event, Event::Ended { .. }));
            let moment = moment(&machine.clock, agent.started, now, dice);
            for effect in agent.state.step(event, moment) {
                if self.is_agent_doomed(number) {
                    let (down_for, compose_dies) = (self.dice.between(500, 20_000), self.dice.chance(500));
                    return self.kill_agent(number, down_for, compose_dies);
                }
                events.extend(self.carry_out_on(number, effect));
            }
        }
        self.set_agent_tick(number);
    }

    /// A machine that stood still goes on.
    pub(crate) fn thaw(&mut self, number: usize) {
        let Some(agent) = self.agent(number) else { return };
        for event in std::mem::take(&mut agent.frozen) {
            self.tell_agent(number, event);
        }
        self.tell_agent(number, Event::Tick);
    }

    fn is_agent_doomed(&mut self, number: usize) -> bool {
        let Some(doom) = self.agent(number).and_then(|agent| agent.doom.as_mut()) else { return false };
        match doom.checked_sub(1) {
            Some(left) => {
                *doom = left;
                false
            }
            None => true,
        }
    }

    fn set_agent_tick(&mut self, number: usize) {
        let (now, life) = (self.now, self.machines[number].life);
        let Some(agent) = self.agent(number) else { return };
        let Some(at) = agent.state.wake_at() else { return };
        agent.tick += 1;
        let tick = agent.tick;
        let at = agent.started + Millis::try_from(at.as_millis()).unwrap_or(Millis::MAX / 2) + 1;
        self.after(at.saturating_sub(now), Happening::AgentTick { machine: number, life, tick });
    }

    /// The sleep of a loop is over.
    pub(crate) fn tick_agent(&mut self, number: usize, tick: u64) {
        if self.agent(number).is_some_and(|agent| agent.tick == tick) {
            self.tell_agent(number, Event::Tick);
        }
    }

    /// Carries out an effect: in place, with the event that answers it, or beside.
    fn carry_out_on(&mut self, number: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Poll { known } => self.send(number, Ask::Plan(known), None),
            Effect::Report(Message::Full(status)) => {
                self.statuses += 1;
                let status = Arc::from(status);
                self.witness.tell(&Fact::Claimed { machine: number, status: &status });
                self.meddle(number, &status);
                self.send(number, Ask::Report(Report::Status(status)), None);
            }
            Effect::Report(Message::Heartbeat { digest }) => {
                self.send(number, Ask::Report(Report::Heartbeat { digest }), None);
            }
            Effect::SendLogs => self.send(number, Ask::Logs, None),
            Effect::Fetch { plan } => self.fetch_content(number, plan),
            Effect::Save { plan } => return Some(Event::Saved(self.save(number, plan))),
            Effect::SaveRecord(record) if !self.machines[number].disk.is_full => {
                self.machines[number].disk.record = record;
            }
            Effect::SavePictures(pictures) => self.machines[number].disk.pictures = pictures,
            Effect::SaveJournal(journal) => {
                return Some(Event::Journaled(self.save_journal(number, journal)));
            }
            Effect::SaveRecord(_) | Effect::Snapshot(_) => {}
            Effect::Prune { keep } => self.machines[number].disk.blobs.retain(|digest| keep.contains(digest)),
            Effect::Observe { .. } => self.observe(number),
            Effect::Orphans => self.soon(number, Event::Orphans(Ok(Orphans::default()))),
            Effect::Probe(ask) => {
                self.soon(number, Event::Probed { number: ask.number, answer: checks::Answer::Good })
            }
            Effect::RunHook { call, .. } => self.run_hook(number, call),
            Effect::ForgetHook { container } => {
                self.machines[number].docker.hooks.remove(&container);
            }
            Effect::Info => {
                let is_away = self.machines[number].docker.is_away;
                let problem = is_away.then(|| "Docker does not answer".to_owned());
                let name = format!("machine-{number}").into();
                self.soon(number, Event::Informed(HostInfo { name, problem, ..HostInfo::default() }));
            }
            Effect::Begin { step, generation, .. } | Effect::Correct { step, generation, .. } => {
                self.begin(number, step, generation);
            }
            Effect::ReadLogs { service, container } => {
                self.soon(
                    number,
                    Event::Logs { service, container, lines: vec!["it says nothing".to_owned()] },
                );
            }
            Effect::Tell(tell, text) => {
                self.alarms += u64::from(tell == Tell::Alarm);
                self.note(|| format!("the agent on machine {number} says: {text}"));
            }
        }
        None
    }

    /// Where a change waits for its window, people may not: somebody stops or removes what is there until then.
    fn meddle(&mut self, number: usize, status: &NodeStatus) {
        let is_shut = |message: &String| message.starts_with("its window");
        let waits = status.steps.values().any(|result| result.message.as_ref().is_some_and(is_shut));
        if waits && number < self.plot.nodes && self.now < self.plot.calm_at && self.dice.chance(300) {
            let (pause, edit) = (self.dice.between(500, 5_000), self.dice.pick(&[Edit::Stop, Edit::Remove]));
            self.after(pause, Happening::Befall(Trouble::Edit(number, edit)));
        }
    }

    /// An event that comes after a short while, unless the agent is killed before.
    fn soon(&mut self, number: usize, event: Event) {
        let pause = self.dice.between(2, 60);
        self.later(number, pause, event);
    }

    fn later(&mut self, number: usize, pause: Millis, event: Event) {
        let life = self.machines[number].life;
        self.after(pause, Happening::TellAgent { machine: number, life, event: Box::new(event) });
    }

    fn observe(&mut self, number: usize) {
        let wall = self.machines[number].clock.now(self.now);
        let docker = &mut self.machines[number].docker;
        let answer = match docker.is_away {
            true => Err(away()),
            false => {
                docker.pass_time(wall);
                Ok(docker.observation())
            }
        };
        self.soon(number, Event::Observed(answer));
    }

    /// A hook is started, if it was not, and waited for. It ends by itself, whatever becomes of the agent.
    fn run_hook(&mut self, number: usize, call: HookCall) {
        let known = self.machines[number].docker.hooks.get(&call.container).copied();
        let ends = known.or_else(|| {
            let step = Step::Ensure((**call.start.as_ref()?).clone());
            Some(self.start_hook(number, &call.container, &step))
        });
        let pause = ends.unwrap_or_default().saturating_sub(self.now) + 10;
        let result = Ok(ends.map(|_| HookEnd::Done));
        self.later(number, pause, Event::HookEnded { call, result });
    }

    /// Returns when it will have ended.
    fn start_hook(&mut self, number: usize, container: &Arc<str>, step: &Step) -> Millis {
        let ends = self.now + self.dice.between(200, 4_000);
        let machine = &mut self.machines[number];
        machine.docker.hooks.insert(container.clone(), ends);
        let (ledger, at) = (machine.disk.ledger.as_ref(), machine.clock.now(self.now));
        self.witness.tell(&Fact::Hooked { machine: number, container, step, ledger, at });
        ends
    }

    fn save(&mut self, number: usize, plan: Arc<NodePlan>) -> Result<(), Failed> {
        let machine = &mut self.machines[number];
        if machine.disk.is_full {
            return Err(Failed { message: "no space left on device".to_owned(), cause: Cause::Disk });
        }
        self.witness.tell(&Fact::Saved { machine: number, plan: &plan });
        if self.plot.defect != Some(Defect::LedgerIsNotWritten) {
            machine.disk.before = machine.disk.ledger.replace(plan);
        }
        Ok(())
    }

    fn save_journal(&mut self, number: usize, journal: Journal) -> Result<(), Failed> {
        let disk = &mut self.machines[number].disk;
        if disk.is_full {
            return Err(Failed { message: "no space left on device".to_owned(), cause: Cause::Disk });
        }
        disk.journal = journal;
        Ok(())
    }

    // ---- Compose ------------------------------------------------------------------------------------------------------

    fn begin(&mut self, number: usize, step: Step, generation: gitops_core::name::Generation) {
        self.note(|| {
            let verb = if step.as_ensure().is_some() { "up" } else { "down" };
            format!("machine {number} does {verb} {} of generation {generation}", step.service())
        });
        let machine = &self.machines[number];
        let (ledger, at) = (machine.disk.ledger.as_ref(), machine.clock.now(self.now));
        let is_up = machine.docker.is_up(step.service());
        self.witness.tell(&Fact::Begun { machine: number, step: &step, generation, ledger, at, is_up });
        let Some(agent) = self.agent(number) else { return };
        agent.flight += 1;
        let flight = agent.flight;
        self.witness.require(14, flight <= CONCURRENCY, || {
            format!("{flight} steps are under way on machine {number}")
        });
        let (change_in, end_in) = (self.dice.between(50, 3_000), self.dice.between(10, 2_000));
        self.calls += 1;
        let call = self.calls;
        let life = self.machines[number].life;
        let lacks_content = !self.has_content(number, &step);
        let docker = &mut self.machines[number].docker;
        let does_work = match (docker.is_away || lacks_content || Docker::refuses(&step), docker.fails()) {
            (true, _) => Err(false),
            (false, Some(after)) => Err(after),
            (false, None) => Ok(()),
        };
        if does_work != Err(false) {
            self.machines[number].calls.insert(call, Call { step: step.clone(), generation });
            self.after(change_in, Happening::ComposeWorks { machine: number, call });
        }
        let message = "docker compose failed".to_owned();
        let result = does_work.map_err(|_| Fault { message, lacks_content });
        let event = Box::new(Event::Ended { step, result });
        self.after(change_in + end_in, Happening::TellAgent { machine: number, life, event });
    }

    fn has_content(&self, number: usize, step: &Step) -> bool {
        let blobs = &self.machines[number].disk.blobs;
        step.as_ensure().is_none_or(|ensure| ensure.files.values().all(|file| blobs.contains(&file.digest)))
    }

    /// Compose gets to the containers.
    pub(crate) fn compose_works(&mut self, number: usize, call: u64) {
        let machine = &mut self.machines[number];
        let Some(Call { step, generation }) = machine.calls.remove(&call) else { return };
        let wall = machine.clock.now(self.now);
        let change = machine.docker.change(&step, wall);
        self.note(|| format!("{} on machine {number}: {change:?}", step.service()));
        self.witness.tell(&Fact::Changed { machine: number, step: &step, generation, change: &change });
        self.docker_changed(number);
    }

    /// Docker tells its events, if it does not lose them.
    pub(crate) fn docker_changed(&mut self, number: usize) {
        if !self.dice.chance(100) {
            self.soon(number, Event::Changed);
        }
    }

    // ---- requests -----------------------------------------------------------------------------------------------------

    fn fetch_content(&mut self, number: usize, plan: Arc<NodePlan>) {
        let blobs = &self.machines[number].disk.blobs;
        let missing: Vec<Digest> =
            content(&plan).into_iter().filter(|digest| !blobs.contains(digest)).collect();
        if missing.is_empty() {
            return self.soon(number, Event::Fetched { plan, result: Ok(()) });
        }
        self.send(number, Ask::Content(missing), Some(plan));
    }

    fn send(&mut self, number: usize, ask: Ask, plan: Option<Arc<NodePlan>>) {
        let daemons = self.daemons.len();
        let machine = &mut self.machines[number];
        let Some(agent) = &mut machine.agent else { return };
        agent.requests += 1;
        let sender = Sender { machine: number, life: machine.life, request: agent.requests };
        agent.awaited.insert(agent.requests, ask.clone());
        agent.fetching.extend(plan.map(|plan| (agent.requests, plan)));
        let waits_for = agent.awaited.len();
        self.witness
            .require(14, waits_for <= 5, || format!("machine {number} waits for {waits_for} answers"));
        self.after(ask.patience(), Happening::Patience(sender));
        let machine = &mut self.machines[number];
        if self.dice.chance(30) {
            machine.daemon = self.dice.below(daemons);
        }
        let (daemon, node) = (machine.daemon, machine.node.clone());
        let start = machine.agent.as_ref().map(|agent| agent.start);
        let hello = hello(&node, &machine.disk.id, start, number);
        let request = Request { sender, node, hello, ask };
        for way in machine.line.ways(&mut self.dice) {
            self.after(way, Happening::Arrive { daemon, request: Box::new(request.clone()) });
        }
    }

    /// A daemon answers: the answer is on its way back.
    pub(crate) fn answer(&mut self, sender: Sender, reply: Reply) {
        let line = self.machines[sender.machine].line;
        for way in line.ways(&mut self.dice) {
            self.after(way, Happening::Reply { sender, reply: Box::new(reply.clone()) });
        }
    }

    /// An answer arrives, or none came for too long.
    pub(crate) fn reply(&mut self, sender: Sender, reply: Reply) {
        let Sender { machine: number, life, request } = sender;
        let daemons = self.daemons.len();
        let machine = &mut self.machines[number];
        let Some(agent) = machine.agent.as_mut().filter(|_| machine.life == life) else { return };
        let Some(ask) = agent.awaited.remove(&request) else { return };
        let plan = agent.fetching.remove(&request);
        if matches!(reply, Reply::Away) {
            machine.daemon = self.dice.below(daemons);
        }
        let is_refused = match (&ask, &reply) {
            (Ask::Plan(_) | Ask::Report(_), Reply::SecondAgent) => Some(true),
            (Ask::Plan(_) | Ask::Report(_), Reply::Plan(_) | Reply::NoPlan | Reply::Received { .. }) => {
                Some(false)
            }
            _ => None,
        };
        if let Some(is_refused) = is_refused {
            self.witness.tell(&Fact::Told { machine: number, is_refused });
        }
        let reply = match self.plot.defect {
            Some(Defect::RefusedAgentsGoOn) if matches!(reply, Reply::SecondAgent) => Reply::Away,
            _ => reply,
        };
        let event = self.event_of(number, ask, reply, plan);
        self.tell_agent(number, event);
    }

    fn event_of(&mut self, number: usize, ask: Ask, reply: Reply, plan: Option<Arc<NodePlan>>) -> Event {
        match (ask, reply) {
            (Ask::Plan(_), Reply::Plan(plan)) => {
                self.forget_ledger(number, &plan);
                Event::Polled(Ok(Offer::Plan(plan)))
            }
            (Ask::Plan(_), Reply::NoPlan) => Event::Polled(Ok(Offer::Nothing)),
            (Ask::Plan(_), reply) => Event::Polled(Err(failed(&reply))),
            (Ask::Content(digests), reply) => {
                let plan = plan.expect("content is fetched for a plan");
                let result = match reply {
                    Reply::Content => {
                        self.machines[number].disk.blobs.extend(digests);
                        Ok(())
                    }
                    reply => Err(failed(&reply)),
                };
                Event::Fetched { plan, result }
            }
            (Ask::Report(_), Reply::Received { heartbeat_seconds, want_full }) => {
                Event::Reported(Ok(Answer { heartbeat_seconds, want_full }))
            }
            (Ask::Report(_), reply) => Event::Reported(Err(failed(&reply))),
            (Ask::Logs, Reply::Taken) => Event::LogsSent(Ok(false)),
            (Ask::Logs, reply) => Event::LogsSent(Err(failed(&reply))),
        }
    }

    /// The defect of a ledger that takes an older plan: what it holds is forgotten when one is offered.
    fn forget_ledger(&mut self, number: usize, offered: &NodePlan) {
        let machine = &mut self.machines[number];
        let is_older = machine.disk.ledger.as_ref().is_some_and(|held| {
            let (held, offered) = (PlanId::of(held), PlanId::of(offered));
            offered.generation < held.generation
        });
        if self.plot.defect == Some(Defect::LedgerTakesOlderPlans) && is_older {
            machine.disk.ledger = None;
            if let Some(start) = machine.agent.as_ref().map(|agent| agent.start) {
                let state = state(machine, start);
                let agent = machine.agent.as_mut().expect("it runs");
                (agent.state, agent.started) = (state, self.now);
                let dice = self.dice.roll();
                agent.state.step(Event::Tick, moment(&machine.clock, self.now, self.now, dice));
            }
        }
    }
}

/// The content that a plan names.
fn content(plan: &NodePlan) -> BTreeSet<Digest> {
    let ensures = plan.steps.iter().filter_map(Step::as_ensure);
    ensures.flat_map(|ensure| ensure.files.values().map(|file| file.digest)).collect()
}

fn away() -> Failed {
    Failed { message: "nobody answers".to_owned(), cause: Cause::Away }
}

fn failed(reply: &Reply) -> Failed {
    let cause = match reply {
        Reply::SecondAgent => Cause::SecondAgent,
        Reply::NotFound => Cause::Answer,
        _ => Cause::Away,
    };
    Failed { message: "the daemon does not give it".to_owned(), cause }
}
