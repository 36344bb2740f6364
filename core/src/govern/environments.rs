//! What a service says of its environments and cannot mean: nodes that are in none of them, and overrides that
//! override nothing.

use super::Subject;
use crate::catalog::Deployment;
use crate::definition::{Drift, Health, Override, Rollout, Service};
use crate::diagnostic::Diagnostic;
use crate::name::{EnvironmentName, NodeName};
use crate::yaml::Step;

/// The findings about one service.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let service = subject.entry.service();
    let Some(environments) = &service.environments else { return Vec::new() };
    if environments.is_empty() {
        let message = format!("service `{}` names no environment, so it runs nowhere", service.service);
        let place = subject.catalog.place(&subject.entry.definition, &[Step::Key("environments")]);
        let diagnostic = Diagnostic::warning("placed-nowhere", place, message);
        return vec![diagnostic.help("name the environments that it runs in, or remove `environments:`")];
    }
    if !subject.catalog.knows_environments() {
        return Vec::new();
    }
    let mut found = outside(subject);
    for deployment in &subject.entry.deployments {
        found.extend(left_out(subject, deployment));
    }
    for (name, given) in environments.iter().filter_map(|(name, given)| Some((name, given.as_ref()?))) {
        found.extend(without_effect(subject, name, given));
    }
    found
}

/// Nodes that the service names and that are in none of its environments.
fn outside(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let service = subject.entry.service();
    let mine = |name: &EnvironmentName| service.environments.iter().any(|all| all.contains_key(name));
    let everywhere = service.place.named().iter().enumerate().filter(|(_, node)| {
        is_defined(subject, node) && !subject.catalog.environment_of(node).is_some_and(mine)
    });
    let mut found: Vec<Diagnostic> = everywhere
        .map(|(index, node)| {
            let steps = [Step::Key("place"), Step::Key("nodes"), Step::Item(index)];
            outside_at(subject, node, &steps, None)
        })
        .collect();
    for (name, given) in service.environments.iter().flatten() {
        let place = given.as_ref().and_then(|given| given.place.as_ref());
        for (index, node) in place.map(|place| place.named()).unwrap_or_default().iter().enumerate() {
            if is_defined(subject, node) && subject.catalog.environment_of(node) != Some(name) {
                let around = [Step::Key("environments"), Step::Key(name.as_str())];
                let steps = [around[0], around[1], Step::Key("place"), Step::Key("nodes"), Step::Item(index)];
                found.push(outside_at(subject, node, &steps, Some(name)));
            }
        }
    }
    found
}

fn is_defined(subject: &Subject<'_>, node: &NodeName) -> bool {
    subject.catalog.nodes.contains_key(node)
}

/// `here` is the environment whose override names the node.
fn outside_at(
    subject: &Subject<'_>,
    node: &NodeName,
    steps: &[Step<'_>],
    here: Option<&EnvironmentName>,
) -> Diagnostic {
    let place = subject.catalog.place(&subject.entry.definition, steps);
    let service = &subject.entry.service().service;
    let there = subject.catalog.environment_of(node);
    let message = match (there, here) {
        (Some(there), None) => {
            format!("node `{node}` is in environment `{there}`, in which service `{service}` does not run")
        }
        (Some(there), Some(here)) => format!("node `{node}` is in environment `{there}`, not in `{here}`"),
        (None, _) => {
            format!("node `{node}` is in no environment, and service `{service}` runs in environments only")
        }
    };
    let help = match there {
        Some(there) if here.is_none() => {
            format!("remove the node here, or name `{there}` under `environments:`")
        }
        Some(_) => "name a node of this environment".to_owned(),
        None => "remove the node here, or give it labels that an environment selects".to_owned(),
    };
    Diagnostic::error("node-outside-environment", place, message).help(help)
}

/// An environment in which none of the named nodes is.
fn left_out(subject: &Subject<'_>, deployment: &Deployment) -> Option<Diagnostic> {
    let name = deployment.environment.as_ref()?;
    // That there is no such environment is told already.
    subject.catalog.settings.environments.get(name)?;
    let own = subject.entry.service().environments.as_ref()?.get(name)?.as_ref();
    let named = deployment.service.place.nodes.as_ref()?;
    let is_here = |node: &NodeName| subject.catalog.environment_of(node) == Some(name);
    if named.iter().any(is_here) || own.is_some_and(|own| own.place.is_some()) || named.is_empty() {
        return None;
    }
    let service = &deployment.service.service;
    let steps = [Step::Key("environments"), Step::Key(name.as_str())];
    let place = subject.catalog.place(&subject.entry.definition, &steps);
    let message =
        format!("service `{service}` runs on no node of environment `{name}`: it names none of them");
    let help =
        format!("name one under `place.nodes`, or say where it runs there under `environments.{name}.place`");
    Some(Diagnostic::warning("placed-nowhere", place, message).help(help))
}

/// Fields that say for an environment what holds without it.
fn without_effect(subject: &Subject<'_>, name: &EnvironmentName, given: &Override) -> Vec<Diagnostic> {
    let service = subject.entry.service();
    let steps = |field: &[&'static str]| -> Vec<Step<'_>> {
        let around = [Step::Key("environments"), Step::Key(name.as_str())];
        around.into_iter().chain(field.iter().map(|key| Step::Key(key))).collect()
    };
    let warning = |steps: &[Step<'_>], what: &str| {
        let place = subject.catalog.place(&subject.entry.definition, steps);
        let message = format!("{what} is the same without environment `{name}`");
        Diagnostic::warning("override-without-effect", place, message)
            .help("remove the line, or give another value")
    };
    let same = same_fields(service, given);
    let fields = same.into_iter().map(|field| warning(&steps(&[field]), &format!("`{field}`")));
    let variables = given.variables.iter().filter(|(key, value)| service.variables.get(*key) == Some(*value));
    let variables = variables.map(|(key, _)| {
        let mut steps = steps(&["variables"]);
        steps.push(Step::Key(key));
        warning(&steps, &format!("variable `{key}`"))
    });
    fields.chain(variables).collect()
}

fn same_fields(service: &Service, given: &Override) -> Vec<&'static str> {
    fn same<T: PartialEq>(given: &Option<T>, here: &Option<T>) -> bool {
        given.is_some() && given == here
    }
    // Of what is given field by field, what is not given is as it is.
    fn adds_nothing<T: Clone + Default + PartialEq>(given: &T, here: &T, over: impl Fn(T, &T) -> T) -> bool {
        *given != T::default() && over(given.clone(), here) == *here
    }
    let fields = [
        ("compose", same(&given.compose, &service.compose)),
        ("place", given.place.as_ref() == Some(&service.place)),
        ("state", same(&given.state, &service.state)),
        ("features", same(&given.features, &service.features)),
        ("controls", same(&given.controls, &service.controls)),
        ("health", adds_nothing(&given.health, &service.health, Health::or)),
        ("rollout", adds_nothing(&given.rollout, &service.rollout, Rollout::or)),
        ("hooks", given.hooks.as_ref() == Some(&service.hooks)),
        ("drift", adds_nothing(&given.drift, &service.drift, Drift::or)),
        ("on_file_change", same(&given.on_file_change, &service.on_file_change)),
        ("profiles", same(&given.profiles, &service.profiles)),
        ("resources", given.resources.as_ref() == Some(&service.resources)),
    ];
    fields.into_iter().filter(|(_, same)| *same).map(|(field, _)| field).collect()
}
