//! Random histories: definitions change, nodes report, plans get lost, and whatever the order, the plans hold what a
//! plan promises.
//!
//! The model is small on purpose (five services, three nodes, a few images), so that services come and go, move, gain
//! and lose dependencies and fail within a few steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::check;
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, Seen, reconcile};
use gitops_core::status::{
    AgentInfo, HostInfo, NodeStatus, PlanId, Reported, ReportedNode, SCHEMA, StepOutcome, StepResult,
};
use gitops_core::tree::Tree;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const NODES: [&str; 3] = ["a", "b", "c"];
const SERVICES: usize = 5;

/// A service as the history knows it; nodes and dependencies as bit sets.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    there: bool,
    image: u8,
    nodes: u8,
    depends_on: u8,
    project: bool,
}

#[derive(Clone, Debug)]
enum Move {
    /// A commit that changes one service.
    Commit(usize, Model),
    /// A pass without a commit, as after a wake for nothing.
    Pass,
    /// A node reports its newest plan; the steps in the bit set failed.
    Report(usize, u8),
    /// A node reports its plan before last again, late.
    StaleReport(usize),
    /// The store was restored from an empty backup.
    ForgetPlans,
}

fn model() -> impl Strategy<Value = Model> {
    (any::<bool>(), 0..3u8, 0..8u8, 0..32u8, prop::bool::weighted(0.1)).prop_map(
        |(there, image, nodes, depends_on, project)| Model { there, image, nodes, depends_on, project },
    )
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..SERVICES, model()).prop_map(|(service, model)| Move::Commit(service, model)),
        1 => Just(Move::Pass),
        4 => (0..NODES.len(), prop_oneof![3 => Just(0u8), 1 => 0..32u8]).prop_map(|(node, failed)| Move::Report(node, failed)),
        1 => (0..NODES.len()).prop_map(Move::StaleReport),
        1 => Just(Move::ForgetPlans),
    ];
    prop::collection::vec(one, 1..40)
}

fn name(service: usize) -> String {
    format!("s{service}")
}

/// A dependency leads only to a service with a smaller number that is there: no circles, nothing unknown.
fn tree(models: &[Model; SERVICES]) -> Arc<Tree> {
    let mut files = vec![("gitops.toml".to_owned(), "format = 1\nname = \"history\"\n".to_owned())];
    files.extend(NODES.map(|node| (format!("nodes/{node}.yaml"), format!("node: {node}\n"))));
    for (number, model) in models.iter().enumerate().filter(|(_, model)| model.there) {
        let name = name(number);
        let nodes: Vec<&str> = NODES
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| model.nodes >> bit & 1 == 1)
            .map(|(_, node)| node)
            .collect();
        let needs = |other: &usize| models[*other].there && model.depends_on >> *other & 1 == 1;
        let depends_on: Vec<String> = (0..number).filter(needs).map(self::name).collect();
        let project = if model.project { format!("name: {name}-other\n") } else { String::new() };
        let definition = format!(
            "service: {name}\nplace:\n  nodes: [{}]\ndepends_on: [{}]\n",
            nodes.join(", "),
            depends_on.join(", ")
        );
        files.push((format!("services/{name}/service.yaml"), definition));
        files.push((
            format!("services/{name}/compose.yaml"),
            format!("{project}services:\n  app:\n    image: image:{}\n", model.image),
        ));
    }
    Arc::new(Tree::from_files(files))
}

struct Fleet {
    models: [Model; SERVICES],
    commits: u64,
    definitions: Option<Definitions>,
    chains: BTreeMap<NodeName, Vec<Arc<NodePlan>>>,
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    reported: Reported,
    seen: Seen,
    now: Timestamp,
}

impl Fleet {
    fn new() -> Self {
        let nothing = Model { there: false, image: 0, nodes: 0, depends_on: 0, project: false };
        let mut fleet = Self {
            models: [nothing; SERVICES],
            commits: 0,
            definitions: None,
            chains: BTreeMap::new(),
            plans: BTreeMap::new(),
            reported: Reported::default(),
            seen: Seen::default(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        };
        fleet.commit();
        fleet
    }

    fn commit(&mut self) {
        self.commits += 1;
        let revision: Revision = format!("{:040x}", self.commits).parse().expect("forty digits");
        let known = Known { previous: self.definitions.as_ref(), holders: None, now: self.now };
        let loaded = Definitions::load(revision, &tree(&self.models), &known);
        self.definitions = Some(loaded.expect("every history is valid"));
    }

    fn carry_out(&mut self, step: &Move) -> Result<(), TestCaseError> {
        // Between two moves reports grow older, and some too old to be believed.
        self.now += SignedDuration::from_secs(20);
        match step {
            Move::Commit(service, model) => {
                self.models[*service] = *model;
                self.commit();
                self.pass()?;
            }
            Move::Pass => _ = self.pass()?,
            Move::Report(node, failed) => {
                let plan = self.plans.get(NODES[*node]).cloned();
                plan.iter().for_each(|plan| self.report(plan, *failed));
                self.pass()?;
            }
            Move::StaleReport(node) => {
                let chain = self.chains.get(NODES[*node]);
                let late = chain.and_then(|chain| chain.iter().rev().nth(1)).cloned();
                late.iter().for_each(|plan| self.report(plan, 0));
                self.pass()?;
            }
            Move::ForgetPlans => {
                self.plans.clear();
                self.pass()?;
            }
        }
        Ok(())
    }

    fn report(&mut self, plan: &NodePlan, failed: u8) {
        let result = |(number, step): (usize, &Step)| {
            let outcome =
                if failed >> number & 1 == 1 { StepOutcome::Failed } else { StepOutcome::Satisfied };
            let digest = step.as_ensure().map(|ensure| ensure.digest);
            (step.service().clone(), StepResult { digest, outcome, message: None })
        };
        let status = NodeStatus {
            schema: SCHEMA,
            node: plan.node.clone(),
            agent: AgentInfo { id: "one".into(), version: "0".into(), start: None },
            host: HostInfo::default(),
            accepted: Some(PlanId::of(plan)),
            refused: None,
            steps: plan.steps.iter().enumerate().map(result).collect(),
            instances: BTreeMap::new(),
            drift: Default::default(),
            orphans: Default::default(),
        };
        self.reported
            .nodes
            .insert(plan.node.clone(), ReportedNode { status: Arc::new(status), heard_at: self.now });
    }

    /// Passes, with everything that must hold of them, until one plans nothing: where a node has what it is told already,
    /// the next one may go on.
    fn pass(&mut self) -> Result<usize, TestCaseError> {
        let mut planned = 0;
        for _ in 0..20 {
            match self.pass_once()? {
                0 => return Ok(planned),
                plans => planned += plans,
            }
        }
        Err(TestCaseError::fail("twenty passes over the same facts all plan something"))
    }

    fn pass_once(&mut self) -> Result<usize, TestCaseError> {
        let outcome = self.reconcile()?;
        for plan in &outcome.plans {
            let previous = self.plans.get(&plan.node).map(|plan| &**plan);
            let status = self.reported.nodes.get(&plan.node).map(|reported| &*reported.status);
            prop_assert_eq!(check::violations(plan, previous, status), Vec::<String>::new());
            let again: NodePlan =
                serde_json::from_slice(&serde_json::to_vec(&**plan).expect("a plan is JSON")).expect("JSON");
            prop_assert_eq!(&again, &**plan, "a plan survives the wire");
            prop_assert_eq!(again.content_digest(), plan.digest);
            self.plans.insert(plan.node.clone(), plan.clone());
            self.chains.entry(plan.node.clone()).or_default().push(plan.clone());
        }
        Ok(outcome.plans.len())
    }

    /// A pass that knows what the one before saw comes to the same as one that does not.
    fn reconcile(&mut self) -> Result<Outcome, TestCaseError> {
        let definitions = self.definitions.as_ref().expect("there was a commit");
        let (plans, reported, now) = (&self.plans, &self.reported, self.now);
        let stale_after = SignedDuration::from_secs(45);
        let afresh = Inputs {
            facts: gitops_core::planner::Facts::none(),
            definitions,
            plans,
            reported,
            now,
            stale_after,
            listening_since: Timestamp::UNIX_EPOCH,
            seen: None,
        };
        let outcome = reconcile(&afresh);
        let quick = reconcile(&Inputs { seen: Some(&self.seen), ..afresh });
        prop_assert_eq!(&quick.plans, &outcome.plans);
        prop_assert_eq!(&quick.nodes, &outcome.nodes);
        prop_assert_eq!(&quick.touched, &outcome.touched);
        self.seen = quick.seen;
        Ok(outcome)
    }

    /// When every node does what it is told, planning comes to an end, with just what is defined in place.
    fn settles(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..3 * SERVICES {
            self.plans.clone().values().for_each(|plan| self.report(plan, 0));
            if self.pass()? == 0 {
                return self.is_as_defined();
            }
        }
        Err(TestCaseError::fail("planning did not come to an end"))
    }

    fn is_as_defined(&self) -> Result<(), TestCaseError> {
        let definitions = self.definitions.as_ref().expect("there was a commit");
        for node in NODES {
            let node: NodeName = node.parse().expect("a name");
            let wanted = definitions.desired.nodes[&node].iter();
            let wanted: BTreeMap<_, _> = wanted.map(|one| (&one.ensure.service, one.ensure.digest)).collect();
            let steps = self.plans.get(&node).map(|plan| &*plan.steps).unwrap_or_default();
            let ensured = steps.iter().filter_map(Step::as_ensure);
            let ensured: BTreeMap<_, _> = ensured.map(|ensure| (&ensure.service, ensure.digest)).collect();
            prop_assert_eq!(ensured, wanted);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_plans_keep_their_promises_and_settle(history in moves()) {
        let mut fleet = Fleet::new();
        for step in &history {
            fleet.carry_out(step)?;
        }
        fleet.settles()?;
    }

    #[test]
    fn reading_after_a_commit_gives_what_reading_afresh_gives(history in prop::collection::vec((0..SERVICES, model()), 1..20)) {
        let mut fleet = Fleet::new();
        for (service, model) in history {
            fleet.models[service] = model;
            fleet.commit();
            let next = fleet.definitions.as_ref().expect("there was a commit");
            let fresh = Definitions::load(next.revision.clone(), &tree(&fleet.models), &Known::at(fleet.now)).expect("it is valid");
            let shown = |definitions: &Definitions| {
                let nodes = definitions.desired.nodes.iter();
                nodes.map(|(node, instances)| (node.clone(), instances.iter().map(|one| one.ensure.clone()).collect())).collect::<Vec<(_, Vec<_>)>>()
            };
            prop_assert_eq!(shown(next), shown(&fresh));
        }
    }
}
