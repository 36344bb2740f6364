//! The agent's numbers of `docs/performance.md`: `cargo bench -p gitops-agent --bench agent`.
//!
//! `GITOPS_TEST_DOCKER` names the socket of an engine that has `busybox:1.36`; `tests/setup ready` starts one.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and the environment, and starts programs"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitops_agent::docker::{DockerConfig, DockerHost};
use gitops_agent::host::{Blobs, Host as _};
use gitops_core::name::{Digest, NodeName};

const CONTAINERS: usize = 20;
const RUNS: usize = 200;

fn main() {
    let Some(socket) = std::env::var_os("GITOPS_TEST_DOCKER").map(PathBuf::from) else {
        println!("not measured: GITOPS_TEST_DOCKER names no engine");
        return;
    };
    println!("| what | runs | p50 | p99 | max | to hold |");
    println!("|---|---|---|---|---|---|");
    let node = format!("bench-{}", std::process::id());
    start_containers(&socket, &node);
    look(&socket, &node);
    stop_containers(&socket, &node);
    at_rest(&socket);
}

fn docker(socket: &Path) -> Command {
    let mut command = Command::new("docker");
    command.arg("--host").arg(format!("unix://{}", socket.display())).stdout(Stdio::null());
    command
}

fn start_containers(socket: &Path, node: &str) {
    for number in 0..CONTAINERS {
        let labels = [format!("gitops.node={node}"), format!("gitops.service=service-{number}")];
        let mut run = docker(socket);
        run.args([
            "run",
            "--detach",
            "--init",
            "--network",
            "none",
            "--label",
            &labels[0],
            "--label",
            &labels[1],
        ]);
        run.args(["busybox:1.36", "sleep", "600"]);
        assert!(run.status().expect("docker runs").success());
    }
}

fn stop_containers(socket: &Path, node: &str) {
    let filter = format!("label=gitops.node={node}");
    let listed = docker(socket).args(["ps", "--quiet", "--filter", &filter]).stdout(Stdio::piped()).output();
    let ids = String::from_utf8(listed.expect("docker runs").stdout).expect("ids are ASCII");
    assert!(
        docker(socket)
            .args(["rm", "--force"])
            .args(ids.split_whitespace())
            .status()
            .expect("docker runs")
            .success()
    );
}

struct NoBlobs;

impl Blobs for NoBlobs {
    fn path(&self, _: Digest) -> Option<Box<Path>> {
        None
    }
}

/// What the agent does at each tick when nothing changed.
fn look(socket: &Path, node: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DockerConfig {
        node: node.parse::<NodeName>().expect("a name"),
        socket: socket.to_owned(),
        instances: folder.path().join("instances"),
        blobs: Arc::new(NoBlobs),
        program: "docker".into(),
        path: std::env::var_os("PATH").unwrap_or_default(),
        home: folder.path().to_owned(),
        docker_config: None,
        compose_within: Duration::from_secs(60),
    };
    let host = DockerHost::connect(config).expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let observe = || {
        let start = Instant::now();
        let seen = runtime.block_on(host.observe()).expect("the engine answers");
        assert_eq!(seen.instances.len(), CONTAINERS);
        start.elapsed()
    };
    observe();
    let mut times: Vec<Duration> = (0..RUNS).map(|_| observe()).collect();
    times.sort_unstable();
    let at = |share: usize| times[(RUNS - 1) * share / 100].as_secs_f64() * 1e3;
    let [p50, p99, max] = [at(50), at(99), at(100)];
    println!(
        "| look at {CONTAINERS} unchanged containers | {RUNS} | {p50:.1} ms | {p99:.1} ms | {max:.1} ms | ≤ 5 ms |"
    );
}

/// The agent with Docker at hand, no plan, and a daemon that does not answer.
fn at_rest(socket: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "gitops_node_none").expect("a file");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_gitops-agent"));
    agent.args(["run", "--node", "bench", "--server", "http://127.0.0.1:9", "--token-file"]).arg(&token);
    agent
        .arg("--state-dir")
        .arg(folder.path().join("state"))
        .arg("--docker")
        .arg(socket)
        .stderr(Stdio::null());
    let mut agent = agent.spawn().expect("the agent runs");
    std::thread::sleep(Duration::from_secs(10));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap_or_default();
    let line = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned()
    };
    println!(
        "| resident memory of the agent at rest (of it anonymous: {}) | 1 | {} | | | ≤ 10 MB |",
        line("RssAnon:"),
        line("VmRSS:")
    );
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
}
