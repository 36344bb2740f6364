//! The health gate: whether an instance's containers are well, not yet, or caught in a restart loop.
//!
//! A container with a health check is well when Docker says `healthy`; one without when it has run for the settle
//! time without a restart; one that may complete when it ended with exit code 0. What Docker tells of a container
//! is one moment, so [`Tracks`] remembers since when each has run and how often its restarts rose.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gitops_core::plan::{ContainerSpec, Ensure, RunState};
use gitops_core::status::{Container, ContainerState, Health};
use jiff::{SignedDuration, Timestamp};

use crate::host::Observation;
use crate::moment::Moment;

/// This many restarts within the health window are a loop: one may be a slow neighbour, two bad luck.
pub const LOOP_RESTARTS: usize = 3;

/// What was seen of one container over time.
#[derive(Clone, Debug)]
struct Track {
    restarts: u64,
    started_at: Option<Timestamp>,
    /// Since when this run of it has been seen running.
    running_since: Option<Duration>,
    /// When its restarts rose: the last [`LOOP_RESTARTS`] of them.
    rises: VecDeque<Duration>,
}

/// What was seen of all containers over time, by id. Bounded by what Docker lists now.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    by_id: BTreeMap<Arc<str>, Track>,
}

impl Tracks {
    /// Takes in one look at Docker; containers that are gone are forgotten.
    pub fn see(&mut self, observation: &Observation, moment: Moment) {
        let mut old = std::mem::take(&mut self.by_id);
        for container in observation.instances.values().flatten() {
            let track = follow(old.remove(&container.id), container, moment);
            self.by_id.insert(container.id.clone(), track);
        }
    }

    /// How long this run of the container has lasted for sure: as long as it was watched, or, where Docker dated
    /// its start before that, since then.
    fn run_time(&self, container: &Container, moment: Moment) -> Duration {
        let watched = self.by_id.get(&container.id).and_then(|track| track.running_since);
        let watched = watched.map_or(Duration::ZERO, |since| moment.elapsed.saturating_sub(since));
        let dated = container.started_at.map_or(SignedDuration::ZERO, |at| moment.wall.duration_since(at));
        watched.max(Duration::try_from(dated).unwrap_or_default())
    }

    /// Whether it restarted [`LOOP_RESTARTS`] times within `window`. A container that is between two restarts when
    /// it is first seen counts those that Docker remembers.
    fn is_looping(&self, container: &Container, window: Duration, now: Duration) -> bool {
        let Some(track) = self.by_id.get(&container.id) else { return false };
        let recent = track.rises.iter().filter(|rise| now.saturating_sub(**rise) <= window).count();
        let caught =
            container.state == ContainerState::Restarting && container.restarts >= LOOP_RESTARTS as u64;
        recent >= LOOP_RESTARTS || caught
    }
}

fn follow(old: Option<Track>, container: &Container, moment: Moment) -> Track {
    let runs = container.state == ContainerState::Running;
    let Some(mut track) = old else {
        let running_since = runs.then_some(moment.elapsed);
        let (restarts, started_at) = (container.restarts, container.started_at);
        return Track { restarts, started_at, running_since, rises: VecDeque::new() };
    };
    // Docker counts from 0 again when a person starts the container: that is not a restart by its policy.
    let rose = container.restarts.saturating_sub(track.restarts);
    for _ in 0..rose.min(LOOP_RESTARTS as u64) {
        track.rises.push_back(moment.elapsed);
    }
    while track.rises.len() > LOOP_RESTARTS {
        track.rises.pop_front();
    }
    let same_run = track.started_at == container.started_at && track.restarts == container.restarts;
    track.running_since = match track.running_since {
        _ if !runs => None,
        Some(since) if same_run => Some(since),
        _ => Some(moment.elapsed),
    };
    track.restarts = container.restarts;
    track.started_at = container.started_at;
    track
}

/// What is the matter with one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Docker's id: whose log lines tell more. None where there is no container.
    pub container: Option<Arc<str>>,
    /// One clause: which container, its state, health, exit code and restarts. It holds nothing that changes by
    /// itself.
    pub message: String,
}

/// What the gate says of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All is well.
    Healthy,
    /// Not yet. Look again after this time where nothing happens before.
    Pending {
        /// The first container that is not well.
        trouble: Trouble,
        /// Until its settle time is over; none where only an event can change it.
        settles_in: Option<Duration>,
    },
    /// Docker reports its health check as failing.
    Unhealthy(Trouble),
    /// It was killed for want of memory, and has not been well since. Docker may have started it again; it will be killed
    /// again.
    Killed(Trouble),
    /// A restart loop: more calls of Compose would only feed it.
    Looping(Trouble),
}

/// What the gate goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a container without a health check must run.
    pub settle: Duration,
    /// Within which restarts are counted.
    pub window: Duration,
}

/// Judges an instance. The gravest trouble wins; among equals the first in order of services and names.
pub fn gate(step: &Ensure, observed: &[Container], tracks: &Tracks, rules: Rules, moment: Moment) -> Gate {
    if step.state == RunState::Stopped {
        return Gate::Healthy;
    }
    let known = observed.iter().filter_map(|container| {
        let spec = step.containers.get(&container.service)?;
        Some(judge(container, spec, tracks, rules, moment))
    });
    // `max_by_key` takes the last of equals; reversed, that is the first.
    let gravest = known.collect::<Vec<_>>().into_iter().rev().max_by_key(gravity);
    gravest.unwrap_or(Gate::Healthy)
}

fn gravity(gate: &Gate) -> u8 {
    match gate {
        Gate::Healthy => 0,
        // What settles by itself weighs least: what does not should be named.
        Gate::Pending { settles_in: Some(_), .. } => 1,
        Gate::Pending { settles_in: None, .. } => 2,
        Gate::Unhealthy(_) => 3,
        Gate::Killed(_) => 4,
        Gate::Looping(_) => 5,
    }
}

/// The graver of two; the first of equals.
pub fn graver(one: Gate, other: Gate) -> Gate {
    if gravity(&other) > gravity(&one) { other } else { one }
}

fn judge(container: &Container, spec: &ContainerSpec, tracks: &Tracks, rules: Rules, moment: Moment) -> Gate {
    if tracks.is_looping(container, rules.window, moment.elapsed) {
        let killed = if container.oom_killed { ": it is killed for want of memory" } else { "" };
        return Gate::Looping(trouble(container, &format!("is in a restart loop{killed}")));
    }
    match judge_run(container, spec, tracks, rules, moment) {
        Gate::Pending { .. } if container.oom_killed => Gate::Killed(trouble(container, ended(container))),
        gate => gate,
    }
}

/// How its last run ended.
pub fn ended(container: &Container) -> &'static str {
    if container.oom_killed { "was killed for want of memory" } else { "has ended" }
}

fn judge_run(
    container: &Container,
    spec: &ContainerSpec,
    tracks: &Tracks,
    rules: Rules,
    moment: Moment,
) -> Gate {
    let pending = |what: &str| Gate::Pending { trouble: trouble(container, what), settles_in: None };
    match (container.state, container.health) {
        (ContainerState::Exited, _) if spec.completes && container.exit_code == Some(0) => Gate::Healthy,
        (ContainerState::Running, Health::Healthy) => Gate::Healthy,
        (ContainerState::Running, Health::Unhealthy) => {
            Gate::Unhealthy(trouble(container, "fails its health check"))
        }
        (ContainerState::Running, Health::Starting) => pending("has not passed its health check yet"),
        (ContainerState::Running, Health::None) => settling(container, tracks, rules.settle, moment),
        (ContainerState::Created, _) => pending("was created and not started"),
        (ContainerState::Paused, _) => pending("is paused"),
        (ContainerState::Restarting, _) => pending("is being restarted"),
        (ContainerState::Removing, _) => pending("is being removed"),
        (ContainerState::Exited | ContainerState::Dead, _) => pending(ended(container)),
    }
}

fn settling(container: &Container, tracks: &Tracks, settle: Duration, moment: Moment) -> Gate {
    match settle.checked_sub(tracks.run_time(container, moment)) {
        None | Some(Duration::ZERO) => Gate::Healthy,
        left => {
            let message = format!("has not run for {} seconds yet", settle.as_secs_f32());
            Gate::Pending { trouble: trouble(container, &message), settles_in: left }
        }
    }
}

/// Names the container and what Docker says of its last end.
pub fn trouble(container: &Container, what: &str) -> Trouble {
    let mut message = format!("container {} {what}", container.name);
    let ended = !matches!(container.state, ContainerState::Running | ContainerState::Created);
    if let Some(code) = container.exit_code.filter(|_| ended) {
        message.push_str(&format!(", exit code {code}"));
    }
    match container.restarts {
        0 => {}
        1 => message.push_str(", restarted once"),
        times => message.push_str(&format!(", restarted {times} times")),
    }
    Trouble { container: Some(container.id.clone()), message }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
