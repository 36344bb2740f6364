//! A plan as text.

use std::collections::BTreeMap;

use super::diff::reason_text;
use super::{BOLD, inert, painted};
use crate::diff::terms_in_words;
use crate::plan::{Ensure, NodePlan, RunState, Span, Step};
use crate::sensitive::Sensitive;

/// The plan with every step and its reasons, without the models.
pub fn text(plan: &NodePlan) -> String {
    let title = painted(BOLD, &format!("{} generation {}", plan.node, plan.generation));
    let parent = plan.parent.map_or("none".to_owned(), |parent| parent.short());
    let mut text =
        format!("{title}  {}  parent {parent}  revision {}\n", plan.digest.short(), plan.revision.short());
    for step in &plan.steps {
        text.push_str(&format!("  {}\n", step_text(step)));
        for (field, words) in step.as_ensure().map(terms).unwrap_or_default() {
            text.push_str(&format!("      with {field}: {}\n", inert(&words)));
        }
        if let Some(times) = times(step.spans()) {
            text.push_str(&format!("      may begin {times}\n"));
        }
        for reason in step.because() {
            text.push_str(&format!("      because {}\n", reason_text(reason)));
        }
    }
    text
}

/// When it may begin, where that is limited.
fn times(spans: &[Span]) -> Option<String> {
    let first = spans.first()?;
    let more = spans.len() - 1;
    let more =
        if more == 0 { String::new() } else { format!(", or at {} later", super::count(more, "time")) };
    Some(format!("from {} to {}{more}", first.from, first.until))
}

/// How it is carried out, where that is said.
fn terms(ensure: &Ensure) -> BTreeMap<String, String> {
    terms_in_words(&ensure.terms, &Sensitive::default())
}

fn step_text(step: &Step) -> String {
    let after = |names: &[crate::name::ServiceName]| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        if names.is_empty() { String::new() } else { format!("  after {}", names.join(", ")) }
    };
    match step {
        Step::Ensure(ensure) => format!(
            "ensure {} as {}  {}  {}{}",
            ensure.service,
            ensure.project,
            ensure.digest.short(),
            state_text(ensure),
            after(&ensure.after)
        ),
        Step::Remove(remove) => {
            let kept = match remove.volumes_kept.join(", ") {
                kept if kept.is_empty() => String::new(),
                kept => format!("  keeps volumes {kept}"),
            };
            format!("remove {} as {}{kept}{}", remove.service, remove.project, after(&remove.after))
        }
    }
}

fn state_text(ensure: &Ensure) -> String {
    let containers: Vec<String> = ensure
        .containers
        .iter()
        .map(
            |(name, spec)| {
                if spec.replicas == 1 { name.to_string() } else { format!("{name}×{}", spec.replicas) }
            },
        )
        .collect();
    let state = match ensure.state {
        RunState::Running => "running",
        RunState::Stopped => "stopped",
    };
    let files = match ensure.files.len() {
        0 => String::new(),
        number => format!(" with {}", super::count(number, "file")),
    };
    format!("{state} {}{files}, healthy within {}s", containers.join(" "), ensure.health_within)
}
