//! Which nodes hold a service now, by the plans that stand: where an instance is placed depends on where it is.
//!
//! Most passes never ask, so the plans are looked through at the first question and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::name::{NodeName, ServiceName};
use crate::plan::{NodePlan, Step};

/// Which nodes hold each service.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    plans: Arc<BTreeMap<NodeName, Arc<NodePlan>>>,
    by_service: OnceLock<BTreeMap<ServiceName, BTreeSet<NodeName>>>,
}

impl Holders {
    /// By the plans: a node holds what its newest plan ensures.
    pub fn of_plans(plans: Arc<BTreeMap<NodeName, Arc<NodePlan>>>) -> Self {
        Self { plans, by_service: OnceLock::new() }
    }

    /// The nodes that hold the service.
    pub fn of(&self, service: &ServiceName) -> impl Iterator<Item = &NodeName> {
        let holders = self.by_service.get_or_init(|| by_service(&self.plans));
        holders.get(service).into_iter().flatten()
    }
}

fn by_service(plans: &BTreeMap<NodeName, Arc<NodePlan>>) -> BTreeMap<ServiceName, BTreeSet<NodeName>> {
    let mut holders: BTreeMap<ServiceName, BTreeSet<NodeName>> = BTreeMap::new();
    for (node, plan) in plans {
        for ensure in plan.steps.iter().filter_map(Step::as_ensure) {
            holders.entry(ensure.service.clone()).or_default().insert(node.clone());
        }
    }
    holders
}
