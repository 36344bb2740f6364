//! The releases of the state machine: which one a pass begins, and when the newest is done.

use std::sync::Arc;

use jiff::Timestamp;

use super::happened;
use super::state::State;
use crate::fleet::{InstanceState, NodeView};
use crate::name::Revision;
use crate::plan::NodePlan;
use crate::reconcile::Definitions;

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
        self.deployed.as_ref() == Some(revision) && !self.views.iter().any(waits) && plans.all(acked)
    }
}
