//! Slots: processors of a node that are set apart, which one instance at a time holds.

use std::sync::Arc;

use super::filter::Misfit;
use super::{Demand, Reserved};
use crate::definition::{Bytes, Cpu, Node, Slot};

/// The cores that a slot sets apart.
pub fn size(slot: &Slot) -> Cpu {
    Cpu(slot.processors().map_or(0, |cpus| cpus.len() as u64).saturating_mul(1000))
}

/// The slot that an instance would hold: that of the name, or the smallest that does. `bound` are the processors that
/// the instance is bound to now, so that it keeps the slot that it has.
pub(super) fn choose<'a>(
    wanted: &'a str,
    node: &'a Node,
    reserved: &Reserved,
    demand: &Demand,
    bound: &[String],
) -> Result<(&'a Arc<str>, &'a Slot), Misfit<'a>> {
    let named = node.slots.iter().filter(|(name, _)| wanted == Slot::ANY || ***name == *wanted);
    let named: Vec<(&Arc<str>, &Slot)> = named.collect();
    let large = named.iter().filter(|(_, slot)| holds(slot, demand));
    let free = large.clone().filter(|(name, _)| !reserved.slots.contains_key(*name));
    let is_mine = |slot: &Slot| bound.iter().any(|cpus| **cpus == *slot.cpus);
    let best = free.min_by_key(|(name, slot)| {
        (!is_mine(slot), size(slot), slot.memory.unwrap_or(Bytes::MAX), (*name).clone())
    });
    best.copied().ok_or_else(|| match (named.is_empty(), large.clone().next()) {
        (true, _) => Misfit::NoSlot { wanted },
        (false, None) => Misfit::SlotTooSmall { wanted, cpu: demand.cpu, memory: demand.memory },
        (false, Some((name, _))) => Misfit::SlotTaken { wanted, by: reserved.slots[*name].service.clone() },
    })
}

fn holds(slot: &Slot, demand: &Demand) -> bool {
    demand.cpu <= size(slot) && slot.memory.is_none_or(|memory| demand.memory <= memory)
}
