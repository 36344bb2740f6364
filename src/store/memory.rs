//! The store without a disk: for tests and for the simulator, where a thousand restarts must cost nothing.
//!
//! It keeps every promise of [`Store`] but to outlive the process; share it behind an `Arc` to restart a daemon over
//! it. It runs through the same conformance cases as the real one.

mod decisions;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gitops_core::decision::{Decision, KeptHold};
use gitops_core::log::{LogEntry, LogLine, LogQuery};
use gitops_core::name::{Digest, Generation, NodeName, Revision, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::reconcile::preview::Preview;
use gitops_core::release::{KeptDiff, PlanRecord, Reached, Release, ReleaseQuery, StepQuery, StepRecord};
use gitops_core::status::{PlanId, Reported, ReportedNode};
use jiff::Timestamp;

use super::outbox::{self, Change, ErrandKey, Outbox};
use super::{
    Event, Identity, KeptPreview, NewEvent, PREVIEW_BYTES, PREVIEWS, Publication, Published, Retention,
    Snapshot, StatusReport, Store, StoreError, StoredToken, chain,
};
use decisions::Decided;
use releases::Releases;

/// Facts in memory. A new one is empty.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Facts>);

#[derive(Clone, Debug, Default)]
struct Facts {
    /// Oldest first, by node.
    plans: BTreeMap<NodeName, Vec<Kept>>,
    releases: Releases,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    reported: Reported,
    deployed: Option<Revision>,
    events: BTreeMap<u64, NewEvent>,
    last_event: u64,
    tokens: BTreeMap<Digest, StoredToken>,
    previews: BTreeMap<Digest, KeptPreview>,
    /// By id.
    logs: BTreeMap<u64, Heard>,
    /// Of node, service, attempt and place: those that `logs` holds.
    logged: BTreeSet<(NodeName, ServiceName, Timestamp, u32)>,
    last_log: u64,
    outbox: Outbox,
    decided: Decided,
    /// How many publications and decisions there were.
    version: u64,
}

#[derive(Clone, Debug)]
struct Heard {
    entry: LogEntry,
    at: Timestamp,
}

#[derive(Clone, Debug)]
struct Kept {
    plan: Arc<NodePlan>,
    record: PlanRecord,
}

impl MemoryStore {
    /// A second store that holds what this one holds now.
    #[must_use]
    pub fn backup(&self) -> Self {
        Self(Mutex::new(self.facts().clone()))
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Nothing below can panic between two writes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn newest(&self, node: &NodeName) -> Option<&Arc<NodePlan>> {
        Some(&self.plans.get(node)?.last()?.plan)
    }

    fn plan(&self, node: &NodeName, generation: Generation) -> Option<Arc<NodePlan>> {
        let plans = self.plans.get(node)?.iter().map(|kept| &kept.plan);
        plans.clone().find(|plan| plan.generation == generation).cloned()
    }

    fn heads(&self) -> BTreeMap<NodeName, PlanId> {
        let newest = |node| self.newest(node).map(|plan| PlanId::of(plan));
        self.plans.keys().filter_map(|node| Some((node.clone(), newest(node)?))).collect()
    }

    fn has_content(&self, publication: &Publication) -> bool {
        let named = publication.plans.iter().flat_map(|plan| chain::blobs_named(plan));
        let has = |digest| publication.blobs.contains_key(&digest) || self.blobs.contains_key(&digest);
        named.into_iter().all(has)
    }

    fn append(&mut self, events: Vec<NewEvent>) -> Vec<Event> {
        let first = self.last_event + 1;
        let numbered: Vec<Event> = (first..).zip(events).map(|(id, event)| Event { id, event }).collect();
        self.last_event += numbered.len() as u64;
        self.events.extend(numbered.iter().map(|Event { id, event }| (*id, event.clone())));
        numbered
    }

    fn publish(&mut self, publication: Publication) -> Result<Published, StoreError> {
        chain::check_release(&publication)?;
        if publication.version.is_some_and(|version| version != self.version) {
            return Ok(Published::Unaware);
        }
        if let Some(node) = chain::conflict(&publication.plans, self.heads())? {
            return Ok(Published::Conflict(node));
        }
        if !self.has_content(&publication) {
            return Err(chain::content_missing());
        }
        self.version += 1;
        let at = publication.at();
        if let Some(opened) = publication.release {
            self.releases.open(*opened, self.deployed.as_ref());
        }
        let release = self.releases.newest();
        for plan in publication.plans {
            let record = PlanRecord {
                node: plan.node.clone(),
                plan: PlanId::of(&plan),
                release,
                published_at: at,
                acked_at: None,
            };
            self.plans.entry(plan.node.clone()).or_default().push(Kept { plan, record });
        }
        self.releases.change_steps(publication.steps, at);
        let deployed = publication.deployed.as_ref().or(self.deployed.as_ref());
        if let Some(failed) = publication.failed {
            self.releases.fail(failed, deployed);
        }
        self.blobs.extend(publication.blobs);
        let shown = publication.plan_id.and_then(|id| self.previews.get_mut(&id));
        if let Some(kept) = shown {
            kept.deployed_at = kept.deployed_at.or(at);
        }
        self.deployed = publication.deployed.or(self.deployed.take());
        Ok(Published::Done(self.append(publication.events)))
    }

    fn reach(&mut self, node: &NodeName, reached: &Reached, at: Timestamp) {
        let mut plans = self.plans.get_mut(node).into_iter().flatten();
        let plan = plans.find(|kept| kept.record.plan == reached.plan && kept.record.release.is_some());
        if let Some(kept) = plan.filter(|_| reached.is_acked) {
            kept.record.acked_at.get_or_insert(at);
        }
        self.releases.satisfy(node, reached, at);
    }

    fn record(&mut self, StatusReport { node, status, heard_at, reached }: StatusReport) {
        if let Some(reached) = &reached {
            self.reach(&node, reached, heard_at);
        }
        match (self.reported.nodes.get_mut(&node), status) {
            (Some(stored), None) => stored.heard_at = heard_at,
            (_, Some(status)) => {
                self.reported.nodes.insert(node, ReportedNode { status, heard_at });
            }
            (None, None) => {}
        }
    }

    fn log(&mut self, node: &NodeName, line: LogLine, at: Timestamp) {
        if self.logged.insert((node.clone(), line.service.clone(), line.attempt, line.seq)) {
            self.last_log += 1;
            let entry = LogEntry { id: self.last_log, node: node.clone(), line };
            self.logs.insert(entry.id, Heard { entry, at });
        }
    }

    fn change(&mut self, key: ErrandKey, change: Change) {
        if self.outbox.get(&key).is_some_and(|stored| stored.asked_at > change.asked_at()) {
            return;
        }
        match change {
            Change::Put(errand) => self.outbox.insert(key, errand),
            Change::Done(_) => self.outbox.remove(&key),
        };
    }

    fn keep_preview(&mut self, preview: &Preview, made_at: Timestamp) {
        let Some(id) = preview.diff.plan else { return };
        let kept = KeptPreview { preview: preview.clone(), made_at, deployed_at: None };
        self.previews.entry(id).or_insert(kept);
        let mut newest: Vec<(&Digest, &KeptPreview)> = self.previews.iter().collect();
        newest.sort_by_key(|(id, kept)| (std::cmp::Reverse(kept.made_at), **id));
        let size = |kept: &KeptPreview| serde_json::to_string(&kept.preview).map_or(0, |json| json.len());
        let bytes = newest.iter().scan(0, |bytes, (_, kept)| {
            *bytes += size(kept);
            Some(*bytes)
        });
        let ranked = newest.iter().zip(1..).zip(bytes);
        let gone =
            ranked.filter(|((_, rank), bytes)| *rank > 1 && (*rank > PREVIEWS || *bytes > PREVIEW_BYTES));
        let gone: Vec<Digest> = gone.map(|(((id, _), _), _)| **id).collect();
        self.previews.retain(|id, _| !gone.contains(id));
    }

    fn prune_logs(&mut self, keep: u64, cutoff: Timestamp) {
        let mut counts = BTreeMap::<NodeName, u64>::new();
        let mut gone = Vec::new();
        for (id, Heard { entry, at }) in self.logs.iter().rev() {
            let newer = counts.entry(entry.node.clone()).or_default();
            *newer += 1;
            if *newer > keep || *at < cutoff {
                gone.push(*id);
            }
        }
        for Heard { entry: LogEntry { node, line, .. }, .. } in
            gone.into_iter().filter_map(|id| self.logs.remove(&id))
        {
            self.logged.remove(&(node, line.service, line.attempt, line.seq));
        }
    }

    fn prune(&mut self, keep: Retention, now: Timestamp) {
        let cutoff = keep.cutoff(now);
        let good = self.releases.good_plans();
        for (node, plans) in &mut self.plans {
            let count = plans.len();
            let mut rank = (1..=count).rev();
            plans.retain(|kept| {
                let rank = rank.next().unwrap_or(1);
                let old = kept.record.published_at.is_some_and(|at| at < cutoff);
                let is_good = good.contains(&(node.clone(), kept.plan.generation));
                rank == 1 || is_good || (rank as u64 <= u64::from(keep.plans_per_node) && !old)
            });
        }
        let last = self.last_event;
        self.events.retain(|&id, event| last - id < keep.events && event.at >= cutoff);
        self.prune_logs(keep.log_lines_per_node, cutoff);
        self.releases.prune(keep, cutoff);
        self.decided.prune(cutoff);
        self.outbox.retain(|_, errand| errand.asked_at >= outbox::cutoff(now));
        self.previews.retain(|_, kept| kept.made_at >= cutoff);
        let kept = self.plans.values().flatten();
        let named: BTreeSet<Digest> = kept.flat_map(|kept| chain::blobs_named(&kept.plan)).collect();
        self.blobs.retain(|digest, _| named.contains(digest));
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        let facts = self.facts();
        let newest = facts.plans.keys().filter_map(|node| Some((node.clone(), facts.newest(node)?.clone())));
        Ok(Snapshot {
            plans: newest.collect(),
            reported: facts.reported.clone(),
            deployed: facts.deployed.clone(),
            release: facts
                .releases
                .page(&ReleaseQuery { limit: 1, ..ReleaseQuery::default() })
                .pop()
                .map(Box::new),
            underway: facts.releases.underway(|node, generation| facts.plan(node, generation)),
            last_event: facts.last_event,
            outbox: facts.outbox.clone(),
            decisions: facts.decided.decisions(),
            version: facts.version,
        })
    }

    async fn publish(&self, publication: Publication) -> Result<Published, StoreError> {
        self.facts().publish(publication)
    }

    async fn record_statuses(&self, reports: Vec<StatusReport>) -> Result<(), StoreError> {
        let mut facts = self.facts();
        reports.into_iter().for_each(|report| facts.record(report));
        Ok(())
    }

    async fn append_events(&self, events: Vec<NewEvent>) -> Result<Vec<Event>, StoreError> {
        Ok(self.facts().append(events))
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let facts = self.facts();
        let later = facts.events.iter().skip_while(|(id, _)| **id <= after);
        Ok(later.take(limit as usize).map(|(&id, event)| Event { id, event: event.clone() }).collect())
    }

    async fn change_outbox(&self, changes: BTreeMap<ErrandKey, Change>) -> Result<(), StoreError> {
        let mut facts = self.facts();
        changes.into_iter().for_each(|(key, change)| facts.change(key, change));
        Ok(())
    }

    async fn decide(
        &self,
        decision: Decision,
        event: NewEvent,
    ) -> Result<Option<super::Decided>, StoreError> {
        let mut facts = self.facts();
        let Facts { decided, releases, .. } = &mut *facts;
        let Some(hold) = decided.decide(decision, |revision| releases.retry(revision)) else {
            return Ok(None);
        };
        facts.version += 1;
        let version = facts.version;
        let event = facts.append(vec![event]).remove(0);
        Ok(Some(super::Decided { hold, version, event }))
    }

    async fn holds(&self, limit: u32) -> Result<Vec<KeptHold>, StoreError> {
        Ok(self.facts().decided.holds(limit))
    }

    async fn append_logs(
        &self,
        node: &NodeName,
        lines: Vec<LogLine>,
        heard_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut facts = self.facts();
        lines.into_iter().for_each(|line| facts.log(node, line, heard_at));
        Ok(())
    }

    async fn logs(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        let facts = self.facts();
        let all = facts.logs.values().map(|heard| &heard.entry).filter(|entry| query.wants(entry));
        let limit = query.limit as usize;
        let mut found: Vec<LogEntry> = match query.after {
            0 => all.rev().take(limit).cloned().collect(),
            _ => all.take(limit).cloned().collect(),
        };
        found.sort_by_key(|entry| entry.id);
        Ok(found)
    }

    async fn releases(&self, query: &ReleaseQuery) -> Result<Vec<Release>, StoreError> {
        Ok(self.facts().releases.page(query))
    }

    async fn release_diff(&self, number: u64) -> Result<Option<KeptDiff>, StoreError> {
        Ok(self.facts().releases.diff(number))
    }

    async fn finish_release(&self, revision: &Revision, at: Timestamp) -> Result<(), StoreError> {
        self.facts().releases.finish(revision, at);
        Ok(())
    }

    async fn plan_records(&self, release: Option<u64>) -> Result<Vec<PlanRecord>, StoreError> {
        let facts = self.facts();
        let wanted = |kept: &&Kept| release.is_none_or(|release| kept.record.release == Some(release));
        let newest = |plans: &Vec<Kept>| plans.iter().rev().find(wanted).map(|kept| kept.record.clone());
        Ok(facts.plans.values().filter_map(newest).collect())
    }

    async fn brought(&self, release: u64) -> Result<Vec<StepRecord>, StoreError> {
        Ok(self.facts().releases.brought(release))
    }

    async fn steps(&self, query: &StepQuery) -> Result<Vec<StepRecord>, StoreError> {
        Ok(self.facts().releases.steps(query))
    }

    async fn keep_preview(&self, preview: &Preview, made_at: Timestamp) -> Result<(), StoreError> {
        self.facts().keep_preview(preview, made_at);
        Ok(())
    }

    async fn preview(&self, id: Digest) -> Result<Option<KeptPreview>, StoreError> {
        Ok(self.facts().previews.get(&id).cloned())
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Arc<[u8]>>, StoreError> {
        Ok(self.facts().blobs.get(&digest).cloned())
    }

    async fn plan(
        &self,
        node: &NodeName,
        digest: Option<Digest>,
    ) -> Result<Option<Arc<NodePlan>>, StoreError> {
        let facts = self.facts();
        let Some(digest) = digest else { return Ok(facts.newest(node).cloned()) };
        let mut plans = facts.plans.get(node).into_iter().flatten();
        Ok(plans.find(|kept| kept.plan.digest == digest).map(|kept| kept.plan.clone()))
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        Ok(self.facts().tokens.values().cloned().collect())
    }

    async fn add_token(&self, token: StoredToken) -> Result<(), StoreError> {
        self.facts().tokens.insert(token.digest, token);
        Ok(())
    }

    async fn revoke_tokens(&self, identity: &Identity) -> Result<u64, StoreError> {
        let mut facts = self.facts();
        let tokens = &mut facts.tokens;
        let before = tokens.len();
        tokens.retain(|_, token| token.identity != *identity);
        Ok((before - tokens.len()) as u64)
    }

    async fn prune(&self, keep: Retention, now: Timestamp) -> Result<(), StoreError> {
        self.facts().prune(keep, now);
        Ok(())
    }
}
