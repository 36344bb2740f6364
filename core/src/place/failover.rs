//! Services that do not wait for a silent node: where they stand, which of those nodes are lost to them, and where they
//! go then.
//!
//! It is asked anew in every pass, from what stands and not from what was done before: a service that moved stands where
//! it moved to, and stays there when its old node comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::{self, Stands};
use super::{Id, Placed, Request};
use crate::holders::Holders;
use crate::name::NodeName;

/// Where the services with a failover stand, and which of those nodes are lost to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    pub(super) stands: Stands,
    lost: BTreeMap<Id, BTreeSet<NodeName>>,
}

impl Losses {
    /// Looks at the requests that have a failover. `may_fit` says whether a node still fits at all, `is_lost` whether it
    /// has been silent for longer than the service waits.
    ///
    /// What stands nowhere yet, or on fewer nodes than it should, stands where it was placed: that is on its way.
    pub fn find(
        requests: &[&Request],
        placed: &Placed,
        holders: &Holders,
        may_fit: impl Fn(&Request, &NodeName) -> bool,
        is_lost: impl Fn(&Request, &NodeName) -> bool,
    ) -> Self {
        let moving: Vec<&Request> =
            requests.iter().copied().filter(|request| request.place.failover.is_some()).collect();
        let found = standing::of(holders, moving.iter().copied());
        let mut losses = Self::default();
        for request in moving {
            let there = found.get(&request.id.service).into_iter().flatten();
            let mut there: BTreeMap<&NodeName, Vec<String>> = there
                .filter(|(node, _)| may_fit(request, node))
                .map(|(node, bound)| (node, bound.clone()))
                .collect();
            let lost: BTreeSet<NodeName> =
                there.keys().filter(|node| is_lost(request, node)).map(|node| (*node).clone()).collect();
            let chosen = placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
            for node in chosen.filter(|node| !is_lost(request, node)) {
                if there.len() - lost.len() < request.count().unwrap_or(usize::MAX) {
                    there.entry(node).or_default();
                }
            }
            let stands = losses.stands.entry(request.id.service.clone()).or_default();
            stands.extend(there.into_iter().map(|(node, bound)| (node.clone(), bound)));
            losses.lost.extend((!lost.is_empty()).then(|| (request.id.clone(), lost)));
        }
        losses
    }

    /// Whether nothing is lost, and everything stands where it was placed.
    pub fn is_none(&self, requests: &[&Request], placed: &Placed) -> bool {
        let moving = requests.iter().filter(|request| request.place.failover.is_some());
        let mut chosen: BTreeMap<_, BTreeSet<&NodeName>> = BTreeMap::new();
        for request in moving {
            let nodes = placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
            chosen.entry(&request.id.service).or_default().extend(nodes);
        }
        let stands = |service| self.stands.get(service).into_iter().flat_map(BTreeMap::keys);
        self.lost.is_empty()
            && chosen.iter().all(|(service, nodes)| stands(*service).eq(nodes.iter().copied()))
    }

    /// Takes these nodes for lost, too, unless the deployment stands there.
    pub fn bar<'n>(&mut self, request: &Request, nodes: impl Iterator<Item = &'n NodeName>) {
        let stands = self.stands.get(&request.id.service);
        let new: Vec<NodeName> =
            nodes.filter(|node| stands.is_none_or(|stands| !stands.contains_key(*node))).cloned().collect();
        if !new.is_empty() {
            self.lost.entry(request.id.clone()).or_default().extend(new);
        }
    }

    /// The nodes that are lost to a deployment.
    pub fn of(&self, id: &Id) -> BTreeSet<NodeName> {
        self.lost.get(id).cloned().unwrap_or_default()
    }
}
