//! What people decided beside the repository: holds, which keep something from changing for a while, and votes on changes
//! that wait for approval.
//!
//! Each is a fact with a person, a reason and a time. A decision changes nothing by itself: the planner reads it and says of
//! what it held back whose decision that was. What should run is only ever said in Git.

mod approval;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::holders::Closed;
use crate::name::{EnvironmentName, NodeName, OperatorName, Revision, RoleName, ServiceName};

pub use approval::{Awaiting, AwaitingView, GuardedChange, Needed, Tally, Vote, is_author, plan_id};

/// How long an expired hold that nobody ended is shown: long enough for whoever was away over a weekend or two.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(14 * 24);

/// So many holds may be in force. Whoever needs more suspends an environment.
pub const MAX_HOLDS: usize = 1_000;

/// So many votes count: the newest. A plan gets a handful, and is void when it changes.
pub const MAX_VOTES: usize = 1_000;

/// All that people decided and that still counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// By number; among them those whose time is over, until somebody ends them or nobody needs to be told any more.
    pub holds: Vec<Hold>,
    /// In the order in which they were cast.
    pub votes: Vec<Vote>,
}

impl Decisions {
    /// The holds that hold something at `now`, by number.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter(move |hold| hold.is_in_force(now))
    }

    /// The nodes that are closed at `now`.
    pub fn closed(&self, now: Timestamp) -> Closed {
        let mut closed = Closed::default();
        for hold in self.in_force(now) {
            match &hold.what {
                Held::Cordon { node } => _ = closed.cordoned.insert(node.clone()),
                Held::Drain { node, .. } => _ = closed.drained.insert(node.clone()),
                Held::Lock | Held::Suspend { .. } | Held::Pin { .. } => {}
            }
        }
        closed
    }

    /// The revision at which the fleet is held at `now`, with the hold that does it.
    pub fn pin(&self, now: Timestamp) -> Option<(&Revision, &Hold)> {
        self.in_force(now).find_map(|hold| match &hold.what {
            Held::Pin { revision } => Some((revision, hold)),
            _ => None,
        })
    }

    /// The hold by which everything on a node is stopped at `now`, if there is one.
    pub fn emptied(&self, node: &NodeName, now: Timestamp) -> Option<&Hold> {
        let empties = |hold: &&Hold| matches!(&hold.what, Held::Drain { node: of, stop: true } if of == node);
        self.in_force(now).find(empties)
    }

    /// Takes a hold in, in its place.
    pub fn begin(&mut self, hold: Hold) {
        let place = self.holds.partition_point(|known| known.number < hold.number);
        self.holds.insert(place, hold);
    }

    /// Takes a vote in; the oldest of too many go.
    pub fn vote(&mut self, vote: Vote) {
        self.votes.push(vote);
        self.votes.drain(..self.votes.len().saturating_sub(MAX_VOTES));
    }
}

/// One decision, to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Something must not change for a while.
    Begin(Hold),
    /// A hold ends.
    End {
        /// Which.
        number: u64,
        /// Who says so.
        by: Arc<str>,
        /// When.
        at: Timestamp,
    },
    /// The time of a hold is over, and that is told: once. No person decides this.
    Expire(u64),
    /// Somebody says yes or no.
    Vote(Vote),
    /// The release of this revision, which failed and was undone, begins again.
    Retry(Revision),
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

    /// Whether people should see it at `now`: it is in force, or was until lately.
    pub fn is_shown(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now.duration_since(until) < SHOWN_FOR)
    }
}

/// A hold with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptHold {
    /// The hold.
    #[serde(flatten)]
    pub hold: Hold,
    /// When somebody ended it; none where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Arc<str>>,
}

/// Somebody who may decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorView {
    /// The name, under which their decisions are kept.
    pub operator: OperatorName,
    /// The roles of their tokens.
    pub roles: BTreeSet<RoleName>,
    /// How many tokens they have.
    pub tokens: u32,
    /// When the oldest was made.
    #[schemars(with = "String")]
    pub since: Timestamp,
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

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => f.write_str("everything is locked"),
            Self::Suspend { on } => write!(f, "{on} is suspended"),
            Self::Pin { revision } => write!(f, "the fleet is pinned to {}", revision.short()),
            Self::Cordon { node } => write!(f, "node {node} is cordoned"),
            Self::Drain { node, stop: false } => write!(f, "node {node} is drained"),
            Self::Drain { node, stop: true } => {
                write!(f, "node {node} is drained, and what cannot move is stopped")
            }
        }
    }
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

/// So many removals in one release ask no question,
const FEW_REMOVALS: usize = 5;
/// nor does one instance in so many.
const SMALL_PART: usize = 10;

/// Whether a release removes so much that somebody has to say that it is meant: of `all` instances, `removals`.
pub fn are_many_removals(removals: usize, all: usize) -> bool {
    removals > FEW_REMOVALS && removals > all / SMALL_PART
}

/// Whether a repository lost most of what it said, which is rarely meant either: of `before` services, `after` are left.
pub fn is_most_lost(removals: usize, before: usize, after: usize) -> bool {
    removals > FEW_REMOVALS && 2 * after < before
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_expired_hold_is_shown_for_two_weeks() {
        let (reason, owner, since) = ("maintenance".into(), "ada".into(), Timestamp::UNIX_EPOCH);
        let hold = Hold { number: 1, what: Held::Lock, reason, owner, since, until: Some(since) };
        let day = SignedDuration::from_hours(24);
        assert!(hold.is_shown(since) && hold.is_shown(since + day * 13));
        assert!(!hold.is_shown(since + day * 14));
        assert!(Hold { until: None, ..hold }.is_shown(since + day * 1_000));
    }

    #[test]
    fn holds_stand_by_number_and_only_the_newest_votes_count() {
        let since = Timestamp::UNIX_EPOCH;
        let hold = |number| Hold {
            number,
            what: Held::Lock,
            reason: "maintenance".into(),
            owner: "ada".into(),
            since,
            until: None,
        };
        let mut decisions = Decisions::default();
        [2, 3, 1].into_iter().for_each(|number| decisions.begin(hold(number)));
        assert_eq!(decisions.in_force(since).map(|hold| hold.number).collect::<Vec<_>>(), [1, 2, 3]);
        for number in 0..MAX_VOTES + 2 {
            decisions.vote(approval::vote(&format!("ada-{number}"), true, &[]));
        }
        assert_eq!((decisions.votes.len(), &*decisions.votes[0].by), (MAX_VOTES, "ada-2"));
    }
}
