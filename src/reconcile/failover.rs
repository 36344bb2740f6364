//! What becomes of services that do not wait for a silent node.
//!
//! They are placed again for this pass, and for as long as plans and reports say that they must be. Everything else
//! stays where the definitions placed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Definitions, Inputs};
use crate::desired::{self, Desired, Placing};
use crate::diagnostic::Diagnostic;
use crate::govern::{Before, Judgements};
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
    pub stays: Stays,
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

/// So often other nodes are looked for where those that fit may not be used.
const ATTEMPTS: usize = 8;

fn move_away(inputs: &Inputs<'_>, requests: &[&Request], losses: Losses, holders: &Holders) -> Moved {
    let definitions = inputs.definitions;
    let placing = definitions.desired.placing.clone();
    let silent = |name: &&NodeName| {
        let reported = inputs.reported.nodes.get(*name);
        reported.is_none_or(|reported| reported.is_stale(inputs.now, inputs.stale_after))
    };
    let offline = definitions.catalog.nodes.keys().filter(silent).cloned().collect();
    let holders = holders.clone().with_offline(offline);
    let sites = desired::sites(&definitions.catalog, &placing, &holders);
    let mut barred = losses.clone();
    let mut because = None;
    for _ in 0..ATTEMPTS {
        let placed = choose::again(&sites, requests, &placing.placed, &barred, &holders);
        let mistakes = match definitions.desired.placed_anew(&definitions.catalog, placed.clone()) {
            Ok(desired) => {
                let mistakes = mistakes_of(inputs, &desired);
                if mistakes.is_empty() {
                    let stays = stays(&sites, requests, &barred, &placed, &holders, because.as_ref());
                    return Moved { losses, placing, desired, stays };
                }
                mistakes
            }
            Err(mistakes) => mistakes,
        };
        bar(&mut barred, requests, &placed, &mistakes);
        because = because.or(mistakes.into_iter().next());
    }
    let lost = requests
        .iter()
        .flat_map(|request| losses.of(&request.id).into_iter().map(move |node| (node, request)));
    let mut stays: Stays = BTreeMap::new();
    for (node, request) in lost {
        let reason = told(None, because.as_ref());
        stays.entry(node).or_default().insert(request.id.service.clone(), reason);
    }
    Moved { losses, placing, desired: definitions.desired.clone(), stays }
}

/// What is an error where services stand now, and was none where the definitions placed them: a grant that is not for this
/// node, a port that another holds.
fn mistakes_of(inputs: &Inputs<'_>, moved: &Desired) -> Vec<Diagnostic> {
    let Definitions { catalog, desired, judgements, .. } = inputs.definitions;
    let before = Before { catalog, desired, judgements };
    let judged = |desired: &Desired| Judgements::new(catalog, desired, Some(before), inputs.now).1;
    let known: BTreeSet<Diagnostic> = judged(desired).into_iter().collect();
    let new = judged(moved).into_iter().filter(|found| found.is_error() && !known.contains(found));
    new.collect()
}

/// Keeps the services that have these mistakes from the nodes that they would move to; where nobody is named, all.
fn bar(losses: &mut Losses, requests: &[&Request], placed: &Placed, mistakes: &[Diagnostic]) {
    let is_named = |request: &Request| {
        let folder = format!("services/{}/", request.id.service);
        mistakes.iter().any(|mistake| mistake.place.path.starts_with(&folder))
    };
    let moving = requests.iter().copied().filter(|request| request.place.failover.is_some());
    let named: Vec<&Request> = moving.clone().filter(|request| is_named(request)).collect();
    let all = moving.collect();
    for request in if named.is_empty() { all } else { named } {
        let nodes = placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
        losses.bar(request, nodes);
    }
}

type Stays = BTreeMap<NodeName, BTreeMap<ServiceName, String>>;

/// What cannot move, with why.
fn stays(
    sites: &Sites<'_>,
    requests: &[&Request],
    losses: &Losses,
    placed: &Placed,
    holders: &Holders,
    because: Option<&Diagnostic>,
) -> Stays {
    let mut stays: Stays = BTreeMap::new();
    for misplaced in &placed.misplaced {
        let request = requests.iter().find(|request| request.id == misplaced.id);
        let (Fault::Stays { nodes }, Some(request)) = (&misplaced.fault, request) else { continue };
        let lost = Request { lost: losses.of(&request.id), ..(*request).clone() };
        let change = explain::refusal(sites, &lost, placed, holders).change;
        let reason = told(change.as_deref(), because);
        for node in nodes {
            stays.entry(node.clone()).or_default().insert(request.id.service.clone(), reason.clone());
        }
    }
    stays
}

fn told(change: Option<&str>, because: Option<&Diagnostic>) -> String {
    match (change, because) {
        (_, Some(mistake)) => format!("its node is lost, and no other may take it: {}", mistake.message),
        (Some(change), None) => {
            format!("its node is lost, and no other fits; the smallest change that makes one fit: {change}")
        }
        (None, None) => "its node is lost, and no other fits".into(),
    }
}
