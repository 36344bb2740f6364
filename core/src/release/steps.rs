//! When the steps of a node took their present form, and when the node had done them.
//!
//! A plan names everything that should run, changed or not, so that it alone does not tell since when a step is as it
//! is. That is recorded beside the plan for each step whose form the plan changes, and is what `gitops why` starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diff::{self, Effect};
use crate::name::{Digest, Generation, NodeName, ServiceName};
use crate::plan::{Ensure, NodePlan, Step};
use crate::status::{NodeStatus, PlanId};

/// A step that a plan brings into a new form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepChange {
    /// Where.
    pub node: NodeName,
    /// What.
    pub service: ServiceName,
    /// Of the plan that brought it.
    pub generation: Generation,
    /// Which wave of its release it belongs to.
    #[serde(default)]
    pub wave: i32,
    /// The instance digest; none where it is a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The most that happened to a running container.
    pub effect: StepEffect,
}

/// The most that a step does to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepEffect {
    /// No container is touched.
    Nothing,
    /// Containers are added, taken away, stopped or started; those that go on are left alone.
    Adjust,
    /// All of its containers are new.
    Create,
    /// The same containers are stopped and started.
    Restart,
    /// Running containers are replaced by new ones.
    Recreate,
    /// Its containers are removed.
    Remove,
}

impl StepEffect {
    fn of(old: Option<&Step>, new: &Step) -> Self {
        let (old, new) = (old.and_then(Step::as_ensure), new.as_ensure());
        match (old, new) {
            (_, None) => Self::Remove,
            (None, Some(_)) => Self::Create,
            (Some(_), Some(_)) => {
                diff::effects(old, new).into_values().map(Self::of_container).max().unwrap_or(Self::Nothing)
            }
        }
    }

    fn of_container(effect: Effect) -> Self {
        match effect {
            Effect::Recreate => Self::Recreate,
            Effect::Restart => Self::Restart,
            Effect::Create | Effect::Scale | Effect::Switch | Effect::Remove => Self::Adjust,
        }
    }

    /// Whether something that runs is away for a while.
    pub fn interrupts(self) -> bool {
        matches!(self, Self::Restart | Self::Recreate)
    }
}

/// A stored step change, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// The change.
    #[serde(flatten)]
    pub change: StepChange,
    /// The release whose publication brought it; none where there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub published_at: Option<Timestamp>,
    /// When the node first said that it is done; none while it has not, and where another change came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub satisfied_at: Option<Timestamp>,
}

/// What `plans`, each following the one before it or the one in `before`, bring into a new form.
pub fn changes(before: &BTreeMap<NodeName, Arc<NodePlan>>, plans: &[Arc<NodePlan>]) -> Vec<StepChange> {
    let mut heads: BTreeMap<&NodeName, &NodePlan> = BTreeMap::new();
    let mut changes = Vec::new();
    for plan in plans {
        let head = heads.insert(&plan.node, plan).or_else(|| before.get(&plan.node).map(|plan| &**plan));
        changes.extend(changes_of(head, plan));
    }
    changes
}

fn changes_of<'a>(before: Option<&'a NodePlan>, plan: &'a NodePlan) -> impl Iterator<Item = StepChange> + 'a {
    let before: BTreeMap<&ServiceName, &Step> =
        before.into_iter().flat_map(|plan| &plan.steps).map(|step| (step.service(), step)).collect();
    let vanished = vanished(&before, plan);
    let changed = plan.steps.iter().filter_map(move |step| {
        let old = before.get(step.service()).copied();
        let same = old.is_some_and(|old| old.same_effect(step));
        (!same).then(|| StepChange {
            node: plan.node.clone(),
            service: step.service().clone(),
            generation: plan.generation,
            wave: step.wave(),
            digest: step.as_ensure().map(|ensure| ensure.digest),
            effect: StepEffect::of(old, step),
        })
    });
    changed.chain(vanished)
}

/// What stands under another name from now on: its old name is gone, without a step that says so.
fn vanished(before: &BTreeMap<&ServiceName, &Step>, plan: &NodePlan) -> Vec<StepChange> {
    let ensured = before.values().filter_map(|step| step.as_ensure());
    let goes_on = |old: &Ensure| {
        let new = plan.steps.iter().filter_map(Step::as_ensure);
        new.map(|new| &new.project).any(|project| *project == old.project)
    };
    let gone = ensured.filter(|ensure| plan.step(&ensure.service).is_none() && goes_on(ensure));
    let change = |ensure: &Ensure| StepChange {
        node: plan.node.clone(),
        service: ensure.service.clone(),
        generation: plan.generation,
        wave: ensure.terms.wave,
        digest: None,
        effect: StepEffect::Remove,
    };
    gone.map(change).collect()
}

/// What a report says for the first time about the plan that its node has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The plan.
    pub plan: PlanId,
    /// Whether all of its steps are satisfied.
    pub is_acked: bool,
    /// The steps that are, and were not in the report before.
    pub services: Vec<ServiceName>,
}

/// What `after` says of `plan` that `before` did not say.
pub fn reached(before: Option<&NodeStatus>, after: &NodeStatus, plan: &NodePlan) -> Option<Reached> {
    let id = PlanId::of(plan);
    if after.accepted != Some(id) {
        return None;
    }
    let before = before.filter(|before| before.accepted == Some(id));
    let is_new = |step: &&Step| after.satisfies(step) && !before.is_some_and(|before| before.satisfies(step));
    let services: Vec<ServiceName> =
        plan.steps.iter().filter(is_new).map(|step| step.service().clone()).collect();
    let is_acked = after.acks(plan) && !before.is_some_and(|before| before.acks(plan));
    (is_acked || !services.is_empty()).then_some(Reached { plan: id, is_acked, services })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ContainerDigest, ContainerSpec, Ensure, Model, OnFileChange, Remove, RunState};
    use crate::status::{AgentInfo, HostInfo, StepOutcome, StepResult};

    /// A step with one container, made from `config` and `files`.
    fn ensure(config: &str, files: &str, replicas: u32, health_within: u32) -> Step {
        let config = ContainerDigest { rule: 1, digest: Digest::of(config) };
        let spec = ContainerSpec { config, files: Some(Digest::of(files)), replicas, completes: false };
        Step::Ensure(Ensure {
            service: "web".parse().expect("a name"),
            project: "web".into(),
            digest: Digest::of(format!("{config} {files} {replicas}")),
            state: RunState::Running,
            model: Model::from_canonical("{}"),
            files: BTreeMap::new(),
            containers: BTreeMap::from([("app".into(), spec)]),
            after: Vec::new(),
            health_within,
            on_file_change: OnFileChange::Restart,
            terms: Default::default(),
            because: Vec::new(),
        })
    }

    fn remove() -> Step {
        let (service, project) = ("web".parse().expect("a name"), "web".into());
        Step::Remove(Remove {
            service,
            project,
            volumes_kept: Vec::new(),
            after: Vec::new(),
            wave: 0,
            spans: Vec::new(),
            because: Vec::new(),
        })
    }

    fn plan(generation: u64, step: Option<Step>) -> Arc<NodePlan> {
        let (node, revision) =
            ("edge-1".parse().expect("a name"), "a".repeat(40).parse().expect("a revision"));
        Arc::new(NodePlan::new(node, Generation(generation), None, revision, step.into_iter().collect()))
    }

    #[test]
    fn a_step_changes_where_its_effect_does_and_the_worst_for_a_container_is_told() {
        use StepEffect::{Adjust, Create, Nothing, Recreate, Remove, Restart};
        let base = || Some(ensure("a", "x", 1, 60));
        for (before, after, expected) in [
            (None, base(), Some(Create)),
            (base(), base(), None),
            (base(), None, None),
            (base(), Some(ensure("b", "x", 1, 60)), Some(Recreate)),
            (base(), Some(ensure("a", "y", 1, 60)), Some(Restart)),
            (base(), Some(ensure("a", "x", 2, 60)), Some(Adjust)),
            (base(), Some(ensure("a", "x", 1, 90)), Some(Nothing)),
            (base(), Some(remove()), Some(Remove)),
            (Some(remove()), Some(remove()), None),
            (Some(remove()), base(), Some(Create)),
        ] {
            let (before, after) = (plan(1, before), plan(2, after));
            let known = BTreeMap::from([(before.node.clone(), before.clone())]);
            let found = changes(&known, std::slice::from_ref(&after));
            let effects: Vec<StepEffect> = found.iter().map(|change| change.effect).collect();
            assert_eq!(effects, expected.into_iter().collect::<Vec<_>>(), "{before:?} → {after:?}");
            let in_a_row = changes(&BTreeMap::new(), &[before, after]);
            assert_eq!(in_a_row.iter().filter(|change| change.generation.0 == 2).count(), effects.len());
        }
    }

    #[test]
    fn what_a_report_says_for_the_first_time_is_said_of_its_own_plan_only() {
        let (first, second) =
            (plan(1, Some(ensure("a", "x", 1, 60))), plan(2, Some(ensure("a", "x", 1, 90))));
        let status = |plan: &NodePlan, outcome| {
            let digest = plan.steps[0].as_ensure().map(|ensure| ensure.digest);
            let result = StepResult { digest, outcome, message: None };
            NodeStatus {
                schema: 1,
                node: plan.node.clone(),
                agent: AgentInfo { id: "a".into(), version: "1".into(), start: None },
                host: HostInfo::default(),
                accepted: Some(PlanId::of(plan)),
                refused: None,
                steps: BTreeMap::from([("web".parse().expect("a name"), result)]),
                instances: BTreeMap::new(),
                drift: Default::default(),
                orphans: Default::default(),
            }
        };
        use StepOutcome::{Applying, Satisfied};
        let (begun, done) = (status(&first, Applying), status(&first, Satisfied));
        let check = |before: Option<&NodeStatus>, after, plan: &NodePlan, expected: Option<(bool, usize)>| {
            let found = reached(before, after, plan);
            assert_eq!(found.map(|reached| (reached.is_acked, reached.services.len())), expected);
        };
        check(None, &begun, &first, None);
        check(Some(&begun), &done, &first, Some((true, 1)));
        check(None, &done, &first, Some((true, 1)));
        check(Some(&done), &done, &first, None);
        check(Some(&begun), &done, &second, None);
        check(Some(&done), &status(&second, Satisfied), &second, Some((true, 1)));
    }
}
