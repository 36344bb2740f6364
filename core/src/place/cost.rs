//! What services cost: their shares of the prices of the nodes that they stand on.
//!
//! A node has one price, whoever uses it. The *least* that an instance costs is its share by what it reserves: of cores,
//! memory, disk or graphics processors, that of which it takes the greatest part. Where the instances of a node reserve
//! more than the whole of it in that sense, their shares are scaled down to the whole. The *most* is that and an equal
//! part of the rest, which nobody reserved. So the most of all instances is what the nodes that hold any cost, to the
//! cent, and a node of unknown size is shared equally.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Held, Id, Placed, Sites};
use crate::definition::{Capacity, Money, Node};
use crate::name::NodeName;

/// From the least to the most that something costs in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// By what is reserved.
    #[serde(serialize_with = "amount")]
    pub low: Money,
    /// With a part of what nobody reserved.
    #[serde(serialize_with = "amount")]
    pub high: Money,
}

/// As people write it: `12.50`.
pub(crate) fn amount<S: serde::Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(money)
}

impl Range {
    /// Both ends together. A sum ends at the greatest number.
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Money, other: Money| Money(one.0.saturating_add(other.0));
        Self { low: sum(self.low, other.low), high: sum(self.high, other.high) }
    }
}

impl std::iter::Sum for Range {
    fn sum<I: Iterator<Item = Self>>(ranges: I) -> Self {
        ranges.fold(Self::default(), Self::plus)
    }
}

/// What each instance costs, by deployment and node. On a node without a price it costs nothing that is known, and is not
/// in it.
pub type Costs = BTreeMap<Id, BTreeMap<NodeName, Range>>;

/// What each instance costs.
pub fn costs(sites: &Sites<'_>, placed: &Placed) -> Costs {
    let mut on_node: BTreeMap<&NodeName, Vec<(&Id, &Held)>> = BTreeMap::new();
    for (id, nodes) in &placed.chosen {
        for (node, held) in nodes {
            on_node.entry(node).or_default().push((id, held));
        }
    }
    let mut costs = Costs::new();
    for (name, instances) in on_node {
        let Some((node, price)) = sites.get(name).and_then(|site| Some((site.node, site.node.price?))) else {
            continue;
        };
        for (id, range) in shared(node, price, &instances) {
            costs.entry(id.clone()).or_default().insert(name.clone(), range);
        }
    }
    costs
}

/// The parts of a whole. Fine enough that the price of any node comes out to the cent.
const WHOLE: u128 = 1_000_000_000_000;

/// What the instances of one node pay of its price.
fn shared<'a>(node: &Node, price: Money, instances: &[(&'a Id, &Held)]) -> Vec<(&'a Id, Range)> {
    let parts: Vec<u128> = instances.iter().map(|(_, held)| part(&node.capacity, held)).collect();
    let all = parts.iter().fold(0_u128, |sum, part| sum.saturating_add(*part)).max(WHOLE);
    let share = |part: &u128| u64::try_from(u128::from(price.0) * part / all).unwrap_or(price.0);
    let lows: Vec<u64> = parts.iter().map(share).collect();
    let rest = lows.iter().fold(price.0, |rest, low| rest.saturating_sub(*low));
    let count = instances.len() as u64;
    let range = |(index, low): (u64, u64)| {
        // The cents that cannot be divided go to the first.
        let more = rest / count + u64::from(index < rest % count);
        Range { low: Money(low), high: Money(low.saturating_add(more)) }
    };
    let ranges = (0..).zip(lows).map(range);
    instances.iter().map(|(id, _)| *id).zip(ranges).collect()
}

/// The greatest part of anything that an instance takes of its node.
fn part(capacity: &Capacity, held: &Held) -> u128 {
    let of = |held: u64, all: u64| {
        let part = (all > 0).then(|| u128::from(held) * WHOLE / u128::from(all.max(1)));
        part.unwrap_or_default().min(WHOLE)
    };
    let gpus = capacity.gpus.iter().fold(0_u64, |sum, gpu| sum.saturating_add(gpu.count.unwrap_or(1).into()));
    let held_gpus = held.gpus.values().fold(0_u64, |sum, count| sum.saturating_add((*count).into()));
    let parts = [
        of(held.cpu.0, capacity.cpu.unwrap_or_default().0),
        of(held.memory.0, capacity.memory.unwrap_or_default().0),
        of(held.disk.0, capacity.disk.unwrap_or_default().0),
        of(held_gpus, gpus),
    ];
    parts.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::{Bytes, Cpu};

    fn id(service: &str) -> Id {
        Id { service: service.parse().expect("a name"), environment: None }
    }

    fn held(cpu: u64, memory: u64, gpus: u32) -> Held {
        let gpus = (gpus > 0).then_some((0, gpus)).into_iter().collect();
        Held { cpu: Cpu(cpu), memory: Bytes(memory), gpus, ..Held::default() }
    }

    fn ranges(node: &str, instances: &[Held]) -> Vec<String> {
        let node: Node = serde_yaml::from_str(node).expect("a node");
        let ids: Vec<Id> = (0..instances.len()).map(|number| id(&format!("s{number}"))).collect();
        let instances: Vec<(&Id, &Held)> = ids.iter().zip(instances).collect();
        let ranges = shared(&node, node.price.expect("a price"), &instances);
        ranges.into_iter().map(|(_, range)| format!("{}–{}", range.low, range.high)).collect()
    }

    #[test]
    fn an_instance_pays_for_what_it_takes_most_of() {
        let check = |node: &str, instances: &[Held], expected: &[&str]| {
            assert_eq!(ranges(node, instances), expected, "{node}");
        };
        let node = "{node: a, price: 100, capacity: {cpu: 4, memory: 1000, gpus: [{model: l4, count: 4}]}}";
        // Alone: half of the cores; the most is the whole node.
        check(node, &[held(2000, 100, 0)], &["50.00–100.00"]);
        check(node, &[held(400, 500, 0)], &["50.00–100.00"]);
        check(node, &[held(400, 0, 3)], &["75.00–100.00"]);
        // Beside another: the rest is shared equally, also by one that reserves nothing.
        check(node, &[held(2000, 0, 0), held(1000, 0, 0)], &["50.00–62.50", "25.00–37.50"]);
        check(node, &[held(2000, 0, 0), held(0, 0, 0)], &["50.00–75.00", "0.00–25.00"]);
        // One takes the cores, the other the memory: together more than the whole.
        check(node, &[held(4000, 0, 0), held(0, 1000, 0)], &["50.00–50.00", "50.00–50.00"]);
    }

    #[test]
    fn a_node_of_unknown_size_is_shared_equally_to_the_cent() {
        let parts = ranges("{node: a, price: 10}", &[held(9, 9, 0), held(0, 0, 0), held(1, 1, 0)]);
        assert_eq!(parts, ["0.00–3.34", "0.00–3.33", "0.00–3.33"]);
    }

    #[test]
    fn amounts_beyond_all_measure_do_not_overflow() {
        let node = "{node: a, price: 100000000, capacity: {cpu: 0.001, memory: 1}}";
        let greatest = held(u64::MAX, u64::MAX, u32::MAX);
        assert_eq!(ranges(node, &[greatest.clone(), greatest]), ["50000000.00–50000000.00"; 2]);
    }

    proptest! {
        #[test]
        fn what_all_pay_is_the_price(
            price in 0_u64..10_000_000_000,
            cpu in 1_u64..1_000_000,
            taken in prop::collection::vec((0_u64..1_000_000, 0_u64..1_000_000), 1..40),
        ) {
            let node = format!("{{node: a, capacity: {{cpu: {cpu}m, memory: 1000000}}}}");
            let node: Node = serde_yaml::from_str(&node).expect("a node");
            let one = id("one");
            let all: Vec<Held> = taken.iter().map(|(cpu, memory)| held(*cpu, *memory, 0)).collect();
            let instances: Vec<(&Id, &Held)> = all.iter().map(|held| (&one, held)).collect();
            let sum: Range = shared(&node, Money(price), &instances).into_iter().map(|(_, range)| range).sum();
            prop_assert_eq!(sum.high.0, price);
            prop_assert!(sum.low.0 <= price);
        }
    }
}
