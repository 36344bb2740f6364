//! A definitions repository, a daemon, and an agent for each of two nodes, on two engines.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::docker::{Containers, Engine};
use super::program::Program;
use super::support::{self, Sandbox};

/// Long enough for a machine that has much else to do. Nothing waits this long unless it fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// Held while what `examples/repo` defines runs: its containers have the names and the ports that it gives them.
pub(crate) static EXAMPLE: Mutex<()> = Mutex::new(());

/// One of the two nodes, each on its own engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left,
    Right,
}

pub(crate) struct World {
    name: &'static str,
    nodes: [String; 2],
    /// How the names of its Compose projects begin.
    projects: Vec<String>,
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
        let nodes = ["left", "right"].map(|side| format!("{name}-{side}"));
        let world = Self::empty(name, nodes, vec![format!("{name}-")], engines);
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

    /// The same with what `examples/repo` defines, committed and not pushed. There must be one of it at a time, since its
    /// names are its own: see [`EXAMPLE`].
    pub(crate) fn example() -> Option<Self> {
        let nodes = ["edge-1", "edge-2"].map(str::to_owned);
        let projects = ["web-", "api", "cache", "report"].map(str::to_owned);
        let world = Self::empty("example", nodes, projects.into(), engines()?);
        support::copy(&support::repository().join("examples/repo"), &world.sandbox.path("work"));
        world.commit("The corner shop");
        Some(world)
    }

    /// With an empty repository.
    fn empty(name: &'static str, nodes: [String; 2], projects: Vec<String>, engines: [Engine; 2]) -> Self {
        let sandbox = Sandbox::new();
        sandbox.git("", &["init", "--quiet", "--bare", "origin.git"]);
        sandbox.git("", &["clone", "--quiet", "origin.git", "work"]);
        let (port, daemon, agents) = (free_port(), None, BTreeMap::new());
        let serve = vec!["--heartbeat", "1s"];
        Self { name, nodes, projects, sandbox, engines, port, daemon, agents, serve }
    }

    pub(crate) fn node(&self, side: Side) -> String {
        self.nodes[side as usize].clone()
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
        self.service_with(name, sides, "", compose);
    }

    /// The same with further fields in its definition.
    pub(crate) fn service_with(&self, name: &str, sides: &[Side], fields: &str, compose: &str) {
        let name = self.full(name);
        let nodes = sides.iter().map(|side| self.node(*side)).collect::<Vec<_>>().join(", ");
        let definition = format!("service: {name}\nplace:\n  nodes: [{nodes}]\n{fields}");
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

    /// Runs a command of the first operator.
    pub(crate) fn gitops(&self, arguments: &[&str]) -> Output {
        self.gitops_as("control/operator.token", arguments)
    }

    /// Runs a command of the operator whose token is in this file.
    pub(crate) fn gitops_as(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = self.sandbox.command(support::program("gitops"));
        command.env("GITOPS_URL", self.url()).env("GITOPS_TOKEN_FILE", self.sandbox.path(token));
        command.args(arguments).output().expect("gitops starts")
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.gitops(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", support::said(&output));
        support::said(&output)
    }

    /// Makes a token for an operator. Returns the name of its file.
    pub(crate) fn operator(&self, name: &str) -> String {
        let output = self.gitops(&["operator", "token", name]);
        assert!(output.status.success(), "{}", support::said(&output));
        let file = format!("{name}.token");
        self.sandbox.write(&file, &String::from_utf8_lossy(&output.stdout));
        file
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

    /// What it tells of one service there: its state, and what it waits for or what is wrong.
    pub(crate) fn instance(&self, side: Side, service: &str) -> (String, String) {
        let node = self.node_status(side);
        let service = self.full(service);
        let of_service =
            node["instances"].as_array().into_iter().flatten().find(|one| one["service"] == service);
        let text =
            |field: &str| of_service.and_then(|one| one[field].as_str()).unwrap_or_default().to_owned();
        (text("state"), text("message"))
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
                for project in &self.projects {
                    self.engine(side).clean_up(&self.node(side), project);
                }
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
