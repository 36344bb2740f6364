//! A definitions repository, a daemon, and an agent for each of two nodes, on two engines.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::docker::{Containers, Engine};
use super::program::Program;
use super::support::{self, Sandbox};

/// Long enough for a machine that has much else to do. Nothing waits this long unless it fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// One of the two nodes, each on its own engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left,
    Right,
}

pub(crate) struct World {
    name: &'static str,
    pub(crate) sandbox: Sandbox,
    engines: [Engine; 2],
    port: u16,
    pub(crate) daemon: Option<Program>,
    agents: BTreeMap<Side, Program>,
    /// What else the daemon is started with.
    pub(crate) serve: Vec<&'static str>,
}

/// The two engines of the tests; none where the tests that need them are to be skipped.
pub(crate) fn engines() -> Option<[Engine; 2]> {
    let named = std::env::var("GITOPS_TEST_ENGINES").unwrap_or_default();
    let sockets: Vec<PathBuf> = named.split_whitespace().map(PathBuf::from).collect();
    if let [left, right] = &sockets[..] {
        return Some([left, right].map(|socket| Engine { socket: socket.clone() }));
    }
    let is_required = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_required, "GITOPS_TEST_ENGINES must name the sockets of two engines: tests/run does it");
    eprintln!("skipped: GITOPS_TEST_ENGINES does not name the sockets of two engines, as tests/run does");
    None
}

/// A Compose file of small containers, each with further fields.
pub(crate) fn compose(containers: &[(&str, &str)]) -> String {
    let container = |(name, fields): &(&str, &str)| {
        let fields: String = fields.lines().map(|line| format!("    {line}\n")).collect();
        // With an init process in it, a container stops at once.
        format!("  {name}:\n    image: busybox:1.36\n    command: sleep 1d\n    init: true\n{fields}")
    };
    format!("services:\n{}", containers.iter().map(container).collect::<String>())
}

impl World {
    /// A repository with two nodes and no services; nothing runs yet. Names of nodes and services start with `name`,
    /// since all tests share the engines. None where there are no engines.
    pub(crate) fn new(name: &'static str) -> Option<Self> {
        Some(Self::on(name, engines()?))
    }

    /// The same on these engines.
    pub(crate) fn on(name: &'static str, engines: [Engine; 2]) -> Self {
        let world = Self {
            name,
            sandbox: Sandbox::new(),
            engines,
            port: free_port(),
            daemon: None,
            agents: BTreeMap::new(),
            serve: vec!["--heartbeat", "1s"],
        };
        world.sandbox.git("", &["init", "--quiet", "--bare", "origin.git"]);
        world.sandbox.git("", &["clone", "--quiet", "origin.git", "work"]);
        world.define(
            "gitops.toml",
            "format = 1\nname = \"test\"\n\n[defaults]\nhealth = { within = \"60s\" }\n",
        );
        for side in [Side::Left, Side::Right] {
            let node = world.node(side);
            world.define(&format!("nodes/{node}.yaml"), &format!("node: {node}\n"));
        }
        world
    }

    pub(crate) fn node(&self, side: Side) -> String {
        format!("{}-{}", self.name, if side == Side::Left { "left" } else { "right" })
    }

    /// The full name of a service.
    pub(crate) fn full(&self, service: &str) -> String {
        format!("{}-{service}", self.name)
    }

    pub(crate) fn engine(&self, side: Side) -> &Engine {
        &self.engines[side as usize]
    }

    pub(crate) fn containers(&self, side: Side) -> Containers {
        self.engine(side).containers(&self.node(side))
    }

    // ---- what people do -------------------------------------------------------------------------------------------

    /// Writes a file of the repository.
    pub(crate) fn define(&self, path: &str, content: &str) {
        self.sandbox.write(format!("work/{path}"), content);
    }

    /// Writes a service.
    pub(crate) fn service(&self, name: &str, sides: &[Side], compose: &str) {
        let name = self.full(name);
        let nodes = sides.iter().map(|side| self.node(*side)).collect::<Vec<_>>().join(", ");
        let definition = format!("service: {name}\nplace:\n  nodes: [{nodes}]\n");
        self.define(&format!("services/{name}/service.yaml"), &definition);
        self.define(&format!("services/{name}/compose.yaml"), compose);
    }

    /// Commits everything and pushes it. Returns the revision.
    pub(crate) fn push(&self, message: &str) -> String {
        self.commit(message);
        self.sandbox.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
        self.sandbox.git("work", &["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(crate) fn commit(&self, message: &str) {
        self.sandbox.git("work", &["add", "--all"]);
        self.sandbox.git("work", &["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    /// Pushes, and waits until both nodes are as the push says.
    pub(crate) fn deploy(&self, message: &str) {
        let revision = self.push(message);
        self.settle();
        assert_eq!(self.status()["source"]["deployed"], revision, "what was pushed is deployed");
    }

    /// Waits until both nodes are as the newest revision says.
    pub(crate) fn settle(&self) {
        let output = self.gitops(&["sync", "--wait", "--timeout", "120s"]);
        assert!(output.status.success(), "{}", support::said(&output));
    }

    /// Runs a command of an operator.
    pub(crate) fn gitops(&self, arguments: &[&str]) -> Output {
        let mut command = self.sandbox.command(support::program("gitops"));
        command
            .env("GITOPS_URL", self.url())
            .env("GITOPS_TOKEN_FILE", self.sandbox.path("control/operator.token"));
        command.args(arguments).output().expect("gitops starts")
    }

    /// What `gitops status -o json` tells.
    pub(crate) fn status(&self) -> Value {
        let output = self.gitops(&["status", "-o", "json"]);
        assert!(output.status.success(), "{}", support::said(&output));
        serde_json::from_slice(&output.stdout).expect("the status is JSON")
    }

    /// What it tells of one node.
    pub(crate) fn node_status(&self, side: Side) -> Value {
        let status = self.status();
        let nodes = status["nodes"].as_array().expect("nodes are listed");
        let node = nodes.iter().find(|node| node["node"] == self.node(side)).expect("the node is listed");
        node.clone()
    }

    // ---- what runs ------------------------------------------------------------------------------------------------

    /// Starts the daemon and both agents.
    pub(crate) fn start(&mut self) {
        self.start_daemon();
        for side in [Side::Left, Side::Right] {
            let token = self.gitops(&["node", "token", &self.node(side)]);
            assert!(token.status.success(), "{}", support::said(&token));
            self.sandbox.write(self.token(side), &String::from_utf8_lossy(&token.stdout));
            self.start_agent(side);
        }
    }

    fn token(&self, side: Side) -> String {
        format!("{}.token", self.node(side))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start_daemon(&mut self) {
        let mut command = self.sandbox.command(support::program("gitops"));
        command.args(["serve", "--source", "origin.git", "--state-dir", "control"]).args(&self.serve);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--log", "info"]);
        self.daemon = Some(Program::start(command, &self.sandbox.path("daemon.log")));
        self.wait("the daemon answers", |world| {
            let daemon = world.daemon.as_mut().expect("it was started");
            assert!(daemon.is_running(), "the daemon ended");
            world.gitops(&["status"]).status.success()
        });
    }

    pub(crate) fn start_agent(&mut self, side: Side) {
        let name = self.node(side);
        let command = self.agent_command(side, &name, &self.url());
        self.agents.insert(side, Program::start(command, &self.sandbox.path(format!("{name}.log"))));
    }

    /// The agent of a node, with a state folder of this name.
    pub(crate) fn agent_command(&self, side: Side, state: &str, server: &str) -> Command {
        let mut command = self.sandbox.command(support::program("gitops-agent"));
        command.args(["run", "--server", server, "--node", &self.node(side)]);
        command.args(["--state-dir", &format!("state/{state}"), "--token-file", &self.token(side)]);
        command.arg("--docker").arg(&self.engine(side).socket);
        // What it reacts to is events, not the next look.
        command.args(["--settle-seconds", "1", "--observe-seconds", "60", "--log", &log()]);
        command.env("DOCKER_CONFIG", docker_config());
        command
    }

    pub(crate) fn agent(&mut self, side: Side) -> &mut Program {
        self.agents.get_mut(&side).expect("the agent was started")
    }

    /// Waits until `happened`.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut happened: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !happened(self) {
            assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && self.daemon.as_mut().is_some_and(Program::is_running) {
            eprintln!("---- gitops status ----\n{}", support::said(&self.gitops(&["status"])));
        }
        self.agents.clear();
        self.daemon = None;
        for side in [Side::Left, Side::Right] {
            if self.engine(side).answers() {
                self.engine(side).clean_up(&self.node(side), &format!("{}-", self.name));
            }
        }
    }
}

/// The user's own, where the Compose plugin is.
fn docker_config() -> PathBuf {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    named.unwrap_or_else(|| home().join(".docker"))
}

/// How much of what happens is told where a test fails.
fn log() -> String {
    std::env::var("GITOPS_TEST_LOG").unwrap_or_else(|_| "info".to_owned())
}

/// A port that nothing listens on, below those that the system gives to connections that go out, so that it stays
/// free while its daemon is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 200).unwrap_or_default() * 50;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
