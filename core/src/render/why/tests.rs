use jiff::Timestamp;

use super::*;
use crate::diff::Summary;
use crate::name::{Digest, Generation};
use crate::release::{Commit, NewRelease, StepChange, StepEffect};
use crate::status::PlanId;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).expect("a time")
}

fn release() -> Release {
    let commit = Commit {
        author: "Ada".into(),
        email: "ada@example.org".into(),
        committer: "Ada".into(),
        subject: "bump \u{1b}[2J".into(),
        time: at(0),
        signature: None,
    };
    let release = NewRelease {
        revision: "b".repeat(40).parse().expect("a revision"),
        before: None,
        plan: None,
        began_at: at(0),
        commit: Some(commit),
        summary: Summary::default(),
    };
    Release::begun(3, release)
}

fn on(name: &str) -> WhyNode {
    let (node, service) = (name.parse().expect("a name"), "web".parse().expect("a name"));
    let plan = PlanId { generation: Generation(7), digest: Digest::of("plan") };
    let digest = Some(Digest::of("web"));
    let effect = StepEffect::Recreate;
    let change = StepChange { node, service, generation: Generation(5), wave: 0, digest, effect };
    let node = change.node.clone();
    let (published_at, satisfied_at) = (Some(at(1)), Some(at(9)));
    let reason = Reason {
        field: "services.app.image".into(),
        old: Some("a".into()),
        new: Some("b".into()),
        source: Some("services/web/compose.yaml:4".into()),
    };
    WhyNode {
        node: node.clone(),
        state: Some(InstanceState::Healthy),
        message: None,
        plan: Some(PlanRecord {
            node,
            plan,
            release: Some(4),
            published_at: Some(at(2)),
            acked_at: Some(at(10)),
        }),
        digest,
        because: vec![reason],
        changed: Some(StepRecord { change, release: Some(3), published_at, satisfied_at }),
        release: Some(release()),
    }
}

fn check(nodes: Vec<WhyNode>, expected: &str) {
    let why = Why { service: "web".parse().expect("a name"), nodes };
    assert_eq!(anstream::adapter::strip_str(&text(&why)).to_string(), expected);
}

#[test]
fn the_way_back_is_told_from_the_state_to_the_commit_and_the_plan() {
    let plan = Digest::of("plan");
    let plan = plan.short();
    check(
        vec![on("edge-1")],
        &format!(
            "web on edge-1  healthy
  release      3
  commit       bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  subject      bump ·[2J
  author       Ada <ada@example.org>, 2026-05-28T20:26:40Z
  signature    none
  changed      services.app.image: a → b   services/web/compose.yaml:4
  since        generation 5, published 2026-05-28T20:26:41Z, done 2026-05-28T20:26:49Z
  newest plan  generation 7 {plan}, of release 4, published 2026-05-28T20:26:42Z, acknowledged 2026-05-28T20:26:50Z
"
        ),
    );
}

#[test]
fn nodes_that_stand_alike_are_told_together_and_what_waits_apart() {
    let held = WhyNode {
        state: Some(InstanceState::Waiting),
        message: Some("`db` on edge-1 is not healthy in its new form yet".into()),
        plan: None,
        digest: None,
        because: Vec::new(),
        changed: None,
        release: None,
        ..on("edge-3")
    };
    let why = Why { service: "web".parse().expect("a name"), nodes: vec![on("edge-1"), on("edge-2"), held] };
    let text = anstream::adapter::strip_str(&text(&why)).to_string();
    assert!(text.starts_with("web on edge-1, edge-2  healthy\n"), "{text}");
    assert_eq!(text.matches("newest plan").count(), 2, "{text}");
    let waiting =
        "\nweb on edge-3  waiting\n  waits on     `db` on edge-1 is not healthy in its new form yet\n";
    assert!(text.ends_with(waiting), "{text}");
}

#[test]
fn what_is_not_kept_is_said() {
    let gone = WhyNode { release: None, ..on("edge-1") };
    let why = Why { service: "web".parse().expect("a name"), nodes: vec![gone] };
    assert!(text(&why).contains("3, which is no longer kept"));
    let old = WhyNode { release: None, changed: None, ..on("edge-1") };
    let why = Why { service: "web".parse().expect("a name"), nodes: vec![old] };
    assert!(text(&why).contains("none: it took this form before releases were kept"));
}
