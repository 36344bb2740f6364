//! What people decided beside the repository: holds, which keep something from changing for a while, and votes on changes
//! that wait for approval.
//!
//! Each is a fact with a person, a reason and a time. A decision changes nothing by itself: the planner reads it and says of
//! what it held back whose decision that was. What should run is only ever said in Git.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{Digest, EnvironmentName, NodeName, Revision, ServiceName};

/// All that people decided and that still counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// By number.
    pub holds: Vec<Hold>,
    /// In the order in which they were cast.
    pub votes: Vec<Vote>,
}

/// Something that must not change for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// From one, rising; never re-used. 0 until it is stored.
    pub number: u64,
    /// What is held.
    #[serde(flatten)]
    pub what: Held,
    /// Why.
    pub reason: Arc<str>,
    /// Who decided it: the name of the operator's token.
    pub owner: Arc<str>,
    /// Since when.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// It ends by itself then; none where somebody has to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether it holds anything at `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What a hold holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Held {
    /// No change of anything.
    Lock,
    /// No change of a part of the fleet.
    Suspend {
        /// The part.
        on: Part,
    },
    /// The fleet stays at a revision, whatever is pushed.
    Pin {
        /// The revision.
        revision: Revision,
    },
    /// Nothing new comes to a node.
    Cordon {
        /// The node.
        node: NodeName,
    },
    /// Nothing new comes to a node, and what can be elsewhere goes there.
    Drain {
        /// The node.
        node: NodeName,
        /// What can be nowhere else is stopped, too.
        stop: bool,
    },
}

/// A part of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A service, wherever it runs.
    Service(ServiceName),
    /// Everything on a node.
    Node(NodeName),
    /// Everything in an environment.
    Environment(EnvironmentName),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "service {service}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Environment(environment) => write!(f, "environment {environment}"),
        }
    }
}

/// What an operator says to changes that wait for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vote {
    /// The id under which the changes were shown: see [`plan_id`].
    pub plan: Digest,
    /// The commit that asks for them.
    pub revision: Revision,
    /// The changes. It counts for these only: one that is different is another plan.
    pub changes: BTreeSet<GuardedChange>,
    /// Who says it: the name of the operator's token.
    pub by: Arc<str>,
    /// The roles of that token.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Arc<str>>,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// A change that needs approval, named exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct GuardedChange {
    /// Where.
    pub node: NodeName,
    /// What.
    pub service: ServiceName,
    /// The instance digest that runs by the last plan; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The instance digest that is wanted; none where it is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// The id under which changes wait for approval: of the commit that asks for them, and of each of them.
pub fn plan_id(revision: &Revision, changes: &BTreeSet<GuardedChange>) -> Digest {
    let content = (revision, changes);
    Digest::of(serde_json::to_vec(&content).expect("names and digests are strings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(service: &str, to: Option<&str>) -> GuardedChange {
        GuardedChange {
            node: "edge-1".parse().expect("a name"),
            service: service.parse().expect("a name"),
            from: Some(Digest::of("old")),
            to: to.map(Digest::of),
        }
    }

    #[test]
    fn a_plan_that_asks_for_anything_else_has_another_id() {
        let revision = |digit: &str| digit.repeat(40).parse::<Revision>().expect("a revision");
        let set = |changes: &[GuardedChange]| changes.iter().cloned().collect::<BTreeSet<_>>();
        let id = plan_id(&revision("a"), &set(&[change("web", Some("new")), change("db", None)]));
        assert_eq!(id, plan_id(&revision("a"), &set(&[change("db", None), change("web", Some("new"))])));
        for other in [
            plan_id(&revision("b"), &set(&[change("web", Some("new")), change("db", None)])),
            plan_id(&revision("a"), &set(&[change("web", Some("newer")), change("db", None)])),
            plan_id(&revision("a"), &set(&[change("web", Some("new"))])),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_hold_with_an_end_holds_until_then() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let check = |until: Option<i64>, now, expected| {
            let (reason, owner) = ("maintenance".into(), "ada".into());
            let hold =
                Hold { number: 1, what: Held::Lock, reason, owner, since: at(0), until: until.map(at) };
            assert_eq!(hold.is_in_force(at(now)), expected);
        };
        check(None, 1_000_000, true);
        check(Some(10), 9, true);
        check(Some(10), 10, false);
    }
}
