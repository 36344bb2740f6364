//! `gitops diff` of one hundredth of the reference workload, as a whole process: offline, and against a daemon whose
//! fleet runs what was before.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gitops::clock;
use gitops::store::sqlite;
use gitops::store::{Publication, StatusReport, Store as _};
use gitops_core::plan::NodePlan;
use gitops_core::reconcile::Definitions;
use gitops_core::status::Reported;
use gitops_core::tree::Tree;
use tokio::runtime::Runtime;

use super::workload::{self, Size, compose_file, files, git, service};
use super::{Plans, gitops, gitops_command, known, pass, sample, status};

/// Measures it, in a clone of its own.
pub(crate) fn preview(size: Size, runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    std::fs::create_dir(&origin).expect("a folder");
    workload::bare_repository(&origin, size, 0);
    git(folder.path(), &["clone", "--quiet", "origin.git", "clone"]);
    let clone = folder.path().join("clone");
    let changed = changed(size);
    for number in (0..changed).map(|number| number * 97 % size.services) {
        let path = clone.join(format!("services/{}/compose.yaml", service(number)));
        std::fs::write(path, compose_file(number, 1)).expect("it can be written");
    }
    let who = ["-c", "user.name=bench", "-c", "user.email=bench@example"];
    git(&clone, &[&who[..], &["commit", "--quiet", "--all", "--message", "one per cent"]].concat());
    let what = format!("`gitops diff HEAD~1..HEAD` of {changed} services changed, offline");
    sample::row(&what, runs, "≤ 500 ms", |_| (), |()| gitops(&clone, &["diff", "HEAD~1..HEAD"]));
    println!("| … its resident memory at most | 1 | {} | | | ≤ 250 MB |", peak(&clone));
    deployed(folder.path(), size);
    live(folder.path(), &clone, size, runs);
}

/// The state folder of a daemon that deployed the first commit, to a fleet that has done all of it.
fn deployed(folder: &Path, size: Size) {
    let state = folder.join("state");
    std::fs::create_dir(&state).expect("a folder");
    let revision = workload::revisions(&folder.join("origin.git")).remove(0).parse().expect("a commit id");
    let definitions = Definitions::load(revision, &Arc::new(Tree::from_files(files(size))), &known(None));
    let definitions = definitions.expect("the workload is valid");
    let outcome = pass(&definitions, &Plans::new(), &Reported::default());
    let report = |plan: &Arc<NodePlan>| StatusReport {
        node: plan.node.clone(),
        status: Some(Arc::new(status(plan))),
        heard_at: clock::now(),
        reached: None,
    };
    let reports = outcome.plans.iter().map(report).collect();
    let publication = Publication {
        plans: outcome.plans,
        blobs: outcome.blobs,
        deployed: Some(definitions.revision.clone()),
        ..Publication::default()
    };
    Runtime::new().expect("a runtime").block_on(async {
        let store = sqlite::open(&state.join("gitops.db")).await.expect("a database");
        store.publish(publication).await.expect("the database works");
        store.record_statuses(reports).await.expect("the database works");
    });
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

fn live(folder: &Path, clone: &Path, size: Size, runs: usize) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let listen = port.expect("a port").to_string();
    let state = folder.join("state").to_string_lossy().into_owned();
    let origin = folder.join("origin.git").to_string_lossy().into_owned();
    let arguments = ["serve", "--source", &origin, "--state-dir", &state, "--listen", &listen];
    let mut serve = gitops_command(folder, &arguments);
    let _daemon = Daemon(serve.stderr(Stdio::null()).spawn().expect("gitops runs"));
    let ask = || {
        let mut command = gitops_command(clone, &["diff", "HEAD", "--live"]);
        command.env("GITOPS_LISTEN", &listen).env("GITOPS_STATE_DIR", &state);
        command.stderr(Stdio::null()).output().expect("gitops runs")
    };
    let mut tries = (0..240).map(|_| std::thread::sleep(Duration::from_millis(500)));
    assert!(tries.any(|()| ask().status.success()), "the daemon deploys what it is given");
    let changed = changed(size);
    let told = String::from_utf8(ask().stdout).expect("text");
    let expected = format!("{} to recreate", changed * size.instances);
    assert!(told.starts_with("Plan: 0 to create") && told.contains(&expected), "{told}");
    let what = format!("`gitops diff HEAD --live` of {changed} services changed");
    sample::row(&what, runs, "≤ 150 ms", |_| (), |()| assert!(ask().status.success()));
}

/// How many services the second commit changes: one hundredth.
fn changed(size: Size) -> usize {
    (size.services / 100).max(1)
}
