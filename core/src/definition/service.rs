//! `services/<name>/service.yaml`: one service, its Compose files and where it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::drift::Drift;
use super::health::Health;
use super::hooks::Hooks;
use super::placement::{Placement, Resources};
use super::rollout::Rollout;
use super::value_path::ValuePath;
use crate::name::{ControlName, EnvironmentName, FeatureName, ServiceName};
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
    /// What people and controls know it by, such as `project: shop`.
    #[serde(default)]
    pub labels: BTreeMap<Arc<str>, Scalar>,
    /// Where it runs.
    #[serde(default)]
    pub place: Placement,
    /// What each instance takes of its node.
    #[serde(default)]
    pub resources: Resources,
    /// The environments that it runs in, each with what is otherwise there. Without it, it runs wherever `place` says.
    #[schemars(with = "Option<BTreeMap<String, Override>>")]
    pub environments: Option<BTreeMap<EnvironmentName, Option<Override>>>,
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
    #[serde(default)]
    pub health: Health,
    /// How a release brings it to its nodes.
    #[serde(default)]
    pub rollout: Rollout,
    /// Compose services of its files that run once around a change, and are no part of what runs.
    #[serde(default)]
    pub hooks: Hooks,
    /// What is done where others change its containers: `report`, `correct` or `correct-in-window`, or more.
    #[serde(default)]
    pub drift: Drift,
    /// What it was called before: it takes over what stands under that name.
    pub moved: Option<Moved>,
    /// What happens to a container when nothing but a file that it mounts changes: `recreate`, `restart` or
    /// `nothing`. Default: `recreate`.
    pub on_file_change: Option<OnFileChange>,
    /// The Compose profiles that are active.
    pub profiles: Option<Vec<Arc<str>>>,
    /// Fields whose changes are counted in a diff and not shown: they are applied like any other.
    #[serde(default)]
    pub ignore: Vec<Ignore>,
}

/// A field whose changes nobody wants to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// The field in the Compose model, with all that is below it: `services.app.labels.build`. A `*` stands for any one
    /// key.
    pub path: ValuePath,
    /// Why.
    pub reason: String,
}

impl Service {
    /// The names of its fields, in order.
    pub const FIELDS: [&str; 20] = [
        "compose",
        "controls",
        "depends_on",
        "description",
        "drift",
        "environments",
        "features",
        "health",
        "hooks",
        "ignore",
        "labels",
        "moved",
        "on_file_change",
        "place",
        "profiles",
        "resources",
        "rollout",
        "service",
        "state",
        "variables",
    ];

    /// The service as it is in an environment: without `environments`, and with what is given otherwise there.
    pub fn overridden(&self, other: &Override) -> Self {
        let Override { compose, place, state, variables, features, controls, hooks, .. } = other.clone();
        let mut service = Self { environments: None, ..self.clone() };
        service.variables.extend(variables);
        service.compose = compose.or(service.compose);
        service.place = place.unwrap_or(service.place);
        service.state = state.or(service.state);
        service.features = features.or(service.features);
        service.controls = controls.or(service.controls);
        service.health = other.health.clone().or(&service.health);
        service.hooks = hooks.unwrap_or(service.hooks);
        service.drift = other.drift.clone().or(&service.drift);
        service.on_file_change = other.on_file_change.or(service.on_file_change);
        service.profiles = other.profiles.clone().or(service.profiles);
        service.resources = other.resources.clone().unwrap_or(service.resources);
        service.rollout = other.rollout.clone().or(&service.rollout);
        service
    }
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

/// What a service gives otherwise in one environment. What is not given is as it is for all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// The Compose file, or several, instead of the others.
    pub compose: Option<ComposeFiles>,
    /// Where it runs in this environment, instead of the whole of `place` of the service.
    pub place: Option<Placement>,
    /// `running` or `stopped`.
    pub state: Option<RunState>,
    /// Values for `${NAME}`. They go before those of the service, name by name.
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// The features that it uses here.
    #[schemars(with = "Option<Vec<String>>")]
    pub features: Option<Vec<FeatureName>>,
    /// The controls that it must meet here.
    #[schemars(with = "Option<Vec<String>>")]
    pub controls: Option<Vec<ControlName>>,
    /// When it counts as healthy, field by field.
    pub health: Health,
    /// What happens to a container when nothing but a file that it mounts changes.
    pub on_file_change: Option<OnFileChange>,
    /// The Compose profiles that are active.
    pub profiles: Option<Vec<Arc<str>>>,
    /// What each instance takes of its node.
    pub resources: Option<Resources>,
    /// How a release brings it to the nodes of this environment, field by field.
    pub rollout: Rollout,
    /// Compose services that run once around a change here, instead of the others.
    pub hooks: Option<Hooks>,
    /// What is done where others change its containers, field by field.
    pub drift: Drift,
}

/// What a service was called before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// The name. Its Compose project keeps it, with its volumes, unless the Compose file names a project. A service that
    /// moved before names its project there.
    #[schemars(with = "String")]
    pub from: ServiceName,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_fields_are_all_there_are() {
        let schema = schemars::schema_for!(Service);
        let fields = schema.get("properties").and_then(|fields| fields.as_object()).expect("it has fields");
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, Service::FIELDS);
    }
}
