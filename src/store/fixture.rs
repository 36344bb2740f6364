//! Small makers of facts for the tests of the stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::diff::{Diff, Summary};
use gitops_core::name::{Digest, Generation, NodeName, Revision};
use gitops_core::plan::{Ensure, FileRef, Model, NodePlan, OnFileChange, RunState, Step};
use gitops_core::release::{Opened, Reached, StepChange, StepEffect};
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, PlanId, SCHEMA};
use jiff::Timestamp;

use super::{NewEvent, Publication, Published, StatusReport, Store};

pub(super) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// Seconds after some day in 2026, and a nanosecond, which must not get lost.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_780_000_000 + seconds, 1).unwrap()
}

/// The first plan of a node, which mounts a file for each of `contents`.
pub(super) fn first_plan(name: &str, contents: &[&str]) -> Arc<NodePlan> {
    plan(name, 1, None, contents)
}

/// The plan after `parent`.
pub(super) fn next_plan(parent: &NodePlan, contents: &[&str]) -> Arc<NodePlan> {
    plan(parent.node.as_str(), parent.generation.0 + 1, Some(parent.digest), contents)
}

pub(super) fn plan(name: &str, generation: u64, parent: Option<Digest>, contents: &[&str]) -> Arc<NodePlan> {
    let files = contents.iter().enumerate().map(|(index, content)| {
        let file = FileRef { digest: Digest::of(content), size: content.len() as u64, executable: false };
        (Arc::from(format!("files/{index}")), file)
    });
    let ensure = Ensure {
        service: "web".parse().unwrap(),
        project: "web".into(),
        digest: Digest::of(contents.concat()),
        state: RunState::Running,
        model: Model::from_canonical(r#"{"services":{"app":{"image":"busybox:1.36"}}}"#),
        files: files.collect(),
        containers: BTreeMap::new(),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    };
    let revision = "1".repeat(40).parse().unwrap();
    Arc::new(NodePlan::new(node(name), Generation(generation), parent, revision, vec![Step::Ensure(ensure)]))
}

/// Plans with the content they name and no events.
pub(super) fn publication(plans: &[&Arc<NodePlan>], contents: &[&str]) -> Publication {
    let blobs = contents.iter().map(|content| (Digest::of(content), Arc::from(content.as_bytes())));
    Publication {
        plans: plans.iter().map(|&plan| plan.clone()).collect(),
        blobs: blobs.collect(),
        ..Publication::default()
    }
}

/// A release of the revision that is this digit all through, which changes these services.
pub(super) fn opened(digit: u8, seconds: i64, services: &[&str]) -> Box<Opened> {
    let summary = Summary { unchanged: usize::from(digit), ..Summary::default() };
    let diff = Diff { summary, ..Diff::default() };
    let services = services.iter().map(|name| name.parse().unwrap()).collect();
    Box::new(Opened { services, ..Opened::new(revision(digit), None, None, diff, at(seconds)) })
}

pub(super) fn revision(digit: u8) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

/// The step of `web` in this plan, as new.
pub(super) fn step_change(plan: &NodePlan, effect: StepEffect) -> StepChange {
    StepChange {
        wave: 1,
        node: plan.node.clone(),
        service: "web".parse().unwrap(),
        generation: plan.generation,
        digest: (effect != StepEffect::Remove).then_some(plan.digest),
        effect,
    }
}

/// The report, with what it says for the first time of `plan`.
pub(super) fn reaching(report: StatusReport, plan: &NodePlan, is_acked: bool) -> StatusReport {
    let services = vec!["web".parse().unwrap()];
    StatusReport { reached: Some(Reached { plan: PlanId::of(plan), is_acked, services }), ..report }
}

/// Publishes what must succeed.
pub(super) async fn publish(store: &dyn Store, publication: Publication) {
    let published = store.publish(publication).await.unwrap();
    assert!(matches!(published, Published::Done(_)), "{published:?}");
}

pub(super) fn event(seconds: i64, message: &str) -> NewEvent {
    NewEvent {
        at: at(seconds),
        kind: "plan.published".into(),
        revision: None,
        node: Some(node("edge-1")),
        service: None,
        message: message.to_owned(),
    }
}

/// What `name` says, `seconds` into the day; `words` stands for all that a status may hold.
pub(super) fn report(name: &str, seconds: i64, words: &str) -> StatusReport {
    StatusReport {
        node: node(name),
        status: Some(Arc::new(status(name, words))),
        heard_at: at(seconds),
        reached: None,
    }
}

pub(super) fn heartbeat(name: &str, seconds: i64) -> StatusReport {
    StatusReport { node: node(name), status: None, heard_at: at(seconds), reached: None }
}

pub(super) fn status(name: &str, words: &str) -> NodeStatus {
    NodeStatus {
        schema: SCHEMA,
        node: node(name),
        agent: AgentInfo { id: "agent".into(), version: "1".into(), start: None },
        host: HostInfo { problem: Some(words.to_owned()), memory_bytes: u64::MAX, ..HostInfo::default() },
        accepted: None,
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}
