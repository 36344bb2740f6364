//! Things that happened, as they are told and kept.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{NodeName, Revision, ServiceName};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewEvent {
    /// By the daemon's clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Stable, dotted, past tense: `plan.published`.
    pub kind: Arc<str>,
    /// The commit that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The service that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// One sentence.
    pub message: String,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Rises by one; never re-used.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: NewEvent,
}
