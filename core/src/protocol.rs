//! What an agent and its daemon say to each other, as types that both sides use.
//!
//! An agent opens each request with a [`Hello`] in its headers: which protocol versions it speaks and which agent
//! process it is. The daemon answers in the newest version that both know, or refuses by name, with a [`Problem`].
//! Bodies are the documents of the core ([`NodePlan`](crate::plan::NodePlan), [`NodeStatus`]) and the small ones below;
//! fields are only ever added within a version, so a reader ignores those it does not know.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::log::LogLine;
use crate::name::{Digest, NodeName};
use crate::reconcile::preview::difference::Difference;
use crate::status::{NodeStatus, Start};

/// The protocol versions that this program speaks.
pub const SPOKEN: Protocols = Protocols { first: 1, last: 1 };

/// Header: the protocol versions that the sender speaks, `1` or `1-3`. In an answer: the one that was chosen.
pub const PROTOCOL_HEADER: &str = "gitops-protocol";
/// Header: [`AgentInfo::id`](gitops_core::status::AgentInfo::id) of the agent.
pub const AGENT_HEADER: &str = "gitops-agent";
/// Header: the version of the agent program.
pub const AGENT_VERSION_HEADER: &str = "gitops-agent-version";
/// Header: the name of the agent's machine, so that a second agent can be told where the first one runs.
pub const AGENT_HOST_HEADER: &str = "gitops-agent-host";

/// Header: the node that the agent was set up for. One whose token is another node's is told so before anything else.
/// Agents of the first versions do not send it.
pub const AGENT_NODE_HEADER: &str = "gitops-agent-node";

/// Header: [`AgentInfo::start`](gitops_core::status::AgentInfo::start) of the agent. Agents of the first versions do not send it.
pub const AGENT_START_HEADER: &str = "gitops-agent-start";

/// The longest text in one of these headers, in bytes: a host name has at most 253.
const MAX_HEADER: usize = 255;

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protocols {
    /// The oldest.
    pub first: u32,
    /// The newest.
    pub last: u32,
}

impl Protocols {
    /// The newest version in both ranges.
    pub fn agree(self, other: Self) -> Option<u32> {
        let newest = self.last.min(other.last);
        (newest >= self.first.max(other.first)).then_some(newest)
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Protocols {
    type Err = HelloError;

    fn from_str(text: &str) -> Result<Self, HelloError> {
        let parse = || {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
            (range.first <= range.last).then_some(range)
        };
        parse().ok_or(HelloError::Malformed { header: PROTOCOL_HEADER })
    }
}

/// Who calls, before what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol versions that the agent speaks.
    pub protocols: Protocols,
    /// [`AgentInfo::id`](gitops_core::status::AgentInfo::id) of the agent.
    pub agent: Arc<str>,
    /// The version of the agent program.
    pub version: Arc<str>,
    /// The name of its machine.
    pub host: Arc<str>,
    /// The node that it was set up for.
    pub node: Option<NodeName>,
    /// [`AgentInfo::start`](gitops_core::status::AgentInfo::start) of the agent.
    pub start: Option<Start>,
}

/// Why a request is not one of an agent that this daemon can talk to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// A header is not there.
    #[error("the header `{header}` is missing: is the caller a gitops agent?")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header cannot be read.
    #[error(
        "the header `{header}` cannot be read: it takes 1 to {MAX_HEADER} visible ASCII characters, versions as `1` or `1-3`, the node by its name, a start as `17-9f3c2a5d00c4e1b8`"
    )]
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// No version in common.
    #[error("the agent speaks protocol {agent}, this daemon speaks {SPOKEN}: upgrade the older of the two")]
    NoCommonProtocol {
        /// What the agent speaks.
        agent: Protocols,
    },
}

impl Hello {
    /// The headers that carry it. Characters that no header may hold are replaced by `?`.
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (PROTOCOL_HEADER, self.protocols.to_string()),
            (AGENT_HEADER, printable(&self.agent)),
            (AGENT_VERSION_HEADER, printable(&self.version)),
            (AGENT_HOST_HEADER, printable(&self.host)),
        ];
        headers.extend(self.node.as_ref().map(|node| (AGENT_NODE_HEADER, node.to_string())));
        headers.extend(self.start.map(|start| (AGENT_START_HEADER, start.to_string())));
        headers
    }

    /// Reads the headers, and finds the version to talk in.
    ///
    /// # Errors
    ///
    /// If a header is missing or malformed, or no version is common to both.
    pub fn from_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<(Self, u32), HelloError> {
        let read = |name: &'static str| {
            let text = header(name).ok_or(HelloError::Missing { header: name })?;
            let fits =
                matches!(text.len(), 1..=MAX_HEADER) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if fits { Ok(text) } else { Err(HelloError::Malformed { header: name }) }
        };
        let protocols: Protocols = read(PROTOCOL_HEADER)?.parse()?;
        let chosen = SPOKEN.agree(protocols).ok_or(HelloError::NoCommonProtocol { agent: protocols })?;
        let named = header(AGENT_NODE_HEADER).map(str::parse).transpose();
        let start = header(AGENT_START_HEADER).map(str::parse).transpose();
        let hello = Self {
            protocols,
            agent: read(AGENT_HEADER)?.into(),
            version: read(AGENT_VERSION_HEADER)?.into(),
            host: read(AGENT_HOST_HEADER)?.into(),
            node: named.map_err(|_| HelloError::Malformed { header: AGENT_NODE_HEADER })?,
            start: start.map_err(|_| HelloError::Malformed { header: AGENT_START_HEADER })?,
        };
        Ok((hello, chosen))
    }
}

fn printable(text: &str) -> String {
    let clean = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    match text.trim() {
        "" => "?".to_owned(),
        text => text.chars().take(MAX_HEADER).map(clean).collect(),
    }
}

/// The body of `PUT /v1/agent/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// `{"status": {…}}`: the full reported state, after a change or when it was asked for.
    Status(Arc<NodeStatus>),
    /// `{"heartbeat": {"digest": …}}`: nothing changed since the state with this digest.
    Heartbeat {
        /// [`NodeStatus::digest`].
        digest: Digest,
    },
}

/// The answer to a [`Report`], given only after the report is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The daemon does not hold the state that the heartbeat names: send it in full.
    pub want_status: bool,
    /// Seconds between heartbeats. After three of them without one, the node counts as stale.
    pub heartbeat_seconds: u32,
}

/// The body of `PUT /v1/agent/logs`: what the agent did, in the order in which it wrote it down. Sent again until it
/// is acknowledged, and kept once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogUpload {
    /// At most [`LOG_LINES`].
    pub lines: Vec<LogLine>,
}

/// The most lines in one [`LogUpload`], and in one page of them.
pub const LOG_LINES: usize = 1000;

/// Every refusal: RFC 9457, media type `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable, kebab-case, fit for scripts: `no-token`, `second-agent`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// A few words, the same for each problem with this code.
    pub title: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// Of `plan-moved`: what differs between the plan that was asked for and that of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Box<Difference>>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(text: &str) -> Protocols {
        text.parse().expect("a range")
    }

    #[test]
    fn two_sides_talk_in_the_newest_version_that_both_know() {
        for (ours, theirs, expected) in [
            ("1", "1", Some(1)),
            ("1-3", "2-5", Some(3)),
            ("4-5", "1-4", Some(4)),
            ("1", "2", None),
            ("3-4", "1-2", None),
        ] {
            assert_eq!(protocols(ours).agree(protocols(theirs)), expected, "{ours} and {theirs}");
        }
    }

    #[test]
    fn a_hello_survives_its_headers() {
        for (node, start) in [(None, None), ("edge-1".parse().ok(), "17-9f3c2a5d00c4e1b8".parse().ok())] {
            let (agent, version, host) = ("a1".into(), "0.1.0".into(), "edge-1".into());
            let hello = Hello { protocols: SPOKEN, agent, version, host, node, start };
            let headers = hello.to_headers();
            let get =
                |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
            assert_eq!(Hello::from_headers(get), Ok((hello, 1)));
        }
    }

    #[test]
    fn a_bad_hello_is_refused_by_name() {
        let check = |name: &'static str, value: Option<&'static str>, expected: HelloError| {
            let get = |header: &str| match header {
                _ if header == name => value,
                AGENT_NODE_HEADER | AGENT_START_HEADER => None,
                PROTOCOL_HEADER => Some("1"),
                _ => Some("x"),
            };
            assert_eq!(Hello::from_headers(get), Err(expected), "{name}: {value:?}");
        };
        check(AGENT_HEADER, None, HelloError::Missing { header: AGENT_HEADER });
        check(AGENT_HEADER, Some(""), HelloError::Malformed { header: AGENT_HEADER });
        check(AGENT_HOST_HEADER, Some("a\u{e9}"), HelloError::Malformed { header: AGENT_HOST_HEADER });
        check(AGENT_NODE_HEADER, Some("Edge"), HelloError::Malformed { header: AGENT_NODE_HEADER });
        check(AGENT_START_HEADER, Some("17"), HelloError::Malformed { header: AGENT_START_HEADER });
        for bad in ["x", "3-1", "1-2-3", "-1"] {
            check(PROTOCOL_HEADER, Some(bad), HelloError::Malformed { header: PROTOCOL_HEADER });
        }
        let agent = Protocols { first: 7, last: 9 };
        check(PROTOCOL_HEADER, Some("7-9"), HelloError::NoCommonProtocol { agent });
    }

    #[test]
    fn a_heartbeat_reads_as_documented() {
        let report = Report::Heartbeat { digest: Digest::of("") };
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json, serde_json::json!({ "heartbeat": { "digest": Digest::of("") } }));
        assert_eq!(serde_json::from_value::<Report>(json).ok(), Some(report));
    }
}
