//! How the source, each node and each instance stand, in the words that people are shown.
//!
//! Everything here is computed on every pass from the definitions, the plans and the reports, and never stored:
//! a state that is stored can be wrong. The document is what `GET /v1/status` answers and `gitops status` prints.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::name::{Digest, NodeName, Revision, ServiceName};
use crate::status::{HostInfo, PlanId, Refusal};

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FleetStatus {
    /// Where definitions come from, and what came last.
    pub source: SourceStatus,
    /// By name.
    pub nodes: Vec<NodeView>,
    /// Of the newest revision: all its mistakes where it is invalid, its warnings otherwise.
    pub diagnostics: Vec<Diagnostic>,
}

/// How the definitions repository stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SourceStatus {
    /// Where it is, without credentials.
    pub url: Arc<str>,
    /// The branch that is watched.
    pub branch: Arc<str>,
    /// In one word.
    pub state: SourceState,
    /// The revision whose plans stand.
    pub deployed: Option<Revision>,
    /// The newest revision that was seen. Differs from `deployed` where it is held or invalid.
    pub newest: Option<Revision>,
    /// When the repository last answered.
    #[schemars(with = "Option<String>")]
    pub checked_at: Option<Timestamp>,
    /// What is the matter, where something is, and what to do about it.
    pub message: Option<String>,
}

/// The state of the source in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// The newest revision is deployed.
    Ok,
    /// The repository does not answer; the last good plans stand.
    Stale,
    /// The newest revision does not descend from the deployed one and waits for `gitops sync --accept-rewind`.
    Held,
    /// The newest revision has mistakes; the last good plans stand.
    Invalid,
}

/// How one node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NodeView {
    /// Its name.
    pub node: NodeName,
    /// In one word.
    pub state: NodeState,
    /// When its agent was last heard.
    #[schemars(with = "Option<String>")]
    pub heard_at: Option<Timestamp>,
    /// Its newest plan.
    pub plan: Option<PlanId>,
    /// The plan in its agent's ledger.
    pub accepted: Option<PlanId>,
    /// A plan that its agent refused.
    pub refused: Option<Refusal>,
    /// What its agent says of the machine.
    pub host: Option<HostInfo>,
    /// Version of its agent.
    pub agent: Option<Arc<str>>,
    /// By service.
    pub instances: Vec<InstanceView>,
}

/// The state of a node in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Heard within three heartbeats, and everything is as its newest plan says.
    Ok,
    /// Heard, and not there yet: see its instances.
    Pending,
    /// Heard, and some step failed, the plan was refused or Docker cannot be used.
    Failing,
    /// Not heard for three heartbeats. What is shown is what was last known.
    Stale,
    /// Defined, and its agent never reported.
    Never,
    /// No longer defined, and still reporting.
    Undefined,
}

/// How one instance stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InstanceView {
    /// The service.
    pub service: ServiceName,
    /// In one word.
    pub state: InstanceState,
    /// Its instance digest in the plan.
    pub digest: Option<Digest>,
    /// What it waits on or what went wrong.
    pub message: Option<String>,
    /// How many containers run, of how many the plan wants.
    pub running: u32,
    /// How many the plan wants.
    pub wanted: u32,
}

/// The state of an instance in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// As the plan says, and healthy.
    Healthy,
    /// As the plan says, and not meant to run.
    Stopped,
    /// Held back by the planner: something else comes first.
    Waiting,
    /// In a plan that the agent has not accepted yet.
    Pending,
    /// Being made so.
    Applying,
    /// Did not become so.
    Failed,
    /// Being removed.
    Removing,
    /// As the last report says, which is too old to believe.
    Unknown,
    /// Carries this node's label and is in no plan: listed, never touched.
    Orphan,
}
