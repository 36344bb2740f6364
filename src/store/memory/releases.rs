//! Releases and step changes in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::name::{Generation, NodeName, Revision, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::planner::Underway;
use gitops_core::release::{
    Failed, Good, KeptDiff, Opened, Reached, Release, ReleaseQuery, StepChange, StepQuery, StepRecord,
    underway,
};
use jiff::Timestamp;

use super::super::{Retention, chain};

/// What is kept of releases.
#[derive(Clone, Debug, Default)]
pub(super) struct Releases {
    by_number: BTreeMap<u64, Kept>,
    /// Number of the newest that there ever was.
    last: u64,
    /// By service, node and generation.
    steps: BTreeMap<(ServiceName, NodeName, Generation), StepRecord>,
}

#[derive(Clone, Debug)]
struct Kept {
    release: Release,
    diff: KeptDiff,
    services: BTreeSet<ServiceName>,
}

impl Releases {
    /// Number of the newest.
    pub(super) fn newest(&self) -> Option<u64> {
        self.by_number.keys().next_back().copied()
    }

    /// Begins a release, unless the newest one is the same.
    pub(super) fn open(&mut self, opened: Opened, deployed: Option<&Revision>) {
        let Opened { release, diff, services } = opened;
        let newest = self.by_number.values().next_back().map(|kept| &kept.release.release.revision);
        if chain::begins(&release.revision, deployed, newest) {
            self.last += 1;
            let release = Release::begun(self.last, release);
            self.by_number.insert(self.last, Kept { release, diff, services });
        }
    }

    /// Steps take a new form under the newest release.
    pub(super) fn change_steps(&mut self, changes: Vec<StepChange>, published_at: Option<Timestamp>) {
        let release = self.newest();
        for change in changes {
            if let Some(kept) = release.and_then(|release| self.by_number.get_mut(&release)) {
                kept.services.insert(change.service.clone());
            }
            let key = (change.service.clone(), change.node.clone(), change.generation);
            self.steps.insert(key, StepRecord { change, release, published_at, satisfied_at: None });
        }
    }

    /// A node has done steps.
    pub(super) fn satisfy(&mut self, node: &NodeName, reached: &Reached, at: Timestamp) {
        for service in &reached.services {
            let key = |generation| (service.clone(), node.clone(), generation);
            let until = key(Generation(0))..=key(reached.plan.generation);
            if let Some((_, record)) = self.steps.range_mut(until).next_back() {
                record.satisfied_at.get_or_insert(at);
            }
        }
    }

    /// The newest is done, if it is of this revision.
    pub(super) fn finish(&mut self, revision: &Revision, at: Timestamp) {
        let newest = self.by_number.values_mut().next_back().map(|kept| &mut kept.release);
        if let Some(release) = newest.filter(|release| release.release.revision == *revision) {
            release.finished_at.get_or_insert(at);
        }
    }

    /// The newest has failed, if it is of this revision and had not.
    pub(super) fn fail(&mut self, failed: Failed, deployed: Option<&Revision>) {
        let newest = self.by_number.values_mut().next_back().map(|kept| &mut kept.release);
        if let Some(release) = newest.filter(|release| Some(&release.release.revision) == deployed) {
            release.failed.get_or_insert(failed);
        }
    }

    /// The newest is begun again, if it is of this revision and had failed.
    pub(super) fn retry(&mut self, revision: &Revision) -> bool {
        let newest = self.by_number.values_mut().next_back().map(|kept| &mut kept.release);
        let failed =
            newest.filter(|release| release.release.revision == *revision && release.failed.is_some());
        let Some(release) = failed else { return false };
        release.failed = None;
        release.attempts += 1;
        true
    }

    /// How far the newest is. `plan` finds a plan that is kept.
    pub(super) fn underway(&self, plan: impl Fn(&NodeName, Generation) -> Option<Arc<NodePlan>>) -> Underway {
        let Some((number, kept)) = self.by_number.iter().next_back() else { return Underway::default() };
        let steps = self.brought(*number);
        let touched: BTreeSet<(&ServiceName, &NodeName)> = steps.iter().map(key).collect();
        let good =
            self.last_good(Some(*number)).into_values().filter(|record| touched.contains(&key(record)));
        let good = good.filter_map(|record| {
            let StepChange { node, service, generation, digest, .. } = &record.change;
            let step =
                digest.map(|_| plan(node, *generation)?.step(service)?.as_ensure().cloned().map(Arc::new));
            let ensure = step.map_or(Some(None), |found| found.map(Some))?;
            Some(Good { node: node.clone(), service: service.clone(), ensure })
        });
        underway(&kept.release, &steps, good.collect())
    }

    /// The newest record of each step that was satisfied, of those before release `before` where one is named.
    fn last_good(&self, before: Option<u64>) -> BTreeMap<(&ServiceName, &NodeName), &StepRecord> {
        let is_older = |record: &&StepRecord| match (record.release, before) {
            (Some(release), Some(before)) => release < before,
            _ => true,
        };
        let good = self.steps.values().filter(|record| record.satisfied_at.is_some()).filter(is_older);
        good.map(|record| (key(record), record)).collect()
    }

    /// The plans in which steps were last well, now and before the newest release: they must stay.
    pub(super) fn good_plans(&self) -> BTreeSet<(NodeName, Generation)> {
        let newest = self.last_good(None).into_values().chain(self.last_good(self.newest()).into_values());
        let standing = newest.filter(|record| record.change.digest.is_some());
        standing.map(|record| (record.change.node.clone(), record.change.generation)).collect()
    }

    /// The newest first.
    pub(super) fn page(&self, query: &ReleaseQuery) -> Vec<Release> {
        let ReleaseQuery { before, service, limit } = query;
        let older = self.by_number.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, kept)| kept);
        let wanted =
            older.filter(|kept| service.as_ref().is_none_or(|service| kept.services.contains(service)));
        wanted.take(*limit as usize).map(|kept| kept.release.clone()).collect()
    }

    pub(super) fn diff(&self, number: u64) -> Option<KeptDiff> {
        self.by_number.get(&number).map(|kept| kept.diff.clone())
    }

    /// The step changes of a release, the oldest first.
    pub(super) fn brought(&self, release: u64) -> Vec<StepRecord> {
        let brought = self.steps.values().filter(|step| step.release == Some(release));
        let mut brought: Vec<StepRecord> = brought.cloned().collect();
        brought.sort_by_key(|step| step.published_at);
        brought
    }

    /// By service and node, the newest first.
    pub(super) fn steps(&self, query: &StepQuery) -> Vec<StepRecord> {
        let StepQuery { services, node, limit } = query;
        let wanted = |record: &&StepRecord| {
            services.contains(&record.change.service)
                && node.as_ref().is_none_or(|node| record.change.node == *node)
        };
        let mut found: Vec<StepRecord> = Vec::new();
        let mut place = Place::default();
        for record in self.steps.values().rev().filter(wanted) {
            if place.of(record) <= *limit {
                found.push(record.clone());
            }
        }
        // Stable: within a step they stay as they are, the newest first.
        found.sort_by(|one, other| key(one).cmp(&key(other)));
        found
    }

    pub(super) fn prune(&mut self, keep: Retention, cutoff: Timestamp) {
        let newest = self.newest();
        let mut rank = (1..=self.by_number.len() as u64).rev();
        self.by_number.retain(|number, kept| {
            let rank = rank.next().unwrap_or(1);
            let stays = rank <= u64::from(keep.releases) && kept.release.release.began_at >= cutoff;
            Some(*number) == newest || stays
        });
        let mut place = Place::default();
        let good = self.good_plans();
        let mut gone = Vec::new();
        for (key, record) in self.steps.iter().rev() {
            let rank = place.of(record);
            let is_good = record.satisfied_at.is_some()
                && record.change.digest.is_some()
                && good.contains(&(record.change.node.clone(), record.change.generation));
            let stands = rank == 1 && record.change.digest.is_some() || is_good;
            let old = record.published_at.is_some_and(|at| at < cutoff);
            if !stands && (rank > keep.plans_per_node || old) {
                gone.push(key.clone());
            }
        }
        gone.iter().for_each(|key| _ = self.steps.remove(key));
    }
}

fn key(record: &StepRecord) -> (&ServiceName, &NodeName) {
    (&record.change.service, &record.change.node)
}

/// Counts the records of each step, which come together.
#[derive(Default)]
struct Place {
    last: Option<(ServiceName, NodeName)>,
    count: u32,
}

impl Place {
    fn of(&mut self, record: &StepRecord) -> u32 {
        let (service, node) = key(record);
        let same = self.last.as_ref().is_some_and(|last| (&last.0, &last.1) == (service, node));
        if !same {
            self.last = Some((service.clone(), node.clone()));
        }
        self.count = if same { self.count + 1 } else { 1 };
        self.count
    }
}
