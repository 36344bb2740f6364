//! The routes of decisions: what is held, what waits for approval, and what people say to both.
//!
//! Whose decision it is, the token says; nobody decides in another name.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use gitops_core::decision::{AwaitingView, Hold};
use gitops_core::sensitive::Sensitive;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::CallingOperator;
use super::control::{Answer, Ballot, Control, Request};
use super::problem::ApiError;
use super::read::{json, parse};
use super::wire::{ApprovalPage, BallotRequest, HoldPage, HoldRequest};
use crate::clock;

/// How many holds a page has at most: those in force and the newest that are not.
const MAX_PAGE: u32 = 2_000;

/// The longest reason, in bytes: a sentence or two, and a link.
const MAX_REASON: usize = 500;

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Which {
    /// Also those that ended, as far as they are kept.
    #[serde(default)]
    all: bool,
}

/// What is held, the newest first.
pub(super) async fn holds(
    State(control): State<Control>,
    Query(Which { all }): Query<Which>,
) -> Result<Json<HoldPage>, ApiError> {
    let now = clock::now();
    let mut holds = control.store.holds(MAX_PAGE).await?;
    holds.retain(|kept| all || (kept.ended_at.is_none() && kept.hold.is_shown(now)));
    Ok(Json(HoldPage { holds }))
}

/// Begins a hold.
pub(super) async fn hold(
    State(control): State<Control>,
    caller: CallingOperator,
    body: Bytes,
) -> Result<(StatusCode, Json<Hold>), ApiError> {
    let HoldRequest { what, reason: why, until, seconds } = json(&body)?;
    let since = clock::now();
    let (until, reason) = (end(since, until, seconds)?, reason(&why)?);
    let hold = Hold { number: 0, what, reason, owner: caller.name.as_str().into(), since, until };
    let held = held(control.ask(Request::Hold(Box::new(hold))).await?)?;
    Ok((StatusCode::CREATED, Json(held)))
}

/// Ends a hold.
pub(super) async fn end_hold(
    State(control): State<Control>,
    caller: CallingOperator,
    Path(number): Path<String>,
) -> Result<Json<Hold>, ApiError> {
    let number: u64 = parse(&number)?;
    held(control.ask(Request::EndHold { number, by: caller.name }).await?).map(Json)
}

/// What waits for approval.
pub(super) async fn approvals(State(control): State<Control>) -> Result<Json<ApprovalPage>, ApiError> {
    match control.ask(Request::Approvals).await? {
        Answer::Approvals(awaiting) => Ok(Json(ApprovalPage { awaiting })),
        _ => Err(ApiError::Stopping),
    }
}

/// Says yes or no to what waits.
pub(super) async fn vote(
    State(control): State<Control>,
    caller: CallingOperator,
    body: Bytes,
) -> Result<Json<AwaitingView>, ApiError> {
    let BallotRequest { plan, approves, reason: why } = json(&body)?;
    let reason = why.as_deref().map(reason).transpose()?;
    let CallingOperator { name: by, roles } = caller;
    let ballot = Ballot { plan: plan.into(), by, roles, approves, reason };
    match control.ask(Request::Vote(Box::new(ballot))).await? {
        Answer::Voted(standing) => Ok(Json(*standing)),
        _ => Err(ApiError::Stopping),
    }
}

/// Tries the deployed revision again.
pub(super) async fn retry(
    State(control): State<Control>,
    caller: CallingOperator,
) -> Result<StatusCode, ApiError> {
    control.ask(Request::Retry { by: caller.name }).await?;
    Ok(StatusCode::ACCEPTED)
}

fn held(answer: Answer) -> Result<Hold, ApiError> {
    match answer {
        Answer::Held(hold) => Ok(*hold),
        _ => Err(ApiError::Stopping),
    }
}

/// When a hold ends that was asked for now.
fn end(
    now: Timestamp,
    until: Option<Timestamp>,
    seconds: Option<u32>,
) -> Result<Option<Timestamp>, ApiError> {
    match (until, seconds) {
        (Some(_), Some(_)) => {
            Err(ApiError::Malformed("give `until` or `seconds`, and not both: when does it end?".to_owned()))
        }
        (until, None) => Ok(until),
        (None, Some(seconds)) => Ok(now.checked_add(SignedDuration::from_secs(seconds.into())).ok()),
    }
}

/// A reason that may be kept and shown: people paste secrets into them.
fn reason(text: &str) -> Result<Arc<str>, ApiError> {
    let text = text.trim();
    match text.len() {
        0 => Err(ApiError::Malformed("say why: give a `reason`".to_owned())),
        1..=MAX_REASON => Ok(Sensitive::default().redacted(text).into()),
        _ => Err(ApiError::Malformed(format!("the `reason` is longer than {MAX_REASON} bytes: shorten it"))),
    }
}
