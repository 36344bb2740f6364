//! Probes of the machinery around the daemon: is it there, can it work, what has it counted.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::control::Control;
use super::problem::ApiError;
use crate::clock;

/// The media type of [`metrics`].
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process answers.
pub(super) async fn healthz() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The daemon's loop answers, and the store can be read.
pub(super) async fn readyz(State(control): State<Control>) -> Result<StatusCode, ApiError> {
    control.fleet().await?;
    control.store.events(u64::MAX >> 1, 1).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Counters. They name nothing but states and routes, yet tell an outsider how the fleet is doing, so they need the
/// operator's token as everything else does.
pub(super) async fn metrics(State(control): State<Control>) -> Result<Response, ApiError> {
    let text = control.metrics.text(&control.fleet().await?, clock::now());
    let kind = HeaderValue::from_static(OPENMETRICS);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
