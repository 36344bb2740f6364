//! Which instances a node's plan ensures, in dependency order, and which are held back by a gate.
//!
//! A step that asks for the same as before is taken over as it is, reasons included, so that a plan tells for each
//! step what brought it into its present form. A gate holds a change, never what already runs: a service whose
//! dependency is not ready keeps its last step.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Situation, is_removed, removal, step_of};
use crate::desired::Instance;
use crate::diff;
use crate::name::{NodeName, ServiceName};
use crate::plan::{Ensure, NodePlan, Reason, Step};

/// The `Ensure` steps of a node; and, where a service changes its Compose project, the `Remove` that comes first.
pub(super) fn steps(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    waiting: &mut BTreeMap<ServiceName, String>,
) -> Vec<Step> {
    let Some(instances) = situation.desired.nodes.get(node) else { return Vec::new() };
    instances.iter().filter_map(|instance| step(situation, node, previous, instance, waiting)).collect()
}

fn step(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    instance: &Arc<Instance>,
    waiting: &mut BTreeMap<ServiceName, String>,
) -> Option<Step> {
    let service = &instance.ensure.service;
    let before = step_of(previous, service);
    let kept = || before.filter(|step| !is_removed(step, previous, situation.status(node))).cloned();
    let is_same = before.and_then(Step::as_ensure).is_some_and(|old| old.digest == instance.ensure.digest);
    if let Some(reason) = ended_grant(situation, instance).filter(|_| !is_same) {
        waiting.insert(service.clone(), reason);
        return kept();
    }
    let moving = before.filter(|step| project(step) != &*instance.ensure.project);
    if let Some(step) = moving.filter(|step| !is_removed(step, previous, situation.status(node))) {
        waiting.insert(service.clone(), format!("its Compose project `{}` is removed first", project(step)));
        return Some(removal::of(step, vec![project_reason(step, instance)], Vec::new()));
    }
    match before {
        Some(step @ Step::Ensure(old)) if old.digest == instance.ensure.digest => {
            Some(adjusted(situation, step, old, instance))
        }
        _ => match gate(situation, node, instance) {
            Some(reason) => {
                waiting.insert(service.clone(), reason);
                kept()
            }
            None => Some(fresh(situation, before.and_then(Step::as_ensure), instance)),
        },
    }
}

fn project(step: &Step) -> &str {
    match step {
        Step::Ensure(ensure) => &ensure.project,
        Step::Remove(remove) => &remove.project,
    }
}

fn project_reason(step: &Step, instance: &Instance) -> Reason {
    Reason {
        field: "project".into(),
        old: Some(project(step).into()),
        new: Some(instance.ensure.project.clone()),
        source: Some(instance.entry.path().clone()),
    }
}

/// The same content: only its order or its health limit can differ, which needs no gate.
fn adjusted(situation: &Situation<'_>, step: &Step, old: &Ensure, instance: &Instance) -> Step {
    let new = Step::Ensure(instance.ensure.clone());
    if step.same_effect(&new) { step.clone() } else { fresh(situation, Some(old), instance) }
}

fn fresh(situation: &Situation<'_>, old: Option<&Ensure>, instance: &Instance) -> Step {
    let because = diff::reasons(old, instance, situation.desired);
    Step::Ensure(Ensure { because, ..instance.ensure.clone() })
}

/// A new or changed instance uses a capability that was granted when the commit was read, and is so no longer. What runs
/// is left alone, also where it would have moved.
fn ended_grant(situation: &Situation<'_>, instance: &Instance) -> Option<String> {
    let used = instance.ended_grant(situation.now)?;
    let Some(grant) = &used.grant else {
        return Some(format!("nothing grants it the capability `{}`", used.capability));
    };
    let day = grant.until.map(|day| format!(" with {day}")).unwrap_or_default();
    Some(format!("the grant of `{}` in {} ended{day}", used.capability, grant.path))
}

/// Why a new or changed instance must wait, if it must: a service that it depends on is not yet acknowledged in
/// its present form on some other node. Order within the node is kept by the agent.
fn gate(situation: &Situation<'_>, node: &NodeName, instance: &Instance) -> Option<String> {
    let dependencies = instance.entry.service().depends_on.iter();
    let mut unready =
        dependencies.flat_map(|dependency| unready_nodes(situation, node, instance, dependency));
    let (dependency, other) = unready.next()?;
    let more = unready.count();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("`{dependency}` on {other}{rest} is not healthy in its new form yet"))
}

fn unready_nodes<'a>(
    situation: &'a Situation<'_>,
    node: &'a NodeName,
    instance: &'a Instance,
    dependency: &'a ServiceName,
) -> impl Iterator<Item = (&'a ServiceName, &'a NodeName)> {
    let instances = situation.desired.services.get(dependency);
    instances.into_iter().flat_map(|service| &service.instances).filter_map(move |(other, wanted)| {
        let elsewhere = other != node && wanted.shares_environment(instance);
        let ready = || situation.is_acknowledged(other, dependency, wanted.ensure.digest);
        (elsewhere && !ready()).then_some((dependency, other))
    })
}
