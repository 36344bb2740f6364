//! How a release stands, node by node.

use gitops_core::fleet::InstanceView;
use gitops_core::name::Generation;
use gitops_core::plan::NodePlan;
use gitops_core::status::{PlanId, Refusal};

use super::*;

/// A node that has a plan, and what it does with it: `ok`, `late` (has not accepted it), `stale`, `never`, `refused`, or
/// the service that fails there.
fn view(name: &str, does: &str) -> NodeView {
    let node: NodeName = name.parse().expect("a name");
    let revision = "a".repeat(40).parse().expect("a revision");
    let plan = PlanId::of(&NodePlan::new(node.clone(), Generation(2), None, revision, Vec::new()));
    let state = match does {
        "ok" => NodeState::Ok,
        "late" => NodeState::Pending,
        "stale" => NodeState::Stale,
        "never" => NodeState::Never,
        _ => NodeState::Failing,
    };
    let failed = |service: &str| InstanceView {
        message: Some("password=canary".to_owned()),
        ..InstanceView::bare(service.parse().expect("a name"), InstanceState::Failed)
    };
    let refusal = Refusal { plan, rule: "wrong-node".into(), message: "password=canary".to_owned() };
    let fails = !matches!(does, "ok" | "late" | "stale" | "never" | "refused");
    NodeView {
        plan: Some(plan),
        accepted: (does == "ok").then_some(plan),
        refused: (does == "refused").then_some(refusal),
        instances: fails.then(|| failed(does)).into_iter().collect(),
        ..NodeView::bare(node, state)
    }
}

fn check(nodes: &[(&str, &str)], expected: &str) {
    let views: Vec<NodeView> = nodes.iter().map(|(name, does)| view(name, does)).collect();
    let Progress { state, line, is_stopped: _ } = release(&views);
    assert_eq!(format!("{state:?}: {line}"), expected, "{nodes:?}");
}

#[test]
fn a_release_came_through_when_every_node_that_has_a_plan_acknowledged_it() {
    check(&[], "Success: in force on 0 nodes");
    check(&[("a", "ok"), ("b", "ok")], "Success: in force on 2 nodes");
    check(&[("a", "ok"), ("b", "late"), ("c", "stale")], "Pending: on its way to 2 of 3 nodes");
    check(&[("a", "ok"), ("b", "stale")], "Pending: waits for node b, which is not heard");
    check(
        &[("a", "never"), ("b", "stale"), ("c", "stale")],
        "Pending: waits for node a and 2 more, which are not heard",
    );
    check(&[("a", "late"), ("b", "web")], "Failure: web failed on node b");
    check(&[("a", "db"), ("b", "web"), ("c", "refused")], "Failure: db failed on node a, and 2 more");
    check(&[("a", "refused")], "Failure: node a refused its plan");
    let silent = NodeView { state: NodeState::Stale, ..view("a", "web") };
    assert_eq!(release(&[silent]).state, review::State::Pending, "what it said last is old");
    let unplanned = NodeView { plan: None, ..view("a", "never") };
    assert_eq!(release(&[unplanned]).state, review::State::Success);
    let of_an_older_plan = PlanId { generation: Generation(1), ..view("a", "ok").plan.expect("it has one") };
    let refusal = Refusal { plan: of_an_older_plan, rule: "older-generation".into(), message: String::new() };
    let went_on = NodeView { refused: Some(refusal), ..view("a", "late") };
    assert_eq!(release(&[went_on]).state, review::State::Pending);
}

#[test]
fn what_is_told_after_what() {
    use review::State::{Failure, Pending, Success};
    let progress = |(state, line)| Progress::new(state, line);
    for (told, now, expected) in [
        (None, (Pending, "x"), true),
        (None, (Success, "x"), true),
        (Some((Pending, "x")), (Pending, "y"), false),
        (Some((Pending, "x")), (Failure, "x"), true),
        (Some((Pending, "x")), (Success, "x"), true),
        (Some((Failure, "x")), (Failure, "x"), false),
        (Some((Failure, "x")), (Failure, "y"), true),
        (Some((Failure, "x")), (Pending, "x"), false),
        (Some((Failure, "x")), (Success, "x"), true),
        (Some((Success, "x")), (Failure, "x"), false),
        (Some((Success, "x")), (Success, "y"), false),
    ] {
        assert_eq!(progress(now).is_news(told.map(progress).as_ref()), expected, "{told:?} {now:?}");
    }
    for held in [Pending, Failure] {
        let held = Progress::stopped(held, "x");
        assert!(progress((Pending, "y")).is_news(Some(&held)), "it goes on");
        assert!(!held.is_news(Some(&held)));
    }
}
