//! The routes by which tokens are given and taken: to agents by any operator, to operators by the first one alone.
//!
//! **Invariant:** who has a name cannot give themselves another. Approvals count people, and by their roles: so only
//! whoever can read the daemon's state folder, where the token of the first operator is, says who is who.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gitops_core::decision::OperatorView;
use gitops_core::name::{NodeName, OperatorName};
use serde::Serialize;

use super::access::CallingOperator;
use super::control::{Control, Request};
use super::problem::ApiError;
use super::read::{json_or_default, parse};
use super::wire::{NodeToken, OperatorToken, Revoked, TokenRequest};
use crate::clock;
use crate::store::token::Secret;
use crate::store::{Identity, NewEvent, StoredToken};

/// Makes a token for a node, besides those it has: make one, install it, then revoke is not needed; to lock an agent
/// out, revoke first. The node need not be defined yet.
pub(super) async fn make_for_node(
    State(control): State<Control>,
    Path(node): Path<String>,
) -> Result<Response, ApiError> {
    let node: NodeName = parse(&node)?;
    let identity = Identity::Node(node.clone());
    let token = make(&control, identity, TokenRequest::default()).await?;
    let event = event("token.created", "a token was made".to_owned());
    note(&control, NewEvent { node: Some(node.clone()), ..event }).await?;
    Ok(shown_once(NodeToken { node, token: token.expose().to_owned() }))
}

/// Revokes all tokens of a node. Its agent keeps what runs, and gets no new plan.
pub(super) async fn revoke_of_node(
    State(control): State<Control>,
    Path(node): Path<String>,
) -> Result<Json<Revoked>, ApiError> {
    let node: NodeName = parse(&node)?;
    let revoked = revoke(&control, &Identity::Node(node.clone())).await?;
    if revoked > 0 {
        let event = event("token.revoked", "all tokens of the node were revoked".to_owned());
        note(&control, NewEvent { node: Some(node), ..event }).await?;
    }
    Ok(Json(Revoked { revoked }))
}

/// All operators, by name.
pub(super) async fn operators(State(control): State<Control>) -> Result<Json<Vec<OperatorView>>, ApiError> {
    let mut operators = BTreeMap::<OperatorName, OperatorView>::new();
    for StoredToken { identity, roles, created_at, .. } in control.store.tokens().await? {
        let Identity::Operator(name) = identity else { continue };
        let none =
            || OperatorView { operator: name.clone(), roles: roles.clone(), tokens: 0, since: created_at };
        let view = operators.entry(name.clone()).or_insert_with(none);
        view.tokens += 1;
        view.roles.extend(roles.iter().cloned());
        view.since = view.since.min(created_at);
    }
    Ok(Json(operators.into_values().collect()))
}

/// Makes a token for an operator, besides those they have.
pub(super) async fn make_for_operator(
    State(control): State<Control>,
    caller: CallingOperator,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let operator: OperatorName = parse(&name)?;
    let request: TokenRequest = json_or_default(&body)?;
    is_first(&caller)?;
    let roles = request.roles.clone();
    let token = make(&control, Identity::Operator(operator.clone()), request).await?;
    let named: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let in_roles = if named.is_empty() { String::new() } else { format!(" as {}", named.join(", ")) };
    let message = format!("a token was made for operator {operator}{in_roles}");
    note(&control, event("token.created", message)).await?;
    Ok(shown_once(OperatorToken { operator, roles, token: token.expose().to_owned() }))
}

/// Revokes all tokens of an operator. What they decided stands.
pub(super) async fn revoke_of_operator(
    State(control): State<Control>,
    caller: CallingOperator,
    Path(name): Path<String>,
) -> Result<Json<Revoked>, ApiError> {
    let operator: OperatorName = parse(&name)?;
    is_first(&caller)?;
    let revoked = revoke(&control, &Identity::Operator(operator.clone())).await?;
    if revoked > 0 {
        let message = format!("all tokens of operator {operator} were revoked");
        note(&control, event("token.revoked", message)).await?;
    }
    Ok(Json(Revoked { revoked }))
}

fn is_first(caller: &CallingOperator) -> Result<(), ApiError> {
    match caller.name == OperatorName::first() {
        true => Ok(()),
        false => Err(ApiError::NotFirst(caller.name.clone())),
    }
}

async fn make(control: &Control, identity: Identity, request: TokenRequest) -> Result<Secret, ApiError> {
    let secret = Secret::generate(&identity).map_err(|error| {
        tracing::error!(%error, "the operating system gave no randomness");
        ApiError::NotStored
    })?;
    let (digest, roles) = (secret.digest(), request.roles);
    control.store.add_token(StoredToken { digest, identity, roles, created_at: clock::now() }).await?;
    control.tokens.reload(&*control.store).await?;
    Ok(secret)
}

async fn revoke(control: &Control, identity: &Identity) -> Result<u64, ApiError> {
    let revoked = control.store.revoke_tokens(identity).await?;
    control.tokens.reload(&*control.store).await?;
    Ok(revoked)
}

fn shown_once(token: impl Serialize) -> Response {
    let never_kept = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::CREATED, never_kept, Json(token)).into_response()
}

fn event(kind: &str, message: String) -> NewEvent {
    let (at, kind) = (clock::now(), kind.into());
    NewEvent { at, kind, revision: None, node: None, service: None, message }
}

async fn note(control: &Control, event: NewEvent) -> Result<(), ApiError> {
    control.ask(Request::Note(event)).await.map(drop)
}
