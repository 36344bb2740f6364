use super::*;
use crate::name::{Digest, Generation};
use crate::plan::{ContainerDigest, Model, Remove};
use crate::status::{AgentInfo, HostInfo, StepResult};

fn node() -> NodeName {
    "edge-1".parse().expect("a name")
}

fn service(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

fn config(rule: u32, text: &str) -> ContainerDigest {
    ContainerDigest { rule, digest: Digest::of(text) }
}

/// Two containers of `app` and one of `job`, which ends.
fn ensure() -> Ensure {
    let spec = |text: &str, replicas, completes| ContainerSpec {
        config: config(2, text),
        files: (text == "app").then(|| Digest::of("files")),
        replicas,
        completes,
    };
    let model = r#"{"services":{"app":{"image":"nginx:1.28"},"job":{"image":"job:1"}}}"#;
    Ensure {
        service: service("web"),
        project: "web".into(),
        digest: Digest::of("web"),
        state: RunState::Running,
        model: Model::from_canonical(model),
        files: BTreeMap::new(),
        containers: [("app".into(), spec("app", 2, false)), ("job".into(), spec("job", 1, true))].into(),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    }
}

fn container(service: &str, number: u32) -> Container {
    let is_app = service == "app";
    Container {
        service: service.into(),
        id: format!("{service}{number}").into(),
        name: format!("web-{service}-{number}").into(),
        image: if is_app { "nginx:1.28" } else { "job:1" }.into(),
        image_id: "sha256:1".into(),
        image_now: None,
        config: Some(config(2, service)),
        files: is_app.then(|| Digest::of("files")),
        state: if is_app { ContainerState::Running } else { ContainerState::Exited },
        health: Health::None,
        restarts: 0,
        exit_code: (!is_app).then_some(0),
        oom_killed: false,
        started_at: None,
    }
}

struct World {
    plan: NodePlan,
    status: NodeStatus,
    heard: i64,
    views: Vec<NodeView>,
}

impl World {
    /// A node that is as its plan says.
    fn settled() -> Self {
        Self::planned(Step::Ensure(ensure()))
    }

    fn planned(step: Step) -> Self {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        let revision = "1".repeat(40).parse().expect("a revision");
        let plan = NodePlan::new(node(), Generation(7), None, revision, vec![step]);
        let result = StepResult { digest, outcome: StepOutcome::Satisfied, message: None };
        let status = NodeStatus {
            schema: 1,
            node: node(),
            agent: AgentInfo { id: "one".into(), version: "0".into(), start: None },
            host: HostInfo::default(),
            accepted: Some(PlanId::of(&plan)),
            refused: None,
            steps: [(service("web"), result)].into(),
            instances: [(
                service("web"),
                vec![container("app", 1), container("app", 2), container("job", 1)],
            )]
            .into(),
            drift: Default::default(),
            orphans: Default::default(),
        };
        Self { plan, status, heard: 0, views: Vec::new() }
    }

    fn drift(&self, only: &Only) -> Drift {
        let heard_at = now() - SignedDuration::from_secs(self.heard);
        let reported = ReportedNode { status: Arc::new(self.status.clone()), heard_at };
        let reported = Reported { nodes: [(node(), reported)].into() };
        drift(
            &Facts {
                deployed: Some(&self.plan.revision),
                newest: Some(&self.plan.revision),
                catalog: None,
                sensitive: &Sensitive::default(),
                plans: &[(node(), Arc::new(self.plan.clone()))].into(),
                reported: &reported,
                views: &self.views,
                now: now(),
                stale_after: SignedDuration::from_secs(45),
            },
            only,
        )
    }
}

/// One line for each instance that is not in sync, and one for each difference.
fn words(drift: &Drift) -> Vec<String> {
    let side = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("-").to_owned();
    let difference = |one: &Difference| {
        format!("{} {}: {} / {}", one.container, one.field, side(&one.wanted), side(&one.found))
    };
    let instance = |one: &InstanceDrift| {
        let message = one.message.as_deref().unwrap_or_default();
        let head = format!("{} {:?} {message}", one.service, one.state).trim().to_owned();
        std::iter::once(head).chain(one.differences.iter().map(difference)).collect::<Vec<_>>()
    };
    drift.nodes.iter().flat_map(|node| &node.instances).flat_map(instance).collect()
}

fn check(change: impl Fn(&mut World), expected: &[&str]) {
    let mut world = World::settled();
    change(&mut world);
    assert_eq!(words(&world.drift(&Only::default())), expected);
}

fn containers(world: &mut World) -> &mut Vec<Container> {
    world.status.instances.get_mut(&service("web")).expect("it has some")
}

fn step(world: &mut World) -> &mut StepResult {
    world.status.steps.get_mut(&service("web")).expect("it has one")
}

#[test]
fn what_is_as_its_plan_says_is_in_sync_and_only_counted() {
    let drift = World::settled().drift(&Only::default());
    assert!(drift.is_empty());
    assert_eq!((drift.summary.in_sync, drift.nodes[0].in_sync, drift.newest), (1, 1, None));
    assert_eq!((drift.nodes[0].age_seconds, drift.nodes[0].is_believed), (Some(0), true));
}

#[test]
fn each_field_that_is_not_as_it_should_be_is_told() {
    let short = |text: &str| Digest::of(text).short();
    check(|world| _ = containers(world).remove(0), &["web Differs", "app containers: 2 / 1"]);
    check(|world| containers(world).push(container("app", 3)), &["web Differs", "app containers: 2 / 3"]);
    check(
        |world| containers(world).push(Container { name: "by-hand".into(), ..container("other", 1) }),
        &["web Differs", "by-hand container: - / job:1"],
    );
    check(
        |world| {
            (containers(world)[0].state, containers(world)[0].exit_code) = (ContainerState::Exited, Some(137))
        },
        &["web Differs", "web-app-1 state: running / exited (137)"],
    );
    check(
        |world| containers(world)[2].exit_code = Some(1),
        &["web Differs", "web-job-1 state: running / exited (1)"],
    );
    check(
        |world| containers(world)[1].health = Health::Unhealthy,
        &["web Differs", "web-app-2 health: healthy / unhealthy"],
    );
    check(
        |world| {
            containers(world)[0].config = Some(config(2, "other"));
            containers(world)[0].image = "nginx:1.27".into();
        },
        &[
            "web Differs",
            &format!("web-app-1 gitops.config: {} / {}", short("app"), short("other")),
            "web-app-1 image: nginx:1.28 / nginx:1.27",
        ],
    );
    check(
        |world| containers(world)[0].config = None,
        &["web Differs", &format!("web-app-1 gitops.config: {} / -", short("app"))],
    );
    check(
        |world| containers(world)[0].files = None,
        &["web Differs", &format!("web-app-1 gitops.files: {} / -", short("files"))],
    );
}

#[test]
fn what_cannot_be_compared_or_does_not_matter_is_no_difference() {
    // Made under another version of the rule, and adopted.
    check(|world| containers(world)[0].config = Some(config(1, "old")), &[]);
    check(|world| containers(world)[0].restarts = 9, &[]);
    check(|world| containers(world)[0].health = Health::Starting, &[]);
    check(|world| containers(world)[0].image_now = Some("sha256:2".into()), &[]);
}

#[test]
fn what_is_on_its_way_is_pending() {
    check(|world| world.status.accepted = None, &["web Pending the agent has not accepted plan 7 yet"]);
    check(
        |world| {
            step(world).outcome = StepOutcome::Applying;
            step(world).message = Some("pulls".into());
            containers(world).clear();
        },
        &["web Pending pulls", "app containers: 2 / 0", "job containers: 1 / 0"],
    );
    check(|world| world.status.steps.clear(), &["web Pending"]);
    check(
        |world| {
            step(world).outcome = StepOutcome::Failed;
            step(world).message = Some("no such image".into());
        },
        &["web Differs no such image"],
    );
    let mut world = World::settled();
    step(&mut world).outcome = StepOutcome::Failed;
    step(&mut world).message = Some("DB_PASSWORD=canary: refused".into());
    let told = words(&world.drift(&Only::default())).join(" ");
    assert!(told.contains("DB_PASSWORD") && !told.contains("canary"), "{told}");
}

#[test]
fn what_is_held_back_is_pending_with_what_it_waits_on() {
    let mut world = World::settled();
    let held = |service: &str| crate::fleet::InstanceView {
        message: Some("`db` is not ready".into()),
        ..crate::fleet::InstanceView::bare(service.parse().expect("a name"), InstanceState::Waiting)
    };
    world.views = vec![NodeView {
        instances: [held("new"), held("web")].into(),
        ..NodeView::bare(node(), crate::fleet::NodeState::Pending)
    }];
    let expected = ["new Pending `db` is not ready", "web Pending `db` is not ready"];
    assert_eq!(words(&world.drift(&Only::default())), expected);
}

#[test]
fn after_three_intervals_everything_is_unknown_and_nothing_in_sync() {
    for (heard, expected) in [(44, &[][..]), (45, &["web Unknown"][..])] {
        let drift = World { heard, ..World::settled() }.drift(&Only::default());
        assert_eq!(words(&drift), expected, "{heard}");
        assert_eq!((drift.nodes[0].is_believed, drift.summary.in_sync == 1), (heard == 44, heard == 44));
        assert_eq!(drift.nodes[0].age_seconds, Some(heard.unsigned_abs()));
    }
    let mut lost = World { heard: 46, ..World::settled() };
    lost.status.instances.insert(service("stray"), vec![container("app", 1)]);
    assert_eq!(words(&lost.drift(&Only::default())), ["stray Unknown", "web Unknown"]);
}

#[test]
fn a_node_that_never_reported_is_unknown() {
    let world = World::settled();
    let (plans, reported) = ([(node(), Arc::new(world.plan.clone()))].into(), Reported::default());
    let facts = Facts {
        deployed: None,
        newest: Some(&world.plan.revision),
        catalog: None,
        sensitive: &Sensitive::default(),
        plans: &plans,
        reported: &reported,
        views: &[],
        now: now(),
        stale_after: SignedDuration::from_secs(45),
    };
    let drift = drift(&facts, &Only::default());
    assert_eq!((words(&drift), drift.nodes[0].heard_at), (vec!["web Unknown".to_owned()], None));
    assert_eq!(drift.newest, Some(world.plan.revision));
}

#[test]
fn what_is_in_no_plan_is_an_orphan_and_what_is_removed_is_gone() {
    check(
        |world| _ = world.status.instances.insert(service("stray"), vec![container("job", 1)]),
        &["stray Orphan", "web-job-1 container: - / job:1"],
    );
    let removal = Step::Remove(Remove {
        service: service("web"),
        project: "web".into(),
        volumes_kept: Vec::new(),
        after: Vec::new(),
        wave: 0,
        spans: Vec::new(),
        because: Vec::new(),
    });
    let mut world = World::planned(removal);
    containers(&mut world).truncate(1);
    let there = "web-app-1 container: - / nginx:1.28";
    assert_eq!(words(&world.drift(&Only::default())), ["web Orphan", there], "it came back");
    step(&mut world).outcome = StepOutcome::Applying;
    assert_eq!(words(&world.drift(&Only::default())), ["web Pending", there]);
    step(&mut world).outcome = StepOutcome::Satisfied;
    world.status.instances.clear();
    let drift = world.drift(&Only::default());
    assert_eq!((words(&drift), drift.summary), (Vec::new(), Summary::default()));
}

#[test]
fn what_is_stopped_must_not_run() {
    let mut stopped = World::planned(Step::Ensure(Ensure { state: RunState::Stopped, ..ensure() }));
    let expected =
        ["web Differs", "web-app-1 state: stopped / running", "web-app-2 state: stopped / running"];
    assert_eq!(words(&stopped.drift(&Only::default())), expected);
    containers(&mut stopped).iter_mut().for_each(|container| container.state = ContainerState::Exited);
    assert_eq!(words(&stopped.drift(&Only::default())), [""; 0]);
}

#[test]
fn only_what_is_asked_for_is_looked_at() {
    let mut world = World::settled();
    world.status.instances.insert(service("stray"), vec![container("job", 1)]);
    let only = |text: &str| -> Only { serde_json::from_str(text).expect("as it is written") };
    let check = |text: &str, nodes: usize, orphans: usize, in_sync: usize| {
        let drift = world.drift(&only(text));
        let summary = (drift.nodes.len(), drift.summary.orphans, drift.summary.in_sync);
        assert_eq!(summary, (nodes, orphans, in_sync), "{text}");
    };
    check("{}", 1, 1, 1);
    check(r#"{"service":"web"}"#, 1, 0, 1);
    check(r#"{"service":"stray","node":"edge-1"}"#, 1, 1, 0);
    check(r#"{"node":"edge-2"}"#, 0, 0, 0);
    check(r#"{"environment":"prod"}"#, 0, 0, 0);
}
