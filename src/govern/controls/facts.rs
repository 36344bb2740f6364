//! What a rule may look at, as data. `docs/governance.md` says what is in it; each part is made once, and only if a rule
//! looks at it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::Subject;
use crate::catalog::{Deployment, VARIABLES};
use crate::condition::{Condition, Failure};
use crate::definition::{Bytes, Cpu, Node, Resources};
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
    /// By the address of what they were made from.
    services: BTreeMap<*const Deployment, Json>,
    models: BTreeMap<*const Instance, Json>,
    nodes: BTreeMap<&'a NodeName, Json>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(subject: &'a Subject<'_>) -> Self {
        Self { subject, services: BTreeMap::new(), models: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Whether the condition holds for an instance.
    pub(super) fn holds(
        &mut self,
        condition: &Condition,
        node: &'a NodeName,
        instance: &'a Instance,
    ) -> Result<bool, Failure> {
        let reads = |variable| condition.reads(variable);
        let before = if reads(BEFORE) { self.before(node) } else { None };
        if reads(SERVICE) {
            let subject = self.subject;
            let deployment = instance.deployment();
            self.services.entry(deployment).or_insert_with(|| service(subject, deployment));
        }
        if reads(COMPOSE) || reads(AFTER) {
            self.models.entry(instance).or_insert_with(|| instance.ensure.model.value());
        }
        if let Some(before) = before {
            self.models.entry(before).or_insert_with(|| before.ensure.model.value());
        }
        if reads(NODE) && !self.nodes.contains_key(node) {
            let defined = super::node_of(self.subject, node);
            let made = defined.map_or(Json::Null, |defined| self.node(&defined.value));
            self.nodes.insert(node, made);
        }
        let place = if reads(INSTANCE) { self.instance(node, instance) } else { Json::Null };
        let or_null = |value: Option<&'_ Json>| -> &Json { value.unwrap_or(&Json::Null) };
        let mut values = [&Json::Null; VARIABLES.len()];
        let address: *const Deployment = instance.deployment();
        let model: *const Instance = instance;
        values[SERVICE] = self.services.get(&address).unwrap_or(&Json::Null);
        values[COMPOSE] = self.models.get(&model).unwrap_or(&Json::Null);
        values[AFTER] = values[COMPOSE];
        values[NODE] = self.nodes.get(node).unwrap_or(&Json::Null);
        values[INSTANCE] = &place;
        let before: Option<*const Instance> = before.map(|before| before as _);
        values[BEFORE] = before.and_then(|before| self.models.get(&before)).unwrap_or(&Json::Null);
        condition.holds(&values)
    }
}
