//! Waking up when something happens to a container of this node.
//!
//! Events only wake; what is true is always looked up. The stream begins a moment before it is asked for, so that
//! nothing falls between connecting and listening, and whoever is woken looks at everything after each connection.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use gitops::name::{NodeName, ServiceName};

use super::rows;

/// What can change an observation, and `oom`, which says why `die` follows. `kill` and `stop` are not here: where they
/// change anything, `die` follows. Health checks themselves are `exec` events, and there are many.
const ACTIONS: [&str; 9] =
    ["create", "start", "die", "oom", "pause", "unpause", "rename", "destroy", "health_status"];

/// First and longest pause before the engine is tried again.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The stream was connected or lost: anything may have happened.
    Everything,
    /// Something happened to a container of this service.
    Service(ServiceName),
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The container.
    pub container: Arc<str>,
    /// Label `gitops.service`; none where it was set by hand to what is no name.
    pub service: Option<ServiceName>,
    /// What it says of memory.
    pub memory: Option<OfMemory>,
}

/// What an event says of a container's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfMemory {
    /// One of its processes was killed for want of it: if that was the first of them, its end follows.
    Killed,
    /// It has ended.
    Ended,
}

/// The events of one connection. Ends with the first error.
pub(super) fn events(
    engine: &Docker,
    node: &NodeName,
) -> impl futures_util::Stream<Item = Result<Event, Error>> + use<> {
    let filters = super::filters([
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("{}={node}", rows::NODE)]),
        ("event", ACTIONS.map(str::to_owned).to_vec()),
    ]);
    let since = gitops::clock::now().as_second().to_string();
    let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
    engine.events(Some(options)).map(|event| event.map(read))
}

fn read(message: EventMessage) -> Event {
    let actor = message.actor.unwrap_or_default();
    let service = actor.attributes.unwrap_or_default().get(rows::SERVICE).and_then(|name| name.parse().ok());
    let memory = match message.action.as_deref() {
        Some("oom") => Some(OfMemory::Killed),
        Some("die") => Some(OfMemory::Ended),
        _ => None,
    };
    Event { container: actor.id.unwrap_or_default().into(), service, memory }
}
