//! The state machine as tables: what comes in, what is to be done, and how the source stands after it.

use std::fmt::Write as _;

use super::*;
use crate::api::wire::{Hello, Report, SPOKEN};
use crate::diagnostic::Place;
use crate::fleet::SourceState;
use crate::name::Generation;
use crate::plan::NodePlan;
use crate::status::{AgentInfo, HostInfo, NodeStatus, PlanId, ReportedNode};
use crate::tree::Tree;

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
        heartbeat: SignedDuration::from_secs(10),
        prune: SignedDuration::from_hours(1),
        seed: 7,
    }
}

fn definitions(letter: char) -> Arc<Definitions> {
    let tree = Arc::new(Tree::from_files([("gitops.toml", "format = 1\nname = \"test\"\n")]));
    Arc::new(Definitions::load(rev(letter), &tree, None).expect("the smallest repository is valid"))
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
        agent: AgentInfo { id: agent.into(), version: "0.1.0".into() },
        host: HostInfo { name: format!("host-of-{agent}").into(), ..HostInfo::default() },
        accepted: accepted.map(PlanId::of),
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
    })
}

fn hello(agent: &str) -> Hello {
    let host = format!("host-of-{agent}").into();
    Hello { protocols: SPOKEN, agent: agent.into(), version: "0.1.0".into(), host }
}

/// A state under test, its clock, and the events that it wanted recorded.
struct Case {
    state: State,
    now: i64,
    told: Vec<String>,
}

impl Case {
    /// From an empty store; the first look is under way.
    fn new() -> Self {
        Self::over(Snapshot::default(), "fetch")
    }

    /// From a store with content.
    fn over(snapshot: Snapshot, expected: &str) -> Self {
        let (state, effects) = State::new(policy(), snapshot, at(0));
        let mut case = Self { state, now: 0, told: Vec::new() };
        assert_eq!(case.describe(effects), expected, "at the start");
        case
    }

    /// With `a` deployed and its definitions loaded.
    fn deployed() -> Self {
        let mut case = Self::new();
        case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
        case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
        case.check(Event::Passed(Outcome::default()), "publish 0 plans, deploying a");
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

    fn source(&self) -> SourceState {
        self.state.fleet().source.state
    }

    fn describe(&mut self, effects: Vec<Effect>) -> String {
        let mut words = Vec::new();
        for effect in effects {
            match effect {
                Effect::Record { reports, events } => {
                    self.told.extend(events.iter().map(|event| event.kind.to_string()));
                    words.extend((!reports.is_empty()).then(|| format!("record {}", reports.len())));
                    let after = step(&mut self.state, Event::Recorded(Ok(Vec::new())), at(self.now));
                    words.extend(Some(self.describe(after)).filter(|text| !text.is_empty()));
                }
                effect => words.push(word(&effect)),
            }
        }
        words.join(", ")
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
        Effect::Load { revision, .. } => format!("load {}", short(revision)),
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
        Effect::Prune => "prune".to_owned(),
        Effect::Answer(ticket, answer) => match answer {
            Answer::Done => format!("{ticket}: done"),
            Answer::Received(receipt) if receipt.want_status => format!("{ticket}: wanted in full"),
            Answer::Received(_) => format!("{ticket}: received"),
            Answer::Synced(synced) => {
                let revision = synced.revision.as_ref().map_or("nothing".to_owned(), short);
                format!("{ticket}: {revision} is {:?}", synced.source.state)
            }
            Answer::Fleet(_) => format!("{ticket}: fleet"),
            Answer::SecondAgent { host, .. } => format!("{ticket}: {host} came first"),
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
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome), "publish 1 plans, deploying b");
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
    case.check(Event::Passed(Outcome::default()), "");
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
    case.check(Event::Passed(Outcome::default()), "pass over a");
    case.check(Event::Passed(Outcome::default()), "");
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
    case.check(Event::Passed(outcome), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "pass over b");
}

#[test]
fn a_rewind_is_held_until_it_is_accepted() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to a");
    case.check(Event::Compared(Ok(false)), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Held, "source.moved source.held"));
    let message = case.state.fleet().source.message.expect("why");
    assert!(message.contains("gitops sync --accept-rewind"), "{message}");

    case.ask(1, Request::Sync { accept_rewind: false }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "1: f is Held");
    case.ask(2, Request::Sync { accept_rewind: true }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "load f");
    case.check(Event::Loaded(Ok(Ok(definitions('f')))), "2: f is Ok, pass over f");
    case.check(Event::Passed(Outcome::default()), "publish 0 plans, deploying f");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep f");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.recovered"));
}

#[test]
fn a_held_rewind_is_forgotten_when_the_branch_comes_back() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to a");
    case.check(Event::Compared(Ok(false)), "");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!(
        (case.source(), &*case.told()),
        (SourceState::Ok, "source.moved source.held source.recovered")
    );
}

#[test]
fn what_mends_an_accepted_rewind_needs_no_second_word() {
    let mut case = Case::deployed();
    case.ask(1, Request::Sync { accept_rewind: true }, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('e')))), "load e");
    case.check(Event::Loaded(Ok(Err(mistakes()))), "1: e is Invalid");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('f')))), "compare f to e");
    case.check(Event::Compared(Ok(true)), "load f");
}

#[test]
fn an_invalid_commit_keeps_the_last_good_definitions() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Err(mistakes()))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Invalid, "source.moved source.invalid"));
    assert_eq!(case.state.fleet().diagnostics, mistakes());
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "");

    case.told.clear();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('c')))), "compare c to a");
    case.check(Event::Compared(Ok(true)), "load c");
    case.check(Event::Loaded(Ok(Ok(definitions('c')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.moved source.recovered"));
}

#[test]
fn a_source_that_does_not_answer_is_stale_and_tried_again_with_growing_pauses() {
    let mut case = Case::deployed();
    case.at(100).check(Event::Wake, "fetch");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        case.check(Event::Fetched(Err("no route to host".to_owned())), "");
        let next = case.state.next_tick();
        pauses.push(next.duration_since(at(case.now)).as_secs_f64().round() as i64);
        case.now = next.as_second() - 1_000_000 + 1;
        case.check(Event::Tick, "fetch");
    }
    assert!(pauses.is_sorted() && pauses[0] == 1 && (27..=33).contains(&pauses[6]), "{pauses:?}");
    assert_eq!((case.source(), &*case.told()), (SourceState::Stale, "source.stale"));
    let source = case.state.fleet().source;
    assert_eq!((source.checked_at, source.message.as_deref()), (Some(at(0)), Some("no route to host")));
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!((case.source(), &*case.told()), (SourceState::Ok, "source.recovered"));
}

#[test]
fn the_source_is_polled_and_each_interval_differs() {
    let mut case = Case::deployed();
    let mut spans = Vec::new();
    for _ in 0..20 {
        let next = case.state.next_tick();
        spans.push(next.duration_since(at(case.now)).as_millis());
        case.now = next.as_second() - 1_000_000 + 1;
        case.check(Event::Tick, "fetch");
        case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    }
    assert!(spans.iter().all(|span| (26_000..=33_000).contains(span)), "{spans:?}");
    spans.sort_unstable();
    spans.dedup();
    assert!(spans.len() > 10, "{spans:?}");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_polling() {
    let mut case = Case::deployed();
    case.at(-86_400).check(Event::Tick, "fetch");
}

#[test]
fn a_sync_during_a_look_waits_for_the_next_one() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.ask(1, Request::Sync { accept_rewind: false }, "");
    case.ask(2, Request::Sync { accept_rewind: false }, "");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "1: a is Ok, 2: a is Ok");
}

#[test]
fn an_empty_repository_says_what_to_do() {
    let mut case = Case::new();
    case.check(Event::Fetched(Ok(None)), "");
    let message = case.state.fleet().source.message.expect("why");
    assert!(message.contains("push one"), "{message}");
}

#[test]
fn a_conflict_reloads_and_plans_again() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let first = plan("n", 1, None);
    case.check(
        Event::Passed(Outcome { plans: vec![first.clone()], ..Outcome::default() }),
        "publish 1 plans",
    );
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let plans = BTreeMap::from([(node("n"), first)]);
    let snapshot = Snapshot { plans, deployed: Some(rev('a')), ..Snapshot::default() };
    case.check(Event::Reloaded(Ok(snapshot)), "pass over a");
    assert_eq!(case.state.plans.len(), 1);
}

#[test]
fn what_another_daemon_deployed_is_not_undone() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome), "publish 1 plans");
    case.check(Event::Published(Ok(Published::Conflict(node("n")))), "reload");
    let snapshot = Snapshot { deployed: Some(rev('c')), ..Snapshot::default() };
    case.check(Event::Reloaded(Ok(snapshot)), "load c");
    case.check(Event::Loaded(Ok(Ok(definitions('c')))), "fetch, pass over c");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "compare a to c");
    case.check(Event::Compared(Ok(false)), "");
    assert_eq!(case.source(), SourceState::Held);
}

#[test]
fn what_was_compared_with_an_older_base_is_compared_again() {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    case.check(Event::Passed(Outcome::default()), "publish 0 plans, deploying b");
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('c')))), "compare c to a");
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep b");
    case.check(Event::Compared(Ok(true)), "compare c to b");
    case.check(Event::Compared(Ok(true)), "load c");
}

#[test]
fn a_failed_publication_reads_the_store_before_it_plans_again() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome), "publish 1 plans");
    case.check(Event::Published(Err("disk full".to_owned())), "");
    case.report(2, "x", &status("o", "x", None), "record 1, 2: received");
    case.at(1).check(Event::Tick, "reload");
    case.check(Event::Reloaded(Err("disk full".to_owned())), "");
    case.at(2).check(Event::Tick, "");
    case.at(3).check(Event::Tick, "reload");
    let snapshot = Snapshot { deployed: Some(rev('a')), ..Snapshot::default() };
    case.check(Event::Reloaded(Ok(snapshot)), "pass over a");
}

#[test]
fn a_second_agent_is_refused_until_the_first_has_been_silent_for_three_heartbeats() {
    let mut case = Case::deployed();
    let (first, second) = (status("n", "x", None), status("n", "y", None));
    case.report(1, "x", &first, "record 1, 1: received, pass over a");
    case.at(29).ask(2, Request::Pull { node: node("n"), hello: hello("y") }, "2: host-of-x came first");
    case.report(3, "y", &second, "3: host-of-x came first");
    case.ask(4, Request::Pull { node: node("n"), hello: hello("x") }, "4: done");
    case.at(58).report(5, "y", &second, "5: host-of-x came first");
    case.at(59).report(6, "y", &second, "record 1, 6: received");
    case.ask(7, Request::Pull { node: node("n"), hello: hello("x") }, "7: host-of-y came first");
    case.ask(8, Request::Pull { node: node("o"), hello: hello("y") }, "8: done");
}

#[test]
fn the_lease_outlives_a_restart() {
    let (status, heard_at) = (status("n", "x", None), at(-5));
    let nodes = BTreeMap::from([(node("n"), ReportedNode { status, heard_at })]);
    let snapshot = Snapshot { reported: Reported { nodes }, ..Snapshot::default() };
    let mut case = Case::over(snapshot, "fetch");
    case.ask(1, Request::Pull { node: node("n"), hello: hello("y") }, "1: host-of-x came first");
    case.at(25).ask(2, Request::Pull { node: node("n"), hello: hello("y") }, "2: done");
}

#[test]
fn a_heartbeat_of_a_known_state_plans_nothing_and_another_is_wanted_in_full() {
    let mut case = Case::deployed();
    let known = status("n", "x", None);
    case.heartbeat(1, "x", &known, "1: wanted in full");
    case.report(2, "x", &known, "record 1, 2: received, pass over a");
    case.check(Event::Passed(Outcome::default()), "");
    case.heartbeat(3, "x", &known, "record 1, 3: received");
    case.report(4, "x", &known, "record 1, 4: received");
    let other = NodeStatus { host: HostInfo { cpus: 2, ..known.host.clone() }, ..(*known).clone() };
    case.heartbeat(5, "x", &other, "5: wanted in full");
}

#[test]
fn a_silent_node_is_told_once_planned_around_and_welcomed_back() {
    let mut case = Case::deployed();
    let known = status("n", "x", None);
    case.report(1, "x", &known, "record 1, 1: received, pass over a");
    case.check(Event::Passed(Outcome::default()), "");
    case.state.reading.wake();
    case.at(29).check(Event::Tick, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!(case.state.next_tick(), at(30));
    case.at(30).check(Event::Tick, "pass over a");
    case.check(Event::Passed(Outcome::default()), "");
    case.at(31).check(Event::Tick, "");
    case.at(50).heartbeat(2, "x", &known, "record 1, 2: received, pass over a");
    assert_eq!(case.told(), "node.joined node.stale node.back");
}

#[test]
fn a_node_that_the_daemon_could_not_hear_while_away_is_given_its_time() {
    let (known, heard_at) = (status("n", "x", None), at(-1000));
    let nodes = BTreeMap::from([(node("n"), ReportedNode { status: known.clone(), heard_at })]);
    let snapshot = Snapshot { reported: Reported { nodes }, deployed: Some(rev('a')), ..Snapshot::default() };
    let mut case = Case::over(snapshot, "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
    case.check(Event::Passed(Outcome::default()), "");
    case.at(10).heartbeat(1, "x", &known, "record 1, 1: received, pass over a");
    assert_eq!(case.told(), "", "neither stale nor back; the pass shows that it is heard");
}

#[test]
fn an_ack_is_told_once() {
    let first = plan("n", 1, None);
    let plans = BTreeMap::from([(node("n"), first.clone())]);
    let mut case = Case::over(Snapshot { plans, ..Snapshot::default() }, "fetch");
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received");
    case.report(2, "x", &status("n", "x", Some(&first)), "record 1, 2: received");
    case.report(3, "x", &status("n", "x", Some(&first)), "record 1, 3: received");
    assert_eq!(case.told(), "node.joined plan.acked");
}

#[test]
fn reports_that_arrive_during_a_write_are_written_together() {
    let (mut state, _) = State::new(policy(), Snapshot::default(), at(0));
    let mut report = |ticket, name| {
        let report = Report::Status(status(name, "x", None));
        let request = Request::Report { node: node(name), hello: hello("x"), report };
        step(&mut state, Event::Asked(ticket, request), at(0)).len()
    };
    assert_eq!(report(1, "n"), 1, "written at once");
    assert_eq!((report(2, "o"), report(3, "p")), (0, 0), "one write at a time");
    let effects = step(&mut state, Event::Recorded(Ok(Vec::new())), at(0));
    assert!(
        matches!(&effects[..], [Effect::Answer(1, _), Effect::Record { reports, .. }] if reports.len() == 2)
    );
    let effects = step(&mut state, Event::Recorded(Err("disk full".to_owned())), at(0));
    assert!(matches!(
        &effects[..],
        [Effect::Answer(2, Answer::NotStored), Effect::Answer(3, Answer::NotStored)]
    ));
    assert_eq!(state.reported.nodes.len(), 1, "what is not durable is not known");
    let effects = step(&mut state, Event::Tick, at(10));
    let kept =
        effects.iter().any(|effect| matches!(effect, Effect::Record { events, .. } if events.len() == 2));
    assert!(kept, "events are tried again: {effects:?}");
}

#[test]
fn a_stop_ends_what_is_written_and_begins_nothing() {
    let mut case = Case::deployed();
    case.report(1, "x", &status("n", "x", None), "record 1, 1: received, pass over a");
    let outcome = Outcome { plans: vec![plan("n", 1, None)], ..Outcome::default() };
    case.check(Event::Passed(outcome), "publish 1 plans");
    case.ask(2, Request::Sync { accept_rewind: false }, "fetch");
    case.ask(3, Request::Sync { accept_rewind: false }, "");
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
