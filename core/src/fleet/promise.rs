//! What the definition of a node promises, against what its agent finds on the machine.
//!
//! Placement believes the definitions, so that a reviewer sees before a push where everything will run. A promise that
//! the machine does not hold is therefore told wherever the node is shown, for as long as it is so. An agent that does
//! not say what it found, because it is of an older version or its engine does not answer, breaks no promise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::{Bytes, Cpu, Node, Offer};
use crate::status::HostInfo;

/// A promise of a node's definition that its agent finds not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Unmet {
    /// The field of the definition: `capabilities`, `capacity.memory`, `slots.fast`.
    pub field: Arc<str>,
    /// What it promises: `gpu@1`, `64 GiB`.
    pub promised: String,
    /// What is there: `compose@1`, `31.2 GiB`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// All promises that the machine does not hold, in the order in which a definition is written.
pub(super) fn unmet(node: &Node, host: &HostInfo) -> Vec<Unmet> {
    capacity(node, host).into_iter().chain(slots(node, host)).chain(capabilities(node, host)).collect()
}

fn short(field: impl Into<Arc<str>>, promised: impl ToString, found: Option<impl ToString>) -> Unmet {
    Unmet { field: field.into(), promised: promised.to_string(), found: found.map(|found| found.to_string()) }
}

/// What the agent could not read is 0, and says nothing.
fn capacity(node: &Node, host: &HostInfo) -> Vec<Unmet> {
    let capacity = &node.capacity;
    let there = Cpu(u64::from(host.cpus) * 1000);
    let cpu = capacity.cpu.filter(|promised| host.cpus > 0 && *promised > there);
    let cpu = cpu.map(|promised| short("capacity.cpu", cores(promised), Some(cores(there))));
    let bytes = |field: &'static str, promised: Option<Bytes>, there: u64| {
        let promised = promised.filter(|promised| there > 0 && promised.0 > there)?;
        Some(short(field, promised, Some(Bytes(there))))
    };
    let memory = bytes("capacity.memory", capacity.memory, host.memory_bytes);
    let disk = bytes("capacity.disk", capacity.disk, host.disk_bytes);
    let gpu = Offer { kind: "gpu".into(), version: 1 };
    let has_no_gpu = !capacity.gpus.is_empty() && found(host, &gpu).is_some_and(|best| best.is_none());
    let promised = || capacity.gpus.iter().map(|gpu| &*gpu.model).collect::<Vec<_>>().join(", ");
    let gpus = has_no_gpu.then(|| short("capacity.gpus", promised(), None::<Offer>));
    [cpu, memory, disk, gpus].into_iter().flatten().collect()
}

fn cores(cpu: Cpu) -> String {
    format!("{cpu} {}", if cpu == Cpu(1000) { "core" } else { "cores" })
}

/// Slots of processors that the machine does not have.
fn slots<'a>(node: &'a Node, host: &'a HostInfo) -> impl Iterator<Item = Unmet> + 'a {
    let slots = node.slots.iter().filter(|_| host.cpus > 0);
    let beyond = slots.filter(|(_, slot)| last_cpu(&slot.cpus).is_some_and(|last| last >= host.cpus));
    beyond.map(|(name, slot)| {
        let there = format!("0-{}", host.cpus.saturating_sub(1));
        short(format!("slots.{name}"), format!("processors {}", slot.cpus), Some(there))
    })
}

/// The greatest of `0-3,8`.
fn last_cpu(cpus: &str) -> Option<u32> {
    cpus.split([',', '-']).filter_map(|number| number.trim().parse().ok()).max()
}

fn capabilities<'a>(node: &'a Node, host: &'a HostInfo) -> impl Iterator<Item = Unmet> + 'a {
    node.capabilities.iter().filter_map(|promised| {
        let best = found(host, promised)?;
        let holds = best.as_ref().is_some_and(|best| best.serves(promised));
        (!holds).then(|| short("capabilities", promised, best))
    })
}

/// The best of its kind that the agent finds; the outer none where the agent does not tell what it finds.
fn found(host: &HostInfo, promised: &Offer) -> Option<Option<Offer>> {
    let offers = host.capabilities.iter().filter_map(|text| text.parse::<Offer>().ok());
    let best = offers.filter(|offer| offer.kind == promised.kind).max();
    (!host.capabilities.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(definition: &str, host: &str, expected: &[&str]) {
        let node: Node = serde_yaml::from_str(definition).expect("a node");
        let host: HostInfo = serde_json::from_str(host).expect("a host");
        let lines = unmet(&node, &host).into_iter().map(|unmet| {
            let Unmet { field, promised, found } = unmet;
            format!("{field}: {promised}, {}", found.as_deref().unwrap_or("nothing"))
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{definition}");
    }

    const HOST: &str = r#"{
        "cpus": 4, "memory_bytes": 8589934592, "disk_bytes": 107374182400,
        "capabilities": ["arch:amd64@1", "compose@2", "docker@28"]
    }"#;

    #[test]
    fn a_promise_that_is_kept_is_no_word_worth() {
        check("node: a", HOST, &[]);
        check("{node: a, capabilities: [compose@2, 'arch:amd64@1', docker@20]}", HOST, &[]);
        check(
            "{node: a, capacity: {cpu: 4, memory: 8g, disk: 100g}, slots: {fast: {cpus: '0-3'}}}",
            HOST,
            &[],
        );
    }

    #[test]
    fn a_promise_is_compared_with_the_best_that_is_there() {
        check(
            "{node: a, capabilities: [compose@3, gpu@1]}",
            HOST,
            &["capabilities: compose@3, compose@2", "capabilities: gpu@1, nothing"],
        );
        let two = r#"{"capabilities": ["cgroup@1", "cgroup@2"]}"#;
        check("{node: a, capabilities: [cgroup@2]}", two, &[]);
    }

    #[test]
    fn more_than_the_machine_has_is_not_kept() {
        check(
            "{node: a, capacity: {cpu: 4.5, memory: 9g, disk: 1t, gpus: [{model: l4}, {model: t4}]}}",
            HOST,
            &[
                "capacity.cpu: 4.5 cores, 4 cores",
                "capacity.memory: 9 GiB, 8 GiB",
                "capacity.disk: 1 TiB, 100 GiB",
                "capacity.gpus: l4, t4, nothing",
            ],
        );
        check(
            "{node: a, slots: {a: {cpus: '0,4'}, b: {cpus: '0-2'}}}",
            HOST,
            &["slots.a: processors 0,4, 0-3"],
        );
    }

    #[test]
    fn an_agent_that_does_not_tell_breaks_no_promise() {
        let promises =
            "{node: a, capacity: {cpu: 64, memory: 1t, gpus: [{model: l4}]}, capabilities: [gpu@1]}";
        check(promises, "{}", &[]);
        check(promises, r#"{"cpus": 64, "memory_bytes": 1099511627776}"#, &[]);
        check(
            promises,
            r#"{"capabilities": ["not an offer"]}"#,
            &["capacity.gpus: l4, nothing", "capabilities: gpu@1, nothing"],
        );
    }
}
