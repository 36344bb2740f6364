//! What changes in features and controls, and which services that concerns.
//!
//! A feature is part of every service that uses it, and a control asks something of every service that must meet it: a
//! change of one line there may change the whole fleet, or only what is said of it. So both are told for themselves, with
//! all the services behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::document::{ControlChange, FeatureChange, Turn};
use super::fields::{self, FieldChange};
use super::{Selection, Side};
use crate::align::{aligned, differing};
use crate::catalog::Catalog;
use crate::definition::{Feature, Located};
use crate::desired::Desired;
use crate::govern::{self, Answer, Compliance};
use crate::name::{ControlName, EnvironmentName, FeatureName, ServiceName};
use crate::plan::Reason;
use crate::sensitive::Sensitive;
use crate::tree::Tree;
use crate::yaml::{Step, Text};

/// The fields of gitops.toml that differ: what is asked of all, and who may do what.
pub(super) fn settings(old: &Side<'_>, new: &Side<'_>, sensitive: &Sensitive) -> Vec<Reason> {
    // Where there were none, all of it is new, and says so in what it does.
    if *old.catalog.settings == *new.catalog.settings || old.catalog.tree.get(SETTINGS).is_none() {
        return Vec::new();
    }
    let read = |side: &Side<'_>| {
        let text =
            side.catalog.tree.get(SETTINGS).and_then(|entry| entry.content.clone()).unwrap_or_default();
        let table = std::str::from_utf8(&text).ok().and_then(|text| toml::from_str::<toml::Table>(text).ok());
        serde_json::to_value(table.unwrap_or_default()).unwrap_or_default()
    };
    let reason = |change: FieldChange| {
        let steps: Vec<Step<'_>> = change.path.iter().map(step).collect();
        let side = if change.new.is_some() { new } else { old };
        let place = side.catalog.settings_place(&steps);
        let source = Some(line(&place.path, place.line));
        Reason { field: change.path.join(".").into(), old: change.old, new: change.new, source }
    };
    let (was, is) = (read(old), read(new));
    fields::changed(&was, &is, &sensitive.knowing([&was, &is], [])).into_iter().map(reason).collect()
}

const SETTINGS: &str = "gitops.toml";

/// The features that differ, each with the services that use it.
pub(super) fn features(
    old: &Side<'_>,
    new: &Side<'_>,
    selection: &Selection<'_>,
    sensitive: &Sensitive,
) -> Vec<FeatureChange> {
    let mut changes = Vec::new();
    for (name, before, after) in aligned(&old.catalog.features, &new.catalog.features) {
        let mut because = of_definition("feature", name.as_str(), [(old, before), (new, after)], sensitive);
        if let Some((before, after)) = before.zip(after) {
            because.extend(of_overlay(before, after, (old, new), sensitive));
        }
        if !because.is_empty() {
            let mut services = users(old.desired, name);
            services.extend(users(new.desired, name));
            services.retain(|service| selection.has_service(service));
            let services: Vec<ServiceName> = services.into_iter().collect();
            if selection.is_everything() || !services.is_empty() {
                changes.push(FeatureChange { feature: name.clone(), because, services });
            }
        }
    }
    changes
}

fn users(desired: &Desired, feature: &FeatureName) -> BTreeSet<ServiceName> {
    let uses = |(name, service): (&ServiceName, &Arc<crate::desired::ServiceInstances>)| {
        let is_used = service.instances.values().any(|instance| instance.uses.contains_key(feature));
        is_used.then(|| name.clone())
    };
    desired.services.iter().filter_map(uses).collect()
}

/// The fields of a definition, or that there is one now, or none any more.
fn of_definition<T: PartialEq>(
    kind: &str,
    name: &str,
    [(old, before), (new, after)]: [(&Side<'_>, Option<&Located<T>>); 2],
    sensitive: &Sensitive,
) -> Vec<Reason> {
    let whole = |old: Option<&str>, new: Option<&str>, path: &Arc<str>| {
        let [old, new] = [old, new].map(|name| name.map(Arc::from));
        vec![Reason { field: kind.into(), old, new, source: Some(path.clone()) }]
    };
    match (before, after) {
        (None, Some(after)) => whole(None, Some(name), &after.path),
        (Some(before), None) => whole(Some(name), None, &before.path),
        (Some(before), Some(after)) if before.value != after.value => {
            let [was, is] = [document(&old.catalog.tree, before), document(&new.catalog.tree, after)];
            let place_of = new.catalog.places(after);
            let reason = |change: FieldChange| {
                let steps: Vec<Step<'_>> = change.path.iter().map(step).collect();
                let place = change.new.is_some().then(|| place_of(&steps));
                let source = place.map_or_else(|| after.path.clone(), |place| line(&place.path, place.line));
                Reason {
                    field: change.path.join(".").into(),
                    old: change.old,
                    new: change.new,
                    source: Some(source),
                }
            };
            fields::changed(&was, &is, &sensitive.knowing([&was, &is], [])).into_iter().map(reason).collect()
        }
        (_, _) => Vec::new(),
    }
}

/// A number is the item of a list.
fn step(key: &Arc<str>) -> Step<'_> {
    key.parse().map_or_else(|_| Step::Key(key), Step::Item)
}

fn line(path: &Arc<str>, line: u32) -> Arc<str> {
    if line == 0 { path.clone() } else { format!("{path}:{line}").into() }
}

/// What was written, as a value; nothing where it cannot be read again.
fn document<T>(tree: &Tree, definition: &Located<T>) -> Value {
    let read = || {
        let content = tree.get(&definition.path)?.content.as_deref()?;
        let documents = Text::new(&definition.path, content).ok()?.documents().ok()?;
        serde_json::to_value(&documents.iter().find(|one| one.number == definition.document)?.value).ok()
    };
    read().unwrap_or_default()
}

/// The fields of the Compose file that a feature merges over its services.
fn of_overlay(
    before: &Located<Feature>,
    after: &Located<Feature>,
    (old, new): (&Side<'_>, &Side<'_>),
    sensitive: &Sensitive,
) -> Vec<Reason> {
    let overlay = |catalog: &Catalog, feature: &Located<Feature>| {
        let overlay = catalog.overlay(&feature.value)?;
        Some((serde_json::to_value(&*overlay.value).ok()?, overlay.path.clone()))
    };
    let (was, is) = (overlay(old.catalog, before), overlay(new.catalog, after));
    let Some(((was, _), (is, path))) = was.zip(is) else { return Vec::new() };
    let reason = |change: FieldChange| {
        let field = format!("overlay {}", change.path.join("."));
        Reason { field: field.into(), old: change.old, new: change.new, source: Some(path.clone()) }
    };
    fields::changed(&was, &is, &sensitive.knowing([&was, &is], [])).into_iter().map(reason).collect()
}

/// How services stand to controls, by control, service and environment.
pub(super) type Standings = BTreeMap<(ControlName, ServiceName, Option<EnvironmentName>), Compliance>;

/// How the services that may stand in another way stand before and after.
pub(super) fn standings(
    old: &Side<'_>,
    new: &Side<'_>,
    now: Timestamp,
    selection: &Selection<'_>,
) -> [Standings; 2] {
    let entries = differing(&old.catalog.services, &new.catalog.services).map(|(name, ..)| name);
    let instances = differing(&old.desired.services, &new.desired.services).map(|(name, ..)| name);
    let changed: Option<BTreeSet<&ServiceName>> =
        old.catalog.same_ground(new.catalog).then(|| entries.chain(instances).collect());
    let is_meant = |name: &ServiceName| {
        selection.has_service(name) && changed.as_ref().is_none_or(|changed| changed.contains(name))
    };
    [old, new].map(|side| {
        let rows = govern::compliance(side.catalog, side.desired, now, is_meant);
        rows.into_iter()
            .map(|row| ((row.control.clone(), row.service.clone(), row.environment.clone()), row))
            .collect()
    })
}

/// The controls that differ, or that services stand to in another way.
pub(super) fn controls(
    old: &Side<'_>,
    new: &Side<'_>,
    [before, after]: &[Standings; 2],
    selection: &Selection<'_>,
    sensitive: &Sensitive,
) -> Vec<ControlChange> {
    let mut turns: BTreeMap<&ControlName, Vec<Turn>> = BTreeMap::new();
    for ((control, service, environment), before, after) in aligned(before, after) {
        let answer = |row: Option<&Compliance>| row.map(|row| Arc::from(row.answer.as_str()));
        let (before, after) = (answer(before), answer(after));
        // What is new and right, and what is gone, says so itself.
        let [stood, stands] = [old, new].map(|side| side.catalog.services.contains_key(service));
        let is_plain = !stands || !stood && after.as_deref() == Some(Answer::Met.as_str());
        if before != after && !is_plain {
            let (service, environment) = (service.clone(), environment.clone());
            turns.entry(control).or_default().push(Turn { service, environment, before, after });
        }
    }
    let mut changes = Vec::new();
    for (name, before, after) in aligned(&old.catalog.controls, &new.catalog.controls) {
        let because = of_definition("control", name.as_str(), [(old, before), (new, after)], sensitive);
        let services = turns.remove(name).unwrap_or_default();
        if !services.is_empty() || !because.is_empty() && selection.is_everything() {
            changes.push(ControlChange { control: name.clone(), because, services });
        }
    }
    changes
}
