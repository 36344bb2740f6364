//! Why a service is where it is: for each of its deployments, every node with what speaks for it or against it.
//!
//! The words and the scores are those by which the service was placed, asked again for each node beside all that the
//! others hold. Where too few nodes fit, the smallest change that would make one more fit is named.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::desired::{self, Desired};
use crate::govern::CURRENCY;
use crate::holders::Holders;
use crate::name::{EnvironmentName, NodeName, ServiceName};
use crate::place::cost::{self, Costs, Range};
use crate::place::{Demand, Exclusion, Placed, Request, Score, Sites, Verdict, explain};

/// Why a service is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The version of this document.
    pub schema: u32,
    /// The service.
    pub service: ServiceName,
    /// One for each environment that it names, or one for all nodes.
    pub deployments: Vec<Explained>,
}

/// Why one deployment is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Its environment; none where it is for all nodes.
    pub environment: Option<EnvironmentName>,
    /// How its nodes are found.
    pub asks: Asks,
    /// On how many nodes it is.
    pub placed: usize,
    /// What each instance takes.
    pub takes: Takes,
    /// What it costs in a month, where the nodes that it is on have a price.
    pub cost: Option<Range>,
    /// What amounts of money are in.
    pub currency: Arc<str>,
    /// Those that it is on, then those that fit, the best first; then the others by name.
    pub nodes: Vec<NodeExplained>,
    /// The least that would make one more node fit, where too few do.
    pub change: Option<String>,
}

/// How the nodes of a deployment are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// It names so many.
    Named(usize),
    /// So many of those that fit.
    Count(usize),
    /// All that fit.
    All,
    /// It says nothing of nodes, and runs nowhere.
    Nothing,
}

impl Asks {
    fn of(request: &Request) -> Self {
        match (&request.place.nodes, request.count()) {
            (Some(nodes), _) => Self::Named(nodes.len()),
            (None, None) => Self::All,
            (None, Some(_)) if request.place.select.is_none() => Self::Nothing,
            (None, Some(count)) => Self::Count(count),
        }
    }
}

/// What an instance takes of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Takes {
    /// Thousandths of cores.
    pub cpu_thousandths: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Bytes.
    pub disk_bytes: u64,
    /// Graphics processors; none of them is all that the node has.
    pub gpus: Option<Gpus>,
    /// The name of a slot, or `any`.
    pub slot: Option<Arc<str>>,
}

/// Graphics processors that an instance takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpus {
    /// How many; none for all.
    pub count: Option<u32>,
    /// Of which model, if it matters.
    pub model: Option<Arc<str>>,
    /// How much memory each must have.
    pub memory_bytes: Option<u64>,
}

/// What is to be said of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeExplained {
    /// Its name.
    pub node: NodeName,
    /// In one word.
    pub verdict: Word,
    /// What speaks for it, where it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// The sum of the parts of its score that are added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// All that is against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<Exclusion>,
}

/// What became of a node, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It runs here.
    Chosen,
    /// It could run here, and others were better.
    Fits,
    /// It cannot run here.
    Excluded,
}

/// What explanations look at.
#[derive(Clone, Copy)]
struct Ground<'a> {
    sites: &'a Sites<'a>,
    holders: &'a Holders,
    costs: &'a Costs,
    currency: &'a Arc<str>,
}

impl Explanation {
    /// Why a service is where it is; with an environment, only there. None where it is not in that environment.
    pub fn of(
        catalog: &Catalog,
        desired: &Desired,
        holders: &Holders,
        entry: &Arc<ServiceEntry>,
        only: Option<&EnvironmentName>,
    ) -> Option<Self> {
        let placing = &desired.placing;
        let sites = &desired::sites(catalog, placing, holders);
        let instances = desired.services.get(&entry.service().service);
        let held = desired.held_on(instances.into_iter().flat_map(|service| service.instances.keys()));
        let costs = &cost::costs(sites, &held);
        let currency = &catalog.settings.budget.currency.clone().unwrap_or_else(|| CURRENCY.into());
        let ground = Ground { sites, holders, costs, currency };
        let of = |(number, deployment): (usize, &Deployment)| {
            let id = desired::id(entry, deployment);
            match placing.requests.get(&id) {
                Some(request) => Explained::of(&ground, request, &placing.placed),
                None => {
                    // Nothing that it takes is limited where it runs, so it was not placed with the others.
                    let own = held.chosen.get_key_value(&id).map(|(id, nodes)| (id.clone(), nodes.clone()));
                    let mut placed = (*placing.placed).clone();
                    placed.chosen.extend(own);
                    Explained::of(&ground, &desired::asked(catalog, entry, number), &placed)
                }
            }
        };
        let meant = |deployment: &Deployment| only.is_none() || deployment.environment.as_ref() == only;
        let all = entry.deployments.iter().enumerate().filter(|(_, deployment)| meant(deployment));
        let deployments: Vec<Explained> = all.map(of).collect();
        let service = entry.service().service.clone();
        (!deployments.is_empty()).then_some(Self { schema: 1, service, deployments })
    }
}

impl Explained {
    /// Why a deployment is where it is.
    fn of(ground: &Ground<'_>, request: &Request, placed: &Placed) -> Self {
        let Ground { sites, holders, costs, currency } = *ground;
        let verdicts = explain::verdicts(sites, request, placed, holders);
        let count = placed.chosen.get(&request.id).map_or(0, BTreeMap::len);
        let asks = Asks::of(request);
        let cost = costs.get(&request.id).map(|nodes| nodes.values().copied().sum());
        let mut nodes: Vec<NodeExplained> =
            verdicts.into_iter().map(|(node, verdict)| NodeExplained::of(node, verdict)).collect();
        nodes.sort_by(|one, other| one.rank().cmp(&other.rank()).then_with(|| one.node.cmp(&other.node)));
        let explained = Self {
            environment: request.id.environment.clone(),
            asks,
            placed: count,
            takes: Takes::of(&request.demands.common, request.place.slot.as_ref()),
            cost,
            currency: currency.clone(),
            nodes,
            change: None,
        };
        let fits_nowhere = asks == Asks::All && count == 0;
        if explained.missing() == 0 && !fits_nowhere {
            return explained;
        }
        let change = explain::refusal(sites, request, placed, holders).change;
        Self { change, ..explained }
    }

    /// How many more nodes it asks for than there are.
    pub fn missing(&self) -> usize {
        match self.asks {
            Asks::Named(wanted) | Asks::Count(wanted) => wanted.saturating_sub(self.placed),
            Asks::All | Asks::Nothing => 0,
        }
    }
}

impl Takes {
    fn of(demand: &Demand, slot: Option<&Arc<str>>) -> Self {
        Self {
            cpu_thousandths: demand.cpu.0,
            memory_bytes: demand.memory.0,
            disk_bytes: demand.disk.0,
            gpus: demand.gpus.as_ref().map(|gpus| Gpus {
                count: gpus.count,
                model: gpus.model.clone(),
                memory_bytes: gpus.memory.map(|memory| memory.0),
            }),
            slot: slot.cloned(),
        }
    }
}

impl NodeExplained {
    fn of(node: NodeName, verdict: Verdict) -> Self {
        let (verdict, score, exclusions) = match verdict {
            Verdict::Chosen(score) => (Word::Chosen, Some(score), Vec::new()),
            Verdict::Fits(score) => (Word::Fits, Some(score), Vec::new()),
            Verdict::Excluded(exclusions) => (Word::Excluded, None, exclusions),
        };
        Self { node, verdict, score, points: score.map(|score| score.points()), exclusions }
    }

    /// The chosen first, and the better of two.
    fn rank(&self) -> (Word, Reverse<Option<Score>>) {
        (self.verdict, Reverse(self.score))
    }
}
