//! Whether steps make a new plan, and which generation it has.

use crate::name::{Generation, NodeName, Revision};
use crate::plan::{NodePlan, Step};
use crate::status::{NodeStatus, PlanId};

use super::is_removed;

/// The next plan of a node; none if the last one already says all of it.
pub(super) fn succeed(
    revision: &Revision,
    node: &NodeName,
    steps: Vec<Step>,
    previous: Option<&NodePlan>,
    status: Option<&NodeStatus>,
    generation: Generation,
) -> Option<NodePlan> {
    let ahead = ahead(previous, status);
    let unchanged = match previous {
        Some(previous) => says_the_same(previous, &steps, status),
        None => steps.is_empty(),
    };
    if unchanged && (ahead.is_none() || steps.is_empty() && previous.is_none()) {
        return None;
    }
    let parent = previous.map(|plan| plan.digest);
    Some(NodePlan::new(node.clone(), generation, parent, revision.clone(), steps))
}

/// The generation of the next plan of a node; none where the node is at the end of all numbers. Only an agent that makes
/// up what it holds can bring it there.
pub(super) fn next_generation(
    previous: Option<&NodePlan>,
    status: Option<&NodeStatus>,
) -> Option<Generation> {
    let last = previous.map_or(Generation::default(), |plan| plan.generation);
    ahead(previous, status).map_or(last, |ahead| ahead.generation.max(last)).next()
}

/// The plan that the agent holds, if this store does not know it to be older.
pub(super) fn ahead(previous: Option<&NodePlan>, status: Option<&NodeStatus>) -> Option<PlanId> {
    status.and_then(|status| status.accepted).filter(|accepted| is_ahead(*accepted, previous))
}

/// Whether the agent holds a plan that this store does not know to be older: the store was restored from a backup.
/// The agent would refuse anything that is not beyond it.
fn is_ahead(accepted: PlanId, previous: Option<&NodePlan>) -> bool {
    match previous {
        None => true,
        Some(plan) if accepted.generation == plan.generation => accepted.digest != plan.digest,
        Some(plan) => accepted.generation > plan.generation,
    }
}

/// A removal that is done makes no difference: it leaves the plan with the next change, and causes none.
fn says_the_same(previous: &NodePlan, steps: &[Step], status: Option<&NodeStatus>) -> bool {
    let mut standing = previous.steps.iter().filter(|step| !is_removed(step, Some(previous), status)).count();
    let same = steps.iter().all(|step| {
        let before =
            previous.step(step.service()).filter(|before| !is_removed(before, Some(previous), status));
        standing -= usize::from(before.is_some());
        before.is_some_and(|before| before.same_effect(step) && before.spans() == step.spans())
    });
    same && standing == 0
}
