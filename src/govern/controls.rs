//! Whether a service meets its controls, requirement by requirement.

use crate::catalog::{Catalog, ServiceEntry};
use crate::definition::Control;
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, FeatureName};
use crate::yaml::Step;

/// How one required feature stands for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    Met,
    /// Available, and the service does not use it.
    NotUsed,
    /// The service uses it, and its state says that it is not there.
    NotAvailable,
    /// Neither.
    Neither,
}

/// One finding for each control that the service does not meet.
pub(super) fn findings(catalog: &Catalog, entry: &ServiceEntry) -> Vec<Diagnostic> {
    let asked = entry.controls(&catalog.settings).iter().enumerate();
    let known = asked.filter_map(|(index, name)| {
        Some((index, name, &catalog.controls.get(name).filter(|control| control.broken.is_empty())?.value))
    });
    known.filter_map(|(index, name, control)| finding(catalog, entry, index, (name, control))).collect()
}

fn finding(
    catalog: &Catalog,
    entry: &ServiceEntry,
    index: usize,
    (name, control): (&ControlName, &Control),
) -> Option<Diagnostic> {
    let standing: Vec<(&FeatureName, Requirement)> =
        control.requires.iter().map(|feature| (feature, requirement(catalog, entry, feature))).collect();
    let mut unmet = standing.iter().filter(|(_, requirement)| *requirement != Requirement::Met);
    let (first, _) = unmet.next()?;
    let more = unmet.count();
    let service = &entry.service().service;
    let message =
        format!("control `{name}` ({}) is not met by service `{service}`", control.enforcement.as_str());
    let label = match more {
        0 => format!("requires feature `{first}`"),
        more => format!("requires feature `{first}` and {more} more"),
    };
    let place = place(catalog, entry, index);
    let mut diagnostic =
        Diagnostic::new(control.enforcement.severity(), "control-not-satisfied", place, message).label(label);
    for (feature, requirement) in &standing {
        diagnostic = diagnostic.note(line(feature, *requirement));
    }
    Some(match fix(&standing, entry) {
        Some(fix) => diagnostic.help(fix),
        None => diagnostic,
    })
}

fn requirement(catalog: &Catalog, entry: &ServiceEntry, feature: &FeatureName) -> Requirement {
    let used = entry.features(&catalog.settings).contains(feature);
    let available = catalog.features.get(feature).is_some_and(|feature| feature.value.state.is_available());
    match (used, available) {
        (true, true) => Requirement::Met,
        (false, true) => Requirement::NotUsed,
        (true, false) => Requirement::NotAvailable,
        (false, false) => Requirement::Neither,
    }
}

fn line(feature: &FeatureName, requirement: Requirement) -> String {
    match requirement {
        Requirement::Met => format!("✓ {feature}   used, available"),
        Requirement::NotUsed => format!("✗ {feature}   available, but not used by this service"),
        Requirement::NotAvailable => format!("✗ {feature}   used, but not available"),
        Requirement::Neither => format!("✗ {feature}   not available, and not used by this service"),
    }
}

fn fix(standing: &[(&FeatureName, Requirement)], entry: &ServiceEntry) -> Option<String> {
    let unused = standing.iter().filter(|(_, requirement)| *requirement == Requirement::NotUsed);
    let names: Vec<String> = unused.map(|(feature, _)| format!("`{feature}`")).collect();
    (!names.is_empty()).then(|| format!("add {} to `features:` in {}", names.join(" and "), entry.path()))
}

fn place(catalog: &Catalog, entry: &ServiceEntry, index: usize) -> Place {
    match entry.service().controls {
        Some(_) => catalog.place(&entry.definition, &[Step::Key("controls"), Step::Item(index)]),
        None => catalog.default_place("controls", index),
    }
}
