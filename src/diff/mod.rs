//! Changes between two desired states, each with its reason and with what it does to running containers.
//!
//! The same comparison serves the preview (`gitops diff`) and the plan (the reasons of a step), so that what a
//! reviewer reads is what the agent logs.

pub mod fields;
pub mod sensitive;

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::{Deployment, Used};
use crate::desired::{Desired, Instance, ServiceInstances};
use crate::name::{NodeName, ServiceName};
use crate::plan::{ContainerSpec, Ensure, FileRef, OnFileChange, Reason, RunState};

/// The version of this document as JSON.
pub const SCHEMA: u32 = 1;

/// What differs between two desired states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is compared with.
    #[serde(default)]
    pub base: Arc<str>,
    /// What is compared.
    #[serde(default)]
    pub head: Arc<str>,
    /// The id of the plan.
    #[serde(default)]
    pub plan: Option<crate::name::Digest>,
    /// By node and service; unchanged instances are only counted.
    pub changes: Vec<Change>,
    /// How many instances are the same on both sides.
    pub unchanged: usize,
}

/// One instance that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub node: NodeName,
    /// What.
    pub service: ServiceName,
    /// How.
    pub kind: ChangeKind,
    /// Which fields and files, old and new.
    pub because: Vec<Reason>,
    /// What happens to the containers, by Compose service; those that are left alone are not listed.
    pub effects: BTreeMap<Arc<str>, Effect>,
    /// Dangerous powers of Compose that it uses and did not use before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<NewCapability>,
}

/// A capability that an instance begins to use, and the grant that it lives by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCapability {
    /// Its name.
    pub capability: Arc<str>,
    /// The file that grants it; none where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<Arc<str>>,
    /// Why it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The last day of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Arc<str>>,
}

/// How an instance differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new on this node.
    Create,
    /// It changes.
    Update,
    /// It goes. Its volumes stay.
    Remove,
}

/// What a change does to the containers of one Compose service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// New containers.
    Create,
    /// Containers replaced by new ones.
    Recreate,
    /// The same containers, stopped and started.
    Restart,
    /// Containers added or taken away, the others left alone.
    Scale,
    /// Stopped, or started after having been stopped.
    Switch,
    /// Containers removed.
    Remove,
}

/// Compares two desired states, instance by instance.
pub fn between(old: &Desired, new: &Desired) -> Diff {
    let mut diff = Diff {
        schema: SCHEMA,
        base: "".into(),
        head: "".into(),
        plan: None,
        changes: Vec::new(),
        unchanged: 0,
    };
    let mut keys: Vec<(&NodeName, &ServiceName)> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for (node, service) in keys {
        match (old.instance(node, service), new.instance(node, service)) {
            (Some(before), Some(after)) if !differs(before, after) => diff.unchanged += 1,
            (before, after) => diff.changes.push(change(node, service, before, after, (old, new))),
        }
    }
    diff
}

fn differs(before: &Arc<Instance>, after: &Arc<Instance>) -> bool {
    let key = |instance: &Instance| {
        let Ensure { digest, project, after, health_within, .. } = &instance.ensure;
        (*digest, project.clone(), after.clone(), *health_within)
    };
    !Arc::ptr_eq(before, after) && key(before) != key(after)
}

fn change(
    node: &NodeName,
    service: &ServiceName,
    before: Option<&Arc<Instance>>,
    after: Option<&Arc<Instance>>,
    (old, new): (&Desired, &Desired),
) -> Change {
    let old_ensure = before.map(|instance| &instance.ensure);
    let (kind, because) = match (before, after) {
        (None, Some(after)) => (ChangeKind::Create, reasons(None, after, new)),
        (Some(_), Some(after)) => (ChangeKind::Update, reasons(old_ensure, after, new)),
        (_, None) => (ChangeKind::Remove, vec![removal_reason(node, service, old, new)]),
    };
    let effects = effects(old_ensure, after.map(|instance| &instance.ensure));
    let capabilities = new_capabilities(before, after);
    Change { node: node.clone(), service: service.clone(), kind, because, effects, capabilities }
}

fn new_capabilities(before: Option<&Arc<Instance>>, after: Option<&Arc<Instance>>) -> Vec<NewCapability> {
    let of = |instance: Option<&Arc<Instance>>| instance.map(|instance| instance.capabilities.clone());
    let (before, after) = (of(before).unwrap_or_default(), of(after).unwrap_or_default());
    let is_new = |used: &&Used| !before.iter().any(|old| old.capability == used.capability);
    after.iter().filter(is_new).map(new_capability).collect()
}

fn new_capability(used: &Used) -> NewCapability {
    let grant = used.grant.as_ref();
    NewCapability {
        capability: used.capability.to_string().into(),
        granted_by: grant.map(|grant| grant.path.clone()),
        reason: grant.map(|grant| grant.reason.clone()),
        until: grant.and_then(|grant| grant.until).map(|day| day.to_string().into()),
    }
}

fn removal_reason(node: &NodeName, service: &ServiceName, old: &Desired, new: &Desired) -> Reason {
    if let Some(still) = new.services.get(service) {
        let stood = old.services.get(service);
        let is_new = |node: &NodeName| stood.is_none_or(|stood| !stood.instances.contains_key(node));
        return displacement(node, still, is_new);
    }
    let source = old.services.get(service).map(|service| service.entry.path().clone());
    Reason { field: "service".into(), old: Some(service.as_str().into()), new: None, source }
}

/// Why a service is no longer on a node, although there is such a service: the node is not named any more, or others were
/// chosen, of which those are told that are new.
pub fn displacement(
    node: &NodeName,
    service: &ServiceInstances,
    is_new: impl Fn(&NodeName) -> bool,
) -> Reason {
    let is_chosen = |deployment: &Deployment| deployment.service.place.nodes.is_none();
    let (field, new) = match service.entry.deployments.iter().any(is_chosen) {
        true => ("place", some_names(service.instances.keys().filter(|node| is_new(node)))),
        false => ("place.nodes", None),
    };
    let source = Some(service.entry.path().clone());
    Reason { field: field.into(), old: Some(node.as_str().into()), new, source }
}

/// `a, b, c and 2 more`; none of none.
fn some_names<'a>(names: impl Iterator<Item = &'a NodeName>) -> Option<Arc<str>> {
    const MAX: usize = 3;
    let names: Vec<&str> = names.map(NodeName::as_str).collect();
    let named = names.iter().take(MAX).copied().collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| format!("{named}{more}").into())
}

/// What happens to the containers of an instance, by Compose service.
pub fn effects(old: Option<&Ensure>, new: Option<&Ensure>) -> BTreeMap<Arc<str>, Effect> {
    let containers =
        |ensure: Option<&Ensure>| ensure.map(|ensure| ensure.containers.clone()).unwrap_or_default();
    let (before, after) = (containers(old), containers(new));
    let names: std::collections::BTreeSet<&Arc<str>> = before.keys().chain(after.keys()).collect();
    let moved = old.zip(new).is_some_and(|(old, new)| old.project != new.project);
    let switched = old.zip(new).is_some_and(|(old, new)| old.state != new.state);
    // Read from the models, so only where files changed, and once for all containers.
    let files = |ensure: Option<&Ensure>| ensure.map(Ensure::environment_files).unwrap_or_default();
    let environment = LazyCell::new(|| (files(old), files(new)));
    let environment_changed = |name: &str| environment.0.get(name) != environment.1.get(name);
    let effect = |name: &Arc<str>| match (before.get(name), after.get(name), new) {
        (None, Some(_), _) => Some(Effect::Create),
        (Some(_), None, _) | (_, _, None) => Some(Effect::Remove),
        (Some(_), Some(_), _) if moved => Some(Effect::Recreate),
        (Some(before), Some(after), Some(new)) => {
            let environment = before.files != after.files && environment_changed(name);
            container_effect(before, after, new, environment).or(switched.then_some(Effect::Switch))
        }
        (None, None, _) => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), effect(name)?))).collect()
}

/// `environment` says that a file changed which Compose itself reads.
fn container_effect(
    before: &ContainerSpec,
    after: &ContainerSpec,
    new: &Ensure,
    environment: bool,
) -> Option<Effect> {
    let file_effect = match new.on_file_change {
        OnFileChange::Recreate => Some(Effect::Recreate),
        OnFileChange::Restart => Some(Effect::Restart),
        OnFileChange::Nothing => None,
    };
    if before.config != after.config || environment && new.state == RunState::Running {
        Some(Effect::Recreate)
    } else if before.files != after.files && new.state == RunState::Running {
        file_effect
    } else if before.replicas != after.replicas {
        Some(Effect::Scale)
    } else {
        None
    }
}

/// Why an instance is to become as `new` says, given what it was.
pub fn reasons(old: Option<&Ensure>, new: &Instance, desired: &Desired) -> Vec<Reason> {
    let Some(old) = old else { return vec![creation_reason(new)] };
    let mut reasons = model_reasons(old, new, desired);
    reasons.extend(file_reasons(old, new));
    reasons.extend(setting_reasons(old, new));
    reasons
}

fn creation_reason(new: &Instance) -> Reason {
    Reason {
        field: "service".into(),
        old: None,
        new: Some(new.ensure.service.as_str().into()),
        source: Some(new.entry.path().clone()),
    }
}

fn model_reasons(old: &Ensure, new: &Instance, desired: &Desired) -> Vec<Reason> {
    if old.model == new.ensure.model {
        return Vec::new();
    }
    let changes = fields::changed(&old.model.value(), &new.ensure.model.value());
    let source_of = desired.sources_of(new);
    let reason = |(number, change): (usize, fields::FieldChange)| Reason {
        field: change.path.join(".").into(),
        source: if number < MAX_SOURCES { source_of(&change.path) } else { None },
        old: change.old,
        new: change.new,
    };
    changes.into_iter().enumerate().map(reason).collect()
}

/// Finding the line of a field costs time that grows with its file, so that tens of thousands of changes to one
/// generated file would hold up the whole pass. Nobody reads the lines of so many.
const MAX_SOURCES: usize = 1_000;

/// Files are named with their size and never shown here: they may hold secrets.
fn file_reasons(old: &Ensure, new: &Instance) -> Vec<Reason> {
    let changes = fields::changed(&file_model(&old.files), &file_model(&new.ensure.files));
    let reason = |change: fields::FieldChange| {
        let path = change.path.join(".");
        let source = format!("{}/{path}", new.entry.folder());
        let (old, new) = (change.old, change.new);
        Reason { field: format!("files/{path}").into(), old, new, source: Some(source.into()) }
    };
    changes.into_iter().map(reason).collect()
}

fn file_model(files: &BTreeMap<Arc<str>, FileRef>) -> Value {
    let text = |file: &FileRef| {
        let mode = if file.executable { ", executable" } else { "" };
        format!("{} ({} bytes{mode})", file.digest.short(), file.size)
    };
    files
        .iter()
        .map(|(path, file)| (path.to_string(), Value::String(text(file))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn setting_reasons(old: &Ensure, new: &Instance) -> Vec<Reason> {
    let path = new.entry.path();
    let settings = |ensure: &Ensure| {
        let after: Vec<&str> = ensure.after.iter().map(ServiceName::as_str).collect();
        [
            ("project", ensure.project.to_string()),
            ("state", format!("{:?}", ensure.state).to_lowercase()),
            ("on_file_change", format!("{:?}", ensure.on_file_change).to_lowercase()),
            ("health.within", format!("{}s", ensure.health_within)),
            ("depends_on", after.join(", ")),
        ]
    };
    let pairs = settings(old).into_iter().zip(settings(&new.ensure));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((field, before), (_, after))| Reason {
            field: field.into(),
            old: Some(before.into()),
            new: Some(after.into()),
            source: Some(path.clone()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::tree::Tree;

    fn desired(value: &str, fields: usize) -> Desired {
        let environment: String = (0..fields).map(|n| format!("      K{n}: {value}\n")).collect();
        let compose = format!("services:\n  a:\n    image: i\n    environment:\n{environment}");
        let files = [
            ("gitops.toml", "format = 1\nname = \"t\"\n"),
            ("nodes/n.yaml", "node: n"),
            ("services/s/service.yaml", "{service: s, place: {nodes: [n]}}"),
            ("services/s/compose.yaml", &compose),
        ];
        let tree = Tree::from_files(files.map(|(path, text)| (path.to_owned(), text.to_owned())));
        let (catalog, found) = catalog::load(&Arc::new(tree), None);
        assert_eq!(found, []);
        let (desired, found) = Desired::build(&catalog, None, None);
        assert_eq!(found, [], "the files above are right");
        desired
    }

    #[test]
    fn every_change_is_said_and_the_first_thousand_with_their_lines() {
        let (old, new) = (desired("a", MAX_SOURCES + 50), desired("b", MAX_SOURCES + 50));
        let because = &between(&old, &new).changes[0].because;
        assert_eq!(because.len(), MAX_SOURCES + 50);
        assert_eq!(because[0].source.as_deref(), Some("services/s/compose.yaml:5"));
        assert_eq!(because.iter().filter(|reason| reason.source.is_some()).count(), MAX_SOURCES);
    }
}
