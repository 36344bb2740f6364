//! What is said of the features that a service uses: by their state, whose behaviour is fixed, and by the nodes that it
//! runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Subject;
use crate::catalog::{Catalog, Deployment};
use crate::compose::Rendered;
use crate::definition::{Day, Feature, FeatureState, Node};
use crate::desired::Instance;
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::name::{EnvironmentName, FeatureName};
use crate::usage::{self, Lack, Use, available_on, offered_by};

/// What there is to say of each feature that the service uses. What holds in several environments is said once, in the
/// heaviest way.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let deployments = subject.entry.deployments.iter();
    let mut found: Vec<Diagnostic> =
        deployments.flat_map(|deployment| of_deployment(subject, deployment)).collect();
    found.sort();
    let mut said = BTreeSet::new();
    found.retain(|one| said.insert((one.code.clone(), one.place.clone(), one.message.clone())));
    found
}

/// A feature that a service uses in one of its environments.
struct Used<'a> {
    subject: &'a Subject<'a>,
    deployment: &'a Deployment,
    name: &'a FeatureName,
    feature: &'a Feature,
    how: &'a Use,
    rendered: Option<&'a Rendered>,
    nodes: Vec<&'a Node>,
}

fn of_deployment(subject: &Subject<'_>, deployment: &Deployment) -> Vec<Diagnostic> {
    let Subject { catalog, entry, .. } = *subject;
    let is_of = |instance: &&Arc<Instance>| std::ptr::eq(instance.deployment(), deployment);
    let instances: Vec<_> = subject.instances.iter().filter(|(_, instance)| is_of(instance)).collect();
    let named = match instances.is_empty() {
        true => usage::Subject { catalog, entry, deployment }.named(),
        false => BTreeMap::new(),
    };
    let by_name = named.iter().map(|(name, how)| (name, how, None, None));
    let on_nodes = instances.iter().flat_map(|(node, instance)| {
        let node = catalog.nodes.get(*node).map(|node| &node.value);
        instance.uses.iter().map(move |(name, how)| (name, how, Some(&*instance.rendered), node))
    });
    let mut used: BTreeMap<&FeatureName, Used<'_>> = BTreeMap::new();
    for (name, how, rendered, node) in by_name.chain(on_nodes) {
        let Some(feature) = catalog.features.get(name).map(|feature| &feature.value) else { continue };
        let new = || Used { subject, deployment, name, feature, how, rendered, nodes: Vec::new() };
        used.entry(name).or_insert_with(new).nodes.extend(node);
    }
    used.values().flat_map(|used| [used.state(), used.unavailable()]).flatten().collect()
}

impl Used<'_> {
    /// What its state has to say.
    fn state(&self) -> Option<Diagnostic> {
        let Self { name, feature, .. } = *self;
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
                let help = instead.unwrap_or_else(|| match self.how {
                    Use::Named { .. } => format!("remove `{name}` from `features:`"),
                    Use::Found { path, .. } => format!("remove what `{path}` leads to"),
                });
                Some(self.say(Severity::Error, "feature-removed", "was removed").help(help))
            }
        }
    }

    fn planned(&self) -> Diagnostic {
        let target = self.feature.target_version.as_ref();
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
                .help("leave the feature out until it is there, or take that line out"),
        }
    }

    /// Which table of the settings asks that features be there.
    fn must_be_implemented(&self) -> Option<String> {
        let Catalog { settings, .. } = self.subject.catalog;
        if settings.policy.features_must_be_implemented == Some(true) {
            return Some("`[policy]`".to_owned());
        }
        let of_node = |node: &&Node| self.subject.catalog.environment_of(&node.node);
        let mut environments = match &self.deployment.environment {
            Some(environment) => vec![environment],
            None => self.nodes.iter().filter_map(of_node).collect(),
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
        let Some(date) = &self.feature.remove_after else {
            return "the date of removal is not set".to_owned();
        };
        match date.parse::<Day>() {
            Ok(day) if day.end() <= self.subject.now => format!("it was to go after {date}, which is past"),
            _ => format!("it goes after {date}"),
        }
    }

    /// Whether some node that it runs on lacks what the feature needs.
    fn unavailable(&self) -> Option<Diagnostic> {
        let Self { name, feature, .. } = *self;
        if !feature.state.is_available() {
            return None;
        }
        let lacking = self.nodes.iter().filter_map(|node| Some((*node, available_on(feature, node).err()?)));
        let lacking: Vec<(&Node, Lack)> = lacking.collect();
        let (first, lack) = lacking.first()?;
        let (node, more) = (&first.node, lacking.len() - 1);
        let place_word = match more {
            0 => format!("is not available on node `{node}`"),
            more => format!("is not available on node `{node}` and {more} more"),
        };
        let mut diagnostic = self.say(Severity::Error, "feature-unavailable", &place_word);
        for (node, lack) in lacking.iter().take(MAX_NODES) {
            diagnostic = diagnostic.note(format!("`{}` {lack}", node.node));
        }
        let offering = offered_by(self.subject.catalog, feature);
        let names: Vec<String> = offering.iter().take(MAX_NODES).map(|node| format!("`{node}`")).collect();
        diagnostic = diagnostic.note(match offering.len().saturating_sub(MAX_NODES) {
            _ if offering.is_empty() => format!("no node offers `{name}`"),
            0 => format!("offered by {}", names.join(", ")),
            more => format!("offered by {} and {more} more", names.join(", ")),
        });
        let moving = offering.first().map(|node| format!("run the service on `{node}` (`place.nodes`)"));
        let giving = self
            .subject
            .catalog
            .nodes
            .get(node)
            .zip(lack.mend())
            .map(|(definition, mend)| format!("if `{node}` has it, add {mend} in {}", definition.path));
        let ways: Vec<String> = moving.into_iter().chain(giving).collect();
        Some(diagnostic.help(ways.join("; or, ")))
    }

    /// A finding where it is seen that the service uses the feature.
    fn say(&self, severity: Severity, code: &'static str, what: &str) -> Diagnostic {
        let message = format!(
            "service `{}` uses feature `{}`, which {what}",
            self.subject.entry.service().service,
            self.name
        );
        let diagnostic = Diagnostic::new(severity, code, self.place(), message);
        match self.how {
            Use::Named { .. } => diagnostic,
            Use::Found { path, .. } => {
                diagnostic.label(format!("the path `{path}` of the feature leads here"))
            }
        }
    }

    fn place(&self) -> Place {
        let Subject { catalog, entry, .. } = *self.subject;
        usage::Subject { catalog, entry, deployment: self.deployment }.place(self.rendered, self.how)
    }
}

/// So many nodes are named in one finding.
const MAX_NODES: usize = 5;
