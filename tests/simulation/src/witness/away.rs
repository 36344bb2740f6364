//! Rules about how much a release takes away: instances at once, and instances for good.

use std::collections::BTreeSet;
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, ServiceName};
use gitops_core::plan::{Ensure, NodePlan, Step};
use gitops_core::status::{NodeStatus, StepOutcome};

use super::Witness;
use crate::clock::Millis;
use crate::repository::Shape;

/// A release that undoes does not wait for nodes that were not heard for so long, and they begin when they are back.
const SILENT: Millis = 40_000;
/// So many removals of one release need nobody's word.
const FEW: usize = 5;

/// A plan changes an instance that was there.
#[derive(Debug)]
pub(super) struct Taken {
    /// Into this.
    digest: Digest,
    /// How many of its service may be away, by the revision that took it, or a newer one.
    most: usize,
    /// The node had said that the one before was well, and the daemon knew.
    was_up: bool,
    /// Nodes whose instances were not counted when it was taken.
    silent: BTreeSet<NodeName>,
    /// The agent began to change it.
    is_begun: bool,
}

impl Witness {
    /// A plan was published: what it changes, and what it removes.
    pub(super) fn takes(&mut self, daemon: usize, plan: &Arc<NodePlan>) {
        let parent = plan.parent.and_then(|parent| self.plan(&plan.node, parent).cloned());
        let before = |service: &ServiceName| parent.as_ref()?.step(service)?.as_ensure().cloned();
        for step in &plan.steps {
            let Some(old) = before(step.service()) else { continue };
            match step {
                Step::Ensure(new) if new.digest != old.digest => self.taken_by(daemon, plan, &old, new),
                Step::Ensure(_) => {}
                Step::Remove(_) => self.removed_by(plan, &old),
            }
        }
    }

    fn taken_by(&mut self, daemon: usize, plan: &NodePlan, old: &Ensure, new: &Ensure) {
        let key = (new.service.clone(), plan.node.clone());
        let shape = self.shapes.get(&plan.revision);
        let most = shape.map_or(usize::MAX, |shape| shape.most_away(&new.service));
        let known = self.planned_from.get(&daemon).and_then(|known| known.get(&plan.node));
        let was_up = [self.claimed.get(&plan.node), known]
            .iter()
            .all(|status| status.is_some_and(|status| says_well(status, old)));
        let silent = if self.failed.contains(&plan.revision) { self.silent() } else { BTreeSet::new() };
        let taken = self.taken.entry(key).or_insert(Taken {
            digest: new.digest,
            most,
            was_up,
            silent: silent.clone(),
            is_begun: false,
        });
        (taken.digest, taken.most) = (new.digest, taken.most.max(most));
        taken.silent.extend(silent);
    }

    fn silent(&self) -> BTreeSet<NodeName> {
        let is_silent = |node: &&NodeName| {
            self.is_vague || self.spoke_at.get(*node).is_none_or(|at| self.now - at >= SILENT)
        };
        self.nodes.iter().filter(is_silent).cloned().collect()
    }

    /// Removals that somebody must have agreed to.
    fn removed_by(&mut self, plan: &NodePlan, old: &Ensure) {
        let key = (plan.node.clone(), old.service.clone());
        self.taken.remove(&(old.service.clone(), plan.node.clone()));
        let goes_on = |shape: &Arc<Shape>| shape.is_at(&old.service, &plan.node);
        if self.failed.contains(&plan.revision)
            || self.approved.contains(&key)
            || self.shapes.get(&plan.revision).is_some_and(goes_on)
        {
            return;
        }
        let (node, service) = key.clone();
        self.require(10, !old.model.as_str().contains("\"data\""), || {
            format!("{service} on {node} is removed, leaves a volume behind, and nobody agreed")
        });
        let removed = self.removed.entry(plan.revision.clone()).or_default();
        removed.insert(key);
        let count = removed.len();
        self.require(10, count <= FEW, || format!("nobody agreed that {count} instances are removed"));
    }

    /// An agent begins to change an instance that stands and is well.
    pub(super) fn takes_away(&mut self, node: &NodeName, ensure: &Ensure) {
        let service = &ensure.service;
        let Some(taken) = self.taken.get_mut(&(service.clone(), node.clone())) else { return };
        if !taken.was_up || taken.digest != ensure.digest || self.doubled.contains(node) {
            return;
        }
        taken.is_begun = true;
        let silent = taken.silent.clone();
        let is_counted = |other: &NodeName, taken: &Taken| {
            taken.is_begun && !silent.contains(other) && (other == node || !taken.silent.contains(node))
        };
        let of = self.taken.iter().filter(|((other, _), _)| other == service);
        let away: Vec<(&NodeName, usize)> = of
            .filter(|((_, node), taken)| is_counted(node, taken) && !self.doubled.contains(node))
            .map(|((_, node), taken)| (node, taken.most))
            .collect();
        let most = away.iter().map(|(_, most)| *most).max().unwrap_or(usize::MAX);
        let holds = away.len() <= most;
        let told = format!("{service} is taken away at once on {away:?}");
        self.require(10, holds, || told);
    }

    /// A node says how its steps stand: what is well, is not away any more.
    pub(super) fn claims(&mut self, node: &NodeName, status: &Arc<NodeStatus>) {
        let shapes = &self.shapes;
        let passes_over = |service: &ServiceName| shapes.values().any(|shape| shape.goes_on_without(service));
        self.taken.retain(|(service, other), taken| {
            let result = status.steps.get(service).filter(|result| result.digest == Some(taken.digest));
            let is_over = result.is_some_and(|result| match result.outcome {
                StepOutcome::Satisfied => true,
                StepOutcome::Failed => passes_over(service),
                _ => false,
            });
            other != node || !is_over
        });
        self.claimed.insert(node.clone(), status.clone());
    }
}

fn says_well(status: &NodeStatus, ensure: &Ensure) -> bool {
    let result = status.steps.get(&ensure.service);
    result.is_some_and(|result| {
        result.outcome == StepOutcome::Satisfied && result.digest == Some(ensure.digest)
    })
}
