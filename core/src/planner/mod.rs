//! From what should be and what stands to one plan per node.
//!
//! One file per planning step: [`units`] says what is not as it is wanted, [`rollout`] what of it may begin now, over the
//! whole fleet; then, for each node, [`ensure`] which instances it gets and which are held back, [`removal`] what goes,
//! [`order`] what comes first, [`succession`] whether the result is a new plan at all and which generation it has. Every
//! function is pure.

mod ensure;
mod order;
mod removal;
mod rollout;
mod succession;
mod underway;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::Catalog;
use crate::definition::Window;
use crate::desired::{Desired, Instance};
use crate::name::{Digest, Generation, NodeName, Revision, ServiceName};
use crate::plan::{DriftAction, Ensure, NodePlan, Reason, Span, Step};
use crate::status::{NodeStatus, Reported};
use crate::window::{Calendar, Hours, State, Subject};

pub use rollout::{Failure, Permits, permits};
pub use underway::{Brought, Facts, Underway, Undo};
use units::Want;
pub use units::{Unit, UnitState, units};

/// What planning looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The commit that is planned.
    pub revision: &'a Revision,
    /// What is defined.
    pub catalog: &'a Catalog,
    /// What should be.
    pub desired: &'a Desired,
    /// The newest plan of each node.
    pub plans: &'a BTreeMap<NodeName, Arc<NodePlan>>,
    /// What nodes said last.
    pub reported: &'a Reported,
    /// What is known beside them.
    pub facts: &'a Facts,
    /// What may not begin yet.
    pub permits: &'a Permits,
    /// When changes may begin.
    pub calendar: &'a Calendar<'a>,
    /// When it is planned: grants end.
    pub now: Timestamp,
    /// A report older than this is not believed.
    pub stale_after: SignedDuration,
}

impl<'a> Situation<'a> {
    /// Whether a service is acknowledged on a node with this instance digest.
    fn is_acknowledged(&self, node: &NodeName, service: &ServiceName, digest: Digest) -> bool {
        let plan = self.plans.get(node);
        let done =
            |(plan, status): (&Arc<NodePlan>, &NodeStatus)| status.has_done(plan, service, Some(digest));
        plan.zip(self.status(node)).is_some_and(done)
    }

    /// Whether a node that was heard once is not heard any more.
    fn is_silent(&self, node: &NodeName) -> bool {
        let reported = self.reported.nodes.get(node);
        reported.is_some_and(|reported| reported.is_stale(self.now, self.stale_after))
    }

    /// When a change of a service on a node may begin, as a plan says it.
    fn spans(&self, node: &NodeName, service: &ServiceName) -> Vec<Span> {
        self.hours(node, service).spans()
    }

    fn hours(&self, node: &NodeName, service: &'a ServiceName) -> Hours<'a> {
        let instance = self.instance(node, service).map(|instance| &**instance);
        self.calendar.hours(&Subject::of(self.catalog, node, service, instance))
    }

    /// What keeps a change of a service on a node from beginning now, and until when as far as that is known.
    fn shut(&self, node: &NodeName, service: &'a ServiceName) -> Option<(&'a Window, Option<Timestamp>)> {
        if self.calendar.is_empty() {
            return None;
        }
        match self.hours(node, service).state() {
            State::Closed { until, by } => Some((by, until)),
            State::Open { .. } => None,
        }
    }

    /// The times that a step of the last plan is given anew: the windows are others than when it was planned, or all of its
    /// times are over and it may begin now.
    fn renewed_spans(&self, node: &NodeName, step: &Step) -> Option<Vec<Span>> {
        let old = step.spans();
        if (old.is_empty() && self.calendar.is_empty()) || !self.goes_by_spans(node, step) {
            return None;
        }
        let new = self.spans(node, step.service());
        let is_other = match Span::are_over(old, self.now) {
            true => Span::allow(&new, self.now),
            false => !Span::agree(old, &new, self.now),
        };
        is_other.then_some(new)
    }

    /// A step of the last plan that stays as it is, with its times as they are now.
    fn kept(&self, node: &NodeName, step: &Step) -> Step {
        let mut kept = step.clone();
        if let Some(spans) = self.renewed_spans(node, step) {
            match &mut kept {
                Step::Ensure(ensure) => ensure.terms.spans = spans,
                Step::Remove(remove) => remove.spans = spans,
            }
        }
        kept
    }

    /// Whether a step of the last plan of a node is given other times.
    pub fn has_renewed_spans(&self, node: &NodeName) -> bool {
        let mut steps = self.plans.get(node).into_iter().flat_map(|plan| &plan.steps);
        steps.any(|step| self.renewed_spans(node, step).is_some())
    }

    /// Whether its times still matter to a step of the last plan: it is not done, or corrected within them alone.
    fn goes_by_spans(&self, node: &NodeName, step: &Step) -> bool {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        let plan = self.plans.get(node).zip(self.status(node));
        let is_done = plan.is_some_and(|(plan, status)| status.has_done(plan, step.service(), digest));
        let corrects = |ensure: &Ensure| ensure.terms.drift.action == DriftAction::CorrectInWindow;
        !is_done || step.as_ensure().is_some_and(corrects)
    }

    /// When the next step whose times are over may begin, and is planned again; none where there is none.
    pub fn reopens_at(&self, node: &NodeName) -> Option<Timestamp> {
        let steps = self.plans.get(node).into_iter().flat_map(|plan| &plan.steps);
        let is_overdue =
            |step: &&Step| Span::are_over(step.spans(), self.now) && self.goes_by_spans(node, step);
        let overdue = steps.filter(is_overdue);
        let opens = overdue.map(|step| match self.hours(node, step.service()).state() {
            State::Open { .. } => self.now,
            State::Closed { until, .. } => until.unwrap_or(Timestamp::MAX),
        });
        opens.min()
    }

    /// What the definitions want of a service on a node.
    fn instance(&self, node: &NodeName, service: &ServiceName) -> Option<&'a Arc<Instance>> {
        self.desired.services.get(service)?.instances.get(node)
    }

    /// What is wanted on a node: what the definitions say; where a failed release touched it, what ran well before.
    fn wanted(&self, node: &NodeName) -> impl Iterator<Item = Want<'a>> + use<'a> {
        let undone = self.facts.underway.undo.as_deref().and_then(|undo| undo.good.get(node));
        let instances = self.desired.nodes.get(node).into_iter().flat_map(|instances| instances.iter());
        let is_defined = {
            let instances = instances.clone();
            move |service: &ServiceName| instances.clone().any(|one| one.ensure.service == *service)
        };
        let is_emptied = self.facts.decisions.emptied(node, self.now).is_some();
        let defined = instances.filter(move |_| !is_emptied).filter_map(move |instance| {
            match undone.and_then(|undone| undone.get(&instance.ensure.service)) {
                None => Some(Want { ensure: &instance.ensure, instance: Some(instance) }),
                Some(good) => good.as_ref().map(|ensure| Want { ensure, instance: None }),
            }
        });
        let gone =
            undone.into_iter().flatten().filter(move |(service, _)| !is_emptied && !is_defined(service));
        let back = gone.filter_map(|(_, good)| good.as_ref());
        defined.chain(back.map(|ensure| Want { ensure, instance: None }))
    }

    fn status(&self, node: &NodeName) -> Option<&'a NodeStatus> {
        self.reported.nodes.get(node).map(|reported| &*reported.status)
    }

    /// Every node that is defined or that has a plan: a node that is no longer defined still has things to remove.
    pub fn nodes(&self) -> BTreeSet<&'a NodeName> {
        self.desired.nodes.keys().chain(self.plans.keys()).collect()
    }
}

/// What planning one node comes to.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The new plan, if its steps differ from those of the last one.
    pub plan: Option<Arc<NodePlan>>,
    /// What was not done, by service, and what it waits on.
    pub waiting: BTreeMap<ServiceName, String>,
}

/// Plans one node.
pub fn plan(situation: &Situation<'_>, node: &NodeName) -> Planned {
    let previous = situation.plans.get(node).map(|plan| &**plan);
    let status = situation.status(node);
    if stands(situation, node, previous, status) {
        return Planned::default();
    }
    let Some(generation) = succession::next_generation(previous, status) else {
        return numberless(situation, node);
    };
    let mut waiting = BTreeMap::new();
    let mut steps = ensure::steps(situation, node, previous, &mut waiting);
    let removals = removal::steps(situation, node, previous, &steps, &mut waiting);
    steps.extend(removals);
    let steps = order::ordered(steps);
    let plan = succession::succeed(situation.revision, node, steps, previous, status, generation);
    Planned { plan: plan.map(Arc::new), waiting }
}

/// Nothing can be planned any more, and says so.
fn numberless(situation: &Situation<'_>, node: &NodeName) -> Planned {
    let reason = format!(
        "the agent says that it holds plan {}, after which there can be none: it is broken or lies",
        Generation::LAST
    );
    let wanted = situation.desired.nodes.get(node).into_iter().flat_map(|instances| instances.iter());
    let waiting = wanted.map(|instance| (instance.ensure.service.clone(), reason.clone())).collect();
    Planned { plan: None, waiting }
}

/// Whether the last plan says all of it already, step by step. It only saves time: a node that does not stand so is
/// planned, and may come to the same end.
fn stands(
    situation: &Situation<'_>,
    node: &NodeName,
    previous: Option<&NodePlan>,
    status: Option<&NodeStatus>,
) -> bool {
    let Some(previous) = previous.filter(|_| succession::ahead(previous, status).is_none()) else {
        return false;
    };
    let mut wanted = situation.wanted(node);
    let standing = previous.steps.iter().filter(|step| !is_removed(step, Some(previous), status));
    let mut standing = standing.map(Step::as_ensure);
    let same = |want: Want<'_>| standing.next().flatten().is_some_and(|step| step.same_effect(want.ensure));
    let all_same = wanted.all(same);
    let is_renewed = |step: &Step| situation.renewed_spans(node, step).is_some();
    all_same && standing.next().is_none() && !previous.steps.iter().any(is_renewed)
}

/// Why a step is as it was before a release that failed.
fn undone(undo: &Undo) -> Reason {
    Reason {
        field: "release".into(),
        old: Some(undo.reason.clone()),
        new: Some("undone".into()),
        source: None,
    }
}

/// The step that the previous plan has for a service.
fn step_of<'p>(previous: Option<&'p NodePlan>, service: &ServiceName) -> Option<&'p Step> {
    previous?.step(service)
}

/// Whether a step of the previous plan is a removal that was reported done, so that no plan need name it any longer.
fn is_removed(step: &Step, previous: Option<&NodePlan>, status: Option<&NodeStatus>) -> bool {
    let is_done = |(plan, status): (&NodePlan, &NodeStatus)| status.has_done(plan, step.service(), None);
    matches!(step, Step::Remove(_)) && previous.zip(status).is_some_and(is_done)
}
