//! Which instances a node's plan ensures, in dependency order, and which are held back by a gate.
//!
//! A step that asks for the same as before is taken over as it is, reasons included, so that a plan tells for each
//! step what brought it into its present form. A gate holds a change, never what already runs: a service whose
//! dependency is not ready keeps its last step.

use std::collections::{BTreeMap, BTreeSet};

use super::units::{Want, former};
use super::{Situation, is_removed, removal, step_of, undone};
use crate::desired::Instance;
use crate::diff;
use crate::name::{Digest, NodeName, ServiceName};
use crate::plan::{Ensure, NodePlan, Reason, Step};

/// The `Ensure` steps of a node; and, where a service changes its Compose project, the `Remove` that comes first.
pub(super) fn steps(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    waiting: &mut BTreeMap<ServiceName, String>,
) -> Vec<Step> {
    let wanted: Vec<Want<'_>> = situation.wanted(node).collect();
    let names: BTreeSet<&ServiceName> = wanted.iter().map(|want| &want.ensure.service).collect();
    let step = |want: &Want<'_>| {
        let before = step_of(previous, &want.ensure.service).or_else(|| former(previous, want, &names));
        step(situation, node, previous, (before, want), waiting)
    };
    wanted.iter().filter_map(step).collect()
}

fn step(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    (before, want): (Option<&Step>, &Want<'_>),
    waiting: &mut BTreeMap<ServiceName, String>,
) -> Option<Step> {
    let service = &want.ensure.service;
    if let Some(step @ Step::Ensure(old)) = before
        && (old.digest, &old.service) == (want.ensure.digest, service)
    {
        return Some(adjusted(situation, node, step, old, want));
    }
    let standing = before.filter(|step| !is_removed(step, previous, situation.status(node)));
    if let Some(reason) = situation.permits.held(node, service) {
        waiting.insert(service.clone(), reason.clone());
        return standing.map(|step| situation.kept(node, step));
    }
    if let Some(step) = standing.filter(|step| *step.project() != want.ensure.project) {
        waiting.insert(service.clone(), format!("its Compose project `{}` is removed first", step.project()));
        return Some(removal::of(situation, node, step, vec![project_reason(step, want)], Vec::new()));
    }
    Some(fresh(situation, node, before.and_then(Step::as_ensure), want))
}

fn project_reason(step: &Step, want: &Want<'_>) -> Reason {
    Reason {
        field: "project".into(),
        old: Some(step.project().clone()),
        new: Some(want.ensure.project.clone()),
        source: want.instance.map(|instance| instance.entry.path().clone()),
    }
}

/// The same content: only its order or its terms can differ, which needs no gate.
fn adjusted(situation: &Situation<'_>, node: &NodeName, step: &Step, old: &Ensure, want: &Want<'_>) -> Step {
    // The attempt belongs to the change that brought the step: another is no change.
    let mut new = want.ensure.clone();
    new.terms.hooks.attempt = old.terms.hooks.attempt;
    new.terms.spans = situation.renewed_spans(node, step).unwrap_or_else(|| old.terms.spans.clone());
    match (old.same_effect(&new), old.terms.spans == new.terms.spans) {
        (true, true) => step.clone(),
        (true, false) => Step::Ensure(Ensure { because: old.because.clone(), ..new }),
        (false, _) => with_reasons(situation, Some(old), new, want),
    }
}

fn fresh(situation: &Situation<'_>, node: &NodeName, old: Option<&Ensure>, want: &Want<'_>) -> Step {
    let mut new = want.ensure.clone();
    new.terms.spans = situation.spans(node, &want.ensure.service);
    let hooks = &mut new.terms.hooks;
    hooks.attempt = (!hooks.is_empty()).then(|| attempt(situation, &want.ensure.service));
    with_reasons(situation, old, new, want)
}

fn with_reasons(situation: &Situation<'_>, old: Option<&Ensure>, new: Ensure, want: &Want<'_>) -> Step {
    let because = match (want.instance, &situation.facts.underway.undo) {
        (Some(instance), _) => diff::reasons(old, instance, situation.desired),
        (None, Some(undo)) => vec![undone(undo)],
        (None, None) => Vec::new(),
    };
    Step::Ensure(Ensure { because, ..new })
}

/// Names the attempt that hooks belong to: one release of a service, begun once or begun again, or undone.
fn attempt(situation: &Situation<'_>, service: &ServiceName) -> Digest {
    let underway = &situation.facts.underway;
    let content = (situation.revision, underway.attempts, underway.undo.is_some(), service);
    Digest::of(serde_json::to_vec(&content).expect("names and numbers are JSON"))
}

/// A new or changed instance uses a capability that was granted when the commit was read, and is so no longer. What runs
/// is left alone, also where it would have moved.
pub(super) fn ended_grant(situation: &Situation<'_>, instance: &Instance) -> Option<String> {
    let used = instance.ended_grant(situation.now)?;
    let Some(grant) = &used.grant else {
        return Some(format!("nothing grants it the capability `{}`", used.capability));
    };
    let day = grant.until.map(|day| format!(" with {day}")).unwrap_or_default();
    Some(format!("the grant of `{}` in {} ended{day}", used.capability, grant.path))
}

/// Why a new or changed instance must wait, if it must: a service that it depends on is not yet acknowledged in
/// its present form on some other node. Order within the node is kept by the agent.
pub(super) fn gate(situation: &Situation<'_>, node: &NodeName, instance: &Instance) -> Option<Gate> {
    let dependencies = instance.entry.service().depends_on.iter();
    let unready = dependencies.flat_map(|dependency| unready_nodes(situation, node, instance, dependency));
    let unready: Vec<_> = unready.collect();
    let (dependency, other, _) = unready.first()?;
    let more = unready.len() - 1;
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(Gate {
        text: format!("`{dependency}` on {other}{rest} is not healthy in its new form yet"),
        wave: unready.iter().map(|(_, _, wave)| *wave).max().unwrap_or_default(),
    })
}

/// What an instance depends on is not there yet.
pub(super) struct Gate {
    /// What, and where.
    pub text: String,
    /// The last wave in which something of it comes.
    pub wave: i32,
}

fn unready_nodes<'a>(
    situation: &'a Situation<'_>,
    node: &'a NodeName,
    instance: &'a Instance,
    dependency: &'a ServiceName,
) -> impl Iterator<Item = (&'a ServiceName, &'a NodeName, i32)> {
    let instances = situation.desired.services.get(dependency);
    instances.into_iter().flat_map(|service| &service.instances).filter_map(move |(other, wanted)| {
        let elsewhere = other != node && wanted.shares_environment(instance);
        let ready = || situation.is_acknowledged(other, dependency, wanted.ensure.digest);
        (elsewhere && !ready()).then(|| (dependency, other, wanted.rollout().wave()))
    })
}
