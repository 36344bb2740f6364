//! What to do about an instance, decided from its step, what runs, and what was done before. Pure.
//!
//! Compose compares whole containers by a hash of its own and recreates those that differ, so most of deciding is
//! giving it the right labels. The rest is not to call it at all where nothing differs: a call that changes nothing
//! costs 80 ms, and may start a job again that had ended well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, ServiceName};
use gitops_core::plan::{ContainerSpec, Ensure, OnFileChange, RunState};
use gitops_core::status::{Container, ContainerState};
use serde_json::Value;

use super::rows::{CONFIG, FILES, NODE, Row, SERVICE};
use crate::compose::Verb;
use crate::files::{Applied, Record};

/// Our labels, by Compose service.
pub(super) type Labels = BTreeMap<Arc<str>, BTreeMap<String, String>>;

/// Why the agent may not touch a Compose project, with what to do; none where it may.
pub(super) fn foreign(node: &NodeName, service: &ServiceName, project: &str, rows: &[Row]) -> Option<String> {
    let other = rows.iter().find(|row| !is_ours(row, node, service))?;
    let name = &other.container.name;
    Some(match (&other.node, &other.service) {
        (Some(owner), _) if **owner != *node.as_str() => format!(
            "the Compose project `{project}` on this engine belongs to node `{owner}` (container `{name}`): \
             two nodes on one engine cannot both have a service with that project name; \
             place the service on one of them, or give the two different Compose projects"
        ),
        (Some(_), Some(owner)) => format!(
            "the Compose project `{project}` belongs to service `{owner}` (container `{name}`): \
             give one of the two services another Compose project name"
        ),
        _ => format!(
            "the Compose project `{project}` has a container that gitops did not make (`{name}`): \
             remove it with `docker compose --project-name {project} down` (volumes stay), or rename the service"
        ),
    })
}

fn is_ours(row: &Row, node: &NodeName, service: &ServiceName) -> bool {
    row.node.as_deref() == Some(node.as_str()) && row.service.as_ref() == Some(service)
}

/// The labels that each Compose service gets.
///
/// A label is a part of what Compose hashes: another value recreates the container. So where the rule of the digest
/// changed and the Compose service itself did not, the value that its containers carry is kept: they are adopted.
/// Whoever compares takes a digest of another rule for equal. The label of the files has no rule in it; it is kept
/// together with the other, unless a file was really replaced.
pub(super) fn labels(node: &NodeName, step: &Ensure, rows: &[Row], record: &Record) -> Labels {
    let models = models(&step.model.value());
    let label = |(name, spec): (&Arc<str>, &ContainerSpec)| {
        let unchanged = match (record.services.get(name), models.get(name)) {
            (Some(applied), Some(model)) => applied.model == *model,
            // Nothing is remembered: what runs is given the benefit of the doubt.
            (None, _) => true,
            (Some(_), None) => false,
        };
        let carried =
            Carried { container: carried(name, rows).filter(|_| unchanged), files_pending: record.pending };
        (name.clone(), container_labels(node, step, spec, carried))
    };
    step.containers.iter().map(label).collect()
}

/// What may be kept of the containers that run.
struct Carried<'r> {
    /// A container whose labels would not change but for another rule.
    container: Option<&'r Container>,
    /// See [`Record::pending`].
    files_pending: bool,
}

fn container_labels(
    node: &NodeName,
    step: &Ensure,
    spec: &ContainerSpec,
    carried: Carried<'_>,
) -> BTreeMap<String, String> {
    let config = carried.container.and_then(|container| container.config);
    let adopted = config.filter(|config| config.rule != spec.config.rule);
    let config = adopted.unwrap_or(spec.config);
    let kept = carried.container.filter(|container| container.config == Some(config));
    let kept = kept.and_then(|container| container.files);
    let files = match step.on_file_change {
        OnFileChange::Recreate if adopted.is_some() && !carried.files_pending => kept,
        OnFileChange::Recreate => spec.files,
        // From the days when it said `recreate`. To drop the label would be to recreate the container.
        OnFileChange::Restart | OnFileChange::Nothing => kept,
    };
    let mut labels = BTreeMap::from([
        (NODE.to_owned(), node.to_string()),
        (SERVICE.to_owned(), step.service.to_string()),
        (CONFIG.to_owned(), config.to_string()),
    ]);
    labels.extend(files.map(|files| (FILES.to_owned(), files.to_string())));
    labels
}

/// A container of the Compose service, if all of them carry the same labels.
fn carried<'r>(service: &str, rows: &'r [Row]) -> Option<&'r Container> {
    let mut containers = rows.iter().filter(|row| !row.one_off && *row.container.service == *service);
    let first = &containers.next()?.container;
    let same = |row: &Row| (row.container.config, row.container.files) == (first.config, first.files);
    containers.all(same).then_some(first)
}

/// Digest of each Compose service in a model.
pub(super) fn models(model: &Value) -> BTreeMap<Arc<str>, Digest> {
    let services = model.get("services").and_then(Value::as_object);
    let digest =
        |(name, service): (&String, &Value)| (Arc::from(name.as_str()), Digest::of(service.to_string()));
    services.into_iter().flatten().map(digest).collect()
}

/// What the record says of a step that was applied with success.
pub(super) fn applied(step: &Ensure) -> BTreeMap<Arc<str>, Applied> {
    let files = |name: &Arc<str>| step.containers.get(name).and_then(|spec| spec.files);
    let models = models(&step.model.value()).into_iter();
    models.map(|(name, model)| (name.clone(), Applied { model, files: files(&name) })).collect()
}

/// Digest of everything that Compose itself reads: its file, and the content of every `env_file` and `label_file`,
/// which it turns into environment and labels. Where none of them changed, Compose would recreate nothing that
/// looks right.
pub(super) fn fingerprint(step: &Ensure, compose_file: &str) -> Digest {
    let content = (Digest::of(compose_file), step.environment_files(&step.model.value()));
    Digest::of(serde_json::to_vec(&content).expect("its keys are strings"))
}

/// The calls of Compose that make the instance so, in order; none where it is.
///
/// `same` says that what Compose reads is what it last applied with success. Then only what is wrong is called by
/// name, and where it merely does not run, by the one command that starts it without starting what it depends on:
/// a job that had ended well must not run again because its neighbour was killed.
pub(super) fn calls(step: &Ensure, labels: &Labels, rows: &[Row], same: bool) -> Vec<Verb> {
    let containers: Vec<&Container> =
        rows.iter().filter(|row| !row.one_off).map(|row| &row.container).collect();
    let orphans = containers.iter().any(|container| !step.containers.contains_key(&container.service));
    let wrong: Vec<_> = step
        .containers
        .iter()
        .map(|(name, spec)| {
            let own =
                containers.iter().copied().filter(|container| container.service == *name).collect::<Vec<_>>();
            (name.clone(), condition(&own, spec, step.state, labels.get(name)))
        })
        .filter(|(_, condition)| *condition != Condition::Right)
        .collect();
    let all = wrong.len() == step.containers.len();
    let down = wrong.iter().all(|(_, condition)| *condition == Condition::Down);
    let names = || wrong.iter().map(|(name, _)| name.clone()).collect();
    match step.state {
        _ if same && !orphans && wrong.is_empty() => Vec::new(),
        RunState::Stopped => vec![Verb::Create, Verb::Stop],
        RunState::Running if !same || orphans || all => vec![Verb::Up],
        RunState::Running if down => vec![Verb::Restart(names())],
        RunState::Running => vec![Verb::UpOnly(names())],
    }
}

/// The calls that give these Compose services new containers, and start no other.
pub(super) fn made_anew(services: &BTreeSet<Arc<str>>) -> Vec<Verb> {
    let names = || services.iter().cloned().collect();
    if services.is_empty() { Vec::new() } else { vec![Verb::Recreate(names()), Verb::Restart(names())] }
}

/// How the containers of one Compose service stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// All are there, made from what they should be, in a state that they may be left in.
    Right,
    /// All are there and made from what they should be, and none of them runs.
    Down,
    /// Anything else.
    Wrong,
}

fn condition(
    containers: &[&Container],
    spec: &ContainerSpec,
    state: RunState,
    labels: Option<&BTreeMap<String, String>>,
) -> Condition {
    let down =
        |state| matches!(state, ContainerState::Exited | ContainerState::Created | ContainerState::Paused);
    let made = containers.len() == spec.replicas as usize
        && containers.iter().all(|container| labels.is_some_and(|labels| carries(container, labels)));
    if made && containers.iter().all(|container| stands(container, spec, state)) {
        Condition::Right
    } else if made && containers.iter().all(|container| down(container.state)) {
        Condition::Down
    } else {
        Condition::Wrong
    }
}

/// Whether a container is in a state that it may be left in. One that Docker restarts again and again is: starting
/// it once more would only feed the loop.
fn stands(container: &Container, spec: &ContainerSpec, state: RunState) -> bool {
    let ended = container.state == ContainerState::Exited;
    match state {
        RunState::Running => {
            matches!(container.state, ContainerState::Running | ContainerState::Restarting)
                || (ended && spec.completes && container.exit_code == Some(0))
        }
        RunState::Stopped => ended || container.state == ContainerState::Created,
    }
}

fn carries(container: &Container, labels: &BTreeMap<String, String>) -> bool {
    let config = container.config.map(|config| config.to_string());
    let files = container.files.map(|files| files.to_string());
    (config.as_ref(), files.as_ref()) == (labels.get(CONFIG), labels.get(FILES))
}

/// The Compose services whose running containers may have read files that were replaced since.
pub(super) fn due_for_restart(step: &Ensure, record: &Record) -> BTreeSet<Arc<str>> {
    if (step.on_file_change, step.state) != (OnFileChange::Restart, RunState::Running) {
        return BTreeSet::new();
    }
    let last = |name| record.services.get(name).and_then(|applied| applied.files);
    let due = step.containers.iter().filter(|(name, spec)| spec.files.is_some() && last(*name) != spec.files);
    due.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
