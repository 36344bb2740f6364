//! What a container and an instance are made from, in one number each.
//!
//! Nothing else restarts anything: not the commit, not the order of keys, not a comment. A new rule gets a new number,
//! so that digests of two rules are never compared.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::emit::canonical_object;
use super::files::{Files, Travelling};
use super::model::used_names;
use super::{Rendered, hooks};
use crate::name::Digest;
use crate::plan::{ContainerDigest, ContainerSpec, FileRef, Model, OnFileChange, RunState};

/// The version of the rules in this file.
pub const RULE: u32 = 1;

impl Rendered {
    /// The digest of an instance: everything that makes a difference to what runs, and nothing else.
    pub fn digest(&self, state: RunState, on_file_change: OnFileChange) -> Digest {
        let is_standing =
            |path: &Arc<str>| self.beside.as_ref().is_none_or(|beside| !beside.files.contains(path));
        let files = self.files.iter().filter(|(path, _)| is_standing(path));
        let files = files.map(|(path, file)| (path.clone(), file.reference)).collect();
        let model = self.beside.as_ref().map_or(&self.model, |beside| &beside.model);
        instance_digest(model, &files, state, on_file_change)
    }

    /// Of what its hooks are made from; none where there are none.
    pub fn hooks_digest(&self) -> Option<Digest> {
        hooks::digest(&self.hooks)
    }
}

pub(super) fn instance_digest(
    model: &Model,
    files: &BTreeMap<Arc<str>, FileRef>,
    state: RunState,
    on_file_change: OnFileChange,
) -> Digest {
    let content = (RULE, model, files, state, on_file_change);
    Digest::of(serde_json::to_vec(&content).expect("all map keys are strings and a model holds JSON"))
}

/// What the containers of each service should look like.
pub(super) fn containers(model: &Mapping, travelling: &Travelling) -> BTreeMap<Arc<str>, ContainerSpec> {
    let services = model.get("services").and_then(Value::as_mapping).into_iter().flatten();
    let named = services.filter_map(|(name, service)| Some((name.as_str()?, service)));
    named
        .map(|(name, service)| {
            let files = travelling.read_by.get(name).map(|read| file_digest(read, &travelling.files));
            let config = ContainerDigest { rule: RULE, digest: config_digest(model, service) };
            let (replicas, completes) = (replicas(service), completes(service));
            (name.into(), ContainerSpec { config, files, replicas, completes })
        })
        .collect()
}

/// Fields that make no difference to a container that exists; Compose leaves the same ones out of its own digest.
const NOT_THE_CONTAINERS: [&str; 4] = ["depends_on", "profiles", "pull_policy", "scale"];

/// Covers the service, and the networks, volumes, configs and secrets that it uses.
fn config_digest(model: &Mapping, service: &Value) -> Digest {
    let mut deploy = service.get("deploy").and_then(Value::as_mapping).cloned().unwrap_or_default();
    deploy.shift_remove("replicas");
    let deploy = Value::Mapping(deploy);
    let fields =
        service.as_mapping().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str()?, value)));
    let own =
        fields.filter(|(key, _)| !NOT_THE_CONTAINERS.contains(key)).filter_map(|(key, value)| match key {
            "deploy" => Some((key, &deploy)).filter(|_| deploy != Value::Mapping(Mapping::new())),
            _ => Some((key, value)),
        });
    let mut parts = BTreeMap::from([("service", canonical_object(own))]);
    let mut used = used_names(service);
    if service.get("networks").is_none() && service.get("network_mode").is_none() {
        used.push(("networks", "default"));
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        let names: BTreeSet<&str> =
            used.iter().filter(|(of, _)| *of == section).map(|(_, name)| *name).collect();
        let things = model.get(section);
        let things: Vec<_> = names.into_iter().filter_map(|name| Some((name, things?.get(name)?))).collect();
        if !things.is_empty() {
            parts.insert(section, canonical_object(things));
        }
    }
    let parts: Vec<String> = parts.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    Digest::of(format!("{{{}}}", parts.join(",")))
}

fn file_digest(read: &BTreeSet<Arc<str>>, files: &Files) -> Digest {
    let content: Vec<_> = read.iter().filter_map(|path| Some((path, files.get(path)?.reference))).collect();
    Digest::of(serde_json::to_vec(&content).expect("file references have no map in them"))
}

fn replicas(service: &Value) -> u32 {
    let deploy = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = service.get("scale").or(deploy).and_then(Value::as_u64).unwrap_or(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// `restart` wins over `deploy.restart_policy`; without either nothing restarts, as in Compose.
fn completes(service: &Value) -> bool {
    if let Some(restart) = service.get("restart").and_then(Value::as_str) {
        return restart == "no" || restart.starts_with("on-failure");
    }
    match service.get("deploy").and_then(|deploy| deploy.get("restart_policy")) {
        Some(policy) => {
            matches!(policy.get("condition").and_then(Value::as_str), Some("none" | "on-failure"))
        }
        None => true,
    }
}
