//! What to look at before a change is made: each risk a line of its own, worst first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::document::{Change, ChangeKind, Cost, CostChange, Effect, Risk};
use super::ground::Standings;
use super::{Selection, Side};
use crate::capacity::{self, Capacity, NodeRoom};
use crate::definition::Money;
use crate::desired;
use crate::holders::Holders;
use crate::name::NodeName;
use crate::place::room::Fill;

/// Those of the changes themselves.
pub(super) fn of_changes(changes: &[Change], new: &Side<'_>) -> Vec<Risk> {
    let of_change = |change| of_change(change, new).into_iter().map(|risk| (risk, change.nodes.len()));
    counted(changes.iter().flat_map(of_change))
}

/// Each risk once, with the number of nodes of all that are the same.
pub(super) fn counted(risks: impl Iterator<Item = (Risk, usize)>) -> Vec<Risk> {
    let mut numbers = BTreeMap::new();
    for (risk, number) in risks {
        *numbers.entry(risk).or_insert(0) += number;
    }
    numbers.into_iter().map(|(risk, number)| with_nodes(risk, number)).collect()
}

fn of_change(change: &Change, new: &Side<'_>) -> Vec<Risk> {
    let (service, nodes) = (&change.service, 0);
    let mut risks = Vec::new();
    let under = |is_meant: fn(Effect) -> bool| {
        let meant = change.effects.iter().filter(|(_, effect)| is_meant(**effect));
        meant.map(|(container, _)| container.clone()).collect::<Vec<Arc<str>>>()
    };
    let containers = under(Effect::interrupts);
    if !containers.is_empty() {
        risks.push(Risk::Restart { service: service.clone(), containers, nodes, seconds: None });
    }
    let gone = under(|effect| effect == Effect::Remove);
    if change.kind == ChangeKind::Remove {
        let entirely = !new.desired.services.contains_key(service);
        risks.push(Risk::Removal { service: service.clone(), nodes, entirely, containers: Vec::new() });
    } else if !gone.is_empty() {
        risks.push(Risk::Removal { service: service.clone(), nodes, entirely: false, containers: gone });
    }
    if !change.volumes_kept.is_empty() {
        let volumes = change.volumes_kept.clone();
        let begins_anew = change.kind == ChangeKind::Move;
        risks.push(Risk::VolumesLeft { service: service.clone(), volumes, begins_anew, nodes });
    }
    if let Some(from) = change.from.as_ref().and_then(|from| from.service.clone()) {
        risks.push(Risk::Renamed { from, service: service.clone() });
    }
    let used = change.capabilities.iter().cloned();
    risks.extend(used.map(|capability| Risk::Capability { service: service.clone(), capability, nodes }));
    risks
}

fn with_nodes(mut risk: Risk, number: usize) -> Risk {
    match &mut risk {
        Risk::Restart { nodes, .. }
        | Risk::Removal { nodes, .. }
        | Risk::VolumesLeft { nodes, .. }
        | Risk::Capability { nodes, .. }
        | Risk::Awaits { nodes, .. }
        | Risk::Held { nodes, .. }
        | Risk::Window { nodes, .. } => *nodes = number,
        Risk::Renamed { .. }
        | Risk::Unmet { .. }
        | Risk::Capacity { .. }
        | Risk::Budget { .. }
        | Risk::Approval { .. } => {}
    }
    risk
}

/// Controls that are not met any more, and approvals that the change lives by.
pub(super) fn of_standings([before, after]: &[Standings; 2]) -> Vec<Risk> {
    let mut risks = Vec::new();
    for (key, row) in after {
        let old = before.get(key);
        let was_met = old.is_none_or(|old| !old.lacks);
        let texts = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
        if row.lacks && was_met {
            risks.push(Risk::Unmet {
                service: row.service.clone(),
                environment: row.environment.clone(),
                control: row.control.clone(),
                enforcement: row.enforcement.as_str().into(),
                missing: texts(&row.missing),
                any_more: old.is_some(),
            });
        }
        let known: BTreeSet<&String> = old.iter().flat_map(|old| &old.approved).collect();
        let approved = row.approved.iter().filter(|rule| !known.contains(rule));
        risks.extend(approved.map(|rule| Risk::Approval {
            service: row.service.clone(),
            control: row.control.clone(),
            rule: rule.as_str().into(),
        }));
    }
    risks
}

/// From so many per cent on a node counts as full.
const FULL: u64 = 90;

/// What everything takes and costs, where that changes: the nodes that become full, the budget, and the sums. Of one
/// node, only whether it becomes full; of another part, nothing.
pub(super) fn of_capacity(
    old: &Side<'_>,
    new: &Side<'_>,
    selection: &Selection<'_>,
) -> (Vec<Risk>, Option<CostChange>) {
    if !selection.is_everything() && selection.node.is_none() {
        return (Vec::new(), None);
    }
    let same_placing = old.desired.placing.placed == new.desired.placing.placed;
    if same_placing && Arc::ptr_eq(&old.catalog.nodes, &new.catalog.nodes) {
        return (Vec::new(), None);
    }
    let (before, after) = (of_side(old), of_side(new));
    let rooms: BTreeMap<&NodeName, &NodeRoom> = before.nodes.iter().map(|room| (&room.node, room)).collect();
    let mut risks: Vec<Risk> = Vec::new();
    for room in after.nodes.iter().filter(|room| selection.node.is_none_or(|wanted| *wanted == room.node)) {
        risks.extend(filled(rooms.get(&room.node).copied(), room));
    }
    if !selection.is_everything() {
        return (risks, None);
    }
    risks.extend(budget(new, &before, &after));
    let cost = |capacity: &Capacity| Cost {
        nodes: capacity.total.nodes.to_string().into(),
        reserved: capacity.total.services.low.to_string().into(),
        used: capacity.total.services.high.to_string().into(),
    };
    let (was, is) = (cost(&before), cost(&after));
    let rises =
        after.total.nodes > before.total.nodes || after.total.services.low > before.total.services.low;
    let currency = after.currency.clone();
    let change = (was != is).then_some(CostChange { currency, before: was, after: is, rises });
    (risks, change)
}

fn of_side(side: &Side<'_>) -> Capacity {
    let placing = &side.desired.placing;
    let sites = desired::sites(side.catalog, placing, &Holders::default());
    capacity::of(side.catalog, &sites, &placing.placed, None)
}

fn filled(before: Option<&NodeRoom>, after: &NodeRoom) -> Vec<Risk> {
    let fills = |room: &NodeRoom| {
        let room = &room.room;
        [
            ("cpu", room.cpu_thousandths),
            ("memory", room.memory_bytes),
            ("disk", room.disk_bytes),
            ("gpus", room.gpus),
            ("slots", room.slots),
        ]
    };
    let per_cent = |fill: Fill| match fill.capacity {
        0 => 0,
        capacity => u64::try_from(u128::from(fill.reserved) * 100 / u128::from(capacity)).unwrap_or(u64::MAX),
    };
    let old = before.map(fills);
    let numbered = fills(after).into_iter().enumerate();
    let risk = |(index, (resource, fill)): (usize, (&str, Fill))| {
        let before = old.map_or(0, |old| per_cent(old[index].1));
        let after_per_cent = per_cent(fill);
        (after_per_cent >= FULL && before < FULL).then(|| Risk::Capacity {
            node: after.node.clone(),
            resource: resource.into(),
            before,
            after: after_per_cent,
        })
    };
    numbered.filter_map(risk).collect()
}

/// The highest threshold of the budget that the prices of the nodes reach now and did not reach before.
fn budget(new: &Side<'_>, before: &Capacity, after: &Capacity) -> Option<Risk> {
    let budget = after.total.budget?;
    let settings = &new.catalog.settings.budget;
    let mut thresholds = settings.warn_at.clone().unwrap_or_else(|| vec![80]);
    thresholds.push(100);
    let reaches = |cost: Money, threshold: u32| {
        u128::from(cost.0) * 100 >= u128::from(budget.0) * u128::from(threshold) && cost.0 > 0
    };
    let crossed = thresholds.into_iter().filter(|threshold| {
        reaches(after.total.nodes, *threshold) && !reaches(before.total.nodes, *threshold)
    });
    let threshold = crossed.max()?;
    let cost = after.total.nodes.to_string().into();
    Some(Risk::Budget { threshold, cost, budget: budget.to_string().into() })
}
