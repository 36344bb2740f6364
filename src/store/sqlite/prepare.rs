//! From what callers hand in to the rows of the tables: done before the writer's turn comes, so that it spends none
//! of its time on JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, Generation, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::release::{Failed, Reached};
use jiff::Timestamp;
use serde::Serialize;

use super::super::chain;
use super::error::failed;
use super::releases::{PreparedReached, PreparedRelease, PreparedSteps};
use super::rows::{Batches, Span};
use super::{Event, NewEvent, Publication, StatusReport, StoreError};

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

/// A row of `statuses`.
#[derive(Debug, Serialize)]
pub(super) struct StatusRow {
    node: NodeName,
    #[serde(flatten)]
    document: Span,
}

/// A row of `heard`.
#[derive(Debug, Serialize)]
pub(super) struct HeardRow {
    node: NodeName,
    at: i64,
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
    pub(super) release: Option<PreparedRelease>,
    pub(super) steps: Option<PreparedSteps>,
    pub(super) failure: Option<Failed>,
    pub(super) plan_id: Option<Digest>,
    pub(super) version: Option<u64>,
    pub(super) events: Vec<NewEvent>,
}

impl PreparedPublication {
    /// # Errors
    ///
    /// A plan whose model is no JSON, or a release that is not of what is deployed.
    pub(super) fn new(publication: Publication) -> Result<Self, StoreError> {
        chain::check_release(&publication)?;
        let published_at = publication.at().map(nanoseconds);
        let Publication {
            plans: chain,
            blobs: contents,
            deployed,
            plan_id,
            release,
            steps,
            failed: failure,
            version,
            events,
        } = publication;
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
        let release = release.as_deref().map(PreparedRelease::new);
        let steps = PreparedSteps::new(&steps);
        Ok(Self {
            chain,
            published_at,
            plans,
            named,
            blobs,
            deployed,
            plan_id,
            release,
            steps,
            failure,
            version,
            events,
        })
    }
}

/// What a node said, as rows to be.
#[derive(Debug)]
pub(super) struct PreparedReport {
    pub(super) node: NodeName,
    heard_at: i64,
    json: Option<Vec<u8>>,
    reached: Option<Reached>,
}

impl PreparedReport {
    pub(super) fn new(report: &StatusReport) -> Self {
        let json =
            |status| serde_json::to_vec(status).expect("a status has no map with keys that are not strings");
        let StatusReport { node, status, heard_at, reached } = report;
        Self {
            node: node.clone(),
            heard_at: nanoseconds(*heard_at),
            json: status.as_deref().map(json),
            reached: reached.clone(),
        }
    }

    /// Whether it says no more than that the node lives.
    pub(super) fn is_heartbeat(&self) -> bool {
        self.json.is_none()
    }
}

/// What the reports say for the first time of plans and steps.
pub(super) fn reached(reports: &[PreparedReport]) -> PreparedReached {
    let mut rows = PreparedReached::default();
    for PreparedReport { node, heard_at, reached, .. } in reports {
        if let Some(reached) = reached {
            rows.add(node, reached, *heard_at);
        }
    }
    rows
}

/// What becomes of reports, one after the other, where `heard` says when each node was heard before: of each node the
/// last status, and when it was heard last. The heartbeat of a node that never reported counts for nothing.
pub(super) fn report_rows(
    reports: Vec<PreparedReport>,
    mut heard: BTreeMap<NodeName, i64>,
) -> (Batches<StatusRow>, Batches<HeardRow>) {
    let mut statuses = BTreeMap::new();
    for PreparedReport { node, heard_at, json, reached: _ } in reports {
        if json.is_some() || heard.contains_key(&node) {
            heard.insert(node.clone(), heard_at);
            json.map(|json| statuses.insert(node, json));
        }
    }
    let (mut status_rows, mut heard_rows) = (Batches::new(), Batches::new());
    for (node, json) in statuses {
        status_rows.push(&json, |document| StatusRow { node, document });
    }
    for (node, at) in heard {
        heard_rows.push(&[], |_| HeardRow { node, at });
    }
    (status_rows, heard_rows)
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
