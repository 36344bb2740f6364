//! What the daemon decides, as a state machine that touches nothing.
//!
//! [`step`] takes an event and the time and returns effects; the loop in [`super::run`] carries them out and feeds
//! their results back as events. Every timer, retry and wait is a field here, so a simulator can drive years of it.
//!
//! Runs go on side by side, each through its own [`OneSlot`]: *reading* (look at the source, check the newest
//! revision), the *pass* (reconcile, publish, reload after a conflict) and *recording* (what nodes said, and what
//! happened); beside them, one *errand* at a time is carried out at the forge, once it is recorded that it is begun. They
//! meet in the fields of [`State`] only.
//!
//! **Invariant:** a pass runs only over definitions whose revision descends from the deployed one, equals it, or was
//! accepted by an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::decision::{Awaiting, Decisions};
use gitops_core::fleet::{FleetStatus, NodeView};
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::planner::Underway;
use gitops_core::reconcile::{Definitions, Outcome, Seen};
use gitops_core::release::{self, Failed, Opened, Release, StepChange};
use gitops_core::status::{NodeStatus, Reported};
use jiff::{SignedDuration, Timestamp};

use super::asking::{Question, Questions};
use super::deciding::Deciding;
pub use super::effect::{Effect, Event, Load, Pass, Ticket};
use super::happened;
use super::outbox::Errands;
use super::progress::Told;
use super::queue::OneSlot;
use super::reading::Reading;
use super::reports::{Batch, Lease};
use super::set_clock::heard_until;
use crate::api::control::{Answer, Plans, Request};
use crate::config::Deploy;
use crate::store::{Publication, Published, Snapshot};

/// The numbers and names that the decisions depend on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where the definitions are, without credentials.
    pub url: Arc<str>,
    /// The branch that is watched.
    pub branch: Arc<str>,
    /// How often the source is looked at when nothing wakes the daemon, give or take a tenth.
    pub poll: SignedDuration,
    /// What makes it deploy.
    pub deploy: Deploy,
    /// How often agents report. A node is stale, and free for another agent, after three of them.
    pub heartbeat: SignedDuration,
    /// How often history beyond the retention is deleted.
    pub prune: SignedDuration,
    /// What the status is called by which the forge is told how releases go; none where there is no forge.
    pub forge: Option<Arc<str>>,
    /// Where the jitter starts: two daemons with different seeds do not poll in step.
    pub seed: u64,
}

impl Policy {
    /// After this much silence a node is stale.
    pub fn stale_after(&self) -> SignedDuration {
        self.heartbeat * 3
    }
}

/// What a pass plans from.
#[derive(Debug)]
pub(super) struct Planned {
    definitions: Arc<Definitions>,
    /// It is only deployed if it is the plan that somebody asked for.
    is_trial: bool,
    /// How many publications and decisions it knows.
    version: u64,
}

/// An outcome that is being published.
#[derive(Debug)]
pub(super) struct Publishing {
    outcome: Outcome,
    /// What it was planned from.
    planned: Planned,
    /// The steps that it brings into a new form.
    steps: Vec<StepChange>,
    /// It says that the release under way failed.
    is_failure: bool,
}

/// All that the daemon knows. The loop reads the public fields and posts them for the API.
#[derive(Debug)]
pub struct State {
    /// The newest plan of each node, as stored.
    pub plans: Plans,
    /// Number of the newest stored event that this daemon knows.
    pub last_event: u64,
    pub(super) policy: Policy,
    pub(super) reported: Arc<Reported>,
    /// The release under way.
    pub(super) underway: Arc<Underway>,
    /// When something may begin, or has failed, though nothing is heard.
    pub(super) pass_again_at: Option<Timestamp>,
    pub(super) deployed: Option<Revision>,
    pub(super) definitions: Option<Arc<Definitions>>,
    /// The definitions at the deployed revision, where they could be read.
    pub(super) in_force: Option<Arc<Definitions>>,
    /// Whether something is left to be done of the newest release, by the last pass.
    pub(super) is_open: bool,
    /// The revision of the newest release, while that is not done.
    pub(super) unfinished: Option<Revision>,
    pub(super) views: Vec<NodeView>,
    pub(super) seen: Arc<Seen>,
    pub(super) questions: Questions,
    /// What people decided.
    pub(super) decisions: Arc<Decisions>,
    pub(super) deciding: Deciding,
    /// What the last pass found to wait for approval.
    pub(super) awaiting: Vec<Awaiting>,
    pub(super) reading: Reading,
    pub(super) recording: OneSlot<Batch>,
    pub(super) record_again_at: Option<Timestamp>,
    pub(super) leases: BTreeMap<NodeName, Lease>,
    pub(super) status_digests: BTreeMap<NodeName, Digest>,
    /// The states of nodes of which it was written down what of their newest plan they reach. What another daemon recorded before
    /// this one, or before it knew the plan, is written down again: nothing may go by unseen between two that know different plans.
    pub(super) noted: BTreeMap<NodeName, Arc<NodeStatus>>,
    pub(super) stale: BTreeSet<NodeName>,
    /// The nodes that services no longer wait for which wait so many seconds.
    pub(super) lost: BTreeSet<(NodeName, u32)>,
    pub(super) started_at: Timestamp,
    pub(super) errands: Errands,
    pub(super) told: Told,
    pub(super) passes: OneSlot<BTreeSet<&'static str>>,
    /// What the running pass plans from: newer definitions may arrive while it runs.
    planned: Option<Planned>,
    pub(super) publishing: Option<Publishing>,
    /// The store failed: nothing is planned until it was read again.
    pub(super) reload_at: Option<Timestamp>,
    pub(super) store_failures: u32,
    pub(super) prune_at: Timestamp,
    /// When the clock was looked at last.
    pub(super) looked_at: Timestamp,
    /// Another daemon wrote something.
    pub(super) is_behind: bool,
    pub(super) stopping: bool,
}

impl State {
    /// Begins from what is stored, with the deployed revision: the stored plans can be served at once.
    pub fn new(policy: Policy, snapshot: Snapshot, now: Timestamp) -> (Self, Vec<Effect>) {
        let Snapshot { plans, reported, deployed, release, underway, last_event, outbox, decisions, version } =
            snapshot;
        let reported = heard_until(reported, now);
        let mut state = Self {
            plans: Arc::new(plans),
            last_event,
            reading: Reading::new(policy.seed, now),
            prune_at: now + policy.prune,
            looked_at: now,
            is_behind: false,
            policy,
            leases: reported.nodes.iter().map(|(node, last)| (node.clone(), Lease::of(last))).collect(),
            reported: Arc::new(reported),
            underway: Arc::new(underway),
            pass_again_at: None,
            told: Told::resuming(deployed.clone(), release.as_deref()),
            deployed,
            definitions: None,
            in_force: None,
            is_open: false,
            unfinished: unfinished(release),
            views: Vec::new(),
            seen: Arc::default(),
            questions: Questions::default(),
            decisions: Arc::new(decisions),
            deciding: Deciding::knowing(version),
            awaiting: Vec::new(),
            recording: OneSlot::default(),
            record_again_at: None,
            status_digests: BTreeMap::new(),
            noted: BTreeMap::new(),
            stale: BTreeSet::new(),
            lost: BTreeSet::new(),
            started_at: now,
            errands: Errands::new(outbox),
            passes: OneSlot::default(),
            planned: None,
            publishing: None,
            reload_at: None,
            store_failures: 0,
            stopping: false,
        };
        state.forget_holds(now);
        state.resume();
        let effects = state.start_runs(now);
        (state, effects)
    }

    /// When to send [`Event::Tick`] if nothing else happens before.
    pub fn next_tick(&self) -> Timestamp {
        let others = [
            // It waits for the pass that runs.
            self.reload_at.filter(|_| self.passes.running().is_none()),
            self.pass_again_at,
            self.record_again_at,
            self.next_stale_at(),
            self.next_loss_at(),
            self.next_errand_at(),
            self.next_expiry_at(),
        ];
        let soonest = self.prune_at.min(self.reading.next_fetch_at());
        others.into_iter().flatten().fold(soonest, Timestamp::min)
    }

    /// Whether everything that had begun to be written is written.
    pub fn is_stopped(&self) -> bool {
        self.stopping
            && self.publishing.is_none()
            && self.recording.running().is_none()
            && self.deciding.is_idle()
    }

    /// The whole picture.
    pub fn fleet(&self) -> FleetStatus {
        let mut nodes = self.views.clone();
        for view in &mut nodes {
            view.heard_at = self.reported.nodes.get(&view.node).map(|last| last.heard_at).or(view.heard_at);
        }
        let (source, diagnostics) = (self.source_status(), self.diagnostics());
        let (holds, awaiting) = (self.decisions.holds.clone(), self.approvals());
        let release = self.progress();
        FleetStatus { source, release, nodes, diagnostics, holds, awaiting }
    }

    /// Asks for a pass.
    pub(super) fn want_pass(&mut self, reason: &'static str) {
        self.passes.ask().insert(reason);
    }

    /// Starts whatever waits and may run.
    fn start_runs(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.stopping {
            effects.extend(self.start_round(now));
            effects.extend(self.start_catching_up());
            effects.extend(self.start_pass(now));
            effects.extend(self.start_studies(now));
            self.start_errand(now);
            effects.extend(self.start_decision());
        }
        effects.extend(self.start_recording(now));
        effects
    }

    fn start_pass(&mut self, now: Timestamp) -> Option<Effect> {
        if self.reload_at.is_some() {
            return None;
        }
        let trial = self.reading.trial().cloned();
        let is_trial = trial.is_some();
        let definitions = trial.or_else(|| self.definitions.clone())?;
        self.passes.start()?;
        let version = self.deciding.known();
        self.planned = Some(Planned { definitions: definitions.clone(), is_trial, version });
        let opens = self.opens(&definitions);
        let facts = self.facts_for(opens.is_some(), now);
        let stale_after = self.policy.stale_after();
        let (plans, reported, seen) = (self.plans.clone(), self.reported.clone(), self.seen.clone());
        let listening_since = self.started_at;
        Some(Effect::Pass(Pass {
            definitions,
            plans,
            reported,
            facts,
            now,
            stale_after,
            listening_since,
            seen,
            opens,
        }))
    }

    fn passed(&mut self, mut outcome: Outcome, opened: Option<Box<Opened>>, now: Timestamp) -> Vec<Effect> {
        let Some(planned) = self.planned.take() else { return Vec::new() };
        let revision = planned.definitions.revision.clone();
        self.seen = Arc::new(std::mem::take(&mut outcome.seen));
        if self.stopping {
            self.passes.finish();
            return Vec::new();
        }
        let id = outcome.id(&revision);
        let mut effects = Vec::new();
        if planned.is_trial {
            effects.extend(self.tried(&id, &revision, now));
            if self.reading.is_refused() {
                self.passes.finish();
                // The pass was wanted for other reasons, too.
                self.want_pass("what was tried is not deployed");
                effects.extend(self.end_trial(None));
                return effects;
            }
        }
        let moved = self.deployed.as_ref() != Some(&revision);
        let is_failure = outcome.failure.is_some() && !moved;
        if outcome.plans.is_empty() && !moved && !is_failure {
            self.pictured(outcome, revision);
            self.passes.finish();
            self.note_done(now);
            effects.extend(self.tried_well(planned));
            return effects;
        }
        let publication = self.publication(&outcome, opened, &revision, id, now);
        let publication = Publication { version: Some(planned.version), ..publication };
        let steps = publication.steps.clone();
        effects.push(Effect::Publish(publication));
        self.publishing = Some(Publishing { outcome, planned, steps, is_failure });
        effects
    }

    /// Takes over how everything stands after a pass over `revision`.
    fn pictured(&mut self, outcome: Outcome, revision: Revision) {
        self.views = outcome.nodes;
        self.awaiting = outcome.awaiting;
        self.pass_again_at = outcome.again_at;
        self.is_open = outcome.is_open;
        self.told.picture(revision);
    }

    fn publication(
        &self,
        outcome: &Outcome,
        opened: Option<Box<Opened>>,
        revision: &Revision,
        id: Digest,
        now: Timestamp,
    ) -> Publication {
        let moved = self.deployed.as_ref() != Some(revision);
        let mut events = happened::published(&self.plans, &outcome.plans, now);
        if moved {
            events.insert(0, happened::deployed(revision, outcome.plans.len(), now));
        }
        let failed = outcome.failure.as_ref().filter(|_| !moved).map(|failure| Failed::at(now, failure));
        events.extend(failed.as_ref().map(|failed| happened::failed(revision, failed)));
        Publication {
            plans: outcome.plans.clone(),
            blobs: outcome.blobs.clone(),
            deployed: moved.then(|| revision.clone()),
            release: opened.filter(|_| moved).map(|opened| Box::new(opened.with_plan(id))),
            steps: release::changes(&self.plans, &outcome.plans),
            failed,
            plan_id: Some(id),
            version: None,
            events,
        }
    }

    fn published(&mut self, result: Result<Published, String>, now: Timestamp) -> Vec<Effect> {
        let publishing = self.publishing.take();
        match result {
            Ok(Published::Done(events)) => {
                self.passes.finish();
                self.store_failures = 0;
                self.numbered(&events);
                publishing.map(|publishing| self.done(publishing, now)).unwrap_or_default()
            }
            Ok(Published::Conflict(_) | Published::Unaware) if self.stopping => {
                self.passes.finish();
                Vec::new()
            }
            // The slot stays taken until the store was read again.
            Ok(Published::Conflict(_) | Published::Unaware) => vec![self.reload()],
            // Whether it was written is not known, so nothing is planned before the store says.
            Err(_) => self.store_failed(now),
        }
    }

    /// What was published stands.
    fn done(&mut self, publishing: Publishing, now: Timestamp) -> Vec<Effect> {
        let Publishing { mut outcome, planned, steps, is_failure } = publishing;
        let revision = planned.definitions.revision.clone();
        self.deciding.published_after(planned.version);
        let plans = Arc::make_mut(&mut self.plans);
        plans.extend(std::mem::take(&mut outcome.plans).into_iter().map(|plan| (plan.node.clone(), plan)));
        self.pictured(outcome, revision.clone());
        let moved = self.deployed.replace(revision.clone()).as_ref() != Some(&revision);
        let mut effects = Vec::new();
        if moved {
            self.reading.accepted = None;
            self.in_force = Some(planned.definitions.clone());
            self.unfinished = Some(revision.clone());
            effects.push(Effect::Keep(revision));
        }
        self.brought(&steps, moved, now);
        if is_failure {
            // How to undo it is in the store. Nothing is planned before that was read.
            self.want_pass("a release failed");
            self.passes.start();
            effects.push(self.reload());
        }
        self.note_done(now);
        effects.extend(self.tried_well(planned));
        effects
    }

    /// What was tried, if this was a trial, is what is deployed: it is planned from, and its round ends.
    fn tried_well(&mut self, planned: Planned) -> Vec<Effect> {
        if !planned.is_trial {
            return Vec::new();
        }
        self.definitions = Some(planned.definitions);
        self.end_trial(None)
    }

    fn store_failed(&mut self, now: Timestamp) -> Vec<Effect> {
        self.passes.finish();
        self.want_pass("the store failed");
        self.reload_at = Some(now + backoff(self.store_failures));
        self.store_failures += 1;
        self.end_trial(Some(&Answer::NotStored))
    }

    fn reloaded(&mut self, result: Result<Box<Snapshot>, String>, now: Timestamp) -> Vec<Effect> {
        let Ok(snapshot) = result else { return self.store_failed(now) };
        let Snapshot { plans, reported, deployed, release, underway, last_event, decisions, version, .. } =
            *snapshot;
        self.passes.finish();
        self.store_failures = 0;
        self.learn(decisions, version, now);
        self.plans = Arc::new(plans);
        self.reported = Arc::new(heard_until(reported, now));
        self.underway = Arc::new(underway);
        self.status_digests.clear();
        self.take_over_leases();
        self.last_event = self.last_event.max(last_event);
        self.unfinished = unfinished(release);
        let ours = self.definitions.as_ref().map(|definitions| &definitions.revision);
        let foreign = deployed != self.deployed && deployed.as_ref() != ours;
        self.deployed = deployed;
        self.want_pass("the stored plans changed");
        if foreign {
            // Another daemon deployed another revision: planning from ours might undo it.
            self.definitions = None;
            self.in_force = None;
            self.resume();
            return self.abandon_trial();
        }
        Vec::new()
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.reload_at.is_some_and(|at| at <= now) && self.passes.running().is_none() {
            self.reload_at = None;
            self.passes.start();
            effects.push(self.reload());
        }
        if self.pass_again_at.is_some_and(|at| at <= now) {
            self.pass_again_at = None;
            self.want_pass("its time has come");
        }
        if self.prune_at <= now {
            self.prune_at = now + self.policy.prune;
            effects.push(Effect::Prune);
            self.forget_holds(now);
        }
        self.tick_decisions(now);
        self.tick_reading(now);
        self.tick_reports(now);
        effects
    }

    fn asked(&mut self, ticket: Ticket, request: Request, now: Timestamp) -> Option<Effect> {
        let answer = match request {
            Request::Fleet => Some(Answer::Fleet(Box::new(self.fleet()))),
            _ if self.stopping => Some(Answer::Stopping),
            Request::Pull { node, hello } => {
                Some(self.lease(&node, &hello, now).err().unwrap_or(Answer::Done))
            }
            Request::Report { node, hello, report } => self.report(ticket, node, &hello, report, now),
            Request::Sync { accept_rewind, plan } => {
                self.reading.sync(ticket, accept_rewind, plan);
                None
            }
            Request::Source => Some(Answer::Source(Box::new(self.source_status()))),
            Request::Diff(request) => self.question(ticket, Question::Diff(request)),
            Request::Drift(only) => self.question(ticket, Question::Drift(only)),
            Request::Applied(release) => self.question(ticket, Question::Applied(release)),
            Request::Wake => {
                self.reading.wake();
                Some(Answer::Done)
            }
            Request::Review(number) => self.ask_review(ticket, number, now),
            Request::Hold(hold) => self.hold(ticket, *hold, now),
            Request::EndHold { number, by } => self.end_hold(ticket, number, &by, now),
            Request::Vote(ballot) => match self.vote(ticket, *ballot, now) {
                Ok(effect) => return effect,
                Err(answer) => Some(answer),
            },
            Request::Approvals => Some(Answer::Approvals(self.approvals())),
            Request::Retry { by } => self.retry(ticket, &by, now),
            Request::Note(event) => {
                self.recording.ask().note(ticket, event);
                None
            }
        };
        answer.map(|answer| Effect::Answer(ticket, answer))
    }
}

/// The next state, and what to do.
pub fn step(state: &mut State, event: Event, now: Timestamp) -> Vec<Effect> {
    state.look_at_clock(now);
    let before = state.source_status();
    let is_new_picture = matches!(event, Event::Passed(..) | Event::Published(_));
    let mut effects = Vec::new();
    match event {
        Event::Tick => effects.extend(state.tick(now)),
        Event::Wake => state.reading.wake(),
        Event::Asked(ticket, request) => effects.extend(state.asked(ticket, request, now)),
        Event::Fetched(result) => effects.extend(state.fetched(result, now)),
        Event::Compared(result) => effects.extend(state.compared(result, now)),
        Event::Loaded(result) => effects.extend(state.loaded(result, now)),
        Event::Passed(outcome, opened) => effects.extend(state.passed(outcome, opened, now)),
        Event::Published(result) => effects.extend(state.published(result, now)),
        Event::Reloaded(result) => effects.extend(state.reloaded(result, now)),
        Event::Peeked(newest) => state.peeked(newest),
        Event::Studied(ticket, answer) => effects.push(state.studied(ticket, answer)),
        Event::Recorded(result) => effects.extend(state.recorded(result, now)),
        Event::Decided(result) => effects.extend(state.decided(result, now)),
        Event::CommitRead(ticket, result) => effects.extend(state.author_read(ticket, result, now)),
        Event::Ended(result) => state.ended(result, now),
        Event::Shutdown => effects.extend(state.stop()),
    }
    let after = state.source_status();
    if is_new_picture || before != after {
        state.tell_progress(now);
    }
    let events = happened::to_source(&before, &after, now);
    if !events.is_empty() {
        state.recording.ask().events.extend(events);
    }
    effects.extend(state.start_runs(now));
    effects
}

impl State {
    /// Refuses what waits; what is being written is answered when it is written.
    fn stop(&mut self) -> Vec<Effect> {
        self.stopping = true;
        let mut tickets = self.reading.abandon();
        tickets.extend(self.questions.abandon());
        tickets.extend(self.deciding.abandon());
        tickets.into_iter().map(|ticket| Effect::Answer(ticket, Answer::Stopping)).collect()
    }
}

/// The revision of the newest release, if that is not done.
fn unfinished(newest: Option<Box<Release>>) -> Option<Revision> {
    newest.filter(|release| release.finished_at.is_none()).map(|release| release.release.revision)
}

/// 1, 2, 4, … seconds, at most a minute.
pub(super) fn backoff(failures: u32) -> SignedDuration {
    SignedDuration::from_secs(1 << failures.min(6)).min(SignedDuration::from_secs(60))
}

#[cfg(test)]
mod tests;
