//! The features that a service uses, environment by environment, with the nodes that it uses them on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Instances;
use crate::catalog::{Catalog, ServiceEntry};
use crate::compose::Rendered;
use crate::definition::{Feature, Located};
use crate::desired::Instance;
use crate::diagnostic::Place;
use crate::name::{FeatureName, NodeName};
use crate::usage::{self, Use};

/// A feature that a service uses in one of its environments.
pub(super) struct Used<'a> {
    pub(super) service: usage::Subject<'a>,
    pub(super) name: &'a FeatureName,
    pub(super) feature: &'a Located<Feature>,
    pub(super) how: Cow<'a, Use>,
    /// Where it runs. None where it cannot be rendered; then only what is named is known.
    pub(super) nodes: Vec<&'a NodeName>,
    rendered: Option<&'a Rendered>,
}

/// All that the service uses, of the features that are defined.
pub(super) fn used<'a>(
    catalog: &'a Catalog,
    entry: &'a ServiceEntry,
    instances: &'a Instances,
) -> Vec<Used<'a>> {
    let deployments = entry.deployments.iter();
    let subjects = deployments.map(|deployment| usage::Subject { catalog, entry, deployment });
    subjects.flat_map(|service| in_environment(service, instances)).collect()
}

fn in_environment<'a>(
    service: usage::Subject<'a>,
    instances: &'a Instances,
) -> impl Iterator<Item = Used<'a>> + use<'a> {
    let mut used: BTreeMap<&FeatureName, Used<'a>> = BTreeMap::new();
    let mut add = |name: &FeatureName, how, rendered, nodes: &[&'a NodeName]| {
        let Some((name, feature)) = service.catalog.features.get_key_value(name) else { return };
        let new = || Used { service, name, feature, how, rendered, nodes: Vec::new() };
        used.entry(name).or_insert_with(new).nodes.extend(nodes);
    };
    let renders = renders(service, instances);
    for (instance, nodes) in &renders {
        for (name, how) in &*instance.uses {
            add(name, Cow::Borrowed(how), Some(&instance.rendered), nodes);
        }
    }
    if renders.is_empty() {
        service.named().into_iter().for_each(|(name, how)| add(&name, Cow::Owned(how), None, &[]));
    }
    used.into_values()
}

/// The instances of the service in the environment, those that share a render together.
fn renders<'a>(
    service: usage::Subject<'a>,
    instances: &'a Instances,
) -> Vec<(&'a Instance, Vec<&'a NodeName>)> {
    let mut renders: Vec<(&Instance, Vec<&NodeName>)> = Vec::new();
    for (node, instance) in instances {
        if !std::ptr::eq(instance.deployment(), service.deployment) {
            continue;
        }
        match renders.iter_mut().find(|(other, _)| Arc::ptr_eq(&other.rendered, &instance.rendered)) {
            Some((_, nodes)) => nodes.push(node),
            None => renders.push((instance, vec![node])),
        }
    }
    renders
}

impl Used<'_> {
    /// Where it is seen that the service uses it.
    pub(super) fn place(&self) -> Place {
        self.service.place(self.rendered, &self.how)
    }
}
