//! The choice itself: who goes first, who stays, and which nodes the others get.
//!
//! First come the services that name their nodes: they are checked, not placed. Then every instance that stands and may
//! stay is kept, before anything new is placed, so that nothing has to give way to a newcomer. Then the rest is chosen,
//! the hardest to place first, each on the best of the nodes that fit. Services that are not `sticky` are chosen last
//! and as if nothing of them stood, so that choosing again changes nothing.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::failover::Losses;
use super::filter::{self, Stand};
use super::score::{self, Facts, Score};
use super::standing::Stands;
use super::{Fault, Held, Id, Misplaced, Placed, Request, Reserved, Site, Sites, standing};
use crate::definition::{Capacity, Slot};
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};

/// Places everything, keeping what stands where it may stay.
pub fn place(sites: &Sites<'_>, requests: &[&Request], holders: &Holders) -> Placed {
    let looked_up = requests.iter().copied().filter(|request| !request.is_fixed() || has_slot(request));
    let stands = standing::of(holders, looked_up);
    Round::new(sites, stands, holders).run(requests)
}

/// Whether what was placed before is where everything stands, as far as nodes are chosen for it: placing it again
/// would change nothing.
pub fn stands(requests: &[&Request], placed: &Placed, holders: &Holders) -> bool {
    let choosing: Vec<&Request> = requests.iter().copied().filter(|request| !request.is_fixed()).collect();
    let stands = standing::of(holders, choosing.iter().copied());
    let mut chosen: BTreeMap<&ServiceName, BTreeSet<&NodeName>> = BTreeMap::new();
    for request in &choosing {
        let nodes = placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
        chosen.entry(&request.id.service).or_default().extend(nodes);
    }
    chosen.iter().all(|(service, nodes)| {
        let stands = stands.get(*service).into_iter().flat_map(BTreeMap::keys);
        stands.eq(nodes.iter().copied())
    })
}

fn has_slot(request: &Request) -> bool {
    request.place.slot.is_some()
}

/// Places what is lost again and leaves everything else as it was placed before.
pub fn again(
    sites: &Sites<'_>,
    requests: &[&Request],
    before: &Placed,
    losses: &Losses,
    holders: &Holders,
) -> Placed {
    let mut stands = losses.stands.clone();
    for request in requests.iter().filter(|request| request.place.failover.is_none()) {
        let held = before.chosen.get(&request.id).into_iter().flatten();
        let bound = held.map(|(node, held)| (node.clone(), bound_to(sites, node, held)));
        stands.entry(request.id.service.clone()).or_default().extend(bound);
    }
    let still = |request: &&Request| {
        let mut request = (*request).clone();
        request.place.sticky = None;
        request.lost = losses.of(&request.id);
        request
    };
    let requests: Vec<Request> = requests.iter().map(still).collect();
    Round::new(sites, stands, holders).run(&requests.iter().collect::<Vec<_>>())
}

fn bound_to(sites: &Sites<'_>, node: &NodeName, held: &Held) -> Vec<String> {
    let slot = held.slot.as_ref().and_then(|slot| sites.get(node)?.node.slots.get(slot));
    slot.map(|slot| slot.cpus.as_ref().to_owned()).into_iter().collect()
}

/// One placing of everything.
struct Round<'a> {
    sites: &'a Sites<'a>,
    stands: Stands,
    images: Images<'a>,
    dearest: u64,
    nothing: Reserved,
    placed: Placed,
    /// Nothing is known of what stands.
    is_unknown: bool,
}

/// What does not count against a node where others are too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mercy {
    None,
    /// That it is silent.
    Silent,
    /// Nor that it is cordoned.
    Cordoned,
}

/// A node that fits, with what the instance would hold.
struct Candidate<'a> {
    site: &'a Site<'a>,
    score: Score,
    stands: bool,
    held: Held,
}

impl<'a> Round<'a> {
    fn new(sites: &'a Sites<'a>, stands: Stands, holders: &'a Holders) -> Self {
        let (nothing, placed) = (Reserved::default(), Placed::default());
        let (images, dearest) = (Images::new(holders), score::dearest(sites));
        Self { sites, stands, images, dearest, nothing, placed, is_unknown: holders.is_unknown() }
    }

    fn run(mut self, requests: &[&Request]) -> Placed {
        let (mut fixed, mut choosing): (Vec<&Request>, Vec<&Request>) =
            requests.iter().partition(|request| request.is_fixed());
        fixed.sort_by_key(|request| (slot_order(request), &request.id));
        let largest = Largest::of(self.sites);
        choosing.sort_by_cached_key(|request| largest.order(request));
        for request in fixed {
            self.check_named(request);
        }
        for request in choosing.iter().filter(|request| request.is_sticky()) {
            self.keep(request);
        }
        let (sticky, moving): (Vec<&Request>, Vec<&Request>) =
            choosing.into_iter().partition(|request| request.is_sticky());
        for request in sticky.into_iter().chain(moving) {
            self.fill(request);
        }
        self.placed.misplaced.sort_by(|one, other| one.id.cmp(&other.id));
        self.placed
    }

    fn check_named(&mut self, request: &Request) {
        self.placed.chosen.entry(request.id.clone()).or_default();
        for node in request.place.named() {
            let Some(site) = self.sites.get(node) else { continue };
            let stand = Stand { bound: self.bound(request, node), is_patient: true, may_stand: false };
            match filter::fit(request, site, self.reserved(node), stand) {
                Ok(held) => self.reserve(request, node, held),
                Err(misfits) => {
                    let exclusions = misfits.iter().map(|misfit| misfit.told(node)).collect();
                    self.fault(request, Fault::Named { node: node.clone(), exclusions });
                }
            }
        }
    }

    /// What stands stays, as far as it still fits and is asked for.
    fn keep(&mut self, request: &Request) {
        let stands = self.stands.get(&request.id.service).into_iter().flat_map(BTreeMap::keys);
        let pool: Vec<&'a Site<'a>> = stands.filter_map(|node| self.sites.get(node)).collect();
        self.pick(request, &pool, Mercy::None);
    }

    fn fill(&mut self, request: &Request) {
        self.placed.chosen.entry(request.id.clone()).or_default();
        let all: Vec<&'a Site<'a>> = self.sites.values().collect();
        self.pick(request, &all, Mercy::None);
        if self.missing(request) == 0 {
            return;
        }
        let stays = self.pick(request, &self.lost(request), Mercy::Silent);
        if !stays.is_empty() {
            self.fault(request, Fault::Stays { nodes: stays.into_iter().collect() });
        }
        if request.lost.is_empty() {
            // Silent nodes are better than none: a commit must not fail because the daemon has just started.
            self.pick(request, &all, Mercy::Silent);
            // A cordon keeps what is there; where nothing is known of that, it must not make a mistake of it.
            if self.is_unknown {
                self.pick(request, &all, Mercy::Cordoned);
            }
        }
        // What no other node takes stays where it is, also where everything else goes.
        self.pick(request, &self.drained(request), Mercy::Cordoned);
        let found = self.placed.chosen[&request.id].len();
        let wanted = request.count().unwrap_or(1);
        if found < wanted {
            self.fault(request, Fault::TooFew { found, wanted });
        }
    }

    /// How many instances are still to be placed; as many as can be for a service that is on all nodes.
    fn missing(&self, request: &Request) -> usize {
        let found = self.placed.chosen.get(&request.id).map_or(0, BTreeMap::len);
        request.count().map_or(usize::MAX, |count| count.saturating_sub(found))
    }

    /// The nodes that are to be emptied, and where it stands.
    fn drained(&self, request: &Request) -> Vec<&'a Site<'a>> {
        let stands = self.stands.get(&request.id.service).into_iter().flat_map(BTreeMap::keys);
        stands.filter_map(|node| self.sites.get(node)).filter(|site| site.drained).collect()
    }

    fn lost(&self, request: &Request) -> Vec<&'a Site<'a>> {
        let stands = self.stands.get(&request.id.service);
        let lost = request.lost.iter().filter(|node| stands.is_some_and(|stands| stands.contains_key(*node)));
        lost.filter_map(|node| self.sites.get(node)).collect()
    }

    /// Chooses the best of a pool, as many as are missing, and says which.
    fn pick(&mut self, request: &Request, pool: &[&'a Site<'a>], mercy: Mercy) -> Vec<NodeName> {
        let missing = self.missing(request);
        let mut candidates = match missing {
            0 => Vec::new(),
            _ => pool.iter().filter_map(|site| self.candidate(request, site, mercy)).collect(),
        };
        let mut picked = Vec::new();
        while picked.len() < missing && !candidates.is_empty() {
            // Where there is room for all, there is nothing to compare.
            let is_room_for_all = candidates.len() <= missing - picked.len();
            let best = if is_room_for_all { 0 } else { self.best(request, &candidates) };
            let Candidate { site, held, .. } = candidates.swap_remove(best);
            picked.push(site.node.node.clone());
            self.reserve(request, &site.node.node, held);
        }
        picked
    }

    /// The best candidate; of equals, one where it stands, then the first by name.
    fn best(&self, request: &Request, candidates: &[Candidate<'a>]) -> usize {
        let label = request.place.spread.as_deref();
        let value = |site: &Site<'a>| label.and_then(|label| site.node.label(label));
        let chosen = self.placed.chosen.get(&request.id).into_iter().flat_map(BTreeMap::keys);
        let mut crowds: BTreeMap<Option<&str>, i64> = BTreeMap::new();
        for site in chosen.filter_map(|node| self.sites.get(node)).filter(|_| label.is_some()) {
            *crowds.entry(value(site)).or_default() += 1;
        }
        let rank = |candidate: &Candidate<'a>| {
            let spread = -crowds.get(&value(candidate.site)).copied().unwrap_or_default();
            let score = Score { spread, ..candidate.score };
            (score, candidate.stands, Reverse(&candidate.site.node.node))
        };
        (0..candidates.len()).max_by_key(|index| rank(&candidates[*index])).unwrap_or_default()
    }

    fn candidate(&mut self, request: &Request, site: &'a Site<'a>, mercy: Mercy) -> Option<Candidate<'a>> {
        let node = &site.node.node;
        let is_chosen = self.placed.chosen.get(&request.id).is_some_and(|chosen| chosen.contains_key(node));
        if is_chosen || !filter::may_fit(request, site) {
            return None;
        }
        let stand = Stand {
            bound: self.bound(request, node),
            is_patient: mercy >= Mercy::Silent,
            may_stand: mercy == Mercy::Cordoned,
        };
        let reserved = self.reserved(node);
        let held = filter::fit(request, site, reserved, stand).ok()?;
        let (stands, has_image) = (stand.bound.is_some(), self.images.has(request, node));
        let facts = Facts { reserved, held: &held, stands, has_image, dearest: self.dearest };
        Some(Candidate { site, score: score::score(request, site, &facts), stands, held })
    }

    /// The processors that an instance which stands there is bound to.
    fn bound(&self, request: &Request, node: &NodeName) -> Option<&[String]> {
        self.stands.get(&request.id.service)?.get(node).map(Vec::as_slice)
    }

    fn reserved(&self, node: &NodeName) -> &Reserved {
        self.placed.reserved.get(node).unwrap_or(&self.nothing)
    }

    fn reserve(&mut self, request: &Request, node: &NodeName, held: Held) {
        self.placed.reserved.entry(node.clone()).or_default().add(&request.id, &held);
        self.placed.chosen.entry(request.id.clone()).or_default().insert(node.clone(), held);
    }

    fn fault(&mut self, request: &Request, fault: Fault) {
        self.placed.misplaced.push(Misplaced { id: request.id.clone(), fault });
    }
}

/// The images that nodes run, found where they are asked for.
pub(super) struct Images<'a> {
    holders: &'a Holders,
    known: RefCell<BTreeMap<NodeName, BTreeSet<String>>>,
}

impl<'a> Images<'a> {
    pub(super) fn new(holders: &'a Holders) -> Self {
        Self { holders, known: RefCell::default() }
    }

    /// Whether the node runs one of the images of a request. For one that moves by its score it does not count: it would
    /// be drawn to where it was put before.
    pub(super) fn has(&self, request: &Request, node: &NodeName) -> bool {
        let images = &request.demands.on(node).images;
        if !request.is_sticky() || images.is_empty() {
            return false;
        }
        let mut known = self.known.borrow_mut();
        let there = known.entry(node.clone()).or_insert_with(|| standing::images(self.holders, node));
        images.iter().any(|image| there.contains(&**image))
    }
}

/// The largest amounts that any node has: by them, the sizes of requests are compared.
struct Largest {
    cpu: u64,
    memory: u64,
    disk: u64,
}

/// Services for all nodes first, then those that take what few nodes have, then the larger; by name in the end.
type Order<'r> = (bool, u8, Reverse<u32>, Reverse<u64>, &'r Id);

/// Who names a slot goes before who takes any, and both before who needs none.
fn slot_order(request: &Request) -> u8 {
    match request.place.slot.as_deref() {
        Some(name) if name != Slot::ANY => 0,
        Some(_) => 1,
        None => 2,
    }
}

impl Largest {
    fn of(sites: &Sites<'_>) -> Self {
        let largest = |amount: fn(&Capacity) -> Option<u64>| {
            sites.values().filter_map(|site| amount(&site.node.capacity)).max().unwrap_or(u64::MAX).max(1)
        };
        Self {
            cpu: largest(|capacity| capacity.cpu.map(|cpu| cpu.0)),
            memory: largest(|capacity| capacity.memory.map(|memory| memory.0)),
            disk: largest(|capacity| capacity.disk.map(|disk| disk.0)),
        }
    }

    fn order<'r>(&self, request: &'r Request) -> Order<'r> {
        let demand = &request.demands.common;
        let gpus = demand.gpus.as_ref().map_or(0, |gpus| gpus.count.unwrap_or(u32::MAX));
        let share = |amount: u64, largest: u64| {
            u64::try_from(u128::from(amount) * 1_000_000 / u128::from(largest)).unwrap_or(u64::MAX)
        };
        let size = share(demand.cpu.0, self.cpu)
            .max(share(demand.memory.0, self.memory))
            .max(share(demand.disk.0, self.disk));
        (request.count().is_some(), slot_order(request), Reverse(gpus), Reverse(size), &request.id)
    }
}
