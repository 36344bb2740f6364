//! What is worth telling: the difference between two states, as events.
//!
//! Events are derived by comparing what was with what is, so that they follow from the states and not from the path
//! between them: the same report twice tells nothing the second time.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::decision::{Held, Hold, Part, Vote};
use gitops_core::fleet::{SourceState, SourceStatus};
use gitops_core::name::{Digest, NodeName, OperatorName, Revision, ServiceName};
use gitops_core::plan::{NodePlan, Reason, Step};
use gitops_core::release::Failed;
use gitops_core::status::{Difference, NodeStatus, StepOutcome, StepResult, first_line};
use jiff::Timestamp;

use crate::store::NewEvent;

/// How many reasons of a plan an event spells out. The plan has them all.
const MAX_REASONS: usize = 3;

fn event(at: Timestamp, kind: &str, message: impl Into<String>) -> NewEvent {
    NewEvent { at, kind: kind.into(), revision: None, node: None, service: None, message: message.into() }
}

fn node_event(at: Timestamp, kind: &str, node: &NodeName, message: impl Into<String>) -> NewEvent {
    NewEvent { node: Some(node.clone()), ..event(at, kind, message) }
}

/// What the change from `before` to `after` tells.
pub(super) fn to_source(before: &SourceStatus, after: &SourceStatus, now: Timestamp) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let revision = after.newest.clone();
    if let Some(newest) =
        revision.as_ref().filter(|_| after.newest != before.newest && after.newest != after.deployed)
    {
        let message = format!("branch {} is at {}", after.branch, newest.short());
        events.push(event(now, "source.moved", message));
    }
    // What waited and is deployed now is told as that.
    let turned = before.state != after.state && (before.state, after.state) != (SourceState::Waiting, SourceState::Ok)
        // It is told as the failure of its release.
        && after.state != SourceState::Failed;
    // The message names the commit: another one may be held or invalid for the same reason.
    let again = after.message != before.message
        && matches!(
            after.state,
            SourceState::Held | SourceState::Pinned | SourceState::Invalid | SourceState::Waiting
        );
    if turned || again {
        let (kind, otherwise) = match after.state {
            SourceState::Ok => ("source.recovered", "the newest commit can be deployed"),
            SourceState::Stale => ("source.stale", "the repository does not answer"),
            SourceState::Held => ("source.held", "the newest commit is held"),
            SourceState::Pinned => ("source.pinned", "the fleet is held at the deployed commit"),
            SourceState::Invalid => ("source.invalid", "the newest commit has mistakes"),
            SourceState::Failed => ("source.failed", "the release of the newest commit failed"),
            SourceState::Waiting => ("source.waiting", "the newest commit waits to be deployed"),
        };
        events.push(event(now, kind, after.message.as_deref().unwrap_or(otherwise)));
    }
    events.iter_mut().for_each(|event| event.revision.clone_from(&revision));
    events
}

/// A revision whose plans, if it needs any, are published with this.
pub(super) fn deployed(revision: &Revision, plans: usize, now: Timestamp) -> NewEvent {
    let message = match plans {
        0 => format!("{} is deployed: no plan changed", revision.short()),
        1 => format!("{} is deployed: 1 plan changed", revision.short()),
        plans => format!("{} is deployed: {plans} plans changed", revision.short()),
    };
    NewEvent { revision: Some(revision.clone()), ..event(now, "source.deployed", message) }
}

/// Every node has acknowledged the release of `revision`.
pub(super) fn finished(revision: &Revision, now: Timestamp) -> NewEvent {
    let message = format!("the release of {} is done: every node has acknowledged it", revision.short());
    NewEvent { revision: Some(revision.clone()), ..event(now, "release.finished", message) }
}

/// The release of `revision` failed, and is undone.
pub(super) fn failed(revision: &Revision, failed: &Failed) -> NewEvent {
    let message = format!("the release of {} failed and is undone: {}", revision.short(), failed.reason);
    NewEvent { revision: Some(revision.clone()), ..event(failed.at, "release.failed", message) }
}

/// A plan that somebody asked for is not the one that would be carried out.
pub(super) fn refused(asked: &Digest, id: &Digest, revision: &Revision, now: Timestamp) -> NewEvent {
    let (asked, id) = (asked.short(), id.short());
    let message = format!("plan {asked} was asked for and is plan {id} by now: nothing was changed");
    NewEvent { revision: Some(revision.clone()), ..event(now, "sync.refused", message) }
}

/// One event for each new plan.
pub(super) fn published(
    before: &BTreeMap<NodeName, Arc<NodePlan>>,
    plans: &[Arc<NodePlan>],
    now: Timestamp,
) -> Vec<NewEvent> {
    let tell = |plan: &Arc<NodePlan>| {
        let last = before.get(&plan.node).map(|last| &**last);
        let message = format!("plan {}: {}", plan.generation, changes(last, plan));
        NewEvent {
            revision: Some(plan.revision.clone()),
            ..node_event(now, "plan.published", &plan.node, message)
        }
    };
    plans.iter().map(tell).collect()
}

fn changes(last: Option<&NodePlan>, plan: &NodePlan) -> String {
    let same = |step: &Step| {
        last.and_then(|last| last.step(step.service())).is_some_and(|old| old.same_effect(step))
    };
    let changed: Vec<String> = plan.steps.iter().filter(|step| !same(step)).map(describe).collect();
    let gone = |step: &&Step| plan.step(step.service()).is_none();
    let dropped = last.into_iter().flat_map(|last| &last.steps).filter(gone).count();
    match (changed.is_empty(), dropped) {
        (false, _) => changed.join("; "),
        (true, 0) => "the order of its steps changed".to_owned(),
        (true, 1) => "1 step is done and was dropped".to_owned(),
        (true, dropped) => format!("{dropped} steps are done and were dropped"),
    }
}

fn describe(step: &Step) -> String {
    let verb = match step {
        Step::Ensure(_) => "ensure",
        Step::Remove(_) => "remove",
    };
    let because = step.because();
    let mut reasons: Vec<String> = because.iter().take(MAX_REASONS).map(reason).collect();
    if because.len() > MAX_REASONS {
        reasons.push(format!("{} more", because.len() - MAX_REASONS));
    }
    let text = format!("{verb} {}", step.service());
    if reasons.is_empty() { text } else { format!("{text}: {}", reasons.join(", ")) }
}

fn reason(reason: &Reason) -> String {
    let Reason { field, old, new, source } = reason;
    let change = match (old, new) {
        (Some(old), Some(new)) => format!("{field} {old} → {new}"),
        (None, Some(new)) => format!("{field} {new}"),
        (Some(old), None) => format!("{field} was {old}"),
        (None, None) => field.to_string(),
    };
    match source {
        Some(source) => format!("{change} ({source})"),
        None => change,
    }
}

/// What a new report of a node tells, held against the one before it and the node's newest plan.
pub(super) fn to_node(
    before: Option<&NodeStatus>,
    after: &NodeStatus,
    plan: Option<&NodePlan>,
    now: Timestamp,
) -> Vec<NewEvent> {
    let node = &after.node;
    let mut events = Vec::new();
    if before.is_none() {
        let message =
            format!("agent {} on {} reports for the first time", after.agent.version, after.host.name);
        events.push(node_event(now, "node.joined", node, message));
    }
    if before.is_some_and(|before| before.agent != after.agent) {
        let message = format!("agent {} on {} was started", after.agent.version, after.host.name);
        events.push(node_event(now, "agent.started", node, message));
    }
    if let Some(plan) =
        plan.filter(|plan| after.acks(plan) && !before.is_some_and(|before| before.acks(plan)))
    {
        let message = format!("plan {} is in force: every step is satisfied", plan.generation);
        let event = node_event(now, "plan.acked", node, message);
        events.push(NewEvent { revision: Some(plan.revision.clone()), ..event });
    }
    let told = before.and_then(|before| before.refused.as_ref());
    if let Some(refusal) = after.refused.as_ref().filter(|refusal| told != Some(refusal)) {
        let message =
            format!("plan {} was refused ({}): {}", refusal.plan.generation, refusal.rule, refusal.message);
        events.push(node_event(now, "plan.refused", node, message));
    }
    let failed = after.steps.iter().filter(|(service, result)| failed_now(before, service, result));
    events.extend(failed.map(|(service, result)| {
        let message = result.message.clone().unwrap_or_else(|| "the step failed".to_owned());
        NewEvent { service: Some(service.clone()), ..node_event(now, "step.failed", node, message) }
    }));
    let changed = after.drift.iter().flat_map(|(service, told)| drifted(before, node, service, told, now));
    events.extend(changed);
    events
}

/// What others changed of a service, and what of it was undone, that the report before did not tell.
fn drifted(
    before: Option<&NodeStatus>,
    node: &NodeName,
    service: &ServiceName,
    told: &[Difference],
    now: Timestamp,
) -> Vec<NewEvent> {
    let before = before.and_then(|before| before.drift.get(service)).map(Vec::as_slice).unwrap_or_default();
    let knew =
        |one: &Difference| before.iter().find(|other| other.is_about_same(one) && other.since == one.since);
    let drifted = told.iter().filter(|one| knew(one).is_none());
    let is_over = |one: &&Difference| !one.is_standing() && knew(one).is_none_or(Difference::is_standing);
    let corrected = told.iter().filter(is_over);
    let event = |kind, message: Option<String>| {
        let event = node_event(now, kind, node, message?);
        Some(NewEvent { service: Some(service.clone()), ..event })
    };
    let drifted = event("instance.drifted", first_line(drifted));
    drifted.into_iter().chain(event("instance.corrected", first_line(corrected))).collect()
}

/// Whether the step failed, and the report before it did not say so of the same instance digest.
fn failed_now(before: Option<&NodeStatus>, service: &ServiceName, after: &StepResult) -> bool {
    let before = before.and_then(|before| before.steps.get(service));
    let told =
        before.is_some_and(|before| before.outcome == StepOutcome::Failed && before.digest == after.digest);
    after.outcome == StepOutcome::Failed && !told
}

/// Something about the forge.
pub(super) fn forge(at: Timestamp, kind: &str, message: String) -> NewEvent {
    event(at, kind, message)
}

/// Somebody holds something.
pub(super) fn held(hold: &Hold, now: Timestamp) -> NewEvent {
    let Hold { what, reason, owner, until, .. } = hold;
    let until = until.map_or(String::new(), |until| format!(" until {until:.0}"));
    hold_event(now, "hold.begun", hold, format!("{what}{until} by {owner}: {reason}"))
}

/// Somebody ended a hold.
pub(super) fn released(hold: &Hold, by: &OperatorName, now: Timestamp) -> NewEvent {
    let Hold { number, what, reason, owner, .. } = hold;
    let message = format!("{by} ended hold {number} of {owner} ({what}: {reason})");
    hold_event(now, "hold.ended", hold, message)
}

/// Somebody began a release again that had failed.
pub(super) fn retried(revision: &Revision, by: &OperatorName, now: Timestamp) -> NewEvent {
    let message = format!("{by} began the release of {} again", revision.short());
    NewEvent { revision: Some(revision.clone()), ..event(now, "release.retried", message) }
}

/// The time of a hold is over.
pub(super) fn expired(hold: &Hold, now: Timestamp) -> NewEvent {
    let Hold { number, what, reason, owner, .. } = hold;
    let message =
        format!("the time of hold {number} of {owner} is over, and it holds no longer ({what}: {reason})");
    hold_event(now, "hold.expired", hold, message)
}

/// An event about what is held.
fn hold_event(at: Timestamp, kind: &str, hold: &Hold, message: String) -> NewEvent {
    let event = event(at, kind, message);
    match &hold.what {
        Held::Lock | Held::Suspend { on: Part::Environment(_) } => event,
        Held::Suspend { on: Part::Service(service) } => NewEvent { service: Some(service.clone()), ..event },
        Held::Suspend { on: Part::Node(node) } | Held::Cordon { node } | Held::Drain { node, .. } => {
            NewEvent { node: Some(node.clone()), ..event }
        }
        Held::Pin { revision } => NewEvent { revision: Some(revision.clone()), ..event },
    }
}

/// Somebody said yes or no.
pub(super) fn voted(vote: &Vote, now: Timestamp) -> NewEvent {
    let Vote { plan, revision, by, roles, approves, reason, .. } = vote;
    let (kind, verb) =
        if *approves { ("approval.given", "approved") } else { ("approval.refused", "rejected") };
    let roles: Vec<&str> = roles.iter().map(|role| &**role).collect();
    let roles = if roles.is_empty() { String::new() } else { format!(" ({})", roles.join(", ")) };
    let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let message = format!("{by}{roles} {verb} plan {}{reason}", plan.short());
    NewEvent { revision: Some(revision.clone()), ..event(now, kind, message) }
}

/// A node is heard again.
pub(super) fn back(node: &NodeName, now: Timestamp) -> NewEvent {
    node_event(now, "node.back", node, "the agent reports again")
}

/// A node was not heard for three heartbeats.
pub(super) fn silent(node: &NodeName, heard_at: Option<Timestamp>, now: Timestamp) -> NewEvent {
    let message = match heard_at {
        Some(heard_at) => format!("the agent was last heard at {heard_at}"),
        None => "the agent was never heard".to_owned(),
    };
    node_event(now, "node.stale", node, message)
}
