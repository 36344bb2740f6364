//! `nodes/*.yaml`: the Docker hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// Facts about it, as people name them.
    #[serde(default)]
    pub labels: BTreeMap<Arc<str>, Scalar>,
    /// Values for `${NAME}` in the Compose files of the services that run on it. Those of a service go before them.
    #[serde(default)]
    pub variables: BTreeMap<Arc<str>, Scalar>,
}
