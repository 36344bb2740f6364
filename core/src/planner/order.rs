//! The order of a plan's steps: each after those that it names.
//!
//! Steps come from different times: new ones know today's dependencies, held ones and removals those of the plan that
//! they were taken from. Where the two contradict each other, the older word gives way: what it orders is there
//! already.

use std::collections::BTreeSet;

use crate::name::ServiceName;
use crate::plan::Step;

/// The steps in an order that keeps to every `after`, as near as can be to the order in which they come. An `after`
/// that closes a circle is dropped.
pub(super) fn ordered(mut steps: Vec<Step>) -> Vec<Step> {
    let mut ordered = Vec::with_capacity(steps.len());
    let mut open: BTreeSet<ServiceName> = steps.iter().map(|step| step.service().clone()).collect();
    while !steps.is_empty() {
        let is_free =
            |step: &Step| step.after().iter().all(|other| !open.contains(other) || other == step.service());
        let next = steps.iter().position(is_free).unwrap_or_else(|| give_way(&mut steps, &open));
        let step = steps.remove(next);
        open.remove(step.service());
        ordered.push(step);
    }
    ordered
}

/// Breaks a circle at a removal if there is one in it: what goes has no need of order. Says which step is free now.
fn give_way(steps: &mut [Step], open: &BTreeSet<ServiceName>) -> usize {
    let next = steps.iter().position(|step| matches!(step, Step::Remove(_))).unwrap_or(0);
    let after = match &mut steps[next] {
        Step::Ensure(ensure) => &mut ensure.after,
        Step::Remove(remove) => &mut remove.after,
    };
    after.retain(|other| !open.contains(other));
    next
}
