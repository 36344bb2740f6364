//! Pulling the plan: one request at a time, for ever; what is offered is judged, its content fetched, then saved.
//!
//! A plan that was refused is named as known in the next request, so that the daemon answers when there is another
//! one, not with the same one again at once. Pauses grow with every failure in a row, and a plan whose content
//! cannot be had or whose digest is wrong counts as one: the daemon answers at once, and would be asked in a circle.

use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::NodePlan;
use gitops_core::status::{PlanId, Refusal};

use super::state::{Cause, Effect, Failed, Offer, Tell};
use crate::ledger::{Refused, Verdict, judge};
use crate::moment::{Moment, Pauses};

/// A daemon that answers "nothing new" at once is not asked more often than this.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Where the pull stands.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    node: NodeName,
    held: Option<Arc<NodePlan>>,
    /// The newest plan that was offered and judged.
    known: Option<Digest>,
    refused: Option<Refusal>,
    phase: Phase,
    failures: u32,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Until the next request.
    Resting { until: Duration },
    /// The request is out.
    Asking { since: Duration },
    /// The content of a plan is being fetched.
    Fetching(Arc<NodePlan>),
    /// The plan is being written to the ledger.
    Saving(Arc<NodePlan>),
}

impl Pull {
    pub(super) fn new(node: NodeName, held: Option<Arc<NodePlan>>) -> Self {
        let known = held.as_ref().map(|plan| plan.digest);
        let phase = Phase::Resting { until: Duration::ZERO };
        Self { node, held, known, refused: None, phase, failures: 0 }
    }

    /// The accepted plan.
    pub(super) fn held(&self) -> Option<&Arc<NodePlan>> {
        self.held.as_ref()
    }

    /// The plan that was offered last and refused.
    pub(super) fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// When the request was sent that is out, if one is.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Asking { since } => Some(since),
            _ => None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Resting { until } => Some(until),
            _ => None,
        }
    }

    /// Asks, if it is time.
    pub(super) fn go(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Resting { until } if until <= moment.elapsed) {
            self.phase = Phase::Asking { since: moment.elapsed };
            effects.push(Effect::Poll { known: self.known });
        }
    }

    pub(super) fn answered(
        &mut self,
        answer: Result<Offer, Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Asking { since } = self.phase else { return };
        match answer {
            Err(failed) => self.pause("cannot get the plan", &failed, moment, effects),
            Ok(offer) => {
                self.phase = Phase::Resting { until: since + ASK_EVERY };
                match offer {
                    Offer::Nothing => self.failures = 0,
                    Offer::Unusable { plan, refused } => self.refuse(&refused, plan, effects),
                    Offer::Plan(plan) => self.consider(plan, moment, effects),
                }
            }
        }
    }

    fn consider(&mut self, plan: Arc<NodePlan>, moment: Moment, effects: &mut Vec<Effect>) {
        match judge(&self.node, self.held.as_deref().map(PlanId::of), &plan) {
            Err(refused @ Refused::BadDigest { .. }) => {
                // Not known under its digest: the plan as it was written may still come.
                let known = self.known;
                self.refuse(&refused, PlanId::of(&plan), effects);
                self.known = known;
                let failed = Failed { message: refused.to_string(), cause: Cause::Answer };
                self.pause("cannot use the plan", &failed, moment, effects);
            }
            Err(refused) => self.refuse(&refused, PlanId::of(&plan), effects),
            Ok(Verdict::AlreadyHeld) => {
                self.failures = 0;
                self.known = Some(plan.digest);
                self.refused = None;
                self.phase = Phase::Resting { until: moment.elapsed + ASK_EVERY };
            }
            Ok(Verdict::Accept) => {
                effects.push(Effect::Fetch { plan: plan.clone() });
                self.phase = Phase::Fetching(plan);
            }
        }
    }

    fn refuse(&mut self, refused: &Refused, plan: PlanId, effects: &mut Vec<Effect>) {
        let text = format!("refused plan {} ({}): {refused}", plan.generation, refused.rule());
        effects.push(Effect::Tell(Tell::Problem, text));
        self.known = Some(plan.digest);
        self.refused = Some(refused.report(plan));
    }

    /// The content of `plan` is here, or not. Content that was fetched again for the held plan ends up here too.
    pub(super) fn fetched(
        &mut self,
        plan: &Arc<NodePlan>,
        result: Result<(), Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let awaited = matches!(&self.phase, Phase::Fetching(wanted) if wanted.digest == plan.digest);
        match result {
            Err(failed) if awaited => {
                self.cannot_accept(plan, &failed);
                self.pause("cannot get the content of the plan", &failed, moment, effects);
            }
            Ok(()) if awaited => {
                effects.push(Effect::Save { plan: plan.clone() });
                self.phase = Phase::Saving(plan.clone());
            }
            Err(Failed { message, .. }) => effects.push(Effect::Tell(
                Tell::Problem,
                format!("cannot get content of the accepted plan again: {message}"),
            )),
            Ok(()) => {}
        }
    }

    /// The ledger holds the plan, or could not be written. Returns whether there is a new plan to walk.
    pub(super) fn saved(
        &mut self,
        result: Result<(), Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Phase::Saving(plan) = self.phase.clone() else { return false };
        if let Err(failed) = result {
            self.cannot_accept(&plan, &failed);
            self.pause("cannot write the ledger", &failed, moment, effects);
            return false;
        }
        effects.push(Effect::Tell(Tell::Progress, format!("accepted plan {}", plan.generation)));
        self.failures = 0;
        self.known = Some(plan.digest);
        self.refused = None;
        self.held = Some(plan);
        self.phase = Phase::Resting { until: moment.elapsed };
        true
    }

    /// The status says why the plan is not taken, since a log on a node is far away. The plan does not count as known,
    /// so that it is offered again. A daemon that is away needs no telling.
    fn cannot_accept(&mut self, plan: &NodePlan, failed: &Failed) {
        let problem = failed.message.clone();
        let refused = match failed.cause {
            Cause::Disk => Refused::NotStored { problem },
            Cause::Answer => Refused::NoContent { problem },
            Cause::Away | Cause::SecondAgent => return,
        };
        self.refused = Some(refused.report(PlanId::of(plan)));
    }

    fn pause(&mut self, what: &str, failed: &Failed, moment: Moment, effects: &mut Vec<Effect>) {
        self.failures = self.failures.saturating_add(1);
        let pause = Pauses::DAEMON.jittered(self.failures, moment.dice);
        self.phase = Phase::Resting { until: moment.elapsed + pause };
        let text = format!("{what}: {}; trying again in {:.1} s", failed.message, pause.as_secs_f32());
        effects.push(Effect::Tell(Tell::Problem, text));
    }
}
