//! Where the services stand that nodes are chosen for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Request, demand};
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};

/// By service, the nodes where it stands, each with the processors that it is bound to there.
pub(super) type Stands = BTreeMap<ServiceName, BTreeMap<NodeName, Vec<String>>>;

/// Where these stand.
pub(super) fn of<'r>(holders: &Holders, requests: impl Iterator<Item = &'r Request>) -> Stands {
    let mut slotted: BTreeMap<&ServiceName, bool> = BTreeMap::new();
    for request in requests {
        *slotted.entry(&request.id.service).or_default() |= request.place.slot.is_some();
    }
    let mut stands = Stands::new();
    if slotted.is_empty() {
        return stands;
    }
    for (node, service, model) in holders.all() {
        let Some(is_slotted) = slotted.get(service) else { continue };
        // Only a slot binds, and a model is long to read.
        let bound = if *is_slotted { demand::traits(model).1 } else { Vec::new() };
        stands.entry(service.clone()).or_default().insert(node.clone(), bound);
    }
    stands
}

/// The images that a node runs.
pub(super) fn images(holders: &Holders, node: &NodeName) -> BTreeSet<String> {
    holders.models(node).flat_map(|model| demand::traits(model).0).collect()
}
