//! Which changes need somebody's word before they begin: those of which a definition or the policy says so, and those that
//! are rarely meant: many removals at once, data that is left behind, a repository that lost most of what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Entry, Rollout};
use crate::catalog::ApprovalDemand;
use crate::decision::{Awaiting, GuardedChange, Needed, Tally, are_many_removals, is_most_lost, plan_id};
use crate::name::{NodeName, ServiceName};
use crate::plan::Step;

impl Rollout<'_> {
    pub(super) fn hold_for_approval(&mut self) {
        if self.is_undone() {
            return;
        }
        let mut asked: BTreeMap<ApprovalDemand, Vec<usize>> = BTreeMap::new();
        let fleet = self.fleet_demands();
        let mut leaving: BTreeMap<&ServiceName, BTreeSet<&NodeName>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| self.leaves_volumes(entry)) {
            leaving.entry(&entry.unit.service).or_default().insert(&entry.unit.node);
        }
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.is_open()) {
            let of_fleet =
                fleet.iter().filter(|(only_removals, _)| !only_removals || entry.unit.to.is_none());
            for demand in of_fleet.map(|(_, demand)| demand.clone()).chain(self.own_demands(entry, &leaving))
            {
                asked.entry(demand).or_default().push(index);
            }
        }
        for (demand, members) in asked {
            self.ask(demand, &members);
        }
    }

    fn ask(&mut self, demand: ApprovalDemand, members: &[usize]) {
        let situation = self.situation;
        let changes: BTreeSet<GuardedChange> =
            members.iter().map(|index| change(&self.entries[*index])).collect();
        let roles = demand.roles.iter().map(|role| Arc::from(role.as_str())).collect();
        let since = situation.facts.underway.began_at.unwrap_or(situation.now);
        let awaiting = Awaiting {
            plan: plan_id(situation.revision, &changes),
            revision: situation.revision.clone(),
            changes,
            because: vec![demand.why.clone()],
            needed: Needed { approvals: demand.count, roles },
            since,
            author_may: demand.author_may,
            until: demand.timeout.and_then(|timeout| since.checked_add(timeout).ok()),
        };
        let tally = awaiting.tally(&situation.facts.decisions.votes);
        if tally.is_approved() {
            return;
        }
        self.permits.look_again(awaiting.until.filter(|until| *until > situation.now));
        let reason = told(&awaiting, &tally, situation.now);
        for index in members {
            self.entries[*index].held.get_or_insert_with(|| reason.clone());
        }
        match self.permits.awaiting.iter_mut().find(|other| other.plan == awaiting.plan) {
            Some(other) => join(other, awaiting),
            None => self.permits.awaiting.push(awaiting),
        }
    }

    /// What is asked because of the whole: of removals only, or of everything.
    fn fleet_demands(&self) -> Vec<(bool, ApprovalDemand)> {
        let situation = self.situation;
        let brought =
            situation.facts.underway.brought.values().filter(|brought| brought.digest.is_none()).count();
        let pending =
            self.entries.iter().filter(|entry| entry.unit.to.is_none() && entry.unit.is_pending()).count();
        let removals = brought + pending;
        let mut demands = Vec::new();
        if removals == 0 {
            return demands;
        }
        let steps = || situation.plans.values().flat_map(|plan| &plan.steps).filter_map(Step::as_ensure);
        let all = steps().count() + brought;
        if are_many_removals(removals, all) {
            demands.push((true, meant(format!("it removes {removals} of {all} instances"))));
        }
        let before: BTreeSet<_> = steps().map(|ensure| &ensure.service).collect();
        let now = situation.desired.services.len();
        if is_most_lost(removals, before.len(), now) {
            let why = format!("of {} services it leaves {now}", before.len());
            demands.push((false, meant(why)));
        }
        demands
    }

    /// What is asked because of the change itself.
    fn own_demands(
        &self,
        entry: &Entry<'_>,
        leaving: &BTreeMap<&ServiceName, BTreeSet<&NodeName>>,
    ) -> Vec<ApprovalDemand> {
        let unit = entry.unit;
        let mut demands = Vec::new();
        if self.situation.facts.decisions.emptied(&unit.node, self.situation.now).is_some() {
            // Somebody decided just that.
            return demands;
        }
        if let Some(instance) = entry.instance.filter(|_| unit.to.is_some()) {
            let asked = instance.approval_demands(self.situation.catalog, &unit.node).into_iter();
            demands.extend(asked.map(|demand| of_service(&unit.service, demand)));
        }
        let leaving = leaving.get(&unit.service);
        if leaving.is_some_and(|nodes| unit.from.is_none() || nodes.contains(&unit.node)) {
            demands.push(meant(format!("`{}` leaves volumes behind", unit.service)));
        }
        demands
    }

    /// Whether it goes, or becomes another Compose project, and its data stays.
    fn leaves_volumes(&self, entry: &Entry<'_>) -> bool {
        let unit = entry.unit;
        let plan = self.situation.plans.get(&unit.node).filter(|_| unit.is_pending());
        let Some(standing) = plan.and_then(|plan| plan.step(&unit.service)?.as_ensure()) else {
            return false;
        };
        let keeps = entry.instance.filter(|_| unit.to.is_some());
        let goes = keeps.is_none_or(|instance| instance.ensure.project != standing.project);
        goes && !standing.named_volumes().is_empty()
    }
}

/// The same changes wait for two reasons: they are shown once, and one vote counts for both.
fn join(shown: &mut Awaiting, other: Awaiting) {
    shown.because.extend(other.because);
    shown.needed.approvals = shown.needed.approvals.max(other.needed.approvals);
    shown.needed.roles.extend(other.needed.roles);
    shown.author_may &= other.author_may;
    shown.until = [shown.until, other.until].into_iter().flatten().min();
}

/// What a definition or the policy asks for.
fn of_service(service: &ServiceName, demand: ApprovalDemand) -> ApprovalDemand {
    let why = format!("{} asks for it of `{service}`", demand.why).into();
    ApprovalDemand { why, ..demand }
}

/// A question whether that is meant: who wrote the commit may answer it.
fn meant(why: String) -> ApprovalDemand {
    ApprovalDemand { why: why.into(), count: 1, roles: BTreeSet::new(), author_may: true, timeout: None }
}

fn change(entry: &Entry<'_>) -> GuardedChange {
    let unit = entry.unit;
    GuardedChange { node: unit.node.clone(), service: unit.service.clone(), from: unit.from, to: unit.to }
}

fn told(awaiting: &Awaiting, tally: &Tally, now: Timestamp) -> String {
    let why = awaiting.because.iter().map(|why| &**why).collect::<Vec<_>>().join("; ");
    if let Some(person) = tally.rejected_by.first() {
        return format!("rejected by {person} ({why})");
    }
    if let Some(until) = awaiting.until.filter(|until| *until <= now) {
        return format!("nobody approved it until {until} ({why}): push the change again");
    }
    let more = match tally.missing.approvals {
        0 | 1 => "approval".to_owned(),
        missing => format!("{missing} approvals"),
    };
    let roles = tally.missing.roles.iter().map(|role| &**role).collect::<Vec<_>>().join(" or ");
    let by = if roles.is_empty() { roles } else { format!(" by {roles}") };
    format!("waits for {more}{by}, because {why}: `gitops approve {}`", awaiting.plan.short())
}
