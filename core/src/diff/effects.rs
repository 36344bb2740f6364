//! What a change does to running containers, by the same rules as the agent's.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::Effect;
use super::state::Opened;
use crate::align::aligned;
use crate::definition::Recreate;
use crate::desired::Instance;
use crate::plan::{ContainerSpec, Ensure, OnFileChange, RunState};

/// What happens to the containers of an instance, by Compose service.
pub fn effects(old: Option<&Ensure>, new: Option<&Ensure>) -> BTreeMap<Arc<str>, Effect> {
    let [old, new] = [old, new].map(|ensure| ensure.map(Opened::from));
    of_opened(old.as_ref(), new.as_ref())
}

/// The containers that a change would make anew although its roll-out makes none anew.
pub fn forbidden(old: &Ensure, new: &Instance) -> Vec<Arc<str>> {
    if new.rollout().recreate() != Recreate::Never {
        return Vec::new();
    }
    let effects = effects(Some(old), Some(&new.ensure)).into_iter();
    effects.filter(|(_, effect)| *effect == Effect::Recreate).map(|(container, _)| container).collect()
}

/// The same, where other questions are asked of them, too.
pub(super) fn of_opened(was: Option<&Opened<'_>>, is: Option<&Opened<'_>>) -> BTreeMap<Arc<str>, Effect> {
    let [old, new] = [was, is].map(|opened| opened.map(|opened| opened.ensure));
    let nothing = BTreeMap::new();
    let before = old.map_or(&nothing, |old| &old.containers);
    let after = new.map_or(&nothing, |new| &new.containers);
    // Its containers carry the name of the service.
    let name = |ensure: &Ensure| (ensure.project.clone(), ensure.service.clone());
    let moved = old.zip(new).is_some_and(|(old, new)| name(old) != name(new));
    let switched = old.zip(new).is_some_and(|(old, new)| old.state != new.state);
    // Read from the models, so only where files changed, and once for all containers.
    let files = |side: Option<&Opened<'_>>| {
        side.map(|side| side.ensure.environment_files(side.model())).unwrap_or_default()
    };
    let environment = LazyCell::new(|| (files(was), files(is)));
    let environment_changed = |name: &str| environment.0.get(name) != environment.1.get(name);
    type Spec<'a> = Option<&'a ContainerSpec>;
    let effect = |name: &str, before: Spec<'_>, after: Spec<'_>| match (before, after, new) {
        (None, Some(_), _) => Some(Effect::Create),
        (Some(_), None, _) | (_, _, None) => Some(Effect::Remove),
        (Some(_), Some(_), _) if moved => Some(Effect::Recreate),
        (Some(before), Some(after), Some(new)) => {
            let environment = before.files != after.files && environment_changed(name);
            container_effect(before, after, new, environment).or(switched.then_some(Effect::Switch))
        }
        (None, None, _) => None,
    };
    let containers = aligned(before, after);
    containers
        .filter_map(|(name, before, after)| Some((name.clone(), effect(name, before, after)?)))
        .collect()
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
