//! What goes: an instance that the last plan ensured and that nothing asks for any longer.
//!
//! **Invariant:** nothing is removed because something is missing from an answer. A removal comes from the node's
//! own last plan compared with checked definitions, is written down as a step with its reason, and stays in the
//! plan until the agent has reported it done. What may not go yet keeps its last step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Situation, is_removed, undone};
use crate::diff;
use crate::name::{NodeName, ServiceName};
use crate::plan::{NodePlan, Reason, Remove, Step};

/// The `Remove` steps of a node, dependants before what they depended on.
pub(super) fn steps(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    ensured: &[Step],
    waiting: &mut BTreeMap<ServiceName, String>,
) -> Vec<Step> {
    let Some(previous) = previous else { return Vec::new() };
    let is_kept = |service: &ServiceName| ensured.iter().any(|step| step.service() == service);
    // What goes on under another name, in the same Compose project, is not removed.
    let projects: BTreeSet<&Arc<str>> =
        ensured.iter().filter_map(Step::as_ensure).map(|ensure| &ensure.project).collect();
    let goes_on = |step: &Step| projects.contains(step.project());
    let gone = previous.steps.iter().filter(|step| !is_kept(step.service()) && !goes_on(step));
    let going: Vec<&Step> =
        gone.filter(|step| !is_removed(step, Some(previous), situation.status(node))).collect();
    // The last plan is in dependency order, so its reverse has dependants first.
    let removal = |step: &&Step| {
        let service = step.service();
        if let (Step::Ensure(_), Some(reason)) = (step, situation.permits.held(node, service)) {
            waiting.insert(service.clone(), reason.clone());
            return situation.kept(node, step);
        }
        of(situation, node, step, reasons(situation, node, step), dependants(step, &previous.steps))
    };
    going.iter().rev().map(removal).collect()
}

/// The removal of what `step` is about. A removal that stands keeps its first reason.
pub(super) fn of(
    situation: &Situation<'_>,
    node: &NodeName,
    step: &Step,
    because: Vec<Reason>,
    after: Vec<ServiceName>,
) -> Step {
    match (step, situation.renewed_spans(node, step)) {
        (Step::Remove(remove), Some(spans)) => Step::Remove(Remove { spans, ..remove.clone() }),
        (Step::Remove(_), None) => step.clone(),
        (Step::Ensure(ensure), _) => Step::Remove(Remove {
            service: ensure.service.clone(),
            project: ensure.project.clone(),
            volumes_kept: ensure.named_volumes(),
            after,
            wave: ensure.terms.wave,
            spans: situation.spans(node, &ensure.service),
            because,
        }),
    }
}

/// The services on the node that came after this one: they change or go first.
fn dependants(step: &Step, steps: &[Step]) -> Vec<ServiceName> {
    let ensures = steps.iter().filter_map(Step::as_ensure);
    ensures.filter(|other| other.after.contains(step.service())).map(|other| other.service.clone()).collect()
}

fn reasons(situation: &Situation<'_>, node: &NodeName, step: &Step) -> Vec<Reason> {
    let service = step.service();
    if let Some(hold) = situation.facts.decisions.emptied(node, situation.now) {
        let new = format!("{} by {}: {}", hold.what, hold.owner, hold.reason);
        return vec![Reason { field: "node".into(), old: None, new: Some(new.into()), source: None }];
    }
    if let Some(undo) = situation.facts.underway.undo.as_deref() {
        return vec![undone(undo)];
    }
    let reason = match situation.desired.services.get(service) {
        Some(wanted) => {
            let step = |node: &NodeName| situation.plans.get(node)?.step(service)?.as_ensure();
            diff::displacement(std::slice::from_ref(node), wanted, |node| step(node).is_none())
        }
        None => Reason {
            field: "service".into(),
            old: Some(service.as_str().into()),
            new: None,
            source: Some(format!("services/{service}/service.yaml").into()),
        },
    };
    vec![reason]
}
