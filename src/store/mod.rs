//! The facts that must last: plans, statuses, releases, decisions, tokens, events, logs, previews, what is to be told to
//! the forge, and the content that plans name.
//!
//! What can be computed is not here: pending, drifted, stale and waiting are answers of a pass, not rows. One
//! trait, so that SQLite is one implementation and not the shape of the product.
//!
//! Guarantees: what a call wrote that returned `Ok` survives `kill -9` and power loss (the commit was synced); only of
//! heartbeats, power loss may take back the last few. A publication is one transaction: all its plans, blobs, events
//! and the deployed revision, or none of them. Plans are written by compare-and-swap on their parent, so two daemons
//! over one database cannot both succeed one plan; and only over all decisions of people that there are, so that nothing
//! is published that a hold forbids once it is stored.

mod chain;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixture;
pub mod memory;
pub mod outbox;
pub mod sqlite;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use gitops_core::decision::{Decision, Decisions, Hold, KeptHold};
pub use gitops_core::event::{Event, NewEvent};
use gitops_core::log::{LogEntry, LogLine, LogQuery};
use gitops_core::name::{Digest, NodeName, OperatorName, Revision, RoleName, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::planner::Underway;
use gitops_core::reconcile::preview::Preview;
use gitops_core::release::{
    self, Failed, KeptDiff, Opened, PlanRecord, Reached, Release, ReleaseQuery, StepChange, StepQuery,
    StepRecord,
};
use gitops_core::status::{NodeStatus, Reported};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::outbox::{Change, ErrandKey, Outbox};

/// Everything a daemon needs to start, or to start over after a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The newest plan of each node.
    pub plans: BTreeMap<NodeName, Arc<NodePlan>>,
    /// The latest status of each node and when it was heard.
    pub reported: Reported,
    /// The revision whose definitions were last published whole.
    pub deployed: Option<Revision>,
    /// The newest release.
    pub release: Option<Box<Release>>,
    /// How far that is.
    pub underway: Underway,
    /// Number of the newest event; 0 if there is none.
    pub last_event: u64,
    /// What is still to be told to the forge.
    pub outbox: Outbox,
    /// What people decided: holds that nobody ended, and the newest votes.
    pub decisions: Decisions,
    /// How many publications and decisions there were so far.
    pub version: u64,
}

/// What one pass wants to last.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// New plans. Each must name the stored plan of its node as its parent.
    pub plans: Vec<Arc<NodePlan>>,
    /// Content that the plans name and the store may not have yet, by its digest.
    pub blobs: BTreeMap<Digest, Arc<[u8]>>,
    /// The revision that the pass applied, if it differs from the stored one.
    pub deployed: Option<Revision>,
    /// The release that begins with `deployed`. None begins where the newest release is of that revision already, and it
    /// is deployed: another daemon was faster. Everything else that is published belongs to the newest release.
    pub release: Option<Box<Opened>>,
    /// The steps of the plans that take a new form.
    pub steps: Vec<StepChange>,
    /// The newest release has failed, if it is of what is deployed. The first time counts, until it is begun again.
    pub failed: Option<Failed>,
    /// The id of the plan that this carries out.
    pub plan_id: Option<Digest>,
    /// How many publications and decisions of people the pass knew: it is written only if there are no others, so that what
    /// holds for the whole fleet holds for all daemons together. None: only the chains of the plans are looked at.
    pub version: Option<u64>,
    /// What happened, to be numbered.
    pub events: Vec<NewEvent>,
}

impl Publication {
    /// When it was made: the time of its newest event. Plans that are published without one have no age.
    pub fn at(&self) -> Option<Timestamp> {
        self.events.iter().map(|event| event.at).max()
    }
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Durable. Its events got their numbers.
    Done(Vec<Event>),
    /// Nothing was written: the stored plan of this node is not the parent. Load again and plan again.
    Conflict(NodeName),
    /// Nothing was written: something was published or decided that the pass did not know. Load again and plan again.
    Unaware,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The hold that it begins, with its number, or ends.
    pub hold: Option<Hold>,
    /// How many publications and decisions there were so far, with this one.
    pub version: u64,
    /// What is told of it, with its number.
    pub event: Event,
}

/// A status as it arrives.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// Who reports.
    pub node: NodeName,
    /// The full state, or none for a heartbeat.
    pub status: Option<Arc<NodeStatus>>,
    /// When the daemon heard it.
    pub heard_at: Timestamp,
    /// What it says for the first time of its plan. The time of each fact is kept once and never moved.
    pub reached: Option<Reached>,
}

/// Who a bearer token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// A person or a script with the operator API. What they decide is kept under this name.
    Operator(OperatorName),
    /// The agent of one node.
    Node(NodeName),
}

/// A token as it is stored: only the digest of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// SHA-256 of the secret, which has 256 random bits: nothing slower is needed, and a look-up stays cheap.
    pub digest: Digest,
    /// Who it speaks for.
    pub identity: Identity,
    /// The roles of an operator, in which they approve changes.
    pub roles: BTreeSet<RoleName>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How much history is kept. Holds that nobody ended and that have no end, the newest release, the newest plan and status
/// of a node, when each step that stands in a newest plan took its form, and what every step was when it was last well, are
/// always kept; the outbox has an age of its own.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Plans of one node, and changes of one step.
    pub plans_per_node: u32,
    /// Releases in all.
    pub releases: u32,
    /// Events in all.
    pub events: u64,
    /// Log lines of one node.
    pub log_lines_per_node: u64,
    /// Age in days after which any of them goes.
    pub days: u32,
}

impl Retention {
    /// What is older goes.
    pub fn cutoff(&self, now: Timestamp) -> Timestamp {
        let age = SignedDuration::from_hours(24 * i64::from(self.days));
        now.checked_sub(age).unwrap_or(Timestamp::MIN)
    }
}

/// What somebody saw before it was deployed, by the id that it was shown with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPreview {
    /// What was shown.
    pub preview: Preview,
    /// When it was made first.
    pub made_at: Timestamp,
    /// When just that was published; none while it was not.
    pub deployed_at: Option<Timestamp>,
}

/// So many previews are kept at most,
pub const PREVIEWS: usize = 500;
/// and so many bytes of them, as JSON: one of a change of 100 services on 3 nodes each has 100 kB. The newest is kept
/// whatever its size.
pub const PREVIEW_BYTES: usize = 64 << 20;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed or refused.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done, as a participle: `reading the plans`.
        doing: &'static str,
        /// What the driver says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row holds what this program cannot read.
    #[error("the database holds a {what} that this version cannot read")]
    Unreadable {
        /// `plan`, `status`, ….
        what: &'static str,
        /// What the parser says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of the program has used the database.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: use the newer program, or restore a backup"
    )]
    TooNew {
        /// In the database.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// What was to be written breaks a rule of the store. A mistake in the program: trying again does not help.
    #[error("the store refuses to write this: {0}")]
    Refused(String),
}

/// Where the facts are.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The newest state of everything, in a constant number of queries.
    async fn load(&self) -> Result<Snapshot, StoreError>;

    /// Writes the outcome of a pass, whole or not at all. Refuses a plan whose generation does not rise, and one that
    /// names content that is neither stored nor in the publication.
    async fn publish(&self, publication: Publication) -> Result<Published, StoreError>;

    /// Records what nodes said, in that order. Durable when it returns (heartbeats alone: but for power loss). What is written
    /// last counts, whatever its time: clocks of daemons differ, and are set. The heartbeat of a node that never reported
    /// changes nothing.
    async fn record_statuses(&self, reports: Vec<StatusReport>) -> Result<(), StoreError>;

    /// Appends events outside a publication.
    async fn append_events(&self, events: Vec<NewEvent>) -> Result<Vec<Event>, StoreError>;

    /// Up to `limit` events with a number greater than `after`, oldest first.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Brings rows of the outbox up to date, all or none. A row that was asked for later than its change says stays.
    async fn change_outbox(&self, changes: BTreeMap<ErrandKey, Change>) -> Result<(), StoreError>;

    /// Writes down a decision and what is told of it. None where there is nothing to decide any more, and nothing was
    /// written: the hold that is to end is not there or has ended, or its time was told to be over.
    async fn decide(&self, decision: Decision, event: NewEvent) -> Result<Option<Decided>, StoreError>;

    /// Up to `limit` holds, the newest first, also those that ended.
    async fn holds(&self, limit: u32) -> Result<Vec<KeptHold>, StoreError>;

    /// Keeps what the agent of `node` did, heard at `heard_at`. A line that is here already is left as it is.
    async fn append_logs(
        &self,
        node: &NodeName,
        lines: Vec<LogLine>,
        heard_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// The lines that `query` wants, oldest first.
    async fn logs(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError>;

    /// The releases that `query` wants, the newest first.
    async fn releases(&self, query: &ReleaseQuery) -> Result<Vec<Release>, StoreError>;

    /// What a release did.
    async fn release_diff(&self, number: u64) -> Result<Option<KeptDiff>, StoreError>;

    /// Writes down that the newest release is done, if it is of `revision`. The first time counts.
    async fn finish_release(&self, revision: &Revision, at: Timestamp) -> Result<(), StoreError>;

    /// The newest plan of each node, of those that belong to `release` where one is named; by node.
    async fn plan_records(&self, release: Option<u64>) -> Result<Vec<PlanRecord>, StoreError>;

    /// The step changes of a release, the oldest first.
    async fn brought(&self, release: u64) -> Result<Vec<StepRecord>, StoreError>;

    /// The step changes that `query` wants: by service and node, the newest first.
    async fn steps(&self, query: &StepQuery) -> Result<Vec<StepRecord>, StoreError>;

    /// Keeps a preview under the id of its plan, and lets go of the oldest beyond [`PREVIEWS`] and [`PREVIEW_BYTES`]. One
    /// that is kept already stays as it was made. A preview without an id cannot be asked for and is not kept.
    async fn keep_preview(&self, preview: &Preview, made_at: Timestamp) -> Result<(), StoreError>;

    /// The preview with this plan id.
    async fn preview(&self, id: Digest) -> Result<Option<KeptPreview>, StoreError>;

    /// How long these services took to be there again when they were last restarted or recreated: see
    /// [`release::durations`].
    async fn durations(
        &self,
        services: BTreeSet<ServiceName>,
    ) -> Result<BTreeMap<ServiceName, SignedDuration>, StoreError> {
        let query = StepQuery { services, node: None, limit: release::SAMPLES as u32 };
        Ok(release::durations(&self.steps(&query).await?))
    }

    /// Content by digest.
    async fn blob(&self, digest: Digest) -> Result<Option<Arc<[u8]>>, StoreError>;

    /// The plan of `node` with this digest, or its newest where none is named.
    async fn plan(
        &self,
        node: &NodeName,
        digest: Option<Digest>,
    ) -> Result<Option<Arc<NodePlan>>, StoreError>;

    /// All tokens, by digest.
    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError>;

    /// Adds a token, or replaces the one with its digest.
    async fn add_token(&self, token: StoredToken) -> Result<(), StoreError>;

    /// Removes all tokens of an identity and says how many there were.
    async fn revoke_tokens(&self, identity: &Identity) -> Result<u64, StoreError>;

    /// Deletes history beyond `keep`, and blobs that no kept plan names. Others write in between.
    async fn prune(&self, keep: Retention, now: Timestamp) -> Result<(), StoreError>;
}
