//! What clients and the daemon exchange, as types that both sides use; what agents and the daemon exchange is
//! [`gitops_core::protocol`].
//!
//! Bodies are the documents of the core ([`Diff`], [`FleetStatus`], …) and the small ones below. Fields are only ever
//! added, so a reader ignores those it does not know.

use std::collections::BTreeSet;

use gitops_core::decision::{AwaitingView, Held, KeptHold};
use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::Diff;
pub use gitops_core::fleet::drift::Only;
use gitops_core::fleet::{FleetStatus, SourceStatus};
use gitops_core::log::LogEntry;
use gitops_core::name::{Digest, NodeName, OperatorName, Revision, RoleName};
use gitops_core::protocol::Protocols;
use gitops_core::tree::patch::Patch;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::Event;

/// Log lines, oldest first. The id of the last one is the next `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// Empty where there is nothing newer.
    pub lines: Vec<LogEntry>,
}

/// The answer to `POST /v1/nodes/{node}/token`. The only time that the secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeToken {
    /// Who it speaks for.
    pub node: NodeName,
    /// The secret, for the agent's `token_file`.
    pub token: String,
}

/// The body of `POST /v1/operators/{operator}/token`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TokenRequest {
    /// In which roles they approve changes with it.
    pub roles: BTreeSet<RoleName>,
}

/// The answer to `POST /v1/operators/{operator}/token`. The only time that the secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorToken {
    /// Who it speaks for.
    pub operator: OperatorName,
    /// In which roles.
    pub roles: BTreeSet<RoleName>,
    /// The secret, for `GITOPS_TOKEN_FILE`.
    pub token: String,
}

/// The answer to `DELETE /v1/nodes/{node}/token` and `DELETE /v1/operators/{operator}/token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// How many tokens there were.
    pub revoked: u64,
}

/// The body of `POST /v1/holds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldRequest {
    /// What is held.
    #[serde(flatten)]
    pub what: Held,
    /// Why: one sentence for everybody whom it stops.
    pub reason: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Or after how many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}

/// The answer to `GET /v1/holds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldPage {
    /// The newest first.
    pub holds: Vec<KeptHold>,
}

/// The body of `POST /v1/approvals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotRequest {
    /// The id of the plan, or at least six digits with which it begins.
    pub plan: String,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to `GET /v1/approvals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalPage {
    /// What waits.
    pub awaiting: Vec<AwaitingView>,
}

/// The body of `POST /v1/sync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncRequest {
    /// Deploy the newest revision even if it does not descend from the deployed one.
    pub accept_rewind: bool,
    /// Deploy it only if that is the plan with this id; nothing is changed otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
}

/// The answer to `POST /v1/sync`: given when the repository has answered and its newest revision was checked.
/// Whoever wants to wait for the roll-out follows `GET /v1/status` until `source.deployed` is `revision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Synced {
    /// The newest revision of the branch; none where it has no commit.
    pub revision: Option<Revision>,
    /// How the source stands after the look.
    pub source: SourceStatus,
    /// When the plan that was asked for had been deployed already, where it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub already_at: Option<Timestamp>,
}

/// The body of `POST /v1/diff`: a tree that might be deployed. Nothing in it is executed, and it is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DiffRequest {
    /// The commit, if it is one. Without it there is no plan id, because only a commit can be deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The deployed revision that `changes` were found against; none where nothing is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Revision>,
    /// What makes the tree of that of `base`. Without it the daemon reads the revision from its own repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Patch>,
    /// What of the fleet is told. The plan is always one of all of it.
    #[serde(flatten)]
    pub only: Only,
}

/// The answer to `POST /v1/diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiffAnswer {
    /// What deploying it would do, with its plan id.
    Diff(Box<Diff>),
    /// It cannot be deployed: all that is said of it.
    Invalid(Vec<Diagnostic>),
}

/// A page of events, oldest first. The number of the last one is the next `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// Empty where there is nothing newer.
    pub events: Vec<Event>,
}

/// The answer to `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Of the daemon.
    pub version: String,
    /// The agent protocols that it speaks.
    pub protocols: Protocols,
}

/// The answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The daemon that answers.
    pub daemon: Running,
    /// What it knows.
    #[serde(flatten)]
    pub fleet: FleetStatus,
}

/// A daemon that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// The version of the program.
    pub version: String,
    /// Since when.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
}
