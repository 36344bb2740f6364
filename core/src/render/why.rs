//! Why a service is as it is, as text: the state, then the release that brought it there, then the plan.

use super::diff::reason_text;
use super::release::{commit_facts, moment, some};
use super::status::instance_word;
use super::{BOLD, DIM, inert, painted};
use crate::fleet::InstanceState;
use crate::name::NodeName;
use crate::plan::Reason;
use crate::release::{PlanRecord, Release, StepRecord, Why, WhyNode};

/// By node. Nodes that stand alike, for the same reason, are told together.
pub fn text(why: &Why) -> String {
    let mut groups: Vec<Vec<&WhyNode>> = Vec::new();
    for node in &why.nodes {
        match groups.iter_mut().find(|group| stands_alike(group[0], node)) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    groups.iter().map(|group| told(why, group)).collect::<Vec<_>>().join("\n")
}

/// Whether the same release brought both into the same form, and both stand alike.
fn stands_alike(one: &WhyNode, other: &WhyNode) -> bool {
    let key = |node: &WhyNode| {
        let release = node.changed.as_ref().map(|changed| changed.release);
        (node.state, node.message.clone(), node.digest, node.because.clone(), release)
    };
    key(one) == key(other)
}

fn told(why: &Why, group: &[&WhyNode]) -> String {
    let first = group[0];
    let nodes: Vec<&NodeName> = group.iter().map(|why| &why.node).collect();
    let mut text = format!(
        "{} on {}  {}\n",
        painted(BOLD, why.service.as_str()),
        some(nodes.into_iter()),
        state(first.state)
    );
    let waits = first
        .message
        .as_deref()
        .map(|message| ("waits on", inert(message.lines().next().unwrap_or_default())));
    let facts = waits
        .into_iter()
        .chain(of_change(first))
        .chain(group.iter().take(MAX_NODES).flat_map(|why| of_plan(why, group.len())));
    for (name, value) in facts {
        text.push_str(&format!("  {}{value}\n", painted(DIM, &format!("{name:<13}"))));
    }
    text
}

/// Nodes of a group whose plans are told; the others have theirs in the JSON.
const MAX_NODES: usize = 3;
/// Reasons that are told; the plan has them all.
const MAX_REASONS: usize = 10;

fn of_change(why: &WhyNode) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    match (&why.changed, &why.release) {
        (_, Some(release)) => facts.extend(of_release(release)),
        (Some(StepRecord { release: Some(number), .. }), None) => {
            facts.push(("release", format!("{number}, which is no longer kept")));
        }
        (None, None)
            if why.plan.as_ref().is_some_and(|plan| plan.release.is_none()) || why.digest.is_some() =>
        {
            facts.push(("release", "none: it took this form before releases were kept".to_owned()));
        }
        _ => {}
    }
    facts
        .extend(why.because.iter().take(MAX_REASONS).map(|reason: &Reason| ("changed", reason_text(reason))));
    let more = why.because.len().saturating_sub(MAX_REASONS);
    if more > 0 {
        facts.push(("", format!("and {more} more")));
    }
    if let Some(StepRecord { change, published_at, satisfied_at, .. }) = &why.changed {
        let at = published_at.map(|at| format!(", published {}", moment(at))).unwrap_or_default();
        let done =
            satisfied_at.map_or_else(|| ", not done yet".to_owned(), |at| format!(", done {}", moment(at)));
        facts.push(("since", format!("generation {}{at}{done}", change.generation)));
    }
    facts
}

fn of_release(release: &Release) -> Vec<(&'static str, String)> {
    let Release { number, release, .. } = release;
    let mut facts = vec![("release", number.to_string()), ("commit", release.revision.to_string())];
    facts.extend(release.commit.iter().flat_map(commit_facts));
    facts
}

fn of_plan(why: &WhyNode, nodes: usize) -> Option<(&'static str, String)> {
    let PlanRecord { node, plan, release, published_at, acked_at } = why.plan.as_ref()?;
    let node = if nodes == 1 { String::new() } else { format!("{node}: ") };
    let of = release.map(|release| format!(", of release {release}")).unwrap_or_default();
    let published = published_at.map(|at| format!(", published {}", moment(at))).unwrap_or_default();
    let acked = match acked_at {
        Some(at) => format!(", acknowledged {}", moment(*at)),
        None => ", not acknowledged".to_owned(),
    };
    let acked = if release.is_none() { String::new() } else { acked };
    let name = format!("generation {} {}", plan.generation, plan.digest.short());
    Some(("newest plan", format!("{node}{name}{of}{published}{acked}")))
}

fn state(state: Option<InstanceState>) -> String {
    let (word, style) = instance_word(state.unwrap_or(InstanceState::Unknown));
    painted(style, word)
}

#[cfg(test)]
mod tests;
