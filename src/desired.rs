//! The catalog made concrete: every instance of every service, rendered, with its digest, in dependency order for
//! each node.
//!
//! A service is rendered once for each distinct set of values that its files use, and the instances that come out
//! equal are shared: a thousand nodes with the same variables hold one instance a thousand times. What did not
//! change since the last catalog is taken over without a look at its files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::align::differing;
use crate::catalog::{Catalog, Deployment, ServiceEntry, Used};
use crate::compose::{self, Rendered};
use crate::definition::{Located, Node};
use crate::diagnostic::Diagnostic;
use crate::name::{NodeName, ServiceName};
use crate::plan::Ensure;
use crate::spread::spread;
use crate::tree::Tree;
use crate::usage::{self, Uses};

/// One service on one node (or on several that give it the same values), fully specified.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What a plan will say, without reasons.
    pub ensure: Ensure,
    /// The definition that it comes from.
    pub entry: Arc<ServiceEntry>,
    /// Which of its deployments.
    deployment: usize,
    /// The render that it comes from.
    pub rendered: Arc<Rendered>,
    /// The features that it uses.
    pub uses: Arc<Uses>,
    /// What it lets its containers do to the host or to other projects.
    pub capabilities: Arc<[Used]>,
    /// The earliest end of the grants that it lives by; none where nothing ends, or where no grant is needed.
    pub granted_until: Option<Timestamp>,
}

impl Instance {
    /// The service as it is in the environment of the node.
    pub fn deployment(&self) -> &Deployment {
        &self.entry.deployments[self.deployment]
    }

    /// Whether both can be in one environment: one that belongs to none is in all of them.
    pub fn shares_environment(&self, other: &Self) -> bool {
        match (&self.deployment().environment, &other.deployment().environment) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    /// A capability whose grant has ended, if what it uses needs grants.
    pub fn ended_grant(&self, now: Timestamp) -> Option<&Used> {
        self.granted_until.filter(|end| *end <= now)?;
        self.capabilities.iter().find(|used| used.ends().is_some_and(|end| end <= now))
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
    tree: Arc<Tree>,
}

type Values = BTreeMap<Arc<str>, Arc<str>>;

impl Desired {
    /// Places and renders a catalog. `previous` must come from the catalog that this one was loaded after.
    ///
    /// Beside it comes what cannot be rendered: missing variables and files, mostly. Services that have such a mistake
    /// are left out.
    pub fn build(catalog: &Catalog, previous: Option<(&Catalog, &Self)>) -> (Self, Vec<Diagnostic>) {
        let previous = previous.filter(|(before, _)| before.same_ground(catalog));
        let mut services = previous.map(|(_, desired)| desired.services.clone()).unwrap_or_default();
        let changed = changed_services(catalog, previous.map(|(before, _)| before));
        let mut found = Vec::new();
        for name in &changed {
            services.remove(*name);
        }
        let entries: Vec<&Arc<ServiceEntry>> =
            changed.iter().filter_map(|name| catalog.services.get(*name)).collect();
        for (entry, rendered) in entries.iter().zip(spread(&entries, |entry| render(catalog, entry))) {
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
            Some((_, desired)) => renewed_nodes(desired, &services, &changed),
            None => ordered(catalog.nodes.keys().cloned(), services.values()),
        };
        found.sort();
        found.dedup();
        let mut nodes = previous.map(|(_, desired)| desired.nodes.clone()).unwrap_or_default();
        nodes.extend(renewed);
        (Self { services, nodes, tree: catalog.tree.clone() }, found)
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

/// What the renders of a service warn of: mostly all of them of the same, which is said once.
fn warnings(instances: &BTreeMap<NodeName, Arc<Instance>>) -> Vec<Diagnostic> {
    let of = |instance: &Arc<Instance>| instance.rendered.warnings.clone();
    let mut warnings: Vec<Diagnostic> = instances.values().flat_map(of).collect();
    warnings.sort();
    warnings.dedup();
    warnings
}

/// The instances of one service.
fn render(
    catalog: &Catalog,
    entry: &Arc<ServiceEntry>,
) -> Result<BTreeMap<NodeName, Arc<Instance>>, Vec<Diagnostic>> {
    let (mut instances, mut found) = (BTreeMap::new(), Vec::new());
    for deployment in 0..entry.deployments.len() {
        let (rendered, mistakes) = Rendering::new(catalog, entry, deployment).run();
        instances.extend(rendered);
        found.extend(mistakes);
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Ok(instances) } else { Err(found) }
}

/// One deployment being rendered, once for each distinct set of values that its files use.
struct Rendering<'a> {
    catalog: &'a Catalog,
    entry: &'a Arc<ServiceEntry>,
    number: usize,
    done: Vec<(Values, Arc<Instance>)>,
    /// A mistake that many nodes share is said once, with how many they are.
    failed: BTreeMap<Diagnostic, (NodeName, usize)>,
    found: Vec<Diagnostic>,
}

impl<'a> Rendering<'a> {
    fn new(catalog: &'a Catalog, entry: &'a Arc<ServiceEntry>, number: usize) -> Self {
        let (done, failed, found) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { catalog, entry, number, done, failed, found }
    }

    fn deployment(&self) -> &'a Deployment {
        &self.entry.deployments[self.number]
    }

    fn run(mut self) -> (BTreeMap<NodeName, Arc<Instance>>, Vec<Diagnostic>) {
        let nodes = self.nodes();
        let named = self.deployment().service.place.named().len();
        if nodes.is_empty() && named + self.entry.definition.broken.len() > 0 {
            self.only_mistakes(None);
        }
        let mut instances = BTreeMap::new();
        for node in nodes {
            if let Some(instance) = self.on(node) {
                instances.insert(node.value.node.clone(), instance);
            }
        }
        let service = &self.entry.service().service;
        let told = self.failed.into_iter().map(|(diagnostic, (node, count))| {
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            diagnostic.note(format!("while rendering `{service}` for node `{node}`{more}"))
        });
        (instances, self.found.into_iter().chain(told).collect())
    }

    /// The nodes that it is placed on.
    fn nodes(&self) -> Vec<&'a Located<Node>> {
        let catalog = self.catalog;
        let environment = self.deployment().environment.as_ref();
        let is_here = |name: &&NodeName| environment.is_none() || catalog.environment_of(name) == environment;
        let named = self.deployment().service.place.named().iter().filter(is_here);
        named.filter_map(|name| catalog.nodes.get(name)).collect()
    }

    /// The instance on a node, if it can be rendered there.
    fn on(&mut self, node: &Located<Node>) -> Option<Arc<Instance>> {
        if !self.catalog.knows_variables(self.entry, node) {
            self.only_mistakes(Some(node));
            return None;
        }
        let values = values(self.catalog, Some(node), self.deployment());
        let same = self.done.iter().find(|(used, instance)| agree(used, &values, &instance.rendered));
        let instance = match same {
            Some((_, instance)) => Ok(instance.clone()),
            None => render_with(self.catalog, self.entry, self.number, &values),
        };
        match instance {
            Ok(instance) => {
                self.done.push((values, instance.clone()));
                Some(with_grants(self.catalog, &instance, &node.value))
            }
            Err(diagnostics) => {
                let name = &node.value.node;
                for diagnostic in diagnostics {
                    self.failed.entry(diagnostic).or_insert((name.clone(), 0)).1 += 1;
                }
                None
            }
        }
    }

    /// Nothing is rendered, and what is wrong in any case is told.
    fn only_mistakes(&mut self, node: Option<&Located<Node>>) {
        let values = values(self.catalog, node, self.deployment());
        self.found.extend(self.deployment().source.mistakes(&self.catalog.tree, &values));
    }
}

/// Two sets of values that agree in every variable that is used give the same render.
fn agree(one: &Values, other: &Values, rendered: &Rendered) -> bool {
    one.len() == other.len() && one == other
        || rendered.used_variables.iter().all(|name| one.get(name) == other.get(name))
}

/// What `${NAME}` sees: the variables of the service, over those of the node, of its environment and of the defaults.
fn values(catalog: &Catalog, node: Option<&Located<Node>>, deployment: &Deployment) -> Values {
    let node = node.map(|node| &node.value);
    let environment = node.and_then(|node| catalog.environment_of(&node.node));
    let environment = environment.and_then(|name| catalog.settings.environments.get(name));
    let defaults = catalog.settings.defaults.variables.iter();
    let all = defaults
        .chain(environment.into_iter().flat_map(|environment| &environment.variables))
        .chain(node.into_iter().flat_map(|node| &node.variables))
        .chain(&deployment.service.variables);
    all.map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

fn render_with(
    catalog: &Catalog,
    entry: &Arc<ServiceEntry>,
    number: usize,
    values: &Values,
) -> Result<Arc<Instance>, Vec<Diagnostic>> {
    let deployment = &entry.deployments[number];
    let service = &deployment.service;
    let (rendered, uses) = usage::Subject { catalog, entry, deployment }.render(values)?;
    let defaults = &catalog.settings.defaults;
    let state = service.state.or(defaults.state).unwrap_or_default();
    let on_file_change = service.on_file_change.or(defaults.on_file_change).unwrap_or_default();
    let within = service.health.or(defaults.health).map_or(DEFAULT_HEALTH_SECONDS, |health| health.within.0);
    let files = rendered.files.iter().map(|(path, file)| (path.clone(), file.reference)).collect();
    let ensure = Ensure {
        service: service.service.clone(),
        project: rendered.project.clone(),
        digest: compose::instance_digest(&rendered.model, &files, state, on_file_change),
        state,
        model: rendered.model.clone(),
        files,
        containers: rendered.containers.clone(),
        after: Vec::new(),
        health_within: within,
        on_file_change,
        because: Vec::new(),
    };
    Ok(Arc::new(Instance {
        ensure,
        entry: entry.clone(),
        deployment: number,
        rendered: Arc::new(rendered),
        uses: Arc::new(uses),
        capabilities: [].into(),
        granted_until: None,
    }))
}

/// The instance with the capabilities that it uses on a node. Most use none, and are shared as they are.
fn with_grants(catalog: &Catalog, instance: &Arc<Instance>, node: &Node) -> Arc<Instance> {
    let used = catalog.capabilities(&instance.ensure.service, node, &instance.rendered.powers);
    if *instance.capabilities == *used {
        return instance.clone();
    }
    let ends = used.iter().filter_map(Used::ends).min();
    let granted_until = ends.filter(|_| catalog.denies_capabilities());
    Arc::new(Instance { capabilities: used.into(), granted_until, ..(**instance).clone() })
}

/// Two minutes: an image that has to be pulled is not counted, the time starts when the containers do.
const DEFAULT_HEALTH_SECONDS: u32 = 120;

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

/// Depth first, so that a service comes right after what it needs; by name otherwise. The catalog has no cycles.
fn in_order(instances: &BTreeMap<&ServiceName, &Arc<Instance>>) -> Vec<Arc<Instance>> {
    fn visit<'a>(
        name: &'a ServiceName,
        instances: &BTreeMap<&'a ServiceName, &'a Arc<Instance>>,
        seen: &mut BTreeSet<&'a ServiceName>,
        order: &mut Vec<Arc<Instance>>,
    ) {
        let Some(instance) = instances.get(name).filter(|_| seen.insert(name)) else { return };
        let dependencies = &instance.entry.service().depends_on;
        for dependency in dependencies {
            visit(dependency, instances, seen, order);
        }
        let here = |name: &&ServiceName| instances.contains_key(*name);
        order.push(with_order(instance, dependencies.iter().filter(here).cloned().collect()));
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::with_capacity(instances.len()));
    for name in instances.keys() {
        visit(name, instances, &mut seen, &mut order);
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
