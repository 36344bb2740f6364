//! What is ever written to a store, act by act, in an order in which a daemon might.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use gitops::store::outbox::{Change, Errand, Task};
use gitops::store::{
    Identity, Publication, Published, Retention, StatusReport, Store, StoreError, StoredToken,
};
use gitops_core::decision::{Decision, Held, Hold, Vote};
use gitops_core::diff::Diff;
use gitops_core::log::{LogLine, Speaker};
use gitops_core::name::{Digest, Generation};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::reconcile::preview::Preview;
use gitops_core::release::{Failed, Opened, Reached, StepChange, StepEffect};
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, PlanId, SCHEMA};

use crate::facts::{at, ensure, event, name, plan, publication, revision};
use crate::work::{Doubt, Problem, told};

const NODES: [&str; 2] = ["edge-1", "edge-2"];

/// What is published, round by round. It is made once: most of the time of a test would go into its digests.
pub(super) static ROUNDS: LazyLock<[Round; 3]> = LazyLock::new(|| [1, 2, 3].map(Round::new));

/// What is published at once.
pub(super) struct Round {
    /// One for each node.
    pub(super) plans: Vec<Arc<NodePlan>>,
    /// What they name: more than a page of it.
    pub(super) content: String,
}

impl Round {
    fn new(number: usize) -> Self {
        let content = |round: usize| format!("round {round} ").repeat(1_100);
        let steps = |round: usize| {
            vec![Step::Ensure(ensure("web", &round.to_string(), &[("files/web.conf", &content(round))]))]
        };
        let chain = |node: &str| {
            let next =
                |parent: Option<Arc<NodePlan>>, round| Some(plan(node, parent.as_deref(), steps(round)));
            (1..=number).fold(None, next)
        };
        Self { plans: NODES.iter().filter_map(|node| chain(node)).collect(), content: content(number) }
    }
}

/// The plans of a round, counted from one.
pub(crate) fn plans(round: usize) -> &'static [Arc<NodePlan>] {
    &ROUNDS[round - 1].plans
}

/// One call of the store, or what a daemon does with it as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// The release of this round: two plans, their content, their steps, events.
    Publish(usize),
    /// The release of this round has failed.
    Fail(usize),
    /// All nodes report the plan of this round; they acknowledge it, or not.
    Report(usize, bool),
    /// Only that they live.
    Heartbeat(usize),
    Finish(usize),
    Logs(usize),
    Events,
    Lock,
    Vote,
    Unlock,
    Retry,
    AskForReview,
    Reviewed,
    KeepPreview,
    AddToken,
    RevokeToken,
    /// The daemon ends in order, which folds the log into the file, and starts again.
    Restart,
    Prune,
}

pub(super) const ACTS: [Act; 22] = [
    Act::Publish(1),
    Act::AddToken,
    Act::Report(1, true),
    Act::Heartbeat(1),
    Act::Finish(1),
    Act::Logs(1),
    Act::Lock,
    Act::AskForReview,
    Act::KeepPreview,
    Act::Vote,
    Act::Publish(2),
    Act::Report(2, false),
    Act::Fail(2),
    Act::Restart,
    Act::Unlock,
    Act::Retry,
    Act::Reviewed,
    Act::Publish(3),
    Act::Events,
    Act::RevokeToken,
    Act::Prune,
    Act::Finish(3),
];

/// Of the first round nothing is kept.
const KEEP: Retention =
    Retention { plans_per_node: 2, releases: 2, events: 4, log_lines_per_node: 2, days: 365 };

impl Act {
    /// What becomes of it where the disk loses its power right after it was acknowledged, or the process dies within it.
    pub(super) fn doubt(self) -> Doubt {
        match self {
            Self::Heartbeat(_) => Doubt::PowerTakesItBack,
            Self::Prune => Doubt::HalfDone,
            _ => Doubt::None,
        }
    }
}

fn release(round: usize, version: u64) -> Publication {
    let plans = plans(round);
    let change = |plan: &Arc<NodePlan>| StepChange {
        node: plan.node.clone(),
        service: name("web"),
        generation: plan.generation,
        digest: plan.steps.first().and_then(Step::as_ensure).map(|ensure| ensure.digest),
        effect: StepEffect::Recreate,
        wave: 0,
    };
    let seconds = round as i64 * 100;
    let opened = Opened::new(revision(round), None, None, Diff::default(), at(seconds));
    Publication {
        deployed: Some(revision(round)),
        release: Some(Box::new(Opened { services: BTreeSet::from([name("web")]), ..opened })),
        steps: plans.iter().map(change).collect(),
        version: Some(version),
        events: vec![event(seconds, "published"), event(seconds, "again")],
        ..publication(plans.to_vec(), &[ROUNDS[round - 1].content.clone()])
    }
}

/// What all nodes say; where `words` are missing, that they live.
fn reports(round: usize, seconds: i64, words: Option<&str>, acked: bool) -> Vec<StatusReport> {
    let report = |plan: &Arc<NodePlan>| StatusReport {
        node: plan.node.clone(),
        status: words.map(|words| Arc::new(status(plan, words))),
        heard_at: at(seconds),
        reached: acked.then(|| Reached {
            plan: PlanId::of(plan),
            is_acked: true,
            services: vec![name("web")],
        }),
    };
    plans(round).iter().map(report).collect()
}

fn status(plan: &NodePlan, words: &str) -> NodeStatus {
    NodeStatus {
        schema: SCHEMA,
        node: plan.node.clone(),
        agent: AgentInfo { id: "agent".into(), version: "1".into(), start: None },
        host: HostInfo { problem: Some(words.to_owned()), ..HostInfo::default() },
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

fn lines(round: usize) -> Vec<LogLine> {
    let line = |seq| LogLine {
        service: name("web"),
        generation: Generation(round as u64),
        attempt: at(round as i64),
        seq,
        at: at(round as i64 + 1),
        from: Speaker::Compose,
        text: format!("line {seq} of round {round}"),
    };
    (1..=3).map(line).collect()
}

fn hold() -> Hold {
    let reason = "the audit goes on".into();
    Hold { number: 0, what: Held::Lock, reason, owner: "ada".into(), since: at(150), until: None }
}

fn vote() -> Vote {
    Vote {
        plan: Digest::of("plan"),
        revision: revision(2),
        changes: BTreeSet::new(),
        by: "ada".into(),
        roles: BTreeSet::new(),
        approves: true,
        reason: None,
        at: at(160),
    }
}

fn preview() -> Preview {
    let diff = Diff { plan: Some(Digest::of("preview")), ..Diff::default() };
    Preview { revision: Some(revision(2)), touched: BTreeMap::new(), diff }
}

fn identity() -> Identity {
    Identity::Operator(name("ada"))
}

/// The release of this round has failed.
fn failure(round: usize, version: u64) -> Publication {
    let (reason, services) = ("web does not start".into(), BTreeSet::from([name("web")]));
    let failed = Some(Failed { at: at(round as i64 * 100 + 50), reason, services });
    Publication { failed, deployed: Some(revision(round)), version: Some(version), ..Publication::default() }
}

fn token() -> StoredToken {
    let (roles, created_at) = (BTreeSet::from([name("dba")]), at(1));
    StoredToken { digest: Digest::of("secret"), identity: identity(), roles, created_at }
}

/// Carries out an act, on a store that knows all acts before it.
pub(super) async fn act_on(act: Act, store: &dyn Store) -> Result<(), Problem> {
    let version = async || store.load().await.map(|snapshot| snapshot.version).map_err(told);
    match act {
        Act::Publish(round) => publish(store, release(round, version().await?)).await,
        Act::Fail(round) => publish(store, failure(round, version().await?)).await,
        Act::Lock => decide(store, Decision::Begin(hold())).await,
        Act::Vote => decide(store, Decision::Vote(vote())).await,
        Act::Unlock => decide(store, Decision::End { number: 1, by: "ada".into(), at: at(260) }).await,
        Act::Retry => decide(store, Decision::Retry(revision(2))).await,
        Act::Restart => Ok(()),
        other => record(other, store).await.map_err(told),
    }
}

async fn publish(store: &dyn Store, publication: Publication) -> Result<(), Problem> {
    match store.publish(publication).await.map_err(told)? {
        Published::Done(_) => Ok(()),
        other => Err(format!("a publication was refused: {other:?}")),
    }
}

async fn decide(store: &dyn Store, decision: Decision) -> Result<(), Problem> {
    let decided = store.decide(decision, event(200, "decided")).await.map_err(told)?;
    decided.map(drop).ok_or_else(|| "there was nothing to decide".to_owned())
}

/// The acts that nothing can speak against.
async fn record(act: Act, store: &dyn Store) -> Result<(), StoreError> {
    let seconds = |round: usize| round as i64 * 100;
    let review = Task::Review(7);
    let errand = async |change| store.change_outbox(BTreeMap::from([(review.key(), change)])).await;
    match act {
        Act::Report(round, acked) => {
            let (at, words) = (seconds(round) + 10 * (1 + i64::from(acked)), format!("in round {round}"));
            store.record_statuses(reports(round, at, Some(&words), acked)).await
        }
        Act::Heartbeat(round) => {
            store.record_statuses(reports(round, seconds(round) + 60, None, false)).await
        }
        Act::Finish(round) => store.finish_release(&revision(round), at(seconds(round) + 70)).await,
        Act::Logs(round) => store.append_logs(&name(NODES[0]), lines(round), at(seconds(round))).await,
        Act::Events => store.append_events(vec![event(1, "one"), event(2, "two")]).await.map(drop),
        Act::AskForReview => errand(Change::Put(Errand::new(review.clone(), at(5)))).await,
        Act::Reviewed => errand(Change::Done(at(5))).await,
        Act::KeepPreview => store.keep_preview(&preview(), at(7)).await,
        Act::AddToken => store.add_token(token()).await,
        Act::RevokeToken => store.revoke_tokens(&identity()).await.map(drop),
        Act::Prune => store.prune(KEEP, at(500)).await,
        Act::Publish(_) | Act::Fail(_) | Act::Lock | Act::Vote | Act::Unlock | Act::Retry | Act::Restart => {
            Ok(())
        }
    }
}
