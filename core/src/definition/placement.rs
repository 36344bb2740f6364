//! `place:` and `resources:` of a service: where it may run, where it would rather, and what it takes there.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{Bytes, Cpu};
use super::seconds::Seconds;
use super::selector::Selector;
use super::taint::Toleration;
use crate::name::NodeName;

/// Where a service runs: on `nodes` by name, or on nodes that `select` fits or that are all there are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// The nodes that it runs on, by name. An empty list runs it nowhere.
    #[schemars(with = "Option<Vec<String>>")]
    pub nodes: Option<Vec<NodeName>>,
    /// Labels that a node must have, instead of names: `{region: eu, disk: [ssd, nvme], gpu: "*"}`.
    pub select: Option<Selector>,
    /// On how many of the nodes it runs. Default: 1.
    pub count: Option<u32>,
    /// On every node that fits: with `select`, of those; without, of all.
    pub all: Option<bool>,
    /// Labels that a node should rather have.
    pub prefer: Vec<Preference>,
    /// Labels by which nodes are ruled out: each of these alone does.
    pub forbid: Vec<Selector>,
    /// Taints that it may live with: `key`, `key=value`, or either with `:NoSchedule`.
    pub tolerate: Vec<Toleration>,
    /// A label over whose values the instances are spread, as evenly as can be: `zone`.
    pub spread: Option<Arc<str>>,
    /// It takes a slot of the node for itself: the name of the slot, or `any`.
    pub slot: Option<Arc<str>>,
    /// Whether an instance stays where it is while it fits there. Default: `true`.
    pub sticky: Option<bool>,
    /// How long a node may be offline before the instance is placed elsewhere. Without it, the instance waits.
    pub failover: Option<Seconds>,
}

impl Placement {
    /// The nodes that are named.
    pub fn named(&self) -> &[NodeName] {
        self.nodes.as_deref().unwrap_or_default()
    }
}

/// Labels that a node should rather have.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// The labels.
    pub select: Selector,
    /// From 1 to 100. Default: 50.
    pub weight: Option<u32>,
}

/// What each instance takes of its node. What is not given is taken from the Compose model: `cpus`, `mem_limit`,
/// `deploy.resources` and `gpus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Cores.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
    /// Graphics processors.
    pub gpus: Option<GpuRequest>,
}

/// Graphics processors that an instance takes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuRequest {
    /// How many. Default: 1.
    pub count: Option<u32>,
    /// Of which model. Default: of any.
    pub model: Option<Arc<str>>,
    /// How much memory each must have.
    pub memory: Option<Bytes>,
}
