//! Whether the steps of a roll-out name every instance: one that no step names would never be changed.

use std::collections::{BTreeMap, BTreeSet};

use super::Subject;
use crate::catalog::Deployment;
use crate::definition::{Amount, Rollout, RolloutStep};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{EnvironmentName, NodeName};
use crate::yaml::Step;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let groups = groups(subject);
    let mut found: Vec<Diagnostic> = groups.iter().filter_map(|group| left_out(subject, group)).collect();
    found.extend(naming_nothing(subject, &groups));
    found.extend(beyond_all(subject, &groups));
    found.sort();
    found.dedup();
    found
}

/// The instances in one environment, which are released in one way.
struct Group<'a> {
    rollout: &'a Rollout,
    deployment: &'a Deployment,
    environment: Option<&'a EnvironmentName>,
    nodes: Vec<&'a NodeName>,
}

fn groups<'a>(subject: &Subject<'a>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (node, instance) in subject.instances {
        let rollout = instance.rollout();
        if rollout.steps.is_none() && !matches!(rollout.max_unavailable, Some(Amount::Count(_))) {
            continue;
        }
        let environment = subject.catalog.environment_of(node);
        match groups.iter_mut().find(|group| group.environment == environment) {
            Some(group) => group.nodes.push(node),
            None => {
                let deployment = instance.deployment();
                groups.push(Group { rollout, deployment, environment, nodes: vec![node] });
            }
        }
    }
    groups
}

/// So many nodes are named in one finding.
const MAX_NODES: usize = 5;

fn left_out(subject: &Subject<'_>, group: &Group<'_>) -> Option<Diagnostic> {
    let mut covered: BTreeSet<&NodeName> = BTreeSet::new();
    for step in group.rollout.steps() {
        covered.extend(group.nodes.iter().filter(|node| is_named(subject, &step, node)));
        let wanted = step.instances.map_or(0, |amount| amount.of(group.nodes.len()));
        let more: Vec<&NodeName> =
            group.nodes.iter().copied().filter(|node| !covered.contains(node)).collect();
        covered.extend(more.into_iter().take(wanted.saturating_sub(covered.len())));
    }
    let left: Vec<String> =
        group.nodes.iter().filter(|node| !covered.contains(*node)).map(|node| format!("`{node}`")).collect();
    // Without steps all are one part.
    if left.is_empty() || group.rollout.steps().is_empty() {
        return None;
    }
    let service = &subject.entry.service().service;
    let named = left.iter().take(MAX_NODES).cloned().collect::<Vec<_>>().join(", ");
    let more = match left.len().saturating_sub(MAX_NODES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!("no step of the roll-out names service `{service}` on {named}{more}");
    let (place, _) = place(subject, group, "steps");
    let diagnostic = Diagnostic::error("rollout-leaves-out", place, message);
    Some(diagnostic.help("add a last step with all that are left: `instances: 100%`"))
}

fn is_named(subject: &Subject<'_>, step: &RolloutStep, node: &NodeName) -> bool {
    let node = subject.catalog.nodes.get(node).map(|node| &node.value);
    let fits = step.nodes.as_ref().zip(node);
    fits.is_some_and(|(selector, node)| selector.matches(|label| node.label(label)))
}

/// Steps of the service itself that name no instance of it anywhere. What is given for many services may name few of each.
fn naming_nothing(subject: &Subject<'_>, groups: &[Group<'_>]) -> Vec<Diagnostic> {
    let mut names_any: BTreeMap<(Place, usize), bool> = BTreeMap::new();
    for group in groups {
        let (place, true) = place(subject, group, "steps") else { continue };
        for (number, step) in group.rollout.steps.iter().flatten().enumerate() {
            let is_any = step.nodes.is_none() || group.nodes.iter().any(|node| is_named(subject, step, node));
            *names_any.entry((place.clone(), number)).or_default() |= is_any;
        }
    }
    let service = &subject.entry.service().service;
    let nothing = names_any.into_iter().filter(|(_, is_any)| !is_any);
    let diagnostic = |((place, number), _): ((Place, usize), bool)| {
        let message = format!("step {} of the roll-out names no instance of service `{service}`", number + 1);
        Diagnostic::warning("rollout-step-empty", place, message)
            .help("name labels of nodes that it runs on, or remove the step")
    };
    nothing.map(diagnostic).collect()
}

/// More instances than there are may be away.
fn beyond_all(subject: &Subject<'_>, groups: &[Group<'_>]) -> Option<Diagnostic> {
    let count = |group: &Group<'_>| match group.rollout.max_unavailable {
        Some(Amount::Count(count)) => Some(count as usize),
        Some(Amount::Percent(_)) | None => None,
    };
    let own = |group: &&Group<'_>| place(subject, group, "max_unavailable").1;
    let given: Vec<(&Group<'_>, usize)> =
        groups.iter().filter(own).filter_map(|group| Some((group, count(group)?))).collect();
    let (first, most) =
        given.first().filter(|_| given.iter().all(|(group, count)| *count > group.nodes.len()))?;
    let service = &subject.entry.service().service;
    let there = given.iter().map(|(group, _)| group.nodes.len()).max().unwrap_or_default();
    let message = format!(
        "`max_unavailable` is {most}, and no more than {there} of service `{service}` are released together"
    );
    let (place, _) = place(subject, first, "max_unavailable");
    let diagnostic = Diagnostic::warning("max-unavailable", place, message);
    Some(
        diagnostic
            .note("all of them may be away at once")
            .help("write a smaller number, or a part such as `25%`"),
    )
}

/// Where a field of the roll-out was written, and whether that is in the service.
fn place(subject: &Subject<'_>, group: &Group<'_>, field: &'static str) -> (Place, bool) {
    let Subject { catalog, entry, .. } = *subject;
    let is_given = |rollout: &Rollout| match field {
        "steps" => rollout.steps.is_some(),
        _ => rollout.max_unavailable.is_some(),
    };
    let service = entry.service();
    let given = group.deployment.environment.as_ref().filter(|name| {
        let given = service.environments.as_ref().and_then(|all| all.get(*name)?.as_ref());
        given.is_some_and(|given| is_given(&given.rollout))
    });
    if let Some(name) = given {
        return (catalog.place(&entry.definition, &way(Some(name), field)), true);
    }
    if is_given(&service.rollout) {
        return (catalog.place(&entry.definition, &way(None, field)), true);
    }
    let environments = &catalog.settings.environments;
    let of_node =
        group.environment.filter(|name| environments.get(*name).is_some_and(|one| is_given(&one.rollout)));
    let place = match of_node {
        Some(name) => catalog.settings_place(&way(Some(name), field)),
        None => catalog.settings_place(&way(None, field)),
    };
    (place, false)
}

fn way<'a>(environment: Option<&'a EnvironmentName>, field: &'a str) -> Vec<Step<'a>> {
    let around = environment.map(|name| [Step::Key("environments"), Step::Key(name.as_str())]);
    around.into_iter().flatten().chain([Step::Key("rollout"), Step::Key(field)]).collect()
}
