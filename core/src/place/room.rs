//! How full nodes and environments are: what is reserved, of how much, and what is left.
//!
//! What a node does not state of its capacity has no end, so nothing of it is ever full. It is kept apart in every sum:
//! three nodes of 8 cores and one of unknown size are 24 cores, and what the fourth holds is told beside them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Placed, Reserved, Sites};
use crate::definition::Capacity;
use crate::name::{EnvironmentName, NodeName};

/// How full something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Room {
    /// How many instances are there.
    pub instances: usize,
    /// Cores, in thousandths.
    pub cpu_thousandths: Fill,
    /// Memory.
    pub memory_bytes: Fill,
    /// Disk.
    pub disk_bytes: Fill,
    /// Graphics processors.
    pub gpus: Fill,
    /// Slots.
    pub slots: Fill,
}

/// How much of one thing is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// Reserved where the capacity is stated.
    pub reserved: u64,
    /// All that there is, where it is stated; 0 where nothing is stated.
    pub capacity: u64,
    /// What is left of it.
    pub free: u64,
    /// Reserved where no capacity is stated.
    #[serde(skip_serializing_if = "is_zero")]
    pub unmeasured: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Fill {
    /// What is reserved, of a capacity that may not be stated.
    fn of(reserved: u64, capacity: Option<u64>) -> Self {
        match capacity {
            Some(capacity) => {
                Self { reserved, capacity, free: capacity.saturating_sub(reserved), unmeasured: 0 }
            }
            None => Self { unmeasured: reserved, ..Self::default() },
        }
    }

    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        self.capacity == 0 && self.reserved == 0 && self.unmeasured == 0
    }

    /// Both together. What is left is left on each, so it is the sum of what is left.
    fn plus(self, other: Self) -> Self {
        Self {
            reserved: self.reserved.saturating_add(other.reserved),
            capacity: self.capacity.saturating_add(other.capacity),
            free: self.free.saturating_add(other.free),
            unmeasured: self.unmeasured.saturating_add(other.unmeasured),
        }
    }
}

impl Room {
    /// How full one node is.
    fn of(capacity: &Capacity, slots: usize, reserved: &Reserved) -> Self {
        let sum = |counts: &mut dyn Iterator<Item = u32>| {
            counts.fold(0_u64, |sum, count| sum.saturating_add(count.into()))
        };
        let gpus = sum(&mut capacity.gpus.iter().map(|gpu| gpu.count.unwrap_or(1)));
        // A node that says anything of its capacity and nothing of these has none.
        let has_gpus = (*capacity != Capacity::default()).then_some(gpus);
        Self {
            instances: reserved.instances,
            cpu_thousandths: Fill::of(reserved.cpu.0, capacity.cpu.map(|cpu| cpu.0)),
            memory_bytes: Fill::of(reserved.memory.0, capacity.memory.map(|memory| memory.0)),
            disk_bytes: Fill::of(reserved.disk.0, capacity.disk.map(|disk| disk.0)),
            gpus: Fill::of(sum(&mut reserved.gpus.values().copied()), has_gpus),
            slots: Fill::of(reserved.slots.len() as u64, Some(slots as u64)),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            instances: self.instances.saturating_add(other.instances),
            cpu_thousandths: self.cpu_thousandths.plus(other.cpu_thousandths),
            memory_bytes: self.memory_bytes.plus(other.memory_bytes),
            disk_bytes: self.disk_bytes.plus(other.disk_bytes),
            gpus: self.gpus.plus(other.gpus),
            slots: self.slots.plus(other.slots),
        }
    }
}

/// How full each node is.
pub fn of_nodes(sites: &Sites<'_>, placed: &Placed) -> BTreeMap<NodeName, Room> {
    let nothing = Reserved::default();
    let of = |name: &NodeName, node: &crate::definition::Node| {
        let reserved = placed.reserved.get(name).unwrap_or(&nothing);
        Room::of(&node.capacity, node.slots.len(), reserved)
    };
    sites.iter().map(|(name, site)| ((*name).clone(), of(name, site.node))).collect()
}

/// How full the nodes of each environment are together; under none, those that are in no environment.
pub fn of_environments(
    sites: &Sites<'_>,
    nodes: &BTreeMap<NodeName, Room>,
) -> BTreeMap<Option<EnvironmentName>, Room> {
    let mut rooms: BTreeMap<Option<EnvironmentName>, Room> = BTreeMap::new();
    for (name, room) in nodes {
        let environment = sites.get(name).and_then(|site| site.environment).cloned();
        let sum = rooms.entry(environment).or_default();
        *sum = sum.plus(room);
    }
    rooms
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Site;
    use super::*;
    use crate::definition::{Bytes, Cpu, Node};

    fn node(yaml: &str) -> Node {
        serde_yaml::from_str(yaml).expect("a node")
    }

    fn fill(reserved: u64, capacity: u64, free: u64, unmeasured: u64) -> Fill {
        Fill { reserved, capacity, free, unmeasured }
    }

    fn reserved() -> Reserved {
        let gpus = BTreeMap::from([(0, 1)]);
        Reserved { cpu: Cpu(1500), memory: Bytes(700), gpus, instances: 2, ..Reserved::default() }
    }

    #[test]
    fn a_node_has_what_it_states_and_no_end_of_the_rest() {
        let check = |yaml: &str, cpu: Fill, gpus: Fill| {
            let node = node(yaml);
            let room = Room::of(&node.capacity, node.slots.len(), &reserved());
            assert_eq!((room.cpu_thousandths, room.gpus), (cpu, gpus), "{yaml}");
        };
        check("{node: a, capacity: {cpu: 4}}", fill(1500, 4000, 2500, 0), fill(1, 0, 0, 0));
        check("{node: a}", fill(0, 0, 0, 1500), fill(0, 0, 0, 1));
        check("{node: a, capacity: {gpus: [{model: l4, count: 2}]}}", fill(0, 0, 0, 1500), fill(1, 2, 1, 0));
        check("{node: a, capacity: {cpu: 1}}", fill(1500, 1000, 0, 0), fill(1, 0, 0, 0));
    }

    #[test]
    fn what_is_left_of_an_environment_is_what_is_left_of_its_nodes() {
        let nodes =
            [node("{node: a, capacity: {cpu: 1}}"), node("{node: b, capacity: {cpu: 4}}"), node("node: c")];
        let sites: Sites<'_> = nodes
            .iter()
            .map(|node| {
                (
                    &node.node,
                    Site {
                        node,
                        environment: None,
                        offline: false,
                        cordoned: false,
                        drained: false,
                        others: 0,
                    },
                )
            })
            .collect();
        let reserved = nodes.iter().map(|node| (node.node.clone(), reserved())).collect();
        let rooms = of_nodes(&sites, &Placed { reserved, ..Placed::default() });
        let all = &of_environments(&sites, &rooms)[&None];
        assert_eq!(all.cpu_thousandths, fill(3000, 5000, 2500, 1500));
        assert_eq!(all.instances, 6);
    }

    #[test]
    fn sums_end_at_the_greatest_number() {
        let full = Fill::of(u64::MAX, Some(u64::MAX));
        assert_eq!(full.plus(full), fill(u64::MAX, u64::MAX, 0, 0));
    }
}
