//! What the API may ask of the daemon, and what the daemon posts for it to read.
//!
//! The API decides nothing. A request that needs a decision (may this agent report, what did a sync find) goes
//! through one bounded queue to the daemon's loop and is answered from its state. What agents read most, their
//! plan, is posted in a [`watch`] channel instead: a long poll holds a receiver and wakes the moment a plan is
//! stored, and after a restart the stored plans are served before the source has answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::applied::Applied;
use gitops_core::decision::{AwaitingView, Hold};
use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::Diff;
use gitops_core::fleet::drift::Drift;
use gitops_core::fleet::{FleetStatus, SourceStatus};
use gitops_core::name::{Digest, NodeName, OperatorName, Revision, RoleName};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Receipt, Report};
use gitops_core::reconcile::preview::Preview;
use gitops_core::release::ReleaseView;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::access::TokenBook;
use super::hook::Hooks;
use super::metrics::Metrics;
use super::problem::ApiError;
use super::wire::{DiffRequest, Only, Synced};
use crate::store::{NewEvent, Store};

/// The newest plan of each node.
pub type Plans = Arc<BTreeMap<NodeName, Arc<NodePlan>>>;

/// Something that only the daemon can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An agent asks for its plan. Answered with [`Answer::Done`] if it may have one.
    Pull {
        /// Whose token it holds.
        node: NodeName,
        /// Which agent it is.
        hello: Hello,
    },
    /// An agent reports. Answered with [`Answer::Received`] once durable.
    Report {
        /// Whose token it holds.
        node: NodeName,
        /// Which agent it is.
        hello: Hello,
        /// What it says.
        report: Report,
    },
    /// Look at the source now. Answered with [`Answer::Synced`] when its newest revision was checked.
    Sync {
        /// Deploy it even if it does not descend from the deployed one.
        accept_rewind: bool,
        /// Deploy it only if that is this plan; else the answer is [`Answer::PlanMoved`].
        plan: Option<Digest>,
    },
    /// What deploying something would do. Answered with [`Answer::Previewed`].
    Diff(Box<DiffRequest>),
    /// How the fleet stands to its plans. Answered with [`Answer::Drift`].
    Drift(Only),
    /// What a release put where. Answered with [`Answer::Applied`].
    Applied(Box<ReleaseView>),
    /// How the source stands.
    Source,
    /// Look at the source soon. Answered with [`Answer::Done`] at once.
    Wake,
    /// Review the pull request of this number. Answered with [`Answer::Done`] once that is sure to happen, or where
    /// this daemon reviews none.
    Review(u64),
    /// Begin a hold. Answered with [`Answer::Held`] once durable.
    Hold(Box<Hold>),
    /// End a hold. Answered with [`Answer::Held`] once durable.
    EndHold {
        /// Which.
        number: u64,
        /// Who ends it.
        by: OperatorName,
    },
    /// Say yes or no to changes that wait. Answered with [`Answer::Voted`] once durable.
    Vote(Box<Ballot>),
    /// What waits for approval. Answered with [`Answer::Approvals`].
    Approvals,
    /// Try the deployed revision again, which failed and was undone. Answered with [`Answer::Done`].
    Retry {
        /// Who asks.
        by: OperatorName,
    },
    /// Record an event. Answered with [`Answer::Done`] once durable.
    Note(NewEvent),
    /// The whole picture, as of now.
    Fleet,
}

/// What deploying something would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previewed {
    /// All of it.
    pub preview: Preview,
    /// Of that, what was asked for.
    pub diff: Diff,
}

/// A vote as it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// The digits with which the id of the plan begins.
    pub plan: Arc<str>,
    /// Who votes.
    pub by: OperatorName,
    /// In which roles.
    pub roles: BTreeSet<RoleName>,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    pub reason: Option<Arc<str>>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Done,
    /// The report is durable.
    Received(Receipt),
    /// The source was looked at.
    Synced(Box<Synced>),
    /// To [`Request::Fleet`].
    Fleet(Box<FleetStatus>),
    /// To [`Request::Source`].
    Source(Box<SourceStatus>),
    /// To [`Request::Diff`]: what it would do, of what was asked for; or all findings, if it is invalid.
    Previewed(Result<Box<Previewed>, Vec<Diagnostic>>),
    /// To [`Request::Drift`].
    Drift(Box<Drift>),
    /// To [`Request::Applied`].
    Applied(Box<Applied>),
    /// The hold that begins or ends.
    Held(Box<Hold>),
    /// There is no such hold any more.
    NoHold(u64),
    /// How the changes stand with this vote.
    Voted(Box<AwaitingView>),
    /// What waits for approval.
    Approvals(Vec<AwaitingView>),
    /// Nothing waits under the id that was named; what waits, in one sentence.
    NotAwaited(String),
    /// The operator wrote the commit of the changes.
    OwnChange(Revision),
    /// Deploying this revision is another plan by now: nothing was changed.
    PlanMoved {
        /// The newest revision.
        revision: Revision,
    },
    /// What is deployed is not what the request was made against.
    BaseMoved {
        /// What is.
        deployed: Option<Revision>,
    },
    /// The request cannot be carried out; what is wrong with it.
    Unfit(String),
    /// The repository has no such revision, or it cannot be read.
    NoRevision(String),
    /// Too much of the kind is being done already.
    Busy,
    /// The deployed definitions were not read yet.
    NotReady,
    /// Another agent speaks for the node.
    SecondAgent {
        /// The id of the one that came first.
        agent: Arc<str>,
        /// Its machine.
        host: Arc<str>,
        /// Since when it has; none where it already did when the daemon started.
        since: Option<Timestamp>,
        /// When that one was last heard.
        heard_at: Timestamp,
        /// When the node is free for another if that one stays silent.
        free_at: Timestamp,
        /// It has the id of the one that is refused: one of the two runs on a copy of the other's state folder.
        is_copy: bool,
    },
    /// Too much waits to be done already.
    Full,
    /// The store could not write it; nothing was lost by the caller keeping it and trying again.
    NotStored,
    /// The daemon is stopping.
    Stopping,
}

/// A request and where its answer goes.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// The API's hold on the daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    /// For what is read straight from storage: blobs, events, old plans.
    pub store: Arc<dyn Store>,
    /// The newest plans. Changes when plans were stored.
    pub plans: watch::Receiver<Plans>,
    /// Number of the newest event. Changes when events were stored.
    pub last_event: watch::Receiver<u64>,
    /// Who may call.
    pub tokens: Arc<TokenBook>,
    /// To the daemon's loop.
    pub requests: mpsc::Sender<Asked>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is known of webhooks: what they must prove, how often they may call, which were heard.
    pub hooks: Arc<Hooks>,
    /// When this daemon started.
    pub started_at: Timestamp,
    /// Ends long polls and streams.
    pub stopping: CancellationToken,
}

impl Control {
    /// Asks the daemon.
    ///
    /// # Errors
    ///
    /// If the daemon is stopping, cannot write, or the caller is a second agent of its node.
    pub async fn ask(&self, request: Request) -> Result<Answer, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send((request, reply)).await.map_err(|_| ApiError::Stopping)?;
        match answer.await.map_err(|_| ApiError::Stopping)? {
            Answer::SecondAgent { agent, host, since, heard_at, free_at, is_copy } => {
                Err(ApiError::SecondAgent { agent, host, since, heard_at, free_at, is_copy })
            }
            Answer::Full => Err(ApiError::TooMany(60)),
            Answer::NotStored => Err(ApiError::NotStored),
            Answer::BaseMoved { deployed } => Err(ApiError::BaseMoved(deployed)),
            Answer::NoHold(number) => Err(ApiError::NotFound(format!(
                "there is no hold {number} that could end: `gitops holds` lists them"
            ))),
            Answer::NotAwaited(why) => Err(ApiError::NotAwaited(why)),
            Answer::OwnChange(revision) => Err(ApiError::OwnChange(revision)),
            Answer::Unfit(why) => Err(ApiError::Malformed(why)),
            Answer::NoRevision(why) => Err(ApiError::NotFound(why)),
            Answer::Busy => Err(ApiError::Busy),
            Answer::NotReady => Err(ApiError::NotReady),
            Answer::Stopping => Err(ApiError::Stopping),
            answer => Ok(answer),
        }
    }

    /// How the source stands.
    ///
    /// # Errors
    ///
    /// If the daemon is stopping.
    pub async fn source(&self) -> Result<SourceStatus, ApiError> {
        match self.ask(Request::Source).await? {
            Answer::Source(source) => Ok(*source),
            _ => Err(ApiError::Stopping),
        }
    }

    /// The whole picture, as of now.
    ///
    /// # Errors
    ///
    /// If the daemon is stopping.
    pub async fn fleet(&self) -> Result<FleetStatus, ApiError> {
        match self.ask(Request::Fleet).await? {
            Answer::Fleet(fleet) => Ok(*fleet),
            _ => Err(ApiError::Stopping),
        }
    }
}
