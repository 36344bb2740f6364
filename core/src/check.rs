//! Invariants of finished plans, kept apart from the code that makes them.
//!
//! The planner could be wrong in a way that its own tests share. This module reads a plan as an agent or an
//! auditor would, knows nothing of how it was made, and says in words what is not as it must be. It runs over
//! every scenario, in property tests and, in debug builds, on every pass.

use std::collections::BTreeSet;

use crate::name::ServiceName;
use crate::plan::{Ensure, Hooks, NodePlan, SCHEMA, Step};
use crate::status::NodeStatus;

/// What is wrong with `plan` as the successor of `previous`, given what the node last said. Empty if nothing is.
pub fn violations(plan: &NodePlan, previous: Option<&NodePlan>, status: Option<&NodeStatus>) -> Vec<String> {
    let mut found = Vec::new();
    let mut require = |holds: bool, what: String| {
        if !holds {
            found.push(what);
        }
    };
    require(plan.schema == SCHEMA, format!("schema {} is not {SCHEMA}", plan.schema));
    require(plan.digest == plan.content_digest(), "the digest does not cover the plan".into());
    require(plan.parent == previous.map(|plan| plan.digest), "the parent is not the previous plan".into());
    let last = previous.map_or(0, |plan| plan.generation.0);
    require(plan.generation.0 > last, format!("generation {} does not rise above {last}", plan.generation));
    let accepted = status.and_then(|status| status.accepted);
    let ahead = accepted.is_some_and(|accepted| accepted.generation >= plan.generation);
    require(!ahead, "the agent already has this generation or a later one".into());
    let mut seen: BTreeSet<&ServiceName> = BTreeSet::new();
    for step in &plan.steps {
        let service = step.service();
        require(!seen.contains(service), format!("`{service}` has two steps"));
        require(!step.because().is_empty(), format!("the step of `{service}` has no reason"));
        for other in step.after() {
            let later = plan.step(other).is_some() && !seen.contains(other);
            require(!later, format!("`{service}` comes before `{other}`, which it waits for"));
        }
        check_step(step, previous, &mut require);
        seen.insert(service);
    }
    let new = plan;
    for (plan, step) in previous.iter().flat_map(|plan| plan.steps.iter().map(move |step| (plan, step))) {
        let service = step.service();
        let has_gone = status.is_some_and(|status| status.has_done(plan, service, None));
        let done = matches!(step, Step::Remove(_)) && has_gone;
        let goes_on = plan_has_project(new, step.project());
        require(
            done || goes_on || seen.contains(service),
            format!("`{service}` vanished without being removed"),
        );
    }
    found
}

/// Whether an instance goes on under another name: what stands in its Compose project is still asked for.
fn plan_has_project(plan: &NodePlan, project: &str) -> bool {
    plan.steps.iter().filter_map(Step::as_ensure).any(|ensure| *ensure.project == *project)
}

fn check_step(step: &Step, previous: Option<&NodePlan>, require: &mut impl FnMut(bool, String)) {
    let service = step.service();
    match step {
        Step::Ensure(ensure) => {
            let model = serde_json::from_str::<serde_json::Value>(ensure.model.as_str());
            let services = model.as_ref().ok().and_then(|model| model.get("services")?.as_object());
            let names: Option<BTreeSet<&str>> = services.map(|map| map.keys().map(String::as_str).collect());
            let specified = ensure.containers.keys().chain(ensure.terms.hooks.services());
            require(
                names == Some(specified.map(|name| &**name).collect()),
                format!("the containers of `{service}` are not those of its model"),
            );
            check_terms(ensure, require);
            require(ensure.health_within > 0, format!("`{service}` has no time to become healthy"));
            for path in ensure.files.keys() {
                let inside =
                    !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
                require(inside, format!("`{path}` of `{service}` leaves the folder of the instance"));
            }
        }
        Step::Remove(remove) => {
            let before = previous.and_then(|plan| plan.step(service));
            let project = match before {
                Some(Step::Ensure(ensure)) => Some(&ensure.project),
                Some(Step::Remove(remove)) => Some(&remove.project),
                None => None,
            };
            require(project == Some(&remove.project), format!("`{service}` is removed and was never there"));
        }
    }
}

/// What is asked is asked of its containers, what runs around a change is none of them, and there is time for each.
fn check_terms(ensure: &Ensure, require: &mut impl FnMut(bool, String)) {
    let (service, terms) = (&ensure.service, &ensure.terms);
    let mut names = BTreeSet::new();
    for check in &terms.checks {
        let name = &check.name;
        require(names.insert(name), format!("`{service}` has two checks `{name}`"));
        let is_there = ensure.containers.contains_key(&check.container);
        require(is_there, format!("check `{name}` of `{service}` asks a container that is not there"));
        let numbers = [check.interval, check.timeout, check.healthy_after, check.unhealthy_after];
        require(!numbers.contains(&0), format!("check `{name}` of `{service}` has no time or no number"));
    }
    let Hooks { before, after, on_failure, .. } = &terms.hooks;
    for hook in before.iter().chain(after).chain(on_failure) {
        let runs = ensure.containers.contains_key(&hook.service);
        require(!runs, format!("hook `{}` of `{service}` is one of its containers", hook.service));
        require(hook.timeout > 0, format!("hook `{}` of `{service}` has no time", hook.service));
    }
    let is_ordered = terms.spans.windows(2).all(|pair| pair[0].until <= pair[1].from);
    require(is_ordered, format!("the spans of `{service}` are not in order"));
}
