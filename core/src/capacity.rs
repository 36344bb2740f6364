//! What the fleet holds and what it costs, as one document: how full nodes and environments are, and what services,
//! projects and environments pay of the nodes' prices.
//!
//! It says what definitions come to, like a plan does, and asks no machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::definition::Money;
use crate::govern::{CURRENCY, PROJECT};
use crate::name::{EnvironmentName, NodeName, ServiceName};
use crate::place::cost::{self, Costs, Range, amount};
use crate::place::room::{self, Room};
use crate::place::{Id, Placed, Sites};

/// How full everything is, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// The version of this document.
    pub schema: u32,
    /// What amounts of money are in.
    pub currency: Arc<str>,
    /// The environments by name; then the nodes that are in none, together.
    pub environments: Vec<EnvironmentRoom>,
    /// By name.
    pub nodes: Vec<NodeRoom>,
    /// What each deployment costs, by service and environment.
    pub services: Vec<ServiceCost>,
    /// What each project costs; at last the services without one, together.
    pub projects: Vec<ProjectCost>,
    /// What all costs.
    pub total: Total,
}

/// The nodes of one environment together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentRoom {
    /// None for the nodes that are in no environment.
    pub environment: Option<EnvironmentName>,
    /// How many nodes it has.
    pub nodes: usize,
    /// How full they are.
    #[serde(flatten)]
    pub room: Room,
    /// What the instances on them cost.
    pub cost: Range,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeRoom {
    /// Its name.
    pub node: NodeName,
    /// The environment that it is in.
    pub environment: Option<EnvironmentName>,
    /// How full it is.
    #[serde(flatten)]
    pub room: Room,
    /// What it costs in a month, if that is stated.
    #[serde(serialize_with = "price")]
    pub price: Option<Money>,
}

fn price<S: serde::Serializer>(price: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    match price {
        Some(price) => amount(price, serializer),
        None => serializer.serialize_none(),
    }
}

/// What one deployment costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceCost {
    /// The service, with its environment.
    #[serde(flatten)]
    pub id: Id,
    /// Its project.
    pub project: Option<Arc<str>>,
    /// How many instances it has.
    pub instances: usize,
    /// What they cost together.
    pub cost: Range,
}

/// What the services of one project cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectCost {
    /// None for the services without one.
    pub project: Option<Arc<str>>,
    /// How many services it has.
    pub services: usize,
    /// What they cost together.
    pub cost: Range,
}

/// What all costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The prices of all nodes together.
    #[serde(serialize_with = "amount")]
    pub nodes: Money,
    /// Of that, what services cost.
    pub services: Range,
    /// Of that, the prices of nodes on which nothing runs.
    #[serde(serialize_with = "amount")]
    pub idle: Money,
    /// How many nodes have no price.
    pub unpriced: usize,
    /// What `[budget]` allows.
    #[serde(serialize_with = "price")]
    pub budget: Option<Money>,
}

/// What definitions come to. With an environment, only its nodes and what runs on them.
pub fn of(catalog: &Catalog, sites: &Sites<'_>, placed: &Placed, only: Option<&EnvironmentName>) -> Capacity {
    let is_meant = |environment: Option<&EnvironmentName>| only.is_none() || environment == only;
    let sites: &Sites<'_> = &sites
        .iter()
        .filter(|(_, site)| is_meant(site.environment))
        .map(|(name, site)| (*name, *site))
        .collect();
    let costs = cost::costs(sites, placed);
    let rooms = room::of_nodes(sites, placed);
    let services = services(catalog, sites, placed, &costs);
    let budget = &catalog.settings.budget;
    Capacity {
        schema: 1,
        currency: budget.currency.clone().unwrap_or_else(|| CURRENCY.into()),
        environments: environments(sites, &rooms, &costs),
        projects: projects(&services),
        total: total(sites, &rooms, &services, budget.monthly.filter(|_| only.is_none())),
        nodes: rooms.into_iter().filter_map(|(name, room)| node(sites, name, room)).collect(),
        services,
    }
}

fn node(sites: &Sites<'_>, node: NodeName, room: Room) -> Option<NodeRoom> {
    let site = sites.get(&node)?;
    Some(NodeRoom { environment: site.environment.cloned(), price: site.node.price, node, room })
}

fn environments(sites: &Sites<'_>, rooms: &BTreeMap<NodeName, Room>, costs: &Costs) -> Vec<EnvironmentRoom> {
    let of_node = |node: &NodeName| sites.get(node).and_then(|site| site.environment);
    let mut numbers: BTreeMap<Option<&EnvironmentName>, (usize, Range)> = BTreeMap::new();
    for site in sites.values() {
        numbers.entry(site.environment).or_default().0 += 1;
    }
    for (node, range) in costs.values().flatten() {
        let sum = &mut numbers.entry(of_node(node)).or_default().1;
        *sum = sum.plus(*range);
    }
    let told = |(environment, room): (Option<EnvironmentName>, Room)| {
        let (nodes, cost) = numbers.get(&environment.as_ref()).copied().unwrap_or_default();
        EnvironmentRoom { environment, nodes, room, cost }
    };
    last(room::of_environments(sites, rooms)).map(told).collect()
}

/// What has a name by its name, and what has none at the end.
fn last<K: Ord, V>(mut named: BTreeMap<Option<K>, V>) -> impl Iterator<Item = (Option<K>, V)> {
    let nameless = named.remove(&None).map(|value| (None, value));
    named.into_iter().chain(nameless)
}

fn services(catalog: &Catalog, sites: &Sites<'_>, placed: &Placed, costs: &Costs) -> Vec<ServiceCost> {
    let project = |service: &ServiceName| {
        let entry = catalog.services.get(service)?;
        entry.service().labels.get(PROJECT).map(|project| project.0.clone())
    };
    let told = |id: &Id, instances: usize| ServiceCost {
        id: id.clone(),
        project: project(&id.service),
        instances,
        cost: costs.get(id).into_iter().flat_map(BTreeMap::values).copied().sum(),
    };
    let counted = placed
        .chosen
        .iter()
        .map(|(id, nodes)| (id, nodes.keys().filter(|node| sites.contains_key(*node)).count()));
    counted.filter(|(_, instances)| *instances > 0).map(|(id, instances)| told(id, instances)).collect()
}

fn projects(services: &[ServiceCost]) -> Vec<ProjectCost> {
    let mut projects: BTreeMap<Option<Arc<str>>, BTreeMap<&ServiceName, Range>> = BTreeMap::new();
    for service in services {
        let of_project = projects.entry(service.project.clone()).or_default();
        let sum = of_project.entry(&service.id.service).or_default();
        *sum = sum.plus(service.cost);
    }
    let told = |(project, services): (_, BTreeMap<&ServiceName, Range>)| ProjectCost {
        project,
        services: services.len(),
        cost: services.into_values().sum(),
    };
    last(projects).map(told).collect()
}

fn total(
    sites: &Sites<'_>,
    rooms: &BTreeMap<NodeName, Room>,
    services: &[ServiceCost],
    budget: Option<Money>,
) -> Total {
    let sum = |prices: &mut dyn Iterator<Item = Money>| {
        Money(prices.fold(0, |sum: u64, price| sum.saturating_add(price.0)))
    };
    let is_idle = |name: &NodeName| rooms.get(name).is_none_or(|room| room.instances == 0);
    let idle = sites.iter().filter(|(name, _)| is_idle(name)).filter_map(|(_, site)| site.node.price);
    Total {
        nodes: sum(&mut sites.values().filter_map(|site| site.node.price)),
        services: services.iter().map(|service| service.cost).sum(),
        idle: sum(&mut { idle }),
        unpriced: sites.values().filter(|site| site.node.price.is_none()).count(),
        budget,
    }
}
