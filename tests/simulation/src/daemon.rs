//! A daemon: the state machine of the product, and its loop in virtual time.
//!
//! What the loop of the product does with tasks, channels and timers is done here with the queue of the world: each effect
//! is carried out some time after it was asked for, and its event comes some time after that. A kill in between leaves
//! undone what was not carried out, and untold what was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops::api::control::{Answer, Plans, Request as Wish};
use gitops::config::Deploy;
use gitops::daemon::state::{Effect, Event, Policy, State, Ticket, step};
use gitops::store::{Published, Retention, Snapshot};
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::{NodePlan, Remove, Step};
use gitops_core::protocol::Report;
use gitops_core::reconcile::Definitions;
use gitops_core::status::NodeStatus;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Millis, WallClock};
use crate::defects::Defect;
use crate::network::{Ask, Reply, Request, Sender};
use crate::storage::{Outcome, Record};
use crate::witness::Fact;
use crate::world::{Happening, World};

/// How often agents report.
pub(crate) const HEARTBEAT: Millis = 15_000;
/// How often the source is looked at.
const POLL: Millis = 30_000;
/// How long a daemon holds the request for a plan.
const HOLDS: Millis = 55_000;
/// The loop looks at its clock at least this often.
const MAX_SLEEP: Millis = 60_000;
/// More than this many effects of one kind are never under way.
const MAX_FLIGHT: usize = 2;

const RETENTION: Retention =
    Retention { plans_per_node: 20, releases: 50, events: 500, log_lines_per_node: 100, days: 30 };

/// A place where a daemon runs, or not.
pub(crate) struct Daemon {
    /// The number of its start: what is told to an earlier one is told to nobody.
    pub(crate) life: u64,
    /// Its clock.
    pub(crate) clock: WallClock,
    /// What was fetched.
    mirror: BTreeSet<Revision>,
    /// None while it is down.
    pub(crate) process: Option<Process>,
}

/// A daemon that runs.
pub(crate) struct Process {
    state: State,
    callers: BTreeMap<Ticket, Caller>,
    tickets: Ticket,
    /// Requests for a plan that are held.
    polls: Vec<Poll>,
    /// What the API shows.
    posted: Plans,
    /// The number of the tick that counts.
    tick: u64,
    flight: BTreeMap<&'static str, usize>,
    /// It is killed after so many effects.
    pub(crate) doom: Option<u32>,
}

/// Who waits for an answer.
enum Caller {
    Poll(Voice, Option<Digest>),
    Report(Voice, Option<Arc<NodeStatus>>),
    Operator,
}

/// Who speaks for a node.
struct Voice {
    sender: Sender,
    node: NodeName,
    /// The agent that it says it is.
    agent: Arc<str>,
    /// Which start of it.
    start: u64,
    /// When it was heard. The answer may come later, when what it said is written.
    since: Millis,
    /// The same by the clock of the daemon.
    at: Timestamp,
}

struct Poll {
    sender: Sender,
    node: NodeName,
    known: Option<Digest>,
    until: Millis,
}

impl Daemon {
    /// Not started yet.
    pub(crate) fn new() -> Self {
        Self { life: 0, clock: WallClock::default(), mirror: BTreeSet::new(), process: None }
    }
}

fn policy(seed: u64) -> Policy {
    let millis = |millis: Millis| SignedDuration::from_millis(i64::try_from(millis).expect("a small number"));
    Policy {
        url: "/repository".into(),
        branch: "main".into(),
        poll: millis(POLL),
        deploy: Deploy::Auto,
        heartbeat: millis(HEARTBEAT),
        prune: SignedDuration::from_hours(1),
        forge: None,
        seed,
    }
}

impl World {
    /// Starts a daemon, if the store can be read; else it is tried again.
    pub(crate) fn start_daemon(&mut self, number: usize) {
        if self.daemons[number].process.is_some() {
            return;
        }
        let Ok(snapshot) = self.storage.load() else {
            self.after(1_000, Happening::StartDaemon(number));
            return;
        };
        let seed = self.dice.roll();
        let daemon = &mut self.daemons[number];
        daemon.life += 1;
        let (state, effects) = State::new(policy(seed), snapshot, daemon.clock.now(self.now));
        let posted = state.plans.clone();
        daemon.process = Some(Process {
            state,
            callers: BTreeMap::new(),
            tickets: 0,
            polls: Vec::new(),
            posted,
            tick: 0,
            flight: BTreeMap::new(),
            doom: None,
        });
        self.note(|| format!("daemon {number} starts"));
        self.witness.tell(&Fact::Informed(number));
        self.carry_out(number, effects);
        self.set_tick(number);
    }

    /// `kill -9`. It is started again after a while.
    pub(crate) fn kill_daemon(&mut self, number: usize, down_for: Millis) {
        let Some(process) = self.daemons[number].process.take() else { return };
        self.note(|| format!("daemon {number} is killed"));
        let senders = process.polls.into_iter().map(|poll| poll.sender);
        let waiting = process.callers.into_values().filter_map(|caller| match caller {
            Caller::Poll(voice, _) | Caller::Report(voice, _) => Some(voice.sender),
            Caller::Operator => None,
        });
        // Their connections break.
        for sender in senders.chain(waiting).collect::<Vec<_>>() {
            self.answer(sender, Reply::Away);
        }
        self.after(down_for, Happening::StartDaemon(number));
    }

    /// The time as the daemon has it.
    fn time_of(&self, number: usize) -> Timestamp {
        self.daemons[number].clock.now(self.now)
    }

    fn process(&mut self, number: usize) -> Option<&mut Process> {
        self.daemons[number].process.as_mut()
    }

    /// Something happens to a daemon.
    pub(crate) fn tell_daemon(&mut self, number: usize, event: Event) {
        let now = self.time_of(number);
        let Some(process) = self.process(number) else { return };
        let effects = step(&mut process.state, event, now);
        self.post(number);
        self.carry_out(number, effects);
        self.set_tick(number);
    }

    /// The loop sleeps until its next tick, as its clock has it.
    fn set_tick(&mut self, number: usize) {
        let now = self.time_of(number);
        let is_frozen = self.daemons[number].clock.is_frozen();
        let Some(process) = self.process(number) else { return };
        let left = process.state.next_tick().duration_since(now).as_millis();
        process.tick += 1;
        let tick = process.tick;
        let life = self.daemons[number].life;
        // A clock that stands still makes the loop of the product spin at 1 ms; that is not worth simulating.
        let least = if is_frozen { 1_000 } else { 1 };
        let left = Millis::try_from(left.max(0)).unwrap_or(MAX_SLEEP).clamp(least, MAX_SLEEP);
        self.after(left, Happening::DaemonTick { daemon: number, life, tick });
    }

    /// The sleep of a loop is over.
    pub(crate) fn tick_daemon(&mut self, number: usize, tick: u64) {
        if self.process(number).is_some_and(|process| process.tick == tick) {
            self.tell_daemon(number, Event::Tick);
        }
    }

    /// Shows the API what changed, and answers who waited for it.
    fn post(&mut self, number: usize) {
        let Some(process) = self.process(number) else { return };
        if Arc::ptr_eq(&process.posted, &process.state.plans) {
            return;
        }
        process.posted = process.state.plans.clone();
        let posted = process.posted.clone();
        let is_news =
            |poll: &Poll| posted.get(&poll.node).is_some_and(|plan| Some(plan.digest) != poll.known);
        let (answered, held) = std::mem::take(&mut process.polls).into_iter().partition(is_news);
        process.polls = held;
        for Poll { sender, node, .. } in answered {
            self.answer(sender, Reply::Plan(posted[&node].clone()));
        }
    }

    fn carry_out(&mut self, number: usize, effects: Vec<Effect>) {
        for effect in effects {
            if self.is_doomed(number) {
                let down_for = self.dice.between(500, 20_000);
                self.kill_daemon(number, down_for);
                return;
            }
            if let Effect::Answer(ticket, answer) = effect {
                self.answered(number, ticket, answer);
                continue;
            }
            let life = self.daemons[number].life;
            let kind = kind(&effect);
            if matches!(effect, Effect::Pass(_)) {
                self.witness.tell(&Fact::Planning(number));
            }
            self.note(|| format!("daemon {number} wants {kind}"));
            let in_flight = self.process(number).map(|process| {
                let count = process.flight.entry(kind).or_default();
                *count += 1;
                *count
            });
            // Each belongs to somebody who waits for an answer.
            let is_asked = matches!(effect, Effect::ReadCommit(..));
            let is_bounded = is_asked || in_flight.is_none_or(|count| count <= MAX_FLIGHT);
            self.witness
                .require(14, is_bounded, || format!("daemon {number} has {in_flight:?} of {kind} under way"));
            let pause = self.dice.between(1, 40);
            self.after(pause, Happening::CarryOut { daemon: number, life, effect: Box::new(effect) });
        }
    }

    /// Whether it is killed before this effect.
    fn is_doomed(&mut self, number: usize) -> bool {
        let Some(doom) = self.process(number).and_then(|process| process.doom.as_mut()) else { return false };
        match doom.checked_sub(1) {
            Some(left) => {
                *doom = left;
                false
            }
            None => true,
        }
    }

    /// Carries out one effect. The event that tells of it comes later, unless the daemon is killed before.
    pub(crate) fn perform(&mut self, number: usize, effect: Effect) {
        if self.is_doomed(number) {
            let down_for = self.dice.between(500, 20_000);
            return self.kill_daemon(number, down_for);
        }
        let kind = kind(&effect);
        let event = match effect {
            Effect::Fetch => Some(Event::Fetched(self.fetch(number).map(Some))),
            Effect::Compare { newest, base } => Some(Event::Compared(self.compare(number, &newest, &base))),
            Effect::Load(load) => Some(Event::Loaded(self.load(number, load))),
            Effect::Pass(mut pass) => {
                self.passes += 1;
                if let Some(defect) = self.plot.defect {
                    defect.mislead(&mut pass, self.passes);
                }
                let mut outcome = pass.outcome();
                if let Some(defect) = self.plot.defect {
                    defect.plan(&mut outcome, &pass);
                }
                Some(Event::Passed(outcome, pass.opened(None)))
            }
            Effect::Publish(publication) => {
                let (plans, deployed) = (publication.plans.clone(), publication.deployed.clone());
                let is_failure = publication.failed.is_some();
                self.witness.has_failed |= is_failure;
                let Outcome { said, is_written } = self.storage.publish(publication);
                self.note(|| format!("daemon {number} publishes {} plans: {said:?}", plans.len()));
                if is_written {
                    plans.iter().for_each(|plan| self.check_removals(plan));
                    let (plans, deployed) = (&plans[..], deployed.as_ref());
                    self.witness.tell(&Fact::Published { daemon: number, plans, deployed, is_failure });
                } else {
                    self.witness.tell(&Fact::Hindered(number));
                }
                Some(Event::Published(said.inspect(|published| self.count_conflict(published))))
            }
            Effect::Peek { after } => Some(Event::Peeked(self.storage.peek(after))),
            Effect::Reload => {
                self.witness.tell(&Fact::Informed(number));
                Some(Event::Reloaded(self.storage.load().map(Box::new)))
            }
            Effect::Record { reports, events, finished, outbox } => {
                Some(Event::Recorded(self.record(Record { reports, events, finished, outbox })))
            }
            Effect::Decide(decided) => {
                let (decision, event) = *decided;
                Some(Event::Decided(self.storage.decide(decision, event)))
            }
            Effect::ReadCommit(ticket, _) => {
                let time = self.time_of(number);
                Some(Event::CommitRead(ticket, Ok(self.git.words(time))))
            }
            Effect::Prune => {
                let now = self.time_of(number);
                self.storage.prune(RETENTION, now);
                None
            }
            Effect::Keep(_) | Effect::Answer(..) => None,
            Effect::Review(_) | Effect::SetStatus(..) => Some(Event::Ended(Ok(None))),
            Effect::Study(ticket, _) => Some(Event::Studied(ticket, Answer::Busy)),
        };
        let life = self.daemons[number].life;
        match event {
            Some(event) => {
                let pause = self.dice.between(1, 40);
                self.after(
                    pause,
                    Happening::TellDaemon { daemon: number, life, kind, event: Box::new(event) },
                );
            }
            None => self.landed(number, kind),
        }
    }

    /// What the revision of a plan wants on the node is not removed by it, but where a release failed and is undone.
    fn check_removals(&mut self, plan: &NodePlan) {
        let of = |is_deployed| self.definitions.get(&(plan.revision.clone(), is_deployed));
        let Some(definitions) = of(false).or_else(|| of(true)).filter(|_| !self.witness.has_failed) else {
            return;
        };
        let is_wanted = |remove: &&Remove| {
            let wanted = definitions.desired.instance(&plan.node, &remove.service);
            wanted.is_some_and(|instance| instance.ensure.project == remove.project)
        };
        let parent = plan.parent.and_then(|parent| self.witness.plan(&plan.node, parent));
        let is_new = |service| parent.is_none_or(|parent| parent.step(service).is_none_or(is_ensure));
        let removals = plan.steps.iter().filter_map(|step| match step {
            Step::Remove(remove) if is_new(&remove.service) => Some(remove),
            _ => None,
        });
        let wanted = removals.filter(is_wanted).map(|remove| remove.service.clone()).next();
        self.witness
            .require(2, wanted.is_none(), || format!("{wanted:?} is removed from {} and wanted", plan.node));
    }

    fn count_conflict(&mut self, published: &Published) {
        self.conflicts += u64::from(matches!(published, Published::Conflict(_)));
    }

    /// An effect is not under way any more.
    pub(crate) fn landed(&mut self, number: usize, kind: &'static str) {
        if let Some(count) = self.process(number).and_then(|process| process.flight.get_mut(kind)) {
            *count = count.saturating_sub(1);
        }
    }

    fn fetch(&mut self, number: usize) -> Result<Revision, String> {
        let newest = self.git.fetch()?;
        let seen = self.seen(newest.clone());
        let fetched: Vec<Revision> = self.git.history(&newest).cloned().collect();
        self.daemons[number].mirror.extend(fetched);
        let is_sound = self.git.commit(&newest).is_some_and(|commit| !commit.shape.is_broken);
        let follows = self.witness.deployed().is_none_or(|deployed| self.git.descends(&newest, deployed));
        match is_sound && follows {
            true => self.witness.tell(&Fact::Fetched(number, &newest)),
            false => self.witness.tell(&Fact::Hindered(number)),
        }
        Ok(seen)
    }

    /// What a daemon makes of the newest revision: with the defect that lets it wait, what is deployed as long as a node
    /// is not done with that.
    fn seen(&self, newest: Revision) -> Revision {
        if self.plot.defect != Some(Defect::NewerRevisionsWait) {
            return newest;
        }
        let Snapshot { plans, reported, deployed, .. } = self.storage.facts();
        let is_done =
            |plan: &Arc<NodePlan>| reported.nodes.get(&plan.node).is_some_and(|last| last.status.acks(plan));
        if plans.values().all(is_done) { newest } else { deployed.unwrap_or(newest) }
    }

    fn compare(&self, number: usize, newest: &Revision, base: &Revision) -> Result<bool, String> {
        let mirror = &self.daemons[number].mirror;
        Ok(mirror.contains(base) && self.git.descends(newest, base))
    }

    fn load(
        &mut self,
        number: usize,
        load: gitops::daemon::state::Load,
    ) -> Result<Result<Arc<Definitions>, Vec<gitops_core::diagnostic::Diagnostic>>, String> {
        if !self.daemons[number].mirror.contains(&load.revision) {
            return Err("the mirror does not have it".to_owned());
        }
        let key = (load.revision.clone(), load.is_deployed);
        if let Some(known) = self.definitions.get(&key) {
            return Ok(Ok(known.clone()));
        }
        let commit = self.git.commit(&load.revision).expect("it was fetched");
        let broken = self.plot.defect.and_then(|defect| defect.read(&commit.shape));
        let tree = broken.unwrap_or_else(|| commit.tree.clone());
        let now = self.time_of(number);
        let read = load.read(&tree, now);
        match &read {
            Ok(definitions) => _ = self.definitions.insert(key, definitions.clone()),
            Err(found) => self.note(|| format!("daemon {number} finds {found:?}")),
        }
        Ok(read)
    }

    fn record(&mut self, record: Record) -> Result<Vec<gitops::store::Event>, String> {
        let reports = record.reports.clone();
        let events = record.events.len() as u64;
        let Outcome { said, is_written } = self.storage.record(record);
        for report in reports.iter().filter(|_| is_written) {
            self.witness.tell(&Fact::Recorded { node: &report.node, status: report.status.as_ref() });
        }
        self.events += events;
        said
    }

    /// A request arrives at a daemon.
    pub(crate) fn arrive(&mut self, number: usize, request: Request) {
        let Request { sender, node, hello, ask } = request;
        if self.daemons[number].process.is_none() {
            return self.answer(sender, Reply::Away);
        }
        let (since, at) = (self.now, self.time_of(number));
        let Some(process) = self.process(number) else { return };
        process.tickets += 1;
        let ticket = process.tickets;
        let start = hello.start.map_or(0, |start| start.count);
        let voice = Voice { sender, node: node.clone(), agent: hello.agent.clone(), start, since, at };
        let wish = match ask {
            Ask::Plan(known) => {
                process.callers.insert(ticket, Caller::Poll(voice, known));
                Wish::Pull { node, hello }
            }
            Ask::Report(report) => {
                let said = match &report {
                    Report::Status(status) => Some(status.clone()),
                    Report::Heartbeat { .. } => None,
                };
                process.callers.insert(ticket, Caller::Report(voice, said));
                Wish::Report { node, hello, report }
            }
            Ask::Content(wanted) => return self.serve_content(number, sender, &node, &wanted),
            Ask::Logs => return self.answer(sender, Reply::Taken),
        };
        self.tell_daemon(number, Event::Asked(ticket, wish));
    }

    /// Content that the newest plan of the node names, or the one before it.
    fn serve_content(&mut self, number: usize, sender: Sender, node: &NodeName, wanted: &[Digest]) {
        let Some(process) = self.process(number) else { return };
        let newest = process.posted.get(node).cloned();
        let before = newest.as_ref().and_then(|plan| self.storage.plan(node, plan.parent?));
        let named: BTreeSet<Digest> = newest
            .iter()
            .chain(&before)
            .flat_map(|plan| &plan.steps)
            .filter_map(Step::as_ensure)
            .flat_map(|ensure| ensure.files.values().map(|file| file.digest))
            .collect();
        let is_there = wanted.iter().all(|digest| named.contains(digest) && self.storage.has_blob(*digest));
        self.answer(sender, if is_there { Reply::Content } else { Reply::NotFound });
    }

    /// An operator asks for something.
    pub(crate) fn operate(&mut self, number: usize, wish: Wish) {
        let Some(process) = self.process(number) else { return };
        process.tickets += 1;
        let ticket = process.tickets;
        process.callers.insert(ticket, Caller::Operator);
        self.tell_daemon(number, Event::Asked(ticket, wish));
    }

    fn answered(&mut self, number: usize, ticket: Ticket, answer: Answer) {
        let now = self.now;
        let Some(process) = self.process(number) else { return };
        let caller = process.callers.remove(&ticket);
        let defect = self.plot.defect;
        let lets_in = |is_copy| defect.is_some_and(|defect| defect.lets_in(is_copy));
        match (caller, answer) {
            (Some(Caller::Poll(voice, known)), Answer::Done) => {
                self.let_in(number, &voice);
                let Voice { sender, node, .. } = voice;
                self.hold(number, Poll { sender, node, known, until: now + HOLDS });
            }
            (Some(Caller::Report(voice, said)), Answer::Received(receipt)) => {
                self.let_in(number, &voice);
                let Voice { sender, node, .. } = voice;
                if let Some(said) = said.filter(|_| !receipt.want_status) {
                    let facts = self.storage.facts();
                    let stored = facts.reported.nodes.get(&node).map(|last| &last.status);
                    self.witness.tell(&Fact::Acknowledged {
                        daemon: number,
                        node: &node,
                        said: &said,
                        stored,
                    });
                }
                let heartbeat_seconds = receipt.heartbeat_seconds.into();
                self.answer(sender, Reply::Received { heartbeat_seconds, want_full: receipt.want_status });
            }
            (Some(Caller::Poll(voice, known)), Answer::SecondAgent { is_copy, .. }) if lets_in(is_copy) => {
                self.let_in(number, &voice);
                let Voice { sender, node, .. } = voice;
                self.hold(number, Poll { sender, node, known, until: now + HOLDS });
            }
            (Some(Caller::Poll(voice, _) | Caller::Report(voice, _)), Answer::SecondAgent { .. }) => {
                self.answer(voice.sender, Reply::SecondAgent);
            }
            (Some(Caller::Poll(voice, _) | Caller::Report(voice, _)), _) => {
                self.answer(voice.sender, Reply::Away)
            }
            (Some(Caller::Operator), answer) => {
                self.note(|| format!("daemon {number} tells an operator: {answer:?}"))
            }
            (None, _) => {}
        }
    }

    fn let_in(&mut self, number: usize, voice: &Voice) {
        let Voice { sender, node, agent, start, since, at } = voice;
        let (machine, start, asked, at) = (sender.machine, *start, *since, *at);
        self.witness.tell(&Fact::Heard { daemon: number, at, asked, node, machine, agent, start });
    }

    /// Answers with a plan that is another, or holds the request.
    fn hold(&mut self, number: usize, poll: Poll) {
        let life = self.daemons[number].life;
        let Some(process) = self.process(number) else { return };
        let newest = process.posted.get(&poll.node).cloned();
        match newest.filter(|plan| Some(plan.digest) != poll.known) {
            Some(plan) => self.answer(poll.sender, Reply::Plan(plan)),
            None => {
                let until = poll.until;
                process.polls.push(poll);
                self.after(until - self.now, Happening::PollsOver { daemon: number, life });
            }
        }
    }

    /// The time of held requests is over.
    pub(crate) fn end_polls(&mut self, number: usize) {
        let now = self.now;
        let Some(process) = self.process(number) else { return };
        let (over, held) = std::mem::take(&mut process.polls).into_iter().partition(|poll| poll.until <= now);
        process.polls = held;
        for Poll { sender, .. } in over {
            self.answer(sender, Reply::NoPlan);
        }
    }

    /// How the daemon sees the fleet; none while it is down.
    pub(crate) fn fleet(&self, number: usize) -> Option<gitops_core::fleet::FleetStatus> {
        self.daemons[number].process.as_ref().map(|process| process.state.fleet())
    }

    /// How many requests wait at a daemon.
    pub(crate) fn waiting_at(&self, number: usize) -> usize {
        self.daemons[number].process.as_ref().map_or(0, |process| process.callers.len() + process.polls.len())
    }
}

fn is_ensure(step: &Step) -> bool {
    step.as_ensure().is_some()
}

fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Fetch => "fetch",
        Effect::Compare { .. } => "compare",
        Effect::Load(_) => "load",
        Effect::Keep(_) => "keep",
        Effect::Pass(_) => "pass",
        Effect::Publish(_) => "publish",
        Effect::Reload => "reload",
        Effect::Peek { .. } => "peek",
        Effect::Record { .. } => "record",
        Effect::Review(_) => "review",
        Effect::SetStatus(..) => "set status",
        Effect::Decide(_) => "decide",
        Effect::ReadCommit(..) => "read commit",
        Effect::Prune => "prune",
        Effect::Study(..) => "study",
        Effect::Answer(..) => "answer",
    }
}
