//! What a Docker engine says, by its own command line: apart from the code under test, which asks the API.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use super::support::{repository, succeed};

#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
}

/// An engine that one test has to itself, so that it can be stopped.
pub(crate) struct OwnEngine {
    folder: tempfile::TempDir,
}

impl OwnEngine {
    /// Starts it, with the image of the tests in it.
    pub(crate) fn start() -> (Self, Engine) {
        // Sockets lie in it, so its path is short.
        let folder = tempfile::Builder::new().prefix("gitops-own").tempdir_in("/tmp");
        let own = Self { folder: folder.expect("a temporary folder") };
        let socket = PathBuf::from(own.start_again());
        own.setup(&["image".as_ref(), socket.as_os_str()]);
        (own, Engine { socket })
    }

    /// Starts it after it was stopped. Returns the path of its socket, which stays the same.
    pub(crate) fn start_again(&self) -> String {
        self.setup(&["engine".as_ref(), "own".as_ref(), self.engine().as_os_str()]).trim().to_owned()
    }

    /// Stops it with all its containers. What it stored stays.
    pub(crate) fn stop(&self) {
        self.setup(&["engine-stop".as_ref(), self.engine().as_os_str()]);
    }

    fn engine(&self) -> PathBuf {
        self.folder.path().join("engine")
    }

    fn setup(&self, arguments: &[&OsStr]) -> String {
        succeed(Command::new(repository().join("tests/setup")).args(arguments))
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let _ =
            Command::new(repository().join("tests/setup")).arg("engine-remove").arg(self.engine()).output();
    }
}

/// One container of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) state: String,
    /// When it was last started, by the engine's clock.
    pub(crate) started: String,
    pub(crate) environment: Vec<String>,
}

impl Container {
    pub(crate) fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether it runs with this variable, as `NAME=value`.
    pub(crate) fn runs_with(&self, variable: &str) -> bool {
        self.is_running() && self.environment.iter().any(|one| one == variable)
    }
}

/// The containers of a node, by `SERVICE/COMPOSE-SERVICE`.
pub(crate) type Containers = BTreeMap<String, Vec<Container>>;

/// The ids of containers of which there must be one each.
pub(crate) fn ids<'c>(containers: &'c Containers) -> BTreeMap<&'c str, &'c str> {
    let only = |(name, of_name): (&'c String, &'c Vec<Container>)| match &of_name[..] {
        [one] => (name.as_str(), one.id.as_str()),
        several => panic!("{} containers of {name}: {several:?}", several.len()),
    };
    containers.iter().map(only).collect()
}

impl Engine {
    /// Runs `docker`, and returns what it printed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        succeed(self.command().args(arguments))
    }

    /// False while a test has stopped it.
    pub(crate) fn answers(&self) -> bool {
        self.command().arg("version").output().is_ok_and(|output| output.status.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }

    /// All containers of a node, stopped ones too.
    pub(crate) fn containers(&self, node: &str) -> Containers {
        let ids = self.list("ps --all --no-trunc", &format!("label=gitops.node={node}"));
        let mut containers = Containers::new();
        for id in ids {
            // One that went away since it was listed is not there.
            let output =
                self.command().args(["inspect", "--type", "container", &id]).output().expect("docker starts");
            let inspected: serde_json::Value =
                serde_json::from_slice(&output.stdout).expect("docker prints JSON");
            let Some(of_one) = inspected.get(0) else { continue };
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let labels = &of_one["Config"]["Labels"];
            let name = format!(
                "{}/{}",
                text(&labels["gitops.service"]),
                text(&labels["com.docker.compose.service"])
            );
            let environment = of_one["Config"]["Env"].as_array().into_iter().flatten().map(text).collect();
            let (state, started) = (text(&of_one["State"]["Status"]), text(&of_one["State"]["StartedAt"]));
            containers.entry(name).or_default().push(Container { id, state, started, environment });
        }
        containers
    }

    /// The names of the volumes of Compose projects whose names start so.
    pub(crate) fn volumes(&self, project: &str) -> Vec<String> {
        self.of_projects("volume", project)
    }

    /// What tells a volume from another one of the same name: when and where it was made.
    pub(crate) fn volume(&self, name: &str) -> String {
        self.docker(&["volume", "inspect", "--format", "{{.Name}} {{.CreatedAt}} {{.Mountpoint}}", name])
    }

    /// The ids of their networks.
    pub(crate) fn networks(&self, project: &str) -> Vec<String> {
        self.of_projects("network", project)
    }

    /// Deletes all that a node has, and the networks and volumes of Compose projects whose names start so.
    pub(crate) fn clean_up(&self, node: &str, project: &str) {
        let containers = self.list("ps --all", &format!("label=gitops.node={node}"));
        for (what, names) in [
            ("rm --force --volumes", containers),
            ("network rm", self.networks(project)),
            ("volume rm --force", self.volumes(project)),
        ] {
            if !names.is_empty() {
                // What an agent that was just killed still takes away itself is not missed.
                let _ = self.command().args(what.split(' ')).args(names).output();
            }
        }
    }

    fn of_projects(&self, what: &str, prefix: &str) -> Vec<String> {
        let format = format!("{{{{.Name}}}}\t{{{{.Label \"{PROJECT}\"}}}}");
        let filter = format!("label={PROJECT}");
        let listed = self.docker(&[what, "ls", "--filter", &filter, "--format", &format]);
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines.filter(|(_, project)| project.starts_with(prefix)).map(|(name, _)| name.to_owned()).collect()
    }

    fn list(&self, command: &str, filter: &str) -> Vec<String> {
        let arguments: Vec<&str> = command.split(' ').chain(["--quiet", "--filter", filter]).collect();
        self.docker(&arguments).lines().map(str::to_owned).collect()
    }
}

const PROJECT: &str = "com.docker.compose.project";
