//! The release under way in a scenario: kept as the store keeps it, and read as the daemon reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::diff::Summary;
use gitops_core::name::{Generation, NodeName, Revision, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::planner::{Facts, Underway};
use gitops_core::reconcile::Outcome;
use gitops_core::release::{self, Failed, Good, NewRelease, Reached, Release, StepRecord};
use jiff::Timestamp;

/// All that is kept of releases.
pub(crate) struct Rollout {
    /// What planning reads of it.
    pub(crate) facts: Facts,
    release: Release,
    steps: Vec<StepRecord>,
    plans: BTreeMap<(NodeName, Generation), Arc<NodePlan>>,
}

impl Rollout {
    pub(crate) fn new() -> Self {
        let (steps, plans) = (Vec::new(), BTreeMap::new());
        let release = Release::begun(0, new(super::revision(0), Timestamp::UNIX_EPOCH));
        Self { facts: Facts::default(), release, steps, plans }
    }

    pub(crate) fn begin(&mut self, revision: Revision, now: Timestamp) {
        self.release = Release::begun(self.release.number + 1, new(revision, now));
        self.read();
    }

    pub(crate) fn retry(&mut self) {
        if self.release.failed.take().is_some() {
            self.release.attempts += 1;
        }
        self.read();
    }

    pub(crate) fn publish(
        &mut self,
        before: &BTreeMap<NodeName, Arc<NodePlan>>,
        outcome: &Outcome,
        now: Timestamp,
    ) {
        let (release, published_at) = (Some(self.release.number), Some(now));
        let records = release::changes(before, &outcome.plans).into_iter();
        let records = records.map(|change| StepRecord { change, release, published_at, satisfied_at: None });
        self.steps.extend(records);
        let plans = outcome.plans.iter();
        self.plans.extend(plans.map(|plan| ((plan.node.clone(), plan.generation), plan.clone())));
        if let Some(failure) = &outcome.failure {
            self.release.failed.get_or_insert(Failed::at(now, failure));
        }
        self.read();
    }

    pub(crate) fn reached(&mut self, node: &NodeName, reached: &Reached, now: Timestamp) {
        for service in &reached.services {
            let of_it = self.steps.iter_mut().filter(|step| {
                let change = &step.change;
                (&change.node, &change.service) == (node, service)
                    && change.generation <= reached.plan.generation
            });
            if let Some(step) = of_it.max_by_key(|step| step.change.generation) {
                step.satisfied_at.get_or_insert(now);
            }
        }
        self.read();
    }

    fn read(&mut self) {
        let number = Some(self.release.number);
        let ours: Vec<StepRecord> =
            self.steps.iter().filter(|step| step.release == number).cloned().collect();
        let underway = match self.release.number {
            0 => Underway::default(),
            _ => release::underway(&self.release, &ours, self.good()),
        };
        self.facts.underway = Arc::new(underway);
    }

    /// The last form of each step that was satisfied before this release.
    fn good(&self) -> Vec<Good> {
        let mut good: BTreeMap<(&NodeName, &ServiceName), &StepRecord> = BTreeMap::new();
        let older = self.steps.iter().filter(|step| step.release < Some(self.release.number));
        for step in older.filter(|step| step.satisfied_at.is_some()) {
            let newest = good.entry((&step.change.node, &step.change.service)).or_insert(step);
            if step.change.generation > newest.change.generation {
                *newest = step;
            }
        }
        let ensure = |step: &StepRecord| {
            let plan = self.plans.get(&(step.change.node.clone(), step.change.generation))?;
            plan.step(&step.change.service)?.as_ensure().cloned().map(Arc::new)
        };
        let of = |((node, service), step): ((&NodeName, &ServiceName), &StepRecord)| Good {
            node: node.clone(),
            service: service.clone(),
            ensure: ensure(step),
        };
        good.into_iter().map(of).collect()
    }
}

fn new(revision: Revision, began_at: Timestamp) -> NewRelease {
    NewRelease { revision, before: None, plan: None, began_at, commit: None, summary: Summary::default() }
}
