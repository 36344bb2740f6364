//! What is reserved of a node, and whether one more instance fits beside it.
//!
//! What a node does not say of its capacity is not counted. A node that says nothing at all of it has everything; one
//! that says something and names no graphics processor has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::{Misfit, Resource};
use super::{Demand, GpuDemand, Id, slot};
use crate::definition::{Bytes, Capacity, Cpu, Gpu, Node};

/// What one instance holds of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Cores.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
    /// How many of which graphics processors, by their number in `capacity.gpus` of the node.
    pub gpus: BTreeMap<usize, u32>,
    /// The slot.
    pub slot: Option<Arc<str>>,
}

/// What all instances on a node hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Cores.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
    /// How many of which graphics processors, by their number in `capacity.gpus` of the node.
    pub gpus: BTreeMap<usize, u32>,
    /// Who holds which slot.
    pub slots: BTreeMap<Arc<str>, Id>,
    /// How many instances they are.
    pub instances: usize,
}

impl Reserved {
    /// Adds what an instance holds. Sums end at the greatest number, which is more than any node has.
    pub fn add(&mut self, id: &Id, held: &Held) {
        self.cpu.0 = self.cpu.0.saturating_add(held.cpu.0);
        self.memory.0 = self.memory.0.saturating_add(held.memory.0);
        self.disk.0 = self.disk.0.saturating_add(held.disk.0);
        for (kind, count) in &held.gpus {
            let sum = self.gpus.entry(*kind).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.slots.extend(held.slot.clone().map(|slot| (slot, id.clone())));
        self.instances += 1;
    }
}

/// What an instance would hold of a node on which that much is reserved, or all that is missing there.
pub(super) fn fit<'a>(
    node: &'a Node,
    reserved: &Reserved,
    slot: Option<&'a str>,
    demand: &Demand,
    bound: &[String],
) -> Result<Held, Vec<Misfit<'a>>> {
    let mut missing = Vec::new();
    let mut held = Held { cpu: demand.cpu, memory: demand.memory, disk: demand.disk, ..Held::default() };
    if let Some(wanted) = slot {
        match slot::choose(wanted, node, reserved, demand, bound) {
            Ok((name, slot)) => {
                held.slot = Some(name.clone());
                held.cpu = held.cpu.max(slot::size(slot));
                held.memory = held.memory.max(slot.memory.unwrap_or_default());
            }
            Err(misfit) => missing.push(misfit),
        }
    }
    missing.extend(short(&node.capacity, reserved, &held));
    if let Some(gpus) = &demand.gpus {
        match take_gpus(&node.capacity, reserved, gpus) {
            Ok(taken) => held.gpus = taken,
            Err(free) => missing.push(Misfit::Gpus { wanted: gpus.clone(), free }),
        }
    }
    if missing.is_empty() { Ok(held) } else { Err(missing) }
}

fn short<'a>(
    capacity: &Capacity,
    reserved: &Reserved,
    held: &Held,
) -> impl Iterator<Item = Misfit<'a>> + use<'a> {
    let rows = [
        (Resource::Cpu, capacity.cpu.map(|cpu| cpu.0), reserved.cpu.0, held.cpu.0),
        (Resource::Memory, capacity.memory.map(|memory| memory.0), reserved.memory.0, held.memory.0),
        (Resource::Disk, capacity.disk.map(|disk| disk.0), reserved.disk.0, held.disk.0),
    ];
    rows.into_iter().filter_map(|(resource, capacity, reserved, needed)| {
        let capacity = capacity?;
        let free = capacity.saturating_sub(reserved);
        (needed > free).then_some(Misfit::Short { resource, capacity, free, needed })
    })
}

/// Takes graphics processors that do, those with the least memory first; or says how many are free that would do.
fn take_gpus(
    capacity: &Capacity,
    reserved: &Reserved,
    wanted: &GpuDemand,
) -> Result<BTreeMap<usize, u32>, u32> {
    if *capacity == Capacity::default() {
        return Ok(BTreeMap::new());
    }
    let does = |gpu: &Gpu| {
        wanted.model.as_ref().is_none_or(|model| *model == gpu.model)
            && wanted.memory.is_none_or(|memory| gpu.memory.is_some_and(|has| has >= memory))
    };
    let left = |kind: usize, gpu: &Gpu| {
        gpu.count.unwrap_or(1).saturating_sub(reserved.gpus.get(&kind).copied().unwrap_or_default())
    };
    let suiting = capacity.gpus.iter().enumerate().filter(|(_, gpu)| does(gpu));
    let total = suiting.clone().fold(0_u32, |sum, (_, gpu)| sum.saturating_add(gpu.count.unwrap_or(1)));
    let free = suiting.clone().fold(0_u32, |sum, (kind, gpu)| sum.saturating_add(left(kind, gpu)));
    let count = wanted.count.unwrap_or(total.max(1));
    if free < count {
        return Err(free);
    }
    let mut suiting: Vec<(usize, &Gpu)> = suiting.collect();
    suiting.sort_by_key(|(kind, gpu)| (gpu.memory, *kind));
    let (mut open, mut taken) = (count, BTreeMap::new());
    for (kind, gpu) in suiting {
        let here = left(kind, gpu).min(open);
        open -= here;
        if here > 0 {
            taken.insert(kind, here);
        }
    }
    Ok(taken)
}
