//! What `gitops.toml` asks of all services: policy, quotas, a budget, and the environments.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::control::Enforcement;
use super::quantity::{Bytes, Cpu, Money};
use super::selector::Selector;
use crate::yaml::Scalar;

/// What is asked of every service. An environment may ask for more, never for less.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whether a service may use only features that are there: a planned one is an error then. Default: `false`.
    pub features_must_be_implemented: Option<bool>,
    /// The least that a control weighs when it is not met: `strict`, `advisory` or `informative`.
    pub controls: Option<Enforcement>,
    /// Where images may come from: a registry and the start of a path, such as `ghcr.io/our-team/`. Default: anywhere.
    pub images_from: Option<Vec<Arc<str>>>,
    /// Tags that an image must not have, such as `latest`. No tag at all counts as `latest`.
    pub tags_forbidden: Option<Vec<Arc<str>>>,
    /// Whether every image must be named by digest, as `…@sha256:…`. Default: `false`.
    pub digest_required: Option<bool>,
    /// Ports of the host below this one need the capability `host-port:PORT`. Default: 1024.
    pub host_port_floor: Option<u16>,
}

/// What the services of one project may take together.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// How many services.
    pub services: Option<u32>,
    /// Cores.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Graphics processors.
    pub gpus: Option<u32>,
}

/// What everything may cost in a month.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The most that the nodes may cost together.
    pub monthly: Option<Money>,
    /// What amounts are shown in. Default: `EUR`.
    pub currency: Option<Arc<str>>,
    /// Per cent of `monthly` from which on there is a warning. Default: 80.
    pub warn_at: Option<Vec<u32>>,
}

/// Some of the nodes, and what holds for them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Labels of its nodes. A node is in one environment at most.
    pub nodes: Selector,
    /// Its place on the way of a change, from 1: what is promoted goes to the next greater one.
    pub order: Option<u32>,
    /// Values for `${NAME}` in Compose files. Those of a node and of a service go before them, name by name.
    #[serde(default)]
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// What is asked of services here, beyond what is asked everywhere.
    #[serde(default)]
    pub policy: Policy,
}

/// What happens to a service that uses a capability which it was not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capabilities {
    /// An error.
    #[default]
    Deny,
    /// A warning: while a repository moves in.
    Warn,
}
