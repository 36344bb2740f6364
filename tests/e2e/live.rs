//! Deploying by hand: what a change would do to the fleet, just that and nothing else, and what became of it.
//!
//! The daemon, its store and the repository are real. In the place of agents and engines are reports as they send them,
//! because what is tested here is what they are held against.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use gitops_core::plan::{NodePlan, Step};
use gitops_core::protocol::{Hello, Report, SPOKEN};
use gitops_core::status::{
    AgentInfo, Container, ContainerState, Health, HostInfo, NodeStatus, PlanId, StepOutcome, StepResult,
};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::docker::Engine;
use super::support::said;
use super::world::{Side, World, compose};

/// What says that it is the agent of a node.
struct Reporter {
    token: String,
    url: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Reporter {
    fn of(world: &World, side: Side) -> Self {
        let token = world.gitops(&["node", "token", &world.node(side)]);
        assert!(token.status.success(), "{}", said(&token));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            token: String::from_utf8_lossy(&token.stdout).trim().to_owned(),
            url: world.url(),
            runtime: runtime.expect("a runtime can be made"),
            client: reqwest::Client::builder().no_proxy().build().expect("a client can be made"),
        }
    }

    fn send(&self, request: RequestBuilder) -> reqwest::Response {
        let hello = Hello {
            protocols: SPOKEN,
            agent: "one".into(),
            version: "0".into(),
            host: "here".into(),
            node: None,
            start: None,
        };
        let headers = hello.to_headers().into_iter();
        let request = headers
            .fold(request.bearer_auth(&self.token), |request, (key, value)| request.header(key, value));
        let response = self.runtime.block_on(request.send()).expect("the daemon answers");
        assert!(response.status().is_success(), "{response:?}");
        response
    }

    fn plan(&self) -> NodePlan {
        let response = self.send(self.client.get(format!("{}/v1/agent/plan?wait=20", self.url)));
        self.runtime.block_on(response.json()).expect("a plan")
    }

    /// Says that a plan is done, but for what `change` says.
    fn report(&self, plan: &NodePlan, change: impl FnOnce(&mut NodeStatus)) {
        let mut status = done(plan);
        change(&mut status);
        let report = Report::Status(Arc::new(status));
        self.send(self.client.put(format!("{}/v1/agent/status", self.url)).json(&report));
    }
}

fn done(plan: &NodePlan) -> NodeStatus {
    let result = |step: &Step| {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        (step.service().clone(), StepResult { digest, outcome: StepOutcome::Satisfied, message: None })
    };
    let ensures = plan.steps.iter().filter_map(Step::as_ensure);
    let containers = ensures.map(|ensure| {
        let container = ensure.containers.iter().map(|(service, spec)| Container {
            service: service.clone(),
            id: service.clone(),
            name: format!("{}-{service}-1", ensure.project).into(),
            image: "busybox:1.36".into(),
            image_id: "sha256:1".into(),
            image_now: None,
            config: Some(spec.config),
            files: spec.files,
            state: ContainerState::Running,
            health: Health::None,
            restarts: 0,
            exit_code: None,
            oom_killed: false,
            started_at: None,
        });
        (ensure.service.clone(), container.collect())
    });
    NodeStatus {
        schema: 1,
        node: plan.node.clone(),
        agent: AgentInfo { id: "one".into(), version: "0".into(), start: None },
        host: HostInfo {
            name: "here".into(),
            docker: "20".into(),
            compose: "2".into(),
            ..HostInfo::default()
        },
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(result).collect(),
        instances: containers.collect::<BTreeMap<_, _>>(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

/// A daemon that deploys by hand, with a service that is pushed.
fn by_hand(name: &'static str) -> World {
    let nowhere = || Engine { socket: PathBuf::from("/nonexistent") };
    let mut world = World::on(name, [nowhere(), nowhere()]);
    world.serve = vec!["--deploy", "manual", "--heartbeat", "5m"];
    world.service("web", &[Side::Left], &compose(&[("app", "")]));
    world.push("one");
    world.start_daemon();
    world.wait("the push waits", |world| world.status()["source"]["state"] == "waiting");
    world
}

fn diff(world: &World, arguments: &[&str]) -> Value {
    let output = world.gitops(&[&["diff", "--live", "--path", "work", "-o", "json"], arguments].concat());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("a diff is JSON")
}

fn sync(world: &World, plan: &Value) -> Output {
    world.gitops(&["sync", "--plan", plan.as_str().expect("there is a plan id")])
}

#[test]
fn what_was_seen_is_deployed_and_nothing_else() {
    let mut world = by_hand("seen");
    let shown = said(&world.gitops(&["status"]));
    assert!(shown.contains("source waiting") && shown.contains("`gitops sync` deploys it"), "{shown}");
    let first = diff(&world, &["HEAD"]);
    assert_eq!((&first["base"], &first["summary"]["create"]), (&"nothing".into(), &1.into()));
    let synced = sync(&world, &first["plan"]);
    assert!(synced.status.success() && said(&synced).contains("just as planned"), "{}", said(&synced));
    let again = sync(&world, &first["plan"]);
    assert!(again.status.success() && said(&again).contains("was deployed"), "{}", said(&again));

    let agent = Reporter::of(&world, Side::Left);
    let plan = agent.plan();
    agent.report(&plan, |_| ());
    // Nothing of it is pushed, and the daemon learns what it would do all the same.
    world.service("web", &[Side::Left], &compose(&[("app", "environment: {STEP: two}")]));
    let dirty = diff(&world, &["--work-tree"]);
    assert_eq!((&dirty["summary"]["recreate"], &dirty["plan"]), (&1.into(), &Value::Null));
    world.commit("two");
    let second = diff(&world, &["HEAD"]);
    assert_eq!(second["changes"], dirty["changes"]);
    let narrowed = diff(&world, &["HEAD", "--node", &world.node(Side::Right)]);
    assert_eq!(narrowed["plan"], Value::Null, "a part of a plan is no plan");
    let unpushed = sync(&world, &second["plan"]);
    assert_eq!(unpushed.status.code(), Some(1), "{}", said(&unpushed));

    // The world moves under it, and comes back.
    world.sandbox.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
    let service: gitops_core::name::ServiceName = world.full("web").parse().expect("a name");
    agent.report(&plan, |status| {
        let step = status.steps.get_mut(&service).expect("it has one");
        step.outcome = StepOutcome::Applying;
    });
    let refused = sync(&world, &second["plan"]);
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("not done: none → {service}")), "{told}");
    assert_eq!(agent.plan().generation, plan.generation, "nothing was changed");
    agent.report(&plan, |_| ());
    let synced = sync(&world, &second["plan"]);
    assert!(synced.status.success(), "{}", said(&synced));
    assert_eq!(agent.plan().generation.0, plan.generation.0 + 1);

    // It is remembered beyond the daemon that deployed it.
    world.daemon = None;
    world.start_daemon();
    let again = sync(&world, &second["plan"]);
    assert!(again.status.success() && said(&again).contains("was deployed"), "{}", said(&again));
}

#[test]
fn drift_is_what_nodes_report_against_their_plans() {
    let world = by_hand("drift");
    let first = diff(&world, &["HEAD"]);
    assert!(sync(&world, &first["plan"]).status.success());
    let look = |arguments: &[&str]| world.gitops(&[&["diff", "--live", "--exit-code"], arguments].concat());
    let never = look(&[]);
    assert_eq!(never.status.code(), Some(2));
    assert!(
        said(&never).contains("never heard") && said(&never).contains("? unknown drift-web"),
        "{}",
        said(&never)
    );

    let agent = Reporter::of(&world, Side::Left);
    let plan = agent.plan();
    agent.report(&plan, |status| status.accepted = None);
    assert!(said(&look(&[])).contains("… pending drift-web: the agent has not accepted plan 1 yet"));
    agent.report(&plan, |_| ());
    let synced = look(&[]);
    assert!(synced.status.success(), "{}", said(&synced));
    assert!(said(&synced).contains("1 in sync, over 2 nodes"), "{}", said(&synced));

    let service: gitops_core::name::ServiceName = world.full("web").parse().expect("a name");
    agent.report(&plan, |status| {
        let stray = status.instances[&service].clone();
        let container = &mut status.instances.get_mut(&service).expect("it has some")[0];
        (container.state, container.exit_code) = (ContainerState::Exited, Some(137));
        status.instances.insert("stray".parse().expect("a name"), stray);
    });
    let drifted = look(&[]);
    assert_eq!(drifted.status.code(), Some(2));
    let told = said(&drifted);
    for line in
        ["! orphan stray", "~ differs drift-web", "drift-web-app-1 state: wanted running, found exited (137)"]
    {
        assert!(told.contains(line), "`{line}` is not in\n{told}");
    }
    let unknown = look(&["--service", "other"]);
    assert!(said(&unknown).contains("there is no service `other`"), "{}", said(&unknown));
    let markdown = said(&look(&["-o", "markdown"]));
    assert!(markdown.contains("- `drift-web` differs"), "{markdown}");
}

#[test]
fn what_cannot_be_deployed_is_said_with_its_mistakes() {
    let world = by_hand("wrong");
    world.service("web", &[Side::Left], "services: {app: {image: 'busybox:1.36', privilegd: true}}\n");
    world.commit("a mistake");
    let output = world.gitops(&["diff", "HEAD", "--live", "--path", "work"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("privilegd") && told.contains("HEAD cannot be deployed"), "{told}");
}
