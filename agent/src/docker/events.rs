//! Waking up when something happens to a container of this node, and who did it.
//!
//! Events wake, and tell what nothing else does: that it was a person who stopped a container. What is true is always looked
//! up. The stream begins a moment before it is asked for, so that nothing falls between connecting and listening, and
//! whoever is woken looks at everything after each connection.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, select};
use gitops_core::name::{NodeName, ServiceName};
use jiff::Timestamp;

use super::rows;
use crate::drift::{Act, Touch};

/// What can change a container, tells who did, or why it ended. Health checks themselves are `exec` events, and there are
/// many.
const ACTIONS: [&str; 13] = [
    "create",
    "start",
    "die",
    "oom",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "health_status",
    "update",
    "kill",
    "stop",
    "restart",
];

/// What changes the networks of a container. These events carry none of its labels.
const NETWORK_ACTIONS: [&str; 2] = ["connect", "disconnect"];

/// Signals that programs are told things with, and go on.
const HARMLESS: [&str; 5] = ["1", "10", "12", "18", "28"];

/// First and longest pause before the engine is tried again.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The stream was connected or lost, or something happened that nobody did: anything may have changed.
    Everything,
    /// Something happened to a container.
    Container {
        /// Label `gitops.service`; none where it was set by hand to what is no name, and in events of networks.
        service: Option<ServiceName>,
        /// What.
        touch: Touch,
    },
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The container.
    pub container: Arc<str>,
    /// It names a network, and may be about a container of someone else.
    pub is_of_network: bool,
    /// Whom to tell.
    pub wake: Wake,
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

/// The events of one connection to the containers of a node, and of one to all networks. Ends with the first error.
pub(super) fn events(engine: &Docker, node: &NodeName) -> impl Stream<Item = Result<Event, Error>> + use<> {
    let ours = [
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("{}={node}", rows::NODE)]),
        ("event", ACTIONS.map(str::to_owned).to_vec()),
    ];
    let networks =
        [("type", vec!["network".to_owned()]), ("event", NETWORK_ACTIONS.map(str::to_owned).to_vec())];
    let (ours, networks) = (super::filters(ours), super::filters(networks));
    let since = crate::clock::now().as_second().to_string();
    let stream = |filters| {
        let options = EventsOptionsBuilder::default().since(&since).filters(filters).build();
        engine.events(Some(options)).map(|event| event.map(read))
    };
    select(stream(&ours), stream(&networks))
}

fn read(message: EventMessage) -> Event {
    let at = message.time_nano.and_then(|time| Timestamp::from_nanosecond(time.into()).ok());
    let actor = message.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let action = message.action.unwrap_or_default();
    let is_of_network = NETWORK_ACTIONS.contains(&&*action);
    let container = if is_of_network { attribute("container").map(str::to_owned) } else { actor.id };
    let container: Arc<str> = container.unwrap_or_default().into();
    let touch = act(&action, attribute("signal")).zip(at);
    let touch = touch.map(|(act, at)| Touch { container: container.clone(), act, at });
    let service = attribute(rows::SERVICE).and_then(|name| name.parse().ok());
    let wake = touch.map_or(Wake::Everything, |touch| Wake::Container { service, touch });
    let memory = match action.as_str() {
        "oom" => Some(OfMemory::Killed),
        "die" => Some(OfMemory::Ended),
        _ => None,
    };
    Event { container, is_of_network, wake, memory }
}

/// What somebody did. `docker stop` tells first of the signal that it sends, and it may be long before it tells of itself.
fn act(action: &str, signal: Option<&str>) -> Option<Act> {
    Some(match (action, signal) {
        ("kill", Some("9")) => Act::Kill,
        ("kill", Some(signal)) if HARMLESS.contains(&signal) => return None,
        ("kill" | "stop", _) => Act::Stop,
        ("create", _) => Act::Create,
        ("start", _) => Act::Start,
        ("die", _) => Act::Die,
        ("pause", _) => Act::Pause,
        ("unpause", _) => Act::Unpause,
        ("rename", _) => Act::Rename,
        ("destroy", _) => Act::Remove,
        ("update", _) => Act::Update,
        ("restart", _) => Act::Restart,
        ("connect", _) => Act::Connect,
        ("disconnect", _) => Act::Disconnect,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_tells_what_was_done_to_which_container() {
        let check =
            |message: serde_json::Value, container: &str, service: Option<&str>, expected: Option<Act>| {
                let event = read(serde_json::from_value(message.clone()).unwrap());
                assert_eq!(&*event.container, container);
                let (found, act) = match event.wake {
                    Wake::Everything => (None, None),
                    Wake::Container { service, touch } => (service, Some(touch.act)),
                };
                assert_eq!((found.as_ref().map(ServiceName::as_str), act), (service, expected), "{message}");
            };
        let of = |action: &str, attributes: serde_json::Value| {
            json!({"Type": "container", "Action": action, "timeNano": 1_700_000_000_000_000_000_i64,
                "Actor": {"ID": "c1", "Attributes": attributes}})
        };
        check(of("update", json!({"gitops.service": "web"})), "c1", Some("web"), Some(Act::Update));
        check(of("kill", json!({"signal": "9"})), "c1", None, Some(Act::Kill));
        check(of("kill", json!({"signal": "15"})), "c1", None, Some(Act::Stop));
        check(of("kill", json!({"signal": "1"})), "c1", None, None);
        check(of("health_status: healthy", json!({})), "c1", None, None);
        check(of("disconnect", json!({"container": "c2"})), "c2", None, Some(Act::Disconnect));
        check(json!({}), "", None, None);
    }
}
