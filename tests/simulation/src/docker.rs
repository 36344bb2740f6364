//! Docker and Docker Compose of one machine, as far as an agent sees them.
//!
//! `up` makes the containers as a step says and leaves alone those that are so; `down` takes them away. Everything takes
//! time, and in the middle of it the world may change, the call may fail, or the agent may be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_agent::host::Observation;
use gitops_agent::picture::Picture;
use gitops_core::name::ServiceName;
use gitops_core::plan::{ContainerSpec, Ensure, OnFileChange, RunState, Step};
use gitops_core::status::{Container, ContainerState, Health};
use jiff::Timestamp;

use crate::clock::Millis;
use crate::dice::Dice;
use crate::repository::Temper;

/// What is done to the containers of a service, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Some were made that were not there.
    Made,
    /// Some that ran were replaced, or taken away because the step does not have them.
    Replaced,
    /// Some that ran were stopped.
    Stopped,
    /// All were taken away.
    Removed,
}

/// What a person does by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// `docker stop`.
    Stop,
    /// `docker rm -f`.
    Remove,
    /// Another container in the place of one, without our labels' values.
    Replace,
    /// `docker pause`.
    Pause,
    /// `docker restart`.
    Restart,
}

/// The engine of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Docker {
    /// By service. Never empty ones.
    pub(crate) instances: BTreeMap<ServiceName, Vec<Container>>,
    tempers: BTreeMap<ServiceName, Temper>,
    /// Containers of hooks: when each ends or has ended.
    pub(crate) hooks: BTreeMap<Arc<str>, Millis>,
    /// It does not answer.
    pub(crate) is_away: bool,
    /// So many calls of Compose fail; every other one of them after it did its work.
    pub(crate) failing: u32,
    /// It shows this instead of what is.
    pub(crate) lie: Option<Observation>,
    made: u64,
}

impl Docker {
    /// What it shows.
    pub(crate) fn observation(&self) -> Observation {
        let pictures = || self.instances.values().flatten().map(picture).collect();
        let truth =
            || Observation { instances: self.instances.clone(), lost: BTreeSet::new(), pictures: pictures() };
        self.lie.clone().unwrap_or_else(truth)
    }

    /// Whether the next call of Compose fails, and if so whether it did its work before.
    pub(crate) fn fails(&mut self) -> Option<bool> {
        self.failing = self.failing.checked_sub(1)?;
        Some(self.failing % 2 == 1)
    }

    /// Whether the containers of a service are those that Compose made, run, and are well.
    pub(crate) fn is_up(&self, service: &ServiceName) -> bool {
        let is_well = self.tempers.get(service).is_some_and(|temper| temper.is_well());
        let containers = self.instances.get(service).map_or(&[][..], Vec::as_slice);
        let runs = |container: &Container| {
            let is_healthy = matches!(container.health, Health::None | Health::Healthy);
            container.state == ContainerState::Running && container.config.is_some() && is_healthy
        };
        is_well && !containers.is_empty() && containers.iter().all(runs)
    }

    /// How what a step asks for behaves.
    pub(crate) fn refuses(step: &Step) -> bool {
        step.as_ensure().is_some_and(|ensure| Temper::of(ensure) == Temper::Refused)
    }

    /// Compose does its work.
    pub(crate) fn change(&mut self, step: &Step, wall: Timestamp) -> Change {
        match step {
            Step::Remove(remove) => {
                self.tempers.remove(&remove.service);
                match self.instances.remove(&remove.service) {
                    Some(_) => Change::Removed,
                    None => Change::Nothing,
                }
            }
            Step::Ensure(ensure) => self.up(ensure, wall),
        }
    }

    fn up(&mut self, ensure: &Ensure, wall: Timestamp) -> Change {
        let before = self.instances.remove(&ensure.service).unwrap_or_default();
        let temper = Temper::of(ensure);
        let mut change = Change::Nothing;
        let mut after = Vec::new();
        for (name, spec) in &ensure.containers {
            for number in 1..=spec.replicas {
                let wanted: Arc<str> = format!("{}-{name}-{number}", ensure.project).into();
                let old = before.iter().find(|container| container.name == wanted);
                let (container, what) = self.container(ensure, spec, (name, &wanted), old, temper, wall);
                change = worse(change, what);
                after.push(container);
            }
        }
        let is_kept = |old: &Container| after.iter().any(|container| container.name == old.name);
        if before.iter().any(|old| !is_kept(old)) {
            change = worse(change, Change::Replaced);
        }
        self.tempers.insert(ensure.service.clone(), temper);
        self.instances.insert(ensure.service.clone(), after);
        change
    }

    fn container(
        &mut self,
        ensure: &Ensure,
        spec: &ContainerSpec,
        (service, name): (&Arc<str>, &Arc<str>),
        old: Option<&Container>,
        temper: Temper,
        wall: Timestamp,
    ) -> (Container, Change) {
        let files = spec.files.filter(|_| ensure.on_file_change == OnFileChange::Recreate);
        let same = old.filter(|old| (old.config, old.files) == (Some(spec.config), files));
        let mut what = match (old, same) {
            (_, Some(_)) => Change::Nothing,
            (Some(_), None) => Change::Replaced,
            (None, None) => Change::Made,
        };
        let mut container = same.cloned().unwrap_or_else(|| {
            self.made += 1;
            Container {
                service: service.clone(),
                id: format!("{name}-{}", self.made).into(),
                name: name.clone(),
                image: "app".into(),
                image_id: "sha256:0".into(),
                image_now: None,
                config: Some(spec.config),
                files,
                state: ContainerState::Created,
                health: Health::None,
                restarts: 0,
                exit_code: None,
                oom_killed: false,
                started_at: None,
            }
        });
        match ensure.state {
            RunState::Stopped if container.state == ContainerState::Running => {
                (container.state, container.exit_code) = (ContainerState::Exited, Some(0));
                what = worse(what, Change::Stopped);
            }
            RunState::Running if container.state != ContainerState::Running => {
                start(&mut container, temper, wall)
            }
            RunState::Running | RunState::Stopped => {}
        }
        (container, what)
    }

    /// Time passes: what starts becomes healthy, what loops is restarted. Returns whether anything changed.
    pub(crate) fn pass_time(&mut self, wall: Timestamp) -> bool {
        let mut changed = false;
        for (service, containers) in &mut self.instances {
            let temper = self.tempers.get(service).copied().unwrap_or(Temper::Good);
            for container in containers {
                match (temper, container.state, container.health) {
                    (Temper::Checked, ContainerState::Running, Health::Starting) => {
                        container.health = Health::Healthy;
                        changed = true;
                    }
                    (Temper::Loops, ContainerState::Running | ContainerState::Restarting, _)
                        if container.restarts < 20 =>
                    {
                        container.restarts += 1;
                        (container.state, container.exit_code) = (ContainerState::Restarting, Some(1));
                        container.started_at = Some(wall);
                        changed = true;
                    }
                    _ => {}
                }
            }
        }
        changed
    }

    /// A person does something to a container of some service. Returns whether there was one.
    pub(crate) fn edit(&mut self, edit: Edit, wall: Timestamp, dice: &mut Dice) -> bool {
        let services: Vec<ServiceName> = self.instances.keys().cloned().collect();
        if services.is_empty() {
            return false;
        }
        let service = dice.pick(&services);
        let temper = self.tempers.get(&service).copied().unwrap_or(Temper::Good);
        let containers = self.instances.get_mut(&service).expect("it was just listed");
        let index = dice.below(containers.len());
        let container = &mut containers[index];
        match edit {
            Edit::Stop => (container.state, container.exit_code) = (ContainerState::Exited, Some(137)),
            Edit::Pause => container.state = ContainerState::Paused,
            Edit::Restart => start(container, temper, wall),
            Edit::Replace => {
                self.made += 1;
                container.id = format!("{}-{}", container.name, self.made).into();
                (container.config, container.image) = (None, "other".into());
            }
            Edit::Remove => {
                containers.remove(index);
            }
        }
        if containers.is_empty() {
            self.instances.remove(&service);
        }
        true
    }

    /// What a person paused goes on.
    pub(crate) fn unpause(&mut self) {
        for container in self.instances.values_mut().flatten() {
            if container.state == ContainerState::Paused {
                container.state = ContainerState::Running;
            }
        }
    }
}

/// A container as the engine describes it, as far as this one does.
fn picture(container: &Container) -> (Arc<str>, Arc<Picture>) {
    let fields = [("image".to_owned(), container.image.as_ref().into())];
    (container.id.clone(), Arc::new(Picture::new(&container.service, &container.name, fields)))
}

fn start(container: &mut Container, temper: Temper, wall: Timestamp) {
    (container.state, container.exit_code) = (ContainerState::Running, None);
    container.started_at = Some(wall);
    match temper {
        Temper::Good | Temper::Refused => container.health = Health::None,
        Temper::Checked | Temper::Sick => container.health = Health::Starting,
        Temper::Loops => container.health = Health::None,
        Temper::Ends => (container.state, container.exit_code) = (ContainerState::Exited, Some(1)),
    }
}

/// The graver of two changes.
fn worse(one: Change, other: Change) -> Change {
    let gravity = |change: &Change| match change {
        Change::Nothing => 0,
        Change::Made => 1,
        Change::Stopped => 2,
        Change::Replaced => 3,
        Change::Removed => 4,
    };
    if gravity(&other) > gravity(&one) { other } else { one }
}
