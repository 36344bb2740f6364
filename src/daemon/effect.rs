//! What the state machine of the daemon is told, and what it asks for: the whole of its traffic with the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::decision::{Decision, Decisions};
use gitops_core::diagnostic::Diagnostic;
use gitops_core::name::{NodeName, Revision};
use gitops_core::planner::Facts;
use gitops_core::reconcile::{Definitions, Outcome, Seen};
use gitops_core::release::{Commit, Opened};
use gitops_core::review::Status;
use gitops_core::status::Reported;
use jiff::{SignedDuration, Timestamp};

use super::asking::Study;
use super::outbox::{News, Review, Setback};
use super::releasing::Opens;
#[cfg(doc)]
use super::state::State;
use crate::api::control::{Answer, Plans, Request};
use crate::store::outbox::{Change, ErrandKey};
use crate::store::{self, Decided, NewEvent, Publication, Published, Snapshot, StatusReport};

/// Names a request that waits for its answer.
pub type Ticket = u64;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The time that [`State::next_tick`] named has come.
    Tick,
    /// The source may have moved.
    Wake,
    /// The API asks.
    Asked(Ticket, Request),
    /// After [`Effect::Fetch`]: the newest revision of the branch, none where it has no commit.
    Fetched(Result<Option<Revision>, String>),
    /// After [`Effect::Compare`]: whether it descends.
    Compared(Result<bool, String>),
    /// After [`Effect::Load`]: the definitions, or the mistakes in them; outside of that, why they cannot be read.
    Loaded(Result<Result<Arc<Definitions>, Vec<Diagnostic>>, String>),
    /// After [`Effect::Pass`]: its outcome, and the release that it begins.
    Passed(Outcome, Option<Box<Opened>>),
    /// After [`Effect::Publish`].
    Published(Result<Published, String>),
    /// After [`Effect::Reload`].
    Reloaded(Result<Box<Snapshot>, String>),
    /// After [`Effect::Peek`]: the number of the newest event.
    Peeked(Result<u64, String>),
    /// After [`Effect::Study`].
    Studied(Ticket, Answer),
    /// After [`Effect::Record`]: its events with their numbers.
    Recorded(Result<Vec<store::Event>, String>),
    /// After [`Effect::Decide`]: none where there was nothing to decide any more.
    Decided(Result<Option<Decided>, String>),
    /// After [`Effect::ReadCommit`].
    CommitRead(Ticket, Result<Commit, String>),
    /// After [`Effect::Review`] and [`Effect::SetStatus`].
    Ended(Result<News, Setback>),
    /// Stop: finish what is being written and begin nothing.
    Shutdown,
}

/// Definitions to read.
#[derive(Debug)]
pub struct Load {
    /// The revision.
    pub revision: Revision,
    /// The definitions before it.
    pub previous: Option<Arc<Definitions>>,
    /// It is what is deployed already.
    pub is_deployed: bool,
    /// Who holds what.
    pub plans: Plans,
    /// Nodes that are silent: nothing new goes there if it can be helped.
    pub silent: BTreeSet<NodeName>,
    /// What people decided: nodes may be closed.
    pub decisions: Arc<Decisions>,
}

/// What to do about it.
#[derive(Debug)]
pub enum Effect {
    /// Ask the repository for the newest revision.
    Fetch,
    /// Find out whether `newest` descends from `base`.
    Compare {
        /// The newest revision of the branch.
        newest: Revision,
        /// What is deployed.
        base: Revision,
    },
    /// Read and check the definitions at this revision, taking over what it has in common with `previous`.
    Load(Load),
    /// Keep the commit from being collected as garbage: it is deployed.
    Keep(Revision),
    /// Reconcile.
    Pass(Pass),
    /// Write the outcome of a pass.
    Publish(Publication),
    /// Read everything from the store again.
    Reload,
    /// Find out whether the store has a newer event than this.
    Peek {
        /// The newest that is known.
        after: u64,
    },
    /// Write what happened, then what nodes said, and that a release is done: a crash between the two repeats an event
    /// and loses none.
    Record {
        /// What nodes said.
        reports: Vec<StatusReport>,
        /// What happened.
        events: Vec<NewEvent>,
        /// The release of this revision was done then.
        finished: Option<(Revision, Timestamp)>,
        /// What is to be told to the forge, and what no longer.
        outbox: BTreeMap<ErrandKey, Change>,
    },
    /// Write down what somebody decided, and what is told of it.
    Decide(Box<(Decision, NewEvent)>),
    /// Read who wrote the commit that somebody votes on.
    ReadCommit(Ticket, Revision),
    /// Look at a pull request, and say on it what it would do.
    Review(Box<Review>),
    /// Say at a commit how its release stands.
    SetStatus(Revision, Status),
    /// Delete history beyond the retention.
    Prune,
    /// Find the answer to a question.
    Study(Ticket, Box<Study>),
    /// Answer a request.
    Answer(Ticket, Answer),
}

/// What a pass looks at: see [`gitops_core::reconcile::Inputs`].
#[derive(Clone, Debug)]
pub struct Pass {
    /// What should be.
    pub definitions: Arc<Definitions>,
    /// The newest plans.
    pub plans: Plans,
    /// What nodes said last.
    pub reported: Arc<Reported>,
    /// What is known beside them.
    pub facts: Facts,
    /// When it runs.
    pub now: Timestamp,
    /// A report older than this is not believed.
    pub stale_after: SignedDuration,
    /// When this daemon began.
    pub listening_since: Timestamp,
    /// What the pass before saw.
    pub seen: Arc<Seen>,
    /// The release that it begins; none where the revision is deployed already.
    pub opens: Option<Opens>,
}
