//! Instances that change alike, as one change on several nodes.
//!
//! The instances of a service on a thousand nodes are mostly one value shared, so what is said of them is worked out once
//! for each two values and not for each node; and what is then the same is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Change, ChangeKind, Effect, FileChange, NewCapability, Origin};
use super::pairs::Pair;
use super::state::{Opened, Stand};
use super::{Side, effects, files, reasons};
use crate::catalog::Used;
use crate::name::{Digest, EnvironmentName, NodeName, ServiceName};
use crate::plan::Reason;
use crate::sensitive::Sensitive;

/// What tells pairs apart before anything is worked out: where, what, from where, and what stands there by its digest.
type Key<'a> =
    (Option<&'a EnvironmentName>, &'a ServiceName, Option<&'a ServiceName>, bool, [Option<Digest>; 2]);

/// All that is said of a change but its nodes.
type Said = (
    (Option<EnvironmentName>, ServiceName, ChangeKind),
    (Option<ServiceName>, bool),
    (Vec<Reason>, Vec<FileChange>),
    (BTreeMap<Arc<str>, Effect>, Vec<NewCapability>, Vec<Arc<str>>),
);

/// The changes of all pairs, in order.
pub(super) fn folded<'a>(
    pairs: &[Pair<'a>],
    (old, new): (&Side<'a>, &Side<'a>),
    environment_of: impl Fn(&NodeName) -> Option<&'a EnvironmentName>,
    sensitive: &Sensitive,
) -> Vec<Change> {
    let digest = |stand: &Option<Stand<'_>>| stand.map(|stand| stand.ensure.digest);
    let mut groups: BTreeMap<Key<'_>, Vec<Vec<&Pair<'a>>>> = BTreeMap::new();
    for pair in pairs {
        let values = [digest(&pair.before), digest(&pair.after)];
        let key = (environment_of(pair.node), pair.service(), pair.old_name(), pair.from.is_some(), values);
        let groups = groups.entry(key).or_default();
        match groups.iter_mut().find(|group| is_alike(group[0], pair)) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    let mut said: BTreeMap<Said, Vec<&Pair<'a>>> = BTreeMap::new();
    for ((environment, ..), groups) in groups {
        for group in groups {
            let about = say(group[0], environment, (old, new), sensitive);
            said.entry(about).or_default().extend(group);
        }
    }
    let mut changes: Vec<Change> =
        said.into_iter().map(|(said, pairs)| change(said, pairs, old, new)).collect();
    changes.sort_by(|one, other| order(one).cmp(&order(other)));
    changes
}

fn order(change: &Change) -> (&Option<EnvironmentName>, &[NodeName], &ServiceName, ChangeKind) {
    (&change.environment, &change.nodes, &change.service, change.kind)
}

/// Whether the same is said of both, which have the same key. Where no definition is known that they come from, they are
/// told one by one.
fn is_alike(one: &Pair<'_>, other: &Pair<'_>) -> bool {
    let is_same = |one: Option<Stand<'_>>, other: Option<Stand<'_>>| {
        one.zip(other).is_none_or(|(one, other)| {
            let instances = one.instance.zip(other.instance);
            let same_instance = instances.is_some_and(|(one, other)| Arc::ptr_eq(one, other));
            std::ptr::eq(one.ensure, other.ensure) || (same_instance && one.is_same(&other))
        })
    };
    is_same(one.before, other.before) && is_same(one.after, other.after)
}

/// What is said of one pair, and of all that are like it.
fn say(
    pair: &Pair<'_>,
    environment: Option<&EnvironmentName>,
    (old, new): (&Side<'_>, &Side<'_>),
    sensitive: &Sensitive,
) -> Said {
    let [before, after] = [pair.before, pair.after].map(|stand| stand.map(Opened::from));
    let (before, after) = (before.as_ref(), after.as_ref());
    // What moves is made anew, unless it is the same project under another name.
    let stays = before.filter(|_| !pair.has_moved() || pair.keeps_project());
    let effects = effects::of_opened(stays, after);
    let is_recreated = effects.values().any(|effect| *effect == Effect::Recreate);
    let kind = match (before, after) {
        (_, None) => ChangeKind::Remove,
        (None, _) => ChangeKind::Create,
        _ if pair.has_moved() => ChangeKind::Move,
        _ if is_recreated => ChangeKind::Recreate,
        _ => ChangeKind::Update,
    };
    let volumes = |side: &Opened<'_>| side.ensure.volumes_of(side.model());
    let still = stays.and(after).map(volumes).unwrap_or_default();
    let mut volumes = before.map(volumes).unwrap_or_default();
    volumes.retain(|volume| !still.contains(volume));
    let because = because((before, after), (old, new), sensitive);
    let files = match (before, after) {
        (Some(before), Some(after)) => files::changed(Some(before), after, sensitive),
        _ => Vec::new(),
    };
    let capabilities = new_capabilities(pair, old, sensitive);
    (
        (environment.cloned(), pair.service().clone(), kind),
        (pair.old_name().cloned(), pair.from.is_some()),
        (because, files),
        (effects, capabilities, volumes),
    )
}

/// The fields that differ. What leaves a node says so once its nodes are known.
fn because(
    (before, after): (Option<&Opened<'_>>, Option<&Opened<'_>>),
    (old, new): (&Side<'_>, &Side<'_>),
    sensitive: &Sensitive,
) -> Vec<Reason> {
    let Some(after) = after else { return Vec::new() };
    let Some(instance) = after.instance else { return after.ensure.because.clone() };
    let is = (after, instance, new.desired);
    let Some(before) = before else { return reasons::first_fields(is, sensitive) };
    let was = before.instance.map(|was| (old.desired, was));
    let mut because = reasons::of_model((before, was), is, sensitive);
    // The name in the model is that of the project, which is told with the settings.
    because.retain(|reason| &*reason.field != "name");
    because.extend(reasons::of_settings(before, after, instance, sensitive));
    because
}

/// Where it is not known what stands, the definitions that it came from tell; and where those do not, all is new.
fn new_capabilities(pair: &Pair<'_>, old: &Side<'_>, sensitive: &Sensitive) -> Vec<NewCapability> {
    let known = |before: Stand<'_>| {
        let instance = before.instance.or_else(|| old.desired.instance(pair.node, &before.ensure.service));
        instance.map(|instance| instance.capabilities.clone())
    };
    let before = pair.before.and_then(known).unwrap_or_default();
    let after = pair.after.and_then(|after| after.instance).map(|instance| instance.capabilities.clone());
    let is_new = |used: &&Used| !before.iter().any(|old| old.capability == used.capability);
    after.unwrap_or_default().iter().filter(is_new).map(|used| new_capability(used, sensitive)).collect()
}

fn new_capability(used: &Used, sensitive: &Sensitive) -> NewCapability {
    let grant = used.grant.as_ref();
    NewCapability {
        capability: used.capability.to_string().into(),
        granted_by: grant.map(|grant| grant.path.clone()),
        reason: grant.map(|grant| sensitive.redacted(&grant.reason).into()),
        until: grant.and_then(|grant| grant.until).map(|day| day.to_string().into()),
    }
}

fn change(said: Said, mut pairs: Vec<&Pair<'_>>, old: &Side<'_>, new: &Side<'_>) -> Change {
    pairs.sort_by_key(|pair| pair.node);
    let nodes: Vec<NodeName> = pairs.iter().map(|pair| pair.node.clone()).collect();
    let left: Vec<NodeName> = pairs.iter().filter_map(|pair| pair.from.cloned()).collect();
    let (
        (environment, service, kind),
        (old_name, _),
        (mut because, files),
        (effects, capabilities, volumes_kept),
    ) = said;
    if matches!(kind, ChangeKind::Remove | ChangeKind::Move) {
        let gone = if left.is_empty() { &nodes } else { &left };
        because.insert(0, departure(&service, old_name.as_ref(), gone, old, new));
    }
    let is_origin = old_name.is_some() || !left.is_empty();
    let from = is_origin.then_some(Origin { service: old_name, nodes: left });
    Change { environment, nodes, service, kind, from, because, files, effects, capabilities, volumes_kept }
}

/// Why a service leaves nodes: it is not defined any more, it has another name, they are not named any more, or others
/// were chosen.
fn departure(
    service: &ServiceName,
    old_name: Option<&ServiceName>,
    gone: &[NodeName],
    old: &Side<'_>,
    new: &Side<'_>,
) -> Reason {
    let stood = old_name.unwrap_or(service);
    let before = old.desired.services.get(stood);
    match (new.desired.services.get(service), old_name) {
        (Some(service), None) => {
            let is_new = |node: &NodeName| before.is_none_or(|before| !before.instances.contains_key(node));
            reasons::displacement(gone, service, is_new)
        }
        (still, _) => Reason {
            field: "service".into(),
            old: Some(stood.as_str().into()),
            new: still.map(|still| still.entry.service().service.as_str().into()),
            source: still.or(before).map(|service| service.entry.path().clone()),
        },
    }
}
