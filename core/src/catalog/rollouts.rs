//! What is wrong with how releases are told to go on, as far as it can be said without a look at any instance.

use super::{Catalog, environments};
use crate::definition::{Amount, Environment, Located, Rollout, RolloutStep, Service, Strategy};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::EnvironmentName;
use crate::yaml::Step;

/// The roll-outs of `gitops.toml`.
pub(super) fn check_ground(catalog: &Catalog) -> Vec<Diagnostic> {
    let settings = &catalog.settings;
    let of = |(name, one): (&EnvironmentName, &Environment)| {
        let way = [Step::Key("environments"), Step::Key(name.as_str()), Step::Key("rollout")];
        check(&one.rollout, &way, |steps| environments::place(&catalog.tree, steps))
    };
    let everywhere =
        check(&settings.rollout, &[Step::Key("rollout")], |steps| environments::place(&catalog.tree, steps));
    everywhere.into_iter().chain(settings.environments.iter().flat_map(of)).collect()
}

/// Those of a service.
pub(super) fn check_service(
    definition: &Located<Service>,
    place: impl Fn(&[Step<'_>]) -> Place,
) -> Vec<Diagnostic> {
    let service = &definition.value;
    // What was left out for being wrong is no mistake of its own.
    let is_right = |field: &str| !definition.broken.contains(field);
    let mut found = Vec::new();
    if is_right("rollout") {
        found.extend(check(&service.rollout, &[Step::Key("rollout")], &place));
    }
    let given = service.environments.iter().flatten().filter(|_| is_right("environments"));
    for (name, given) in given.filter_map(|(name, given)| Some((name, given.as_ref()?))) {
        let way = [Step::Key("environments"), Step::Key(name.as_str()), Step::Key("rollout")];
        found.extend(check(&given.rollout, &way, &place));
    }
    found
}

fn check(rollout: &Rollout, way: &[Step<'_>], place: impl Fn(&[Step<'_>]) -> Place) -> Vec<Diagnostic> {
    let Some(steps) = &rollout.steps else { return Vec::new() };
    let at = |more: &[Step<'static>]| {
        let steps = way.iter().cloned().chain([Step::Key("steps")]).chain(more.iter().cloned());
        place(&steps.collect::<Vec<_>>())
    };
    if steps.is_empty() {
        let diagnostic = Diagnostic::error(
            "rollout-steps",
            at(&[]),
            "`steps` has no step, so no instance is ever changed",
        );
        return vec![diagnostic.help("name the parts of the instances, or remove `steps`")];
    }
    let mut found = Vec::new();
    if rollout.strategy == Some(Strategy::Rolling) {
        let message = "`steps` does nothing: with `strategy: rolling` instances are not changed in parts";
        found.push(
            Diagnostic::warning("rollout-steps", at(&[]), message)
                .help("write `strategy: canary`, or remove `steps`"),
        );
    }
    for (number, step) in steps.iter().enumerate().take(super::MAX_OF_A_KIND) {
        let item = at(&[Step::Item(number)]);
        found.extend(shape(step, || item.clone()));
        let falls = steps[..number].iter().any(|before| is_more(before, step));
        if falls {
            let message = "this step names no more instances than one before it: it changes nothing";
            let help = "let the parts rise: a step counts those of the steps before it";
            found.push(Diagnostic::error("rollout-steps", item, message).help(help));
        }
    }
    found
}

/// A step names either nodes or a number of instances.
fn shape(step: &RolloutStep, place: impl Fn() -> Place) -> Option<Diagnostic> {
    let message = match (&step.nodes, step.instances) {
        (Some(nodes), None) if nodes.is_empty() => "the step names no label, so it has no instance",
        (Some(_), None) | (None, Some(_)) => return None,
        (Some(_), Some(_)) => "the step has both `nodes` and `instances`",
        (None, None) => "the step has neither `nodes` nor `instances`",
    };
    let help = "write one of the two: `nodes: {stage: canary}`, or `instances: 25%`";
    Some(Diagnostic::error("rollout-steps", place(), message).help(help))
}

/// Whether a step before names as many instances as this one, or more. Numbers and parts cannot be compared here.
fn is_more(before: &RolloutStep, step: &RolloutStep) -> bool {
    match (before.instances, step.instances) {
        (Some(Amount::Count(before)), Some(Amount::Count(step)))
        | (Some(Amount::Percent(before)), Some(Amount::Percent(step))) => before >= step,
        _ => false,
    }
}
