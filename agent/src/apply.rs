//! The walk over a plan's steps: what to begin now, what waits on what, how each step stands.
//!
//! Pure: [`Walk::advance`] compares each step with what Docker showed last and returns [`Act`]s for whoever holds
//! the host. It is called after every event and starts from scratch each time, so a newer plan takes over at the
//! next step boundary simply by being the plan that is walked. Kept from call to call is only what Docker cannot
//! tell: what is being done, what failed and when to try again, since when a step has not been well. Its tests are
//! those of the whole state machine, in `agent/tests.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::{Container, StepOutcome, StepResult};

use crate::checks::{Answer, Ask, Checks};
use crate::decide::{Action, Known, decide};
use crate::drift::{Pictures, Undo};
use crate::health::{Gate, Rules, Tracks, gate, graver};
use crate::host::{HookCall, Observation};
use crate::journal::Journal;
use crate::ledger::{Applied, Record};
use crate::moment::Moment;

mod around;
mod changes;
mod drift;
mod failure;
mod progress;
mod standing;
use changes::Changes;
use drift::Told;
use failure::Failure;
use progress::Progress;

/// Docker is asked again this often while a step is under way, should an event get lost.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A removal has no health window of its own; its restarts are never counted.
const REMOVAL_WINDOW: Duration = Duration::from_secs(60);

/// What the walk wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Begin the step. Exactly one [`Walk::ended`] answers it.
    Begin {
        /// In the form that the plan has now.
        step: Step,
        /// Its containers.
        observed: Vec<Container>,
        /// For the log.
        reason: String,
    },
    /// Undo what others changed of an instance that is in place. Exactly one [`Walk::ended`] answers it.
    Correct {
        /// The step.
        step: Step,
        /// What undoes it.
        undo: Vec<Undo>,
        /// For the log.
        reason: String,
    },
    /// Read the last log lines of a container. [`Walk::logs`] answers it.
    ReadLogs {
        /// The step that failed.
        service: ServiceName,
        /// Docker's id.
        container: Arc<str>,
    },
    /// Ask a container. [`Walk::probed`] answers it.
    Probe(Ask),
    /// Write down what was begun, durably. [`Walk::journaled`] answers it.
    SaveJournal(Journal),
    /// Run a hook, or wait for one that runs. Exactly one [`Walk::hook_ended`] answers it.
    RunHook {
        /// Which.
        call: HookCall,
        /// For the log.
        reason: String,
    },
    /// Let the container of a hook go. Nothing answers.
    ForgetHook {
        /// Its name.
        container: Arc<str>,
    },
}

/// Why the host did not do a step, as text: the error with its causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In one paragraph.
    pub message: String,
    /// Content that the plan names is not here: it has to be fetched again.
    pub lacks_content: bool,
}

/// The limits of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps under way at once.
    pub concurrency: usize,
    /// How long a container without a health check runs before it counts as healthy.
    pub settle: Duration,
}

/// The latest look at Docker. Looks are numbered by when they began.
#[derive(Clone, Debug, Default)]
struct Look {
    number: u64,
    observation: Observation,
}

/// How the steps of the plan stand.
#[derive(Clone, Debug)]
pub struct Walk {
    limits: Limits,
    record: Record,
    tracks: Tracks,
    checks: Checks,
    changes: Changes,
    look: Option<Look>,
    progress: BTreeMap<ServiceName, Progress>,
    pictures: Pictures,
    /// They are not what is on the disk.
    pictures_changed: bool,
    /// Instances of which pictures are to be taken, because a step has just ended.
    retake: BTreeSet<ServiceName>,
    told: BTreeMap<ServiceName, Told>,
}

/// What one step comes to in one round.
enum Verdict {
    Satisfied,
    Waiting(String),
    Applying(String),
    Failed,
    Keep,
    /// As the plan says but for what others changed, which is left.
    Left(Option<String>),
    Begin(String),
    Correct(Vec<Undo>, String),
    /// The hook with this container is to run, or is awaited.
    Hook(HookCall),
}

impl Verdict {
    fn under_way(slots: usize) -> Self {
        Self::Waiting(format!("{slots} other steps are under way"))
    }
}

impl Walk {
    /// With what was put in place before, and what was begun.
    pub fn new(limits: Limits, record: Record, journal: Journal) -> Self {
        Self {
            limits,
            record,
            tracks: Tracks::default(),
            checks: Checks::default(),
            changes: Changes::new(journal),
            look: None,
            progress: BTreeMap::new(),
            pictures: Pictures::default(),
            pictures_changed: false,
            retake: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// What is put in place, for the disk.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What Docker showed last.
    pub fn observation(&self) -> Option<&Observation> {
        self.look.as_ref().map(|look| &look.observation)
    }

    /// How each step of `plan` stands.
    pub fn results(&self, plan: &NodePlan) -> BTreeMap<ServiceName, StepResult> {
        let result = |step: &Step| {
            let progress = self.progress.get(step.service())?;
            Some((step.service().clone(), progress.told()?.clone()))
        };
        plan.steps.iter().filter_map(result).collect()
    }

    /// Whether a step is under way.
    pub fn is_busy(&self) -> bool {
        self.progress.values().any(|progress| progress.busy.is_some())
    }

    /// Takes in a look at Docker that began as number `number`. Returns whether it shows anything new.
    pub fn saw(&mut self, number: u64, observation: Observation, moment: Moment) -> bool {
        self.tracks.see(&observation, moment);
        let is_new = self.look.as_ref().is_none_or(|look| look.observation != observation);
        self.look = Some(Look { number, observation });
        is_new
    }

    /// Takes in the end of a step that was begun; `fresh_from` is the number of the next look. Returns whether the
    /// record changed.
    pub fn ended(&mut self, step: &Step, result: Result<(), Fault>, fresh_from: u64, moment: Moment) -> bool {
        self.note_ended(step, result.is_ok());
        let progress = self.progress.entry(step.service().clone()).or_default();
        progress.busy = None;
        progress.ended_at = Some(moment.wall);
        progress.fresh_from = fresh_from;
        let same_form = progress.form == form(step);
        match result {
            Ok(()) => {
                progress.attempted |= same_form;
                progress.setback = None;
                progress.unwell_since = Some(moment.elapsed);
                self.note_done(step)
            }
            Err(fault) if same_form => {
                let retries = step.as_ensure().and_then(|ensure| ensure.terms.retries);
                progress.refused(fault.message, retries, moment.elapsed);
                false
            }
            Err(_) => false,
        }
    }

    fn note_done(&mut self, step: &Step) -> bool {
        self.changes.made(step.service(), form(step));
        match step {
            Step::Ensure(ensure) => {
                let applied = Applied { digest: ensure.digest, step: Some(Arc::new(ensure.clone())) };
                self.record.insert(ensure.service.clone(), applied.clone()) != Some(applied)
            }
            Step::Remove(remove) => self.record.remove(&remove.service).is_some(),
        }
    }

    /// Takes in what a container answered.
    pub fn probed(&mut self, number: u64, answer: Answer, moment: Moment) {
        self.checks.answered(number, answer, moment);
    }

    /// Takes in the log lines that were asked for.
    pub fn logs(&mut self, service: &ServiceName, container: &str, lines: &[String]) {
        if let Some(failure) = self.progress.get_mut(service).and_then(|progress| progress.failure.as_mut()) {
            failure.add_logs(container, lines);
        }
    }

    /// Compares every step of `plan` with the last look and says what to do now.
    pub fn advance(&mut self, plan: &NodePlan, moment: Moment) -> Vec<Act> {
        let Some(look) = self.look.take() else { return Vec::new() };
        let walked = self.as_it_may_be(plan, moment);
        self.forget_unnamed(&walked);
        self.checks.follow(&walked, &look.observation, &self.record, moment);
        let mut acts = Vec::new();
        for (step, wanted) in walked.steps.iter().zip(&plan.steps) {
            let observed = look.observation.instances.get(step.service()).map_or(&[][..], Vec::as_slice);
            let verdict = self.judge(step, observed, &look, moment);
            self.settle(step, observed, verdict, moment, &mut acts);
            self.note_awaited(step, wanted, moment);
        }
        self.look = Some(look);
        acts.extend(self.checks.ask(moment).into_iter().map(Act::Probe));
        acts.extend(self.changes.save(moment).map(Act::SaveJournal));
        acts.extend(self.changes.forgettable().into_iter().map(|container| Act::ForgetHook { container }));
        acts
    }

    /// When to call [`Walk::advance`] or look again at the latest, should nothing happen.
    pub fn wake_at(&self) -> Option<Duration> {
        let steps = self.progress.values().filter_map(|progress| progress.wake_at);
        let drift = self.told.values().filter_map(Told::wake_at);
        steps.chain(self.changes.wake_at()).chain(drift).min()
    }

    /// When a question to a container is due, for which Docker need not be looked at.
    pub fn ask_at(&self) -> Option<Duration> {
        self.checks.wake_at()
    }

    /// A service that the plan does not name is not touched; what is under way is still awaited.
    fn forget_unnamed(&mut self, plan: &NodePlan) {
        self.progress.retain(|service, progress| progress.busy.is_some() || plan.step(service).is_some());
        self.told.retain(|service, _| plan.step(service).is_some_and(|step| step.as_ensure().is_some()));
        self.changes.forget_unnamed(plan);
        self.forget_pictures(plan);
    }

    /// How the step stands by itself, and then what its hooks make of that.
    fn judge(&mut self, step: &Step, observed: &[Container], look: &Look, moment: Moment) -> Verdict {
        let verdict = self.judge_alone(step, observed, look, moment);
        match step.as_ensure() {
            Some(ensure) if !ensure.terms.hooks.is_empty() => self.with_hooks(ensure, verdict),
            _ => verdict,
        }
    }

    fn judge_alone(&mut self, step: &Step, observed: &[Container], look: &Look, moment: Moment) -> Verdict {
        let progress = self.progress.entry(step.service().clone()).or_default();
        progress.take_form(step);
        progress.wake_at = None;
        self.told.get_mut(step.service()).into_iter().for_each(Told::sleep);
        if let Some(reason) = &progress.busy {
            return Verdict::Applying(reason.clone());
        }
        if look.number < progress.fresh_from {
            return Verdict::Keep;
        }
        if let Some(hook) = self.changes.unended(step.service()) {
            return self.hook(step, hook, moment);
        }
        if let Some(verdict) = self.judge_drift(step, observed, look, moment) {
            return verdict;
        }
        match self.asks_for(step, observed, look, moment) {
            Ok(reason) => self.may_begin(step, reason, moment),
            Err(verdict) => verdict,
        }
    }

    /// Why the host has to do something about the step; else how it stands.
    fn asks_for(
        &mut self,
        step: &Step,
        observed: &[Container],
        look: &Look,
        moment: Moment,
    ) -> Result<String, Verdict> {
        let gate = self.gate(step, observed, moment);
        let known = self.known(step, &gate, look);
        let progress = self.progress.entry(step.service().clone()).or_default();
        match decide(step, observed, &known) {
            Action::Nothing => Err(progress.watch(step, gate, moment.elapsed)),
            Action::Report(trouble) => {
                progress.unwell_since.get_or_insert(moment.elapsed);
                Err(progress.fails_by(trouble, moment.elapsed))
            }
            Action::Change { reason } | Action::Remove { reason } => {
                progress.count_repeat(&reason, moment.elapsed);
                Ok(reason)
            }
            Action::Heal { reason, ended } => {
                progress.count_heal(&reason, ended, moment.elapsed);
                Ok(reason)
            }
        }
    }

    fn known(&self, step: &Step, gate: &Gate, look: &Look) -> Known {
        let applied = self.record.get(step.service()).map(|applied| applied.digest);
        let looping = match gate {
            Gate::Looping(trouble) => Some(trouble.clone()),
            _ => None,
        };
        let interrupted = form(step).is_some_and(|form| self.changes.is_other(step.service(), form));
        let lost = look.observation.lost.contains(step.service());
        Known { applied, looping, interrupted, lost }
    }

    /// Begins what the host has to do, unless something comes first.
    fn may_begin(&mut self, step: &Step, reason: String, moment: Moment) -> Verdict {
        let applied = self.record.get(step.service()).map(|applied| applied.digest);
        let is_change = step.as_ensure().is_none_or(|ensure| applied != Some(ensure.digest));
        if let Some(verdict) = self.closed(step, moment).filter(|_| is_change) {
            return verdict;
        }
        if let Some(waits) = self.blocked(step, is_change) {
            return Verdict::Waiting(waits);
        }
        if let Some(verdict) = self.held_up(step.service(), &reason, moment) {
            return verdict;
        }
        match step.as_ensure().filter(|_| is_change) {
            Some(ensure) => self.open(ensure, reason, applied.is_some()),
            None => Verdict::Begin(reason),
        }
    }

    /// What is due waits for its next try, or for a free slot.
    fn held_up(&mut self, service: &ServiceName, reason: &str, moment: Moment) -> Option<Verdict> {
        let slots = self.progress.values().filter(|progress| progress.busy.is_some()).count();
        let progress = self.progress.get_mut(service)?;
        if moment.elapsed < progress.retry_at {
            progress.wake_at = Some(progress.retry_at);
            return Some(progress.paused(reason));
        }
        (slots >= self.limits.concurrency).then(|| Verdict::under_way(slots))
    }

    fn gate(&self, step: &Step, observed: &[Container], moment: Moment) -> Gate {
        let Some(ensure) = step.as_ensure() else { return Gate::Healthy };
        let rules = Rules { settle: self.limits.settle, window: window(step) };
        let docker = gate(ensure, observed, &self.tracks, rules, moment);
        graver(docker, self.checks.gate(ensure, observed))
    }

    /// What `step` waits on: the first step it names that is not done. A service that the plan does not name is not
    /// waited on. What is only healed does not wait for changes that may not begin yet.
    fn blocked(&self, step: &Step, is_change: bool) -> Option<String> {
        let after = match step {
            Step::Ensure(ensure) => &ensure.after,
            Step::Remove(remove) => &remove.after,
        };
        let outcome = |progress: &Progress| match is_change {
            true => progress.told().map(|told| told.outcome),
            false => progress.outcome(),
        };
        after.iter().find_map(|service| match outcome(self.progress.get(service)?) {
            Some(StepOutcome::Satisfied) => None,
            Some(StepOutcome::Failed) => Some(format!("waits on {service}, which failed")),
            _ => Some(format!("waits on {service}")),
        })
    }

    fn settle(
        &mut self,
        step: &Step,
        observed: &[Container],
        verdict: Verdict,
        moment: Moment,
        acts: &mut Vec<Act>,
    ) {
        let service = step.service();
        let Some(progress) = self.progress.get_mut(service) else { return };
        let (outcome, message) = match verdict {
            Verdict::Keep => return,
            Verdict::Satisfied => (StepOutcome::Satisfied, None),
            Verdict::Waiting(message) => (StepOutcome::Waiting, Some(message)),
            Verdict::Applying(message) => {
                progress.still_failed().unwrap_or((StepOutcome::Applying, Some(message)))
            }
            Verdict::Left(message) => (StepOutcome::Satisfied, message),
            Verdict::Correct(undo, reason) => {
                progress.busy = Some(reason.clone());
                acts.push(Act::Correct { step: step.clone(), undo, reason: reason.clone() });
                progress.still_failed().unwrap_or((StepOutcome::Applying, Some(reason)))
            }
            Verdict::Failed => (StepOutcome::Failed, progress.failure.as_ref().map(Failure::text)),
            Verdict::Hook(call) => {
                let reason = format!("{} runs", call.run.title());
                progress.busy = Some(reason.clone());
                acts.push(Act::RunHook { call, reason: reason.clone() });
                progress.still_failed().unwrap_or((StepOutcome::Applying, Some(reason)))
            }
            Verdict::Begin(reason) => {
                progress.busy = Some(reason.clone());
                progress.unwell_since.get_or_insert(moment.elapsed);
                // What began to go is not in place any more, and does not stand in for what comes next.
                if let (Step::Remove(_), Some(applied)) = (step, self.record.get_mut(service)) {
                    applied.step = None;
                }
                acts.push(Act::Begin {
                    step: step.clone(),
                    observed: observed.to_vec(),
                    reason: reason.clone(),
                });
                progress.still_failed().unwrap_or((StepOutcome::Applying, Some(reason)))
            }
        };
        let wants_logs = |failure: &mut Failure| failure.wants_logs(moment.elapsed);
        if let Some(container) = progress.failure.as_mut().and_then(wants_logs) {
            acts.push(Act::ReadLogs { service: service.clone(), container });
        }
        let outcome = progress.told_once_read(outcome, moment.elapsed);
        let message = match step.as_ensure().filter(|_| outcome == StepOutcome::Failed) {
            Some(ensure) => message.map(|message| self.changes.with_word_of_failure(ensure, message)),
            None => message,
        };
        progress.result = Some(StepResult { digest: form(step), outcome, message });
    }
}

fn form(step: &Step) -> Option<Digest> {
    step.as_ensure().map(|ensure| ensure.digest)
}

fn window(step: &Step) -> Duration {
    step.as_ensure().map_or(REMOVAL_WINDOW, |ensure| Duration::from_secs(ensure.health_within.into()))
}
