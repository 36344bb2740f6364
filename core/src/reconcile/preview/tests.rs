use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::reconcile::{Definitions, Known, reconcile};
use crate::status::{
    AgentInfo, Container, ContainerState, Health, HostInfo, Reported, ReportedNode, SCHEMA, StepOutcome,
    StepResult,
};
use crate::tree::Tree;

/// `web` waits for `db`, which is on another node; `other` is on a third.
const FILES: [(&str, &str); 10] = [
    ("gitops.toml", "format = 1\nname = \"t\"\n"),
    ("nodes/a.yaml", "node: a"),
    ("nodes/b.yaml", "node: b"),
    ("nodes/c.yaml", "node: c"),
    ("services/db/service.yaml", "{service: db, place: {nodes: [a]}}"),
    ("services/db/compose.yaml", "services: {app: {image: 'db:1'}}"),
    ("services/other/service.yaml", "{service: other, place: {nodes: [c]}}"),
    ("services/other/compose.yaml", "services: {app: {image: 'other:1'}}"),
    ("services/web/service.yaml", "{service: web, depends_on: [db], place: {nodes: [b]}}"),
    ("services/web/compose.yaml", "services: {app: {image: 'web:1'}}"),
];

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn service(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().expect("a revision")
}

fn definitions(digit: char, changed: &[(&str, &str)]) -> Definitions {
    let files = FILES.into_iter().chain(changed.iter().copied());
    let loaded = Definitions::load(revision(digit), &Arc::new(Tree::from_files(files)), &Known::at(now()));
    loaded.expect("the files above are right")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

/// A fleet on which everything of the first commit is done.
#[derive(Clone)]
struct World {
    plans: BTreeMap<NodeName, Arc<NodePlan>>,
    reported: Reported,
    now: Timestamp,
}

impl World {
    fn settled() -> Self {
        let mut world = Self { plans: BTreeMap::new(), reported: Reported::default(), now: now() };
        for _ in 0..2 {
            for plan in world.outcome(&definitions('1', &[])).plans {
                let status = done(&plan);
                world.plans.insert(plan.node.clone(), plan);
                let reported = ReportedNode { status: Arc::new(status), heard_at: now() };
                world.reported.nodes.insert(reported.status.node.clone(), reported);
            }
        }
        assert!(world.outcome(&definitions('1', &[])).touched.is_empty(), "everything is done");
        world
    }

    fn outcome(&self, definitions: &Definitions) -> Outcome {
        reconcile(&Inputs {
            facts: crate::planner::Facts::none(),
            definitions,
            plans: &self.plans,
            reported: &self.reported,
            now: self.now,
            stale_after: SignedDuration::from_hours(1),
            listening_since: now(),
            seen: None,
        })
    }

    fn id(&self, definitions: &Definitions) -> Digest {
        self.outcome(definitions).id(&definitions.revision)
    }

    fn status(&mut self, name: &str) -> &mut NodeStatus {
        Arc::make_mut(&mut self.reported.nodes.get_mut(&node(name)).expect("it reported").status)
    }
}

fn done(plan: &NodePlan) -> NodeStatus {
    let result = |step: &Step| {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        (step.service().clone(), StepResult { digest, outcome: StepOutcome::Satisfied, message: None })
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

/// A new database and, behind it, a new site.
const NEWER: [(&str, &str); 2] = [
    ("services/db/compose.yaml", "services: {app: {image: 'db:2'}}"),
    ("services/web/compose.yaml", "services: {app: {image: 'web:2'}}"),
];

#[test]
fn a_plan_covers_what_changes_and_what_is_held_back_and_nothing_else() {
    let (world, definitions) = (World::settled(), definitions('2', &NEWER));
    let touched = world.outcome(&definitions).touched;
    let names: Vec<&str> = touched.keys().map(NodeName::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    let (db, web) = (&touched[&node("a")], &touched[&node("b")]);
    assert_eq!(db.from, Some(PlanId::of(&world.plans[&node("a")])));
    assert_eq!((db.accepted, db.gets.is_some(), db.held.len(), db.undone.len()), (db.from, true, 0, 0));
    assert_eq!((web.gets, web.accepted, web.undone.len()), (None, None, 0));
    let wanted = definitions.desired.instance(&node("b"), &service("web")).map(|one| one.ensure.digest);
    assert_eq!(web.held, [(service("web"), wanted)].into());
}

#[test]
fn the_same_plan_has_the_same_id_in_whatever_order_its_files_come() {
    let (world, expected) = (World::settled(), definitions('2', &NEWER));
    let entries: Vec<(String, Vec<u8>)> = expected
        .catalog
        .tree
        .entries()
        .map(|(path, entry)| (path.to_string(), entry.content.as_deref().unwrap_or_default().to_vec()))
        .collect();
    let tree = Arc::new(Tree::from_files(entries.into_iter().rev()));
    let turned = Definitions::load(revision('2'), &tree, &Known::at(now())).expect("they are right");
    assert_eq!(world.id(&turned), world.id(&expected));
    let before = definitions('1', &[]);
    let known = Known { previous: Some(&before), ..Known::at(now()) };
    let after = Definitions::load(revision('2'), &tree, &known).expect("they are right");
    assert_eq!(world.id(&after), world.id(&expected), "read after the definitions before");
}

#[test]
fn whatever_is_covered_makes_another_plan() {
    let (world, newer) = (World::settled(), definitions('2', &NEWER));
    let mut ids = vec![world.id(&newer)];
    ids.push(world.id(&definitions('3', &NEWER)));
    let held = ("services/web/compose.yaml", "services: {app: {image: 'web:3'}}");
    ids.push(world.id(&definitions('2', &[NEWER[0], held])));
    let patient = "{service: db, health: {within: 7s}, place: {nodes: [a]}}";
    ids.push(world.id(&definitions('2', &[NEWER[0], NEWER[1], ("services/db/service.yaml", patient)])));
    let mut check = |what: &str, change: &dyn Fn(&mut World)| {
        let mut moved = world.clone();
        change(&mut moved);
        let id = moved.id(&newer);
        assert!(!ids.contains(&id), "{what}");
        ids.push(id);
    };
    check("another plan of the same content is stored", &|world| {
        let plan = &world.plans[&node("a")];
        let NodePlan { node, generation, digest, revision, steps, .. } = (**plan).clone();
        let next =
            NodePlan::new(node.clone(), generation.next().expect("one"), Some(digest), revision, steps);
        world.plans.insert(node, Arc::new(next));
    });
    check("the agent has accepted no plan", &|world| world.status("a").accepted = None);
    check("a step is not done", &|world| {
        let step = world.status("a").steps.get_mut(&service("db"));
        step.expect("it has one").outcome = StepOutcome::Failed;
    });
    check("what is held back waits on another plan", &|world| _ = world.plans.remove(&node("b")));
}

/// Whatever no plan is made from.
fn noise(status: &mut NodeStatus, seed: u8) {
    status.host.disk_free_gib = seed.into();
    status.host.problem = seed.is_multiple_of(3).then(|| "the engine does not answer".to_owned());
    status.agent.version = seed.to_string().into();
    let container = Container {
        service: "app".into(),
        id: seed.to_string().into(),
        name: "db-app-1".into(),
        image: "db:1".into(),
        image_id: "sha256:1".into(),
        image_now: None,
        config: None,
        files: None,
        state: if seed.is_multiple_of(2) { ContainerState::Running } else { ContainerState::Restarting },
        health: if seed.is_multiple_of(5) { Health::Unhealthy } else { Health::Starting },
        restarts: seed.into(),
        exit_code: None,
        oom_killed: false,
        started_at: None,
    };
    status.instances.insert(service("db"), vec![container]);
}

const OUTCOMES: [StepOutcome; 3] = [StepOutcome::Waiting, StepOutcome::Applying, StepOutcome::Failed];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_makes_no_other_plan(seeds: [u8; 3], later in 0..3000i64, open in 0..3usize, told in 0..3usize) {
        let newer = definitions('2', &NEWER);
        let mut world = World::settled();
        // One step on the way: how far it is makes no difference.
        world.status("a").steps.get_mut(&service("db")).expect("it has one").outcome = OUTCOMES[told];
        let expected = world.id(&newer);
        world.now += SignedDuration::from_secs(later);
        for (name, seed) in ["a", "b", "c"].into_iter().zip(seeds) {
            let heard_at = now() + SignedDuration::from_secs(later.min(seed.into()));
            world.reported.nodes.get_mut(&node(name)).expect("it reported").heard_at = heard_at;
            noise(world.status(name), seed);
        }
        let step = world.status("a").steps.get_mut(&service("db")).expect("it has one");
        (step.outcome, step.message) = (OUTCOMES[open], Some(seeds[0].to_string()));
        // A node on which nothing changes may be in any state.
        world.status("c").accepted = None;
        world.status("c").steps.clear();
        prop_assert_eq!(world.id(&newer), expected);
    }
}

fn picture(world: &World) -> Picture {
    Picture {
        decisions: Arc::default(),
        deployed: Some(Arc::new(definitions('1', &[]))),
        plans: Arc::new(world.plans.clone()),
        reported: Arc::new(world.reported.clone()),
        silent: BTreeSet::new(),
        now: world.now,
        stale_after: SignedDuration::from_hours(1),
        listening_since: now(),
        seen: Arc::default(),
    }
}

fn proposal(digit: Option<char>, changed: &[(&str, &str)]) -> Proposal {
    let files = FILES.into_iter().chain(changed.iter().copied());
    Proposal { revision: digit.map(revision), label: "it".into(), tree: Arc::new(Tree::from_files(files)) }
}

#[test]
fn a_preview_is_the_pass_that_follows_it() {
    let world = World::settled();
    let shown = preview(&picture(&world), &proposal(Some('2'), &NEWER)).expect("it is right");
    let outcome = world.outcome(&definitions('2', &NEWER));
    assert_eq!(shown.diff.plan, Some(outcome.id(&revision('2'))));
    assert_eq!(shown.touched, outcome.touched);
    let changes: Vec<&str> = shown.diff.changes.iter().map(|change| change.service.as_str()).collect();
    // Also what is held back is told: it follows.
    assert_eq!((changes, shown.diff.summary.unchanged), (vec!["db", "web"], 1));
    assert_eq!((&*shown.diff.base, &*shown.diff.head), ("1".repeat(40).as_str(), "it"));
    let mut seen = picture(&world);
    seen.seen = Arc::new(world.outcome(&definitions('1', &[])).seen);
    assert_eq!(preview(&seen, &proposal(Some('2'), &NEWER)).expect("it is right"), shown);
}

#[test]
fn what_is_no_commit_has_no_plan_id_and_what_is_wrong_no_preview() {
    let world = World::settled();
    let nameless = preview(&picture(&world), &proposal(None, &NEWER)).expect("it is right");
    assert_eq!((nameless.diff.plan, nameless.revision, nameless.diff.changes.len()), (None, None, 2));
    let wrong = proposal(Some('2'), &[("services/web/service.yaml", "{service: web, place: {nodes: [z]}}")]);
    let findings = preview(&picture(&world), &wrong).expect_err("there is no node `z`");
    assert!(findings.iter().any(Diagnostic::is_error), "{findings:?}");
}

#[test]
fn over_a_fleet_without_anything_everything_is_new() {
    let bare = World { plans: BTreeMap::new(), reported: Reported::default(), now: now() };
    let picture = Picture { deployed: None, ..picture(&bare) };
    let shown = preview(&picture, &proposal(Some('1'), &[])).expect("it is right");
    assert_eq!((shown.diff.summary.create, &*shown.diff.base), (3, "nothing"));
    let only = crate::name::NodeName::clone(&node("c"));
    let asked = proposal(Some('1'), &[]);
    let prospect = Prospect::of(&picture, &asked).expect("it is right");
    let narrowed = prospect.diff(&Selection { node: Some(&only), ..Selection::default() });
    assert_eq!((narrowed.summary.create, narrowed.plan), (1, None), "a part of a plan is no plan");
}
