//! What the engine's answers say, as our own types. Pure, so that recorded answers test it.
//!
//! Every field of an answer is taken as optional: the client sends requests without a version, so each engine
//! answers in its own newest format.

use std::sync::Arc;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, ContainerSummary,
    ContainerSummaryStateEnum as State, HealthStatusEnum as Check,
};
pub(super) use gitops_core::compose::labels::{CONFIG, FILES, HOOK, NODE, SERVICE};
use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::ContainerDigest;
use gitops_core::status::{Container, ContainerState, Health};
use jiff::Timestamp;

use super::picture::picture;
use crate::picture::Picture;

/// Compose's own labels. Source: `docker compose` 2.26, `pkg/api/labels.go`.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// One container of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What the list says of it; what only an inspection tells is not filled in.
    pub container: Container,
    /// Label [`NODE`].
    pub node: Option<Arc<str>>,
    /// Label [`SERVICE`].
    pub service: Option<ServiceName>,
    /// The Compose project that it is of.
    pub project: Option<Arc<str>>,
    /// Made by `docker compose run`: it carries our labels and is no part of the instance.
    pub one_off: bool,
    /// Label [`HOOK`].
    pub is_hook: bool,
    /// Docker's own words for how long it has been in its state: `Up 2 hours (healthy)`.
    pub status: String,
}

/// All of a row that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class<'r> {
    state: ContainerState,
    health: Health,
    ended: &'r str,
    image: &'r str,
}

/// What a list does not tell, not in every version, or too late: for a moment after the event that a container died,
/// a list still says that it runs, because it is answered from a copy that the engine brings up to date after it
/// sends the event. An inspection asks the container itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// The reference that it was made from. A list shows an id in its place as soon as the reference names another
    /// image.
    pub image: Option<Arc<str>>,
    /// See [`Container::image_now`].
    pub image_now: Option<Arc<str>>,
    /// The state; none in an answer without one.
    pub state: Option<ContainerState>,
    /// The health; none where there is no check, which then stands in the list as well.
    pub health: Option<Health>,
    /// See [`Container::restarts`].
    pub restarts: u64,
    /// See [`Container::exit_code`]; meaningful only where it does not run.
    pub exit_code: Option<i64>,
    /// See [`Container::oom_killed`]; what an inspection says is forgotten when Docker starts it again.
    pub oom_killed: bool,
    /// See [`Container::started_at`].
    pub started_at: Option<Timestamp>,
    /// All of it that others could change.
    pub picture: Option<Arc<Picture>>,
}

/// The row of a container; none for an answer without an id.
pub(super) fn row(summary: ContainerSummary) -> Option<Row> {
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).map(String::as_str);
    let status = summary.status.unwrap_or_default();
    let container = Container {
        service: label(COMPOSE_SERVICE).unwrap_or_default().into(),
        id: summary.id?.into(),
        name: summary
            .names
            .unwrap_or_default()
            .first()
            .map_or("", |name| name.trim_start_matches('/'))
            .into(),
        image: summary.image.unwrap_or_default().into(),
        image_id: summary.image_id.unwrap_or_default().into(),
        image_now: None,
        config: label(CONFIG).and_then(|text| ContainerDigest::try_from(text.to_owned()).ok()),
        files: label(FILES).and_then(|text| text.parse::<Digest>().ok()),
        state: state(summary.state),
        health: health(&status),
        restarts: 0,
        exit_code: exit_code(&status),
        oom_killed: false,
        started_at: None,
    };
    Some(Row {
        container,
        node: label(NODE).map(Arc::from),
        service: label(SERVICE).and_then(|text| text.parse().ok()),
        project: label(PROJECT).map(Arc::from),
        one_off: label(ONE_OFF) == Some("True"),
        is_hook: label(HOOK).is_some(),
        status,
    })
}

impl Row {
    /// What must be inspected again when it changes: everything in the row but how long it has been so.
    pub(super) fn class(&self) -> Class<'_> {
        let ended = self.status.split_once(')').map_or("", |(words, _)| words);
        // Of `Up 2 hours (healthy)` the health says it all; of `Exited (1) 2 hours ago` the code is needed.
        let ended = if self.status.starts_with("Up") { "" } else { ended };
        Class {
            state: self.container.state,
            health: self.container.health,
            ended,
            image: &self.container.image,
        }
    }

    /// Whether it was started or has ended less than a minute ago, in Docker's words: `Up 5 seconds`, `Exited (1)
    /// Less than a second ago`. Such a container may be in a restart loop, which looks the same each time.
    pub(super) fn is_young(&self) -> bool {
        self.status.contains("second") || self.container.state == ContainerState::Restarting
    }

    /// The container with what an inspection told.
    pub(super) fn with(mut self, details: &Details) -> Container {
        self.container.state = details.state.unwrap_or(self.container.state);
        self.container.health = details.health.unwrap_or(self.container.health);
        self.container.image = details.image.clone().unwrap_or(self.container.image);
        self.container.image_now.clone_from(&details.image_now);
        let runs = matches!(self.container.state, ContainerState::Running | ContainerState::Paused);
        self.container.restarts = details.restarts;
        self.container.started_at = details.started_at;
        self.container.oom_killed = details.oom_killed;
        let ended = !runs && details.started_at.is_some();
        self.container.exit_code = details.exit_code.filter(|_| ended);
        self.container
    }
}

/// The details in an inspection.
pub(super) fn details(inspected: ContainerInspectResponse) -> Details {
    let picture = picture(&inspected).map(Arc::new);
    let state = inspected.state.unwrap_or_default();
    Details {
        image: inspected.config.and_then(|config| config.image).map(Into::into),
        image_now: None,
        state: state.status.and_then(inspected_state),
        health: state.health.and_then(|health| health.status).and_then(inspected_health),
        restarts: inspected.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        exit_code: state.exit_code,
        oom_killed: state.oom_killed.unwrap_or(false),
        started_at: state.started_at.as_deref().and_then(started_at),
        picture,
    }
}

/// Docker writes the year 1 for what never happened.
pub(super) fn started_at(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn state(state: Option<State>) -> ContainerState {
    match state {
        Some(State::RUNNING) => ContainerState::Running,
        Some(State::PAUSED) => ContainerState::Paused,
        Some(State::RESTARTING) => ContainerState::Restarting,
        Some(State::REMOVING) => ContainerState::Removing,
        Some(State::EXITED) => ContainerState::Exited,
        Some(State::DEAD) => ContainerState::Dead,
        // Podman says `initialized` or `configured` for what Docker calls created.
        _ => ContainerState::Created,
    }
}

fn inspected_state(status: Status) -> Option<ContainerState> {
    Some(match status {
        Status::CREATED => ContainerState::Created,
        Status::RUNNING | Status::STOPPING => ContainerState::Running,
        Status::PAUSED => ContainerState::Paused,
        Status::RESTARTING => ContainerState::Restarting,
        Status::REMOVING => ContainerState::Removing,
        Status::EXITED => ContainerState::Exited,
        Status::DEAD => ContainerState::Dead,
        Status::EMPTY => return None,
    })
}

fn inspected_health(check: Check) -> Option<Health> {
    Some(match check {
        Check::STARTING => Health::Starting,
        Check::HEALTHY => Health::Healthy,
        Check::UNHEALTHY => Health::Unhealthy,
        Check::NONE | Check::EMPTY => return None,
    })
}

/// `Exited (137) 2 hours ago`, `Restarting (1) 3 seconds ago`.
fn exit_code(status: &str) -> Option<i64> {
    let (verb, rest) = status.split_once(" (")?;
    rest.split_once(')').filter(|_| matches!(verb, "Exited" | "Restarting"))?.0.parse().ok()
}

/// Engines before 29 tell the health only in words. Source: `daemon/container/state.go` of moby, `String()`.
fn health(status: &str) -> Health {
    let words = status.rsplit_once('(').map_or("", |(_, words)| words.trim_end_matches(')'));
    match words {
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        "health: starting" | "starting" => Health::Starting,
        _ => Health::None,
    }
}

#[cfg(test)]
mod tests;
