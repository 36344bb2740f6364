//! What happened: in pages, and as a stream that can be taken up again where it broke off.
//!
//! Both read the store. The stream is told only *that* there are new events, by their newest number, and then reads
//! them: it cannot miss one, fall behind a buffer, or see one that is not durable.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{Caller, LOOK};
use super::control::Control;
use super::problem::ApiError;
use super::wire::EventPage;
use crate::store::Event;

/// How many events one page, or one look of a stream, holds at most.
const MAX_PAGE: u32 = 1000;

/// Proxies often cut a silent connection after 60 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Page {
    /// The number of the last event that is known; 0 for all that are kept.
    #[serde(default)]
    after: u64,
    /// How many at most: 100, or up to 1000.
    limit: Option<u32>,
}

/// Events after a number, oldest first.
pub(super) async fn page(
    State(control): State<Control>,
    Query(Page { after, limit }): Query<Page>,
) -> Result<Json<EventPage>, ApiError> {
    let events = control.store.events(after, limit.unwrap_or(100).min(MAX_PAGE)).await?;
    Ok(Json(EventPage { events }))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct From {
    /// The number of the last event that is known; without it, only what happens from now on. The header
    /// `Last-Event-ID` goes before it.
    after: Option<u64>,
}

/// Events as they happen, each with its number as the id of the message and its kind as the name.
pub(super) async fn stream(
    State(control): State<Control>,
    caller: axum::Extension<Caller>,
    Query(From { after }): Query<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ApiError> {
    let newest = *control.last_event.borrow();
    let after = resume(&headers)?.or(after).unwrap_or(newest);
    let pages = stream::unfold((control, caller.0, after), |(control, caller, after)| async move {
        let events = next_page(&control, &caller, after).await?;
        let last = events.last().map_or(after, |event| event.id);
        Some((stream::iter(events), (control, caller, last)))
    });
    Ok(Sse::new(pages.flatten().map(|event| Ok(message(&event))))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Where a client that was cut off wants to go on.
fn resume(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| ApiError::Malformed("`Last-Event-ID` takes the number of an event".to_owned()))
}

/// Waits for events after a number. `None` ends the stream: the client comes again with its last number.
async fn next_page(control: &Control, caller: &Caller, after: u64) -> Option<Vec<Event>> {
    let mut newest = control.last_event.clone();
    loop {
        newest.borrow_and_update();
        let events = control.store.events(after, MAX_PAGE).await.ok()?;
        if !caller.is_still_known(control) {
            return None;
        }
        if !events.is_empty() {
            return Some(events);
        }
        tokio::select! {
            changed = newest.changed() => changed.ok()?,
            // Another daemon over this store may have written some.
            () = tokio::time::sleep(LOOK) => {}
            () = control.stopping.cancelled() => return None,
        }
    }
}

fn message(event: &Event) -> SseEvent {
    let data = serde_json::to_string(event).expect("an event has no map with keys that are not strings");
    SseEvent::default().id(event.id.to_string()).event(&*event.event.kind).data(data)
}
