//! Drift: what of an instance is not as it was put in place, what changed it, and how it is undone. Pure.
//!
//! Compared are the containers as Docker reports them with the pictures that were taken once they were in place. A
//! container that ended or was restarted by itself is no drift; one that a person stopped, killed, paused or removed is, and
//! Docker's events tell the two apart. What is the least disturbing is done: `docker update`, `network connect`, `rename`,
//! `start` and `unpause` undo their counterparts on the living container, and only what no call can change on it takes a
//! new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, RunState};
use gitops_core::sensitive::Sensitive;
use gitops_core::status::{Container, ContainerState, Difference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::picture::{Changed, Pair, Picture, pairs};

mod touch;
pub use touch::{Act, Touch, Touches};

/// What is kept of every instance that was put in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pictures {
    services: BTreeMap<ServiceName, Kept>,
    touches: Touches,
}

/// The pictures of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The instance digest under which they were taken.
    digest: Digest,
    /// By Docker's id.
    containers: BTreeMap<Arc<str>, Arc<Picture>>,
}

/// The pictures of one look, by Docker's id.
pub type Seen = BTreeMap<Arc<str>, Arc<Picture>>;

impl Pictures {
    /// Takes the pictures of what was put in place as `digest`. Of containers that are the same as before they are kept:
    /// what others changed of those is still to be undone. Returns whether anything is new; none, and nothing is taken,
    /// where a picture is missing.
    pub fn take(
        &mut self,
        service: &ServiceName,
        digest: Digest,
        observed: &[Container],
        seen: &Seen,
    ) -> Option<bool> {
        let old = self.services.get(service);
        let picture = |container: &Container| {
            let before = old.and_then(|kept| kept.containers.get(&container.id));
            Some((container.id.clone(), before.or_else(|| seen.get(&container.id))?.clone()))
        };
        let containers = observed.iter().map(picture).collect::<Option<_>>()?;
        let taken = Kept { digest, containers };
        let is_new = old != Some(&taken);
        self.services.insert(service.clone(), taken);
        self.prune();
        Some(is_new)
    }

    /// Whether there are pictures of the instance as `digest`.
    pub fn has(&self, service: &ServiceName, digest: Digest) -> bool {
        self.services.get(service).is_some_and(|kept| kept.digest == digest)
    }

    /// The other instances are gone. Returns whether anything was known of one.
    pub fn keep_only(&mut self, is_kept: impl Fn(&ServiceName) -> bool) -> bool {
        let before = self.services.len();
        self.services.retain(|service, _| is_kept(service));
        self.prune();
        self.services.len() != before
    }

    /// The service that a container is of.
    pub fn service_of(&self, container: &str) -> Option<&ServiceName> {
        self.services
            .iter()
            .find(|(_, kept)| kept.containers.contains_key(container))
            .map(|(service, _)| service)
    }

    /// The name that a container was given.
    pub fn name_of(&self, container: &str) -> Option<&str> {
        self.services.values().find_map(|kept| kept.containers.get(container)).map(|picture| &*picture.name)
    }

    /// Something happened to a container. Returns whether that has to be remembered.
    pub fn touched(&mut self, touch: Touch) -> bool {
        self.touches.add(touch)
    }

    fn prune(&mut self) {
        let services = &self.services;
        self.touches.retain(|id| services.values().any(|kept| kept.containers.contains_key(id)));
    }

    /// Everything of an instance that others changed, what does not count included.
    pub fn findings(&self, step: &Ensure, observed: &[Container], seen: &Seen) -> Vec<Finding> {
        let Some(kept) = self.services.get(&step.service) else { return Vec::new() };
        let pairs = pairs(&kept.containers, observed);
        let found = pairs.iter().flat_map(|pair| self.of_pair(step, pair, seen));
        let mut found: Vec<Finding> = found.collect();
        found.iter_mut().for_each(|finding| finding.difference.redact(&Sensitive::default()));
        found.sort_by(|a, b| a.difference.cmp(&b.difference));
        found
    }

    fn of_pair(&self, step: &Ensure, pair: &Pair<'_>, seen: &Seen) -> Vec<Finding> {
        match (pair.kept, pair.seen) {
            (Some((id, picture)), None) => vec![self.finding(step, Some(id), missing(picture), Undo::Up)],
            (None, Some(container)) => {
                vec![self.finding(step, Some(&container.id), extra(container), Undo::Up)]
            }
            (Some((id, picture)), Some(container)) => {
                let mut found = self.of_fields(step, id, picture, container, seen);
                found.extend(self.of_state(step, container));
                found
            }
            (None, None) => Vec::new(),
        }
    }

    fn of_fields(
        &self,
        step: &Ensure,
        id: &Arc<str>,
        picture: &Arc<Picture>,
        container: &Container,
        seen: &Seen,
    ) -> Vec<Finding> {
        let Some(found) = seen.get(&container.id) else { return Vec::new() };
        let is_same = *id == container.id;
        let finding = |changed: Changed| {
            let recreate = Undo::Recreate(picture.service.clone());
            let undo = undo(&changed, container, picture).filter(|_| is_same).unwrap_or(recreate);
            self.finding(step, Some(&container.id), changed.told(&picture.name), undo)
        };
        picture.changed(found).into_iter().map(finding).collect()
    }

    /// Whether it runs, as the plan wants it and nobody else.
    fn of_state(&self, step: &Ensure, container: &Container) -> Option<Finding> {
        use ContainerState::{Exited, Paused, Restarting, Running};
        let id = &container.id;
        let by_person = self.touches.of(id, "state").is_some_and(|touch| touch.act.ends());
        let completes = step.containers.get(&container.service).is_some_and(|spec| spec.completes);
        let is_done = completes && container.exit_code == Some(0);
        let told = |wanted: &str, found: String| {
            Difference::new(&container.name, "state", Some(wanted), Some(found))
        };
        let (difference, undo) = match (step.state, container.state) {
            (RunState::Running, Paused) => {
                (told("running", "paused".to_owned()), call_of(container, Call::Unpause))
            }
            (RunState::Running, Exited) if by_person && !is_done => {
                let code = container.exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
                (told("running", format!("exited{code}")), call_of(container, Call::Start))
            }
            (RunState::Stopped, state @ (Running | Restarting | Paused)) => {
                (told("stopped", format!("{state:?}").to_lowercase()), Undo::Up)
            }
            _ => return None,
        };
        Some(self.finding(step, Some(id), difference, undo))
    }

    fn finding(&self, step: &Ensure, id: Option<&Arc<str>>, difference: Difference, undo: Undo) -> Finding {
        let touch = id.and_then(|id| self.touches.of(id, &difference.field));
        let counts = !step.terms.drift.ignores(&difference.field);
        let by = touch.map(|touch| touch.act.words().into());
        let difference = Difference { by, since: touch.map(|touch| touch.at), ..difference };
        Finding { difference, undo, counts }
    }
}

fn missing(picture: &Picture) -> Difference {
    let image = picture.fields.get("image").and_then(Value::as_str).unwrap_or("there");
    Difference::new(&picture.name, "container", Some(image), None::<&str>)
}

fn extra(container: &Container) -> Difference {
    Difference::new(&container.name, "container", None::<&str>, Some(&container.image))
}

/// One thing that others changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// As it is told.
    pub difference: Difference,
    /// What makes it as it was.
    pub undo: Undo,
    /// The terms of the step do not ignore it.
    pub counts: bool,
}

impl Finding {
    /// Whether it is about a container that should run, or be there, and does not, or the other way round: what Compose
    /// would put right whenever it is called.
    pub fn is_about_running(&self) -> bool {
        matches!(&*self.difference.field, "state" | "container")
    }
}

/// What makes a container as it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// A call of the engine. Where it does not help, a new container is made.
    Call {
        /// Docker's id.
        container: Arc<str>,
        /// The Compose service.
        service: Arc<str>,
        /// The call.
        call: Call,
    },
    /// New containers for this Compose service.
    Recreate(Arc<str>),
    /// Compose makes what is missing and removes what is surplus.
    Up,
}

/// A call of the engine for one container.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `docker update` to the limits and the restart policy of its picture, of which this field changed.
    Update(Arc<str>, Arc<Picture>),
    /// `docker rename`.
    Rename(Arc<str>),
    /// `docker network connect` to this network, as it was connected.
    Connect(Arc<str>, Value),
    /// `docker network disconnect` from this network.
    Disconnect(Arc<str>),
    /// `docker start`.
    Start,
    /// `docker unpause`.
    Unpause,
}

fn call_of(container: &Container, call: Call) -> Undo {
    Undo::Call { container: container.id.clone(), service: container.service.clone(), call }
}

/// The call that undoes a change of a living container; none where there is none.
fn undo(changed: &Changed, container: &Container, picture: &Arc<Picture>) -> Option<Undo> {
    let (section, key) = changed.field.split_once('.').unwrap_or((&changed.field, ""));
    let call = match (section, &changed.wanted, &changed.found) {
        ("resources" | "restart", ..) => Call::Update(changed.field.clone(), picture.clone()),
        ("name", ..) => Call::Rename(picture.name.clone()),
        ("networks", Some(endpoint), None) => Call::Connect(key.into(), endpoint.clone()),
        ("networks", None, Some(_)) => Call::Disconnect(key.into()),
        _ => return None,
    };
    Some(call_of(container, call))
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
