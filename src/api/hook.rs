//! Webhooks: "something was pushed, look now", and "that pull request changed, look at it".
//!
//! A payload is a hint and never data. Of a push nothing is read; of a pull request its number ([`hint`]), and what
//! that pull request is, the forge is asked. So whoever could forge a payload could make the daemon look, and no more.
//! Still the caller proves that it knows the secret ([`proof`]), is bounded in rate, and is heard once ([`deliveries`]).

mod deliveries;
mod hint;
mod proof;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use self::deliveries::{Deliveries, Rate};
use self::hint::Hint;
use super::access::{Access, authenticate, bearer};
use super::control::{Control, Request};
use super::problem::ApiError;
use crate::clock;

/// Pushes that are let through at once. More are one look at the source anyway.
const PUSHES: u32 = 10;
/// Hints at pull requests that are let through at once: a push to the main branch may tell of every open one.
const HINTS: u32 = 100;

/// What is known of webhooks across calls.
#[derive(Debug)]
pub struct Hooks {
    secret: Option<Arc<str>>,
    pushes: Rate,
    hints: Rate,
    taken: Deliveries,
}

impl Hooks {
    /// Whose callers must prove to know `secret`; without one, only operators may call.
    pub fn new(secret: Option<Arc<str>>) -> Self {
        let (pushes, hints) = (Rate::new(PUSHES), Rate::new(HINTS));
        Self { secret, pushes, hints, taken: Deliveries::default() }
    }

    fn let_through(&self, hint: Hint, now: Timestamp) -> Result<(), ApiError> {
        let rate = if hint == Hint::Source { &self.pushes } else { &self.hints };
        rate.take(now).map_err(ApiError::TooMany)
    }
}

/// Wakes the daemon, or has it review a pull request.
pub(super) async fn source(
    State(control): State<Control>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let now = clock::now();
    let delivery = delivery(&control, &headers, &body, now)?;
    let hint = Hint::read(&body)?;
    control.hooks.let_through(hint, now)?;
    let taken = delivery.map(|id| control.hooks.taken.take(id)).transpose()?;
    let request = match hint {
        Hint::Source => Request::Wake,
        Hint::PullRequest(number) => Request::Review(number),
    };
    control.ask(request).await?;
    // What was not passed on, for whatever reason, may come again.
    taken.into_iter().for_each(deliveries::Taken::keep);
    Ok(StatusCode::ACCEPTED)
}

/// The id of a delivery whose caller may call, where it has one.
fn delivery<'a>(
    control: &Control,
    headers: &'a HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Option<&'a str>, ApiError> {
    let proven = control.hooks.secret.as_deref().and_then(|secret| proof::of(secret, headers, body, now));
    match proven {
        Some(proven) => proven.delivery(),
        None if proof::is_claimed(headers) && bearer(headers).is_none() => Err(ApiError::BadSignature),
        None => {
            Access::Hook.opens_to(&authenticate(control, headers)?.identity)?;
            Ok(None)
        }
    }
}
