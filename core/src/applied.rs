//! What a release put where, as one document for programs that deploy: each service that it changed, on which nodes, why
//! just there, what that costs, and at which ports it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, ServiceEntry};
use crate::desired::Desired;
use crate::diff::Change;
use crate::explain::{Asks, Explained, Explanation, NodeExplained, Word};
use crate::fleet::{InstanceState, InstanceView, NodeView};
use crate::govern::CURRENCY;
use crate::name::{EnvironmentName, NodeName, Revision, ServiceName};
use crate::place::cost::Range;
use crate::plan::{Model, Reason};
use crate::release::{ReleaseView, Standing};

/// What a release put where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The version of this document.
    pub schema: u32,
    /// Names the release, and the commit that it rolls out: `12-4f0c9a7d1e22`.
    pub id: String,
    /// The number of the release.
    pub release: u64,
    /// The commit that it rolls out.
    pub revision: Revision,
    /// How it stands.
    pub standing: Standing,
    /// What amounts of money are in.
    pub currency: Arc<str>,
    /// The services that it changed, by name and environment. What it removed is in none.
    pub services: Vec<AppliedService>,
    /// How many of its changes are not kept any more for want of room; what they changed may be missing.
    pub changes_left_out: usize,
}

/// One service in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedService {
    /// The service.
    pub service: ServiceName,
    /// Its environment; none where it is for all nodes.
    pub environment: Option<EnvironmentName>,
    /// What all its instances cost in a month; none where their nodes have no price.
    pub cost: Option<Cost>,
    /// The nodes that it runs on, by name.
    pub nodes: Vec<AppliedNode>,
}

/// From the least to the most that something costs in a month, as people write it: `12.50`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// By what is reserved.
    pub low: String,
    /// With a part of what nobody reserved.
    pub high: String,
}

/// A service on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedNode {
    /// The node.
    pub node: NodeName,
    /// How it stands there; none where the daemon has not looked yet.
    pub state: Option<InstanceState>,
    /// What it waits on, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it is on this node.
    pub rationale: String,
    /// Which fields of it the release changed here, and how.
    pub because: Vec<Reason>,
    /// The ports of the node at which it answers.
    pub endpoints: Vec<Endpoint>,
}

/// A port of a node that leads to a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// The Compose service.
    pub container: Arc<str>,
    /// The port of the node. None where the engine chooses one.
    pub port: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The one address of the node at which it listens; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port of the container.
    pub target: u64,
}

/// What the newest release put where, of what is deployed and of how the nodes stand.
pub fn applied(release: &ReleaseView, catalog: &Catalog, desired: &Desired, views: &[NodeView]) -> Applied {
    let mut changes: BTreeMap<&ServiceName, Vec<&Change>> = BTreeMap::new();
    for change in &release.kept.diff.changes {
        changes.entry(&change.service).or_default().push(change);
    }
    let views = views.iter().map(|view| (&view.node, view)).collect();
    let holders = desired.holders();
    let ground = Ground { changes, desired, views };
    let entries = ground.changes.keys().filter_map(|service| catalog.services.get(*service));
    let of_entry = |entry: &Arc<ServiceEntry>| {
        let explained = Explanation::of(catalog, desired, &holders, entry, None);
        let explained = explained.map(|explanation| explanation.deployments).unwrap_or_default();
        let service = &entry.service().service;
        explained.iter().map(|one| ground.service(service, one)).collect::<Vec<_>>()
    };
    let began = &release.release.release;
    Applied {
        schema: 1,
        id: format!("{}-{}", release.release.number, began.revision.short()),
        release: release.release.number,
        revision: began.revision.clone(),
        standing: release.standing.clone(),
        currency: catalog.settings.budget.currency.clone().unwrap_or_else(|| CURRENCY.into()),
        services: entries.flat_map(of_entry).filter(|service| !service.nodes.is_empty()).collect(),
        changes_left_out: release.kept.changes_left_out,
    }
}

/// What is asked of each service.
struct Ground<'a> {
    changes: BTreeMap<&'a ServiceName, Vec<&'a Change>>,
    desired: &'a Desired,
    views: BTreeMap<&'a NodeName, &'a NodeView>,
}

impl Ground<'_> {
    fn service(&self, service: &ServiceName, explained: &Explained) -> AppliedService {
        let chosen = explained.nodes.iter().filter(|node| node.verdict == Word::Chosen);
        let mut nodes: Vec<AppliedNode> =
            chosen.map(|node| self.node(service, explained.asks, node)).collect();
        nodes.sort_by(|one, other| one.node.cmp(&other.node));
        AppliedService {
            service: service.clone(),
            environment: explained.environment.clone(),
            cost: explained.cost.map(Cost::from),
            nodes,
        }
    }

    fn node(&self, service: &ServiceName, asks: Asks, explained: &NodeExplained) -> AppliedNode {
        let node = &explained.node;
        let view = self.view(node, service);
        let own = self.changes[service].iter().filter(|change| change.nodes.contains(node));
        let instance = self.desired.instance(node, service);
        AppliedNode {
            node: node.clone(),
            state: view.map(|view| view.state),
            message: view.and_then(|view| view.message.clone()),
            rationale: rationale(asks, explained),
            because: own.flat_map(|change| change.because.iter().cloned()).collect(),
            endpoints: instance.map(|instance| endpoints(&instance.ensure.model)).unwrap_or_default(),
        }
    }

    fn view(&self, node: &NodeName, service: &ServiceName) -> Option<&InstanceView> {
        self.views.get(node)?.instances.iter().find(|instance| instance.service == *service)
    }
}

impl From<Range> for Cost {
    fn from(range: Range) -> Self {
        Self { low: range.low.to_string(), high: range.high.to_string() }
    }
}

fn rationale(asks: Asks, node: &NodeExplained) -> String {
    match (asks, node.score) {
        (Asks::Named(_), _) => "the service names it".to_owned(),
        (Asks::All | Asks::Nothing, _) => "it is one of all nodes that fit".to_owned(),
        (Asks::Count(_), None) => "it fits".to_owned(),
        (Asks::Count(_), Some(score)) => {
            let parts = score.parts().into_iter().filter(|(_, part)| *part != 0);
            let parts: Vec<String> = parts.map(|(name, part)| format!("{name} {part}")).collect();
            let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
            format!("it fits best, with {} points{parts}", score.points())
        }
    }
}

/// The published ports of a rendered model, in order. What is not as Compose renders it is passed over: it was checked when
/// it was read.
fn endpoints(model: &Model) -> Vec<Endpoint> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        services: BTreeMap<Arc<str>, Container>,
    }
    #[derive(Deserialize)]
    struct Container {
        #[serde(default)]
        ports: Vec<Port>,
    }
    #[derive(Deserialize)]
    struct Port {
        target: u64,
        published: Option<String>,
        protocol: Option<String>,
        host_ip: Option<String>,
    }
    let Ok(form) = serde_json::from_str::<Form>(model.as_str()) else { return Vec::new() };
    let endpoint = |container: &Arc<str>, port: Port| Endpoint {
        container: container.clone(),
        port: port.published,
        protocol: port.protocol.unwrap_or_else(|| "tcp".to_owned()),
        address: port.host_ip,
        target: port.target,
    };
    let of_container = |(name, container): (Arc<str>, Container)| {
        container.ports.into_iter().map(|port| endpoint(&name, port)).collect::<Vec<_>>()
    };
    let mut endpoints: Vec<Endpoint> = form.services.into_iter().flat_map(of_container).collect();
    endpoints.sort();
    endpoints
}

#[cfg(test)]
mod tests;
