//! What is answered about releases: the documents of the API, which the command line prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeptDiff, PlanRecord, Release, Standing, StepRecord};
use crate::diff::Change;
use crate::fleet::InstanceState;
use crate::name::{Digest, NodeName, ServiceName};
use crate::plan::Reason;

/// A page of releases, the newest first. The number of the last one is the next `before`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasePage {
    /// Empty where there is nothing older.
    pub releases: Vec<ReleaseEntry>,
}

/// A release in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseEntry {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// How it stands. Of those that are not the newest, the nodes are not looked up.
    pub standing: Standing,
    /// What it changed of the service that was asked for, as far as that is kept; nothing where none was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// Everything about one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseView {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// How it stands.
    pub standing: Standing,
    /// The newest plan that each node got under it, as far as plans are kept.
    pub nodes: Vec<PlanRecord>,
    /// The steps that it changed, as far as they are kept: each as often as it took another form.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// What it did.
    #[serde(flatten)]
    pub kept: KeptDiff,
}

/// Why a service is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The service.
    pub service: ServiceName,
    /// Where it is, or should be.
    pub nodes: Vec<WhyNode>,
}

/// Why a service is as it is on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyNode {
    /// The node.
    pub node: NodeName,
    /// How it stands there; none where the daemon has not looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InstanceState>,
    /// What it waits on, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The plan that says so; none where none was made yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRecord>,
    /// The instance digest; none where the plan removes it, or does not name it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What changed when it took this form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
    /// When that was, and when it was done; none where it was before releases were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<StepRecord>,
    /// The release that changed it; none where that is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}
