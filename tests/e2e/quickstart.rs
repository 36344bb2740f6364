//! The first five minutes: `examples/quickstart`, as the README tells people to run it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::docker::Engine;
use super::support::{repository, said, succeed};
use super::world::{EXAMPLE, engines};

/// The script from elsewhere, and with the user's own environment: it uses the user's cargo. Only its folder is another
/// one, so that what a user has running is not in the way; sockets lie in it, so its path is short.
struct QuickStart(tempfile::TempDir);

impl QuickStart {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("quick").tempdir_in("/tmp").expect("a temporary folder"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(repository().join("examples/quickstart"));
        command.current_dir("/").env("TMPDIR", self.0.path()).env("NO_COLOR", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("the quick start starts")
    }

    /// Where it works.
    fn folder(&self) -> std::path::PathBuf {
        let user = succeed(Command::new("id").arg("-u"));
        self.0.path().join(format!("gitops-quickstart-{}", user.trim()))
    }

    fn left_no_files(&self) {
        let left: Vec<_> = self.0.path().read_dir().expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn docker_host(engine: &Engine) -> String {
    format!("unix://{}", engine.socket.display())
}

#[test]
fn the_quick_start_does_what_it_says_and_leaves_nothing_behind_also_when_it_is_interrupted() {
    let Some([engine, _]) = engines() else { return };
    let _alone = EXAMPLE.lock().unwrap_or_else(PoisonError::into_inner);
    let quick_start = QuickStart::new();
    interrupt(&quick_start, &engine);
    let output = quick_start.command().env("DOCKER_HOST", docker_host(&engine)).output().expect("it starts");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for line in ["is in force: 5 instances on 2 nodes", "± recreate api", "only these containers are new"] {
        assert!(said.contains(line), "`{line}` is not in\n{said}");
    }
    nothing_is_left(&engine);
    quick_start.left_no_files();
}

/// Ctrl-C while the first containers come up: a terminal sends it to the script and all that it waits for.
fn interrupt(quick_start: &QuickStart, engine: &Engine) {
    let script = quick_start.command();
    // As a terminal starts it: whoever runs the tests may ignore this signal, and a script cannot undo that.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(script.get_program()).current_dir("/");
    command.envs(script.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("DOCKER_HOST", docker_host(engine)).process_group(0).stdin(Stdio::null());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let give_up = Instant::now() + Duration::from_secs(600);
    while engine.containers("edge-1").is_empty() {
        assert!(
            running.try_wait().expect("our own child").is_none() && Instant::now() < give_up,
            "no container came"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    succeed(Command::new("kill").args(["-s", "INT", "--", &format!("-{}", running.id())]));
    let output = running.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    nothing_is_left(engine);
    quick_start.left_no_files();
}

#[test]
fn what_a_run_left_that_a_reboot_broke_off_is_named_and_can_be_taken_away() {
    let quick_start = QuickStart::new();
    let folder = quick_start.folder();
    fs::create_dir(&folder).expect("a folder");
    // A number that is given to nobody: the kernel's are smaller.
    fs::write(folder.join("daemon.pid"), "4194305\n").expect("a file");
    let output = quick_start.run(&[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("was broken off, by a reboot perhaps"), "{text}");
    assert!(text.contains("examples/quickstart --stop"), "{text}");
    assert!(folder.exists(), "only --stop takes it away");
    let output = quick_start.run(&["--stop"]);
    assert!(output.status.success(), "{}", said(&output));
    quick_start.left_no_files();
}

#[test]
fn where_docker_is_not_and_cannot_be_had_it_is_said_and_nothing_is_left() {
    let quick_start = QuickStart::new();
    let home = tempfile::tempdir().expect("a temporary folder");
    let programs = home.path().join("bin");
    without_docker(&programs);
    let path = std::env::var("PATH").unwrap_or_default();
    let cargo =
        path.split(':').find(|folder| Path::new(folder).join("cargo").exists()).expect("cargo is there");
    let mut command = quick_start.command();
    command.env("PATH", format!("{}:{cargo}", programs.display())).env("XDG_CACHE_HOME", home.path());
    let output = command.output().expect("it starts");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "docker.io could not be installed",
        "this needs git, Docker and Compose v2",
        "taking everything away",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    quick_start.left_no_files();
}

/// A folder with the programs of this machine but Docker's, and an apt that gets nothing.
fn without_docker(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for program in fs::read_dir("/usr/bin").expect("programs").map(|entry| entry.expect("a program")) {
        let name = program.file_name();
        let text = name.to_string_lossy();
        let is_left_out =
            ["docker", "containerd", "apt-get", "sudo"].iter().any(|prefix| text.starts_with(prefix));
        if !is_left_out {
            symlink(program.path(), folder.join(&name)).expect("a link");
        }
    }
    for (name, script) in [("apt-get", "exit 100"), ("sudo", "shift; exec \"$@\"")] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
}

fn nothing_is_left(engine: &Engine) {
    for node in ["edge-1", "edge-2"] {
        assert!(engine.containers(node).is_empty(), "containers of {node} are left");
    }
    for project in ["web-front", "web-back", "api", "cache", "report"] {
        assert_eq!(engine.networks(project), [""; 0]);
        assert_eq!(engine.volumes(project), [""; 0]);
    }
}
