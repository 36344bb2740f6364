//! What nodes say: who may speak for one, what is recorded, and who falls silent.

use gitops_core::sensitive::Sensitive;
use gitops_core::status::{Refusal, StepOutcome, StepResult};

use super::*;

#[test]
fn a_second_agent_is_refused_until_the_first_has_been_silent_for_three_heartbeats() {
    let mut case = Case::deployed();
    let (first, second) = (status("n", "x", None), status("n", "y", None));
    case.report(1, "x", &first, "record 1, 1: received, pass over a");
    case.at(29).ask(2, Request::Pull { node: node("n"), hello: hello("y") }, "2: host-of-x since 0");
    case.report(3, "y", &second, "3: host-of-x since 0");
    case.ask(4, Request::Pull { node: node("n"), hello: hello("x") }, "4: done");
    case.at(58).report(5, "y", &second, "5: host-of-x since 0");
    case.at(59).report(6, "y", &second, "record 1, 6: received");
    case.ask(7, Request::Pull { node: node("n"), hello: hello("x") }, "7: host-of-y since 59");
    case.ask(8, Request::Pull { node: node("o"), hello: hello("y") }, "8: done");
}

#[test]
fn an_agent_that_is_started_again_is_let_in_at_once_and_what_runs_on_its_copied_disk_is_not() {
    let mut case = Case::deployed();
    let mut pull = {
        let mut ticket = 0;
        move |now: i64, agent: &str, expected: &str| {
            ticket += 1;
            let request = Request::Pull { node: node("n"), hello: hello(agent) };
            case.at(now).ask(ticket, request, &format!("{ticket}: {expected}"));
        }
    };
    pull(0, "x 3-1", "done");
    pull(1, "x 3-1", "done");
    // As it was put back from a backup, started from a copy, or still under way from a process that is gone.
    pull(2, "x 2-7", "a copy of host-of-x since 0");
    pull(3, "x 3-7", "a copy of host-of-x since 0");
    pull(4, "x 4-2", "done");
    pull(5, "x 3-1", "a copy of host-of-x since 4");
    pull(6, "y 9-9", "host-of-x since 4");
    // Agents that do not tell are those that they say they are.
    pull(7, "x", "done");
    pull(8, "x 3-1", "done");
    pull(9, "x 4-2", "done");
    pull(38, "x 3-1", "a copy of host-of-x since 9");
    pull(39, "x 3-1", "done");
    pull(40, "x 4-2", "done");
}

#[test]
fn which_start_spoke_last_outlives_a_restart_of_the_daemon() {
    for (agent, expected) in [
        ("x 17-1", "done"),
        ("x 18-2", "done"),
        ("x", "done"),
        ("x 17-2", "a copy of host-of-x since ever"),
        ("x 16-9", "a copy of host-of-x since ever"),
    ] {
        let nodes = BTreeMap::from([(
            node("n"),
            ReportedNode { status: status("n", "x 17-1", None), heard_at: at(-5) },
        )]);
        let snapshot = Snapshot { reported: Reported { nodes }, ..Snapshot::default() };
        let mut case = Case::over(snapshot, "fetch");
        let request = Request::Pull { node: node("n"), hello: hello(agent) };
        case.ask(1, request, &format!("1: {expected}"));
    }
}

#[test]
fn a_start_of_an_agent_is_told_once() {
    let mut case = Case::deployed();
    case.report(1, "x 1-1", &status("n", "x 1-1", None), "record 1, 1: received, pass over a");
    for (ticket, agent) in [(2, "x 1-1"), (3, "x 2-1"), (4, "x 2-1")] {
        case.report(ticket, agent, &status("n", agent, None), &format!("record 1, {ticket}: received"));
    }
    assert_eq!(case.told(), "node.joined agent.started");
}

#[test]
fn the_lease_outlives_a_restart() {
    let (status, heard_at) = (status("n", "x", None), at(-5));
    let nodes = BTreeMap::from([(node("n"), ReportedNode { status, heard_at })]);
    let snapshot = Snapshot { reported: Reported { nodes }, ..Snapshot::default() };
    let mut case = Case::over(snapshot, "fetch");
    case.ask(1, Request::Pull { node: node("n"), hello: hello("y") }, "1: host-of-x since ever");
    case.at(25).ask(2, Request::Pull { node: node("n"), hello: hello("y") }, "2: done");
}

#[test]
fn a_heartbeat_of_a_known_state_plans_nothing_and_another_is_wanted_in_full() {
    let mut case = Case::deployed();
    let known = status("n", "x", None);
    case.heartbeat(1, "x", &known, "1: wanted in full");
    case.report(2, "x", &known, "record 1, 2: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.heartbeat(3, "x", &known, "record 1, 3: received");
    case.report(4, "x", &known, "record 1, 4: received");
    let other = NodeStatus { host: HostInfo { cpus: 2, ..known.host.clone() }, ..(*known).clone() };
    case.heartbeat(5, "x", &other, "5: wanted in full");
}

/// A report with what tools said where they failed.
fn failing(said: &str) -> Arc<NodeStatus> {
    let plan = PlanId::of(&plan("n", 1, None));
    let failed = StepResult { digest: None, outcome: StepOutcome::Failed, message: Some(said.to_owned()) };
    let known = status("n", "x", None);
    Arc::new(NodeStatus {
        refused: Some(Refusal { plan, rule: "unreadable".into(), message: said.to_owned() }),
        host: HostInfo { problem: Some(said.to_owned()), ..known.host.clone() },
        steps: [("web".parse().expect("a label"), failed)].into(),
        ..(*known).clone()
    })
}

#[test]
fn secrets_that_tools_quote_are_taken_out_of_reports_and_heartbeats_go_on_to_name_them() {
    let mut case = Case::deployed();
    let mut with_policy = Arc::into_inner(definitions('a')).expect("not shared");
    with_policy.desired.sensitive = Arc::new(Sensitive::new(["*_LICENSE".into()]));
    case.state.in_force = Some(Arc::new(with_policy));
    let said = failing("compose: PGPASSWORD=canary\nAPP_LICENSE=canary");
    let report = Report::Status(said.clone());
    let request = Request::Report { node: node("n"), hello: hello("x"), report };
    let effects = step(&mut case.state, Event::Asked(1, request), at(0));
    assert!(format!("{effects:?}").contains("step.failed"), "{effects:?}");
    assert!(!format!("{effects:?}").contains("canary"), "{effects:?}");
    assert_eq!(case.describe(effects), "record 1, 1: received, pass over a");
    assert!(!format!("{:?}", case.state).contains("canary"));
    case.check(Event::Passed(Outcome::default(), None), "");
    case.heartbeat(2, "x", &said, "record 1, 2: received");
    case.report(3, "x", &said, "record 1, 3: received");

    // Only the agent knows what it sent before a start.
    case.state.status_digests.clear();
    case.heartbeat(4, "x", &said, "4: wanted in full");
    case.report(5, "x", &said, "record 1, 5: received");
    case.heartbeat(6, "x", &said, "record 1, 6: received");
    let other = failing("compose: PGPASSWORD=another\nAPP_LICENSE=canary");
    case.heartbeat(7, "x", &other, "7: wanted in full");
}

#[test]
fn a_silent_node_is_told_once_planned_around_and_welcomed_back() {
    let mut case = Case::deployed();
    let known = status("n", "x", None);
    case.report(1, "x", &known, "record 1, 1: received, pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
    case.state.reading.wake();
    case.at(29).check(Event::Tick, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('a')))), "");
    assert_eq!(case.state.next_tick(), at(30));
    case.at(30).check(Event::Tick, "pass over a");
    case.check(Event::Passed(Outcome::default(), None), "");
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
    case.check(Event::Passed(Outcome::default(), None), "");
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
