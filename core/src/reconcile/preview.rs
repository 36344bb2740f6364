//! What a pass would do, named by one digest, so that people can agree to exactly that.
//!
//! A *plan id* is the digest over the commit and, for each node on which something changes or is held back, over
//!
//! - the stored plan that the change starts from, by generation and digest;
//! - what the node gets: its steps, by what they ask of the host. The instance digest of a step covers its model, its
//!   files and whether it runs. Reasons tell how a step came to be, and the generation of the new plan only counts, so
//!   neither is covered;
//! - what is held back, with the instance digest that it waits to have: it follows without another question;
//! - where something changes, what planning read of the node's report: the plan that its agent accepted, and which
//!   steps of the stored plan are not done as that plan has them. Planning asks nothing else of a report. Messages,
//!   health, restarts, the machine and heartbeats are left out, and a step that waits is not told from one that
//!   fails, because planning does not tell them apart.
//!
//! What planning reads of other nodes (a dependency elsewhere that is ready, a node that is silent) shows in what is
//! held back and in where things go. Nodes that stay as they are are not covered: whatever happens on them, the promise
//! stands.

pub mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Definitions, Inputs, Known, Outcome, Seen, reconcile};
use crate::catalog::Catalog;
use crate::decision::Decisions;
use crate::desired::Desired;
use crate::diagnostic::Diagnostic;
use crate::diff::{self, Diff, Scope, Selection, Side, State};
use crate::holders::Holders;
use crate::name::{Digest, NodeName, Revision, ServiceName};
use crate::plan::{Ensure, NodePlan, Remove, Step};
use crate::planner::{Facts, Planned};
use crate::status::{NodeStatus, PlanId, Reported};
use crate::tree::Tree;

/// The fleet as it is at one moment, as far as planning looks at it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The definitions that are deployed; none where nothing is yet.
    pub deployed: Option<Arc<Definitions>>,
    /// The newest plan of each node.
    pub plans: Arc<BTreeMap<NodeName, Arc<NodePlan>>>,
    /// What nodes said last.
    pub reported: Arc<Reported>,
    /// What people decided.
    pub decisions: Arc<Decisions>,
    /// Nodes that are silent: nothing new goes there if it can be helped.
    pub silent: BTreeSet<NodeName>,
    /// When it was taken.
    pub now: Timestamp,
    /// A report older than this is not believed.
    pub stale_after: SignedDuration,
    /// Since when whoever took it has been listening.
    pub listening_since: Timestamp,
    /// What the last pass saw. It never changes what comes out, only how fast.
    pub seen: Arc<Seen>,
}

/// A tree that is not deployed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The commit, where it is one. What is no commit cannot be deployed, so that a plan for it has no id.
    pub revision: Option<Revision>,
    /// What it is called.
    pub label: Arc<str>,
    /// Its files.
    pub tree: Arc<Tree>,
}

/// What deploying a proposal would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Preview {
    /// The commit, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// What its id covers.
    pub touched: BTreeMap<NodeName, Touched>,
    /// The same for people, with its id.
    pub diff: Diff,
}

/// A proposal, planned over a picture.
#[derive(Debug)]
pub struct Prospect<'p> {
    picture: &'p Picture,
    proposal: &'p Proposal,
    definitions: Definitions,
    outcome: Outcome,
}

impl Picture {
    /// What of a selection only definitions can know: a node with a plan is one, whether it is defined or not, and so is
    /// what it holds.
    pub fn known_of<'s>(&self, selection: Selection<'s>) -> Selection<'s> {
        let holds = |name: &&ServiceName| self.plans.values().any(|plan| plan.step(name).is_some());
        Selection {
            service: selection.service.filter(|name| !holds(name)),
            node: selection.node.filter(|name| !self.plans.contains_key(*name)),
            ..selection
        }
    }
}

/// What deploying `proposal` to the fleet of `picture` would do. It is what a pass over it comes to: incremental in what
/// differs from the deployed definitions.
///
/// # Errors
///
/// All findings, in order, if one of them is an error.
pub fn preview(picture: &Picture, proposal: &Proposal) -> Result<Preview, Vec<Diagnostic>> {
    Ok(Prospect::of(picture, proposal)?.preview())
}

impl<'p> Prospect<'p> {
    /// The first name of a selection that neither these definitions nor the deployed ones have, nor a plan.
    pub fn unknown(&self, selection: &Selection<'_>) -> Option<String> {
        let deployed = self.picture.deployed.as_ref().map(|deployed| &deployed.catalog);
        let sides: Vec<&Catalog> = deployed.into_iter().chain([&self.definitions.catalog]).collect();
        self.picture.known_of(*selection).unknown(&sides)
    }

    /// Plans it.
    ///
    /// # Errors
    ///
    /// All findings, in order, if one of them is an error.
    pub fn of(picture: &'p Picture, proposal: &'p Proposal) -> Result<Self, Vec<Diagnostic>> {
        let Picture { deployed, plans, reported, now, stale_after, listening_since, seen, .. } = picture;
        let holders = Holders::of_plans(plans.clone())
            .with_offline(picture.silent.clone())
            .with_closed(picture.decisions.closed(*now));
        let known = Known { previous: deployed.as_deref(), holders: Some(&holders), now: *now };
        let commit = proposal.revision.clone().unwrap_or_else(Revision::uncommitted);
        let definitions = Definitions::load(commit, &proposal.tree, &known)?;
        let outcome = reconcile(&Inputs {
            definitions: &definitions,
            plans,
            reported,
            now: *now,
            stale_after: *stale_after,
            listening_since: *listening_since,
            facts: &Facts { decisions: picture.decisions.clone(), ..Facts::default() },
            seen: Some(seen),
        });
        Ok(Self { picture, proposal, definitions, outcome })
    }

    /// What it would do, of what is looked at: from what nodes hold by their plans to what they are to get.
    pub fn diff(&self, selection: &Selection<'_>) -> Diff {
        let Picture { deployed, plans, now, .. } = self.picture;
        let nothing = deployed.is_none().then(|| Definitions::nothing(*now));
        let old = deployed.as_deref().or(nothing.as_ref()).expect("there are some, or there is nothing");
        let label = deployed.as_ref().map_or_else(|| "nothing".to_owned(), |old| old.revision.to_string());
        let (old, new) = (old.side(label), self.definitions.side(&*self.proposal.label));
        let moved = self.outcome.seen.moved.as_ref();
        let new = Side { desired: moved.map_or(new.desired, |moved| &moved.desired), ..new };
        let (held, wanted) = (State::of_plans(plans, Some(old.desired)), State::of_desired(new.desired));
        let scope = Scope { selection, ..Scope::at(*now) };
        // A plan is one for the whole fleet: what is seen of a part of it is no plan.
        let plan = self.id().filter(|_| selection.is_everything());
        Diff { plan, ..diff::compare_states(&old, &new, (&held, &wanted), &scope) }
    }

    /// The plan id; none for what is no commit.
    pub fn id(&self) -> Option<Digest> {
        self.proposal.revision.as_ref().map(|revision| self.outcome.id(revision))
    }

    /// All of it, to be kept.
    pub fn preview(&self) -> Preview {
        Preview {
            revision: self.proposal.revision.clone(),
            touched: self.outcome.touched.clone(),
            diff: self.diff(&Selection::default()),
        }
    }
}

/// Version of the rule by which a plan id is made. Ids of different rules never agree.
const RULE: u32 = 1;

/// What a plan id covers of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Touched {
    /// The stored plan that it starts from; none where the node has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PlanId>,
    /// Over what its new plan asks of the host; none where it keeps the plan that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gets: Option<Digest>,
    /// What is held back, with the instance digest that it waits to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<ServiceName, Option<Digest>>,
    /// The plan that its agent has accepted, where it gets a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<PlanId>,
    /// Where that is the stored plan: its steps that are not done as it has them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub undone: BTreeSet<ServiceName>,
}

/// The plan id: see the head of this file.
pub fn id(revision: &Revision, touched: &BTreeMap<NodeName, Touched>) -> Digest {
    let content = serde_json::to_vec(&(RULE, revision, touched));
    Digest::of(content.expect("names, numbers and digests are JSON, and the keys are names"))
}

impl Outcome {
    /// The id of this plan for the fleet, which is what was planned at `revision`.
    pub fn id(&self, revision: &Revision) -> Digest {
        id(revision, &self.touched)
    }
}

/// What the id covers of a node, if it is touched at all.
pub(super) fn touched(
    inputs: &Inputs<'_>,
    desired: &Desired,
    node: &NodeName,
    planned: &Planned,
) -> Option<Touched> {
    if planned.plan.is_none() && planned.waiting.is_empty() {
        return None;
    }
    let stored = inputs.plans.get(node).map(|plan| &**plan);
    let wanted = |service: &ServiceName| desired.instance(node, service).map(|one| one.ensure.digest);
    let status = inputs.reported.nodes.get(node).map(|reported| &*reported.status);
    let status = status.filter(|_| planned.plan.is_some());
    Some(Touched {
        from: stored.map(PlanId::of),
        gets: planned.plan.as_deref().map(|plan| asked(&plan.steps)),
        held: planned.waiting.keys().map(|service| (service.clone(), wanted(service))).collect(),
        accepted: status.and_then(|status| status.accepted),
        undone: status.map(|status| undone(stored, status)).unwrap_or_default(),
    })
}

/// Over what steps ask of the host, in their order.
fn asked(steps: &[Step]) -> Digest {
    let content: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Ensure(Ensure { service, project, digest, after, health_within, .. }) => {
                (service, project, after, Some((digest, health_within)))
            }
            Step::Remove(Remove { service, project, after, .. }) => (service, project, after, None),
        })
        .collect();
    Digest::of(serde_json::to_vec(&content).expect("names, numbers and digests are JSON"))
}

fn undone(stored: Option<&NodePlan>, status: &NodeStatus) -> BTreeSet<ServiceName> {
    let accepted = stored.filter(|stored| status.accepted == Some(PlanId::of(stored)));
    let Some(stored) = accepted else { return BTreeSet::new() };
    let digest = |step: &Step| step.as_ensure().map(|ensure| ensure.digest);
    let is_done = |step: &&Step| status.has_done(stored, step.service(), digest(step));
    stored.steps.iter().filter(|step| !is_done(step)).map(|step| step.service().clone()).collect()
}

#[cfg(test)]
mod tests;
