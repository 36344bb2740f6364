//! What people decided beside the repository: holds, which keep something from changing for a while, and votes on changes
//! that wait for approval.
//!
//! Each is a fact with a person, a reason and a time. A decision changes nothing by itself: the planner reads it and says of
//! what it held back whose decision that was. What should run is only ever said in Git.

use std::collections::{BTreeMap, BTreeSet};
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

/// Who must approve a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Demand {
    /// Why it is asked for, in a clause.
    pub why: Arc<str>,
    /// How many people.
    pub count: u32,
    /// Each of them has one of these roles; none where any operator may.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Arc<str>>,
    /// Whether the author of the commit may be one of them: it is a question whether that is meant, and not one of trust.
    pub author_may: bool,
}

/// Changes that wait for approval together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Awaiting {
    /// Their id: see [`plan_id`].
    pub plan: Digest,
    /// The commit that asks for them.
    pub revision: Revision,
    /// The changes.
    pub changes: BTreeSet<GuardedChange>,
    /// Who must approve them.
    pub demand: Demand,
    /// Who has, whose approval counts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approved_by: BTreeSet<Arc<str>>,
    /// Who has rejected them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rejected_by: BTreeSet<Arc<str>>,
}

impl Awaiting {
    /// Changes that wait for what `demand` asks, with what has been said of all of them.
    pub fn new(
        revision: &Revision,
        changes: BTreeSet<GuardedChange>,
        demand: Demand,
        votes: &[Vote],
    ) -> Self {
        let of_these =
            votes.iter().filter(|vote| vote.revision == *revision && vote.changes.is_superset(&changes));
        let last: BTreeMap<&Arc<str>, &Vote> = of_these.map(|vote| (&vote.by, vote)).collect();
        let has_role = |vote: &Vote| demand.roles.is_empty() || !demand.roles.is_disjoint(&vote.roles);
        let (approving, rejecting): (Vec<&Vote>, Vec<&Vote>) =
            last.into_values().filter(|vote| has_role(vote)).partition(|vote| vote.approves);
        let names = |votes: Vec<&Vote>| votes.into_iter().map(|vote| vote.by.clone()).collect();
        let plan = plan_id(revision, &changes);
        let (approved_by, rejected_by) = (names(approving), names(rejecting));
        Self { plan, revision: revision.clone(), changes, demand, approved_by, rejected_by }
    }

    /// Whether enough people have approved, and nobody has rejected.
    pub fn is_approved(&self) -> bool {
        self.rejected_by.is_empty() && self.missing() == 0
    }

    /// How many approvals are missing.
    pub fn missing(&self) -> usize {
        (self.demand.count as usize).saturating_sub(self.approved_by.len())
    }
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
    fn changes_are_approved_by_enough_people_with_the_role_and_by_nobody_against() {
        let revision: Revision = "a".repeat(40).parse().expect("a revision");
        let changes: BTreeSet<GuardedChange> = [change("db", None)].into();
        let vote = |by: &str, role: &str, approves| Vote {
            plan: plan_id(&revision, &changes),
            revision: revision.clone(),
            changes: changes.clone(),
            by: by.into(),
            roles: [Arc::from(role)].into(),
            approves,
            reason: None,
            at: Timestamp::UNIX_EPOCH,
        };
        let check = |count, votes: &[Vote], approved, missing| {
            let demand =
                Demand { why: "x".into(), count, roles: [Arc::from("ops")].into(), author_may: true };
            let awaiting = Awaiting::new(&revision, changes.clone(), demand, votes);
            assert_eq!((awaiting.is_approved(), awaiting.missing()), (approved, missing), "{votes:?}");
        };
        check(1, &[], false, 1);
        check(1, &[vote("ada", "ops", true)], true, 0);
        check(1, &[vote("ada", "dev", true)], false, 1);
        check(2, &[vote("ada", "ops", true), vote("ada", "ops", true)], false, 1);
        check(2, &[vote("ada", "ops", true), vote("bob", "ops", true)], true, 0);
        check(1, &[vote("ada", "ops", true), vote("bob", "ops", false)], false, 0);
        check(1, &[vote("bob", "ops", false), vote("bob", "ops", true)], true, 0);
        let other = Vote { changes: [change("web", None)].into(), ..vote("ada", "ops", true) };
        check(1, &[other], false, 1);
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
