//! The catalog made concrete: every instance of every service, rendered, with its digest, in dependency order for
//! each node.
//!
//! A service is rendered once for each distinct set of values that its files use, and the instances that come out
//! equal are shared: a thousand nodes with the same variables hold one instance a thousand times. What did not
//! change since the last catalog is taken over without a look at its files.

mod holding;
mod placing;
mod rendering;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::align::differing;
use crate::catalog::{ApprovalDemand, Catalog, Deployment, ServiceEntry, Used};
use crate::compose::Rendered;
use crate::definition::{Rollout, Settings};
use crate::diagnostic::Diagnostic;
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};
use crate::place::{Demand, Placed};
use crate::plan::Ensure;
use crate::sensitive::Sensitive;
use crate::spread::spread;
use crate::tree::Tree;
use crate::usage::Uses;

use placing::Drafts;
pub use placing::{Placing, asked, id, site, sites};

/// One service on one node (or on several that give it the same values), fully specified.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What a plan will say, without reasons.
    pub ensure: Ensure,
    /// The definition that it comes from.
    pub entry: Arc<ServiceEntry>,
    /// Which of its deployments.
    deployment: usize,
    /// As the service, its environment and the settings say it together.
    rollout: Arc<Rollout>,
    /// The render that it comes from.
    pub rendered: Arc<Rendered>,
    /// The variables that its files use, as they are there.
    pub variables: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// The features that it uses.
    pub uses: Arc<Uses>,
    /// What it lets its containers do to the host or to other projects.
    pub capabilities: Arc<[Used]>,
    /// The earliest end of the grants that it lives by; none where nothing ends, or where no grant is needed.
    pub granted_until: Option<Timestamp>,
    /// What it takes of its node, once somebody asked.
    takes: OnceLock<Demand>,
}

impl Instance {
    /// The service as it is in the environment of the node.
    pub fn deployment(&self) -> &Deployment {
        &self.entry.deployments[self.deployment]
    }

    /// How a release brings it to its node.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Who must say yes before a release changes it on a node, for every reason that there is.
    pub fn approval_demands(&self, catalog: &Catalog, node: &NodeName) -> Vec<ApprovalDemand> {
        catalog.approval_demands(self.deployment(), catalog.environment_of(node), &self.rollout)
    }

    /// The service that it takes over from.
    pub fn moved_from(&self) -> Option<&ServiceName> {
        self.entry.service().moved.as_ref().map(|moved| &moved.from)
    }

    /// Whether both can be in one environment: one that belongs to none is in all of them.
    pub fn shares_environment(&self, other: &Self) -> bool {
        match (&self.deployment().environment, &other.deployment().environment) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    /// A capability whose grant has ended, or that has none, if what it uses needs grants.
    pub fn ended_grant(&self, now: Timestamp) -> Option<&Used> {
        self.granted_until.filter(|end| *end <= now)?;
        let is_over = |used: &&Used| used.grant.is_none() || used.ends().is_some_and(|end| end <= now);
        self.capabilities.iter().find(is_over)
    }
}

/// A service and its instances.
#[derive(Clone, Debug)]
pub struct ServiceInstances {
    /// The definition.
    pub entry: Arc<ServiceEntry>,
    /// By node.
    pub instances: BTreeMap<NodeName, Arc<Instance>>,
    /// What is allowed in its files and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Everything that should be, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// By service.
    pub services: BTreeMap<ServiceName, Arc<ServiceInstances>>,
    /// By node, in dependency order. Every defined node is in it.
    pub nodes: BTreeMap<NodeName, Arc<Vec<Arc<Instance>>>>,
    /// What nodes were chosen for, and why those.
    pub placing: Arc<Placing>,
    /// What of it must not be shown.
    pub sensitive: Arc<Sensitive>,
    tree: Arc<Tree>,
}

impl Desired {
    /// Places and renders a catalog. `previous` must come from the catalog that this one was loaded after. What stands
    /// where is said by `holders`, and else by `previous`.
    ///
    /// Beside it comes what cannot be placed or rendered: nodes that are full, missing variables and files, mostly.
    /// Services that have such a mistake are left out.
    pub fn build(
        catalog: &Catalog,
        previous: Option<(&Catalog, &Self)>,
        holders: Option<&Holders>,
    ) -> (Self, Vec<Diagnostic>) {
        let before = previous.map(|(_, desired)| desired);
        let previous = previous.filter(|(before, _)| before.same_ground(catalog));
        let mut changed = changed_services(catalog, previous.map(|(before, _)| before));
        let entries: Vec<&Arc<ServiceEntry>> =
            changed.iter().filter_map(|name| catalog.services.get(*name)).collect();
        let (requests, drafts) = placing::requests(catalog, &entries);
        let previous = previous.map(|(_, desired)| desired);
        let last = previous.map(|desired| &*desired.placing);
        let (placing, holders) = placing::place(catalog, &changed, requests, last, holders, before);
        let placing = Arc::new(placing);
        let mut found = placing.mistakes(catalog, &holders);
        changed.extend(last.into_iter().flat_map(|last| placing.moved(last)));
        let (desired, mistakes) = Self::renewed(catalog, previous, &placing, &changed, &drafts);
        found.extend(mistakes);
        found.sort();
        found.dedup();
        (desired, found)
    }

    /// The same with these services rendered anew, where they are placed now.
    fn renewed(
        catalog: &Catalog,
        previous: Option<&Self>,
        placing: &Arc<Placing>,
        changed: &BTreeSet<&ServiceName>,
        drafts: &Drafts,
    ) -> (Self, Vec<Diagnostic>) {
        let mut services = previous.map(|desired| desired.services.clone()).unwrap_or_default();
        let mut found = Vec::new();
        for name in changed {
            services.remove(*name);
        }
        let entries: Vec<&Arc<ServiceEntry>> =
            changed.iter().filter_map(|name| catalog.services.get(*name)).collect();
        let rendered = spread(&entries, |entry| rendering::render(catalog, entry, placing, drafts));
        for (entry, rendered) in entries.iter().zip(rendered) {
            match rendered {
                Ok(instances) => {
                    let (name, entry) = (entry.service().service.clone(), (*entry).clone());
                    let warnings = warnings(&instances);
                    services.insert(name, Arc::new(ServiceInstances { entry, instances, warnings }));
                }
                Err(diagnostics) => found.extend(diagnostics),
            }
        }
        let renewed = match previous {
            Some(desired) => renewed_nodes(desired, &services, changed),
            None => ordered(catalog.nodes.keys().cloned(), services.values()),
        };
        let mut nodes = previous.map(|desired| desired.nodes.clone()).unwrap_or_default();
        nodes.extend(renewed);
        let sensitive = match previous {
            Some(desired) => desired.sensitive.clone(),
            None => Arc::new(sensitive(catalog)),
        };
        let tree = catalog.tree.clone();
        (Self { services, nodes, placing: placing.clone(), sensitive, tree }, found)
    }

    /// The same with its instances where they are placed now.
    ///
    /// # Errors
    ///
    /// What keeps them from being there, although the nodes fit.
    pub fn placed_anew(&self, catalog: &Catalog, placed: Placed) -> Result<Self, Vec<Diagnostic>> {
        let placing = Arc::new(Placing { placed: Arc::new(placed), ..(*self.placing).clone() });
        let moved = placing.moved(&self.placing);
        let (desired, found) = Self::renewed(catalog, Some(self), &placing, &moved, &Drafts::new());
        if found.is_empty() { Ok(desired) } else { Err(found) }
    }

    /// What would stand if all of this did.
    pub fn holders(&self) -> Holders {
        let of = |(node, instances): (&NodeName, &Arc<Vec<Arc<Instance>>>)| {
            let held = |instance: &Arc<Instance>| {
                (node.clone(), instance.ensure.service.clone(), instance.ensure.model.clone())
            };
            instances.iter().map(held).collect::<Vec<_>>()
        };
        Holders::of_instances(self.nodes.iter().flat_map(of))
    }

    /// Every (node, service) that has an instance.
    pub fn keys(&self) -> impl Iterator<Item = (&NodeName, &ServiceName)> {
        let of_node = |(node, instances)| {
            let instances: &Arc<Vec<Arc<Instance>>> = instances;
            instances.iter().map(move |instance| (node, &instance.ensure.service))
        };
        self.nodes.iter().flat_map(of_node)
    }

    /// What the Compose files hold that is allowed and probably not meant.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.services.values().flat_map(|service| &service.warnings)
    }

    /// The instance of a service on a node.
    pub fn instance(&self, node: &NodeName, service: &ServiceName) -> Option<&Arc<Instance>> {
        self.nodes.get(node)?.iter().find(|instance| instance.ensure.service == *service)
    }

    /// Where fields of an instance's model were written, as `file:line`. Asked of many fields, it reads each file once.
    pub fn sources_of<'a>(&'a self, instance: &'a Instance) -> impl Fn(&[Arc<str>]) -> Option<Arc<str>> + 'a {
        let place_of = instance.rendered.places_in(&self.tree);
        move |path| {
            let keys: Vec<&str> = path.iter().map(|key| &**key).collect();
            let place = place_of(&keys)?;
            Some(if place.line == 0 { place.path } else { format!("{}:{}", place.path, place.line).into() })
        }
    }
}

/// What the policies hide, for all environments together: one page may show all of them.
fn sensitive(catalog: &Catalog) -> Sensitive {
    let Settings { policy, environments, .. } = &*catalog.settings;
    let policies = [policy].into_iter().chain(environments.values().map(|one| &one.policy));
    Sensitive::new(policies.flat_map(|policy| policy.sensitive.iter().flatten().cloned()))
}

/// What the renders of a service warn of: mostly all of them of the same, which is said once.
fn warnings(instances: &BTreeMap<NodeName, Arc<Instance>>) -> Vec<Diagnostic> {
    let of = |instance: &Arc<Instance>| instance.rendered.warnings.clone();
    let mut warnings: Vec<Diagnostic> = instances.values().flat_map(of).collect();
    warnings.sort();
    warnings.dedup();
    warnings
}

type NodeInstances = BTreeMap<NodeName, Arc<Vec<Arc<Instance>>>>;

/// The services whose definition is not the very one that was there before, new and gone ones included.
fn changed_services<'a>(catalog: &'a Catalog, before: Option<&'a Catalog>) -> BTreeSet<&'a ServiceName> {
    let Some(before) = before else { return catalog.services.keys().collect() };
    differing(&before.services, &catalog.services).map(|(name, ..)| name).collect()
}

/// The nodes that a changed service runs on or ran on, with their instances in dependency order.
fn renewed_nodes(
    previous: &Desired,
    services: &BTreeMap<ServiceName, Arc<ServiceInstances>>,
    changed: &BTreeSet<&ServiceName>,
) -> NodeInstances {
    let versions = |name: &&ServiceName| [previous.services.get(*name), services.get(*name)];
    let nodes: BTreeSet<&NodeName> =
        changed.iter().flat_map(versions).flatten().flat_map(|service| service.instances.keys()).collect();
    let there =
        nodes.iter().filter_map(|node| previous.nodes.get(*node)).flat_map(|instances| instances.iter());
    let names: BTreeSet<&ServiceName> =
        there.map(|instance| &instance.ensure.service).chain(changed.iter().copied()).collect();
    ordered(nodes.into_iter().cloned(), names.into_iter().filter_map(|name| services.get(name)))
}

/// The instances of `services` on each of `nodes`, in dependency order.
fn ordered<'a>(
    nodes: impl Iterator<Item = NodeName>,
    services: impl Iterator<Item = &'a Arc<ServiceInstances>>,
) -> NodeInstances {
    let mut by_node: BTreeMap<NodeName, BTreeMap<&ServiceName, &Arc<Instance>>> =
        nodes.map(|node| (node, BTreeMap::new())).collect();
    for service in services {
        for (node, instance) in &service.instances {
            if let Some(instances) = by_node.get_mut(node) {
                instances.insert(&service.entry.service().service, instance);
            }
        }
    }
    by_node.into_iter().map(|(node, instances)| (node, Arc::new(in_order(&instances)))).collect()
}

/// The instances of one node, each with what it comes after.
fn in_order(instances: &BTreeMap<&ServiceName, &Arc<Instance>>) -> Vec<Arc<Instance>> {
    let depends_on = |name: &ServiceName| Some(&*instances.get(name)?.entry.service().depends_on);
    let names = depth_first(instances.keys().copied(), depends_on);
    let here = |name: &&ServiceName| instances.contains_key(*name);
    let ordered = |instance: &Arc<Instance>| {
        let after = instance.entry.service().depends_on.iter().filter(here);
        with_order(instance, after.cloned().collect())
    };
    names.into_iter().filter_map(|name| instances.get(name)).map(|instance| ordered(instance)).collect()
}

/// Depth first, so that a service comes right after what it needs; in the order of `names` otherwise. What has no
/// answer to `depends_on` is not there. The catalog has no cycles. Its own stack, not the thread's: a hundred thousand
/// services may form one chain.
fn depth_first<'a>(
    names: impl Iterator<Item = &'a ServiceName>,
    depends_on: impl Fn(&ServiceName) -> Option<&'a [ServiceName]>,
) -> Vec<&'a ServiceName> {
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    let mut enter = |name: &'a ServiceName| {
        let dependencies = depends_on(name)?;
        seen.insert(name).then(|| (name, dependencies.iter()))
    };
    // What waits for its dependencies, each with those that are left.
    let mut path = Vec::new();
    for start in names {
        path.extend(enter(start));
        while let Some((name, left)) = path.last_mut() {
            match left.next() {
                Some(dependency) => path.extend(enter(dependency)),
                None => {
                    order.push(*name);
                    path.pop();
                }
            }
        }
    }
    order
}

/// The instance with what comes before it on its node. Most have nothing, and are shared as they are.
fn with_order(instance: &Arc<Instance>, after: Vec<ServiceName>) -> Arc<Instance> {
    if after.is_empty() {
        return instance.clone();
    }
    let ensure = Ensure { after, ..instance.ensure.clone() };
    Arc::new(Instance { ensure, ..(**instance).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(services: &[(&str, &[&str])]) -> Vec<String> {
        let name = |text: &str| -> ServiceName { text.parse().expect("a name") };
        let services: BTreeMap<ServiceName, Vec<ServiceName>> =
            services.iter().map(|(one, on)| (name(one), on.iter().map(|on| name(on)).collect())).collect();
        let order = depth_first(services.keys(), |name| services.get(name).map(Vec::as_slice));
        order.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_comes_right_after_what_it_needs() {
        let check = |services: &[(&str, &[&str])], expected: &[&str]| {
            assert_eq!(order(services), expected, "{services:?}");
        };
        check(&[("b", &[]), ("a", &[])], &["a", "b"]);
        check(&[("a", &["c"]), ("b", &[]), ("c", &[])], &["c", "a", "b"]);
        check(&[("a", &["d", "c"]), ("b", &[]), ("c", &["b"]), ("d", &["b"])], &["b", "d", "c", "a"]);
        // What is elsewhere is not waited for.
        check(&[("a", &["gone", "b"]), ("b", &[])], &["b", "a"]);
    }

    #[test]
    fn a_chain_of_services_may_be_as_long_as_it_likes() {
        let names: Vec<ServiceName> =
            (0..50_000).map(|number| format!("s{number:05}").parse().expect("a name")).collect();
        let position: BTreeMap<&ServiceName, usize> = names.iter().zip(0..).collect();
        let next =
            |name: &ServiceName| position.get(name).map(|at| names.get(at + 1..at + 2).unwrap_or_default());
        let order = depth_first(names.iter(), next);
        assert!(order.into_iter().eq(names.iter().rev()));
    }
}
