//! What is said of the features that a service uses: by their state, whose behaviour is fixed, and by the nodes that it
//! runs on.

use std::collections::BTreeSet;

use super::Subject;
use super::used::{Used, used};
use crate::definition::{Day, FeatureState, Located, Needs, Node};
use crate::diagnostic::{Diagnostic, Severity};
use crate::name::{EnvironmentName, FeatureName, NodeName};
use crate::usage::{Lack, Use, available_on, offered_by};

/// What there is to say of each feature that the service uses. What holds in several environments is said once, in the
/// heaviest way.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let used = used(subject.catalog, subject.entry, subject.instances);
    let ask = |used| Asked { subject, used };
    let mut found: Vec<Diagnostic> = used.iter().map(ask).flat_map(|asked| asked.findings()).collect();
    found.sort();
    let mut said = BTreeSet::new();
    found.retain(|one| said.insert((one.code.clone(), one.place.clone(), one.message.clone())));
    found
}

/// One use of a feature, of which there may be something to say.
struct Asked<'a> {
    subject: &'a Subject<'a>,
    used: &'a Used<'a>,
}

impl Asked<'_> {
    fn findings(&self) -> impl Iterator<Item = Diagnostic> + use<> {
        [self.state(), self.unavailable()].into_iter().flatten()
    }

    /// What its state has to say.
    fn state(&self) -> Option<Diagnostic> {
        let Used { name, feature, .. } = self.used;
        let feature = &feature.value;
        let instead = feature.replaced_by.as_ref().map(|other| format!("use `{other}` instead"));
        match feature.state {
            FeatureState::Implemented => None,
            FeatureState::Experimental => Some(
                self.say(Severity::Warning, "feature-experimental", "is experimental")
                    .note("it may change or go"),
            ),
            FeatureState::Planned => Some(self.planned()),
            FeatureState::Deprecated => Some(
                self.say(Severity::Warning, "feature-deprecated", "is deprecated").note(self.end()).help(
                    instead.unwrap_or_else(|| "no replacement is named: ask the owner of the feature".into()),
                ),
            ),
            FeatureState::Removed => {
                let help = instead.unwrap_or_else(|| match &*self.used.how {
                    Use::Named { .. } => format!("remove `{name}` from `features:`"),
                    Use::Found { path, .. } => format!("remove what `{path}` leads to"),
                });
                Some(self.say(Severity::Error, "feature-removed", "was removed").help(help))
            }
        }
    }

    fn planned(&self) -> Diagnostic {
        let target = self.used.feature.value.target_version.as_ref();
        let target = target
            .map_or_else(|| "no date or version is set".to_owned(), |target| format!("planned for {target}"));
        match self.must_be_implemented() {
            None => self
                .say(Severity::Warning, "feature-planned", "is only planned")
                .note(target)
                .note("nothing is added to the service"),
            Some(asked) => self
                .say(Severity::Error, "feature-planned", "is only planned")
                .note(target)
                .note(format!("`features_must_be_implemented = true` stands in {asked} of gitops.toml"))
                .help("leave the feature out until it is there"),
        }
    }

    /// Which table of the settings asks that features be there.
    fn must_be_implemented(&self) -> Option<String> {
        let settings = &self.subject.catalog.settings;
        if settings.policy.features_must_be_implemented == Some(true) {
            return Some("`[policy]`".to_owned());
        }
        let mut environments = match &self.used.service.deployment.environment {
            Some(environment) => vec![environment],
            None => {
                self.used.nodes.iter().filter_map(|node| self.subject.catalog.environment_of(node)).collect()
            }
        }
        .into_iter();
        let asks = |name: &&EnvironmentName| {
            let environment = settings.environments.get(*name);
            environment.is_some_and(|one| one.policy.features_must_be_implemented == Some(true))
        };
        environments.find(asks).map(|name| format!("`[environments.{name}.policy]`"))
    }

    /// When a deprecated one goes.
    fn end(&self) -> String {
        let Some(date) = &self.used.feature.value.remove_after else {
            return "the date of removal is not set".to_owned();
        };
        match date.parse::<Day>() {
            Ok(day) if day.end() <= self.subject.now => format!("it was to go after {date}, which is past"),
            _ => format!("it goes after {date}"),
        }
    }

    /// Whether some node that it runs on lacks what the feature needs.
    fn unavailable(&self) -> Option<Diagnostic> {
        let Used { name, feature, nodes, .. } = self.used;
        let (feature, catalog) = (&feature.value, self.subject.catalog);
        if !feature.state.is_available() || feature.needs == Needs::default() {
            return None;
        }
        let nodes = nodes.iter().filter_map(|name| catalog.nodes.get(*name));
        let lacking: Vec<(&Located<Node>, Lack)> =
            nodes.filter_map(|node| Some((node, available_on(feature, &node.value).err()?))).collect();
        let (first, lack) = lacking.first()?;
        let node = &first.value.node;
        let what = match lacking.len() - 1 {
            0 => format!("is not available on node `{node}`"),
            more => format!("is not available on node `{node}` and {more} more"),
        };
        let lines =
            lacking.iter().take(MAX_NODES).map(|(node, lack)| format!("`{}` {lack}", node.value.node));
        let offering = offered_by(catalog, feature);
        let diagnostic =
            lines.fold(self.say(Severity::Error, "feature-unavailable", &what), Diagnostic::note);
        let moving = offering.first().map(|node| format!("run the service on `{node}` (`place.nodes`)"));
        let giving = lack.mend().map(|mend| format!("if `{node}` has it, add {mend} in {}", first.path));
        let ways: Vec<String> = moving.into_iter().chain(giving).collect();
        Some(diagnostic.note(offers(name, &offering)).help(ways.join("; or, ")))
    }

    /// A finding where it is seen that the service uses the feature.
    fn say(&self, severity: Severity, code: &'static str, what: &str) -> Diagnostic {
        let service = &self.subject.entry.service().service;
        let message = format!("service `{service}` uses feature `{}`, which {what}", self.used.name);
        let diagnostic = Diagnostic::new(severity, code, self.used.place(), message);
        match &*self.used.how {
            Use::Named { .. } => diagnostic,
            Use::Found { path, .. } => {
                diagnostic.label(format!("the path `{path}` of the feature leads here"))
            }
        }
    }
}

/// So many nodes are named in one finding.
const MAX_NODES: usize = 5;

/// Where the feature is to be had.
fn offers(feature: &FeatureName, nodes: &[&NodeName]) -> String {
    let names: Vec<String> = nodes.iter().take(MAX_NODES).map(|node| format!("`{node}`")).collect();
    match nodes.len().saturating_sub(MAX_NODES) {
        _ if nodes.is_empty() => format!("no node offers `{feature}`"),
        0 => format!("offered by {}", names.join(", ")),
        more => format!("offered by {} and {more} more", names.join(", ")),
    }
}
