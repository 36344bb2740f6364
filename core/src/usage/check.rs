//! Mistakes in features themselves: replacements that lead in a circle or nowhere, paths that find nothing or everything,
//! needs that no node meets.

use std::collections::BTreeSet;

use super::node::offered_by;
use crate::catalog::Catalog;
use crate::definition::{Feature, FeatureState, Located, Needs, Part, Service, ValuePath};
use crate::diagnostic::Diagnostic;
use crate::name::FeatureName;
use crate::yaml::{Step, closest};

/// What is wrong with the features, whoever uses them.
pub fn check_ground(catalog: &Catalog) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        catalog.features.values().flat_map(|feature| check(catalog, feature)).collect();
    found.extend(circles(catalog));
    found
}

fn check(catalog: &Catalog, feature: &Located<Feature>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    found.extend(replaced_by_nothing(catalog, feature));
    found.extend(needs(catalog, feature));
    // Where items of a list are broken, the others are not at their numbers.
    let paths = feature.value.used_by.iter().enumerate().filter(|_| !feature.broken.contains("used_by"));
    for (index, wanted) in paths {
        let place = || catalog.place(feature, &[Step::Key("used_by"), Step::Item(index), Step::Key("path")]);
        if let Some(meant) = misspelt(&wanted.path) {
            let path = &wanted.path;
            let message =
                format!("`{}` is neither a field of service.yaml nor of a Compose file", path.first());
            let help = format!(
                "did you mean `{meant}`? For an extension field of Compose files, write `x-{}`",
                path.first()
            );
            found.push(Diagnostic::error("unknown-path", place(), message).help(help));
        }
        if wanted.value.is_none() && is_everywhere(&wanted.path) {
            let message = format!("every service has `{}`, so every service would use this", wanted.path);
            let help = "name a field that only those have which use it, or what must be there as `value`";
            found.push(Diagnostic::error("path-fits-all", place(), message).help(help));
        }
    }
    found
}

/// The fields at the top of a Compose model.
const SECTIONS: [&str; 7] = ["configs", "models", "name", "networks", "secrets", "services", "volumes"];

/// What was probably meant by the first key of a path that would be looked for among extensions.
fn misspelt(path: &ValuePath) -> Option<&'static str> {
    let first = path.first();
    let known = Service::FIELDS.into_iter().chain(SECTIONS);
    let is_known = first.starts_with("x-") || known.clone().any(|name| name == first);
    closest(first, known.filter(|_| !is_known))
}

/// Whether it is in every definition, or in every model.
fn is_everywhere(path: &ValuePath) -> bool {
    matches!(path.parts(), [Part::Key(key)] if ["name", "service", "services"].contains(&&**key))
        || matches!(path.parts(), [Part::Key(key), Part::Any] if &**key == "services")
}

fn needs(catalog: &Catalog, feature: &Located<Feature>) -> Option<Diagnostic> {
    if feature.broken.contains("needs") {
        return None;
    }
    let Feature { feature: name, needs, state, .. } = &feature.value;
    if needs.labels.as_ref().is_some_and(|labels| labels.is_empty()) {
        let place = catalog.place(feature, &[Step::Key("needs"), Step::Key("labels")]);
        let message = format!("the labels that feature `{name}` needs are none, which no node fits");
        let help = "name a label, such as `{gpu: \"*\"}`, or remove `labels`";
        return Some(Diagnostic::error("empty-selector", place, message).help(help));
    }
    let asks = *needs != Needs::default() && state.is_available();
    (asks && !catalog.nodes.is_empty() && offered_by(catalog, &feature.value).is_empty()).then(|| {
        let place = catalog.place(feature, &[Step::Key("needs")]);
        let message = format!("feature `{name}` is {}, but no node offers it", state.as_str());
        Diagnostic::warning("feature-nowhere", place, message)
            .note(format!("`gitops features check {name}` says what each node lacks"))
            .help("give a node what the feature needs, in nodes/; or write `state: planned` until one has it")
    })
}

/// A replacement that is no better than what it replaces.
fn replaced_by_nothing(catalog: &Catalog, feature: &Located<Feature>) -> Option<Diagnostic> {
    let name = feature.value.replaced_by.as_ref()?;
    let replacement = &catalog.features.get(name)?.value;
    (replacement.state == FeatureState::Removed && *name != feature.value.feature).then(|| {
        let place = catalog.place(feature, &[Step::Key("replaced_by")]);
        let message =
            format!("feature `{}` is replaced by `{name}`, which was removed", feature.value.feature);
        let help = match &replacement.replaced_by {
            Some(next) => format!("name what replaces that: `replaced_by: {next}`"),
            None => "name a feature that is there".to_owned(),
        };
        Diagnostic::warning("replacement-removed", place, message).help(help)
    })
}

/// Each circle of `replaced_by`, as a path, at its last step.
fn circles(catalog: &Catalog) -> Vec<Diagnostic> {
    let next = |name: &FeatureName| catalog.features.get(name)?.value.replaced_by.as_ref();
    let mut done: BTreeSet<&FeatureName> = BTreeSet::new();
    let mut found = Vec::new();
    for start in catalog.features.keys() {
        let (mut way, mut on_way) = (Vec::new(), BTreeSet::new());
        let mut name = Some(start);
        while let Some(here) = name.filter(|name| !done.contains(name)) {
            if !on_way.insert(here) {
                found.extend(circle(catalog, &way, here));
                break;
            }
            way.push(here);
            name = next(here);
        }
        done.extend(way);
    }
    found
}

fn circle(catalog: &Catalog, way: &[&FeatureName], back_to: &FeatureName) -> Option<Diagnostic> {
    let start = way.iter().position(|name| *name == back_to)?;
    let members: Vec<&str> = way[start..].iter().map(|name| name.as_str()).collect();
    let place = catalog.place(catalog.features.get(*way.last()?)?, &[Step::Key("replaced_by")]);
    let message = format!("features replace each other in a circle: {} → {back_to}", members.join(" → "));
    let help = "remove one `replaced_by`: the feature at the end is what people should use";
    Some(Diagnostic::error("replacement-cycle", place, message).help(help))
}
