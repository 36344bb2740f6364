//! How the source, each node and each instance stand, in the words that people are shown.
//!
//! Everything here is computed on every pass from the definitions, the plans and the reports, and never stored:
//! a state that is stored can be wrong. The document is what `GET /v1/status` answers and `gitops status` prints.

pub mod drift;
mod promise;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decision::{AwaitingView, Hold};
use crate::definition::{Located, Node};
use crate::desired::Instance;
use crate::diagnostic::Diagnostic;
use crate::name::{Digest, NodeName, Revision, ServiceName};
use crate::plan::{Ensure, NodePlan, RunState, Step};
use crate::planner::Underway;
use crate::status::{
    Container, ContainerState, Difference, HostInfo, NodeStatus, PlanId, Refusal, ReportedNode, StepOutcome,
    first_line,
};

pub use promise::Unmet;

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FleetStatus {
    /// Where definitions come from, and what came last.
    pub source: SourceStatus,
    /// The release that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Progress>,
    /// By name.
    pub nodes: Vec<NodeView>,
    /// Of the newest revision: all its mistakes where it is invalid, its warnings otherwise.
    pub diagnostics: Vec<Diagnostic>,
    /// What people hold, by number; also what they held until lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// Changes that wait for somebody's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting: Vec<AwaitingView>,
}

/// How the definitions repository stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SourceStatus {
    /// Where it is, without credentials.
    pub url: Arc<str>,
    /// The branch that is watched.
    pub branch: Arc<str>,
    /// In one word.
    pub state: SourceState,
    /// The revision whose plans stand.
    pub deployed: Option<Revision>,
    /// The newest revision that was seen. Differs from `deployed` where it is held or invalid.
    pub newest: Option<Revision>,
    /// When the repository last answered.
    #[schemars(with = "Option<String>")]
    pub checked_at: Option<Timestamp>,
    /// What is the matter, where something is, and what to do about it.
    pub message: Option<String>,
}

/// How far the release is that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// What it brings.
    pub revision: Revision,
    /// When it began, or began to be undone.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Why it is undone, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Arc<str>>,
    /// So many of its steps are done,
    pub done: usize,
    /// so many are being made,
    pub changing: usize,
    /// of these, so many failed and are tried again,
    pub failed: usize,
    /// and so many may not begin yet.
    pub waiting: usize,
}

impl Progress {
    /// Of the release of `revision`, by how the fleet stands.
    pub fn of(revision: Revision, underway: &Underway, nodes: &[NodeView]) -> Self {
        let Underway { began_at, brought, undo, .. } = underway;
        let instances = || nodes.iter().flat_map(|node| node.instances.iter());
        let count = |state| instances().filter(|instance| instance.state == state).count();
        let done = brought.values().filter(|brought| brought.satisfied_at.is_some()).count();
        Self {
            revision,
            since: undo.as_ref().map(|undo| undo.at).or(*began_at),
            undone: undo.as_ref().map(|undo| undo.reason.clone()),
            done,
            changing: brought.len() - done,
            failed: count(InstanceState::Failed),
            waiting: count(InstanceState::Waiting),
        }
    }
}

/// The state of the source in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// The newest revision is deployed.
    Ok,
    /// The repository does not answer; the last good plans stand.
    Stale,
    /// The newest revision does not descend from the deployed one and waits for `gitops sync --accept-rewind`.
    Held,
    /// Somebody holds the fleet at the deployed revision until `gitops unpin`.
    Pinned,
    /// The newest revision has mistakes; the last good plans stand.
    Invalid,
    /// The release of the newest revision failed; what ran before it is back, or on its way back.
    Failed,
    /// The newest revision is valid and waits for `gitops sync`, because the daemon does not deploy by itself.
    Waiting,
}

/// How one node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NodeView {
    /// Its name.
    pub node: NodeName,
    /// In one word.
    pub state: NodeState,
    /// When its agent was last heard.
    #[schemars(with = "Option<String>")]
    pub heard_at: Option<Timestamp>,
    /// Its newest plan.
    pub plan: Option<PlanId>,
    /// The plan in its agent's ledger.
    pub accepted: Option<PlanId>,
    /// A plan that its agent refused.
    pub refused: Option<Refusal>,
    /// What its agent says of the machine.
    pub host: Option<HostInfo>,
    /// Version of its agent.
    pub agent: Option<Arc<str>>,
    /// What its definition promises and its agent does not find.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
    /// Containers on it that no plan made. `gitops diff --live` names them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub orphans: u64,
    /// By service. Shared, because most nodes stand as they stood a pass ago.
    pub instances: Arc<[InstanceView]>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The state of a node in one word.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Heard within three heartbeats, and everything was made as its newest plan says. What others changed since is told of
    /// each instance.
    Ok,
    /// Heard, and not there yet: see its instances.
    Pending,
    /// Heard, and some step failed, the plan was refused or Docker cannot be used.
    Failing,
    /// Not heard for three heartbeats. What is shown is what was last known.
    Stale,
    /// Defined, and its agent never reported.
    Never,
    /// No longer defined, and still reporting.
    Undefined,
}

impl NodeView {
    /// A node of which nothing is known but how it stands.
    pub fn bare(node: NodeName, state: NodeState) -> Self {
        Self {
            node,
            state,
            heard_at: None,
            plan: None,
            accepted: None,
            refused: None,
            host: None,
            agent: None,
            unmet: Vec::new(),
            orphans: 0,
            instances: Arc::new([]),
        }
    }
}

/// How one instance stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InstanceView {
    /// The service.
    pub service: ServiceName,
    /// In one word.
    pub state: InstanceState,
    /// Which wave of a release it belongs to.
    #[serde(default)]
    pub wave: i32,
    /// Its instance digest in the plan.
    pub digest: Option<Digest>,
    /// What it waits on or what went wrong.
    pub message: Option<String>,
    /// Where it is not as it is wanted: since when it has been so, as far as that is known. What waits has waited since its
    /// release began; what is being changed, since its plan was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// How many containers run, of how many the plan wants.
    pub running: u32,
    /// How many the plan wants.
    pub wanted: u32,
    /// Containers that run another image than their reference names on the node by now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<OutdatedImage>,
    /// What others changed of its containers: as it stands, and for an hour what was undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Difference>,
}

impl InstanceView {
    /// An instance of which nothing is known but how it stands.
    pub fn bare(service: ServiceName, state: InstanceState) -> Self {
        Self {
            service,
            state,
            wave: 0,
            digest: None,
            message: None,
            since: None,
            running: 0,
            wanted: 0,
            outdated: Vec::new(),
            drift: Vec::new(),
        }
    }
}

/// A container whose image reference names another image by now. Nothing is done about it: a container is made anew
/// when its definition changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OutdatedImage {
    /// The name of the container.
    pub container: Arc<str>,
    /// The reference.
    pub image: Arc<str>,
    /// Id of the image that it runs.
    pub runs: Arc<str>,
    /// Id of the image that the reference names.
    pub now: Arc<str>,
}

/// The state of an instance in one word.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// As the plan says, and healthy.
    Healthy,
    /// As the plan says, and not meant to run.
    Stopped,
    /// Held back by the planner: something else comes first.
    Waiting,
    /// In a plan that the agent has not accepted yet.
    Pending,
    /// Was made as the plan says and is so no more: others changed it.
    Drifted,
    /// Being made so.
    Applying,
    /// Did not become so.
    Failed,
    /// Being removed.
    Removing,
    /// As the last report says, which is too old to believe.
    Unknown,
    /// Carries this node's label and is in no plan: listed, never touched.
    Orphan,
}

/// What the picture of a node is made from.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// What the definitions say of it; nothing where they do not name it.
    pub definition: Option<&'a Located<Node>>,
    /// What should be on it.
    pub wanted: &'a [Arc<Instance>],
    /// Its newest plan, with what this pass changed.
    pub plan: Option<&'a NodePlan>,
    /// What it said last.
    pub reported: Option<&'a ReportedNode>,
    /// What the planner holds back, by service, and why.
    pub waiting: &'a BTreeMap<ServiceName, String>,
    /// The release under way.
    pub underway: &'a Underway,
    /// When the picture is made.
    pub now: Timestamp,
    /// A report older than this is not believed.
    pub stale_after: SignedDuration,
}

impl NodeFacts<'_> {
    fn is_stale(&self) -> bool {
        self.reported.is_some_and(|reported| reported.is_stale(self.now, self.stale_after))
    }

    fn status(&self) -> Option<&NodeStatus> {
        self.reported.map(|reported| &*reported.status)
    }

    /// When the form of a service that its plan names was published by the release under way. A plan of this very pass was
    /// not published yet.
    fn brought_at(&self, step: &Step) -> Option<Timestamp> {
        let key = (self.node.clone(), step.service().clone());
        let brought = self.underway.brought.get(&key)?;
        (brought.digest == step.as_ensure().map(|ensure| ensure.digest)).then_some(brought.at)
    }

    /// The wave of what a service is to become.
    fn wave(&self, service: &ServiceName) -> Option<i32> {
        let wanted = self.wanted.iter().find(|instance| instance.ensure.service == *service)?;
        Some(wanted.rollout().wave())
    }

    fn has_accepted_plan(&self) -> bool {
        let accepted = self.status().and_then(|status| status.accepted);
        self.plan.is_none_or(|plan| accepted == Some(PlanId::of(plan)))
    }
}

/// How a node and its instances stand.
pub fn view(facts: &NodeFacts<'_>) -> NodeView {
    let status = facts.status();
    let instances = instances(facts);
    NodeView {
        node: facts.node.clone(),
        state: node_state(facts, &instances),
        heard_at: facts.reported.map(|reported| reported.heard_at),
        plan: facts.plan.map(PlanId::of),
        accepted: status.and_then(|status| status.accepted),
        refused: status.and_then(|status| status.refused.clone()),
        host: status.map(|status| status.host.clone()),
        agent: status.map(|status| status.agent.version.clone()),
        unmet: unmet(facts),
        orphans: status.map_or(0, |status| status.orphans.count),
        instances,
    }
}

fn unmet(facts: &NodeFacts<'_>) -> Vec<Unmet> {
    let both = facts.definition.zip(facts.status());
    both.map_or(Vec::new(), |(definition, status)| promise::unmet(&definition.value, &status.host))
}

fn node_state(facts: &NodeFacts<'_>, instances: &[InstanceView]) -> NodeState {
    use InstanceState::{Drifted, Failed, Healthy, Orphan, Stopped};
    let Some(status) = facts.status() else { return NodeState::Never };
    let any_failed = instances.iter().any(|instance| instance.state == Failed);
    let is_done = |instance: &InstanceView| matches!(instance.state, Healthy | Stopped | Drifted | Orphan);
    let all_done = instances.iter().all(is_done);
    if facts.is_stale() {
        NodeState::Stale
    } else if any_failed || status.refused.is_some() || status.host.problem.is_some() {
        NodeState::Failing
    } else if !all_done || !facts.has_accepted_plan() {
        NodeState::Pending
    } else if facts.definition.is_some() {
        NodeState::Ok
    } else {
        NodeState::Undefined
    }
}

fn instances(facts: &NodeFacts<'_>) -> Arc<[InstanceView]> {
    let steps = facts.plan.map(|plan| &*plan.steps).unwrap_or_default();
    let mut views: BTreeMap<ServiceName, InstanceView> = BTreeMap::new();
    for step in steps {
        let gone = facts
            .status()
            .zip(facts.plan)
            .is_some_and(|(status, plan)| status.has_done(plan, step.service(), None));
        if !(gone && matches!(step, Step::Remove(_))) {
            views.insert(step.service().clone(), step_view(facts, step));
        }
    }
    for (service, reason) in facts.waiting {
        let view = views.entry(service.clone()).or_insert_with(|| blank(facts, service));
        view.state = InstanceState::Waiting;
        view.message = Some(reason.clone());
        view.since = facts.underway.began_at;
        view.wave = facts.wave(service).unwrap_or(view.wave);
    }
    let observed = facts.status().map(|status| &status.instances);
    for service in
        observed.into_iter().flatten().filter(|(_, containers)| !containers.is_empty()).map(|(name, _)| name)
    {
        views.entry(service.clone()).or_insert_with(|| InstanceView {
            message: Some("runs here and is in no plan; it is left alone".into()),
            ..blank(facts, service)
        });
    }
    views.into_values().collect()
}

fn blank(facts: &NodeFacts<'_>, service: &ServiceName) -> InstanceView {
    let drift = facts.status().and_then(|status| status.drift.get(service)).cloned().unwrap_or_default();
    InstanceView {
        running: running(facts, service),
        outdated: outdated(facts, service),
        drift,
        ..InstanceView::bare(service.clone(), InstanceState::Orphan)
    }
}

fn outdated(facts: &NodeFacts<'_>, service: &ServiceName) -> Vec<OutdatedImage> {
    let containers = facts.status().and_then(|status| status.instances.get(service));
    let outdated = |container: &Container| {
        let Container { name, image, image_id, image_now, .. } = container;
        let (container, image, runs) = (name.clone(), image.clone(), image_id.clone());
        Some(OutdatedImage { container, image, runs, now: image_now.clone()? })
    };
    containers.into_iter().flatten().filter_map(outdated).collect()
}

fn running(facts: &NodeFacts<'_>, service: &ServiceName) -> u32 {
    let containers = facts.status().and_then(|status| status.instances.get(service));
    let running = containers.into_iter().flatten().filter(|c| c.state == ContainerState::Running).count();
    u32::try_from(running).unwrap_or(u32::MAX)
}

/// How many containers have done what they were for: those need not run.
fn completed(facts: &NodeFacts<'_>, ensure: &Ensure) -> u32 {
    let containers = facts.status().and_then(|status| status.instances.get(&ensure.service));
    let is_done = |container: &&Container| {
        let completes = ensure.containers.get(&container.service).is_some_and(|spec| spec.completes);
        completes && container.state == ContainerState::Exited && container.exit_code == Some(0)
    };
    u32::try_from(containers.into_iter().flatten().filter(is_done).count()).unwrap_or(u32::MAX)
}

fn step_view(facts: &NodeFacts<'_>, step: &Step) -> InstanceView {
    let service = step.service();
    let (state, message) = step_state(facts, step);
    let wanted = match step {
        Step::Ensure(ensure) if ensure.state == RunState::Running => {
            let replicas: u32 = ensure.containers.values().map(|container| container.replicas).sum();
            replicas.saturating_sub(completed(facts, ensure))
        }
        _ => 0,
    };
    let digest = step.as_ensure().map(|ensure| ensure.digest);
    let since = since(facts, step, state);
    InstanceView { digest, message, since, state, wanted, wave: step.wave(), ..blank(facts, service) }
}

fn since(facts: &NodeFacts<'_>, step: &Step, state: InstanceState) -> Option<Timestamp> {
    use InstanceState::{
        Applying, Drifted, Failed, Healthy, Orphan, Pending, Removing, Stopped, Unknown, Waiting,
    };
    match state {
        Healthy | Stopped | Orphan => None,
        Unknown => facts.reported.map(|reported| reported.heard_at),
        Drifted => {
            let told = facts.status()?.drift.get(step.service())?.iter();
            told.filter(|difference| difference.is_standing()).filter_map(|difference| difference.since).min()
        }
        Waiting | Pending | Applying | Failed | Removing => facts.brought_at(step),
    }
}

fn step_state(facts: &NodeFacts<'_>, step: &Step) -> (InstanceState, Option<String>) {
    let Some(status) = facts.status() else {
        return (InstanceState::Pending, Some("the agent has not reported yet".into()));
    };
    if facts.is_stale() {
        return (InstanceState::Unknown, None);
    }
    let digest = step.as_ensure().map(|ensure| ensure.digest);
    let result = status.steps.get(step.service()).filter(|result| result.digest == digest);
    let (Some(result), true) = (result, facts.has_accepted_plan()) else {
        return (InstanceState::Pending, None);
    };
    let told = status.drift.get(step.service());
    let changed = first_line(told.into_iter().flatten().filter(|difference| difference.is_standing()));
    let state = match (result.outcome, step) {
        (StepOutcome::Failed, _) => InstanceState::Failed,
        (StepOutcome::Waiting, _) => InstanceState::Waiting,
        (_, Step::Remove(_)) => InstanceState::Removing,
        (StepOutcome::Applying, _) => InstanceState::Applying,
        (StepOutcome::Satisfied, Step::Ensure(_)) if changed.is_some() => {
            return (InstanceState::Drifted, changed);
        }
        (StepOutcome::Satisfied, Step::Ensure(ensure)) => match ensure.state {
            RunState::Running => InstanceState::Healthy,
            RunState::Stopped => InstanceState::Stopped,
        },
    };
    (state, result.message.clone())
}
