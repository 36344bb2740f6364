//! What stands in for a change whose window is shut: the form that is in place, which is healed until the window opens.
//!
//! The walk then goes over the plan with the older step in the place of the newer one, so that its failures, its drift and its
//! streaks go on as if no newer plan had come. What is told of the step is what the newer one waits for.
//!
//! **Invariant:** nothing stands in for a change that has begun: what is in place then is neither the one nor the other.

use std::borrow::Cow;
use std::collections::BTreeSet;

use gitops_core::name::Digest;
use gitops_core::plan::{Ensure, NodePlan, Step};
use gitops_core::status::{StepOutcome, StepResult};

use super::{Failure, Walk, form};
use crate::moment::Moment;

impl Walk {
    /// All content that is needed: for the plan, and for what is in place.
    pub fn content(&self, plan: &NodePlan) -> BTreeSet<Digest> {
        let wanted = plan.steps.iter().filter_map(Step::as_ensure);
        let in_place = self.record.values().filter_map(|applied| applied.step.as_deref());
        wanted.chain(in_place).flat_map(|step| step.files.values().map(|file| file.digest)).collect()
    }

    /// Remembers the steps whose forms are in place, where they were put in place by an agent that did not remember them.
    /// Returns whether the record changed.
    pub fn learn(&mut self, plan: &NodePlan) -> bool {
        let mut has_learnt = false;
        for step in plan.steps.iter().filter_map(Step::as_ensure) {
            let applied = self.record.get_mut(&step.service).filter(|applied| applied.step.is_none());
            if let Some(applied) = applied.filter(|applied| applied.digest == step.digest) {
                applied.step = Some(step.clone().into());
                has_learnt = true;
            }
        }
        has_learnt
    }

    /// The plan as it can be walked now: where the window of a change is shut, with what is in place.
    pub(super) fn as_it_may_be<'p>(&self, plan: &'p NodePlan, moment: Moment) -> Cow<'p, NodePlan> {
        let mut walked = Cow::Borrowed(plan);
        for (place, step) in plan.steps.iter().enumerate() {
            if let Some(standing) = self.stands_in(step, moment) {
                walked.to_mut().steps[place] = Step::Ensure(standing);
            }
        }
        walked
    }

    /// What is in place and stands in for a change that may not begin. Its windows are those of the change: by now they are
    /// known for longer.
    fn stands_in(&self, step: &Step, moment: Moment) -> Option<Ensure> {
        let service = step.service();
        let applied = self.record.get(service).filter(|applied| form(step) != Some(applied.digest))?;
        let standing = applied.step.as_deref()?;
        self.shut(step, moment)?;
        let is_settled = !self.changes.is_other(service, applied.digest)
            && !self.changes.is_open(standing)
            && self.changes.unended(service).is_none();
        let mut standing = Some(standing).filter(|_| is_settled)?.clone();
        standing.terms.spans = step.spans().to_vec();
        Some(standing)
    }

    /// Says of the step that the plan wants what it waits for, where another one stood in for it.
    pub(super) fn note_awaited(&mut self, step: &Step, wanted: &Step, moment: Moment) {
        let stands_in = form(step) != form(wanted);
        let shut = stands_in.then(|| self.shut(wanted, moment)).flatten();
        let Some(progress) = self.progress.get_mut(step.service()) else { return };
        progress.awaited = shut.map(|shut| {
            progress.wake_at = progress.wake_at.into_iter().chain(shut.opens_at).min();
            let failure =
                progress.failure.as_ref().filter(|_| progress.outcome() == Some(StepOutcome::Failed));
            let message = match failure.map(Failure::text) {
                Some(failure) => format!("{}; what is in place meanwhile failed: {failure}", shut.waits),
                None => shut.waits,
            };
            StepResult { digest: form(wanted), outcome: StepOutcome::Waiting, message: Some(message) }
        });
    }
}
