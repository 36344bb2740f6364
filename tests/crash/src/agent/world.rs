//! A daemon and a Docker that outlive the agent, and whose memory is a file outside of its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use gitops_agent::agent::state::{Answer, Message, Offer};
use gitops_agent::attempt::Attempt;
use gitops_agent::blobs::{BlobDir, BlobWriter};
use gitops_agent::checks;
use gitops_agent::client::{Daemon, DaemonError};
use gitops_agent::files::{self, InstanceFiles};
use gitops_agent::host::{HookCall, Host, HostError, Observation};
use gitops_agent::journal::{HookEnd, Journal};
use gitops_agent::ledger::{Ledger, Loaded};
use gitops_agent::picture::Picture;
use gitops_core::log::LogLine;
use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{ContainerSpec, Ensure, NodePlan, Probe, Remove, Step};
use gitops_core::status::{
    Container, ContainerState, Health, HostInfo, NodeStatus, PlanId, Start, StepOutcome,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::FILES;
use crate::work::Problem;

/// The service of the hook that fails.
pub(super) const BROKEN: &str = "broken";

/// What the world knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    /// How many of the plans are done with.
    done: usize,
    /// What the agent says that it is.
    agent: Option<String>,
    /// The count of the last start that was heard of.
    started: u64,
    /// The newest plan that the agent said it had accepted, or of which it began anything.
    accepted: u64,
    /// What runs.
    instances: BTreeMap<ServiceName, Vec<Container>>,
    /// The containers of hooks that are there, and how they ended.
    kept_hooks: BTreeMap<Arc<str>, HookEnd>,
    /// The hooks that were begun, in order.
    pub(super) hooks: Vec<String>,
    /// What should never be.
    wrong: BTreeSet<String>,
}

impl Facts {
    fn path(outside: &Path) -> PathBuf {
        outside.join("world.json")
    }

    pub(super) fn read(outside: &Path) -> Self {
        let text = fs::read(Self::path(outside)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// # Errors
    ///
    /// What was seen that should never be.
    pub(super) fn verdict(&self) -> Result<(), Problem> {
        let twice =
            self.hooks.iter().find(|hook| self.hooks.iter().filter(|other| other == hook).count() > 1);
        let twice = twice.map(|hook| format!("the hook {hook} was begun twice"));
        let wrong: Vec<String> = self.wrong.iter().cloned().chain(twice).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }

    fn require(&mut self, holds: bool, problem: impl FnOnce() -> Problem) {
        if !holds {
            self.wrong.insert(problem());
        }
    }
}

pub(super) struct World {
    plans: Vec<Arc<NodePlan>>,
    outside: PathBuf,
    folder: PathBuf,
    blobs: BlobDir,
    facts: Mutex<Facts>,
    /// There is another plan, or there will be none any more.
    moved: Notify,
}

impl World {
    pub(super) fn new(plans: Vec<Arc<NodePlan>>, outside: &Path, folder: &Path, blobs: BlobDir) -> Self {
        let facts = Mutex::new(Facts::read(outside));
        let (outside, folder) = (outside.to_owned(), folder.to_owned());
        Self { plans, outside, folder, blobs, facts, moved: Notify::new() }
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("nobody panics with it")
    }

    /// Changes what is known, and writes it down: at once, because whoever was told may be killed next.
    fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let mut facts = self.facts();
        let outcome = change(&mut facts);
        let text = serde_json::to_vec(&*facts).expect("it has no map with keys that are not strings");
        let beside = self.outside.join("world.new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, Facts::path(&self.outside)))
            .expect("it can be written");
        outcome
    }

    /// The agent starts: it is who it was, and knows what it said that it knows.
    pub(super) fn meet(&self, agent: &str, start: Start, held: Option<&NodePlan>) {
        self.change(|facts| {
            let known = facts.agent.clone();
            facts.require(known.as_deref().is_none_or(|known| known == agent), || {
                "the agent has another id".to_owned()
            });
            let started = facts.started;
            facts.require(started < start.count, || {
                format!("after its start {started} the agent says that this is {start}")
            });
            let (held, accepted) = (held.map_or(0, |plan| plan.generation.0), facts.accepted);
            facts.require(accepted <= held, || {
                format!("the ledger went from generation {accepted} back to {held}")
            });
        });
    }

    /// Returns when all plans are done with.
    pub(super) async fn end(&self) {
        loop {
            let moved = self.moved.notified();
            if self.facts().done == self.plans.len() {
                return;
            }
            moved.await;
        }
    }

    fn heard(&self, status: &NodeStatus) {
        let moved = self.change(|facts| {
            facts.agent = Some(status.agent.id.to_string());
            facts.started = status.agent.start.map_or(0, |start| start.count);
            let said = status.accepted.map_or(0, |plan| plan.generation.0);
            let accepted = facts.accepted;
            facts.require(accepted <= said, || format!("the agent said {accepted} and then {said}"));
            facts.accepted = accepted.max(said);
            let is_done = self.plans.get(facts.done).is_some_and(|plan| is_over(status, plan));
            facts.done += usize::from(is_done);
            is_done
        });
        if moved {
            self.moved.notify_waiters();
        }
    }

    /// A step is begun: the disk must know the plan that asks for it.
    fn begun(&self, service: &ServiceName, digest: Option<Digest>) {
        let held = Ledger::at(&self.folder).read().ok().flatten();
        let asks =
            |step: &Step| step.service() == service && step.as_ensure().map(|step| step.digest) == digest;
        self.change(|facts| {
            let held = held.filter(|plan| plan.steps.iter().any(asks));
            facts.require(held.is_some(), || format!("{service} was begun, and no plan on the disk says so"));
            facts.accepted = facts.accepted.max(held.map_or(0, |plan| plan.generation.0));
        });
    }

    fn journal(&self) -> Journal {
        match Ledger::at(&self.folder).load_journal() {
            Ok(Loaded::Found(journal)) => journal,
            _ => Journal::new(),
        }
    }

    fn instances(&self) -> PathBuf {
        self.folder.join("instances")
    }
}

/// The plan is acknowledged; or a step of it has failed, and what follows its failure is over, too.
fn is_over(status: &NodeStatus, plan: &NodePlan) -> bool {
    let has_failed = |step: &Step| {
        status.steps.get(step.service()).is_some_and(|step| step.outcome == StepOutcome::Failed)
    };
    status.acks(plan) || (status.accepted == Some(PlanId::of(plan)) && plan.steps.iter().any(has_failed))
}

#[async_trait]
impl Daemon for World {
    async fn plan(&self, known: Option<Digest>) -> Result<Offer, DaemonError> {
        loop {
            let moved = self.moved.notified();
            let newest = self.facts().done.min(self.plans.len() - 1);
            let plan = &self.plans[newest];
            if known != Some(plan.digest) {
                return Ok(Offer::Plan(plan.clone()));
            }
            moved.await;
        }
    }

    async fn blob(&self, digest: Digest, writer: &mut BlobWriter) -> Result<(), DaemonError> {
        let content = FILES.iter().map(|(_, content)| content).find(|content| Digest::of(content) == digest);
        Ok(writer.write(content.expect("no plan names anything else").as_bytes())?)
    }

    async fn logs(&self, _: &[LogLine]) -> Result<(), DaemonError> {
        Ok(())
    }

    async fn report(&self, message: Message) -> Result<Answer, DaemonError> {
        if let Message::Full(status) = &message {
            self.heard(status);
        }
        Ok(Answer { heartbeat_seconds: 15, want_full: false })
    }
}

#[async_trait]
impl Host for World {
    async fn observe(&self) -> Result<Observation, HostError> {
        let instances = self.facts().instances.clone();
        let lost = files::lost(&self.instances(), instances.keys());
        let pictures = instances.values().flatten().map(picture).collect();
        Ok(Observation { instances, lost, pictures })
    }

    async fn info(&self) -> HostInfo {
        HostInfo { name: "machine".into(), ..HostInfo::default() }
    }

    /// As the real one does: files, then Compose, then the record.
    async fn ensure(&self, step: &Ensure, _: &[Container], _: &Attempt) -> Result<(), HostError> {
        self.begun(&step.service, Some(step.digest));
        let mut files = InstanceFiles::open(&self.instances(), &step.service)?;
        files.put(&step.files, &self.blobs)?;
        files.put_compose_file(step.model.as_str())?;
        self.change(|facts| {
            let made = step.containers.iter().map(|(service, spec)| container(step, service, spec));
            facts.instances.insert(step.service.clone(), made.collect());
        });
        files.record.renewed.clear();
        files.record.pending = false;
        files.record.applied = Some(step.digest);
        files.save()
    }

    async fn remove(&self, step: &Remove, _: &Attempt) -> Result<(), HostError> {
        self.begun(&step.service, None);
        let files = InstanceFiles::open(&self.instances(), &step.service)?;
        self.change(|facts| facts.instances.remove(&step.service));
        files.delete()
    }

    async fn run_hook(&self, call: &HookCall, _: &Attempt) -> Result<Option<HookEnd>, HostError> {
        let is_kept = self.facts().kept_hooks.get(&call.container).cloned();
        if is_kept.is_some() || call.start.is_none() {
            return Ok(is_kept);
        }
        let is_known = self
            .journal()
            .get(&call.service)
            .is_some_and(|change| change.hooks.contains_key(&call.container));
        let end = match &*call.run.service {
            BROKEN => HookEnd::Failed("ended with exit code 1".to_owned()),
            _ => HookEnd::Done,
        };
        self.change(|facts| {
            facts.require(is_known, || {
                format!("the hook {} was begun, and the journal does not know", call.container)
            });
            facts.hooks.push(call.container.to_string());
            facts.kept_hooks.insert(call.container.clone(), end.clone());
        });
        Ok(Some(end))
    }

    async fn forget_hook(&self, container: &str) {
        self.change(|facts| facts.kept_hooks.remove(container));
    }

    async fn probe(&self, _: &str, _: &Probe, _: Duration) -> checks::Answer {
        checks::Answer::Good
    }

    async fn last_log_lines(&self, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }
}

fn container(step: &Ensure, service: &Arc<str>, spec: &ContainerSpec) -> Container {
    let name: Arc<str> = format!("{}-{service}-1", step.project).into();
    Container {
        service: service.clone(),
        id: format!("{name} {}", spec.config.digest).into(),
        name,
        image: "busybox".into(),
        image_id: "sha256:0".into(),
        image_now: None,
        config: Some(spec.config),
        files: spec.files,
        state: ContainerState::Running,
        health: Health::None,
        restarts: 0,
        exit_code: None,
        oom_killed: false,
        started_at: Some(Timestamp::UNIX_EPOCH),
    }
}

fn picture(container: &Container) -> (Arc<str>, Arc<Picture>) {
    let fields = [("image".to_owned(), serde_json::Value::from(&*container.image))];
    (container.id.clone(), Arc::new(Picture::new(&container.service, &container.name, fields)))
}
