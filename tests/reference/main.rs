//! The pass against a naive reference, on random repositories.
//!
//! The reference (`naive.rs`) knows nothing of plans, digests or incremental reading. It holds what a node was told as
//! a list of words, works out from the written services where each should be and what each node should be told next,
//! and both are compared. It is slow and short on purpose: it can be read in one go and believed.
//!
//! `REPOSITORIES=200 cargo test --test reference` tries fewer; `SEED=17` tries that one alone.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks read the environment and start programs")]

mod naive;
mod repository;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::decision::{Awaiting, Decisions, Vote};
use gitops_core::holders::Holders;
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::{NodePlan, RunState, Step};
use gitops_core::planner::Facts;
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, Seen, reconcile};
use gitops_core::status::{
    AgentInfo, HostInfo, NodeStatus, PlanId, Reported, ReportedNode, SCHEMA, StepOutcome, StepResult,
};
use jiff::{SignedDuration, Timestamp};

use naive::{Fleet, Word, Words};
use repository::{Content, Dice, Repository};

/// How many repositories are tried.
const REPOSITORIES: u64 = 20_000;

/// Each is read, changed and read again this often, with reports between.
const COMMITS: usize = 3;

#[test]
fn the_pass_tells_each_node_what_the_reference_tells_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        _ = try_repository(seed);
        return;
    }
    let count = number("REPOSITORIES").unwrap_or(REPOSITORIES);
    let half = |half| move || (0..count).filter(|seed| seed % 2 == half).map(try_repository).sum::<usize>();
    let valid: usize = std::thread::scope(|scope| {
        let halves = [0, 1].map(|number| scope.spawn(half(number)));
        halves.map(|half| half.join().expect("a repository differs: see above")).into_iter().sum()
    });
    let commits = usize::try_from(count).expect("it fits") * COMMITS;
    assert!(valid * 2 > commits, "only {valid} of {commits} commits could be placed: the dice are loaded");
}

/// Returns how many of its commits were valid.
fn try_repository(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut repository = Repository::random(&mut dice);
    let (mut world, mut valid) = (World::default(), 0);
    for _ in 0..COMMITS {
        if world.commit(&repository, seed) {
            valid += 1;
            for _ in 0..dice.below(3) + 1 {
                world.pass(&repository, seed);
                world.report(&mut dice);
            }
        }
        repository.change(&mut dice);
    }
    valid
}

/// Both sides of the comparison.
#[derive(Default)]
struct World {
    fleet: Fleet,
    definitions: Option<Definitions>,
    commits: u64,
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    reported: Reported,
    seen: Seen,
}

impl World {
    /// Reads the repository on both sides. Where it cannot be placed, both must say so, and what was there stands.
    fn commit(&mut self, repository: &Repository, seed: u64) -> bool {
        self.commits += 1;
        let revision: Revision = format!("{:040x}", self.commits).parse().expect("forty digits");
        let holders = Holders::of_plans(Arc::new(self.plans.clone()));
        let (previous, now) = (self.definitions.as_ref(), Timestamp::UNIX_EPOCH);
        let known = Known { previous, holders: Some(&holders), now };
        let loaded = Definitions::load(revision, &repository.tree(), &known);
        let possible = self.fleet.place(repository);
        match loaded {
            Ok(definitions) => {
                assert!(possible, "seed {seed}: the reference places nothing: {repository:#?}");
                self.definitions = Some(definitions);
            }
            Err(found) => {
                assert!(!possible, "seed {seed}: {found:#?}\n{:#?}\n{repository:#?}", self.fleet.placed);
            }
        }
        possible
    }

    fn pass(&mut self, repository: &Repository, seed: u64) {
        let mut expected = self.fleet.expected(repository);
        let mut outcome = self.reconcile(&Facts::default());
        if !outcome.awaiting.is_empty() {
            outcome = self.reconcile(&approved(&outcome.awaiting));
        }
        self.plans.extend(outcome.plans.iter().map(|plan| (plan.node.clone(), plan.clone())));
        self.seen = outcome.seen;
        self.wait_for_successors(&mut expected);
        for (node, expected) in &expected {
            let told = self.plans.get(node.as_str()).map(|plan| words(plan)).unwrap_or_default();
            let (told, expected) = (self.open(node, &told), self.open(node, expected));
            assert_eq!(told, expected, "seed {seed}, node {node}: {repository:#?}");
        }
        let published: BTreeSet<&str> = outcome.plans.iter().map(|plan| plan.node.as_str()).collect();
        self.fleet.remember(expected, &published);
    }

    fn reconcile(&self, facts: &Facts) -> Outcome {
        reconcile(&Inputs {
            facts,
            definitions: self.definitions.as_ref().expect("there was a commit"),
            plans: &self.plans,
            reported: &self.reported,
            now: Timestamp::UNIX_EPOCH,
            listening_since: Timestamp::UNIX_EPOCH,
            stale_after: SignedDuration::from_hours(1),
            seen: Some(&self.seen),
        })
    }

    /// What is to go and is wanted elsewhere may be kept until it is there: the reference does not know of moves.
    fn wait_for_successors(&self, expected: &mut BTreeMap<String, Words>) {
        let wanted = &self.fleet.placed;
        for (node, asked) in expected {
            let told = self.plans.get(node.as_str()).map(|plan| words(plan)).unwrap_or_default();
            for (name, word) in
                asked.iter_mut().filter(|(name, _)| wanted.get(*name).is_some_and(|nodes| !nodes.is_empty()))
            {
                let kept = told.get(name).filter(|kept| matches!(kept, Word::Ensure(_)));
                if let (Word::Remove(_), Some(kept)) = (&*word, kept) {
                    *word = kept.clone();
                }
            }
        }
    }

    /// Without what is removed already: that may be told again or not.
    fn open(&self, node: &str, words: &Words) -> Words {
        let told = self.fleet.told.get(node);
        let is_gone =
            |name: &str| matches!(told.and_then(|told| told.get(name)), Some((Word::Remove(_), true)));
        let open = words.iter().filter(|(name, word)| !(matches!(word, Word::Remove(_)) && is_gone(name)));
        open.map(|(name, word)| (name.clone(), word.clone())).collect()
    }

    /// Some nodes say how they stand; some steps fail.
    fn report(&mut self, dice: &mut Dice) {
        for (node, plan) in self.plans.clone() {
            if dice.chance(60) {
                let steps = plan.steps.iter().filter(|_| dice.chance(10));
                let failed: BTreeSet<String> = steps.map(|step| step.service().to_string()).collect();
                for (name, (_, done)) in self.fleet.told.entry(node.to_string()).or_default() {
                    *done = !failed.contains(name);
                }
                let status = Arc::new(status(&plan, &failed));
                self.reported.nodes.insert(node, ReportedNode { status, heard_at: Timestamp::UNIX_EPOCH });
            }
        }
    }
}

fn words(plan: &NodePlan) -> Words {
    let word = |step: &Step| match step {
        Step::Remove(remove) => Word::Remove(remove.project.to_string()),
        Step::Ensure(ensure) => Word::Ensure(Content {
            project: ensure.project.to_string(),
            image: ensure.model.value()["services"]["app"]["image"].as_str().expect("an image").to_owned(),
            stopped: ensure.state == RunState::Stopped,
        }),
    };
    plan.steps.iter().map(|step| (step.service().to_string(), word(step))).collect()
}

fn status(plan: &NodePlan, failed: &BTreeSet<String>) -> NodeStatus {
    let result = |step: &Step| {
        let outcome = match failed.contains(step.service().as_str()) {
            true => StepOutcome::Failed,
            false => StepOutcome::Satisfied,
        };
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        (step.service().clone(), StepResult { digest, outcome, message: None })
    };
    NodeStatus {
        schema: SCHEMA,
        node: plan.node.clone(),
        agent: AgentInfo { id: "one".into(), version: "0".into(), start: None },
        host: HostInfo::default(),
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(result).collect(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

/// Somebody says yes to everything that waits for it.
fn approved(awaiting: &[Awaiting]) -> Facts {
    let vote = |awaiting: &Awaiting| Vote {
        plan: awaiting.plan,
        revision: awaiting.revision.clone(),
        changes: awaiting.changes.clone(),
        by: "ada".into(),
        roles: BTreeSet::new(),
        approves: true,
        reason: None,
        at: Timestamp::UNIX_EPOCH,
    };
    let votes = awaiting.iter().map(vote).collect();
    Facts { decisions: Arc::new(Decisions { holds: Vec::new(), votes }), ..Facts::default() }
}
