//! From what callers hand in to the rows of the tables: done before the writer's turn comes, so that it spends none
//! of its time on JSON.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::super::chain;
use super::error::failed;
use super::rows::{Batches, Span};
use super::{Event, NewEvent, Publication, StatusReport, StoreError};
use crate::name::{Digest, Generation, NodeName, Revision};
use crate::plan::NodePlan;

/// A row of `plans`, but for its id: that is found out in the transaction, by its place in the publication.
#[derive(Debug, Serialize)]
pub(super) struct PlanRow {
    place: usize,
    node: NodeName,
    generation: Generation,
    digest: Digest,
    #[serde(flatten)]
    document: Span,
}

/// A row of `plan_blobs`: the plan at `place` names `blob`.
#[derive(Debug, Serialize)]
pub(super) struct NamedRow {
    place: usize,
    blob: Digest,
}

/// A row of `blobs`.
#[derive(Debug, Serialize)]
pub(super) struct BlobRow {
    digest: Digest,
    #[serde(flatten)]
    content: Span,
}

/// A row of `events`.
#[derive(Debug, Serialize)]
pub(super) struct EventRow {
    id: u64,
    at: i64,
    #[serde(flatten)]
    document: Span,
}

/// A row of `statuses`. A heartbeat has no document.
#[derive(Debug, Serialize)]
pub(super) struct ReportRow {
    node: NodeName,
    heard_at: i64,
    #[serde(flatten)]
    document: Option<Span>,
}

/// A publication as rows.
#[derive(Debug)]
pub(super) struct PreparedPublication {
    /// The plans again, to be compared with the ends of their chains.
    pub(super) chain: Vec<Arc<NodePlan>>,
    pub(super) published_at: Option<i64>,
    pub(super) plans: Batches<PlanRow>,
    pub(super) named: Batches<NamedRow>,
    pub(super) blobs: Batches<BlobRow>,
    pub(super) deployed: Option<Revision>,
    pub(super) events: Vec<NewEvent>,
}

impl PreparedPublication {
    /// # Errors
    ///
    /// A plan whose model is no JSON.
    pub(super) fn new(publication: Publication) -> Result<Self, StoreError> {
        let published_at = publication.at().map(nanoseconds);
        let Publication { plans: chain, blobs: contents, deployed, events } = publication;
        let (mut plans, mut named, mut blobs) = (Batches::new(), Batches::new(), Batches::new());
        for (place, plan) in chain.iter().enumerate() {
            let (node, generation, digest) = (plan.node.clone(), plan.generation, plan.digest);
            let json =
                serde_json::to_vec(&**plan).map_err(|error| failed("writing a plan as JSON", error))?;
            plans.push(&json, |document| PlanRow { place, node, generation, digest, document });
            for blob in chain::blobs_named(plan) {
                named.push(&[], |_| NamedRow { place, blob });
            }
        }
        for (digest, content) in contents {
            blobs.push(&content, |content| BlobRow { digest, content });
        }
        Ok(Self { chain, published_at, plans, named, blobs, deployed, events })
    }
}

/// What a node said, as a row to be.
#[derive(Debug)]
pub(super) struct PreparedReport {
    node: NodeName,
    heard_at: i64,
    json: Option<Vec<u8>>,
}

impl PreparedReport {
    pub(super) fn new(report: &StatusReport) -> Self {
        let json =
            |status| serde_json::to_vec(status).expect("a status has no map with keys that are not strings");
        let StatusReport { node, status, heard_at } = report;
        Self { node: node.clone(), heard_at: nanoseconds(*heard_at), json: status.as_deref().map(json) }
    }

    /// Whether it says no more than that the node lives.
    pub(super) fn is_heartbeat(&self) -> bool {
        self.json.is_none()
    }

    pub(super) fn push_to(self, batches: &mut Batches<ReportRow>) {
        let Self { node, heard_at, json } = self;
        let said = json.is_some();
        let row = |document| ReportRow { node, heard_at, document: said.then_some(document) };
        batches.push(&json.unwrap_or_default(), row);
    }
}

/// Events that have their numbers.
pub(super) fn event_rows(events: &[Event]) -> Batches<EventRow> {
    let mut batches = Batches::new();
    for Event { id, event } in events {
        let json = serde_json::to_vec(event).expect("an event has no map with keys that are not strings");
        batches.push(&json, |document| EventRow { id: *id, at: nanoseconds(event.at), document });
    }
    batches
}

/// Nanoseconds since 1970. What lies outside 1677 to 2262 is stored as the nearest of those two.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    at.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()).try_into().expect("clamped to the range")
}

/// The reverse of [`nanoseconds`].
pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("1677 to 2262 are years of a timestamp")
}
