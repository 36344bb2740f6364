//! Services that cannot be on one node together, because both would take the same thing of it: found when they are
//! reviewed, not when the second one fails to start.
//!
//! Each node is looked at for itself, and only where its instances are not the very ones of the definitions before,
//! which had no collisions. What two services collide over on many nodes is said once.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::claims::{Claim, Thing, claims};
use crate::align::differing;
use crate::catalog::Catalog;
use crate::compose::Rendered;
use crate::desired::{Desired, Instance};
use crate::diagnostic::Diagnostic;
use crate::name::{NodeName, ServiceName};
use crate::plan::RunState;
use crate::spread::spread;

/// All collisions on nodes whose instances changed.
pub(super) fn findings(catalog: &Catalog, desired: &Desired, previous: Option<&Desired>) -> Vec<Diagnostic> {
    let nothing = BTreeMap::new();
    let before = previous.map_or(&nothing, |previous| &previous.nodes);
    let changed = differing(before, &desired.nodes);
    let nodes: Vec<(&NodeName, &[Arc<Instance>])> =
        changed.filter_map(|(node, _, instances)| Some((node, instances?.as_slice()))).collect();
    let taken = Taken::by(&nodes);
    let found = spread(&nodes, |(node, instances)| on_node(node, instances, &taken));
    let mut together: BTreeMap<_, Collision<'_>> = BTreeMap::new();
    for collision in found.into_iter().flatten() {
        match together.get_mut(&collision.key()) {
            Some(known) => known.extend(collision),
            None => _ = together.insert(collision.key(), collision),
        }
    }
    together.values().map(|collision| words::diagnostic(catalog, collision)).collect()
}

/// What each render takes: worked out once, on however many nodes it is. By where the render lies in memory.
struct Taken(BTreeMap<usize, Vec<Claim>>);

impl Taken {
    fn by(nodes: &[(&NodeName, &[Arc<Instance>])]) -> Self {
        let instances = nodes.iter().flat_map(|(_, instances)| instances.iter());
        let renders: BTreeMap<usize, &Rendered> =
            instances.map(|instance| (place_of(instance), &*instance.rendered)).collect();
        let renders: Vec<(usize, &Rendered)> = renders.into_iter().collect();
        let claims = spread(&renders, |(_, rendered)| claims(rendered));
        Self(renders.iter().map(|(place, _)| *place).zip(claims).collect())
    }

    /// A stopped service holds its names, and no port.
    fn by_instance(&self, instance: &Instance) -> impl Iterator<Item = &Claim> + use<'_> {
        let claims = self.0.get(&place_of(instance)).into_iter().flatten();
        let is_stopped = instance.ensure.state == RunState::Stopped;
        claims.filter(move |claim| !(is_stopped && claim.thing.is_port()))
    }
}

fn place_of(instance: &Instance) -> usize {
    Arc::as_ptr(&instance.rendered).addr()
}

/// One claim of an instance.
#[derive(Clone, Copy)]
struct Taker<'a> {
    instance: &'a Instance,
    claim: &'a Claim,
}

impl<'a> Taker<'a> {
    fn service(&self) -> &'a ServiceName {
        &self.instance.ensure.service
    }
}

/// Two that take one thing. Both are the same where it is the containers of one Compose service.
struct Collision<'a> {
    one: Taker<'a>,
    other: Taker<'a>,
    /// What both have, as stretches.
    numbers: BTreeSet<(u32, u32)>,
    nodes: BTreeSet<&'a NodeName>,
}

impl<'a> Collision<'a> {
    fn new(node: &'a NodeName, one: Taker<'a>, other: Taker<'a>) -> Self {
        // The service that comes later by name is the one that is pointed at.
        let (one, other) = if one.service() <= other.service() { (one, other) } else { (other, one) };
        let both = (one.claim.first.max(other.claim.first), one.claim.last.min(other.claim.last));
        Self { one, other, numbers: BTreeSet::from([both]), nodes: BTreeSet::from([node]) }
    }

    /// What is said once: both services, and what they collide over. All ports of a protocol count as one thing.
    fn key(&self) -> (&'a ServiceName, &'a ServiceName, (u8, &'a str), bool) {
        (self.one.service(), self.other.service(), self.one.claim.thing.name(), self.is_alone())
    }

    fn extend(&mut self, more: Self) {
        self.numbers.extend(more.numbers);
        self.nodes.extend(more.nodes);
    }

    fn is_alone(&self) -> bool {
        std::ptr::eq(self.one.claim, self.other.claim)
    }

    fn services(&self) -> (&'a ServiceName, &'a ServiceName) {
        (self.one.service(), self.other.service())
    }

    fn is_over_project(&self) -> bool {
        matches!(self.one.claim.thing, Thing::Project(_))
    }
}

/// The collisions among the instances of one node.
fn on_node<'a>(node: &'a NodeName, instances: &'a [Arc<Instance>], taken: &'a Taken) -> Vec<Collision<'a>> {
    let of =
        |instance: &'a Arc<Instance>| taken.by_instance(instance).map(move |claim| Taker { instance, claim });
    let mut takers: Vec<Taker<'a>> = instances.iter().flat_map(of).collect();
    takers.sort_by_key(|taker| (taker.claim.thing.name(), taker.claim.first, taker.service()));
    let alone = takers.iter().filter(|taker| taker.claim.takers > 1);
    let mut found: Vec<Collision<'a>> = alone.map(|taker| Collision::new(node, *taker, *taker)).collect();
    for same in takers.chunk_by(|one, other| one.claim.thing.name() == other.claim.thing.name()) {
        found.extend(overlapping(same).map(|(one, other)| Collision::new(node, one, other)));
    }
    // In one project all names are the same: that is said, and nothing of each name.
    let of_project = |one: &&Collision<'a>| one.is_over_project();
    let projects: BTreeSet<_> = found.iter().filter(of_project).map(Collision::services).collect();
    found.retain(|one| {
        one.is_over_project() || one.one.claim.thing.is_port() || !projects.contains(&one.services())
    });
    found
}

/// Those that take a number which one before them takes. `same` is in the order of the first numbers. Each is said to
/// collide with one other, so that a thousand services at one port are a thousand findings and not a million.
fn overlapping<'a>(same: &[Taker<'a>]) -> impl Iterator<Item = (Taker<'a>, Taker<'a>)> {
    let mut held = Held::default();
    same.iter().filter(|_| same.len() > 1).filter_map(move |taker| held.take(*taker))
}

/// Who holds the greatest number so far, on each address and in each family of addresses.
#[derive(Default)]
struct Held<'a> {
    by_address: BTreeMap<IpAddr, Taker<'a>>,
    by_family: BTreeMap<bool, Taker<'a>>,
}

impl<'a> Held<'a> {
    /// Adds one; gives it back with another that has some of the same numbers on the same address.
    fn take(&mut self, taker: Taker<'a>) -> Option<(Taker<'a>, Taker<'a>)> {
        let addresses = taker.claim.thing.addresses();
        let overlap = |held: &&Taker<'a>| held.claim.last >= taker.claim.first;
        let other = addresses.iter().find_map(|address| self.holders(*address).find(overlap).copied());
        for address in addresses {
            further(&mut self.by_address, address, taker);
            further(&mut self.by_family, address.is_ipv4(), taker);
        }
        other.map(|other| (other, taker))
    }

    /// Those that may be in the way: on all addresses of the family, or on this one.
    fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Taker<'a>> {
        let all: IpAddr = if address.is_ipv4() { ANY[0] } else { ANY[1] };
        let family = self.by_family.get(&address.is_ipv4()).filter(|_| address.is_unspecified());
        family.into_iter().chain(self.by_address.get(&all)).chain(self.by_address.get(&address))
    }
}

fn further<'a, K: Ord>(held: &mut BTreeMap<K, Taker<'a>>, key: K, taker: Taker<'a>) {
    let furthest = held.entry(key).or_insert(taker);
    if taker.claim.last > furthest.claim.last {
        *furthest = taker;
    }
}

/// All addresses, of either family.
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

impl Thing {
    /// Its kind and name: what has two of them is taken twice, if the numbers are the same.
    fn name(&self) -> (u8, &str) {
        match self {
            Self::Project(name) => (0, name),
            Self::Container(name) => (1, name),
            Self::Volume(name) => (2, name),
            Self::Network(name) => (3, name),
            Self::Port(protocol, _) => (4, protocol),
        }
    }

    fn is_port(&self) -> bool {
        matches!(self, Self::Port(..))
    }

    /// Where a port is taken. A port without an address is taken on all of both families, as Docker does it.
    fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Port(_, Some(address)) => vec![*address],
            Self::Port(_, None) => ANY.to_vec(),
            _ => vec![ANY[0]],
        }
    }
}

#[cfg(test)]
mod tests;
