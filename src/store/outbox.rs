//! The outbox: what is still to be told to the forge.
//!
//! A row is a thing to do and not a message: it says *which* pull request to review, never what to say about it, so
//! that whoever carries it out says what is true by then. Of one key only the newest counts; an older one that
//! arrives late changes nothing. A row outlives the daemon, and goes when it is done or a week old.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::Revision;
use gitops_core::review::Status;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What is older is dropped: nobody waits a week for a comment.
pub const MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Names an errand: `review/17`.
pub type ErrandKey = Arc<str>;

/// What waits to be done, by key.
pub type Outbox = BTreeMap<ErrandKey, Errand>;

/// Something to do at the forge, until it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// What to do.
    pub task: Task,
    /// When it was asked for: the version of the row.
    pub asked_at: Timestamp,
    /// Not before.
    pub due_at: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// How often since then it was begun and did not end, because the daemon did.
    #[serde(default)]
    pub unended: u32,
}

/// What there is to do at a forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Look at the pull request of this number, and say what it would do.
    Review(u64),
    /// Say at this commit how its release stands.
    Status {
        /// The commit.
        revision: Revision,
        /// What is said.
        status: Status,
    },
}

impl Task {
    /// Its key: of two tasks with one key the newer makes the older needless.
    pub fn key(&self) -> ErrandKey {
        match self {
            Self::Review(number) => format!("review/{number}").into(),
            Self::Status { revision, .. } => format!("status/{revision}").into(),
        }
    }
}

impl Errand {
    /// A new one, due at once.
    pub fn new(task: Task, now: Timestamp) -> Self {
        Self { task, asked_at: now, due_at: now, attempts: 0, unended: 0 }
    }

    /// Whether it has waited too long to be of use.
    pub fn is_too_old(&self, now: Timestamp) -> bool {
        self.asked_at < cutoff(now)
    }
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is this now.
    Put(Errand),
    /// What was asked for up to then is done, or given up.
    Done(Timestamp),
}

impl Change {
    /// Which version of the row it is about. A newer one that is stored stays as it is.
    pub fn asked_at(&self) -> Timestamp {
        match self {
            Self::Put(errand) => errand.asked_at,
            Self::Done(asked_at) => *asked_at,
        }
    }
}

/// What was asked for before this goes.
pub fn cutoff(now: Timestamp) -> Timestamp {
    now.checked_sub(MAX_AGE).unwrap_or(Timestamp::MIN)
}
