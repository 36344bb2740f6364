//! Whether a step asks for anything: a pure comparison of what the plan says with what Docker reports.
//!
//! This is what keeps the agent from calling Compose to learn that nothing changed. Each container carries the
//! digest it was made from as a label, so one list call answers; what labels cannot show (files, networks, the
//! order of things) is answered by the record of what each instance was last ensured as.

use std::sync::Arc;

use gitops_core::name::Digest;
use gitops_core::plan::{ContainerSpec, Ensure, OnFileChange, Reason, Remove, RunState, Step};
use gitops_core::status::{Container, ContainerState};

use crate::health::{self, Trouble, trouble};

/// What is known of the instance beside its containers.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What it was last ensured as.
    pub applied: Option<Digest>,
    /// The restart loop that it is in.
    pub looping: Option<Trouble>,
    /// Another change of it was begun and not made: its files may be those of that one.
    pub interrupted: bool,
    /// Its folder is gone, and with it what its containers mount from there.
    pub lost: bool,
}

/// What a step asks for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The host is as the step says, as far as Compose can make it so.
    Nothing,
    /// Compose has to make it so: the plan asks for something else than what is there.
    Change {
        /// What differs.
        reason: String,
    },
    /// Compose has to make it so again: something ended or is gone that should run.
    Heal {
        /// What is missing.
        reason: String,
        /// The container that ended; none where one is gone.
        ended: Option<Trouble>,
    },
    /// The instance has to go.
    Remove {
        /// Why.
        reason: String,
    },
    /// Something is wrong that another call of Compose would only feed: it is told and watched.
    Report(Trouble),
}

/// What `step` asks for, given its containers as Docker reports them.
pub fn decide(step: &Step, observed: &[Container], known: &Known) -> Action {
    match step {
        Step::Ensure(ensure) => decide_ensure(ensure, observed, known),
        Step::Remove(remove) => decide_remove(remove, observed, known),
    }
}

fn decide_remove(step: &Remove, observed: &[Container], known: &Known) -> Action {
    // An instance without containers may still have networks: the record says that it was once put in place.
    if observed.is_empty() && known.applied.is_none() {
        return Action::Nothing;
    }
    Action::Remove { reason: reasons(&step.because).unwrap_or_else(|| "the plan removes it".to_owned()) }
}

fn decide_ensure(step: &Ensure, observed: &[Container], known: &Known) -> Action {
    if let Some(reason) = change(step, observed, known.applied) {
        return Action::Change { reason };
    }
    if known.interrupted {
        return Action::Change {
            reason: "another change of it was begun and is not wanted any more".to_owned(),
        };
    }
    if known.lost {
        return Action::Change { reason: "its folder was deleted from the agent's state folder".to_owned() };
    }
    if let Some(trouble) = &known.looping {
        return Action::Report(trouble.clone());
    }
    let ended = match step.state {
        RunState::Running => observed.iter().find_map(|container| ended(step, container)),
        RunState::Stopped => None,
    };
    match (ended, missing(step, observed)) {
        (Some(trouble), _) => Action::Heal { reason: trouble.message.clone(), ended: Some(trouble) },
        (None, Some(reason)) => Action::Heal { reason, ended: None },
        (None, None) => Action::Nothing,
    }
}

/// The first thing that the plan wants otherwise.
fn change(step: &Ensure, observed: &[Container], applied: Option<Digest>) -> Option<String> {
    if applied != Some(step.digest) {
        return Some(match (applied, observed.is_empty()) {
            (None, true) => "it is not here yet".to_owned(),
            (None, false) => "it is not known how it was put in place".to_owned(),
            (Some(_), _) => reasons(&step.because).unwrap_or_else(|| "its definition changed".to_owned()),
        });
    }
    observed
        .iter()
        .find_map(|container| match step.containers.get(&container.service) {
            None => Some(format!("container {} is not part of it", container.name)),
            Some(spec) => differs(step, container, spec),
        })
        .or_else(|| surplus(step, observed))
}

fn differs(step: &Ensure, container: &Container, spec: &ContainerSpec) -> Option<String> {
    let name = &container.name;
    let Some(config) = container.config else {
        return Some(format!("container {name} does not carry its digest"));
    };
    // Digests of two rules cannot be compared. The record says that it was ensured as this step, so it was adopted.
    if config.rule == spec.config.rule && config != spec.config {
        return Some(format!("container {name} was made from another definition"));
    }
    let recreates = step.on_file_change == OnFileChange::Recreate;
    if recreates && container.files != spec.files && config.rule == spec.config.rule {
        return Some(format!("container {name} was made with other files"));
    }
    let runs = !matches!(
        container.state,
        ContainerState::Created | ContainerState::Exited | ContainerState::Dead | ContainerState::Removing
    );
    (step.state == RunState::Stopped && runs).then(|| format!("container {name} runs and should not"))
}

fn surplus(step: &Ensure, observed: &[Container]) -> Option<String> {
    step.containers.iter().find_map(|(service, spec)| {
        let found = count(observed, service);
        (found > spec.replicas as usize)
            .then(|| format!("{service} has {found} containers instead of {}", spec.replicas))
    })
}

fn missing(step: &Ensure, observed: &[Container]) -> Option<String> {
    step.containers.iter().find_map(|(service, spec)| {
        let found = count(observed, service);
        (found < spec.replicas as usize)
            .then(|| format!("{service} has {found} of its {} containers", spec.replicas))
    })
}

fn count(observed: &[Container], service: &Arc<str>) -> usize {
    observed.iter().filter(|container| container.service == *service).count()
}

fn ended(step: &Ensure, container: &Container) -> Option<Trouble> {
    let completes = step.containers.get(&container.service).is_some_and(|spec| spec.completes);
    match container.state {
        ContainerState::Exited if completes && container.exit_code == Some(0) => None,
        ContainerState::Exited | ContainerState::Dead => Some(trouble(container, health::ended(container))),
        ContainerState::Created => Some(trouble(container, "was created and not started")),
        // Docker itself is at work on these, or a person paused it: Compose would not change that.
        ContainerState::Running
        | ContainerState::Restarting
        | ContainerState::Paused
        | ContainerState::Removing => None,
    }
}

/// The plan's reasons in one line, the first three of them.
fn reasons(because: &[Reason]) -> Option<String> {
    const SHOWN: usize = 3;
    if because.is_empty() {
        return None;
    }
    let mut parts: Vec<_> = because.iter().take(SHOWN).map(reason).collect();
    if because.len() > SHOWN {
        parts.push(format!("and {} more", because.len() - SHOWN));
    }
    Some(parts.join("; "))
}

fn reason(reason: &Reason) -> String {
    let Reason { field, old, new, source } = reason;
    let change = match (old, new) {
        (Some(old), Some(new)) => format!("{field}: {old} → {new}"),
        (None, Some(new)) => format!("{field}: {new} is new"),
        (Some(old), None) => format!("{field}: {old} is gone"),
        (None, None) => field.to_string(),
    };
    source.as_ref().map_or(change.clone(), |source| format!("{change} ({source})"))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
