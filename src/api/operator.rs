//! The routes of operators: look at the fleet, give and take tokens, look at the source now.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::control::{Answer, Control, Request};
use super::live;
use super::problem::ApiError;
use super::read::{json_or_default, parse};
use super::wire::{NodeToken, Revoked, Running, SPOKEN, Standing, SyncRequest, Synced, Version};
use crate::clock;
use crate::fleet::NodeView;
use crate::name::{Digest, NodeName};
use crate::plan::NodePlan;
use crate::store::token::Secret;
use crate::store::{Identity, NewEvent, StoredToken};

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

/// Makes a token for a node, besides those it has: make one, install it, then revoke is not needed; to lock an agent
/// out, revoke first. The node need not be defined yet.
pub(super) async fn make_token(
    State(control): State<Control>,
    Path(node): Path<String>,
) -> Result<Response, ApiError> {
    let node: NodeName = parse(&node)?;
    let identity = Identity::Node(node.clone());
    let secret = Secret::generate(&identity).map_err(|error| {
        tracing::error!(%error, "the operating system gave no randomness");
        ApiError::NotStored
    })?;
    let token = StoredToken { digest: secret.digest(), identity, created_at: clock::now() };
    control.store.add_token(token).await?;
    reload_tokens(&control).await?;
    note(&control, "token.created", &node, "a token was made").await?;
    let shown = NodeToken { node, token: secret.expose().to_owned() };
    let never_kept = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, never_kept, Json(shown)).into_response())
}

/// Revokes all tokens of a node. Its agent keeps what runs, and gets no new plan.
pub(super) async fn revoke_token(
    State(control): State<Control>,
    Path(node): Path<String>,
) -> Result<Json<Revoked>, ApiError> {
    let node: NodeName = parse(&node)?;
    let revoked = control.store.revoke_tokens(&Identity::Node(node.clone())).await?;
    reload_tokens(&control).await?;
    if revoked > 0 {
        note(&control, "token.revoked", &node, "all tokens of the node were revoked").await?;
    }
    Ok(Json(Revoked { revoked }))
}

async fn reload_tokens(control: &Control) -> Result<(), ApiError> {
    Ok(control.tokens.reload(&*control.store).await?)
}

async fn note(control: &Control, kind: &str, node: &NodeName, message: &str) -> Result<(), ApiError> {
    let (revision, service) = (None, None);
    let (kind, node, message) = (kind.into(), Some(node.clone()), message.to_owned());
    let event = NewEvent { at: clock::now(), kind, revision, node, service, message };
    control.ask(Request::Note(event)).await.map(drop)
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
