//! `gitops diff` of one hundredth of the reference workload, as a whole process: offline, and against a daemon that
//! deployed what was before.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::workload::{self, Size, compose_file, git, service};
use super::{gitops, gitops_command, sample};

/// Measures it, in a clone of its own.
pub(crate) fn preview(size: Size, runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    std::fs::create_dir(&origin).expect("a folder");
    workload::bare_repository(&origin, size, 0);
    git(folder.path(), &["clone", "--quiet", "origin.git", "clone"]);
    let clone = folder.path().join("clone");
    let changed = (size.services / 100).max(1);
    for number in (0..changed).map(|number| number * 97 % size.services) {
        let path = clone.join(format!("services/{}/compose.yaml", service(number)));
        std::fs::write(path, compose_file(number, 1)).expect("it can be written");
    }
    let who = ["-c", "user.name=bench", "-c", "user.email=bench@example"];
    git(&clone, &[&who[..], &["commit", "--quiet", "--all", "--message", "one per cent"]].concat());
    let what = format!("`gitops diff HEAD~1..HEAD` of {changed} services changed, offline");
    sample::row(&what, runs, "≤ 500 ms", |_| (), |()| gitops(&clone, &["diff", "HEAD~1..HEAD"]));
    println!("| … its resident memory at most | 1 | {} | | | ≤ 250 MB |", peak(&clone));
    live(folder.path(), &clone, changed, runs);
}

/// The greatest resident memory of an offline diff, as far as it is seen every millisecond.
fn peak(clone: &Path) -> String {
    let mut command = gitops_command(clone, &["diff", "HEAD~1..HEAD"]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("gitops runs");
    let mut peak = String::from("unknown");
    while child.try_wait().expect("it can be asked").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
            peak = line.trim().to_owned();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}

/// Stops with the benchmark, however that ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn live(folder: &Path, clone: &Path, changed: usize, runs: usize) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let listen = port.expect("a port").to_string();
    let state = folder.join("state").to_string_lossy().into_owned();
    let origin = folder.join("origin.git").to_string_lossy().into_owned();
    let arguments = ["serve", "--source", &origin, "--state-dir", &state, "--listen", &listen];
    let mut serve = gitops_command(folder, &arguments);
    let _daemon = Daemon(serve.stderr(Stdio::null()).spawn().expect("gitops runs"));
    let ask = |arguments: &[&str]| {
        let mut command = gitops_command(clone, arguments);
        command.env("GITOPS_LISTEN", &listen).env("GITOPS_STATE_DIR", &state);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("gitops runs").success()
    };
    let is_ready = || ask(&["sync"]) && ask(&["show", "latest"]);
    let mut tries = (0..240).map(|_| std::thread::sleep(Duration::from_millis(500)));
    assert!(tries.any(|()| is_ready()), "the daemon deploys what it is given");
    let what = format!("`gitops diff HEAD --live` of {changed} services changed");
    sample::row(&what, runs, "≤ 150 ms", |_| (), |()| assert!(ask(&["diff", "HEAD", "--live"])));
}
