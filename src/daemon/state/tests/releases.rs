//! Releases: which one a pass begins, what reports say of it for the first time, and when it is done.

use gitops_core::diff::Summary;
use gitops_core::fleet::{InstanceState, InstanceView, NodeState, NodeView};
use gitops_core::release::{NewRelease, Release};

use super::*;

/// A plan of the revision of this letter.
fn plan_of(name: &str, generation: u64, letter: char) -> Arc<NodePlan> {
    Arc::new(NodePlan::new(node(name), Generation(generation), None, rev(letter), Vec::new()))
}

/// With `b` deployed by these plans, and nothing said of them yet.
fn rolling_out(plans: Vec<Arc<NodePlan>>) -> Case {
    let mut case = Case::deployed();
    case.check(Event::Wake, "fetch");
    case.check(Event::Fetched(Ok(Some(rev('b')))), "compare b to a");
    case.check(Event::Compared(Ok(true)), "load b");
    case.check(Event::Loaded(Ok(Ok(definitions('b')))), "pass over b");
    let text = format!("publish {} plans, deploying b", plans.len());
    case.check(Event::Passed(Outcome { plans, ..Outcome::default() }, None), &text);
    case.check(Event::Published(Ok(Published::Done(Vec::new()))), "keep b");
    case.told.clear();
    case
}

/// `name` says that it has done the plan.
fn ack(case: &mut Case, ticket: Ticket, plan: &NodePlan) {
    let done = status(plan.node.as_str(), plan.node.as_str(), Some(plan));
    case.report(ticket, plan.node.as_str(), &done, &format!("record 1, {ticket}: received, pass over b"));
}

/// A node on which something is held back.
fn waiting(name: &str) -> NodeView {
    let instance = InstanceView::bare("web".parse().expect("a label"), InstanceState::Waiting);
    NodeView { instances: [instance].into(), ..NodeView::bare(node(name), NodeState::Pending) }
}

#[test]
fn a_pass_begins_a_release_where_the_revision_is_not_the_deployed_one() {
    let mut case = Case::new();
    let opens = |effects: &[Effect]| match effects {
        [.., Effect::Pass(pass)] => {
            let opens = pass.opens.as_ref()?;
            Some((opens.before.clone(), opens.definitions.as_ref().map(|before| before.revision.clone())))
        }
        other => panic!("no pass: {other:?}"),
    };
    let step = |case: &mut Case, event| step(&mut case.state, event, at(0));
    step(&mut case, Event::Fetched(Ok(Some(rev('a')))));
    let first = step(&mut case, Event::Loaded(Ok(Ok(definitions('a')))));
    assert_eq!(opens(&first), Some((None, None)));
    step(&mut case, Event::Passed(Outcome::default(), None));
    step(&mut case, Event::Published(Ok(Published::Done(Vec::new()))));

    case.state.want_pass("a test");
    let same = step(&mut case, Event::Wake);
    assert_eq!(opens(&same), None, "it is deployed already");
    step(&mut case, Event::Passed(Outcome::default(), None));
    step(&mut case, Event::Fetched(Ok(Some(rev('b')))));
    step(&mut case, Event::Compared(Ok(true)));
    let next = step(&mut case, Event::Loaded(Ok(Ok(definitions('b')))));
    assert_eq!(opens(&next), Some((Some(rev('a')), Some(rev('a')))));
}

#[test]
fn what_is_published_names_the_plan_id_and_the_steps_that_change() {
    let mut case = Case::new();
    case.check(Event::Fetched(Ok(Some(rev('a')))), "load a");
    case.check(Event::Loaded(Ok(Ok(definitions('a')))), "pass over a");
    let diff = gitops_core::diff::Diff::default();
    let opened = gitops_core::release::Opened::new(rev('a'), None, None, diff, at(0));
    let outcome = Outcome { plans: vec![plan_of("n", 1, 'a')], ..Outcome::default() };
    let id = outcome.id(&rev('a'));
    let effects = step(&mut case.state, Event::Passed(outcome, Some(Box::new(opened))), at(0));
    let [Effect::Publish(publication)] = &effects[..] else { panic!("{effects:?}") };
    let release = publication.release.as_ref().map(|opened| &opened.release);
    assert_eq!(release.and_then(|release| release.plan), Some(id));
    assert_eq!(release.map(|release| &release.revision), publication.deployed.as_ref());
    assert_eq!(publication.steps, [], "a plan without steps changes none");
}

#[test]
fn a_release_is_done_when_every_node_has_acknowledged_its_plan() {
    let plans = [plan_of("n", 1, 'b'), plan_of("o", 1, 'b')];
    let mut case = rolling_out(plans.to_vec());
    ack(&mut case, 1, &plans[0]);
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.told(), "node.joined plan.acked");
    ack(&mut case, 2, &plans[1]);
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.told(), "node.joined plan.acked release.finished");
    case.state.want_pass("a test");
    case.check(Event::Wake, "fetch, pass over b");
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.told(), "", "it is told once");
}

#[test]
fn what_is_held_back_keeps_a_release_open_and_a_node_of_an_older_plan_does_not() {
    let plan = plan_of("n", 1, 'b');
    let mut case = rolling_out(vec![plan.clone(), plan_of("gone", 1, 'a')]);
    ack(&mut case, 1, &plan);
    let held = Outcome { nodes: vec![waiting("n")], ..Outcome::default() };
    case.check(Event::Passed(held, None), "");
    assert_eq!(case.told(), "node.joined plan.acked");
    case.state.want_pass("a test");
    case.check(Event::Wake, "fetch, pass over b");
    case.check(Event::Passed(Outcome::default(), None), "");
    assert_eq!(case.told(), "release.finished");
}

#[test]
fn a_release_that_was_open_at_a_restart_is_finished_after_it() {
    let release = NewRelease {
        revision: rev('a'),
        before: None,
        plan: None,
        began_at: at(-9),
        commit: None,
        summary: Summary::default(),
    };
    for (finished_at, told) in [(None, "release.finished"), (Some(at(-1)), "")] {
        let release = Some(Box::new(Release { finished_at, ..Release::begun(1, release.clone()) }));
        let snapshot = Snapshot { deployed: Some(rev('a')), release, ..Snapshot::default() };
        let mut case = Case::over(snapshot, "load a");
        case.check(Event::Loaded(Ok(Ok(definitions('a')))), "fetch, pass over a");
        case.check(Event::Passed(Outcome::default(), None), "");
        assert_eq!(case.told(), told);
    }
}

#[test]
fn that_a_release_is_done_is_kept_until_it_is_written() {
    let mut case = rolling_out(Vec::new());
    case.state.unfinished = Some(rev('b'));
    case.state.want_pass("a test");
    let mut happen = |event, seconds| step(&mut case.state, event, at(seconds));
    let finished = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Record { finished, events, .. } => Some((finished.clone(), events.len())),
            _ => None,
        })
    };
    happen(Event::Wake, 5);
    let told = happen(Event::Passed(Outcome::default(), None), 5);
    assert_eq!(finished(&told), Some((Some((rev('b'), at(5))), 1)));
    let failed = happen(Event::Recorded(Err("disk full".to_owned())), 6);
    assert_eq!(finished(&failed), None, "not at once");
    let again = happen(Event::Tick, 20);
    assert_eq!(finished(&again), Some((Some((rev('b'), at(5))), 1)), "with the time when it was");
    happen(Event::Recorded(Ok(Vec::new())), 20);
    assert_eq!(finished(&happen(Event::Tick, 40)), None);
}

#[test]
fn a_report_says_once_what_it_says_for_the_first_time() {
    let plan = plan_of("n", 1, 'b');
    let mut case = rolling_out(vec![plan.clone()]);
    let mut reached = |ticket, status: Arc<NodeStatus>| {
        let request = Request::Report { node: node("n"), hello: hello("x"), report: Report::Status(status) };
        let effects = step(&mut case.state, Event::Asked(ticket, request), at(0));
        let [Effect::Record { reports, .. }] = &effects[..] else { panic!("{effects:?}") };
        let reached = reports[0].reached.clone();
        step(&mut case.state, Event::Recorded(Ok(Vec::new())), at(0));
        reached.map(|reached| (reached.plan, reached.is_acked))
    };
    assert_eq!(reached(1, status("n", "x", None)), None);
    assert_eq!(reached(2, status("n", "x", Some(&plan))), Some((PlanId::of(&plan), true)));
    let changed = HostInfo { cpus: 2, ..HostInfo::default() };
    let again = NodeStatus { host: changed, ..(*status("n", "x", Some(&plan))).clone() };
    assert_eq!(reached(3, Arc::new(again)), None);
}

#[test]
fn what_another_daemon_recorded_is_written_down_once_too() {
    let plan = plan_of("n", 1, 'b');
    let mut case = rolling_out(vec![plan.clone()]);
    // It did not know the plan yet.
    let done = status("n", "x", Some(&plan));
    let last = ReportedNode { status: done.clone(), heard_at: at(0) };
    Arc::make_mut(&mut case.state.reported).nodes.insert(node("n"), last);
    let mut reached = |ticket| {
        let report = Report::Heartbeat { digest: done.digest() };
        let request = Request::Report { node: node("n"), hello: hello("x"), report };
        let effects = step(&mut case.state, Event::Asked(ticket, request), at(0));
        let [Effect::Record { reports, .. }, ..] = &effects[..] else { panic!("{effects:?}") };
        let reached = reports[0].reached.clone();
        step(&mut case.state, Event::Recorded(Ok(Vec::new())), at(0));
        reached.map(|reached| (reached.plan, reached.is_acked))
    };
    assert_eq!(reached(1), Some((PlanId::of(&plan), true)));
    assert_eq!(reached(2), None);
}
