//! `services/<name>/service.yaml`: one service, its Compose files and where it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::seconds::Seconds;
use crate::name::{ControlName, FeatureName, NodeName, ServiceName};
use crate::plan::{OnFileChange, RunState};
use crate::yaml::Scalar;

/// A service: one Compose project, run on one or more nodes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gitops service")]
pub struct Service {
    /// The name of the service. Must be the name of the folder that this file is in.
    #[schemars(with = "String")]
    pub service: ServiceName,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// The Compose file, or several that are merged in this order. Default: the first of `compose.yaml`,
    /// `compose.yml`, `docker-compose.yaml` and `docker-compose.yml` that is in the folder, with its override file.
    pub compose: Option<ComposeFiles>,
    /// Where it runs.
    pub place: Placement,
    /// `running` or `stopped`. A stopped service keeps its containers, networks, volumes and files. Default: `running`.
    pub state: Option<RunState>,
    /// Values for `${NAME}` in the Compose files. They go before those of the node and those of the defaults.
    #[serde(default)]
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// The features that it uses.
    #[schemars(with = "Option<Vec<String>>")]
    pub features: Option<Vec<FeatureName>>,
    /// The controls that it must meet.
    #[schemars(with = "Option<Vec<String>>")]
    pub controls: Option<Vec<ControlName>>,
    /// Services that must be healthy before this one is changed or started.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub depends_on: Vec<ServiceName>,
    /// When it counts as healthy.
    pub health: Option<Health>,
    /// What happens to a container when nothing but a file that it mounts changes: `recreate`, `restart` or
    /// `nothing`. Default: `recreate`.
    pub on_file_change: Option<OnFileChange>,
    /// The Compose profiles that are active.
    pub profiles: Option<Vec<Arc<str>>>,
}

/// One Compose file or several.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum ComposeFiles {
    /// One.
    One(Arc<str>),
    /// Several, merged in this order.
    Several(Vec<Arc<str>>),
}

impl ComposeFiles {
    /// The paths, relative to the folder of the service.
    pub fn paths(&self) -> &[Arc<str>] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// Where a service runs.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The nodes that it runs on, by name. An empty list runs it nowhere.
    #[schemars(with = "Vec<String>")]
    pub nodes: Vec<NodeName>,
}

/// When an instance counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The time in which every container must become healthy; `2m` where `health` is not given.
    pub within: Seconds,
}

/// Written by hand, because an untagged enum would lose the place of a mistake.
impl<'de> Deserialize<'de> for ComposeFiles {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = ComposeFiles;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the path of a Compose file or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<ComposeFiles, E> {
                Ok(ComposeFiles::One(path.into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<ComposeFiles, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = seq.next_element()? {
                    paths.push(path);
                }
                Ok(ComposeFiles::Several(paths))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
