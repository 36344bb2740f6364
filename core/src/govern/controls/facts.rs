//! What a rule may look at, as data. `docs/governance.md` says what is in it. Each part is made once for a service, and
//! only if a rule looks at it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::Subject;
use crate::catalog::{Deployment, VARIABLES};
use crate::condition::{Condition, Failure};
use crate::definition::{Bytes, Cpu, Node, Placement, Resources};
use crate::desired::Instance;
use crate::name::NodeName;
use crate::yaml::Scalar;

const SERVICE: usize = 0;
const COMPOSE: usize = 1;
const NODE: usize = 2;
const INSTANCE: usize = 3;
const BEFORE: usize = 4;
const AFTER: usize = 5;

/// Whether the answer may be different on another node, although all that runs there is the same.
pub(super) fn looks_at_place(condition: &Condition) -> bool {
    [NODE, INSTANCE, BEFORE].into_iter().any(|variable| condition.reads(variable))
}

/// The values for one service, as far as they were asked for.
pub(super) struct Facts<'a> {
    subject: &'a Subject<'a>,
    services: Made<Deployment>,
    models: Made<Instance>,
    nodes: BTreeMap<&'a NodeName, Json>,
}

/// Values by the very thing that they were made from.
struct Made<T>(BTreeMap<*const T, Json>);

impl<T> Made<T> {
    fn make(&mut self, of: &T, make: impl FnOnce() -> Json) {
        self.0.entry(of).or_insert_with(make);
    }

    fn get(&self, of: Option<&T>) -> &Json {
        of.and_then(|of| self.0.get(&std::ptr::from_ref(of))).unwrap_or(&Json::Null)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Self {
        let (services, models) = (Made(BTreeMap::new()), Made(BTreeMap::new()));
        Self { subject, services, models, nodes: BTreeMap::new() }
    }

    /// Whether the condition holds for an instance.
    pub(super) fn holds(
        &mut self,
        condition: &Condition,
        name: &'a NodeName,
        instance: &'a Instance,
    ) -> Result<bool, Failure> {
        let subject = self.subject;
        let if_read = |variable: usize| condition.reads(variable).then_some(());
        let model = if_read(COMPOSE).or(if_read(AFTER)).map(|()| instance);
        let before = if_read(BEFORE).and_then(|()| before(subject, name, instance));
        for shown in model.into_iter().chain(before) {
            self.models.make(shown, || shown.ensure.model.value());
        }
        let deployment = if_read(SERVICE).map(|()| instance.deployment());
        if let Some(deployment) = deployment {
            self.services.make(deployment, || service(subject, deployment));
        }
        let node = if_read(NODE).and_then(|()| subject.catalog.nodes.get(name));
        if let Some(node) = node {
            self.nodes.entry(name).or_insert_with(|| of_node(subject, &node.value));
        }
        let place = if_read(INSTANCE).map(|()| of_instance(subject, name, instance));
        let mut values = [&Json::Null; VARIABLES.len()];
        values[SERVICE] = self.services.get(deployment);
        values[COMPOSE] = self.models.get(model);
        values[NODE] = self.nodes.get(name).unwrap_or(&Json::Null);
        values[INSTANCE] = place.as_ref().unwrap_or(&Json::Null);
        values[BEFORE] = self.models.get(before);
        values[AFTER] = values[COMPOSE];
        condition.holds(&values)
    }
}

/// The instance before the change: on the same node, or else where the service was in this environment.
fn before<'a>(subject: &Subject<'a>, node: &NodeName, instance: &Instance) -> Option<&'a Instance> {
    let before = subject.before()?;
    let environment = &instance.deployment().environment;
    let elsewhere = || before.values().find(|old| old.deployment().environment == *environment);
    before.get(node).or_else(elsewhere).map(|before| &**before)
}

fn service(subject: &Subject<'_>, deployment: &Deployment) -> Json {
    let (service, defaults) = (&deployment.service, &subject.catalog.settings.defaults);
    json!({
        "name": service.service.as_str(),
        "description": service.description,
        "labels": texts(&service.labels),
        "environment": deployment.environment.as_ref().map(|name| name.as_str()),
        "features": deployment.features(&subject.catalog.settings).iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "controls": deployment.controls(&subject.catalog.settings).iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "state": service.state.or(defaults.state).unwrap_or_default(),
        "depends_on": service.depends_on.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "place": place(&service.place),
        "resources": resources(&service.resources),
        "variables": texts(&service.variables),
    })
}

fn place(place: &Placement) -> Json {
    json!({
        "nodes": place.nodes.as_ref().map(|nodes| nodes.iter().map(|name| name.as_str()).collect::<Vec<_>>()),
        "count": place.count,
        "all": place.all.unwrap_or_default(),
        "spread": place.spread,
        "sticky": place.sticky.unwrap_or(true),
        "failover": place.failover.map(|time| time.0),
    })
}

fn resources(resources: &Resources) -> Json {
    json!({
        "cpu": resources.cpu.map(cores),
        "memory": resources.memory.map(bytes),
        "disk": resources.disk.map(bytes),
        "gpus": resources.gpus.as_ref().map(|gpus| gpus.count.unwrap_or(1)),
    })
}

fn of_node(subject: &Subject<'_>, node: &Node) -> Json {
    json!({
        "name": node.node.as_str(),
        "labels": texts(&node.labels),
        "environment": subject.catalog.environment_of(&node.node).map(|name| name.as_str()),
        "capabilities": node.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "taints": node.taints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "price": node.price.map(|price| price.0 as f64 / 100.0),
        "cordon": node.cordon,
        "capacity": {
            "cpu": node.capacity.cpu.map(cores),
            "memory": node.capacity.memory.map(bytes),
            "disk": node.capacity.disk.map(bytes),
            "gpus": node.capacity.gpus.iter().map(|gpu| u64::from(gpu.count.unwrap_or(1))).sum::<u64>(),
        },
    })
}

fn of_instance(subject: &Subject<'_>, node: &NodeName, instance: &Instance) -> Json {
    json!({
        "node": node.as_str(),
        "environment": subject.catalog.environment_of(node).map(|name| name.as_str()),
        "project": instance.ensure.project,
        "digest": instance.ensure.digest.to_string(),
        "state": instance.ensure.state,
        "features": instance.uses.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        "resources": resources(&instance.deployment().service.resources),
    })
}

fn texts<K: AsRef<str>>(pairs: &BTreeMap<K, Scalar>) -> Json {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_ref().to_owned(), Json::String(value.0.as_ref().to_owned())));
    Json::Object(pairs.collect::<Map<String, Json>>())
}

fn cores(cpu: Cpu) -> f64 {
    cpu.0 as f64 / 1_000.0
}

fn bytes(bytes: Bytes) -> u64 {
    bytes.0
}
