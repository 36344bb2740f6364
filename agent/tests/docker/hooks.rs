//! Hooks on a real engine: run once, awaited, stopped, and found again by an agent that was killed in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use gitops_agent::agent::Snapshot;
use gitops_agent::attempt::Attempt;
use gitops_agent::host::{HookCall, Host as _};
use gitops_agent::journal::{HookEnd, HookRun, When};
use gitops_agent::ledger::Ledger;
use gitops_core::name::{Digest, Generation, ServiceName};
use gitops_core::plan::{Ensure, Hook, NodePlan, Step};
use gitops_core::status::{StepOutcome, StepResult};
use serde_json::{Value, json};

use super::bench::{Bench, sleeper};
use super::eventually;

/// The instance: one container that runs, and a hook that a profile keeps out.
fn step(bench: &Bench, hook: Value) -> Ensure {
    let mut hook = sleeper(hook);
    hook["profiles"] = json!(["gitops.hook"]);
    hook["restart"] = json!("always");
    let mut step = bench.step(json!({"web": sleeper(json!({})), "migrate": hook}), &[]);
    step.containers.remove("migrate");
    step.terms.hooks.before = vec![Hook { service: "migrate".into(), timeout: 60 }];
    step.terms.hooks.attempt = Some(step.digest);
    step
}

fn call(bench: &Bench, step: &Ensure, timeout: u32) -> HookCall {
    let container = format!("{}-before-1-migrate-x", bench.name).into();
    let run = HookRun { when: When::Before, service: "migrate".into(), timeout, end: None };
    HookCall { service: step.service.clone(), container, run, start: Some(Box::new(step.clone())) }
}

/// Every container of the project, by name.
async fn containers(bench: &Bench) -> Vec<String> {
    let label = format!("com.docker.compose.project={}", bench.name);
    #[expect(clippy::disallowed_types, reason = "the client takes nothing else")]
    let filters = std::collections::HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let rows = bench.engine.list_containers(Some(options)).await.unwrap();
    let mut names: Vec<_> = rows.into_iter().flat_map(|row| row.names.unwrap_or_default()).collect();
    names.sort();
    names
}

async fn run(bench: &Bench, call: &HookCall) -> Option<HookEnd> {
    bench.host.run_hook(call, &Attempt::unlogged("a test")).await.unwrap()
}

#[tokio::test]
async fn a_hook_runs_once_beside_the_instance_and_tells_how_it_ended() {
    let Some(bench) = Bench::new("hook") else { return };
    let good =
        step(&bench, json!({"command": ["sh", "-c", "echo ran >> /own/ran"], "volumes": ["./own:/own"]}));
    let own = bench.instance_folder().join("own/ran");
    let first = call(&bench, &good, 60);
    assert_eq!(run(&bench, &first).await, Some(HookEnd::Done));
    assert_eq!(
        run(&bench, &first).await,
        Some(HookEnd::Done),
        "its exit code is taken, and nothing is started"
    );
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "ran\n");
    assert!(bench.look().await.is_empty(), "it is no container of the instance");

    // What makes the instance leaves the hook alone, and does not start it.
    bench.ensure(&good).await;
    assert_eq!(bench.look().await.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(containers(&bench).await.len(), 2);
    bench.host.forget_hook(&first.container).await;
    bench.host.forget_hook(&first.container).await;
    assert_eq!(containers(&bench).await, [format!("/{}-web-1", bench.name)]);

    // One that is only looked for is not started.
    let looked_for = HookCall { start: None, ..first };
    assert_eq!(run(&bench, &looked_for).await, None);

    let command = json!({"command": ["sh", "-c", "for n in $(seq 30); do echo line $n; done; exit 3"]});
    let bad = step(&bench, command);
    let end = run(&bench, &call(&bench, &bad, 60)).await.unwrap();
    let HookEnd::Failed(how) = end else { panic!("it failed") };
    assert!(how.starts_with("ended with exit code 3\nits last lines:\nline 21\n"), "{how}");
    assert!(how.ends_with("\nline 30"), "{how}");
    // The end of the instance is the end of what is left of its hooks.
    bench.remove().await;
    assert_eq!(containers(&bench).await, [""; 0]);
    bench.clean_up().await;
}

#[tokio::test]
async fn a_hook_that_takes_too_long_is_stopped_and_one_that_cannot_start_has_failed() {
    let Some(bench) = Bench::new("hook-ends") else { return };
    let long = step(&bench, json!({"command": ["sleep", "1000"]}));
    let end = run(&bench, &call(&bench, &long, 2)).await;
    assert_eq!(end, Some(HookEnd::Failed("did not end within 2 s and was stopped".to_owned())));
    bench.host.forget_hook(&call(&bench, &long, 2).container).await;

    let none = step(&bench, json!({"command": ["no-such-program"], "init": false}));
    let Some(HookEnd::Failed(how)) = run(&bench, &call(&bench, &none, 60)).await else { panic!("it failed") };
    assert!(how.contains("no-such-program"), "{how}");
    bench.host.forget_hook(&call(&bench, &none, 60).container).await;

    let hungry =
        json!({"command": ["sh", "-c", "x=a; while :; do x=$x$x; done"], "mem_limit": "16m", "init": false});
    let hungry = step(&bench, hungry);
    let end = run(&bench, &call(&bench, &hungry, 60)).await;
    assert_eq!(end, Some(HookEnd::Failed("was killed for want of memory".to_owned())));
    bench.clean_up().await;
}

#[tokio::test]
async fn what_compose_made_and_did_not_start_is_started_by_whoever_finds_it() {
    let Some(bench) = Bench::new("hook-half") else { return };
    let step = step(&bench, json!({"command": ["true"]}));
    let call = call(&bench, &step, 60);
    let labels = [
        ("gitops.node".to_owned(), bench.config.node.to_string()),
        ("gitops.service".to_owned(), step.service.to_string()),
        ("gitops.hook".to_owned(), call.container.to_string()),
    ];
    let make = async |labels: &[(String, String)]| {
        let options =
            bollard::query_parameters::CreateContainerOptionsBuilder::default().name(&call.container).build();
        let body = bollard::models::ContainerCreateBody {
            image: Some("busybox:1.36".to_owned()),
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(labels.iter().cloned().collect()),
            ..Default::default()
        };
        bench.engine.create_container(Some(options), body).await.unwrap().id
    };
    let id = make(&labels).await;
    assert_eq!(run(&bench, &call).await, Some(HookEnd::Done));
    let found =
        bench.engine.inspect_container(&call.container, None::<InspectContainerOptions>).await.unwrap();
    assert_eq!(found.id, Some(id));
    bench.host.forget_hook(&call.container).await;

    // Where the change is not wanted any more it goes instead.
    make(&labels).await;
    let looked_for = HookCall { start: None, ..call.clone() };
    assert_eq!(run(&bench, &looked_for).await, None);
    // One that somebody else made is not touched.
    let id = make(&labels[..2]).await;
    let error = bench.host.run_hook(&call, &Attempt::unlogged("a test")).await.unwrap_err();
    assert!(error.to_string().contains("that gitops did not make"), "{error}");
    bench.host.forget_hook(&call.container).await;
    bench.delete_container(&id).await;
    bench.clean_up().await;
}

/// An agent process without a daemon: what it does is in its ledger.
struct Agent<'b> {
    bench: &'b Bench,
    state: PathBuf,
}

impl Agent<'_> {
    fn start(&self) -> Child {
        let token = self.state.join("token");
        std::fs::write(&token, "gitops_node_none").unwrap();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_gitops-agent"));
        agent
            .args(["run", "--server", "http://127.0.0.1:9", "--settle-seconds", "0", "--token-file"])
            .arg(token);
        agent.args(["--node", self.bench.config.node.as_str(), "--state-dir"]).arg(&self.state);
        agent.arg("--docker").arg(&self.bench.config.socket).stdout(Stdio::null()).stderr(Stdio::null());
        agent.spawn().unwrap()
    }

    fn hold(&self, generation: u64, step: &Ensure) {
        let steps = vec![Step::Ensure(step.clone())];
        let node = self.bench.config.node.clone();
        let plan = NodePlan::new(node, Generation(generation), None, "a".repeat(40).parse().unwrap(), steps);
        Ledger::at(&self.state).save(&Arc::new(plan)).unwrap();
    }

    /// What it last said of the step in this form.
    fn result(&self, digest: Digest) -> Option<StepResult> {
        let snapshot = std::fs::read(self.state.join("status.json")).ok()?;
        let mut steps: BTreeMap<ServiceName, StepResult> =
            serde_json::from_slice::<Snapshot>(&snapshot).ok()?.status.steps;
        steps.remove(self.bench.name.as_str()).filter(|result| result.digest == Some(digest))
    }

    async fn until(&self, digest: Digest, outcome: StepOutcome) -> StepResult {
        let is_so = || self.result(digest).filter(|result| result.outcome == outcome);
        eventually(async || is_so().is_some(), || format!("{:?}", self.result(digest))).await;
        is_so().unwrap()
    }
}

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn an_agent_that_is_killed_in_a_hook_runs_it_once() {
    let Some(bench) = Bench::new("hook-kill") else { return };
    let state = bench.folder.path().join("agent");
    std::fs::create_dir(&state).unwrap();
    let agent = Agent { bench: &bench, state: state.clone() };
    let ran = state.join("instances").join(&bench.name).join("own/ran");
    // Before Compose is called, while it is at work, while the hook runs, and when it has ended.
    for (round, milliseconds) in (1_u64..).zip([20, 100, 250, 400, 550, 700, 900, 1200, 1600, 2200]) {
        let command = format!("echo {round} >> /own/ran; sleep 1; echo ended >> /own/ended");
        let step = step(&bench, json!({"command": ["sh", "-c", command], "volumes": ["./own:/own"]}));
        agent.hold(round, &step);
        let first = agent.start();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        kill(first);
        let second = agent.start();
        agent.until(step.digest, StepOutcome::Satisfied).await;
        eventually(async || containers(&bench).await.len() == 1, || "its container stays".to_owned()).await;
        kill(second);
        let rounds = usize::try_from(round).unwrap();
        assert_eq!((lines(&ran), lines(&ran.with_file_name("ended"))), (rounds, rounds), "{milliseconds} ms");
    }
    bench.clean_up().await;
}

#[tokio::test]
async fn a_hook_before_that_fails_leaves_the_container_and_a_check_that_fails_is_named() {
    let Some(bench) = Bench::new("care") else { return };
    let state = bench.folder.path().join("agent");
    std::fs::create_dir(&state).unwrap();
    let agent = Agent { bench: &bench, state };
    let mut good = step(&bench, json!({"command": ["true"]}));
    good.health_within = 4;
    agent.hold(1, &good);
    let process = agent.start();
    agent.until(good.digest, StepOutcome::Satisfied).await;
    kill(process);
    let before = bench.ids().await;

    let bad = step(&bench, json!({"command": ["sh", "-c", "echo no such table; exit 1"]}));
    agent.hold(2, &bad);
    let process = agent.start();
    let result = agent.until(bad.digest, StepOutcome::Failed).await;
    let expected = "hook migrate (before) failed: ended with exit code 1\nits last lines:\nno such table\n\
                    nothing of the change was begun";
    assert_eq!(result.message.as_deref(), Some(expected));
    kill(process);
    assert_eq!(bench.ids().await, before);

    let mut checked = good.clone();
    checked.terms.checks = vec![gitops_core::plan::HealthCheck {
        name: "api".into(),
        container: "web".into(),
        probe: gitops_core::plan::Probe::Exec { command: vec!["false".into()] },
        interval: 1,
        timeout: 1,
        healthy_after: 1,
        unhealthy_after: 2,
    }];
    agent.hold(3, &checked);
    let process = agent.start();
    let result = agent.until(checked.digest, StepOutcome::Failed).await;
    let expected = format!(
        "not healthy within 4 seconds: container {}-web-1 fails check api: `false` ended with exit code 1",
        bench.name
    );
    assert_eq!(result.message, Some(expected));
    kill(process);
    assert_eq!(bench.ids().await, before);
    bench.clean_up().await;
}
