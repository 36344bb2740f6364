//! Placement driven for a catalog: what each deployment asks for, what was placed, and what of it stands when something
//! changes.
//!
//! Most services name their nodes, and those nodes promise nothing that could run out: they are not *in play*, and cost
//! nothing. Only what is in play is placed, all of it together, and only where what is asked for has changed, or stands
//! elsewhere than it was placed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rendering::{Draft, Rendering};
use super::{Desired, Instance};
use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::definition::{Capacity, Located, Node, TaintEffect};
use crate::diagnostic::Diagnostic;
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};
use crate::place::told::Telling;
use crate::place::{self, Demand, Demands, Held, Id, Placed, Request, Site, Sites, choose, filter};
use crate::spread::spread;
use crate::usage;

/// What is in play, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Placing {
    /// What is asked for, by deployment.
    pub requests: BTreeMap<Id, Arc<Request>>,
    /// Where it is placed.
    pub placed: Arc<Placed>,
    /// For how many seconds services wait for a silent node, those that do not wait for ever.
    pub failovers: BTreeSet<u32>,
}

impl Placing {
    /// The nodes of a deployment, with what it holds there; none where it is not in play.
    pub(super) fn of(
        &self,
        entry: &ServiceEntry,
        deployment: &Deployment,
    ) -> Option<&BTreeMap<NodeName, Held>> {
        if self.requests.is_empty() {
            return None;
        }
        self.placed.chosen.get(&id(entry, deployment))
    }

    /// Every request.
    pub fn asked(&self) -> Vec<&Request> {
        self.requests.values().map(|request| &**request).collect()
    }

    /// Whether nodes are chosen for anything.
    fn chooses(&self) -> bool {
        self.requests.values().any(|request| !request.is_fixed())
    }

    /// The services that have other nodes, or hold other things there, than they had.
    pub(super) fn moved<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a ServiceName> {
        if Arc::ptr_eq(&self.placed, &before.placed) {
            return BTreeSet::new();
        }
        let pairs = crate::align::aligned(&before.placed.chosen, &self.placed.chosen);
        pairs.filter(|(_, old, new)| old != new).map(|(id, ..)| &id.service).collect()
    }

    /// What could not be placed.
    pub(super) fn mistakes(&self, catalog: &Catalog, holders: &Holders) -> Vec<Diagnostic> {
        if self.placed.misplaced.is_empty() {
            return Vec::new();
        }
        let sites = sites(catalog, self, holders);
        let telling = Telling { catalog, sites: &sites, placed: &self.placed, holders };
        let told = self
            .placed
            .misplaced
            .iter()
            .filter_map(|misplaced| telling.diagnostic(self.requests.get(&misplaced.id)?, misplaced));
        told.collect()
    }
}

/// Renders that were made to find out what an instance takes, by deployment: they are what runs, mostly.
pub(super) type Drafts = BTreeMap<Id, Vec<Draft>>;

/// The requests of these services that are in play, with the renders that were made for them.
pub(super) fn requests(catalog: &Catalog, entries: &[&Arc<ServiceEntry>]) -> (Vec<Request>, Drafts) {
    let ground = Ground::of(catalog);
    let in_play: Vec<(&Arc<ServiceEntry>, usize)> = entries
        .iter()
        .flat_map(|entry| (0..entry.deployments.len()).map(move |number| (*entry, number)))
        .filter(|(entry, number)| ground.is_in_play(&entry.deployments[*number]))
        .collect();
    let made = spread(&in_play, |(entry, number)| request(catalog, &ground, entry, *number));
    let (mut requests, mut drafts) = (Vec::new(), Drafts::new());
    for (request, made) in made {
        drafts.insert(request.id.clone(), made);
        requests.push(request);
    }
    (requests, drafts)
}

/// Places what is in play, or takes over where it was placed.
pub(super) fn place(
    catalog: &Catalog,
    changed: &BTreeSet<&ServiceName>,
    new: Vec<Request>,
    previous: Option<&Placing>,
    holders: Option<&Holders>,
    before: Option<&Desired>,
) -> (Placing, Holders) {
    let mut requests = previous.map(|placing| placing.requests.clone()).unwrap_or_default();
    requests.retain(|id, _| !changed.contains(&id.service));
    requests.extend(new.into_iter().map(|request| (request.id.clone(), Arc::new(request))));
    let same = previous.filter(|placing| placing.requests == requests);
    let failovers = requests.values().filter_map(|request| request.place.failover).map(|failover| failover.0);
    let failovers = failovers.collect();
    let placed = same.map(|placing| placing.placed.clone()).unwrap_or_default();
    let placing = Placing { requests, placed, failovers };
    let asked = placing.asked();
    let still = holders.is_none_or(|holders| choose::stands(&asked, &placing.placed, holders));
    if asked.is_empty() || same.is_some() && still {
        return (placing, Holders::default());
    }
    let holders = holders.cloned().unwrap_or_else(|| before.map_or_else(Holders::unknown, Desired::holders));
    let sites = sites(catalog, &placing, &holders);
    let placed = Arc::new(choose::place(&sites, &asked, &holders));
    drop(sites);
    (Placing { placed, ..placing }, holders)
}

/// The nodes as placement sees them.
pub fn sites<'a>(catalog: &'a Catalog, placing: &Placing, holders: &Holders) -> Sites<'a> {
    let mut others: BTreeMap<&NodeName, usize> = BTreeMap::new();
    let deployments = catalog
        .services
        .values()
        .flat_map(|entry| entry.deployments.iter().map(move |deployment| (entry, deployment)));
    for (entry, deployment) in deployments.filter(|_| placing.chooses()) {
        if !placing.requests.contains_key(&id(entry, deployment)) {
            for node in here(catalog, deployment) {
                *others.entry(node).or_default() += 1;
            }
        }
    }
    let site = |(name, node): (&'a NodeName, &'a Located<Node>)| {
        let site = Site {
            node: &node.value,
            environment: catalog.environment_of(name),
            offline: holders.is_offline(name),
            cordoned: node.value.cordon || holders.closed().cordoned.contains(name),
            drained: holders.closed().drained.contains(name),
            others: others.get(name).copied().unwrap_or_default(),
        };
        (name, site)
    };
    catalog.nodes.iter().map(site).collect()
}

/// The nodes that a deployment names and that are in its environment.
pub(super) fn here<'a>(
    catalog: &'a Catalog,
    deployment: &'a Deployment,
) -> impl Iterator<Item = &'a NodeName> {
    let environment = deployment.environment.as_ref();
    let named = deployment.service.place.named().iter();
    named.filter(move |name| environment.is_none() || catalog.environment_of(name) == environment)
}

/// Names a deployment.
pub fn id(entry: &ServiceEntry, deployment: &Deployment) -> Id {
    Id { service: entry.service().service.clone(), environment: deployment.environment.clone() }
}

/// What of the nodes makes a difference to services that name theirs, and between the renders of one service.
struct Ground<'a> {
    /// Nodes of which something may run out, or that keep services away.
    guarded: BTreeSet<&'a NodeName>,
    /// Variables that not all nodes give the same value.
    varying: BTreeSet<&'a str>,
}

impl<'a> Ground<'a> {
    fn of(catalog: &'a Catalog) -> Self {
        let guards = |node: &Node| {
            node.capacity != Capacity::default()
                || node.taints.iter().any(|taint| taint.effect == TaintEffect::NoSchedule)
        };
        let guarded = catalog.nodes.iter().filter(|(_, node)| guards(&node.value)).map(|(name, _)| name);
        let of_nodes = catalog.nodes.values().flat_map(|node| node.value.variables.keys());
        let environments = catalog.settings.environments.values();
        let of_environments = environments.flat_map(|environment| environment.variables.keys());
        Self {
            guarded: guarded.collect(),
            varying: of_nodes.chain(of_environments).map(|name| &**name).collect(),
        }
    }

    /// Whether all nodes give a service the same values, as far as it uses them.
    fn is_same_everywhere(&self, instance: Option<&Instance>) -> bool {
        match instance {
            Some(instance) => {
                instance.rendered.used_variables.iter().all(|name| !self.varying.contains(&**name))
            }
            None => self.varying.is_empty(),
        }
    }

    fn is_in_play(&self, deployment: &Deployment) -> bool {
        let place = &deployment.service.place;
        match &place.nodes {
            None => place.select.is_some() || place.all == Some(true),
            Some(nodes) => {
                place.slot.is_some()
                    || !place.forbid.is_empty()
                    || !self.guarded.is_empty() && nodes.iter().any(|node| self.guarded.contains(node))
            }
        }
    }
}

/// What a deployment asks for, whether or not it is in play.
pub fn asked(catalog: &Catalog, entry: &Arc<ServiceEntry>, number: usize) -> Request {
    request(catalog, &Ground::of(catalog), entry, number).0
}

/// What a deployment asks for: it is rendered for the nodes that it may come to.
fn request(
    catalog: &Catalog,
    ground: &Ground<'_>,
    entry: &Arc<ServiceEntry>,
    number: usize,
) -> (Request, Vec<Draft>) {
    let deployment = &entry.deployments[number];
    let mut place = deployment.service.place.clone();
    if place.nodes.is_some() {
        place.nodes = Some(here(catalog, deployment).cloned().collect());
    }
    let (demands, lost) = (Demands::default(), BTreeSet::new());
    let mut request = Request { id: id(entry, deployment), place, demands, lost };
    let mut rendering = Rendering::new(catalog, entry, number);
    let may_come = |(name, node): (&NodeName, &'_ Located<Node>)| {
        catalog.knows_variables(entry, node) && filter::may_fit(&request, &site(catalog, name, node))
    };
    let candidates: Vec<&Located<Node>> =
        catalog.nodes.iter().filter(|(name, node)| may_come((name, node))).map(|(_, node)| node).collect();
    let mut known: Vec<(Arc<Instance>, Arc<Demand>)> = Vec::new();
    for node in candidates {
        let instance = rendering.on(node, None);
        if let Some(instance) = &instance {
            let before = known.iter().find(|(of, _)| Arc::ptr_eq(&of.rendered, &instance.rendered));
            let before = before.map(|(_, demand)| demand.clone());
            let is_new = before.is_none();
            let demand = before.unwrap_or_else(|| Arc::new(demand(catalog, deployment, instance)));
            match known.first() {
                None => request.demands.common = demand.clone(),
                Some((_, common)) if *common != demand => {
                    request.demands.at.insert(node.value.node.clone(), demand.clone());
                }
                Some(_) => {}
            }
            known.extend(is_new.then(|| (instance.clone(), demand)));
        }
        if ground.is_same_everywhere(instance.as_deref()) {
            break;
        }
    }
    (request, rendering.drafts())
}

fn demand(catalog: &Catalog, deployment: &Deployment, instance: &Instance) -> Demand {
    let service = &deployment.service;
    // What names its nodes is judged where it runs.
    let needs = if service.place.nodes.is_some() { Vec::new() } else { needs(catalog, instance) };
    place::demand::of(&service.resources, &instance.ensure.model, needs)
}

/// A node as placement sees it before anything is placed.
pub fn site<'a>(catalog: &'a Catalog, name: &NodeName, node: &'a Located<Node>) -> Site<'a> {
    let environment = catalog.environment_of(name);
    let (cordoned, drained) = (node.value.cordon, false);
    Site { node: &node.value, environment, offline: false, cordoned, drained, others: 0 }
}

/// What the features that an instance uses need of a node.
fn needs(catalog: &Catalog, instance: &Instance) -> Vec<place::Need> {
    let needs = usage::needs(catalog, instance.uses.keys()).into_iter();
    let owned = |need: usage::Need<'_>| place::Need {
        feature: need.feature.clone(),
        labels: need.needs.labels.clone(),
        capabilities: need.needs.capabilities.clone(),
    };
    needs.map(owned).collect()
}
