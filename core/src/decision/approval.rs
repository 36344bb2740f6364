//! Votes on changes that wait for approval: what exactly waits, who may vote on it, and whether the votes are enough.
//!
//! **Invariant:** a vote counts for the changes that were shown and for no others. They are named by what runs and by what
//! is wanted, so that a change of anything that waits is another plan, which nobody has voted on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{Digest, NodeName, Revision, ServiceName};

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

/// Changes that wait for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Awaiting {
    /// Their id: see [`plan_id`].
    pub plan: Digest,
    /// The commit that asks for them.
    pub revision: Revision,
    /// The changes.
    pub changes: BTreeSet<GuardedChange>,
    /// Why they need approval, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Arc<str>>,
    /// How many must agree, and in which roles.
    pub needed: Needed,
    /// Since when they wait.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Whether the author of the commit may approve them: it is asked whether that is meant, and not of whom it is trusted.
    #[serde(default)]
    pub author_may: bool,
    /// From then on nobody can approve them any more; none where they wait for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
}

/// Who must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Needed {
    /// How many people.
    pub approvals: usize,
    /// Each of them has one of these roles; none where any operator may.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Arc<str>>,
}

/// How the votes on some changes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Who agrees.
    pub approved_by: BTreeSet<Arc<str>>,
    /// Who does not. One is enough to stop it, until they say otherwise.
    pub rejected_by: BTreeSet<Arc<str>>,
    /// What is still needed.
    pub missing: Needed,
}

impl Tally {
    /// Whether the changes may be made.
    pub fn is_approved(&self) -> bool {
        self.rejected_by.is_empty() && self.missing == Needed::default()
    }
}

impl Awaiting {
    /// How the votes on these changes stand. The last word of each person counts.
    pub fn tally(&self, votes: &[Vote]) -> Tally {
        // What was approved together goes on one after the other: what is left of it is approved still.
        let cast = votes
            .iter()
            .filter(|vote| vote.revision == self.revision && vote.changes.is_superset(&self.changes));
        let last: BTreeMap<&str, &Vote> = cast.map(|vote| (&*vote.by, vote)).collect();
        let Needed { approvals, roles } = &self.needed;
        let (yes, no): (Vec<&Vote>, Vec<&Vote>) = last.values().partition(|vote| vote.approves);
        let yes: Vec<&Vote> =
            yes.into_iter().filter(|vote| roles.is_empty() || !roles.is_disjoint(&vote.roles)).collect();
        let approvals = approvals.saturating_sub(yes.len());
        let roles = if approvals == 0 { BTreeSet::new() } else { roles.clone() };
        let missing = Needed { approvals, roles };
        let names = |votes: Vec<&Vote>| votes.iter().map(|vote| vote.by.clone()).collect();
        Tally { approved_by: names(yes), rejected_by: names(no), missing }
    }
}

/// Changes that wait for approval, with how they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwaitingView {
    /// What waits.
    #[serde(flatten)]
    pub awaiting: Awaiting,
    /// What was said to it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// How that stands.
    #[serde(flatten)]
    pub tally: Tally,
}

impl AwaitingView {
    /// What waits, with those of `votes` that were cast on it.
    pub fn new(awaiting: Awaiting, votes: &[Vote]) -> Self {
        let tally = awaiting.tally(votes);
        let votes = votes.iter().filter(|vote| vote.plan == awaiting.plan).cloned().collect();
        Self { awaiting, votes, tally }
    }
}

/// Whether the operator of this name is the author of a commit: called as the author is, as their address, or as what
/// stands before the `@` of it. Who has one login at several places is one person.
pub fn is_author(operator: &str, author: &str, email: &str) -> bool {
    let [operator, author, email] = [operator, author, email].map(|text| text.trim().to_lowercase());
    operator == author || operator == email || login(&operator) == login(&email)
}

/// `ada` of `ada@example.org`, and of `1234+ada@users.noreply.example.org`, as forges write it.
fn login(address: &str) -> &str {
    let local = address.split_once('@').map_or(address, |(local, _)| local);
    match local.split_once('+') {
        Some((number, login)) if number.bytes().all(|digit| digit.is_ascii_digit()) => login,
        _ => local,
    }
}

#[cfg(test)]
pub(super) fn vote(by: &str, approves: bool, roles: &[&str]) -> Vote {
    Vote {
        plan: Digest::of("plan"),
        revision: "a".repeat(40).parse().expect("a revision"),
        changes: BTreeSet::new(),
        by: by.into(),
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        approves,
        reason: None,
        at: Timestamp::UNIX_EPOCH,
    }
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
    fn enough_people_in_every_role_must_agree_and_nobody_may_object() {
        let check = |approvals, roles: &[&str], votes: &[Vote], expected: bool| {
            let roles = roles.iter().map(|role| Arc::from(*role)).collect();
            let Vote { plan, revision, changes, at, .. } = vote("", true, &[]);
            let needed = Needed { approvals, roles };
            let awaiting = Awaiting {
                author_may: false,
                plan,
                revision,
                changes,
                because: Vec::new(),
                needed,
                since: at,
                until: None,
            };
            let tally = awaiting.tally(votes);
            assert_eq!(tally.is_approved(), expected, "{tally:?}");
        };
        let (ada, grace) = (vote("ada", true, &["dba"]), vote("grace", true, &[]));
        check(1, &[], &[], false);
        check(1, &[], std::slice::from_ref(&ada), true);
        check(2, &[], &[ada.clone(), ada.clone()], false);
        check(2, &[], &[ada.clone(), grace.clone()], true);
        check(1, &["dba"], std::slice::from_ref(&grace), false);
        check(1, &["dba"], &[grace.clone(), ada.clone()], true);
        check(1, &["dba", "security"], &[grace.clone(), ada.clone()], true);
        check(2, &["dba", "security"], &[grace.clone(), ada.clone()], false);
        check(1, &[], &[ada.clone(), vote("grace", false, &[])], false);
        check(1, &[], &[vote("ada", false, &[]), ada.clone()], true);
        check(1, &[], &[ada, vote("ada", false, &[])], false);
        check(1, &[], &[Vote { revision: "b".repeat(40).parse().expect("a revision"), ..grace }], false);
    }

    #[test]
    fn an_author_is_known_by_name_and_by_address() {
        for (operator, expected) in [
            ("ada", true),
            ("ADA", true),
            ("ada@example.org", true),
            ("ada@elsewhere.org", true),
            ("grace", false),
            ("adam", false),
            ("GitHub", false),
            ("operator", false),
        ] {
            assert_eq!(is_author(operator, "Ada Lovelace", "Ada@Example.org"), expected, "{operator}");
        }
        assert!(is_author("Grace", "grace", "") && is_author("root", "", "root"));
        assert!(is_author("ada", "Ada Lovelace", "1234+ada@users.noreply.example.org"));
        assert!(is_author("ada lovelace", "Ada Lovelace", "") && !is_author("ada", "", "+ada+x@example.org"));
    }
}
