//! What the state of a feature means for the services that use it. The behaviour of each state is fixed.

use super::Subject;
use crate::catalog::Deployment;
use crate::definition::{Feature, FeatureState};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{FeatureName, ServiceName};

/// One finding for each used feature whose state has something to say.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    subject.entry.deployments.iter().flat_map(|deployment| of_deployment(subject, deployment)).collect()
}

fn of_deployment<'a>(
    subject: &'a Subject<'_>,
    deployment: &'a Deployment,
) -> impl Iterator<Item = Diagnostic> + 'a {
    let Subject { catalog, entry, .. } = *subject;
    let used = deployment.features(&catalog.settings).iter().enumerate();
    used.filter_map(move |(index, name)| {
        let place = || catalog.item_place(entry, deployment, "features", index);
        finding(&entry.service().service, name, &catalog.features.get(name)?.value, place)
    })
}

fn finding(
    service: &ServiceName,
    name: &FeatureName,
    feature: &Feature,
    place: impl Fn() -> Place,
) -> Option<Diagnostic> {
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
