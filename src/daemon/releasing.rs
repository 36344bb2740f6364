//! The releases of the state machine: which one a pass begins, and when the newest is done.

use std::sync::Arc;

use gitops_core::fleet::{InstanceState, NodeView, Progress};
use gitops_core::name::{NodeName, Revision, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::planner::{Brought, Facts, Underway};
use gitops_core::reconcile::Definitions;
use gitops_core::release::{Reached, StepChange};
use jiff::Timestamp;

use super::happened;
use super::state::State;

/// The release that a pass begins, if it is published.
#[derive(Clone, Debug)]
pub struct Opens {
    /// What is deployed before it.
    pub before: Option<Revision>,
    /// The definitions of that, where they could be read.
    pub definitions: Option<Arc<Definitions>>,
}

impl State {
    /// The release that a pass over `definitions` begins: none where they are deployed already.
    pub(super) fn opens(&self, definitions: &Definitions) -> Option<Opens> {
        let before = self.deployed.clone();
        let is_new = before.as_ref() != Some(&definitions.revision);
        is_new.then(|| Opens { before, definitions: self.in_force.clone() })
    }

    /// What a pass reads beside definitions, plans and reports. A release that it begins has brought nothing yet.
    pub(super) fn facts_for(&self, opens: bool, now: Timestamp) -> Facts {
        let begun = || Arc::new(Underway { began_at: Some(now), ..Underway::default() });
        let underway = if opens { begun() } else { self.underway.clone() };
        Facts { underway, decisions: self.decisions.clone() }
    }

    /// Takes down what was published: of a new release, or of the one under way.
    pub(super) fn brought(&mut self, steps: &[StepChange], is_new: bool, now: Timestamp) {
        let underway = Arc::make_mut(&mut self.underway);
        if is_new {
            *underway = Underway { began_at: Some(now), ..Underway::default() };
        }
        let brought = steps.iter().map(|step| {
            let brought = Brought { digest: step.digest, at: now, satisfied_at: None };
            ((step.node.clone(), step.service.clone()), brought)
        });
        underway.brought.extend(brought);
    }

    /// The release that failed begins again.
    pub(super) fn begin_again(&mut self) {
        let underway = Arc::make_mut(&mut self.underway);
        underway.undo = None;
        underway.attempts += 1;
    }

    /// Takes down what a node says for the first time that it has done.
    pub(super) fn reached(&mut self, node: &NodeName, reached: &Reached, now: Timestamp) {
        let brought = &self.underway.brought;
        let keys: Vec<_> = reached.services.iter().map(|service| (node.clone(), service.clone())).collect();
        let is_open = |key: &(NodeName, ServiceName)| {
            brought.get(key).is_some_and(|brought| brought.satisfied_at.is_none())
        };
        if !keys.iter().any(is_open) {
            return;
        }
        let underway = Arc::make_mut(&mut self.underway);
        for key in keys {
            if let Some(brought) = underway.brought.get_mut(&key) {
                brought.satisfied_at.get_or_insert(now);
            }
        }
    }

    /// How far the newest release is, while something of it is left to be done.
    pub(super) fn progress(&self) -> Option<Progress> {
        let revision = self.unfinished.clone().filter(|_| self.is_open)?;
        Some(Progress::of(revision, &self.underway, &self.views))
    }

    /// Writes down that the newest release is done, the first time that it is.
    pub(super) fn note_done(&mut self, now: Timestamp) {
        let Some(revision) = self.unfinished.clone().filter(|revision| self.is_done(revision)) else {
            return;
        };
        self.unfinished = None;
        let batch = self.recording.ask();
        batch.events.push(happened::finished(&revision, now));
        batch.finished = Some((revision, now));
    }

    /// Whether every node has acknowledged what `revision` asked of it, and nothing is held back. What a node was asked
    /// before that is not waited for: it may be gone for good.
    fn is_done(&self, revision: &Revision) -> bool {
        let waits =
            |node: &NodeView| node.instances.iter().any(|instance| instance.state == InstanceState::Waiting);
        let mut plans = self.plans.values().filter(|plan| plan.revision == *revision);
        let acked = |plan: &Arc<NodePlan>| {
            self.reported.nodes.get(&plan.node).is_some_and(|last| last.status.acks(plan))
        };
        let stands = !self.is_open && self.underway.undo.is_none();
        stands
            && self.deployed.as_ref() == Some(revision)
            && !self.views.iter().any(waits)
            && plans.all(acked)
    }
}
