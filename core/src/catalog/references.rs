//! Do names lead somewhere? References between definitions, and cycles among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::environments::layers;
use super::{Catalog, ServiceEntry, placement, services};
use crate::align::differing;
use crate::definition::{Located, Node};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, EnvironmentName, FeatureName, NodeName, ServiceName};
use crate::yaml::{Step, suggestion};

/// References of nodes, features and controls.
pub(super) fn check_ground(catalog: &Catalog) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for feature in catalog.features.values() {
        let replacement = feature.value.replaced_by.iter();
        for name in replacement.filter(|name| !has_feature(catalog, name)) {
            found.push(unknown_feature(catalog, name, catalog.place(feature, &[Step::Key("replaced_by")])));
        }
        found.extend(missing_overlay(catalog, feature));
    }
    found.extend(catalog.nodes.values().filter_map(|node| reserved_label(catalog, node)));
    for control in catalog.controls.values() {
        let fields = [("requires", &control.value.requires), ("optional", &control.value.optional)];
        for (field, names) in fields {
            for (index, name) in unknown(names, |name| has_feature(catalog, name)) {
                let place = catalog.place(control, &[Step::Key(field), Step::Item(index)]);
                found.push(unknown_feature(catalog, name, place));
            }
        }
        for (index, name) in unknown(&control.value.depends_on, |name| has_control(catalog, name)) {
            let place = catalog.place(control, &[Step::Key("depends_on"), Step::Item(index)]);
            found.push(unknown_control(catalog, name.as_str(), place));
        }
    }
    found.extend(catalog.nodes.values().flat_map(|node| placement::check_node(catalog, node)));
    let defaults = &catalog.settings.defaults;
    for (index, name) in
        unknown(defaults.features.as_deref().unwrap_or_default(), |name| has_feature(catalog, name))
    {
        found.push(unknown_feature(catalog, name, catalog.default_place("features", index)));
    }
    for (index, name) in
        unknown(defaults.controls.as_deref().unwrap_or_default(), |name| has_control(catalog, name))
    {
        found.push(unknown_control(catalog, name.as_str(), catalog.default_place("controls", index)));
    }
    found
}

/// A label that would pass one node off as another.
fn reserved_label(catalog: &Catalog, node: &Located<Node>) -> Option<Diagnostic> {
    let label = Node::NAME;
    node.value.labels.get(label)?;
    let place = catalog.place(node, &[Step::Key("labels"), Step::Key(label)]);
    let message = format!("`{label}` is no label that can be given: it stands for the name of the node");
    Some(Diagnostic::error("reserved-label", place, message).help("call it otherwise, or take it out"))
}

fn missing_overlay(catalog: &Catalog, feature: &Located<crate::definition::Feature>) -> Option<Diagnostic> {
    let overlay = feature.value.overlay.as_ref()?;
    let path = format!("features/{overlay}");
    let place = || catalog.place(feature, &[Step::Key("overlay")]);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let diagnostic = Diagnostic::error(
            "path-leaves-folder",
            place(),
            format!("`{overlay}` is not a path below features/"),
        );
        return Some(diagnostic.help("name a file below features/, such as `overlays/audit.yaml`"));
    }
    if catalog.tree.get(&path).is_some() {
        return None;
    }
    let diagnostic = Diagnostic::error("file-not-found", place(), format!("there is no file `{path}`"));
    Some(diagnostic.help("create it, or remove `overlay`"))
}

/// References of services, and cycles of `depends_on`. `previous` is a catalog without mistakes: an entry that it has
/// too, on the same ground and among services of the same names, was checked then.
pub(super) fn check(catalog: &Catalog, previous: Option<&Catalog>) -> Vec<Diagnostic> {
    let same_ground = previous.filter(|before| before.same_ground(catalog));
    let new: Option<Vec<(&ServiceName, &Arc<ServiceEntry>)>> = same_ground.and_then(|before| {
        let differing = differing(&before.services, &catalog.services);
        differing.map(|(name, old, new)| old.and(new).map(|entry| (name, entry))).collect()
    });
    let new = new.unwrap_or_else(|| catalog.services.iter().collect());
    let mut found: Vec<Diagnostic> =
        new.iter().flat_map(|(_, entry)| check_service(catalog, entry)).collect();
    // A new circle goes through a new entry.
    found.extend(cycles(catalog, new.iter().map(|(name, _)| *name)));
    found
}

fn check_service(catalog: &Catalog, entry: &ServiceEntry) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let service = entry.service();
    let place = super::places(&catalog.tree, &entry.definition);
    for layer in layers(service) {
        let is_node = |name: &NodeName| catalog.unread.nodes || catalog.nodes.contains_key(name);
        for (index, name) in unknown(layer.nodes, is_node) {
            let known = catalog.nodes.keys().map(|name| name.as_str());
            let place = place(&layer.steps(&["place", "nodes"], index));
            found.push(unknown_name("node", name.as_str(), known, "nodes/", place));
        }
        for (index, name) in unknown(layer.features, |name| has_feature(catalog, name)) {
            found.push(unknown_feature(catalog, name, place(&layer.steps(&["features"], index))));
        }
        for (index, name) in unknown(layer.controls, |name| has_control(catalog, name)) {
            found.push(unknown_control(catalog, name.as_str(), place(&layer.steps(&["controls"], index))));
        }
    }
    found.extend(entry.deployments.iter().filter_map(|deployment| {
        let at = || catalog.deployment_place(entry, deployment, &[Step::Key("place"), Step::Key("slot")]);
        placement::unknown_slot(catalog, &deployment.service.place, at)
    }));
    let environments = service.environments.iter().flat_map(|environments| environments.keys());
    let is_defined = |name: &EnvironmentName| catalog.settings.environments.contains_key(name);
    let unknown_ones = environments.filter(|name| !catalog.unread.settings && !is_defined(name));
    for name in unknown_ones.take(super::MAX_OF_A_KIND) {
        let place = place(&[Step::Key("environments"), Step::Key(name.as_str())]);
        found.push(unknown_environment(catalog, name, place));
    }
    for (index, name) in unknown(&service.depends_on, |name| has_service(catalog, name)) {
        let place = place(&[Step::Key("depends_on"), Step::Item(index)]);
        found.push(unknown_service(catalog, name, place));
    }
    found
}

/// A service that is there and has mistakes was not read: those mistakes are told, not that there is none. So is a link.
pub(super) fn has_service(catalog: &Catalog, name: &ServiceName) -> bool {
    let folder = || format!("services/{name}");
    catalog.services.contains_key(name)
        || catalog.tree.is_folder(&folder())
        || catalog.tree.get(&folder()).is_some()
}

pub(super) fn unknown_service(catalog: &Catalog, name: &ServiceName, place: Place) -> Diagnostic {
    unknown_name("service", name.as_str(), services::names(&catalog.services), "services/", place)
}

/// Whether it is there, or may be: in a file that could not be read.
fn has_feature(catalog: &Catalog, name: &FeatureName) -> bool {
    catalog.unread.features || catalog.features.contains_key(name)
}

fn has_control(catalog: &Catalog, name: &ControlName) -> bool {
    catalog.unread.controls || catalog.controls.contains_key(name)
}

fn unknown<T>(names: &[T], is_known: impl Fn(&T) -> bool) -> impl Iterator<Item = (usize, &T)> {
    names.iter().enumerate().filter(move |(_, name)| !is_known(name)).take(super::MAX_OF_A_KIND)
}

fn unknown_name<'a>(
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    folder: &str,
    place: Place,
) -> Diagnostic {
    let code = match kind {
        "node" => "unknown-node",
        "feature" => "unknown-feature",
        "control" => "unknown-control",
        _ => "unknown-service",
    };
    let otherwise = format!("define it in {folder}, or remove the name here");
    Diagnostic::error(code, place, format!("there is no {kind} `{name}`"))
        .help(suggestion(name, known, &otherwise))
}

pub(super) fn unknown_environment(catalog: &Catalog, name: &EnvironmentName, place: Place) -> Diagnostic {
    let known = catalog.settings.environments.keys().map(EnvironmentName::as_str);
    let otherwise = format!("define `[environments.{name}]` in gitops.toml, or remove the name here");
    Diagnostic::error("unknown-environment", place, format!("there is no environment `{name}`"))
        .help(suggestion(name.as_str(), known, &otherwise))
}

fn unknown_feature(catalog: &Catalog, name: &FeatureName, place: Place) -> Diagnostic {
    unknown_name(
        "feature",
        name.as_str(),
        catalog.features.keys().map(FeatureName::as_str),
        "features/",
        place,
    )
}

fn unknown_control(catalog: &Catalog, name: &str, place: Place) -> Diagnostic {
    unknown_name("control", name, catalog.controls.keys().map(|name| name.as_str()), "controls/", place)
}

/// Each circle of `depends_on` that can be reached from these services, as a path.
fn cycles<'a>(catalog: &'a Catalog, from: impl Iterator<Item = &'a ServiceName>) -> Vec<Diagnostic> {
    let mut colours: BTreeMap<&ServiceName, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for name in from {
        search(catalog, name, &mut Vec::new(), &mut colours, &mut found);
    }
    found
}

/// Depth first. A service is `false` while it is on the path and `true` when all below it was seen. Its own stack,
/// not the thread's: ten thousand services may form one chain.
fn search<'a>(
    catalog: &'a Catalog,
    start: &'a ServiceName,
    path: &mut Vec<(&'a ServiceName, usize)>,
    colours: &mut BTreeMap<&'a ServiceName, bool>,
    found: &mut Vec<Diagnostic>,
) {
    if colours.contains_key(start) {
        return;
    }
    colours.insert(start, false);
    path.push((start, 0));
    while let Some((name, next)) = path.last_mut() {
        let dependencies =
            catalog.services.get(*name).map(|entry| &*entry.service().depends_on).unwrap_or_default();
        let Some(dependency) = dependencies.get(*next) else {
            colours.insert(name, true);
            path.pop();
            continue;
        };
        *next += 1;
        match colours.get(dependency) {
            Some(true) => {}
            Some(false) => found.extend(cycle(catalog, path, dependency)),
            None if catalog.services.contains_key(dependency) => {
                colours.insert(dependency, false);
                path.push((dependency, 0));
            }
            None => {}
        }
    }
}

fn cycle(catalog: &Catalog, path: &[(&ServiceName, usize)], back_to: &ServiceName) -> Option<Diagnostic> {
    let start = path.iter().position(|(name, _)| *name == back_to)?;
    let members: Vec<&str> = path[start..].iter().map(|(name, _)| name.as_str()).collect();
    let (last, next) = path.last()?;
    let entry = catalog.services.get(*last)?;
    let place = catalog.place(&entry.definition, &[Step::Key("depends_on"), Step::Item(next - 1)]);
    let message = format!("services depend on each other in a circle: {} → {back_to}", members.join(" → "));
    Some(Diagnostic::error("dependency-cycle", place, message).help("remove one of these dependencies"))
}
