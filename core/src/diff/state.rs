//! One side of a comparison: what stands, or should stand, on each node.
//!
//! A side comes from definitions or from the plans that nodes hold. Plans say what each instance is and nothing of where
//! that was written, nor what is in its files: both come from definitions, for instances that are the very same there.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::desired::{Desired, Instance};
use crate::name::{NodeName, ServiceName};
use crate::plan::{Ensure, NodePlan, Step};
use crate::sensitive::Sensitive;

/// What stands on each node, by service.
#[derive(Clone, Debug, Default)]
pub struct State<'a> {
    nodes: BTreeMap<&'a NodeName, BTreeMap<&'a ServiceName, Stand<'a>>>,
}

/// An instance, as much as is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand<'a> {
    pub(super) ensure: &'a Ensure,
    /// The definitions' instance, if that is what stands.
    pub(super) instance: Option<&'a Arc<Instance>>,
}

impl<'a> State<'a> {
    /// What definitions ask for.
    pub fn of_desired(desired: &'a Desired) -> Self {
        let stand = |instance: &'a Arc<Instance>| {
            (&instance.ensure.service, Stand { ensure: &instance.ensure, instance: Some(instance) })
        };
        let of_node = |(node, instances): (&'a NodeName, &'a Arc<Vec<Arc<Instance>>>)| {
            (node, instances.iter().map(stand).collect())
        };
        Self { nodes: desired.nodes.iter().map(of_node).collect() }
    }

    /// What plans ask for. `known` are definitions that some of it may come from.
    pub fn of_plans(plans: &'a BTreeMap<NodeName, Arc<NodePlan>>, known: Option<&'a Desired>) -> Self {
        let of_node = |(node, plan): (&'a NodeName, &'a Arc<NodePlan>)| {
            let stand = |ensure: &'a Ensure| {
                let instance = known.and_then(|known| known.instance(node, &ensure.service));
                let instance = instance.filter(|instance| instance.ensure.digest == ensure.digest);
                (&ensure.service, Stand { ensure, instance })
            };
            (node, plan.steps.iter().filter_map(Step::as_ensure).map(stand).collect())
        };
        Self { nodes: plans.iter().map(of_node).collect() }
    }

    /// Every node with what is on it, in order.
    pub(super) fn nodes(&self) -> &BTreeMap<&'a NodeName, BTreeMap<&'a ServiceName, Stand<'a>>> {
        &self.nodes
    }
}

impl Stand<'_> {
    /// Whether both are the very same thing, or ask for it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.ensure, other.ensure) || self.ensure.same_effect(other.ensure)
    }
}

/// An instance whose model is read at most once, whoever asks: to read a large one takes longer than all that is asked
/// of it.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) ensure: &'a Ensure,
    /// The definitions' instance, if that is what stands.
    pub(super) instance: Option<&'a Instance>,
    model: OnceCell<Value>,
}

impl<'a> From<&'a Ensure> for Opened<'a> {
    fn from(ensure: &'a Ensure) -> Self {
        Self { ensure, instance: None, model: OnceCell::new() }
    }
}

impl<'a> From<&'a Instance> for Opened<'a> {
    fn from(instance: &'a Instance) -> Self {
        Self { instance: Some(instance), ..Self::from(&instance.ensure) }
    }
}

impl<'a> From<Stand<'a>> for Opened<'a> {
    fn from(stand: Stand<'a>) -> Self {
        Self { instance: stand.instance.map(|instance| &**instance), ..Self::from(stand.ensure) }
    }
}

impl Opened<'_> {
    pub(super) fn model(&self) -> &Value {
        self.model.get_or_init(|| self.ensure.model.value())
    }

    /// The variables that its files use.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.instance.into_iter().flat_map(|instance| &*instance.variables);
        variables.map(|(name, value)| (&**name, &**value))
    }
}

/// What of these instances must not be shown, beside what `sensitive` says.
pub(super) fn secrets(sensitive: &Sensitive, sides: [Option<&Opened<'_>>; 2]) -> Sensitive {
    let sides = || sides.into_iter().flatten();
    sensitive.knowing(sides().map(Opened::model), sides().flat_map(Opened::variables))
}
