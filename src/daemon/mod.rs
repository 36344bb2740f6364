//! The daemon: one loop that feeds events to [`state::step`] and carries out what it returns.
//!
//! Nothing is decided here. Work runs in tasks whose results come back as events; requests of the API come in
//! through one queue; what changed is posted for the API after each step. The straight line from a push to an
//! acknowledged plan is `Effect::Fetch` → `Compare` → `Load` → `Pass` → `Publish` (the agent's long poll wakes) →
//! `Request::Report` → `Record` → `plan.acked`.

pub mod asking;
mod carry;
mod deciding;
mod effect;
mod happened;
pub mod outbox;
pub mod operator_token;
pub mod queue;
mod progress;
mod reading;
mod others;
mod releasing;
mod reports;
mod review;
mod serve;
mod set_clock;
pub mod state;
mod trial;
mod working;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gitops_core::name::Revision;
use gitops_core::release::Commit;
use gitops_core::tree::Tree;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::carry::Tools;
use self::state::{Effect, Event, Policy, State, Ticket, step};
use crate::api::access::{TokenBook, follow_tokens};
use crate::api::control::{Answer, Asked, Plans};
use crate::api::listen::Door;
use crate::api::metrics::Metrics;
use crate::api::{Control, Hooks, router};
use crate::clock;
use crate::forge::{Client, Kind};
use crate::store::{Retention, Store, StoreError};
pub use serve::{ServeError, listen, runtime, serve, stop_on_signals};

/// The longest that a stop may take: what is being written is written, open answers end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// The loop looks at the clock at least this often: a clock that was set back must not stop the timers.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// How many requests may wait for the loop. Beyond it, callers wait to be let in.
const MAX_WAITING: usize = 1024;

/// Why something outside did not work.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The definitions repository, as the daemon uses it.
#[async_trait]
pub trait Repository: Send + Sync {
    /// The newest revision of the branch, brought here; none where the branch has no commit. Bounded in time.
    async fn fetch(&self) -> Result<Option<Revision>, BoxError>;

    /// The definitions at a revision that was brought here.
    async fn tree(&self, revision: &Revision) -> Result<Tree, BoxError>;

    /// Whether `newest` descends from `base`. Not where `base` is not here any more.
    async fn descends(&self, newest: &Revision, base: &Revision) -> Result<bool, BoxError>;

    /// What the commit of a revision that was brought here says of itself.
    async fn commit(&self, revision: &Revision) -> Result<Commit, BoxError>;

    /// The head of a pull request, by the reference under which the forge offers it, brought here until the next one is;
    /// none where there is no such reference. Bounded in time.
    async fn fetch_head(&self, reference: &str) -> Result<Option<Revision>, BoxError>;

    /// The newest revision that is in the history of both, which are here; none where there is none.
    async fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, BoxError>;

    /// Keeps the revision from being collected, and lets go of the one kept before.
    async fn keep(&self, revision: &Revision) -> Result<(), BoxError>;
}

/// What a daemon is put together from.
pub struct Parts {
    /// The numbers and names that its decisions depend on.
    pub policy: Policy,
    /// Where the facts are.
    pub store: Arc<dyn Store>,
    /// Where the definitions are.
    pub repository: Arc<dyn Repository>,
    /// Something arrives here when the repository may have moved. It may close: the daemon polls anyway.
    pub wakes: mpsc::Receiver<()>,
    /// How much history is kept.
    pub retention: Retention,
    /// Where it listens.
    pub door: Door,
    /// What webhooks must prove to know.
    pub hook_secret: Option<Arc<str>>,
    /// Where pull requests are reviewed, and told how releases go.
    pub forge: Option<Arc<Forge>>,
}

/// The definitions repository, as its forge has it.
#[derive(Debug)]
pub struct Forge {
    /// To the forge.
    pub client: Client,
    /// What kind of forge that is.
    pub kind: Kind,
    /// Where the definitions are in the repository, without `/` at either end.
    pub folder: String,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The facts cannot be read.
    #[error("cannot start from the store")]
    Store(#[from] StoreError),
    /// The operator's token cannot be made.
    #[error(transparent)]
    OperatorToken(#[from] operator_token::TokenError),
}

/// Runs until `shutdown`, then stops within five seconds. Stored plans are served from the first moment on.
///
/// # Errors
///
/// If the store cannot be read at the start. Later failures are waited out, and shown in the status.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), DaemonError> {
    let Parts { policy, store, repository, wakes, retention, door, hook_secret, forge } = parts;
    let snapshot = store.load().await?;
    let tokens = store.tokens().await?;
    let metrics = Arc::new(Metrics::default());
    let (state, effects) = State::new(policy, snapshot, clock::now());
    let (plans, plans_seen) = watch::channel(state.plans.clone());
    let (last_event, last_event_seen) = watch::channel(state.last_event);
    let (requests, asked) = mpsc::channel(MAX_WAITING);
    let control = Control {
        store: store.clone(),
        plans: plans_seen,
        last_event: last_event_seen,
        tokens: Arc::new(TokenBook::new(tokens)),
        requests,
        metrics: metrics.clone(),
        hooks: Arc::new(Hooks::new(hook_secret)),
        started_at: clock::now(),
        stopping: shutdown.clone(),
    };
    tokio::spawn(follow_tokens(control.clone()));
    let served = tokio::spawn(door.serve(router(control), metrics.clone(), shutdown.clone()));
    let tools = Tools { store, repository, retention, metrics, forge };
    let daemon = Daemon { state, tools, tasks: JoinSet::new(), callers: BTreeMap::new(), plans, last_event };
    daemon.run(effects, asked, wakes, shutdown).await;
    let _ = tokio::time::timeout(STOP_WITHIN, served).await;
    Ok(())
}

/// The loop's own things.
struct Daemon {
    state: State,
    tools: Tools,
    /// What is being done. Each task ends with the event that tells of it, if any.
    tasks: JoinSet<Option<Event>>,
    /// Who waits for an answer.
    callers: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    plans: watch::Sender<Plans>,
    last_event: watch::Sender<u64>,
}

impl Daemon {
    async fn run(
        mut self,
        effects: Vec<Effect>,
        mut asked: mpsc::Receiver<Asked>,
        mut wakes: mpsc::Receiver<()>,
        shutdown: CancellationToken,
    ) {
        self.carry_out(effects);
        let mut tickets: Ticket = 0;
        let (mut stopping, mut watched, mut served) = (false, true, true);
        let mut deadline = std::pin::pin!(stop_deadline(shutdown.clone()));
        // Requests are answered until the last of the API is gone.
        while served || !self.state.is_stopped() {
            let tick = self.until_tick();
            let event = tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Some(event)) => event,
                    Ok(None) => continue,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                request = asked.recv(), if served => match request {
                    Some((request, caller)) => {
                        tickets += 1;
                        self.callers.insert(tickets, caller);
                        Event::Asked(tickets, request)
                    }
                    None => {
                        served = false;
                        Event::Shutdown
                    }
                },
                wake = wakes.recv(), if watched => {
                    watched = wake.is_some();
                    Event::Wake
                }
                () = tokio::time::sleep(tick) => Event::Tick,
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    Event::Shutdown
                }
                () = &mut deadline => {
                    tracing::warn!("stopping took too long: what was not finished is taken up at the next start");
                    break;
                }
            };
            let effects = step(&mut self.state, event, clock::now());
            self.post();
            self.carry_out(effects);
        }
    }

    fn until_tick(&self) -> Duration {
        let left = self.state.next_tick().duration_since(clock::now());
        Duration::try_from(left).unwrap_or_default().clamp(Duration::from_millis(1), MAX_SLEEP)
    }

    /// Shows the API what changed.
    fn post(&self) {
        let plans = &self.state.plans;
        self.plans.send_if_modified(|posted| {
            let changed = !Arc::ptr_eq(posted, plans);
            if changed {
                posted.clone_from(plans);
            }
            changed
        });
        let newest = self.state.last_event;
        self.last_event.send_if_modified(|posted| std::mem::replace(posted, newest) != newest);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => {
                    // A caller that hung up needs no answer.
                    self.callers.remove(&ticket).map(|caller| caller.send(answer));
                }
                effect => {
                    self.tasks.spawn(self.tools.clone().carry_out(effect));
                }
            }
        }
    }
}

async fn stop_deadline(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(STOP_WITHIN).await;
}

#[cfg(test)]
mod tests;
