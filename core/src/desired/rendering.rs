//! One service made concrete: rendered once for each distinct set of values that its files use.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::placing::{self, Drafts, Placing};
use super::{Instance, terms};
use crate::catalog::{Catalog, Deployment, ServiceEntry, Used};
use crate::compose::Rendered;
use crate::definition::{Located, Node, Recreate, Rollout};
use crate::diagnostic::Diagnostic;
use crate::name::{Digest, EnvironmentName, NodeName};
use crate::plan::{ContainerDigest, ContainerSpec, Ensure, Terms};
use crate::usage;

type Values = BTreeMap<Arc<str>, Arc<str>>;

/// A render: the values and the processors that it is for, and what came out.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    values: Values,
    cpus: Option<Arc<str>>,
    instance: Arc<Instance>,
}

/// The instances of one service.
pub(super) fn render(
    catalog: &Catalog,
    entry: &Arc<ServiceEntry>,
    placing: &Placing,
    drafts: &Drafts,
) -> Result<BTreeMap<NodeName, Arc<Instance>>, Vec<Diagnostic>> {
    let (mut instances, mut found) = (BTreeMap::new(), Vec::new());
    for deployment in 0..entry.deployments.len() {
        let (rendered, mistakes) = Rendering::new(catalog, entry, deployment).after(drafts).run(placing);
        instances.extend(rendered);
        found.extend(mistakes);
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Ok(instances) } else { Err(found) }
}

/// One deployment being rendered, once for each distinct set of values that its files use.
pub(super) struct Rendering<'a> {
    catalog: &'a Catalog,
    entry: &'a Arc<ServiceEntry>,
    number: usize,
    done: Vec<Draft>,
    /// How a release brings it to the nodes of each environment.
    rollouts: BTreeMap<Option<&'a EnvironmentName>, Arc<Rollout>>,
    /// A mistake that many nodes share is said once, with how many they are.
    failed: BTreeMap<Diagnostic, (NodeName, usize)>,
    found: Vec<Diagnostic>,
}

impl<'a> Rendering<'a> {
    pub(super) fn new(catalog: &'a Catalog, entry: &'a Arc<ServiceEntry>, number: usize) -> Self {
        let (done, rollouts, failed, found) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { catalog, entry, number, done, rollouts, failed, found }
    }

    /// With what was rendered before.
    fn after(mut self, drafts: &Drafts) -> Self {
        if !drafts.is_empty() {
            let drafts = drafts.get(&placing::id(self.entry, self.deployment()));
            self.done = drafts.cloned().unwrap_or_default();
        }
        self
    }

    /// What was rendered.
    pub(super) fn drafts(self) -> Vec<Draft> {
        self.done
    }

    fn deployment(&self) -> &'a Deployment {
        &self.entry.deployments[self.number]
    }

    fn run(mut self, placing: &Placing) -> (BTreeMap<NodeName, Arc<Instance>>, Vec<Diagnostic>) {
        let nodes = self.nodes(placing);
        let place = &self.deployment().service.place;
        let is_somewhere = place.nodes.as_ref().is_none_or(|nodes| !nodes.is_empty());
        if nodes.is_empty() && (is_somewhere || !self.entry.definition.broken.is_empty()) {
            self.only_mistakes(None);
        }
        let mut instances = BTreeMap::new();
        for (node, cpus) in nodes {
            if let Some(instance) = self.on(node, cpus) {
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

    /// The nodes that it is placed on, each with the processors that it holds there.
    fn nodes(&self, placing: &Placing) -> Vec<(&'a Located<Node>, Option<&'a Arc<str>>)> {
        let nodes = &self.catalog.nodes;
        let Some(chosen) = placing.of(self.entry, self.deployment()) else {
            let here = placing::here(self.catalog, self.deployment());
            return here.filter_map(|name| Some((nodes.get(name)?, None))).collect();
        };
        let on = chosen.iter().filter_map(|(name, held)| Some((nodes.get(name)?, held.slot.as_ref())));
        let cpus =
            |node: &'a Located<Node>, slot: &Arc<str>| node.value.slots.get(slot).map(|slot| &slot.cpus);
        on.map(|(node, slot)| (node, slot.and_then(|slot| cpus(node, slot)))).collect()
    }

    /// The instance on a node, if it can be rendered there.
    pub(super) fn on(&mut self, node: &Located<Node>, cpus: Option<&Arc<str>>) -> Option<Arc<Instance>> {
        if !self.catalog.knows_variables(self.entry, node) {
            self.only_mistakes(Some(node));
            return None;
        }
        let values = values(self.catalog, Some(node), self.deployment());
        let rollout = self.rollout_on(&node.value.node);
        let instance = match self.drafted(&values, cpus, &rollout) {
            Some(instance) if instance.rollout == rollout => instance,
            Some(instance) => self.keep(values, cpus, with_rollout(&instance, rollout)),
            None => match render_with(self.catalog, self.entry, self.number, &values, cpus) {
                Ok(instance) => self.keep(values, cpus, with_rollout(&instance, rollout)),
                Err(diagnostics) => {
                    self.fail(&node.value.node, diagnostics);
                    return None;
                }
            },
        };
        Some(with_grants(self.catalog, &instance, &node.value))
    }

    /// What was rendered for these values before; where it can be, with the same roll-out.
    fn drafted(
        &self,
        values: &Values,
        cpus: Option<&Arc<str>>,
        rollout: &Arc<Rollout>,
    ) -> Option<Arc<Instance>> {
        let is_same = |draft: &&Draft| {
            draft.cpus.as_ref() == cpus && agree(&draft.values, values, &draft.instance.rendered)
        };
        let drafts = || self.done.iter().filter(is_same).map(|draft| &draft.instance);
        drafts().find(|instance| instance.rollout == *rollout).or_else(|| drafts().next()).cloned()
    }

    fn keep(&mut self, values: Values, cpus: Option<&Arc<str>>, instance: Arc<Instance>) -> Arc<Instance> {
        self.done.push(Draft { values, cpus: cpus.cloned(), instance: instance.clone() });
        instance
    }

    fn fail(&mut self, node: &NodeName, diagnostics: Vec<Diagnostic>) {
        for diagnostic in diagnostics {
            self.failed.entry(diagnostic).or_insert((node.clone(), 0)).1 += 1;
        }
    }

    /// How a release brings it to a node: as the service says, else the environment of the node, else the settings.
    fn rollout_on(&mut self, node: &NodeName) -> Arc<Rollout> {
        let environment = self.catalog.environment_of(node);
        let service = &self.deployment().service;
        let base = || self.catalog.rollout_for(environment);
        let rollout = self.rollouts.entry(environment);
        rollout.or_insert_with(|| Arc::new(service.rollout.clone().or(base()))).clone()
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
    cpus: Option<&Arc<str>>,
) -> Result<Arc<Instance>, Vec<Diagnostic>> {
    let deployment = &entry.deployments[number];
    let Deployment { service, source, .. } = deployment;
    let bound = cpus.map(|cpus| source.bound_to(cpus.clone()));
    let subject = usage::Subject { catalog, entry, deployment };
    let (rendered, uses) = subject.render(bound.as_ref().unwrap_or(source), values)?;
    let defaults = &catalog.settings.defaults;
    let state = service.state.or(defaults.state).unwrap_or_default();
    let on_file_change = service.on_file_change.or(defaults.on_file_change).unwrap_or_default();
    let within = service.health.within.or(defaults.health.within);
    let terms = terms::terms(catalog, entry, deployment, &rendered)?;
    let files = rendered.files.iter().map(|(path, file)| (path.clone(), file.reference)).collect();
    let ensure = Ensure {
        service: service.service.clone(),
        project: rendered.project.clone(),
        digest: rendered.digest(state, on_file_change),
        state,
        model: rendered.model.clone(),
        files,
        containers: rendered.containers.clone(),
        after: Vec::new(),
        health_within: within.map_or(DEFAULT_HEALTH_SECONDS, |within| within.0),
        on_file_change,
        terms,
        because: Vec::new(),
    };
    let used = rendered.used_variables.iter();
    let variables = used.filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect();
    Ok(Arc::new(Instance {
        ensure,
        entry: entry.clone(),
        deployment: number,
        rollout: Arc::default(),
        rendered: Arc::new(rendered),
        variables: Arc::new(variables),
        uses: Arc::new(uses),
        capabilities: [].into(),
        granted_until: None,
        takes: OnceLock::new(),
    }))
}

/// The instance with what is said of how a release brings it to its nodes.
fn with_rollout(instance: &Arc<Instance>, rollout: Arc<Rollout>) -> Arc<Instance> {
    if instance.rollout == rollout {
        return instance.clone();
    }
    let ensure = &instance.ensure;
    let terms = Terms { wave: rollout.wave(), retries: rollout.retries(), ..ensure.terms.clone() };
    let containers = match rollout.recreate() {
        Recreate::Always => all_by(ensure.digest, &instance.rendered.containers),
        Recreate::Auto | Recreate::Never => instance.rendered.containers.clone(),
    };
    let ensure = Ensure { terms, containers, ..ensure.clone() };
    Arc::new(Instance { ensure, rollout, ..(**instance).clone() })
}

/// Containers that are made anew with every change of their instance: its digest is a part of theirs.
fn all_by(
    instance: Digest,
    containers: &BTreeMap<Arc<str>, ContainerSpec>,
) -> BTreeMap<Arc<str>, ContainerSpec> {
    let by = |spec: &ContainerSpec| {
        let content = serde_json::to_vec(&(instance, spec.config.digest)).expect("digests are JSON");
        let config = ContainerDigest { digest: Digest::of(content), ..spec.config };
        ContainerSpec { config, ..spec.clone() }
    };
    containers.iter().map(|(name, spec)| (name.clone(), by(spec))).collect()
}

/// The instance with the capabilities that it uses on a node. Most use none, and are shared as they are.
fn with_grants(catalog: &Catalog, instance: &Arc<Instance>, node: &Node) -> Arc<Instance> {
    let used = catalog.capabilities(&instance.ensure.service, node, &instance.rendered.powers);
    if *instance.capabilities == *used {
        return instance.clone();
    }
    // What is not granted at all was over before anything began.
    let end = |used: &Used| if used.grant.is_none() { Some(Timestamp::MIN) } else { used.ends() };
    let ends = used.iter().filter_map(end).min();
    let granted_until = ends.filter(|_| catalog.denies_capabilities());
    Arc::new(Instance { capabilities: used.into(), granted_until, ..(**instance).clone() })
}

/// Two minutes: an image that has to be pulled is not counted, the time starts when the containers do.
const DEFAULT_HEALTH_SECONDS: u32 = 120;
