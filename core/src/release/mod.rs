//! Releases: the roll-out of one revision over the fleet, as it is kept and told.
//!
//! A release begins with the publication that first applies its revision and takes in every later one until another
//! revision is applied: held-back steps, failover, healing. What is kept are facts: the commit, what it did
//! ([`KeptDiff`]), which plan each node got and when it was acknowledged ([`PlanRecord`]), when each step took its present
//! form and when it was satisfied ([`StepRecord`]), and when the whole was done. How a release stands is computed from
//! them: see [`standing`].

mod commit;
mod kept;
mod pace;
mod standing;
mod steps;
mod told;
mod trace;
mod underway;
mod why;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diff::{Change, Diff, Summary};
use crate::name::{Digest, NodeName, Revision, ServiceName};
use crate::planner::Failure;
use crate::status::PlanId;

pub use commit::{Commit, Signature, SignatureFormat};
pub use kept::KeptDiff;
pub use pace::{SAMPLES, durations};
pub use standing::{Standing, standing};
pub use steps::{Reached, StepChange, StepEffect, StepRecord, changes, reached};
pub use told::{ReleaseEntry, ReleasePage, ReleaseView, Why, WhyNode};
pub use trace::{Attempt, Brought, Trace, TraceCommit, TraceStep, trace};
pub use underway::{Good, underway};
pub use why::{Evidence, why};

/// What is known of a release when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewRelease {
    /// The commit that it rolls out.
    pub revision: Revision,
    /// What was deployed before; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Revision>,
    /// Id of the plan that it began with, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// When its first publication was made.
    #[schemars(with = "String")]
    pub began_at: Timestamp,
    /// What the commit says of itself; none where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// How much it changed.
    pub summary: Summary,
}

/// A stored release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// From one, rising by one; never re-used.
    pub number: u64,
    /// What was known when it began.
    #[serde(flatten)]
    pub release: NewRelease,
    /// When every node had acknowledged it; none while one has not, and where a newer release came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<Timestamp>,
    /// It failed, and is undone until a newer revision comes or it is begun again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// How often it was begun again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

impl Release {
    /// One that has just begun.
    pub fn begun(number: u64, release: NewRelease) -> Self {
        Self { number, release, finished_at: None, failed: None, attempts: 0 }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a release failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What failed, where, and what was said of it.
    pub reason: Arc<str>,
    /// The services that did.
    pub services: BTreeSet<ServiceName>,
}

impl Failed {
    /// A failure that was found at this time.
    pub fn at(at: Timestamp, failure: &Failure) -> Self {
        let Failure { reason, services } = failure.clone();
        Self { at, reason: in_a_line(&reason).into(), services }
    }
}

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 300;

/// What went wrong, with the last of what the container wrote: the reason stands in plans, events and statuses of commits.
fn in_a_line(reason: &str) -> String {
    let mut lines = reason.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let line = lines.next_back().map_or(first.to_owned(), |last| format!("{first}: {last}"));
    line.chars().take(MAX_REASON).collect()
}

/// A release that a publication begins, with what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// What is known of it.
    pub release: NewRelease,
    /// What it does, as far as that is kept.
    pub diff: KeptDiff,
    /// All services that it changes, also those that are not in `diff` for want of room.
    pub services: BTreeSet<ServiceName>,
}

impl Opened {
    /// A release of `revision` that does what `diff` says.
    pub fn new(
        revision: Revision,
        before: Option<Revision>,
        commit: Option<Commit>,
        diff: Diff,
        began_at: Timestamp,
    ) -> Self {
        let services = diff.changes.iter().flat_map(services_of).cloned().collect();
        let summary = diff.summary;
        let commit = commit.map(Commit::without_secrets);
        let release = NewRelease { revision, before, plan: None, began_at, commit, summary };
        Self { release, diff: KeptDiff::cut(diff), services }
    }

    /// The same, begun with the plan of this id.
    #[must_use]
    pub fn with_plan(self, id: Digest) -> Self {
        Self { release: NewRelease { plan: Some(id), ..self.release }, ..self }
    }
}

/// The service that changes, and the name that it had.
fn services_of(change: &Change) -> impl Iterator<Item = &ServiceName> {
    let had = change.from.as_ref().and_then(|from| from.service.as_ref());
    had.into_iter().chain([&change.service])
}

/// Which releases are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseQuery {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// Only those that changed this service.
    pub service: Option<ServiceName>,
    /// At most so many.
    pub limit: u32,
}

/// A plan that was published, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRecord {
    /// Whose it is.
    pub node: NodeName,
    /// Its name.
    #[serde(flatten)]
    pub plan: PlanId,
    /// The release that it belongs to; none where it was published before releases were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub published_at: Option<Timestamp>,
    /// When the node first acknowledged it; none while it has not, and where a newer plan came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub acked_at: Option<Timestamp>,
}

/// Which steps are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepQuery {
    /// Of these services.
    pub services: BTreeSet<ServiceName>,
    /// On this node only.
    pub node: Option<NodeName>,
    /// At most so many of each service on each node, the newest.
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_is_a_line_with_the_last_words_of_the_container() {
        for (reason, expected) in [
            ("`web` on a failed: it ended", "`web` on a failed: it ended"),
            (
                "`web` failed: it ended\nits last lines:\nstarting\nno such table\n",
                "`web` failed: it ended: no such table",
            ),
            ("", ""),
        ] {
            assert_eq!(in_a_line(reason), expected);
        }
        assert_eq!(in_a_line(&"é".repeat(1000)).chars().count(), MAX_REASON);
    }
}
