//! What is not as it is wanted, one service on one node at a time: to be changed, being changed, or failed.
//!
//! A unit follows from the plan and the report of its node and from what is wanted there, and from nothing else, so that
//! a node about which nothing changed has the same units as before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Situation, is_removed};
use crate::desired::Instance;
use crate::name::{Digest, NodeName, ServiceName};
use crate::plan::{Ensure, NodePlan, Step};
use crate::status::{NodeStatus, PlanId, StepOutcome};

/// One service on one node that is not as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Where.
    pub node: NodeName,
    /// What.
    pub service: ServiceName,
    /// The instance digest of the last plan; none where it says nothing, or that it goes.
    pub from: Option<Digest>,
    /// The wanted one; none where it is to go.
    pub to: Option<Digest>,
    /// How far it is.
    pub state: UnitState,
}

/// How far a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// The last plan does not say what is wanted.
    Pending {
        /// How what it says instead stands.
        before: Before,
    },
    /// The last plan says what is wanted, and the node has not done it.
    UnderWay,
    /// The same, and the node says that it failed.
    Failed {
        /// What it says.
        message: Arc<str>,
    },
}

/// How what is to be changed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It is there, and healthy.
    Up,
    /// So it was when the node reported last, which was of an older plan.
    Unknown,
    /// It is not there, or not healthy.
    Away,
}

impl Unit {
    /// Whether a change of it is still to begin.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, UnitState::Pending { .. })
    }

    /// Whether the service is away there, as far as is known: it is being changed, or failed.
    pub fn is_away(&self) -> bool {
        !matches!(self.state, UnitState::Pending { before: Before::Up })
    }

    /// Whether changing it may take away what is there.
    pub fn may_be_up(&self) -> bool {
        matches!(self.state, UnitState::Pending { before: Before::Up | Before::Unknown })
    }
}

/// What is wanted of one service on a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    /// The instance.
    pub ensure: &'a Ensure,
    /// As the definitions have it; none where a release is undone.
    pub instance: Option<&'a Arc<Instance>>,
}

/// The units of a node.
pub fn units(situation: &Situation<'_>, node: &NodeName) -> Vec<Unit> {
    let plan = situation.plans.get(node).map(|plan| &**plan);
    let status = situation.status(node);
    let wanted: Vec<Want<'_>> = situation.wanted(node).collect();
    if plan.zip(status).is_some_and(|(plan, status)| is_settled(&wanted, plan, status)) {
        return Vec::new();
    }
    let steps: BTreeMap<&ServiceName, &Step> =
        plan.into_iter().flat_map(|plan| &plan.steps).map(|step| (step.service(), step)).collect();
    let look = Look { node, plan, status };
    let names: BTreeSet<&ServiceName> = wanted.iter().map(|want| &want.ensure.service).collect();
    let projects: BTreeSet<&Arc<str>> = wanted.iter().map(|want| &want.ensure.project).collect();
    let ensured = wanted.iter().filter_map(|want| {
        let step = steps.get(&want.ensure.service).copied();
        look.ensured(want, step.or_else(|| former(plan, want, &names)))
    });
    // What goes on under another name does not go.
    let is_gone = |step: &Step| !names.contains(step.service()) && !projects.contains(step.project());
    let gone = steps.iter().filter(|(_, step)| is_gone(step));
    let gone = gone.filter_map(|(_, step)| look.gone(step));
    ensured.chain(gone).collect()
}

/// The step under whose name an instance stood before: of a service that is not wanted any more, in the same Compose
/// project.
pub(super) fn former<'p>(
    plan: Option<&'p NodePlan>,
    want: &Want<'_>,
    wanted: &BTreeSet<&ServiceName>,
) -> Option<&'p Step> {
    let steps = plan.into_iter().flat_map(|plan| &plan.steps);
    let mut ensured = steps.filter(|step| step.as_ensure().is_some());
    ensured.find(|step| *step.project() == want.ensure.project && !wanted.contains(step.service()))
}

/// Whether the node has acknowledged a plan that says all that is wanted, in the same order: the common case, found
/// without a look-up.
fn is_settled(wanted: &[Want<'_>], plan: &NodePlan, status: &NodeStatus) -> bool {
    let mut standing = plan.steps.iter().filter(|step| !is_removed(step, Some(plan), Some(status)));
    let same = |want: &Want<'_>| {
        let step = standing.next().and_then(Step::as_ensure);
        step.is_some_and(|step| step.digest == want.ensure.digest && step.service == want.ensure.service)
    };
    wanted.iter().all(same) && standing.next().is_none() && status.acks(plan)
}

/// One node, while its units are found.
struct Look<'a> {
    node: &'a NodeName,
    plan: Option<&'a NodePlan>,
    status: Option<&'a NodeStatus>,
}

impl Look<'_> {
    fn ensured(&self, want: &Want<'_>, step: Option<&Step>) -> Option<Unit> {
        let service = &want.ensure.service;
        let old = step.and_then(Step::as_ensure);
        let from = old.map(|ensure| ensure.digest);
        let to = Some(want.ensure.digest);
        let state = match old {
            Some(old) if old.service == *service && from == to => self.under_way(service, to)?,
            _ => UnitState::Pending { before: step.map_or(Before::Away, |step| self.before(step)) },
        };
        Some(self.unit(service, from, to, state))
    }

    fn gone(&self, step: &Step) -> Option<Unit> {
        let service = step.service();
        let from = step.as_ensure().map(|ensure| ensure.digest);
        let state = match from {
            None => self.under_way(service, None)?,
            Some(_) => UnitState::Pending { before: self.before(step) },
        };
        Some(self.unit(service, from, None, state))
    }

    /// How a step of the plan stands that is to be another one.
    fn before(&self, step: &Step) -> Before {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        match self.status {
            _ if digest.is_none() => Before::Away,
            _ if self.has_done(step.service(), digest) => Before::Up,
            Some(status) if status.satisfies(step) => Before::Unknown,
            _ => Before::Away,
        }
    }

    /// How far what the plan says is; none where it is done.
    fn under_way(&self, service: &ServiceName, digest: Option<Digest>) -> Option<UnitState> {
        if self.has_done(service, digest) {
            return None;
        }
        let is_held = |(plan, status): &(&NodePlan, &NodeStatus)| status.accepted == Some(PlanId::of(plan));
        let told = self.plan.zip(self.status).filter(is_held);
        let result = told.and_then(|(_, status)| status.steps.get(service));
        let failed = result.filter(|told| told.outcome == StepOutcome::Failed && told.digest == digest);
        let message = failed.map(|failed| failed.message.as_deref().unwrap_or("it failed").into());
        Some(message.map_or(UnitState::UnderWay, |message| UnitState::Failed { message }))
    }

    fn has_done(&self, service: &ServiceName, digest: Option<Digest>) -> bool {
        self.plan.zip(self.status).is_some_and(|(plan, status)| status.has_done(plan, service, digest))
    }

    fn unit(
        &self,
        service: &ServiceName,
        from: Option<Digest>,
        to: Option<Digest>,
        state: UnitState,
    ) -> Unit {
        Unit { node: self.node.clone(), service: service.clone(), from, to, state }
    }
}
