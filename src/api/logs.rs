//! What agents did: taken from them, and shown to operators.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use gitops_core::log::{LogQuery, MAX_TEXT};
use gitops_core::protocol::{LOG_LINES, LogUpload};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::CallingNode;
use super::agent::Greeting;
use super::control::Control;
use super::problem::ApiError;
use super::read::{json, parse};
use super::wire::LogPage;
use crate::clock;

/// Keeps lines of the calling node, and answers when they are durable.
pub(super) async fn put(
    State(control): State<Control>,
    CallingNode(node, _): CallingNode,
    greeting: Greeting,
    body: Bytes,
) -> Result<Response, ApiError> {
    let LogUpload { lines } = json(&body)?;
    if lines.len() > LOG_LINES {
        return Err(ApiError::Malformed(format!("at most {LOG_LINES} lines are taken at once")));
    }
    if lines.iter().any(|line| line.text.len() > MAX_TEXT) {
        return Err(ApiError::Malformed(format!("a line has at most {MAX_TEXT} bytes of text")));
    }
    control.store.append_logs(&node, lines, clock::now()).await?;
    Ok(greeting.answer(StatusCode::NO_CONTENT))
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Which {
    /// The service.
    service: String,
    /// On this node only.
    node: Option<String>,
    /// The id of the last line that is known; 0 or nothing for the newest lines.
    #[serde(default)]
    after: u64,
    /// How many at most: 100, or up to 1000.
    limit: Option<u32>,
}

/// The newest lines of a service, or those after an id; oldest first.
pub(super) async fn page(
    State(control): State<Control>,
    Query(Which { service, node, after, limit }): Query<Which>,
) -> Result<Json<LogPage>, ApiError> {
    let query = LogQuery {
        service: parse(&service)?,
        node: node.as_deref().map(parse).transpose()?,
        after,
        limit: limit.unwrap_or(100).min(LOG_LINES as u32),
    };
    Ok(Json(LogPage { lines: control.store.logs(&query).await? }))
}
