//! The instances of one service in one environment: which part of them comes first, and how many may be away at once.

use std::collections::BTreeMap;

use super::{Blocker, Entry, Rollout, Rules, first_blocker, first_of};
use crate::name::{EnvironmentName, NodeName, ServiceName};
use crate::planner::Situation;

type Group<'a> = (&'a ServiceName, Option<&'a EnvironmentName>);

impl<'a> Rollout<'a> {
    pub(super) fn hold_in_groups(&mut self) {
        let mut groups: BTreeMap<Group<'a>, Vec<usize>> = BTreeMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.instance.is_some() && entry.unit.to.is_some() {
                let environment = self.situation.catalog.environment_of(&entry.unit.node);
                groups.entry((&entry.unit.service, environment)).or_default().push(index);
            }
        }
        for (group, members) in groups {
            let nodes = nodes_of(self.situation, group);
            if !self.is_undone() {
                self.hold_for_parts(group, &members, &nodes);
            }
            self.hold_for_availability(&members, nodes.len());
        }
    }

    /// A part begins when those before it are done and have stood their time. What is down in its older form is changed with
    /// the first: it has nothing to lose, and as long as it is away it would keep the others from being changed.
    fn hold_for_parts(&mut self, group: Group<'a>, members: &[usize], nodes: &[&'a NodeName]) {
        let rules = self.entries[members[0]].rules;
        let parts = parts(self.situation, rules, nodes);
        if parts.is_empty() {
            return;
        }
        let part_of = |node: &NodeName| parts.get(node).copied().unwrap_or(usize::MAX);
        let waits = members.iter().map(|index| &self.entries[*index]).filter(|one| one.is_ours && one.blocks);
        let waits = waits.map(|one| (part_of(&one.unit.node), Blocker::Entry(one)));
        let soaks = self.soaks.iter().filter(|soak| soak.service == group.0 && parts.contains_key(soak.node));
        let soaks = soaks.map(|soak| (part_of(soak.node), Blocker::Soak(soak)));
        let Some((first, blocker)) = first_blocker(waits.chain(soaks)) else { return };
        for index in members {
            let entry = &mut self.entries[*index];
            let part = part_of(&entry.unit.node);
            let is_down = entry.unit.from.is_some() && !entry.unit.may_be_up();
            if entry.is_open() && part > first && !is_down {
                entry.hold(format!("step {} waits for step {}: {blocker}", part + 1, first + 1));
            }
        }
    }

    /// So many instances may be away because of a release. What is new, or away already, takes nothing away. What may be there
    /// and may be away counts as away, and needs a place all the same.
    fn hold_for_availability(&mut self, members: &[usize], all: usize) {
        let Some(first) = members.first() else { return };
        let most = self.entries[*first].rules.max_unavailable(all);
        // What cannot be reached must not keep the others from being undone.
        let counts = |entry: &Entry<'_>| {
            entry.is_away() && !(self.is_undone() && self.situation.is_silent(&entry.unit.node))
        };
        let mut away: Vec<usize> =
            members.iter().copied().filter(|index| counts(&self.entries[*index])).collect();
        for index in members {
            let entry = &self.entries[*index];
            if !entry.is_open() || !entry.unit.may_be_up() {
                continue;
            }
            let others = || away.iter().filter(|other| *other != index);
            let number = others().count();
            if number >= most {
                let names = others().map(|other| self.entries[*other].name());
                let who = first_of(names, number).unwrap_or_default();
                self.entries[*index]
                    .hold(format!("at most {most} of {all} may be away at once, and {who} is"));
            } else if number == away.len() {
                away.push(*index);
            }
        }
    }
}

/// The nodes of all instances, in order.
fn nodes_of<'a>(situation: &Situation<'a>, (service, environment): Group<'_>) -> Vec<&'a NodeName> {
    let instances = situation.desired.services.get(service).into_iter().flat_map(|all| &all.instances);
    let here = instances.filter(|(node, _)| situation.catalog.environment_of(node) == environment);
    here.map(|(node, _)| node).collect()
}

/// The part of each node, from 0; empty where all are one part. A node that no step names is in the one after the last.
fn parts<'a>(
    situation: &Situation<'_>,
    rules: &Rules,
    nodes: &[&'a NodeName],
) -> BTreeMap<&'a NodeName, usize> {
    let steps = rules.steps();
    let mut parts: BTreeMap<&NodeName, usize> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let is_named = |node: &NodeName| {
            let labels = step.nodes.as_ref().zip(situation.catalog.nodes.get(node));
            labels.is_some_and(|(nodes, node)| nodes.matches(|label| node.value.label(label)))
        };
        let wanted = step.instances.map_or(0, |amount| amount.of(nodes.len()));
        for node in nodes {
            let is_free = !parts.contains_key(*node);
            if is_free && (is_named(node) || parts.len() < wanted) {
                parts.insert(node, number);
            }
        }
    }
    if !steps.is_empty() {
        for node in nodes {
            parts.entry(node).or_insert(steps.len());
        }
    }
    parts
}
