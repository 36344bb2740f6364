//! `nodes/*.yaml`: the Docker hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::offer::Offer;
use super::quantity::{Bytes, Cpu, Money};
use super::taint::Taint;
use crate::name::NodeName;
use crate::yaml::Scalar;

/// A node: one Docker host with an agent.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gitops node")]
pub struct Node {
    /// The name of the node. Its agent's token speaks for this name.
    #[schemars(with = "String")]
    pub node: NodeName,
    /// What it is, in a sentence.
    pub description: Option<String>,
    /// Facts about it, as people name them. Services select nodes by them; `node` stands for its name.
    #[serde(default)]
    pub labels: BTreeMap<Arc<str>, Scalar>,
    /// Values for `${NAME}` in the Compose files of the services that run on it. Those of a service go before them.
    #[serde(default)]
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// Marks that keep services away which do not tolerate them: `key=value:NoSchedule` or `key=value:PreferNoSchedule`.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// What may be reserved on it. What is not given is not counted.
    #[serde(default)]
    pub capacity: Capacity,
    /// Processors that are set apart, by name: one service at a time holds a slot.
    #[serde(default)]
    pub slots: BTreeMap<Arc<str>, Slot>,
    /// What it costs in a month, in the currency of the repository.
    pub price: Option<Money>,
    /// What it can do, as `kind@version`. Its agent reports what it finds; a promise that it does not find is told.
    #[serde(default)]
    pub capabilities: Vec<Offer>,
    /// Nothing new comes here while it is `true`; what is here stays.
    #[serde(default)]
    pub cordon: bool,
}

impl Node {
    /// The value of a label; `node` is the name, whatever is written.
    pub fn label(&self, label: &str) -> Option<&str> {
        match label {
            Self::NAME => Some(self.node.as_str()),
            label => self.labels.get(label).map(|value| &*value.0),
        }
    }

    /// The label that stands for the name of a node, and that none can be given.
    pub const NAME: &str = "node";
}

/// What may be reserved on a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// Cores.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
    /// Graphics processors.
    pub gpus: Vec<Gpu>,
}

/// Graphics processors of one kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// What it is called, such as `l4`.
    pub model: Arc<str>,
    /// Memory of each.
    pub memory: Option<Bytes>,
    /// How many there are. Default: 1.
    pub count: Option<u32>,
}

/// Processors that are set apart.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The processors, as Compose's `cpuset` names them: `0-3` or `0,2`.
    pub cpus: Arc<str>,
    /// Memory that goes with them.
    pub memory: Option<Bytes>,
}

impl Slot {
    /// In a service, for the name of a slot: any that is free and large enough.
    pub const ANY: &str = "any";

    /// The numbers of its processors; none where `cpus` is no list of them.
    pub fn processors(&self) -> Option<BTreeSet<u32>> {
        processors(&self.cpus)
    }
}

/// No machine has processors beyond this number; it bounds what a range such as `0-9999999999` may cost.
const MAX_CPU: u32 = 4095;
/// Characters: enough to name each of them alone, with a comma behind it.
const MAX_CPUS_TEXT: usize = 5 * 4096;

/// The processors that `0-3,6` names; none where it is no such list.
fn processors(text: &str) -> Option<BTreeSet<u32>> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| is_number && *number <= MAX_CPU)
    };
    if text.len() > MAX_CPUS_TEXT {
        return None;
    }
    // A list may name the same ones again and again, which costs least so.
    let mut is_named = [false; MAX_CPU as usize + 1];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        is_named[first as usize..=last as usize].fill(true);
    }
    Some((0..=MAX_CPU).zip(is_named).filter(|(_, is_named)| *is_named).map(|(number, _)| number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_numbers_and_ranges() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(processors(text).map(|cpus| cpus.len()), expected, "{text}");
        };
        check("0", Some(1));
        check("0-3", Some(4));
        check("0-3,2,6", Some(5));
        check(&["0-4095"; 2_900].join(","), Some(4096));
        check(&["0-4095"; 200_000].join(","), None);
        for bad in ["", "a", "3-0", "0-", "-1", "0,,1", "+1", "0-99999999999", "5000"] {
            check(bad, None);
        }
    }
}
