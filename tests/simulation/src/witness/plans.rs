//! Rules about what the store holds: chains of plans, and statuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::status::{NodeStatus, PlanId};

use super::Witness;

impl Witness {
    pub(super) fn published(&mut self, daemon: usize, plan: &Arc<NodePlan>) {
        let node = &plan.node;
        self.mutated(|| format!("plan {} of {node} was published", plan.generation));
        let head = self.heads.insert(node.clone(), PlanId::of(plan));
        let other = self.parents.insert((node.clone(), plan.parent), daemon);
        self.require(6, other.is_none(), || {
            let other = other.unwrap_or_default();
            format!("daemons {other} and {daemon} published over the same plan of {node}")
        });
        let parent = head.map(|head| head.digest);
        self.require(4, parent == plan.parent, || {
            format!(
                "plan {} of {node} follows {:?} and not the newest {parent:?}",
                plan.generation, plan.parent
            )
        });
        self.require(4, head.is_none_or(|head| head.generation < plan.generation), || {
            format!("generation {} of {node} does not rise", plan.generation)
        });
        self.plans.insert((node.clone(), plan.digest), plan.clone());
        self.takes(daemon, plan);
    }

    pub(super) fn restored(
        &mut self,
        plans: &BTreeMap<NodeName, Arc<NodePlan>>,
        deployed: Option<&Revision>,
    ) {
        self.heads = plans.iter().map(|(node, plan)| (node.clone(), PlanId::of(plan))).collect();
        self.parents.clear();
        self.deployed = deployed.cloned();
        self.newest.clear();
        self.taken.clear();
        self.stored.clear();
        self.hooks.clear();
        self.removed.clear();
        self.failed.clear();
    }

    /// Whether this was once the plan of the node.
    pub(super) fn was_stored(&self, node: &NodeName, digest: Digest) -> bool {
        self.plans.contains_key(&(node.clone(), digest))
    }

    /// The plan of a node with this digest.
    pub(crate) fn plan(&self, node: &NodeName, digest: Digest) -> Option<&Arc<NodePlan>> {
        self.plans.get(&(node.clone(), digest))
    }

    pub(super) fn acknowledged(
        &mut self,
        node: &NodeName,
        said: &NodeStatus,
        stored: Option<&Arc<NodeStatus>>,
    ) {
        let written = self.stored.get(node).cloned();
        self.require(5, stored.is_some() && (stored == written.as_ref() || written.is_none()), || {
            let digest = |status: &NodeStatus| status.digest();
            let [stored, written] = [stored, written.as_ref()].map(|status| status.map(|status| digest(status)));
            format!(
                "{:?} of {node} was acknowledged, {written:?} was written last, and the store holds {stored:?}",
                digest(said)
            )
        });
    }
}
