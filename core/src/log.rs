//! What an agent did for a step, line by line: what it decided, and what Docker Compose said.
//!
//! One try at one step is an *attempt*, known by the node, the service and when it began; its lines are numbered from
//! one. So a line that is sent twice is the same line, and a log that was read to some point can be read on.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{Generation, NodeName, ServiceName};

/// Bytes of text in one line at most. Agents cut theirs far below it.
pub const MAX_TEXT: usize = 4096;

/// A line of an attempt, as its agent wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// The service of the step.
    pub service: ServiceName,
    /// Of the plan that the step was begun for.
    pub generation: Generation,
    /// When the attempt began, by the node's clock: its name, together with node and service.
    #[schemars(with = "String")]
    pub attempt: Timestamp,
    /// Its place in the attempt, from one.
    pub seq: u32,
    /// When it was written, by the node's clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Who says it.
    pub from: Speaker,
    /// Without its end of line.
    pub text: String,
}

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The agent, of what it does.
    Agent,
    /// Docker Compose, on either of its streams.
    Compose,
}

/// A stored line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// Rises in the order in which the daemon got the lines; never re-used.
    pub id: u64,
    /// Whose agent wrote it.
    pub node: NodeName,
    /// What it wrote.
    #[serde(flatten)]
    pub line: LogLine,
}

/// Which lines of a service are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// The service.
    pub service: ServiceName,
    /// On this node; on all of them where none is named.
    pub node: Option<NodeName>,
    /// Only lines with a greater id.
    pub after: u64,
    /// How many at most: where there are more, the newest without `after`, the oldest with it.
    pub limit: u32,
}

impl LogQuery {
    /// Whether a line is one of those wanted.
    pub fn wants(&self, entry: &LogEntry) -> bool {
        let on_node = self.node.as_ref().is_none_or(|node| *node == entry.node);
        entry.id > self.after && on_node && entry.line.service == self.service
    }
}
