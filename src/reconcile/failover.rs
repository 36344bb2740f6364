//! What becomes of services that do not wait for a silent node.
//!
//! They are placed again for this pass, and for as long as plans and reports say that they must be. Everything else
//! stays where the definitions placed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::Inputs;
use crate::desired::{self, Desired, Placing};
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};
use crate::place::failover::Losses;
use crate::place::{Fault, Placed, Request, Sites, choose, explain, filter};

/// What should be while nodes are lost.
#[derive(Debug)]
pub(super) struct Moved {
    /// What it was made from: while these stand, so does this.
    losses: Losses,
    placing: Arc<Placing>,
    /// Everything that should be.
    pub desired: Desired,
    /// What stays on a lost node, and why it cannot go elsewhere.
    pub stays: BTreeMap<NodeName, BTreeMap<ServiceName, String>>,
}

/// What should be in this pass where it is not what the definitions say: services stand elsewhere than they were placed,
/// because they moved, or their node is lost.
pub(super) fn moved(inputs: &Inputs<'_>) -> Option<Arc<Moved>> {
    let placing = &inputs.definitions.desired.placing;
    if placing.failovers.is_empty() {
        return None;
    }
    let requests = placing.asked();
    let holders = Holders::of_plans(Arc::new(inputs.plans.clone()));
    let catalog = &inputs.definitions.catalog;
    let may_fit = |request: &Request, name: &NodeName| {
        let node = catalog.nodes.get(name);
        node.is_some_and(|node| filter::may_fit(request, &desired::site(catalog, name, node)))
    };
    let is_lost = |request: &Request, node: &NodeName| is_lost(inputs, request, node);
    let losses = Losses::find(&requests, &placing.placed, &holders, may_fit, is_lost);
    if losses.is_none(&requests, &placing.placed) {
        return None;
    }
    let before = inputs.seen.and_then(|seen| seen.moved.clone());
    let same = before.filter(|before| Arc::ptr_eq(&before.placing, placing) && before.losses == losses);
    Some(same.unwrap_or_else(|| Arc::new(move_away(inputs, &requests, losses, &holders))))
}

/// Whether a node has been silent for longer than the service waits. Silence counts from when it was last heard, and not
/// from before anyone listened.
fn is_lost(inputs: &Inputs<'_>, request: &Request, node: &NodeName) -> bool {
    let Some(reported) = inputs.reported.nodes.get(node) else { return false };
    let patience = request.place.failover.map(|failover| SignedDuration::from_secs(failover.0.into()));
    let silent = inputs.now.duration_since(reported.heard_at.max(inputs.listening_since));
    patience.is_some_and(|patience| silent >= patience.max(inputs.stale_after))
}

fn move_away(inputs: &Inputs<'_>, requests: &[&Request], losses: Losses, holders: &Holders) -> Moved {
    let definitions = inputs.definitions;
    let placing = definitions.desired.placing.clone();
    let silent = |name: &&NodeName| {
        let reported = inputs.reported.nodes.get(*name);
        reported.is_some_and(|reported| reported.is_stale(inputs.now, inputs.stale_after))
    };
    let offline = definitions.catalog.nodes.keys().filter(silent).cloned().collect();
    let holders = holders.clone().with_offline(offline);
    let sites = desired::sites(&definitions.catalog, &placing, &holders);
    let placed = choose::again(&sites, requests, &placing.placed, &losses, &holders);
    let mut stays = stays(&sites, requests, &losses, &placed, &holders);
    let desired = definitions.desired.placed_anew(&definitions.catalog, placed).unwrap_or_else(|found| {
        let why = found.first().map(|mistake| mistake.message.clone()).unwrap_or_default();
        for request in requests {
            for node in losses.of(&request.id) {
                let reason = format!("its node is lost, and it cannot be moved: {why}");
                stays.entry(node).or_default().insert(request.id.service.clone(), reason);
            }
        }
        definitions.desired.clone()
    });
    Moved { losses, placing, desired, stays }
}

/// What cannot move, with why.
fn stays(
    sites: &Sites<'_>,
    requests: &[&Request],
    losses: &Losses,
    placed: &Placed,
    holders: &Holders,
) -> BTreeMap<NodeName, BTreeMap<ServiceName, String>> {
    let mut stays: BTreeMap<NodeName, BTreeMap<ServiceName, String>> = BTreeMap::new();
    for misplaced in &placed.misplaced {
        let request = requests.iter().find(|request| request.id == misplaced.id);
        let (Fault::Stays { nodes }, Some(request)) = (&misplaced.fault, request) else { continue };
        let lost = Request { lost: losses.of(&request.id), ..(*request).clone() };
        let refusal = explain::refusal(sites, &lost, placed, holders);
        let change =
            refusal.change.map(|change| format!("; the smallest change that makes one fit: {change}"));
        let reason = format!("its node is lost, and no other fits{}", change.unwrap_or_default());
        for node in nodes {
            stays.entry(node.clone()).or_default().insert(request.id.service.clone(), reason.clone());
        }
    }
    stays
}
