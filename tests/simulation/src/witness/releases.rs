//! Rules about releases: a newer one does not wait, one that failed is not gone on with, and nothing begins while a window
//! is shut.

use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::{NodeStatus, StepOutcome};
use jiff::Timestamp;

use super::Witness;
use crate::clock::Millis;

/// A pass that is under way when a newer revision comes, and the one that takes that in, are over after this.
const STEP: Millis = 10_000;

impl Witness {
    /// What is deployed.
    pub(crate) fn deployed(&self) -> Option<&Revision> {
        self.deployed.as_ref()
    }

    /// A daemon sees the newest revision, and nothing is in its way.
    pub(super) fn fetched(&mut self, daemon: usize, revision: &Revision) {
        if self.deployed.as_ref() == Some(revision) {
            self.newest.remove(&daemon);
            return;
        }
        let now = self.now;
        let seen = self.newest.entry(daemon).or_insert((revision.clone(), now));
        if seen.0 != *revision {
            *seen = (revision.clone(), now);
        }
        let waits_for = now - seen.1;
        self.require(9, waits_for <= STEP, || {
            format!(
                "daemon {daemon} has seen {} for {waits_for} ms and not begun its release",
                revision.short()
            )
        });
    }

    /// A revision is deployed, or plans are published of the one that is.
    pub(super) fn releases(&mut self, daemon: usize, plans: &[Arc<NodePlan>], deployed: Option<&Revision>) {
        if let Some(revision) = deployed {
            self.deployed = Some(revision.clone());
            self.newest.retain(|_, (newest, _)| newest != revision);
        }
        let is_older = |plan: &&Arc<NodePlan>| self.deployed.as_ref() != Some(&plan.revision);
        let older = plans.iter().find(is_older).cloned();
        let told = older.as_ref().map(|plan| (plan.node.clone(), plan.revision.short().to_owned()));
        self.require(9, older.is_none(), || {
            format!("daemon {daemon} publishes {told:?}, and another revision is deployed")
        });
        if deployed.is_none() {
            plans.iter().for_each(|plan| self.goes_on(plan));
        }
    }

    /// What is published of a release that failed brings back what ran well, and nothing else.
    fn goes_on(&mut self, plan: &NodePlan) {
        if !self.failed.contains(&plan.revision) {
            return;
        }
        let parent = plan.parent.and_then(|parent| self.plan(&plan.node, parent));
        let before = |step: &Step| digest(parent?.step(step.service())?);
        let is_new = |step: &&Step| {
            let key = (plan.node.clone(), step.service().clone());
            let ran = |digest| self.ran.get(&key).is_some_and(|ran| ran.contains(&digest));
            digest(step).is_some_and(|digest| before(step) != Some(digest) && !ran(digest))
        };
        let new = plan.steps.iter().find(is_new).map(|step| step.service().clone());
        self.require(15, new.is_none(), || {
            format!("the release of {} failed, and it brings {new:?} to {}", plan.revision.short(), plan.node)
        });
    }

    /// A status is stored: what it says to be well, ran well.
    pub(super) fn runs(&mut self, node: &NodeName, status: &NodeStatus) {
        let well = status.steps.iter().filter(|(_, result)| result.outcome == StepOutcome::Satisfied);
        for (service, digest) in well.filter_map(|(service, result)| Some((service, result.digest?))) {
            self.ran.entry((node.clone(), service.clone())).or_default().insert(digest);
        }
    }

    /// An agent begins a step at this time of its clock.
    pub(super) fn begins(&mut self, machine: usize, step: &Step, plan: &NodePlan, at: Timestamp) {
        let service = step.service();
        let digest = digest(step);
        let before = self.begun.insert((machine, service.clone()), digest);
        let is_change = before.unwrap_or_default() != digest;
        let is_shut = self.shapes.get(&plan.revision).is_some_and(|shape| shape.is_shut(service, at));
        self.require(11, !(is_change && is_shut), || {
            format!("{} begins to change {service} at {at}, and a window is shut", plan.node)
        });
    }
}

fn digest(step: &Step) -> Option<Digest> {
    step.as_ensure().map(|ensure| ensure.digest)
}
