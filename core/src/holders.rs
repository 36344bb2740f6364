//! What stands where now: where an instance is placed depends on where it is.
//!
//! The daemon takes it from its plans, a comparison from the other side, a check of definitions alone from nothing. It is
//! held as it comes and looked through only for the services that nodes are chosen for: a fleet of ten thousand that
//! name theirs must not pay for the one that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::{NodeName, ServiceName};
use crate::plan::{Model, NodePlan, Step};

/// Which nodes hold what, and which of them are silent.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    plans: Arc<BTreeMap<NodeName, Arc<NodePlan>>>,
    others: BTreeMap<NodeName, Vec<(ServiceName, Model)>>,
    offline: BTreeSet<NodeName>,
    closed: Closed,
    unknown: bool,
}

/// The nodes to which people decided that nothing new comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// What stands there stays.
    pub cordoned: BTreeSet<NodeName>,
    /// What stands there goes, where another node takes it.
    pub drained: BTreeSet<NodeName>,
}

impl Holders {
    /// By the plans: a node holds what its newest plan ensures.
    pub fn of_plans(plans: Arc<BTreeMap<NodeName, Arc<NodePlan>>>) -> Self {
        Self { plans, ..Self::default() }
    }

    /// By what should be on the nodes according to other definitions.
    pub fn of_instances(instances: impl IntoIterator<Item = (NodeName, ServiceName, Model)>) -> Self {
        let mut others: BTreeMap<NodeName, Vec<(ServiceName, Model)>> = BTreeMap::new();
        for (node, service, model) in instances {
            others.entry(node).or_default().push((service, model));
        }
        Self { others, ..Self::default() }
    }

    /// Where nothing is known of what stands: what is not asked for by name may be anywhere already.
    pub fn unknown() -> Self {
        Self { unknown: true, ..Self::default() }
    }

    /// Whether nothing is known of what stands.
    pub fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// With the nodes that have not been heard for too long.
    pub fn with_offline(mut self, offline: BTreeSet<NodeName>) -> Self {
        self.offline = offline;
        self
    }

    /// With the nodes that people closed.
    pub fn with_closed(mut self, closed: Closed) -> Self {
        self.closed = closed;
        self
    }

    /// The nodes that people closed.
    pub fn closed(&self) -> &Closed {
        &self.closed
    }

    /// Whether a node has not been heard for too long.
    pub fn is_offline(&self, node: &NodeName) -> bool {
        self.offline.contains(node)
    }

    /// Every instance, by node.
    pub fn all(&self) -> impl Iterator<Item = (&NodeName, &ServiceName, &Model)> {
        let plans = self.plans.iter().flat_map(|(node, plan)| {
            let ensures = plan.steps.iter().filter_map(Step::as_ensure);
            ensures.map(move |ensure| (node, &ensure.service, &ensure.model))
        });
        let others = self
            .others
            .iter()
            .flat_map(|(node, there)| there.iter().map(move |(service, model)| (node, service, model)));
        plans.chain(others)
    }

    /// The models that a node holds.
    pub fn models(&self, node: &NodeName) -> impl Iterator<Item = &Model> {
        let steps = self.plans.get(node).into_iter().flat_map(|plan| &plan.steps);
        let planned = steps.filter_map(Step::as_ensure).map(|ensure| &ensure.model);
        planned.chain(self.others.get(node).into_iter().flatten().map(|(_, model)| model))
    }
}
