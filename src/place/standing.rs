//! What stands where now: from the plans in the daemon, from the other side in a comparison, from nothing in a check.
//!
//! It is held as it comes and looked into only for the services that placement chooses nodes for: most name theirs, and
//! a fleet of ten thousand of those must not pay for the one that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Request, demand};
use crate::name::{NodeName, ServiceName};
use crate::plan::{Ensure, Model, NodePlan, Step};

/// Which nodes hold what now, and which of them are silent.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    instances: BTreeMap<NodeName, Vec<(ServiceName, Model)>>,
    offline: BTreeSet<NodeName>,
}

/// By service, the nodes where it stands, each with the processors that it is bound to there.
pub(super) type Stands = BTreeMap<ServiceName, BTreeMap<NodeName, Vec<String>>>;

impl Standing {
    /// What the newest plans ensure.
    pub fn of_plans(plans: &BTreeMap<NodeName, Arc<NodePlan>>) -> Self {
        Self { plans: plans.clone(), ..Self::default() }
    }

    /// What other definitions ask for.
    pub fn of_instances<'a>(instances: impl IntoIterator<Item = (&'a NodeName, &'a Ensure)>) -> Self {
        let mut standing = Self::default();
        for (node, ensure) in instances {
            let there = standing.instances.entry(node.clone()).or_default();
            there.push((ensure.service.clone(), ensure.model.clone()));
        }
        standing
    }

    /// With the nodes that have not been heard for too long.
    pub fn with_offline(mut self, offline: BTreeSet<NodeName>) -> Self {
        self.offline = offline;
        self
    }

    /// Whether a node has not been heard for too long.
    pub fn is_offline(&self, node: &NodeName) -> bool {
        self.offline.contains(node)
    }

    /// Every instance.
    fn all(&self) -> impl Iterator<Item = (&NodeName, &ServiceName, &Model)> {
        let plans = self.plans.iter().flat_map(|(node, plan)| {
            let ensures = plan.steps.iter().filter_map(Step::as_ensure);
            ensures.map(move |ensure| (node, &ensure.service, &ensure.model))
        });
        let instances = self.instances.iter().flat_map(|(node, there)| {
            there.iter().map(move |(service, model)| (node, service, model))
        });
        plans.chain(instances)
    }

    /// Where these services stand.
    pub(super) fn of<'r>(&self, requests: impl Iterator<Item = &'r Request>) -> Stands {
        let slotted = requests.map(|request| (&request.id.service, request.place.slot.is_some()));
        let slotted: BTreeMap<&ServiceName, bool> = slotted.collect();
        let mut stands = Stands::new();
        if slotted.is_empty() {
            return stands;
        }
        for (node, service, model) in self.all() {
            let Some(is_slotted) = slotted.get(service) else { continue };
            let bound = if *is_slotted { demand::traits(model).1 } else { Vec::new() };
            stands.entry(service.clone()).or_default().insert(node.clone(), bound);
        }
        stands
    }

    /// The images that a node runs.
    pub(super) fn images(&self, node: &NodeName) -> BTreeSet<String> {
        let steps = self.plans.get(node).into_iter().flat_map(|plan| &plan.steps);
        let planned = steps.filter_map(Step::as_ensure).map(|ensure| &ensure.model);
        let instances = self.instances.get(node).into_iter().flatten();
        let models = planned.chain(instances.map(|(_, model)| model));
        models.flat_map(|model| demand::traits(model).0).collect()
    }
}
