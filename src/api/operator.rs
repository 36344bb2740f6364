//! The routes of operators: look at the fleet, look at the source now.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use gitops_core::fleet::NodeView;
use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::SPOKEN;
use schemars::JsonSchema;
use serde::Deserialize;

use super::control::{Answer, Control, Request};
use super::live;
use super::problem::ApiError;
use super::read::{json_or_default, parse};
use super::wire::{Running, Standing, SyncRequest, Synced, Version};

/// Of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole picture.
pub(super) async fn status(State(control): State<Control>) -> Result<Json<Standing>, ApiError> {
    let daemon = Running { version: VERSION.to_owned(), started_at: control.started_at };
    Ok(Json(Standing { daemon, fleet: control.fleet().await? }))
}

/// The nodes alone.
pub(super) async fn nodes(State(control): State<Control>) -> Result<Json<Vec<NodeView>>, ApiError> {
    Ok(Json(control.fleet().await?.nodes))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct WhichPlan {
    /// Digest of an older plan that is still kept; without it, the newest.
    digest: Option<String>,
}

/// The newest plan of a node, or the one with the digest.
pub(super) async fn plan(
    State(control): State<Control>,
    Path(node): Path<String>,
    Query(WhichPlan { digest }): Query<WhichPlan>,
) -> Result<Json<std::sync::Arc<NodePlan>>, ApiError> {
    let node: NodeName = parse(&node)?;
    let digest: Option<Digest> = digest.as_deref().map(parse).transpose()?;
    let plan = control.store.plan(&node, digest).await?;
    plan.map(Json).ok_or_else(|| ApiError::NotFound(format!("node `{node}` has no such plan")))
}

/// Looks at the source, and answers with what was found.
pub(super) async fn sync(State(control): State<Control>, body: Bytes) -> Result<Json<Synced>, ApiError> {
    let SyncRequest { accept_rewind, plan } = json_or_default(&body)?;
    if let Some(plan) = plan {
        return live::sync_plan(&control, accept_rewind, plan).await.map(Json);
    }
    match control.ask(Request::Sync { accept_rewind, plan: None }).await? {
        Answer::Synced(synced) => Ok(Json(*synced)),
        _ => Err(ApiError::Stopping),
    }
}

/// What this daemon is.
pub(super) async fn version() -> Json<Version> {
    Json(Version { version: VERSION.to_owned(), protocols: SPOKEN })
}
