//! A machine, a disk and a daemon in memory, in virtual time, around one [`State`].
//!
//! Every effect is one possible place of a crash: [`World::crash_at`] stops the process just before it. What Docker
//! and the disk hold then stays, and the next process starts from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, NodePlan, RunState, Step};
use gitops_core::status::{
    AgentInfo, Container, ContainerState, Difference, DriftOutcome, Health, HostInfo, NodeStatus, Orphans,
    StepOutcome, StepResult,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::agent::state::{Answer, Cause, Effect, Event, Failed, Message, Offer, Settings, State};
use crate::apply::{Fault, Limits};
use crate::checks::Answer as Said;
use crate::drift::{Act, Call, Pictures, Seen, Touch, Undo};
use crate::host::{HookCall, Observation};
use crate::journal::{HookEnd, HookRun, Journal};
use crate::ledger::Record;
use crate::moment::Moment;
use crate::picture::Picture;
use crate::testing::{container, node};

/// How the containers of a service behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Runs,
    /// Compose fails.
    Refuses,
    /// Its health check says `starting` for ever.
    NeverHealthy,
    /// It ends at once with this exit code.
    Ends(i64),
    /// Docker restarts it each second.
    Loops,
    /// It is killed for want of memory, and Docker starts it again.
    Starves,
}

/// What will happen at some time.
enum Happening {
    Event(Event),
    /// Compose gets to the containers.
    Change(Step),
    /// Compose gets to the container of a hook.
    HookStarts(HookCall),
    /// The container of a hook ends, and whoever waits for it hears it.
    HookEnds(Arc<str>),
    /// The engine does what undoes something, one after the other.
    Undo(Step, Vec<Undo>),
    /// The daemon's patience with the request of this number is over.
    PollOver(u64),
    Restart(ServiceName),
}

pub(super) struct World {
    pub(super) state: State,
    pub(super) now: Duration,
    /// How far the clock on the wall was set wrong.
    pub(super) clock_off: SignedDuration,
    started: Duration,
    order: u64,
    queue: BTreeMap<(Duration, u64), Happening>,
    // The disk.
    pub(super) ledger: Option<Arc<NodePlan>>,
    record: Record,
    pub(super) journal: Journal,
    pub(super) pictures: Pictures,
    /// The content that was kept when others was last deleted.
    pub(super) kept: BTreeSet<Digest>,
    /// How often the pictures were written down.
    pub(super) saves: usize,
    /// Whether there is room on it.
    pub(super) disk_full: bool,
    /// The same for the journal alone.
    pub(super) journal_full: bool,
    /// Instances whose folder was deleted.
    pub(super) lost: BTreeSet<ServiceName>,
    // Docker.
    pub(super) docker: BTreeMap<ServiceName, Vec<Container>>,
    /// How its containers are made up, by id, where others changed that.
    pub(super) altered: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Value>>,
    pub(super) behaviour: BTreeMap<&'static str, Behaviour>,
    pub(super) docker_answers: bool,
    /// The containers of hooks, by name: whether each runs.
    pub(super) hooks: BTreeMap<Arc<str>, bool>,
    /// Who waits for the end of one.
    awaited: BTreeMap<Arc<str>, HookCall>,
    /// Hooks that fail, by Compose service.
    pub(super) failing_hooks: BTreeSet<&'static str>,
    /// What containers answer.
    pub(super) answer: Said,
    /// When they were asked.
    pub(super) questions: Vec<Duration>,
    pub(super) orphans: Orphans,
    /// How often it was looked at, and asked what it is.
    pub(super) looks: (usize, usize),
    made: u64,
    // The daemon.
    offered: Option<Arc<NodePlan>>,
    pub(super) daemon_answers: bool,
    pub(super) rival: bool,
    pub(super) blobs_answer: bool,
    polling: Option<(u64, Option<Digest>)>,
    pub(super) reported: Vec<Message>,
    known: Option<Digest>,
    // What is asked of it.
    /// `up web`, `down web`, with the time in seconds.
    pub(super) calls: Vec<(u64, String)>,
    pub(super) polls: Vec<Duration>,
    /// When it was handed logs.
    pub(super) log_pieces: Vec<Duration>,
    pub(super) effects: usize,
    pub(super) crash_at: Option<usize>,
    /// Whether a call of Compose ends with the agent, before it changed anything, or goes on by itself.
    pub(super) compose_dies: bool,
}

fn state(ledger: Option<Arc<NodePlan>>, record: Record, journal: Journal, pictures: Pictures) -> State {
    let settings = Settings {
        node: node(),
        agent: AgentInfo { id: "a1".into(), version: "1".into(), start: None },
        limits: Limits { concurrency: 2, settle: Duration::from_secs(3) },
        observe_every: Duration::from_secs(10),
        heartbeat: Duration::from_secs(15),
    };
    State::new(settings, ledger, record, journal).with_pictures(pictures)
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            state: state(None, Record::new(), Journal::new(), Pictures::default()),
            now: Duration::ZERO,
            clock_off: SignedDuration::ZERO,
            started: Duration::ZERO,
            order: 0,
            queue: BTreeMap::new(),
            ledger: None,
            record: Record::new(),
            journal: Journal::new(),
            pictures: Pictures::default(),
            kept: BTreeSet::new(),
            saves: 0,
            disk_full: false,
            journal_full: false,
            lost: BTreeSet::new(),
            docker: BTreeMap::new(),
            altered: BTreeMap::new(),
            behaviour: BTreeMap::new(),
            docker_answers: true,
            hooks: BTreeMap::new(),
            awaited: BTreeMap::new(),
            failing_hooks: BTreeSet::new(),
            answer: Said::Good,
            questions: Vec::new(),
            orphans: Orphans::default(),
            looks: (0, 0),
            made: 0,
            offered: None,
            daemon_answers: true,
            rival: false,
            blobs_answer: true,
            polling: None,
            reported: Vec::new(),
            known: None,
            calls: Vec::new(),
            polls: Vec::new(),
            log_pieces: Vec::new(),
            effects: 0,
            crash_at: None,
            compose_dies: false,
        }
    }

    /// The daemon stores a plan and answers whoever waits for one.
    pub(super) fn publish(&mut self, plan: NodePlan) {
        self.offered = Some(Arc::new(plan));
        if let Some((number, _)) = self.polling {
            self.after(Duration::ZERO, Happening::PollOver(number));
        }
    }

    /// A line is written to the log of a step.
    pub(super) fn log(&mut self) {
        self.after(Duration::ZERO, Happening::Event(Event::Logged));
    }

    /// The disk holds a record as the first versions wrote it.
    pub(super) fn forget_steps(&mut self) {
        self.record.values_mut().for_each(|applied| applied.step = None);
    }

    /// `docker kill`.
    pub(super) fn kill(&mut self, service: &str) {
        for container in self.docker.get_mut(service).into_iter().flatten() {
            (container.state, container.exit_code) = (ContainerState::Exited, Some(137));
        }
        self.after(Duration::ZERO, Happening::Event(Event::Changed));
    }

    /// What somebody types, and Docker tells.
    pub(super) fn touch(&mut self, service: &str, act: Act) {
        let containers = self.docker.get(service).cloned().unwrap_or_default();
        for container in containers {
            let touch = Touch { container: container.id.clone(), act, at: self.wall() };
            self.after(Duration::ZERO, Happening::Event(Event::Touched { service: None, touch }));
        }
    }

    /// `docker update`, of one field.
    pub(super) fn update(&mut self, service: &str, field: &str, value: u64) {
        for container in self.docker.get(service).into_iter().flatten() {
            let fields = self.altered.entry(container.id.clone()).or_default();
            fields.insert(field.into(), value.into());
        }
        self.touch(service, Act::Update);
    }

    /// `docker stop`.
    pub(super) fn stop(&mut self, service: &str) {
        for act in [Act::Stop, Act::Die, Act::Stop] {
            self.touch(service, act);
        }
        for container in self.docker.get_mut(service).into_iter().flatten() {
            (container.state, container.exit_code) = (ContainerState::Exited, Some(143));
        }
    }

    /// `docker rm --force`.
    pub(super) fn remove_by_hand(&mut self, service: &str) {
        for act in [Act::Kill, Act::Die, Act::Remove] {
            self.touch(service, act);
        }
        self.docker.remove(service);
    }

    /// How the containers are made up.
    fn seen(&self) -> Seen {
        let picture = |container: &Container| {
            let mut fields: BTreeMap<String, Value> = [
                ("image".to_owned(), container.image.as_ref().into()),
                ("resources.memory".to_owned(), (1_u64 << 27).into()),
            ]
            .into();
            let altered = self.altered.get(&container.id).into_iter().flatten();
            fields.extend(altered.map(|(field, value)| (field.to_string(), value.clone())));
            let picture = Picture::new(&container.service, &container.name, fields);
            (container.id.clone(), Arc::new(picture))
        };
        self.docker.values().flatten().map(picture).collect()
    }

    /// What others changed of a service, in words, as it is reported.
    pub(super) fn drift(&self, service: &str) -> Vec<String> {
        let status = self.state.status().expect("Docker was looked at");
        let told = status.drift.get(service).map(Vec::as_slice).unwrap_or_default();
        let words =
            |told: &Difference| format!("{}: {}", told.line(), told.outcome.map_or("", DriftOutcome::words));
        told.iter().map(words).collect()
    }

    /// `kill -9` of the agent, and its next start.
    pub(super) fn restart(&mut self) {
        let compose_dies = self.compose_dies;
        self.queue.retain(|_, happening| match happening {
            Happening::Change(_) | Happening::Undo(..) | Happening::HookStarts(_) => !compose_dies,
            Happening::Restart(_) | Happening::HookEnds(_) => true,
            Happening::Event(_) | Happening::PollOver(_) => false,
        });
        self.polling = None;
        self.awaited.clear();
        self.started = self.now;
        let (record, journal) = (self.record.clone(), self.journal.clone());
        self.state = state(self.ledger.clone(), record, journal, self.pictures.clone());
        self.step(Event::Tick);
    }

    pub(super) fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..200_000 {
            let wake = self.state.wake_at().map(|at| self.started + at);
            let next = self.queue.first_key_value().map(|(key, _)| key.0);
            let Some(at) = wake.into_iter().chain(next).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            match next.filter(|next| *next <= self.now).and_then(|_| self.queue.pop_first()) {
                Some((_, happening)) => self.happen(happening),
                None => self.step(Event::Tick),
            }
        }
        panic!("the agent goes round in circles");
    }

    pub(super) fn result(&self, service: &str) -> StepResult {
        let status = self.state.status().expect("Docker was looked at");
        status.steps.get(service).cloned().unwrap_or_else(|| panic!("no result of {service}"))
    }

    pub(super) fn outcome(&self, service: &str) -> StepOutcome {
        self.result(service).outcome
    }

    /// What the daemon was told in full last.
    pub(super) fn last_status(&self) -> &NodeStatus {
        let full = |message: &_| matches!(message, Message::Full(_));
        match self.reported.iter().rfind(|message| full(message)) {
            Some(Message::Full(status)) => status,
            _ => panic!("nothing was reported"),
        }
    }

    /// The calls of Compose without their times.
    pub(super) fn called(&self) -> Vec<&str> {
        self.calls.iter().map(|(_, call)| call.as_str()).collect()
    }

    fn after(&mut self, pause: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + pause, self.order), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Event(event) => self.step(event),
            Happening::Change(step) => self.change(&step),
            Happening::HookStarts(call) => self.hook_starts(call),
            Happening::HookEnds(name) => self.hook_ends(&name),
            Happening::Undo(step, undo) => self.undo(&step, &undo),
            Happening::Restart(service) => self.restart_container(&service),
            Happening::PollOver(number) => {
                if let Some((_, known)) = self.polling.take_if(|(current, _)| *current == number) {
                    let answer = self.plan_for(known);
                    self.step(Event::Polled(answer));
                }
            }
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.state.step(event, self.moment()) {
            self.effects += 1;
            if self.crash_at == Some(self.effects) {
                self.restart();
                return;
            }
            self.perform(effect);
        }
    }

    pub(super) fn moment(&self) -> Moment {
        let dice = self.order.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Moment { elapsed: self.now - self.started, wall: self.wall(), dice }
    }

    fn wall(&self) -> Timestamp {
        let since = SignedDuration::try_from(self.now).unwrap() + self.clock_off;
        Timestamp::from_second(1_000_000).unwrap() + since
    }

    fn perform(&mut self, effect: Effect) {
        let soon = Duration::from_millis(5);
        match effect {
            Effect::Poll { known } => {
                self.polls.push(self.now);
                self.order += 1;
                self.polling = Some((self.order, known));
                let waits =
                    self.daemon_answers && !self.rival && matches!(self.plan_for(known), Ok(Offer::Nothing));
                let pause = if waits { Duration::from_secs(55) } else { soon };
                self.after(pause, Happening::PollOver(self.order));
            }
            Effect::Fetch { plan } => {
                let result = if self.blobs_answer { Ok(()) } else { Err(unreachable()) };
                self.after(soon, Happening::Event(Event::Fetched { plan, result }));
            }
            Effect::Save { plan } => {
                let result = if self.disk_full { Err(no_space()) } else { Ok(plan) };
                let result = result.map(|plan| self.ledger = Some(plan));
                self.after(Duration::ZERO, Happening::Event(Event::Saved(result)));
            }
            Effect::SaveRecord(_) if self.disk_full => {}
            Effect::SaveRecord(record) => self.record = record,
            Effect::SavePictures(_) if self.disk_full => {}
            Effect::SavePictures(pictures) => {
                self.saves += 1;
                self.pictures = pictures;
            }
            Effect::Orphans => self.after(soon, Happening::Event(Event::Orphans(Ok(self.orphans.clone())))),
            Effect::Observe { .. } => {
                self.looks.0 += 1;
                let (instances, lost) = (self.docker.clone(), self.lost.clone());
                let observation = Observation { instances, lost, pictures: self.seen() };
                let answer = if self.docker_answers { Ok(observation) } else { Err(unreachable()) };
                self.after(soon, Happening::Event(Event::Observed(answer)));
            }
            Effect::Info => {
                self.looks.1 += 1;
                let problem = (!self.docker_answers).then(|| "Docker does not answer".to_owned());
                let host = HostInfo { problem, ..HostInfo::default() };
                self.after(soon, Happening::Event(Event::Informed(host)));
            }
            Effect::Begin { step, .. } => self.begin(step),
            Effect::SaveJournal(journal) => {
                let result = if self.journal_full { Err(no_space()) } else { Ok(()) };
                if result.is_ok() {
                    self.journal = journal;
                }
                self.after(Duration::ZERO, Happening::Event(Event::Journaled(result)));
            }
            Effect::RunHook { call, .. } => self.run_hook(call),
            Effect::ForgetHook { container } => {
                assert!(self.written(&container).is_some_and(|run| run.end.is_some()), "{container}");
                self.hooks.remove(&container);
            }
            Effect::Probe(ask) => {
                self.questions.push(self.now);
                let event = Event::Probed { number: ask.number, answer: self.answer.clone() };
                self.after(soon, Happening::Event(event));
            }
            Effect::Correct { step, undo, .. } => self.correct(step, undo),
            Effect::ReadLogs { service, container } => {
                let lines = vec!["no such table: users".to_owned()];
                self.after(soon, Happening::Event(Event::Logs { service, container, lines }));
            }
            Effect::Report(message) => self.report(message),
            Effect::SendLogs => {
                self.log_pieces.push(self.now);
                let answer = if self.daemon_answers { Ok(false) } else { Err(unreachable()) };
                self.after(soon, Happening::Event(Event::LogsSent(answer)));
            }
            Effect::Prune { keep } => self.kept = keep,
            Effect::Snapshot(_) | Effect::Tell(..) => {}
        }
    }

    fn plan_for(&self, known: Option<Digest>) -> Result<Offer, Failed> {
        if self.rival {
            return Err(Failed { message: "second agent".to_owned(), cause: Cause::SecondAgent });
        }
        if !self.daemon_answers {
            return Err(unreachable());
        }
        let newer = self.offered.clone().filter(|plan| Some(plan.digest) != known);
        Ok(newer.map_or(Offer::Nothing, Offer::Plan))
    }

    fn report(&mut self, message: Message) {
        let answer = if self.daemon_answers && !self.rival {
            let want_full = match &message {
                Message::Full(status) => {
                    self.known = Some(status.digest());
                    false
                }
                Message::Heartbeat { digest } => self.known != Some(*digest),
            };
            self.reported.push(message);
            Ok(Answer { heartbeat_seconds: 15, want_full })
        } else {
            Err(Failed { cause: if self.rival { Cause::SecondAgent } else { Cause::Away }, ..unreachable() })
        };
        self.after(Duration::from_millis(5), Happening::Event(Event::Reported(answer)));
    }

    /// The daemon loses what it knew.
    pub(super) fn forget_status(&mut self) {
        self.known = None;
    }

    /// Compose takes two seconds; halfway the containers change.
    fn begin(&mut self, step: Step) {
        let verb = if step.as_ensure().is_some() { "up" } else { "down" };
        self.calls.push((self.now.as_secs(), format!("{verb} {}", step.service())));
        let refuses = self.behaves(step.service()) == Behaviour::Refuses;
        let fault =
            || Fault { message: "docker compose up failed: no such image".into(), lacks_content: false };
        let result = if refuses { Err(fault()) } else { Ok(()) };
        if !refuses {
            self.after(Duration::from_secs(1), Happening::Change(step.clone()));
        }
        self.after(Duration::from_secs(2), Happening::Event(Event::Ended { step, result }));
    }

    /// What the disk says of a hook.
    fn written(&self, container: &Arc<str>) -> Option<&HookRun> {
        self.journal.values().find_map(|change| change.hooks.get(container))
    }

    /// As the host does it: one that is there is awaited, and no other is made beside one that Compose is at work on.
    fn run_hook(&mut self, call: HookCall) {
        assert!(self.written(&call.container).is_some_and(|run| run.end.is_none()), "{call:?}");
        let name = call.container.clone();
        let is_coming = |happening: &Happening| matches!(happening, Happening::HookStarts(other) if other.container == name);
        match self.hooks.get(&name) {
            None if self.queue.values().any(is_coming) => drop(self.awaited.insert(name, call)),
            None if call.start.is_none() => {
                let event = Event::HookEnded { call, result: Ok(None) };
                self.after(Duration::ZERO, Happening::Event(event));
            }
            None => {
                self.awaited.insert(name, call.clone());
                self.after(Duration::from_secs(1), Happening::HookStarts(call));
            }
            Some(true) => drop(self.awaited.insert(name, call)),
            Some(false) => {
                self.awaited.insert(name.clone(), call);
                self.after(Duration::ZERO, Happening::HookEnds(name));
            }
        }
    }

    fn hook_starts(&mut self, call: HookCall) {
        let name = call.container.clone();
        self.calls.push((self.now.as_secs(), format!("hook {}", call.run.service)));
        assert_eq!(self.hooks.insert(name.clone(), true), None, "{name} is made once");
        self.after(Duration::from_secs(3), Happening::HookEnds(name));
    }

    fn hook_ends(&mut self, name: &Arc<str>) {
        self.hooks.entry(name.clone()).and_modify(|runs| *runs = false);
        let Some(call) = self.awaited.remove(name) else { return };
        let failed = || HookEnd::Failed("ended with exit code 3\nits last lines:\nno such table".to_owned());
        let fails = self.failing_hooks.contains(&*call.run.service);
        let end = if fails { failed() } else { HookEnd::Done };
        self.step(Event::HookEnded { call, result: Ok(Some(end)) });
    }

    /// A call of the engine takes a tenth of a second; Compose as long as ever.
    fn correct(&mut self, step: Step, undo: Vec<Undo>) {
        let calls = undo.iter().map(|undo| match undo {
            Undo::Call { call: Call::Update(..), .. } => "update",
            Undo::Call { call: Call::Start, .. } => "start",
            Undo::Call { call: Call::Unpause, .. } => "unpause",
            Undo::Call { .. } => "call",
            Undo::Recreate(_) => "recreate",
            Undo::Up => "up",
        });
        let calls: BTreeSet<&str> = calls.collect();
        let calls: Vec<&str> = calls.into_iter().collect();
        self.calls.push((self.now.as_secs(), format!("{} {}", calls.join(" "), step.service())));
        let pause = Duration::from_millis(if calls.contains(&"up") { 1000 } else { 100 });
        self.after(pause, Happening::Undo(step.clone(), undo));
        self.after(pause * 2, Happening::Event(Event::Ended { step, result: Ok(()) }));
    }

    fn undo(&mut self, step: &Step, undo: &[Undo]) {
        for one in undo {
            match one {
                Undo::Call { container, call: Call::Update(..), .. } => drop(self.altered.remove(container)),
                Undo::Call { call: Call::Start | Call::Unpause, .. } => {
                    for container in self.docker.get_mut(step.service()).into_iter().flatten() {
                        (container.state, container.exit_code) = (ContainerState::Running, None);
                    }
                }
                Undo::Recreate(_) => {
                    self.docker.remove(step.service());
                    self.change(step);
                }
                Undo::Call { .. } | Undo::Up => self.change(step),
            }
        }
        self.touch(step.service().as_str(), Act::Start);
        self.step(Event::Changed);
    }

    fn behaves(&self, service: &ServiceName) -> Behaviour {
        self.behaviour.get(service.as_str()).copied().unwrap_or(Behaviour::Runs)
    }

    fn change(&mut self, step: &Step) {
        self.lost.remove(step.service());
        match step {
            Step::Remove(remove) => {
                self.docker.remove(&remove.service);
            }
            Step::Ensure(ensure) => {
                let made = self.made_of(ensure);
                self.docker.insert(ensure.service.clone(), vec![made]);
            }
        }
        self.step(Event::Changed);
    }

    /// What Compose makes of a step: the container that is there, if it was made from the same.
    fn made_of(&mut self, ensure: &Ensure) -> Container {
        let config = Some(ensure.containers["app"].config);
        let old = self.docker.get(&ensure.service).and_then(|old| old.first());
        let mut made = match old.filter(|old| old.config == config) {
            Some(old) => old.clone(),
            None => {
                self.made += 1;
                let id = format!("{}-{}", ensure.service, self.made).into();
                Container { config, id, ..container(ensure.service.as_str(), "") }
            }
        };
        if made.state != ContainerState::Running || made.started_at.is_none() {
            made.started_at = Some(self.wall());
        }
        (made.state, made.exit_code) = (ContainerState::Running, None);
        match self.behaves(&ensure.service) {
            _ if ensure.state == RunState::Stopped => made.state = ContainerState::Created,
            Behaviour::Runs | Behaviour::Refuses => made.health = Health::None,
            Behaviour::NeverHealthy => made.health = Health::Starting,
            Behaviour::Ends(code) => (made.state, made.exit_code) = (ContainerState::Exited, Some(code)),
            Behaviour::Starves => (made.state, made.oom_killed) = (ContainerState::Restarting, true),
            Behaviour::Loops => {
                self.after(Duration::from_secs(1), Happening::Restart(ensure.service.clone()));
            }
        }
        made
    }

    fn restart_container(&mut self, service: &ServiceName) {
        if self.behaves(service) == Behaviour::Loops {
            for container in self.docker.get_mut(service).into_iter().flatten() {
                container.restarts += 1;
            }
            self.after(Duration::from_secs(1), Happening::Restart(service.clone()));
        }
    }
}

fn unreachable() -> Failed {
    Failed { message: "cannot reach the daemon".to_owned(), cause: Cause::Away }
}

fn no_space() -> Failed {
    Failed { message: "No space left on device".to_owned(), cause: Cause::Disk }
}
