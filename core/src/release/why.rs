//! Why a service is as it is: from what its plan asks for back to the release, and the commit, that first asked for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::told::{Why, WhyNode};
use super::{PlanRecord, Release, StepRecord};
use crate::fleet::{InstanceView, NodeView};
use crate::name::{NodeName, ServiceName};
use crate::plan::{NodePlan, Step};

/// What the answer is found in.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The newest plan of each node.
    pub plans: &'a BTreeMap<NodeName, Arc<NodePlan>>,
    /// How every node stands.
    pub nodes: &'a [NodeView],
    /// When plans were published and acknowledged.
    pub records: &'a [PlanRecord],
    /// When the service took its form: on each node, the newest.
    pub steps: &'a [StepRecord],
    /// The releases that `steps` name, as far as they are kept.
    pub releases: &'a BTreeMap<u64, Release>,
}

/// Why `service` is as it is, on each node where it is or should be.
pub fn why(service: &ServiceName, evidence: &Evidence<'_>) -> Why {
    let planned = evidence.plans.values().filter(|plan| plan.step(service).is_some()).map(|plan| &plan.node);
    let seen = evidence.nodes.iter().filter(|view| instance(view, service).is_some()).map(|view| &view.node);
    let mut nodes: Vec<&NodeName> = planned.chain(seen).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let nodes = nodes.into_iter().map(|node| on(service, node, evidence)).collect();
    Why { service: service.clone(), nodes }
}

fn instance<'a>(view: &'a NodeView, service: &ServiceName) -> Option<&'a InstanceView> {
    view.instances.iter().find(|instance| instance.service == *service)
}

fn on(service: &ServiceName, node: &NodeName, evidence: &Evidence<'_>) -> WhyNode {
    let view = evidence.nodes.iter().find(|view| view.node == *node);
    let instance = view.and_then(|view| instance(view, service));
    let step = evidence.plans.get(node).and_then(|plan| plan.step(service));
    let digest = step.and_then(Step::as_ensure).map(|ensure| ensure.digest);
    // Without a step in the plan, what was once changed is long over; and what has another form is not what stands.
    let of_step = |record: &&StepRecord| {
        let change = &record.change;
        (&change.node, &change.service, change.digest) == (node, service, digest)
    };
    let changed = step.and_then(|_| evidence.steps.iter().find(of_step));
    let release = changed.and_then(|changed| evidence.releases.get(&changed.release?));
    WhyNode {
        node: node.clone(),
        state: instance.map(|instance| instance.state),
        message: instance.and_then(|instance| instance.message.clone()),
        plan: evidence.records.iter().find(|record| record.node == *node).cloned(),
        digest,
        because: step.map(|step| step.because().to_vec()).unwrap_or_default(),
        changed: changed.cloned(),
        release: release.cloned(),
    }
}
