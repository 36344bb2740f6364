//! Whether a service meets its controls, requirement by requirement.

use super::Subject;
use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::definition::Control;
use crate::diagnostic::Diagnostic;
use crate::name::{ControlName, FeatureName};

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
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    subject.entry.deployments.iter().flat_map(|deployment| of_deployment(subject, deployment)).collect()
}

fn of_deployment<'a>(
    subject: &'a Subject<'_>,
    deployment: &'a Deployment,
) -> impl Iterator<Item = Diagnostic> + 'a {
    let Subject { catalog, .. } = *subject;
    let asked = deployment.controls(&catalog.settings).iter().enumerate();
    let known = asked.filter_map(|(index, name)| {
        Some((index, name, &catalog.controls.get(name).filter(|control| control.broken.is_empty())?.value))
    });
    known.filter_map(|(index, name, control)| finding(subject, deployment, index, (name, control)))
}

fn finding(
    subject: &Subject<'_>,
    deployment: &Deployment,
    index: usize,
    (name, control): (&ControlName, &Control),
) -> Option<Diagnostic> {
    let Subject { catalog, entry, .. } = *subject;
    let standing: Vec<(&FeatureName, Requirement)> =
        control.requires.iter().map(|feature| (feature, requirement(catalog, deployment, feature))).collect();
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
    let place = catalog.item_place(entry, deployment, "controls", index);
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

fn requirement(catalog: &Catalog, deployment: &Deployment, feature: &FeatureName) -> Requirement {
    let used = deployment.features(&catalog.settings).contains(feature);
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
