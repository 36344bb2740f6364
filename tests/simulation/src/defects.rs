//! Defects that are put in on purpose, to see that the rules find them.
//!
//! Nothing of this is in the product: a defect sits at a seam of the simulator and makes the planner, the store or the
//! ledger behave, from outside, as if it were broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops::daemon::state::Pass;
use gitops::store::{Publication, Published, Snapshot};
use gitops_core::decision::{Awaiting, Vote};
use gitops_core::name::{Generation, NodeName};
use gitops_core::plan::{NodePlan, Remove, Step};
use gitops_core::reconcile::Outcome;
use gitops_core::tree::Tree;
use jiff::Timestamp;

use crate::repository::Shape;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// See [`DEFECTS`].
    RemovalsAreForgotten,
    /// See [`DEFECTS`].
    StepsVanish,
    /// See [`DEFECTS`].
    WantedIsRemoved,
    /// See [`DEFECTS`].
    RemovalsHaveNoReason,
    /// See [`DEFECTS`].
    GenerationsIgnoreAgents,
    /// See [`DEFECTS`].
    EveryPassPlans,
    /// See [`DEFECTS`].
    ConflictsCountAsWritten,
    /// See [`DEFECTS`].
    ParentsAreNotCompared,
    /// See [`DEFECTS`].
    StatusesAreNotStored,
    /// See [`DEFECTS`].
    PublicationsAreHalfWritten,
    /// See [`DEFECTS`].
    ContentIsNotStored,
    /// See [`DEFECTS`].
    LedgerTakesOlderPlans,
    /// See [`DEFECTS`].
    LedgerIsNotWritten,
    /// See [`DEFECTS`].
    LedgerLosesItsLastPlan,
    /// See [`DEFECTS`].
    SecondAgentsAreLetIn,
    /// See [`DEFECTS`].
    CopiesAreLetIn,
    /// See [`DEFECTS`].
    RefusedAgentsGoOn,
    /// See [`DEFECTS`].
    NewerRevisionsWait,
    /// See [`DEFECTS`].
    LimitsAreForgotten,
    /// See [`DEFECTS`].
    EverythingIsApproved,
    /// See [`DEFECTS`].
    WindowsAreForgotten,
    /// See [`DEFECTS`].
    FailuresAreForgotten,
    /// See [`DEFECTS`].
    FailedReleasesGoOn,
    /// See [`DEFECTS`].
    UndoForgetsANode,
}

/// All of them: where they are, and what is wrong.
pub const DEFECTS: [(Defect, &str, &str); 24] = [
    (Defect::RemovalsAreForgotten, "planner", "what is not wanted any more gets no `Remove`"),
    (Defect::StepsVanish, "planner", "the last step of a plan is left out"),
    (Defect::WantedIsRemoved, "planner", "a service that is wanted is removed"),
    (Defect::RemovalsHaveNoReason, "planner", "a `Remove` has no reason"),
    (Defect::GenerationsIgnoreAgents, "planner", "an agent that is ahead is not planned past"),
    (Defect::EveryPassPlans, "planner", "each pass makes a new generation of what stands"),
    (Defect::ConflictsCountAsWritten, "store", "a publication that conflicts is said to be written"),
    (Defect::ParentsAreNotCompared, "store", "a plan is written whatever its parent"),
    (Defect::StatusesAreNotStored, "store", "a status is said to be durable and is not"),
    (Defect::PublicationsAreHalfWritten, "store", "of several plans only the first is written"),
    (Defect::ContentIsNotStored, "store", "the newest plan can be read, and the deployed revision is lost"),
    (Defect::LedgerTakesOlderPlans, "ledger", "an older generation is accepted"),
    (Defect::LedgerIsNotWritten, "ledger", "a plan is walked that is not in the ledger"),
    (Defect::LedgerLosesItsLastPlan, "ledger", "after a restart it holds the plan before"),
    (Defect::SecondAgentsAreLetIn, "lease", "a second agent gets the plan"),
    (
        Defect::CopiesAreLetIn,
        "lease",
        "what runs on a copied disk counts as the agent that it was copied from",
    ),
    (Defect::RefusedAgentsGoOn, "lease", "an agent that was refused takes it for an outage"),
    (
        Defect::NewerRevisionsWait,
        "planner",
        "a newer revision is taken in when every node is done with the one before",
    ),
    (Defect::LimitsAreForgotten, "planner", "`max_unavailable` is not looked at"),
    (Defect::EverythingIsApproved, "planner", "what needs approval counts as approved"),
    (Defect::WindowsAreForgotten, "planner", "plans do not say when a change may begin"),
    (Defect::FailuresAreForgotten, "store", "it is not written that a release failed"),
    (
        Defect::FailedReleasesGoOn,
        "planner",
        "every third pass takes a release that failed for one that goes on",
    ),
    (Defect::UndoForgetsANode, "planner", "where a release is undone, the last node gets no plan"),
];

impl Defect {
    /// Whether a second agent is taken for the first: one with the same id, or any.
    pub(crate) fn lets_in(self, is_copy: bool) -> bool {
        self == Self::SecondAgentsAreLetIn || (self == Self::CopiesAreLetIn && is_copy)
    }

    /// Breaks what a pass came to.
    pub(crate) fn plan(self, outcome: &mut Outcome, pass: &Pass) {
        let before = &pass.plans;
        match self {
            Self::EveryPassPlans => outcome.plans = anew(outcome, before),
            Self::RemovalsAreForgotten => change(outcome, |plan| {
                plan.steps.retain(|step| step.as_ensure().is_some());
            }),
            Self::StepsVanish => change(outcome, |plan| {
                plan.steps.pop();
            }),
            Self::WantedIsRemoved => change(outcome, |plan| {
                if plan.generation.0.is_multiple_of(3) {
                    plan.steps.first_mut().into_iter().for_each(remove);
                }
            }),
            Self::RemovalsHaveNoReason => change(outcome, |plan| {
                for step in &mut plan.steps {
                    if let Step::Remove(remove) = step {
                        remove.because.clear();
                    }
                }
            }),
            Self::UndoForgetsANode if pass.facts.underway.undo.is_some() => {
                let last = before.keys().next_back();
                outcome.plans.retain(|plan| Some(&plan.node) != last);
            }
            Self::GenerationsIgnoreAgents => outcome.plans.retain(|plan| {
                let held = pass.reported.nodes.get(&plan.node).and_then(|last| last.status.accepted);
                held.is_none_or(|held| {
                    before.get(&plan.node).is_some_and(|last| last.generation >= held.generation)
                })
            }),
            _ => {}
        }
    }

    /// Breaks what a pass is told.
    pub(crate) fn mislead(self, pass: &mut Pass, number: u64) {
        match self {
            Self::EverythingIsApproved => {
                let approved =
                    pass.outcome().awaiting.into_iter().flat_map(|awaiting| agreed(&awaiting, pass.now));
                Arc::make_mut(&mut pass.facts.decisions).votes.extend(approved);
            }
            Self::FailedReleasesGoOn if number.is_multiple_of(3) => {
                Arc::make_mut(&mut pass.facts.underway).undo = None;
            }
            _ => {}
        }
    }

    /// Breaks what is read from a commit.
    pub(crate) fn read(self, shape: &Shape) -> Option<Arc<Tree>> {
        match self {
            Self::LimitsAreForgotten => Some(shape.limitless().tree()),
            Self::WindowsAreForgotten => Some(shape.always_open().tree()),
            _ => None,
        }
    }

    /// Breaks a publication.
    pub(crate) fn publish(
        self,
        mut publication: Publication,
        stored: &Snapshot,
        publish: impl Fn(Publication) -> Result<Published, String>,
    ) -> Result<Published, String> {
        match self {
            Self::ConflictsCountAsWritten => match publish(publication)? {
                Published::Conflict(_) | Published::Unaware => Ok(Published::Done(Vec::new())),
                done => Ok(done),
            },
            Self::ParentsAreNotCompared => {
                publication.version = None;
                for plan in &mut publication.plans {
                    *plan = on_top(plan, stored.plans.get(&plan.node));
                }
                publish(publication)
            }
            Self::PublicationsAreHalfWritten => {
                publication.plans.truncate(1);
                publish(publication)
            }
            Self::FailuresAreForgotten => {
                publication.failed = None;
                publish(publication)
            }
            Self::ContentIsNotStored => {
                publication.deployed = None;
                publication.release = None;
                publish(publication)
            }
            _ => publish(publication),
        }
    }
}

/// As many votes as anything needs.
fn agreed(awaiting: &Awaiting, at: Timestamp) -> impl Iterator<Item = Vote> + use<> {
    let Awaiting { plan, revision, changes, needed, .. } = awaiting.clone();
    let people = (0..needed.approvals).map(|number| format!("person-{number}"));
    people.map(move |by| Vote {
        plan,
        revision: revision.clone(),
        changes: changes.clone(),
        by: by.into(),
        roles: BTreeSet::new(),
        approves: true,
        reason: None,
        at,
    })
}

/// Each plan changed and sealed again.
fn change(outcome: &mut Outcome, change: impl Fn(&mut NodePlan)) {
    for plan in &mut outcome.plans {
        let mut changed = (**plan).clone();
        change(&mut changed);
        *plan = Arc::new(sealed(changed));
    }
}

fn sealed(plan: NodePlan) -> NodePlan {
    let NodePlan { node, generation, parent, revision, steps, .. } = plan;
    NodePlan::new(node, generation, parent, revision, steps)
}

fn remove(step: &mut Step) {
    if let Step::Ensure(ensure) = step {
        let (service, project) = (ensure.service.clone(), ensure.project.clone());
        let because = ensure.because.clone();
        *step = Step::Remove(Remove {
            service,
            project,
            volumes_kept: Vec::new(),
            after: Vec::new(),
            because,
            spans: Vec::new(),
            wave: ensure.terms.wave,
        });
    }
}

/// For each node that has a plan and gets no new one: the same once more.
fn anew(outcome: &Outcome, before: &BTreeMap<NodeName, Arc<NodePlan>>) -> Vec<Arc<NodePlan>> {
    let mut plans: BTreeMap<NodeName, Arc<NodePlan>> =
        outcome.plans.iter().map(|plan| (plan.node.clone(), plan.clone())).collect();
    for (node, plan) in before {
        let next = || {
            let (generation, parent) = (Generation(plan.generation.0 + 1), Some(plan.digest));
            let (revision, steps) = (plan.revision.clone(), plan.steps.clone());
            Arc::new(NodePlan::new(node.clone(), generation, parent, revision, steps))
        };
        plans.entry(node.clone()).or_insert_with(next);
    }
    plans.into_values().collect()
}

/// The plan as a store takes it that does not compare parents.
fn on_top(plan: &Arc<NodePlan>, head: Option<&Arc<NodePlan>>) -> Arc<NodePlan> {
    let mut plan = (**plan).clone();
    plan.parent = head.map(|head| head.digest);
    plan.generation = plan.generation.max(Generation(head.map_or(0, |head| head.generation.0) + 1));
    Arc::new(sealed(plan))
}
