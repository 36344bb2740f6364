//! The health checks of a plan: which is asked when, and what the answers come to.
//!
//! Each check is asked of each running container of its Compose service, again and again, as long as the instance is in place.
//! So many good answers in a row make it healthy for a container, so many bad ones unhealthy; another run of the container, or
//! another form of the check, begins anew. Pure: the questions go out as [`Ask`]s, and the answers come back as events.
//!
//! **Invariant:** at most [`AT_ONCE`] questions are under way, and one of each check and container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::ServiceName;
use gitops_core::plan::{Ensure, HealthCheck, NodePlan, Probe, RunState};
use gitops_core::status::{Container, ContainerState};
use jiff::Timestamp;

use crate::health::{Gate, trouble};
use crate::host::Observation;
use crate::ledger::Record;
use crate::moment::Moment;

/// Questions under way at once: each is a connection or a process, and most are answered in milliseconds.
const AT_ONCE: usize = 8;
/// First questions are spread over this time, so that what starts together is not asked together for ever.
const SPREAD: Duration = Duration::from_millis(500);

/// A question to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names it in the answer.
    pub number: u64,
    /// Docker's id.
    pub container: Arc<str>,
    /// What is asked.
    pub probe: Probe,
    /// How long the answer may take.
    pub within: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As it should be.
    Good,
    /// Not as it should be: `GET /health on 8080 answered 503`. It holds nothing that the container sent.
    Bad(String),
    /// It could not be asked, which says nothing about the container.
    NotAsked,
}

/// Which check of which container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    service: ServiceName,
    check: Arc<str>,
    container: Arc<str>,
}

/// One check of one run of a container.
#[derive(Clone, Debug)]
struct Track {
    check: HealthCheck,
    run: (Option<Timestamp>, u64),
    good: u32,
    bad: u32,
    /// None until it was decided for the first time.
    is_healthy: Option<bool>,
    /// The last bad answer.
    problem: Option<String>,
    next_at: Duration,
    /// The question that is under way.
    asking: Option<u64>,
}

/// All checks of all containers.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    tracks: BTreeMap<Place, Track>,
    asked: u64,
    under_way: usize,
}

impl Checks {
    /// Takes over which checks there are: those of the instances that are in place, for each container that runs.
    pub fn follow(&mut self, plan: &NodePlan, seen: &Observation, record: &Record, moment: Moment) {
        let mut old = std::mem::take(&mut self.tracks);
        let ensures = plan.steps.iter().filter_map(|step| step.as_ensure());
        let checked = ensures.filter(|step| !step.terms.checks.is_empty() && step.state == RunState::Running);
        for step in checked {
            let is_in_place = record.get(&step.service).is_some_and(|applied| applied.digest == step.digest);
            let containers = seen.instances.get(&step.service).filter(|_| is_in_place);
            for (check, container) in asked(step, containers.map_or(&[], Vec::as_slice)) {
                let place = place(step, check, container);
                let run = (container.started_at, container.restarts);
                let kept = old.remove(&place).filter(|track| track.run == run && track.check == *check);
                let spread = moment.dice.wrapping_add(self.tracks.len() as u64 * 7919) % millis(SPREAD);
                let first = moment.elapsed + Duration::from_millis(spread);
                self.tracks.insert(place, kept.unwrap_or_else(|| Track::new(check, run, first)));
            }
        }
    }

    /// The questions that are due, longest due first.
    pub fn ask(&mut self, moment: Moment) -> Vec<Ask> {
        let due = self.tracks.iter_mut().filter(|(_, track)| track.is_due(moment.elapsed));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, track)| track.next_at);
        let free = AT_ONCE.saturating_sub(self.under_way);
        let mut asks = Vec::new();
        for (place, track) in due.into_iter().take(free) {
            self.asked += 1;
            self.under_way += 1;
            track.asking = Some(self.asked);
            asks.push(Ask {
                number: self.asked,
                container: place.container.clone(),
                probe: track.check.probe.clone(),
                within: seconds(track.check.timeout),
            });
        }
        asks
    }

    /// Takes in an answer. One to a question that nobody waits for any more says nothing.
    pub fn answered(&mut self, number: u64, answer: Answer, moment: Moment) {
        self.under_way = self.under_way.saturating_sub(1);
        let track = self.tracks.values_mut().find(|track| track.asking == Some(number));
        if let Some(track) = track {
            track.take(answer, moment);
        }
    }

    /// When a question is due next; none while an answer has to come first.
    pub fn wake_at(&self) -> Option<Duration> {
        let idle = self.tracks.values().filter(|track| track.asking.is_none() && self.under_way < AT_ONCE);
        idle.map(|track| track.next_at).min()
    }

    /// What the checks say of an instance; the first that is not healthy is named, one that fails before one that waits.
    pub fn gate(&self, step: &Ensure, observed: &[Container]) -> Gate {
        let mut said = Gate::Healthy;
        for (check, container) in asked(step, observed) {
            match self.judge(place(step, check, container), container) {
                Gate::Unhealthy(trouble) => return Gate::Unhealthy(trouble),
                pending @ Gate::Pending { .. } if said == Gate::Healthy => said = pending,
                _ => {}
            }
        }
        said
    }

    fn judge(&self, place: Place, container: &Container) -> Gate {
        let track = self.tracks.get(&place);
        let why =
            track.and_then(|track| track.problem.as_ref()).map_or(String::new(), |why| format!(": {why}"));
        let name = &place.check;
        match track.and_then(|track| track.is_healthy) {
            Some(true) => Gate::Healthy,
            Some(false) => Gate::Unhealthy(trouble(container, &format!("fails check {name}{why}"))),
            None => {
                let trouble = trouble(container, &format!("has not passed check {name} yet{why}"));
                Gate::Pending { trouble, settles_in: None }
            }
        }
    }
}

impl Track {
    fn new(check: &HealthCheck, run: (Option<Timestamp>, u64), next_at: Duration) -> Self {
        let (good, bad, is_healthy, problem, asking) = (0, 0, None, None, None);
        Self { check: check.clone(), run, good, bad, is_healthy, problem, next_at, asking }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.asking.is_none() && self.next_at <= now
    }

    fn take(&mut self, answer: Answer, moment: Moment) {
        self.asking = None;
        self.next_at = moment.elapsed + jittered(seconds(self.check.interval), moment.dice);
        match answer {
            Answer::Good => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                if self.good >= self.check.healthy_after {
                    (self.is_healthy, self.problem) = (Some(true), None);
                }
            }
            Answer::Bad(problem) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                self.problem = Some(problem);
                if self.bad >= self.check.unhealthy_after {
                    self.is_healthy = Some(false);
                }
            }
            Answer::NotAsked => {}
        }
    }
}

/// Each check with each running container that it is asked of.
fn asked<'s>(
    step: &'s Ensure,
    observed: &'s [Container],
) -> impl Iterator<Item = (&'s HealthCheck, &'s Container)> {
    step.terms.checks.iter().flat_map(move |check| {
        let own = observed.iter().filter(move |container| container.service == check.container);
        own.filter(|container| container.state == ContainerState::Running)
            .map(move |container| (check, container))
    })
}

fn place(step: &Ensure, check: &HealthCheck, container: &Container) -> Place {
    let (service, check) = (step.service.clone(), check.name.clone());
    Place { service, check, container: container.id.clone() }
}

/// At least one: a check without a pause would ask without end.
fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.max(1).into())
}

/// From nine tenths of it to eleven.
fn jittered(whole: Duration, dice: u64) -> Duration {
    let fifth = millis(whole) / 5;
    whole - Duration::from_millis(fifth / 2) + Duration::from_millis(dice % (fifth + 1))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
