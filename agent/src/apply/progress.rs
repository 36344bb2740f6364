//! What is remembered of a step from round to round: what is being done, what failed and when to try again, since when it has
//! not been well.
//!
//! A new form of the step starts with a clean slate.

use std::time::Duration;

use gitops_core::name::Digest;
use gitops_core::plan::{Retries, Step};
use gitops_core::status::{StepOutcome, StepResult};
use jiff::Timestamp;

use super::failure::Failure;
use super::{Verdict, WATCH_EVERY, form, window};
use crate::health::{Gate, Trouble};
use crate::moment::Pauses;
use crate::streak::{Patience, Streak};

/// What is remembered of one step.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The form of the step that the rest is about: instance digest, none for a removal.
    pub(super) form: Option<Digest>,
    /// Under way, for this reason; of whatever form it had when it began.
    pub(super) busy: Option<String>,
    /// The first look that shows the host as the last call left it.
    pub(super) fresh_from: u64,
    /// When that ended, by the clock that Docker dates its events with.
    pub(super) ended_at: Option<Timestamp>,
    /// Since when it has not been well; none while it is.
    pub(super) unwell_since: Option<Duration>,
    /// It was done in this form, and has not been well since.
    pub(super) attempted: bool,
    pub(super) failures: u32,
    /// Not begun again before.
    pub(super) retry_at: Duration,
    pub(super) failure: Option<Failure>,
    /// Why the host refused it, while it is tried again before that counts as a failure.
    pub(super) setback: Option<String>,
    pub(super) heals: Streak,
    pub(super) result: Option<StepResult>,
    /// How the step stands for which this form stands in, as long as that may not begin.
    pub(super) awaited: Option<StepResult>,
    /// It was well in this form.
    pub(super) was_well: bool,
    /// When it has to be looked at again without an event.
    pub(super) wake_at: Option<Duration>,
}

impl Progress {
    pub(super) fn outcome(&self) -> Option<StepOutcome> {
        self.result.as_ref().map(|result| result.outcome)
    }

    /// How the step of the plan stands.
    pub(super) fn told(&self) -> Option<&StepResult> {
        self.awaited.as_ref().or(self.result.as_ref())
    }

    /// A new form of the step starts with a clean slate; only a call that is under way is kept in mind.
    pub(super) fn take_form(&mut self, step: &Step) {
        if self.form != form(step) {
            let (busy, fresh_from, ended_at) = (self.busy.take(), self.fresh_from, self.ended_at);
            *self = Self { form: form(step), busy, fresh_from, ended_at, ..Self::default() };
        }
    }

    pub(super) fn fail(&mut self, failure: Failure, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + Pauses::STEP.after(self.failures);
        self.attempted = false;
        self.set_failure(failure);
    }

    /// The host refused it. It has failed, unless it is tried again before that.
    pub(super) fn refused(&mut self, message: String, retries: Option<Retries>, now: Duration) {
        let Some(retries) = retries.filter(|retries| self.failures < retries.number) else {
            self.setback = None;
            return self.fail(Failure::of_call(message), now);
        };
        self.failures += 1;
        let base = Duration::from_secs(retries.pause.into());
        self.retry_at = now + Pauses { base, ..Pauses::STEP }.after(self.failures);
        self.attempted = false;
        self.setback = Some(format!("try {} of {} failed: {message}", self.failures, retries.number + 1));
    }

    /// It is due for this reason, and waits for its next try.
    pub(super) fn paused(&self, reason: &str) -> Verdict {
        match (&self.failure, &self.setback) {
            (Some(_), _) => Verdict::Failed,
            (None, setback) => Verdict::Applying(setback.as_deref().unwrap_or(reason).to_owned()),
        }
    }

    /// Log lines that were read stay with the failure they were read for.
    pub(super) fn set_failure(&mut self, failure: Failure) {
        if !self.failure.as_ref().is_some_and(|old| old.is_same_as(&failure)) {
            self.failure = Some(failure);
        }
    }

    /// A step that failed is shown as failed until it is well, also while it is tried again.
    pub(super) fn still_failed(&self) -> Option<(StepOutcome, Option<String>)> {
        let failure = self.failure.as_ref()?;
        Some((StepOutcome::Failed, Some(failure.text())))
    }

    /// It is told that it failed once the last words of the container are there, if they come soon.
    pub(super) fn told_once_read(&mut self, outcome: StepOutcome, now: Duration) -> StepOutcome {
        let is_news = outcome == StepOutcome::Failed && self.outcome() != Some(StepOutcome::Failed);
        let until = self.failure.as_ref().filter(|_| is_news).and_then(|failure| failure.reads_until(now));
        let Some(until) = until else { return outcome };
        self.wake_at = Some(self.wake_at.map_or(until, |at| at.min(until)));
        StepOutcome::Applying
    }

    /// A container is not well, and time alone will not make it so.
    pub(super) fn fails_by(&mut self, trouble: Trouble, now: Duration) -> Verdict {
        self.set_failure(Failure::of_container(trouble));
        self.wake_at = Some(now + WATCH_EVERY);
        Verdict::Failed
    }

    /// Compose has nothing to do here: what counts is health, and time.
    pub(super) fn watch(&mut self, step: &Step, gate: Gate, now: Duration) -> Verdict {
        let since = *self.unwell_since.get_or_insert(now);
        let deadline = since + window(step);
        let is_satisfied = self.outcome() == Some(StepOutcome::Satisfied);
        let (trouble, look_in) = match gate {
            Gate::Healthy => {
                (self.unwell_since, self.failure, self.attempted, self.failures) = (None, None, false, 0);
                self.was_well = true;
                return Verdict::Satisfied;
            }
            // It will happen again, however long one waits.
            Gate::Killed(trouble) if !self.was_well => return self.fails_by(trouble, now),
            Gate::Killed(trouble) => (trouble, WATCH_EVERY),
            Gate::Pending { trouble, settles_in } => (trouble, settles_in.unwrap_or(WATCH_EVERY)),
            Gate::Looping(trouble) => (trouble, WATCH_EVERY),
            // While it starts, a failing check may still come good; after it was well, it is an answer.
            Gate::Unhealthy(trouble) if is_satisfied => return self.fails_by(trouble, now),
            Gate::Unhealthy(trouble) => (trouble, WATCH_EVERY),
        };
        self.wake_at = Some(now + look_in.min(WATCH_EVERY));
        if now >= deadline {
            let within = window(step).as_secs();
            let message = format!("not healthy within {within} seconds: {}", trouble.message);
            self.set_failure(Failure::of_container(Trouble { message, ..trouble }));
            return Verdict::Failed;
        }
        Verdict::Applying(trouble.message)
    }

    /// Compose said that it is done, and it is not: asking at once again would go round in circles.
    pub(super) fn count_repeat(&mut self, reason: &str, now: Duration) {
        if self.attempted {
            let message = format!("Docker Compose reported success, but {reason}");
            self.fail(Failure::of_call(message), now);
        }
    }

    /// What ended before it was ever well fails, and is tried again with growing pauses. What was well is healed at
    /// once, unless it keeps ending.
    pub(super) fn count_heal(&mut self, reason: &str, ended: Option<Trouble>, now: Duration) {
        if self.attempted {
            let failure = ended.map_or_else(|| Failure::of_call(reason.to_owned()), Failure::of_container);
            self.fail(failure, now);
        } else if self.outcome() == Some(StepOutcome::Satisfied) {
            self.retry_at = self.heals.add(&Patience::ENDING, now);
            if self.heals.is_long(&Patience::ENDING) {
                self.set_failure(Failure::keeps_ending(reason, ended));
            }
        }
    }
}
