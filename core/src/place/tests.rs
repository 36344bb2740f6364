//! What must be true of every placement, on random fleets, by a reading of the rules that shares no code with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Code, Demand, Demands, Fault, GpuDemand, Id, Placed, Request, Site, Sites, Verdict};
use super::{choose, explain};
use crate::definition::{Bytes, Cpu, Node, TaintEffect};
use crate::holders::Holders;
use crate::name::{NodeName, ServiceName};
use crate::plan::Model;

/// A node as it is written, with what the checks need to know of it.
fn node_strategy() -> impl Strategy<Value = String> {
    let zone = prop::option::of(prop::sample::select(vec!["x", "y"]));
    let taint =
        prop::option::weighted(0.2, prop::sample::select(vec!["k=v:NoSchedule", "k=v:PreferNoSchedule"]));
    let memory = prop::option::weighted(0.7, 1_u32..6);
    let slots =
        prop::sample::select(vec!["{}", "{a: {cpus: '0'}}", "{a: {cpus: '0'}, b: {cpus: 1-2, memory: 2g}}"]);
    let gpus = prop::option::weighted(0.3, 1_u32..3);
    (zone, taint, memory, slots, gpus, prop::option::of(1_u32..50), prop::bool::weighted(0.1)).prop_map(
        |(zone, taint, memory, slots, gpus, price, cordon)| {
            let labels = zone.map(|zone| format!("zone: {zone}")).unwrap_or_default();
            let taints = taint.map(|taint| format!("'{taint}'")).unwrap_or_default();
            let memory = memory.map(|memory| format!("memory: {memory}g, cpu: 4,")).unwrap_or_default();
            let gpus = gpus.map(|count| format!("{{model: l4, memory: 24g, count: {count}}}")).unwrap_or_default();
            let price = price.map(|price| format!("price: {price}")).unwrap_or_default();
            format!(
                "labels: {{{labels}}}\ntaints: [{taints}]\ncapacity: {{{memory} gpus: [{gpus}]}}\nslots: {slots}\ncordon: {cordon}\n{price}\n"
            )
        },
    )
}

/// `place` as it is written, and what an instance takes.
fn request_strategy() -> impl Strategy<Value = (String, u64, u64, u32)> {
    let places = vec![
        "{select: {node: '*'}, count: 1}",
        "{select: {zone: '*'}, count: 2, spread: zone}",
        "{select: {zone: x}, count: 1, tolerate: [k]}",
        "{all: true}",
        "{all: true, tolerate: [k=v], forbid: [{zone: y}]}",
        "{select: {node: '*'}, count: 3, prefer: [{select: {zone: y}}]}",
        "{select: {node: '*'}, count: 1, sticky: false}",
        "{select: {node: '*'}, count: 1, slot: any}",
        "{select: {zone: [x, y]}, slot: a}",
        "{nodes: [n0]}",
        "{nodes: [n1, n2], tolerate: [k]}",
    ];
    let place = prop::sample::select(places).prop_map(str::to_owned);
    (place, 0_u64..4, 0_u64..3, prop::sample::select(vec![0_u32, 0, 0, 1]))
}

#[derive(Debug, Clone)]
struct Fleet {
    nodes: BTreeMap<NodeName, Node>,
    requests: Vec<Request>,
}

fn fleet() -> impl Strategy<Value = Fleet> {
    let nodes = prop::collection::vec(node_strategy(), 1..7);
    let requests = prop::collection::vec(request_strategy(), 0..9);
    (nodes, requests).prop_map(|(nodes, requests)| Fleet {
        nodes: nodes.iter().enumerate().map(|(number, text)| node(number, text)).collect(),
        requests: requests.iter().enumerate().map(|(number, request)| asked(number, request)).collect(),
    })
}

fn node(number: usize, text: &str) -> (NodeName, Node) {
    let node: Node = serde_yaml::from_str(&format!("node: n{number}\n{text}")).expect("a node");
    (node.node.clone(), node)
}

fn asked(number: usize, (place, memory, cpu, gpus): &(String, u64, u64, u32)) -> Request {
    let service: ServiceName = format!("s{number}").parse().expect("a name");
    let gpus = (*gpus > 0).then_some(GpuDemand { count: Some(*gpus), model: None, memory: None });
    let demand = Demand { memory: Bytes(memory << 30), cpu: Cpu(cpu * 1000), gpus, ..Demand::default() };
    Request {
        id: Id { service, environment: None },
        place: serde_yaml::from_str(place).expect("a placement"),
        demands: Demands { common: Arc::new(demand), at: BTreeMap::new() },
        lost: BTreeSet::new(),
    }
}

impl Fleet {
    fn sites(&self) -> Sites<'_> {
        let site = |node| Site {
            node,
            environment: None,
            offline: false,
            cordoned: false,
            drained: false,
            others: 0,
        };
        self.nodes.iter().map(|(name, node)| (name, site(node))).collect()
    }

    fn place(&self, holders: &Holders) -> Placed {
        choose::place(&self.sites(), &self.requests.iter().collect::<Vec<_>>(), holders)
    }

    /// What would stand if all that was placed did.
    fn holders(&self, placed: &Placed) -> Holders {
        let of = |(id, nodes): (&Id, &BTreeMap<NodeName, super::Held>)| {
            let held = |(name, held): (&NodeName, &super::Held)| {
                let slot = held.slot.as_ref().and_then(|slot| self.nodes[name].slots.get(slot));
                let cpuset = slot.map(|slot| format!("\"cpuset\":\"{}\"", slot.cpus)).unwrap_or_default();
                let model = format!("{{\"services\":{{\"app\":{{{cpuset}}}}}}}");
                (name.clone(), id.service.clone(), Model::from_canonical(model))
            };
            nodes.iter().map(held).collect::<Vec<_>>()
        };
        Holders::of_instances(placed.chosen.iter().flat_map(of))
    }

    /// Whether a node suits a request by what is written alone.
    fn suits(&self, request: &Request, node: &Node) -> bool {
        let place = &request.place;
        let zone = node.label("zone");
        let is_selected = place.select.iter().all(|selector| {
            selector.0.iter().all(|(label, pattern)| node.label(label).is_some_and(|is| pattern.fits(is)))
        });
        let is_forbidden = place.forbid.iter().any(|_| zone == Some("y"));
        let keeps_away = node.taints.iter().any(|taint| taint.effect == TaintEffect::NoSchedule);
        let is_named = place.nodes.as_ref().is_none_or(|nodes| nodes.contains(&node.node));
        is_selected && !is_forbidden && is_named && (!keeps_away || !place.tolerate.is_empty())
    }

    /// Whether a node suits a request, is open to it, and has all that it takes while nothing else runs there.
    fn has_room(&self, request: &Request, node: &Node) -> bool {
        let (demand, capacity) = (&request.demands.common, &node.capacity);
        let gpus: u64 = capacity.gpus.iter().map(|gpu| u64::from(gpu.count.unwrap_or(1))).sum();
        let taken = u64::from(demand.gpus.as_ref().and_then(|gpus| gpus.count).unwrap_or_default());
        self.suits(request, node)
            && !node.cordon
            && capacity.memory.is_none_or(|has| demand.memory <= has)
            && capacity.cpu.is_none_or(|has| demand.cpu <= has)
            && taken <= gpus
    }

    /// All that is taken of a node, added up from what was asked for.
    fn taken(&self, placed: &Placed, name: &NodeName) -> (u64, u64, u64, Vec<Arc<str>>) {
        let mut taken = (0, 0, 0, Vec::new());
        for request in &self.requests {
            let Some(held) = placed.chosen.get(&request.id).and_then(|nodes| nodes.get(name)) else {
                continue;
            };
            let demand = &request.demands.common;
            let slot = held.slot.as_ref().map(|slot| &self.nodes[name].slots[slot]);
            let cpus = slot.and_then(|slot| slot.processors()).map_or(0, |cpus| cpus.len() as u64 * 1000);
            taken.0 += demand.memory.0.max(slot.and_then(|slot| slot.memory).unwrap_or_default().0);
            taken.1 += demand.cpu.0.max(cpus);
            taken.2 += u64::from(demand.gpus.as_ref().and_then(|gpus| gpus.count).unwrap_or_default());
            taken.3.extend(held.slot.clone());
        }
        taken
    }

    fn check(&self, placed: &Placed) {
        for request in &self.requests {
            let chosen = &placed.chosen[&request.id];
            for name in chosen.keys() {
                assert!(self.suits(request, &self.nodes[name]), "{} on {name}", request.id.service);
                assert_eq!(chosen[name].slot.is_some(), request.place.slot.is_some());
            }
            let wanted = request.count().filter(|_| !request.is_fixed());
            assert!(wanted.is_none_or(|wanted| chosen.len() <= wanted));
            let has_fault = placed.misplaced.iter().any(|misplaced| misplaced.id == request.id);
            assert!(has_fault || wanted.is_none_or(|wanted| chosen.len() == wanted));
        }
        for (name, node) in &self.nodes {
            let (memory, cpu, gpus, slots) = self.taken(placed, name);
            assert!(node.capacity.memory.is_none_or(|has| memory <= has.0), "{name}: {memory} bytes");
            assert!(node.capacity.cpu.is_none_or(|has| cpu <= has.0), "{name}: {cpu} thousandths");
            let there: u64 = node.capacity.gpus.iter().map(|gpu| u64::from(gpu.count.unwrap_or(1))).sum();
            let counts = node.capacity != crate::definition::Capacity::default();
            assert!(!counts || gpus <= there, "{name}: {gpus} GPUs");
            assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{name}: {slots:?}");
        }
    }
}

/// The fleet without the requests that cannot be met, and where the others are placed.
fn contented(mut fleet: Fleet) -> (Fleet, Placed) {
    loop {
        let placed = fleet.place(&Holders::default());
        if placed.misplaced.is_empty() {
            return (fleet, placed);
        }
        let is_met = |request: &Request| placed.misplaced.iter().all(|misplaced| misplaced.id != request.id);
        fleet.requests.retain(is_met);
    }
}

/// The nodes of each service that may not move by itself.
fn still<'a>(fleet: &'a Fleet, placed: &'a Placed) -> BTreeSet<(&'a Id, &'a NodeName)> {
    let requests = fleet.requests.iter().filter(|request| request.is_sticky() && !request.is_fixed());
    requests
        .flat_map(|request| placed.chosen[&request.id].keys().map(move |node| (&request.id, node)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_placed_fits_and_no_node_is_over_committed(fleet in fleet()) {
        fleet.check(&fleet.place(&Holders::default()));
    }

    #[test]
    fn the_order_of_requests_makes_no_difference(fleet in fleet(), seed in any::<u64>()) {
        let mut other = fleet.clone();
        let length = other.requests.len().max(1) as u64;
        let shift = usize::try_from(seed % length).expect("it is small");
        other.requests.rotate_left(shift);
        other.requests.reverse();
        prop_assert_eq!(fleet.place(&Holders::default()), other.place(&Holders::default()));
    }

    #[test]
    fn placing_again_changes_nothing(fleet in fleet()) {
        let (fleet, placed) = contented(fleet);
        prop_assert_eq!(&fleet.place(&fleet.holders(&placed)), &placed);
    }

    #[test]
    fn a_node_that_comes_moves_nothing(fleet in fleet(), text in node_strategy()) {
        let (fleet, placed) = contented(fleet);
        let mut larger = fleet.clone();
        larger.nodes.extend([node(9, &text)]);
        let after = larger.place(&fleet.holders(&placed));
        larger.check(&after);
        prop_assert!(still(&fleet, &after).is_superset(&still(&fleet, &placed)));
        let new: BTreeSet<_> = still(&fleet, &after).difference(&still(&fleet, &placed)).copied().collect();
        prop_assert!(new.iter().all(|(_, node)| node.as_str() == "n9"), "{new:?}");
    }

    #[test]
    fn a_node_that_goes_moves_only_what_it_held(fleet in fleet(), gone in 0_usize..6) {
        let (fleet, placed) = contented(fleet);
        let gone = gone % fleet.nodes.len();
        let mut smaller = fleet.clone();
        smaller.nodes.retain(|name, _| name.as_str() != format!("n{gone}"));
        let after = smaller.place(&fleet.holders(&placed));
        smaller.check(&after);
        let stood = still(&fleet, &placed);
        let left: BTreeSet<_> = stood.iter().filter(|(_, node)| smaller.nodes.contains_key(*node)).copied().collect();
        prop_assert!(still(&smaller, &after).is_superset(&left), "{left:?} {after:?}");
    }

    #[test]
    fn what_fits_alone_is_placed(mut fleet in fleet()) {
        fleet.nodes.values_mut().for_each(|node| node.slots.clear());
        for request in fleet.requests.iter().filter(|request| request.place.slot.is_none()) {
            let alone = Fleet { nodes: fleet.nodes.clone(), requests: vec![request.clone()] };
            let fitting = alone.nodes.values().filter(|node| alone.has_room(request, node)).count();
            let named = request.is_fixed().then(|| request.place.named().len());
            let wanted = named.unwrap_or_else(|| request.count().unwrap_or(1));
            let placed = alone.place(&Holders::default());
            prop_assert!(fitting < wanted || placed.misplaced.is_empty(), "{request:?} {placed:?}");
            let chosen = &placed.chosen[&request.id];
            prop_assert!(fitting < wanted || chosen.len() >= wanted, "{request:?} {placed:?}");
        }
    }

    #[test]
    fn nothing_that_fits_is_said_to_fit_nowhere(fleet in fleet()) {
        let placed = fleet.place(&Holders::default());
        let sites = fleet.sites();
        for misplaced in &placed.misplaced {
            let request = fleet.requests.iter().find(|request| request.id == misplaced.id).expect("it was asked");
            let verdicts = explain::verdicts(&sites, request, &placed, &Holders::default());
            let fits = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Fits(_)));
            prop_assert!(!fits || matches!(misplaced.fault, Fault::Named { .. }), "{misplaced:?} {verdicts:?}");
            for verdict in verdicts.values() {
                if let Verdict::Excluded(reasons) = verdict {
                    prop_assert!(!reasons.is_empty());
                    prop_assert!(reasons.iter().all(|one| one.code != Code::Offline));
                }
            }
        }
    }

    #[test]
    fn the_sums_of_enormous_amounts_do_not_overflow(count in 1_usize..40) {
        let nodes = BTreeMap::from([node(0, "capacity: {disk: 1t}")]);
        let huge = |number| {
            let mut request = asked(number, &("{nodes: [n0]}".into(), 0, 0, 0));
            request.demands.common =
                Arc::new(Demand { memory: Bytes(u64::MAX), cpu: Cpu(u64::MAX), ..Demand::default() });
            request
        };
        let fleet = Fleet { nodes, requests: (0..count).map(huge).collect() };
        let placed = fleet.place(&Holders::default());
        prop_assert!(placed.misplaced.is_empty());
        prop_assert_eq!(placed.reserved.values().next().map(|reserved| reserved.memory), Some(Bytes(u64::MAX)));
    }
}
