//! What any store accepts: plans that continue the chain of their node, and nothing without its content.
//!
//! Kept apart from the stores so that they cannot differ in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::name::{Digest, Generation, NodeName, Revision};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::PlanId;

use super::{Publication, StoreError};

/// The first node whose plan does not name the end of its chain as its parent; none if all do. `heads` is where the
/// chains end; several plans of one node may follow each other.
///
/// # Errors
///
/// A plan that continues its chain without a greater generation, or with one beyond the last: no new
/// pass could mend that.
pub(super) fn conflict(
    plans: &[Arc<NodePlan>],
    mut heads: BTreeMap<NodeName, PlanId>,
) -> Result<Option<NodeName>, StoreError> {
    for plan in plans {
        let head = heads.insert(plan.node.clone(), PlanId::of(plan));
        if head.map(|head| head.digest) != plan.parent {
            return Ok(Some(plan.node.clone()));
        }
        let last = head.map_or(Generation(0), |head| head.generation);
        if plan.generation <= last || plan.generation > Generation::LAST {
            let NodePlan { node, generation, .. } = &**plan;
            return Err(StoreError::Refused(format!(
                "generation {generation} of `{node}` does not follow {last}"
            )));
        }
    }
    Ok(None)
}

/// That a release is of the revision that is deployed with it.
///
/// # Errors
///
/// Otherwise: a mistake in the program.
pub(super) fn check_release(publication: &Publication) -> Result<(), StoreError> {
    let of = publication.release.as_ref().map(|opened| &opened.release.revision);
    match of.is_none_or(|revision| publication.deployed.as_ref() == Some(revision)) {
        true => Ok(()),
        false => {
            Err(StoreError::Refused("a release begins with another revision than is deployed".to_owned()))
        }
    }
}

/// Whether `revision` begins a release, or goes on with the newest one.
pub(super) fn begins(
    revision: &Revision,
    deployed: Option<&Revision>,
    newest_release: Option<&Revision>,
) -> bool {
    deployed != Some(revision) || newest_release != Some(revision)
}

/// The content that a plan names.
pub(super) fn blobs_named(plan: &NodePlan) -> BTreeSet<Digest> {
    let files = plan.steps.iter().filter_map(Step::as_ensure).flat_map(|ensure| ensure.files.values());
    files.map(|file| file.digest).collect()
}

/// A plan names content that nobody has: its agent could never fetch it.
pub(super) fn content_missing() -> StoreError {
    StoreError::Refused("a plan names content that is neither stored nor published with it".to_owned())
}
