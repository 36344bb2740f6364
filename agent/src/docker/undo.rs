//! Calls of the engine that undo what others did to a living container.
//!
//! They are the counterparts of what a person types, and disturb nothing else: a container whose limits were changed has them
//! back without a restart. A new container would have to be stopped and started for each of these.

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{RenameContainerOptionsBuilder, StartContainerOptions};

use super::picture;
use crate::drift::{Call, Undo};

/// Carries out one call. Returns whether there is such a call: an update cannot take a limit away.
///
/// # Errors
///
/// What the engine says.
pub(super) async fn call(engine: &Docker, container: &str, call: &Call) -> Result<bool, Error> {
    match call {
        Call::Update(field, wanted) => {
            let Some(body) = picture::update(wanted, field) else { return Ok(false) };
            engine.update_container(container, body).await?;
        }
        Call::Rename(name) => {
            let options = RenameContainerOptionsBuilder::default().name(name).build();
            engine.rename_container(container, options).await?;
        }
        Call::Connect(network, endpoint) => {
            let endpoint_config = serde_json::from_value(endpoint.clone()).ok();
            let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config };
            engine.connect_network(network, request).await?;
        }
        Call::Disconnect(network) => {
            let request = NetworkDisconnectRequest { container: container.to_owned(), force: None };
            engine.disconnect_network(network, request).await?;
        }
        Call::Start => engine.start_container(container, None::<StartContainerOptions>).await?,
        Call::Unpause => engine.unpause_container(container).await?,
    }
    Ok(true)
}

/// In the words of a person's command.
pub(super) fn words(call: &Call) -> String {
    match call {
        Call::Update(field, _) => format!("docker update, for {field}"),
        Call::Rename(name) => format!("docker rename to {name}"),
        Call::Connect(network, _) => format!("docker network connect {network}"),
        Call::Disconnect(network) => format!("docker network disconnect {network}"),
        Call::Start => "docker start".to_owned(),
        Call::Unpause => "docker unpause".to_owned(),
    }
}

/// In the order in which they can be done: a paused container takes no update, and one that is started has its networks by
/// then.
pub(super) fn ordered(undo: &[Undo]) -> Vec<&Undo> {
    let rank = |undo: &&Undo| match undo {
        Undo::Call { call: Call::Unpause, .. } => 0,
        Undo::Call { call: Call::Start, .. } => 2,
        _ => 1,
    };
    let mut ordered: Vec<&Undo> = undo.iter().collect();
    ordered.sort_by_key(rank);
    ordered
}
