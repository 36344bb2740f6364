//! What becomes of services that do not wait for a silent node.
//!
//! They are placed again for this pass, and for as long as plans and reports say that they must be. Everything else
//! stays where the definitions placed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Definitions, Inputs};
use crate::align::differing;
use crate::desired::{self, Desired, Placing};
use crate::diagnostic::{Diagnostic, Place};
use crate::govern::Judgements;
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};
use crate::place::failover::Losses;
use crate::place::{Fault, Placed, Request, Sites, choose, explain, filter};

/// What should be while nodes are lost.
#[derive(Debug)]
pub(super) struct Moved {
    /// What it was made from: while these stand, so does this.
    losses: Losses,
    silent: BTreeSet<NodeName>,
    day: Date,
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
    let (silent, day) = (silent(inputs), inputs.now.to_zoned(TimeZone::UTC).date());
    let is_same = |before: &Arc<Moved>| {
        Arc::ptr_eq(&before.placing, placing)
            && before.losses == losses
            && before.silent == silent
            && before.day == day
    };
    let before = inputs.seen.and_then(|seen| seen.moved.clone()).filter(is_same);
    Some(before.unwrap_or_else(|| {
        let (desired, stays) = move_away(inputs, &requests, &losses, holders.with_offline(silent.clone()));
        Arc::new(Moved { losses, silent, day, placing: placing.clone(), desired, stays })
    }))
}

/// The nodes that do not report: nothing moves there.
fn silent(inputs: &Inputs<'_>) -> BTreeSet<NodeName> {
    let is_silent = |name: &&NodeName| {
        let reported = inputs.reported.nodes.get(*name);
        reported.is_none_or(|reported| reported.is_stale(inputs.now, inputs.stale_after))
    };
    inputs.definitions.catalog.nodes.keys().filter(is_silent).cloned().collect()
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

fn move_away(
    inputs: &Inputs<'_>,
    requests: &[&Request],
    losses: &Losses,
    holders: Holders,
) -> (Desired, Stays) {
    let Definitions { catalog, desired, .. } = inputs.definitions;
    let sites = desired::sites(catalog, &desired.placing, &holders);
    let known: BTreeSet<Diagnostic> = judged(inputs, desired).into_iter().collect();
    let mut barred = losses.clone();
    let mut because = None;
    for attempt in 0..=ATTEMPTS {
        let placed = choose::again(&sites, requests, &desired.placing.placed, &barred, &holders);
        let moved = desired.placed_anew(catalog, placed.clone()).and_then(|moved| {
            let mistakes = mistakes_of(inputs, &moved, &known);
            if mistakes.is_empty() { Ok(moved) } else { Err(mistakes) }
        });
        let mistakes = match moved {
            Ok(moved) => {
                let stays = stays(&sites, requests, &barred, &placed, &holders, because.as_ref());
                return (moved, stays);
            }
            Err(mistakes) => mistakes,
        };
        for request in meant(requests, &mistakes) {
            let tried = placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
            // In the end every other node is barred: what moved before stays where it went.
            match attempt + 1 == ATTEMPTS {
                true => barred.bar(request, catalog.nodes.keys()),
                false => barred.bar(request, tried),
            }
        }
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
    (desired.clone(), stays)
}

/// What is an error where services stand now, and was none where the definitions placed them: a grant that is not for this
/// node, a port that another holds.
fn mistakes_of(inputs: &Inputs<'_>, moved: &Desired, known: &BTreeSet<Diagnostic>) -> Vec<Diagnostic> {
    let new = judged(inputs, moved).into_iter().filter(|found| found.is_error() && !known.contains(found));
    new.chain(without_grant(inputs, moved)).collect()
}

fn judged(inputs: &Inputs<'_>, desired: &Desired) -> Vec<Diagnostic> {
    let definitions = inputs.definitions;
    Judgements::new(&definitions.catalog, desired, Some(definitions.as_before()), inputs.now).1
}

/// Instances that would come to a node where nothing grants them what they use any more: held back there, they would run
/// nowhere.
fn without_grant<'a>(inputs: &'a Inputs<'_>, moved: &'a Desired) -> impl Iterator<Item = Diagnostic> + 'a {
    let before = &inputs.definitions.desired.services;
    let changed = differing(before, &moved.services).filter_map(|(name, old, new)| Some((name, old, new?)));
    changed.flat_map(move |(name, old, new)| {
        let is_new = move |node: &NodeName| old.is_none_or(|old| !old.instances.contains_key(node));
        new.instances.iter().filter(move |(node, _)| is_new(node)).filter_map(move |(_, instance)| {
            let used = instance.ended_grant(inputs.now)?;
            let message = format!("the grant of `{}` for `{name}` has ended", used.capability);
            let place = Place::file(instance.entry.path().clone());
            Some(Diagnostic::error("capability-not-granted", place, message))
        })
    })
}

/// The services that these mistakes are about; where they name none, all that may move.
fn meant<'r>(requests: &[&'r Request], mistakes: &[Diagnostic]) -> Vec<&'r Request> {
    let is_named = |request: &&Request| {
        let folder = format!("services/{}/", request.id.service);
        mistakes.iter().any(|mistake| mistake.place.path.starts_with(&folder))
    };
    let moving = requests.iter().copied().filter(|request| request.place.failover.is_some());
    let named: Vec<&Request> = moving.clone().filter(is_named).collect();
    if named.is_empty() { moving.collect() } else { named }
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
