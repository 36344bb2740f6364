//! Which instances differ, and what became of each: made, changed, gone, on another node, under another name.
//!
//! A service that leaves one node and comes to another has moved; one that is gone, while another came to the same nodes
//! that is made of the same, has another name. Both would else read as a loss and something new.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::state::{Stand, State};
use crate::align::aligned;
use crate::name::{EnvironmentName, NodeName, ServiceName};

/// One instance that differs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) node: &'a NodeName,
    pub(super) before: Option<Stand<'a>>,
    pub(super) after: Option<Stand<'a>>,
    /// The node where it was, if that is another.
    pub(super) from: Option<&'a NodeName>,
}

/// Every instance that differs, and how many of those that are meant do not.
pub(super) fn differing<'a>(
    old: &State<'a>,
    new: &State<'a>,
    is_meant: impl Fn(&NodeName, &ServiceName) -> bool,
) -> (Vec<Pair<'a>>, usize) {
    let (mut pairs, mut unchanged) = (Vec::new(), 0);
    let nothing = BTreeMap::new();
    for (node, before, after) in aligned(old.nodes(), new.nodes()) {
        for (service, before, after) in aligned(before.unwrap_or(&nothing), after.unwrap_or(&nothing)) {
            let pair = Pair { node, before: before.copied(), after: after.copied(), from: None };
            match pair.is_same() {
                true => unchanged += usize::from(is_meant(node, service)),
                false => pairs.push(pair),
            }
        }
    }
    (pairs, unchanged)
}

impl<'a> Pair<'a> {
    fn is_same(&self) -> bool {
        self.before.zip(self.after).is_some_and(|(before, after)| before.is_same(&after))
    }

    /// The service as it is after, or as it was where it is gone.
    pub(super) fn service(&self) -> &'a ServiceName {
        let stand = self.after.or(self.before).expect("a pair has one side at least");
        &stand.ensure.service
    }

    /// The name that it had, if that was another.
    pub(super) fn old_name(&self) -> Option<&'a ServiceName> {
        let before = &self.before?.ensure.service;
        (before != self.service()).then_some(before)
    }

    /// Whether one of its ends is meant.
    pub(super) fn is_meant(&self, is_meant: impl Fn(&NodeName, &ServiceName) -> bool) -> bool {
        let names = [Some(self.service()), self.old_name()];
        let nodes = [Some(self.node), self.from];
        let any_node = |name| nodes.into_iter().flatten().any(|node| is_meant(node, name));
        names.into_iter().flatten().any(any_node)
    }

    /// Whether it is the same Compose project on the same node, whatever its name.
    pub(super) fn keeps_project(&self) -> bool {
        let is_same = |(before, after): (Stand<'_>, Stand<'_>)| before.ensure.project == after.ensure.project;
        self.from.is_none() && self.before.zip(self.after).is_some_and(is_same)
    }

    /// Whether it is on another node or under another name.
    pub(super) fn has_moved(&self) -> bool {
        self.from.is_some() || self.old_name().is_some()
    }
}

/// The same with what has another name as one pair, and what is on another node.
pub(super) fn matched<'a>(
    pairs: Vec<Pair<'a>>,
    (old, new): (&State<'a>, &State<'a>),
    environment_of: impl Fn(&NodeName) -> Option<&'a EnvironmentName>,
) -> Vec<Pair<'a>> {
    let renamed = renames(&pairs, old, new);
    let name = |pair: &Pair<'a>| {
        let name = pair.service();
        if pair.after.is_none() { renamed.get(name).copied().unwrap_or(name) } else { name }
    };
    // First where it stood, then in the same environment, then anywhere.
    let pairs = joined(pairs, |pair| (name(pair), pair.node.as_str()));
    let pairs = joined(pairs, |pair| (name(pair), environment_of(pair.node)));
    joined(pairs, name)
}

/// Puts together what is gone and what is new under one key, in the order of their nodes.
fn joined<'a, K: Ord>(pairs: Vec<Pair<'a>>, key: impl Fn(&Pair<'a>) -> K) -> Vec<Pair<'a>> {
    let mut gone: BTreeMap<K, Vec<Pair<'a>>> = BTreeMap::new();
    let (gone_pairs, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| pair.after.is_none());
    for pair in gone_pairs.into_iter().rev() {
        gone.entry(key(&pair)).or_default().push(pair);
    }
    let join = |pair: Pair<'a>| {
        let lost = match pair.before {
            None => gone.get_mut(&key(&pair)).and_then(Vec::pop),
            Some(_) => None,
        };
        lost.map_or(pair, |lost| Pair {
            before: lost.before,
            from: (lost.node != pair.node).then_some(lost.node),
            ..pair
        })
    };
    let mut joined: Vec<Pair<'a>> = others.into_iter().map(join).collect();
    joined.extend(gone.into_values().flatten());
    joined
}

/// What share of its fields must be the same for a service to be another under a new name.
const LEAST_SAME: f64 = 0.6;
/// More are not compared with each other: that is no renaming, but another repository.
const MAX_COMPARED: usize = 200;
/// Values looked at, each against others: a tenth of a second.
const MAX_WORK: usize = 1_000_000;

/// New names by old ones: of services that are gone, and others that came with them and say so, or are mostly the same.
fn renames<'a>(
    pairs: &[Pair<'a>],
    old: &State<'a>,
    new: &State<'a>,
) -> BTreeMap<&'a ServiceName, &'a ServiceName> {
    // Most changes are neither, and a list of all names costs more than the rest.
    let is_any = |lacks: fn(&Pair<'a>) -> bool| pairs.iter().any(lacks);
    if !is_any(|pair| pair.before.is_none()) || !is_any(|pair| pair.after.is_none()) {
        return BTreeMap::new();
    }
    let (stood, stands) = (services(old), services(new));
    let mut gone: BTreeMap<&ServiceName, Stand<'a>> = BTreeMap::new();
    let mut came: BTreeMap<&ServiceName, Stand<'a>> = BTreeMap::new();
    for pair in pairs {
        match (pair.before, pair.after) {
            (Some(before), None) if !stands.contains(pair.service()) => {
                _ = gone.insert(pair.service(), before)
            }
            (None, Some(after)) if !stood.contains(pair.service()) => _ = came.insert(pair.service(), after),
            _ => {}
        }
    }
    let mut renamed = said(&gone, &came);
    gone.retain(|name, _| !renamed.contains_key(name));
    let taken: BTreeSet<&ServiceName> = renamed.values().copied().collect();
    came.retain(|name, _| !taken.contains(name));
    if !gone.is_empty() && !came.is_empty() && gone.len() <= MAX_COMPARED && came.len() <= MAX_COMPARED {
        renamed.extend(best(&gone, &came));
    }
    renamed
}

/// What definitions say: `moved.from`.
fn said<'a>(
    gone: &BTreeMap<&'a ServiceName, Stand<'a>>,
    came: &BTreeMap<&'a ServiceName, Stand<'a>>,
) -> BTreeMap<&'a ServiceName, &'a ServiceName> {
    let from = |stand: &Stand<'a>| gone.get_key_value(stand.instance?.moved_from()?).map(|(name, _)| *name);
    came.iter().filter_map(|(name, stand)| Some((from(stand)?, *name))).collect()
}

fn services<'a>(state: &State<'a>) -> BTreeSet<&'a ServiceName> {
    state.nodes().values().flat_map(|services| services.keys().copied()).collect()
}

/// The pairs that are most alike, each service in one of them.
fn best<'a>(
    gone: &BTreeMap<&'a ServiceName, Stand<'a>>,
    came: &BTreeMap<&'a ServiceName, Stand<'a>>,
) -> BTreeMap<&'a ServiceName, &'a ServiceName> {
    let leaves = |(name, stand): (&&'a ServiceName, &Stand<'a>)| (*name, leaves_of(stand));
    let [gone, came]: [Vec<_>; 2] = [gone, came].map(|services| services.iter().map(leaves).collect());
    let size = |services: &[(_, BTreeSet<String>)]| -> usize {
        services.iter().map(|(_, leaves)| leaves.len()).sum()
    };
    if size(&gone) * came.len() + size(&came) * gone.len() > MAX_WORK {
        return BTreeMap::new();
    }
    let mut candidates: Vec<(f64, &ServiceName, &ServiceName)> = Vec::new();
    for (old, before) in &gone {
        let scored = came.iter().map(|(new, after)| (likeness(before, after), *old, *new));
        candidates.extend(scored.filter(|(likeness, ..)| *likeness >= LEAST_SAME));
    }
    candidates.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let (mut renamed, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (_, old, new) in candidates {
        if !renamed.contains_key(old) && taken.insert(new) {
            renamed.insert(old, new);
        }
    }
    renamed
}

/// Every value with its path, less the name of the project, which follows the name of the service.
fn leaves_of(stand: &Stand<'_>) -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    let mut open = vec![(String::new(), stand.ensure.model.value())];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.into_iter().map(|(key, value)| (format!("{path}.{key}"), value)));
            }
            other if path != ".name" => _ = leaves.insert(format!("{path}={other}")),
            _ => {}
        }
    }
    let files = stand.ensure.files.iter().map(|(path, file)| format!("{path} {}", file.digest));
    leaves.extend(files);
    leaves
}

fn likeness(one: &BTreeSet<String>, other: &BTreeSet<String>) -> f64 {
    let same = one.intersection(other).count();
    let all = one.union(other).count();
    #[expect(clippy::cast_precision_loss, reason = "a share of a few thousand fields")]
    if all == 0 { 0.0 } else { same as f64 / all as f64 }
}
