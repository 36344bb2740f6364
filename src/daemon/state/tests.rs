//! The state machine as tables: what comes in, what is to be done, and how the source stands after it.

mod others;
mod decisions;
mod outbox;
mod plans;
mod questions;
mod releases;
mod reports;
mod source;

use std::fmt::Write as _;

use gitops_core::diagnostic::Diagnostic;
use gitops_core::diagnostic::Place;
use gitops_core::fleet::SourceState;
use gitops_core::name::Generation;
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Report, SPOKEN};
use gitops_core::reconcile::Known;
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, PlanId, ReportedNode, Start};
use gitops_core::tree::Tree;

use super::*;
use crate::daemon::outbox::Setback;
use crate::store::Decided;
use crate::store::outbox::Outbox;
use crate::store::outbox::{Change, ErrandKey};

fn rev(letter: char) -> Revision {
    letter.to_string().repeat(40).parse().expect("hexadecimal")
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a label")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).expect("a time")
}

fn policy() -> Policy {
    Policy {
        url: "/repo".into(),
        branch: "main".into(),
        poll: SignedDuration::from_secs(30),
        deploy: Deploy::Auto,
        heartbeat: SignedDuration::from_secs(10),
        prune: SignedDuration::from_hours(1),
        forge: None,
        seed: 7,
    }
}

fn definitions(letter: char) -> Arc<Definitions> {
    let tree = Arc::new(Tree::from_files([("gitops.toml", "format = 1\nname = \"test\"\n")]));
    Arc::new(
        Definitions::load(rev(letter), &tree, &Known::at(Timestamp::UNIX_EPOCH))
            .expect("the smallest repository is valid"),
    )
}

fn mistakes() -> Vec<Diagnostic> {
    vec![Diagnostic::error("unknown-field", Place::file("nodes/a.yaml"), "there is no field `lables`")]
}

fn plan(name: &str, generation: u64, parent: Option<&NodePlan>) -> Arc<NodePlan> {
    let parent = parent.map(|plan| plan.digest);
    Arc::new(NodePlan::new(node(name), Generation(generation), parent, rev('a'), Vec::new()))
}

fn status(name: &str, agent: &str, accepted: Option<&NodePlan>) -> Arc<NodeStatus> {
    Arc::new(NodeStatus {
        schema: 1,
        node: node(name),
        agent: who(agent),
        host: HostInfo { name: format!("host-of-{}", who(agent).id).into(), ..HostInfo::default() },
        accepted: accepted.map(PlanId::of),
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    })
}

/// Of an agent `x`, or of the start `x 17-1` of it.
fn who(agent: &str) -> AgentInfo {
    let (id, start) = agent.split_once(' ').unwrap_or((agent, ""));
    let start = start.split_once('-').map(|(count, nonce)| Start {
        count: count.parse().expect("a number"),
        nonce: nonce.parse().expect("a number"),
    });
    AgentInfo { id: id.into(), version: "0.1.0".into(), start }
}

fn hello(agent: &str) -> Hello {
    let AgentInfo { id: agent, version, start } = who(agent);
    let host = format!("host-of-{agent}").into();
    Hello { protocols: SPOKEN, agent, version, host, node: None, start }
}

/// A state under test, its clock, and the events that it wanted recorded.
struct Case {
    state: State,
    now: i64,
    told: Vec<String>,
    /// What a store would hold.
    stored: Outbox,
    /// The store does not take what is recorded.
    full_disk: bool,
    /// Whether the store has something new is said by the test.
    others_write: bool,
}

impl Case {
    /// From an empty store; the first look is under way.
    fn new() -> Self {
        Self::over(Snapshot::default(), "fetch")
    }

    /// From a store with content.
    fn over(snapshot: Snapshot, expected: &str) -> Self {
        Self::under(policy(), snapshot, expected)
    }

    /// The same with other numbers.
    fn under(policy: Policy, snapshot: Snapshot, expected: &str) -> Self {
        let stored = snapshot.outbox.clone();
        let (state, effects) = State::new(policy, snapshot, at(0));
        let mut case =
            Self { state, now: 0, told: Vec::new(), stored, full_disk: false, others_write: false };
        assert_eq!(case.describe(effects), expected, "at the start");
        case
    }

    /// With `a` deployed and its definitions loaded.
    fn deployed() -> Self {
        let mut case = Self::new();
        case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
        case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
        case.check(Event::Passed(Outcome::default(), None), "publish 0 plans, deploying a");
        case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep a");
        case.told.clear();
        case
    }

    /// Lets the event happen now and compares what is to be done. What is recorded is recorded at once and kept in
    /// `told`, so that tables show decisions and not bookkeeping.
    fn check(&mut self, event: Event, expected: &str) {
        let label = format!("{event:?}");
        let effects = step(&mut self.state, event, at(self.now));
        let done = self.describe(effects);
        assert_eq!(done, expected, "after {label:.120}");
    }

    fn at(&mut self, now: i64) -> &mut Self {
        self.now = now;
        self
    }

    fn ask(&mut self, ticket: Ticket, request: Request, expected: &str) {
        self.check(Event::Asked(ticket, request), expected);
    }

    fn report(&mut self, ticket: Ticket, agent: &str, status: &Arc<NodeStatus>, expected: &str) {
        let (node, report) = (status.node.clone(), Report::Status(status.clone()));
        self.ask(ticket, Request::Report { node, hello: hello(agent), report }, expected);
    }

    fn heartbeat(&mut self, ticket: Ticket, agent: &str, status: &NodeStatus, expected: &str) {
        let report = Report::Heartbeat { digest: status.digest() };
        self.ask(
            ticket,
            Request::Report { node: status.node.clone(), hello: hello(agent), report },
            expected,
        );
    }

    /// The store was read, and holds nothing that this daemon does not know of beside this.
    fn reloaded(&mut self, snapshot: Snapshot, expected: &str) {
        let snapshot = Snapshot { version: self.state.deciding.known(), ..snapshot };
        self.check(Event::Reloaded(Ok(snapshot.into())), expected);
    }

    fn source(&self) -> SourceState {
        self.state.fleet().source.state
    }

    fn describe(&mut self, effects: Vec<Effect>) -> String {
        let mut words = Vec::new();
        for effect in effects {
            match effect {
                Effect::Record { .. } if self.full_disk => {
                    let failed = Event::Recorded(Err("the disk is full".to_owned()));
                    let after = step(&mut self.state, failed, at(self.now));
                    words.extend(Some(self.describe(after)).filter(|text| !text.is_empty()));
                }
                Effect::Record { reports, events, outbox, .. } => {
                    self.keep(outbox);
                    self.told.extend(events.iter().map(|event| event.kind.to_string()));
                    words.extend((!reports.is_empty()).then(|| format!("record {}", reports.len())));
                    let after = step(&mut self.state, Event::Recorded(Ok(Vec::new())), at(self.now));
                    words.extend(Some(self.describe(after)).filter(|text| !text.is_empty()));
                }
                // Nobody else writes, where nothing else is said.
                Effect::Peek { after } if !self.others_write => {
                    let after = step(&mut self.state, Event::Peeked(Ok(after)), at(self.now));
                    words.extend(Some(self.describe(after)).filter(|text| !text.is_empty()));
                }
                effect => words.push(word(&effect)),
            }
        }
        words.join(", ")
    }

    fn keep(&mut self, changes: BTreeMap<ErrandKey, Change>) {
        for (key, change) in changes {
            match change {
                Change::Put(errand) => self.stored.insert(key, errand),
                Change::Done(_) => self.stored.remove(&key),
            };
        }
    }

    /// The keys of what a store would hold.
    fn stored(&self) -> String {
        self.stored.keys().map(|key| &**key).collect::<Vec<_>>().join(" ")
    }

    fn told(&mut self) -> String {
        std::mem::take(&mut self.told).join(" ")
    }
}

fn word(effect: &Effect) -> String {
    let short = |revision: &Revision| revision.as_str()[..1].to_owned();
    match effect {
        Effect::Fetch => "fetch".to_owned(),
        Effect::Compare { newest, base } => format!("compare {} to {}", short(newest), short(base)),
        Effect::Load(Load { revision, .. }) => format!("load {}", short(revision)),
        Effect::Keep(revision) => format!("keep {}", short(revision)),
        Effect::Pass(pass) => format!("pass over {}", short(&pass.definitions.revision)),
        Effect::Publish(publication) => {
            let mut text = format!("publish {} plans", publication.plans.len());
            if let Some(revision) = &publication.deployed {
                write!(text, ", deploying {}", short(revision)).expect("a String");
            }
            text
        }
        Effect::Reload => "reload".to_owned(),
        Effect::Record { .. } => "record".to_owned(),
        Effect::Peek { after } => format!("peek after {after}"),
        Effect::Prune => "prune".to_owned(),
        Effect::Review(review) => format!("review {}", review.number),
        Effect::SetStatus(revision, status) => {
            format!("status of {}: {:?} {}", short(revision), status.state, status.description)
        }
        Effect::Decide(decided) => format!("decide: {}", decided.1.message),
        Effect::ReadCommit(ticket, revision) => format!("who wrote {} for {ticket}", short(revision)),
        Effect::Study(ticket, _) => format!("study {ticket}"),
        Effect::Answer(ticket, answer) => match answer {
            Answer::Done => format!("{ticket}: done"),
            Answer::Received(receipt) if receipt.want_status => format!("{ticket}: wanted in full"),
            Answer::Received(_) => format!("{ticket}: received"),
            Answer::Synced(synced) => {
                let revision = synced.revision.as_ref().map_or("nothing".to_owned(), short);
                format!("{ticket}: {revision} is {:?}", synced.source.state)
            }
            Answer::Fleet(_) => format!("{ticket}: fleet"),
            Answer::Source(_) => format!("{ticket}: source"),
            Answer::Previewed(_) => format!("{ticket}: previewed"),
            Answer::Drift(_) => format!("{ticket}: drift"),
            Answer::Applied(_) => format!("{ticket}: applied"),
            Answer::PlanMoved { revision } => format!("{ticket}: {} is another plan", short(revision)),
            Answer::BaseMoved { deployed } => {
                format!("{ticket}: {} is deployed", deployed.as_ref().map_or("nothing".to_owned(), short))
            }
            Answer::Unfit(why) | Answer::NoRevision(why) => format!("{ticket}: {why}"),
            Answer::Busy => format!("{ticket}: busy"),
            Answer::NotReady => format!("{ticket}: not ready"),
            Answer::SecondAgent { host, since, is_copy, .. } => {
                let since =
                    since.map_or("ever".to_owned(), |since| (since.as_second() - 1_000_000).to_string());
                let copy = if *is_copy { "a copy of " } else { "" };
                format!("{ticket}: {copy}{host} since {since}")
            }
            Answer::Held(hold) => format!("{ticket}: hold {}", hold.number),
            Answer::NoHold(number) => format!("{ticket}: no hold {number}"),
            Answer::Voted(view) => {
                format!(
                    "{ticket}: {} for, {} against",
                    view.tally.approved_by.len(),
                    view.tally.rejected_by.len()
                )
            }
            Answer::Approvals(awaiting) => format!("{ticket}: {} wait", awaiting.len()),
            Answer::NotAwaited(why) => format!("{ticket}: {why}"),
            Answer::OwnChange(revision) => format!("{ticket}: wrote {}", short(revision)),
            Answer::Full => format!("{ticket}: full"),
            Answer::NotStored => format!("{ticket}: not stored"),
            Answer::Stopping => format!("{ticket}: stopping"),
        },
    }
}

#[test]
fn a_push_becomes_a_publication() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    let first = Arc::new(NodePlan::new(node("n"), Generation(1), None, rev('b'), Vec::new()));
    let outcome = Outcome { plans: vec![first], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans, deploying b");
    assert!(case.state.plans.is_empty(), "nothing is shown before it is durable");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep b");
    assert_eq!(case.state.plans.len(), 1);
    assert_eq!(case.state.fleet().source.deployed, Some(rev('b')));
    assert_eq!(case.told(), "source.moved");
}

#[test]
fn after_a_restart_with_the_same_definitions_nothing_is_published() {
    let plans = BTreeMap::from([(node("n"), plan("n", 4, None))]);
    let snapshot = Snapshot { plans, deployed: Some(rev('a')), last_event: 9, ..Snapshot::default() };
    let mut case = Case::over(snapshot, "load a");
    assert_eq!(case.state.plans.len(), 1, "stored plans are there before the source answers");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, ""));
}

#[test]
fn after_a_restart_without_the_mirror_the_look_goes_on() {
    let mut case = Case::over(Snapshot { deployed: Some(rev('a')), ..Snapshot::default() }, "load a");
    case.check(Event::Loaded(Err("the mirror is empty".to_owned())), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
}

#[test]
fn passes_run_one_at_a_time_and_what_comes_meanwhile_is_one_more() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    for (ticket, name) in [(2, "o"), (3, "p"), (4, "q")] {
        case.report(ticket, "x", &status(name, "x", None), &format!("record 1, {ticket}: received"));
    }
    case.check(Event::Passed(Outcome::default(), None), "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.told(), "node.joined node.joined node.joined node.joined");
}

#[test]
fn a_pass_deploys_the_revision_that_it_planned_from() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "pass over b");
}

#[test]
fn a_conflict_reloads_and_plans_again() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let first = plan("n", 1, None);
    case.check(
        Event::Passed(Outcome { plans: vec![first.clone()], ..Outcome::default() }, None),
        "publish 1 plans",
    );
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let plans = BTreeMap::from([(node("n"), first)]);
    let snapshot = Snapshot { plans, deployed: Some(rev('a')), ..Snapshot::default() };
    case.reloaded(snapshot, "pass over a");
    assert_eq!(case.state.plans.len(), 1);
}

#[test]
fn what_another_daemon_deployed_is_not_undone() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let snapshot = Snapshot { deployed: Some(rev('c')), ..Snapshot::default() };
    case.reloaded(snapshot, "load c");
    case.check(Event::Loaded(Ok(Ok(definitions('c')))), "fetch, pass over c");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "compare a to c");
    case.check(Event::Compared(Ok(false)), "");
    assert_eq!(case.source(), SourceState::Held);
}

#[test]
fn a_failed_publication_reads_the_store_before_it_plans_again() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans");
    case.check(Event::Published(Err("disk full".to_owned())), "");
    case.report(2, "x", &status("o", "x", None), "record 1, 2: received");
    case.at(1).check(Event::Tick, "reload");
    case.check(Event::Reloaded(Err("disk full".to_owned())), "");
    case.at(2).check(Event::Tick, "");
    case.at(3).check(Event::Tick, "reload");
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    case.reloaded(snapshot, "pass over a");
}

#[test]
fn a_stop_ends_what_is_written_and_begins_nothing() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome, None), "publish 1 plans");
    case.ask(2, Request::Sync { accept_rewind: false, plan: None }, "fetch");
    case.ask(3, Request::Sync { accept_rewind: false, plan: None }, "");
    case.check(Event::Shutdown, "2: stopping, 3: stopping");
    assert!(!case.state.is_stopped(), "a publication is in flight");
    case.report(4, "x", &status("n", "x", None), "4: stopping");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "");
    assert!(case.state.is_stopped());
    case.check(Event::Wake, "");
}

#[test]
fn history_is_pruned_every_hour() {
    let mut case = Case::deployed();
    case.at(3600).check(Event::Tick, "prune, fetch");
    case.at(3601).check(Event::Tick, "");
}
