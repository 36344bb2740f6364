//! Releases as people meet them: a real repository, the real daemon over a real store, and an agent that says of every
//! plan at once that it is done. What is pushed, asked and answered is the session in `tests/releases/history.md`.

#![allow(clippy::disallowed_methods, reason = "the tests start programs")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Report, SPOKEN};
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, PlanId, StepOutcome, StepResult};

use support::{Sandbox, repository, session};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_was_deployed_and_why_is_told_as_it_reads() {
    let sandbox = Sandbox::new();
    sandbox.git("", &["init", "--quiet", "--bare", "origin.git"]);
    sandbox.git("", &["clone", "--quiet", "origin.git", "work"]);
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
    let url = format!("http://127.0.0.1:{port}");
    let env = format!(
        "export GITOPS_URL={url} GITOPS_TOKEN_FILE={}\n",
        sandbox.path("control/operator.token").display()
    );
    sandbox.write("env", &env);
    let _daemon = daemon(&sandbox, port);
    let operator = wait_for(|| std::fs::read_to_string(sandbox.path("control/operator.token")).ok());
    let _agent = agent(url, operator.trim().to_owned());
    let document = repository().join("tests/releases/history.md");
    let outcome = session::check(&sandbox, &sandbox.path("work"), &document, |_| true);
    assert!(outcome.as_ref().is_ok_and(|number| *number > 10), "\n{}", outcome.err().unwrap_or_default());
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(sandbox: &Sandbox, port: u16) -> Running {
    let mut command: Command = sandbox.command(support::program("gitops"));
    command.args(["serve", "--source", "origin.git", "--state-dir", "control"]);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--log", "error"]);
    Running(command.spawn().expect("gitops starts"))
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Speaks for the node `edge-1` until it is dropped.
fn agent(url: String, operator: String) -> tokio::runtime::Runtime {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.spawn(async move {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let token = token(&client, &url, &operator).await;
        let mut held = None;
        loop {
            match next_plan(&client, &url, &token, held.as_ref()).await {
                Some(plan) => {
                    report(&client, &url, &token, &plan).await;
                    held = Some(plan);
                }
                None => {
                    if let Some(held) = &held {
                        report(&client, &url, &token, held).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    runtime
}

/// Says that the plan is done; a daemon that does not answer is told again.
async fn report(client: &reqwest::Client, url: &str, token: &str, plan: &NodePlan) {
    let report = Report::Status(done(plan).into());
    let _ = hello(client.put(format!("{url}/v1/agent/status")).json(&report), token).send().await;
}

async fn token(client: &reqwest::Client, url: &str, operator: &str) -> String {
    loop {
        let request = client.post(format!("{url}/v1/nodes/edge-1/token")).bearer_auth(operator);
        if let Ok(answer) = request.send().await
            && let Ok(made) = answer.json::<serde_json::Value>().await
            && let Some(token) = made["token"].as_str()
        {
            return token.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn hello(request: reqwest::RequestBuilder, token: &str) -> reqwest::RequestBuilder {
    let (agent, version, host) = ("agent-1".into(), "0.1.0".into(), "host".into());
    let hello = Hello { protocols: SPOKEN, agent, version, host, node: None, start: None };
    let request = request.bearer_auth(token);
    hello.to_headers().into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn next_plan(
    client: &reqwest::Client,
    url: &str,
    token: &str,
    held: Option<&NodePlan>,
) -> Option<NodePlan> {
    let mut request = hello(client.get(format!("{url}/v1/agent/plan?wait=1")), token);
    if let Some(held) = held {
        request = request.header("if-none-match", format!("\"{}\"", held.digest));
    }
    let answer = request.send().await.ok().filter(|answer| answer.status() == 200)?;
    answer.json().await.ok()
}

/// A status that acknowledges the plan.
fn done(plan: &NodePlan) -> NodeStatus {
    let result = |step: &gitops_core::plan::Step| {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        let result = StepResult { digest, outcome: StepOutcome::Satisfied, message: None };
        (step.service().clone(), result)
    };
    NodeStatus {
        schema: 1,
        node: plan.node.clone(),
        agent: AgentInfo { id: "agent-1".into(), version: "0.1.0".into(), start: None },
        host: HostInfo { name: "host".into(), ..HostInfo::default() },
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(result).collect(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}
