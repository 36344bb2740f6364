//! What the state of a feature means for the services that use it. The behaviour of each state is fixed.

use crate::catalog::{Catalog, ServiceEntry};
use crate::definition::{Feature, FeatureState};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::FeatureName;
use crate::yaml::Step;

/// One finding for each used feature whose state has something to say.
pub(super) fn findings(catalog: &Catalog, entry: &ServiceEntry) -> Vec<Diagnostic> {
    let used = entry.features(&catalog.settings).iter().enumerate();
    let known = used.filter_map(|(index, name)| Some((index, name, &catalog.features.get(name)?.value)));
    known.filter_map(|(index, name, feature)| finding(catalog, entry, index, name, feature)).collect()
}

fn finding(
    catalog: &Catalog,
    entry: &ServiceEntry,
    index: usize,
    name: &FeatureName,
    feature: &Feature,
) -> Option<Diagnostic> {
    let service = &entry.service().service;
    let place = || place(catalog, entry, index);
    let replacement = feature.replaced_by.as_ref();
    let instead = replacement.map(|other| format!("use `{other}` instead"));
    match feature.state {
        FeatureState::Implemented => None,
        FeatureState::Experimental => {
            let message = format!("service `{service}` uses feature `{name}`, which is experimental");
            Some(Diagnostic::warning("feature-experimental", place(), message).note("it may change or go"))
        }
        FeatureState::Planned => {
            let message = format!("service `{service}` uses feature `{name}`, which is only planned");
            let target = feature
                .target_version
                .as_ref()
                .map_or("no date or version is set".into(), |target| format!("planned for {target}"));
            Some(
                Diagnostic::warning("feature-planned", place(), message)
                    .note(target)
                    .note("nothing is added to the service"),
            )
        }
        FeatureState::Deprecated => {
            let date = feature.remove_after.as_ref();
            let end =
                date.map_or("the date of removal is not set".into(), |date| format!("it goes after {date}"));
            let message = format!("service `{service}` uses feature `{name}`, which is deprecated");
            let diagnostic = Diagnostic::warning("feature-deprecated", place(), message).note(end);
            Some(diagnostic.help(
                instead.unwrap_or_else(|| "no replacement is named: ask the owner of the feature".into()),
            ))
        }
        FeatureState::Removed => {
            let message = format!("service `{service}` uses feature `{name}`, which was removed");
            let help = instead.unwrap_or_else(|| format!("remove `{name}` from `features:`"));
            Some(Diagnostic::error("feature-removed", place(), message).help(help))
        }
    }
}

/// Where the service names the feature; or, where the defaults do, the defaults.
fn place(catalog: &Catalog, entry: &ServiceEntry, index: usize) -> Place {
    match entry.service().features {
        Some(_) => catalog.place(&entry.definition, &[Step::Key("features"), Step::Item(index)]),
        None => catalog.default_place("features", index),
    }
}
