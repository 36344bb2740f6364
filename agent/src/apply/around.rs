//! What comes before, around and after a change: the window in which it may begin, what is written down first, its hooks.
//!
//! **Invariant:** healing is no change. What is in place is healed whenever it must be, and no hook runs for it.

use std::sync::Arc;
use std::time::Duration;

use gitops_core::plan::{Ensure, Span, Step};

use super::changes::Around;
use super::{Failure, Fault, Verdict, Walk};
use crate::host::HookCall;
use crate::journal::{HookEnd, HookRun, When};
use crate::moment::Moment;

/// A window that is shut.
pub(super) struct Shut {
    /// What is waited for.
    pub(super) waits: String,
    /// When it opens; none where it will not.
    pub(super) opens_at: Option<Duration>,
}

impl Walk {
    /// Takes in how a hook ended; none where it never began.
    pub fn hook_ended(&mut self, call: &HookCall, result: Result<Option<HookEnd>, Fault>, moment: Moment) {
        let progress = self.progress.entry(call.service.clone()).or_default();
        progress.busy = None;
        match result {
            Ok(end) => self.changes.ended(&call.service, &call.container, end),
            Err(fault) => {
                let message = format!("{} could not be run: {}", call.run.title(), fault.message);
                progress.fail(Failure::of_call(message), moment.elapsed);
            }
        }
    }

    /// Takes in whether the journal was written, or why not.
    pub fn journaled(&mut self, result: Result<(), String>, moment: Moment) {
        self.changes.saved(result, moment);
    }

    /// Why the change that a step asks for may not begin now; none where it may, or has begun.
    pub(super) fn closed(&mut self, step: &Step, moment: Moment) -> Option<Verdict> {
        let Shut { waits, opens_at } = self.shut(step, moment)?;
        let progress = self.progress.get_mut(step.service())?;
        progress.wake_at = opens_at;
        Some(if progress.failure.is_some() { Verdict::Failed } else { Verdict::Waiting(waits) })
    }

    /// The window in which the change that a step asks for may begin, where it is shut and the change has not begun.
    pub(super) fn shut(&self, step: &Step, moment: Moment) -> Option<Shut> {
        let has_begun = step.as_ensure().is_some_and(|ensure| self.changes.has_begun(ensure));
        if has_begun || Span::allow(step.spans(), moment.wall) {
            return None;
        }
        let opens = Span::next(step.spans(), moment.wall);
        let opens_at = opens.map(|at| {
            let until = Duration::try_from(at.duration_since(moment.wall)).unwrap_or_default();
            moment.elapsed.saturating_add(until)
        });
        let waits = opens.map_or_else(
            || "its window is over: waits for a new plan".to_owned(),
            |at| format!("its window opens at {at}"),
        );
        Some(Shut { waits, opens_at })
    }

    /// Writes down that the change to `step` begins, runs what is to run before it, and begins it. Where nothing is in place
    /// and nothing is to run, there is nothing to write down.
    pub(super) fn open(&mut self, step: &Ensure, reason: String, is_in_place: bool) -> Verdict {
        if is_in_place || !step.terms.hooks.is_empty() {
            self.changes.open(step);
        }
        match self.changes.next(step, When::Before) {
            Around::Failed(message) => {
                self.fails(step, format!("{message}\nnothing of the change was begun"))
            }
            Around::Begun(title) => self.written(step, format!("{title} runs")).unwrap_or(Verdict::Keep),
            Around::Done => self.written(step, reason.clone()).unwrap_or(Verdict::Begin(reason)),
        }
    }

    /// Runs a hook that was begun, or waits for it, whichever Docker shows to be due. One of another attempt, or of a change
    /// that may not begin now, is only looked for: it may run, or never have begun.
    pub(super) fn hook(&mut self, step: &Step, hook: (Arc<str>, HookRun), moment: Moment) -> Verdict {
        let (container, run) = hook;
        let reason = format!("{} runs", run.title());
        if let Some(verdict) = step.as_ensure().and_then(|ensure| self.written(ensure, reason.clone())) {
            return verdict;
        }
        match self.held_up(step.service(), &reason, moment) {
            // What failed has failed, whatever its hooks wait for.
            Some(Verdict::Waiting(waits)) => return Verdict::Applying(waits),
            Some(verdict) => return verdict,
            None => {}
        }
        let start = step.as_ensure().filter(|ensure| self.may_start(ensure, &run, moment));
        let start = start.cloned().map(Box::new);
        Verdict::Hook(HookCall { service: step.service().clone(), container, run, start })
    }

    fn may_start(&self, step: &Ensure, run: &HookRun, moment: Moment) -> bool {
        let is_own = self.changes.attempt(&step.service) == step.terms.hooks.attempt;
        let begins = run.when == When::Before && !self.changes.has_begun(step);
        is_own && (!begins || Span::allow(&step.terms.spans, moment.wall))
    }

    /// What the hooks after the change, and those of its failure, make of how the step stands.
    pub(super) fn with_hooks(&mut self, step: &Ensure, verdict: Verdict) -> Verdict {
        if !self.changes.is_open(step) {
            return verdict;
        }
        let has_failed = self.progress.get(&step.service).is_some_and(|progress| progress.failure.is_some());
        let verdict = match verdict {
            Verdict::Satisfied => self.after(step),
            verdict => verdict,
        };
        match verdict {
            Verdict::Failed => drop(self.changes.next(step, When::OnFailure)),
            Verdict::Applying(_) if has_failed => drop(self.changes.next(step, When::OnFailure)),
            _ => {}
        }
        verdict
    }

    /// The instance is well.
    fn after(&mut self, step: &Ensure) -> Verdict {
        match self.changes.next(step, When::After) {
            Around::Begun(title) => Verdict::Applying(format!("{title} runs")),
            Around::Failed(message) => self.fails(step, message),
            Around::Done => {
                self.changes.settle(step);
                Verdict::Satisfied
            }
        }
    }

    fn fails(&mut self, step: &Ensure, message: String) -> Verdict {
        let progress = self.progress.entry(step.service.clone()).or_default();
        progress.set_failure(Failure::of_call(message));
        Verdict::Failed
    }

    /// How the step stands while what it is about to do is not written down yet; none where it is.
    fn written(&mut self, step: &Ensure, reason: String) -> Option<Verdict> {
        match self.changes.problem() {
            _ if self.changes.is_durable() => None,
            None => Some(Verdict::Applying(reason)),
            Some(problem) => {
                let message = format!("what it is about to do cannot be written down: {problem}");
                Some(self.fails(step, message))
            }
        }
    }
}
