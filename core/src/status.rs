//! What a node says of itself, and what is known of the fleet.
//!
//! A [`NodeStatus`] is the whole reported state of a node. It holds no time of its own and nothing that changes
//! by itself, so that two reports of an unchanged node are equal and a heartbeat can name one by its digest; when
//! it was received is known only to the daemon, which keeps it beside it in [`Reported`]. Old state is old, not
//! wrong: it always has an age.

mod drift;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::name::{Digest, Generation, NodeName, ServiceName};
use crate::plan::{ContainerDigest, NodePlan, Step};
use crate::sensitive::Sensitive;

pub use drift::{
    Difference, DriftOutcome, MAX_DIFFERENCES, MAX_ORPHANS, Orphan, Orphans, SECTIONS, first_line,
};
pub use start::{Start, StartError};

/// The version of this document that is written.
pub const SCHEMA: u32 = 1;

/// The full reported state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NodeStatus {
    /// [`SCHEMA`] of whoever wrote it.
    pub schema: u32,
    /// The node, as the agent believes. The daemon refuses it where the token says another.
    pub node: NodeName,
    /// Who reports.
    pub agent: AgentInfo,
    /// The machine.
    pub host: HostInfo,
    /// The plan in the agent's ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<PlanId>,
    /// A plan that the agent was offered after that one and refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// How each step of the accepted plan stands, by service.
    #[serde(default)]
    pub steps: BTreeMap<ServiceName, StepResult>,
    /// What Docker reports of each instance that carries this node's label, in the plan or not.
    #[serde(default)]
    pub instances: BTreeMap<ServiceName, Vec<Container>>,
    /// What others changed of the instances in the plan, by service: as it stands, and for an hour what was undone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<ServiceName, Vec<Difference>>,
    /// Containers that carry no node's label.
    #[serde(default, skip_serializing_if = "Orphans::is_empty")]
    pub orphans: Orphans,
}

impl NodeStatus {
    /// Names this state in a heartbeat.
    pub fn digest(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).expect("a status has no map with keys that are not strings"))
    }

    /// The same without the secrets that tools quote where they fail.
    #[must_use]
    pub fn redacted(mut self, sensitive: &Sensitive) -> Self {
        let steps = self.steps.values_mut().filter_map(|step| step.message.as_mut());
        let refused = self.refused.as_mut().map(|refusal| &mut refusal.message);
        for text in steps.chain(refused).chain(&mut self.host.problem) {
            *text = sensitive.redacted(text);
        }
        self.drift.values_mut().flatten().for_each(|difference| difference.redact(sensitive));
        self
    }

    /// Whether it acknowledges `plan`: the very same plan, with every step satisfied.
    pub fn acks(&self, plan: &NodePlan) -> bool {
        self.accepted == Some(PlanId::of(plan)) && plan.steps.iter().all(|step| self.satisfies(step))
    }

    /// Whether the step, in exactly this form, is satisfied. Only a report about the plan that the step is in can say
    /// so: see [`NodeStatus::has_done`].
    pub fn satisfies(&self, step: &Step) -> bool {
        self.is_satisfied(step.service(), step.as_ensure().map(|ensure| ensure.digest))
    }

    /// Whether, under `plan`, a service stands satisfied with this instance digest; with none, as removed. A report
    /// about another plan does not say so: the service may have come and gone in between.
    pub fn has_done(&self, plan: &NodePlan, service: &ServiceName, digest: Option<Digest>) -> bool {
        self.accepted == Some(PlanId::of(plan)) && self.is_satisfied(service, digest)
    }

    fn is_satisfied(&self, service: &ServiceName, digest: Option<Digest>) -> bool {
        let result = self.steps.get(service);
        result.is_some_and(|result| result.outcome == StepOutcome::Satisfied && result.digest == digest)
    }
}

/// The agent process that reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentInfo {
    /// Made at the first start and kept in the agent's state folder: two agents that claim one node differ in it, unless
    /// one runs on a copy of the other's folder.
    pub id: Arc<str>,
    /// Version of the program.
    pub version: Arc<str>,
    /// Which start of it this is: two processes with one id differ in it. Agents of the first versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
}

/// What the machine is and has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct HostInfo {
    /// Host name.
    pub name: Arc<str>,
    /// Docker Engine version; empty where the engine did not answer.
    pub docker: Arc<str>,
    /// Docker Compose version; empty where it is not there.
    pub compose: Arc<str>,
    /// Operating system and architecture, as the engine reports them.
    pub os: Arc<str>,
    /// Processors that the engine may use.
    pub cpus: u32,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// Size of the file system that holds the engine's data, in bytes; 0 where it cannot be read.
    pub disk_bytes: u64,
    /// Free on it in GiB, rounded down: coarse, so that it does not make every report a new one.
    pub disk_free_gib: u64,
    /// What it can do, as `kind@version`: `compose@2`, `gpu@1`. None where the agent does not tell.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Arc<str>>,
    /// What the engine holds in all, whoever made it; none where it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<EngineCounts>,
    /// Why the engine cannot be used, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How much an engine holds, as it counts itself. As old as the rest of [`HostInfo`], which is asked for every few
/// minutes: what belongs to instances is counted exactly in [`NodeStatus::instances`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct EngineCounts {
    /// Containers in every state.
    pub containers: u64,
    /// Of these, running.
    pub running: u64,
    /// Of these, paused.
    pub paused: u64,
    /// Of these, neither.
    pub stopped: u64,
    /// Images.
    pub images: u64,
}

/// Names a plan exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanId {
    /// Its generation.
    pub generation: Generation,
    /// Its digest.
    pub digest: Digest,
}

impl PlanId {
    /// The name of `plan`.
    pub fn of(plan: &NodePlan) -> Self {
        Self { generation: plan.generation, digest: plan.digest }
    }
}

/// A plan that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refusal {
    /// The plan.
    pub plan: PlanId,
    /// The rule by name, kebab-case: `older-generation`, `changed-plan`, `wrong-node`, `newer-schema`, `bad-digest`,
    /// `two-steps`, `unreadable`.
    /// `not-stored` and `no-content` pass by themselves once the disk of the node, or the daemon, can serve again.
    pub rule: Arc<str>,
    /// The same in a sentence.
    pub message: String,
}

/// How one step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepResult {
    /// The instance digest that it is about; none for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where it stands.
    pub outcome: StepOutcome,
    /// What is being done or waited for, or what went wrong: container, exit code, last log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a step stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum StepOutcome {
    /// As the step wants it, and healthy.
    Satisfied,
    /// Not begun: another step comes first.
    Waiting,
    /// Being made so, or not healthy yet and within its time.
    Applying,
    /// Did not become so. It is tried again, with growing pauses.
    Failed,
}

/// One container as Docker reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Container {
    /// The Compose service.
    pub service: Arc<str>,
    /// Docker's id, in full.
    pub id: Arc<str>,
    /// Its name, without the leading `/`.
    pub name: Arc<str>,
    /// The image reference it was made from.
    pub image: Arc<str>,
    /// Id of the image that it runs (`sha256:…`).
    pub image_id: Arc<str>,
    /// Id of the image that the reference names on the node by now, where that is another one: the tag was pulled or
    /// built anew after the container was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_now: Option<Arc<str>>,
    /// Label `gitops.config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerDigest>,
    /// Label `gitops.files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
    /// What it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// How often Docker restarted it by its restart policy.
    pub restarts: u64,
    /// Of the last run, where it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Its last run that ended was killed for want of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// When it was last started, as Docker writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
}

/// Docker's container states.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "Docker's own words")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// What a container's health check says.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has none.
    None,
    /// Not decided yet.
    Starting,
    /// Passing.
    Healthy,
    /// Failing.
    Unhealthy,
}

/// The last known state of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// By node; a node that never reported is not in it.
    pub nodes: BTreeMap<NodeName, ReportedNode>,
}

/// The last report of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedNode {
    /// What it said.
    pub status: Arc<NodeStatus>,
    /// When the daemon last heard it, heartbeats included, by the daemon's clock.
    pub heard_at: Timestamp,
}

impl ReportedNode {
    /// How old the report is. A clock that was set back makes it new, not negative.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.heard_at).max(SignedDuration::ZERO)
    }

    /// Whether the report is too old to be believed: from the very moment on at which the daemon plans again because of it.
    pub fn is_stale(&self, now: Timestamp, stale_after: SignedDuration) -> bool {
        self.age(now) >= stale_after
    }
}
