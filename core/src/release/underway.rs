//! The release under way, from what is kept of it: what it brought where, and, where it failed, how it is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Release, StepEffect, StepRecord};
use crate::name::{NodeName, ServiceName};
use crate::plan::Ensure;
use crate::planner::{Brought, Underway, Undo};

/// What was there and well before a release touched it.
#[derive(Clone, Debug, PartialEq)]
pub struct Good {
    /// Where.
    pub node: NodeName,
    /// What.
    pub service: ServiceName,
    /// In which form; none where it was removed.
    pub ensure: Option<Arc<Ensure>>,
}

/// What is known of `release`, which brought `steps`. `good` is needed only where it failed.
pub fn underway(release: &Release, steps: &[StepRecord], good: Vec<Good>) -> Underway {
    let mut steps: Vec<&StepRecord> = steps.iter().collect();
    steps.sort_by_key(|step| step.change.generation);
    let brought = steps.iter().filter_map(|step| {
        let at = step.published_at?;
        let brought = Brought { digest: step.change.digest, at, satisfied_at: step.satisfied_at };
        Some((key(step), brought))
    });
    let undo = release.failed.as_ref().map(|failed| {
        let (good, unknown) = before(&steps, good);
        Arc::new(Undo { reason: failed.reason.clone(), at: failed.at, good, unknown })
    });
    let (began_at, attempts) = (Some(release.release.began_at), release.attempts);
    Underway { began_at, attempts, brought: brought.collect(), undo }
}

type GoodByNode = BTreeMap<NodeName, BTreeMap<ServiceName, Option<Arc<Ensure>>>>;

/// What each touched step was before, and of which that is not known. `steps` are the oldest first.
fn before(steps: &[&StepRecord], good: Vec<Good>) -> (GoodByNode, BTreeSet<(NodeName, ServiceName)>) {
    let mut known: BTreeMap<_, _> =
        good.into_iter().map(|good| ((good.node, good.service), good.ensure)).collect();
    let (mut by_node, mut unknown) = (GoodByNode::new(), BTreeSet::new());
    let mut first: BTreeMap<(NodeName, ServiceName), StepEffect> = BTreeMap::new();
    for step in steps {
        first.entry(key(step)).or_insert(step.change.effect);
    }
    for ((node, service), effect) in first {
        let place = (node.clone(), service.clone());
        match known.remove(&place) {
            Some(ensure) => _ = by_node.entry(node).or_default().insert(service, ensure),
            None if effect == StepEffect::Create => {
                _ = by_node.entry(node).or_default().insert(service, None)
            }
            None => _ = unknown.insert(place),
        }
    }
    (by_node, unknown)
}

fn key(step: &StepRecord) -> (NodeName, ServiceName) {
    (step.change.node.clone(), step.change.service.clone())
}
