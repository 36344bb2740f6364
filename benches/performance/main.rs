//! The numbers of `docs/performance.md`: `cargo bench --bench performance`.
//!
//! Everything is measured through the public functions and programs that ship, on a repository and a database on
//! disk. Nothing is warmed but what the name of a row says. With arguments, only those parts are measured: `cold`,
//! `warm`, `one-file`, `diff`, `preview`, `explain`, `rules`, `releases`, `commands`, `memory`.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks read the environment and start programs")]

mod preview;
mod release;
mod rules;
mod sample;
mod workload;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gitops::clock;
use gitops::git::{Access, Mirror, MirrorConfig, Repository, Scope, TreeCache};
use gitops::store::sqlite::{self, SqliteStore};
use gitops::store::{Publication, Published, Store};
use gitops_core::diff;
use gitops_core::explain::Explanation;
use gitops_core::holders::Holders;
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::reconcile::{Definitions, Inputs, Known, Outcome, Seen, reconcile};
use gitops_core::render;
use gitops_core::status::{
    AgentInfo, HostInfo, NodeStatus, PlanId, Reported, ReportedNode, SCHEMA, StepOutcome, StepResult,
};
use gitops_core::tree::Tree;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use workload::{Size, W10K};

fn main() {
    // `cargo test --benches` asks whether it builds and runs at all.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let size = if quick { Size { services: 60, nodes: 10, instances: 3 } } else { W10K };
    let runs = if quick { 2 } else { 30 };
    println!(
        "{} services, {} instances, {} nodes; {}",
        size.services,
        size.services * size.instances,
        size.nodes,
        machine()
    );
    sample::head();
    let estate = Estate::new(size, runs);
    if is_wanted("cold") {
        cold_start(&estate, runs.min(10));
    }
    if is_wanted("warm") {
        warm(&estate, runs);
    }
    if is_wanted("one-file") {
        one_file(&estate, runs);
    }
    if is_wanted("diff") {
        offline_diff(&estate, runs.min(10));
    }
    if is_wanted("preview") {
        preview::preview(size, runs.min(10));
    }
    if is_wanted("explain") {
        explain_one(&estate, runs);
    }
    if is_wanted("rules") {
        rules::rules(size, runs.min(10));
    }
    if is_wanted("releases") {
        release::releases(quick);
    }
    if is_wanted("commands") {
        commands(&estate, runs.min(10));
        small_repository(runs);
    }
    if is_wanted("memory") {
        daemon_at_rest(quick);
    }
}

/// Whether a part is measured: `cargo bench --bench performance -- cold diff` measures two of them.
fn is_wanted(part: &str) -> bool {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    wanted.peek().is_none() || wanted.any(|argument| argument == part)
}

fn machine() -> String {
    let read = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, {} of memory",
        read("/proc/cpuinfo", "model name"),
        read("/proc/meminfo", "MemTotal")
    )
}

/// A bare repository, its mirror, and a commit for each run.
struct Estate {
    folder: TempDir,
    mirror: Mirror,
    revisions: Vec<Revision>,
    runtime: Runtime,
}

impl Estate {
    fn new(size: Size, edits: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let origin = folder.path().join("origin.git");
        std::fs::create_dir(&origin).expect("a folder");
        workload::bare_repository(&origin, size, edits);
        let config = MirrorConfig {
            state_dir: folder.path().join("state"),
            url: origin.to_str().expect("a path of ASCII").parse().expect("a path is an address"),
            branch: "main".into(),
            access: Access::default(),
            timeout: Duration::from_secs(60),
        };
        let mirror = Mirror::open(config).expect("a mirror");
        mirror.fetch(&AtomicBool::new(false)).expect("the repository is there");
        let revisions =
            workload::revisions(&origin).iter().map(|id| id.parse().expect("a commit id")).collect();
        Self { folder, mirror, revisions, runtime: Runtime::new().expect("a runtime") }
    }

    fn tree(&self, revision: usize, cache: &mut TreeCache) -> Arc<Tree> {
        let tree = self.mirror.tree(&self.revisions[revision], &Scope::default(), cache);
        Arc::new(tree.expect("the revision is in the mirror"))
    }

    fn load(&self, revision: usize, tree: &Arc<Tree>, previous: Option<&Definitions>) -> Definitions {
        Definitions::load(self.revisions[revision].clone(), tree, &known(previous))
            .expect("the workload is valid")
    }

    fn store(&self, name: &str) -> SqliteStore {
        let path = self.folder.path().join(format!("{name}.db"));
        self.runtime.block_on(sqlite::open(&path)).expect("a database")
    }

    fn publish(&self, store: &SqliteStore, definitions: &Definitions, outcome: &Outcome) {
        let publication = Publication {
            plans: outcome.plans.clone(),
            blobs: outcome.blobs.clone(),
            deployed: Some(definitions.revision.clone()),
            ..Publication::default()
        };
        let published = self.runtime.block_on(store.publish(publication)).expect("the database works");
        assert!(matches!(published, Published::Done(_)));
    }
}

type Plans = BTreeMap<NodeName, Arc<NodePlan>>;

/// A pass that knows nothing of one before it.
fn pass(definitions: &Definitions, plans: &Plans, reported: &Reported) -> Outcome {
    pass_after(None, definitions, plans, reported)
}

fn pass_after(seen: Option<&Seen>, definitions: &Definitions, plans: &Plans, reported: &Reported) -> Outcome {
    let stale_after = SignedDuration::from_secs(45);
    let (now, listening_since) = (clock::now(), Timestamp::UNIX_EPOCH);
    reconcile(&Inputs {
        facts: gitops_core::planner::Facts::none(),
        definitions,
        plans,
        reported,
        now,
        stale_after,
        listening_since,
        seen,
    })
}

fn taken_over(plans: &mut Plans, outcome: &Outcome) {
    plans.extend(outcome.plans.iter().map(|plan| (plan.node.clone(), plan.clone())));
}

/// A fleet that has done everything.
fn acked(plans: &Plans) -> Reported {
    let reported =
        |plan: &Arc<NodePlan>| ReportedNode { status: Arc::new(status(plan)), heard_at: clock::now() };
    Reported { nodes: plans.iter().map(|(node, plan)| (node.clone(), reported(plan))).collect() }
}

/// What a node says that has done all of a plan.
fn status(plan: &NodePlan) -> NodeStatus {
    let result = |step: &Step| {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        (step.service().clone(), StepResult { digest, outcome: StepOutcome::Satisfied, message: None })
    };
    NodeStatus {
        schema: SCHEMA,
        node: plan.node.clone(),
        agent: AgentInfo { id: "bench".into(), version: "0".into(), start: None },
        host: HostInfo::default(),
        accepted: Some(PlanId::of(plan)),
        refused: None,
        steps: plan.steps.iter().map(result).collect(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

fn cold_start(estate: &Estate, runs: usize) {
    let (none, silent) = (Plans::new(), Reported::default());
    let whole = |()| {
        let tree = estate.tree(0, &mut TreeCache::default());
        let definitions = estate.load(0, &tree, None);
        let outcome = pass(&definitions, &none, &silent);
        (definitions, outcome)
    };
    sample::row("cold start: bare mirror to plans", runs, "≤ 500 ms", |_| (), whole);
    sample::row(
        "… of that: read every blob",
        runs,
        "",
        |_| (),
        |()| estate.tree(0, &mut TreeCache::default()),
    );
    let tree = estate.tree(0, &mut TreeCache::default());
    sample::row("… of that: parse, check and render", runs, "", |_| (), |()| estate.load(0, &tree, None));
    let definitions = estate.load(0, &tree, None);
    sample::row("… of that: plan every node", runs, "", |_| (), |()| pass(&definitions, &none, &silent));
    let outcome = pass(&definitions, &none, &silent);
    let store = |run| estate.store(&format!("cold-{run}"));
    sample::row("publish every plan, durable", runs.min(5), "", store, |store| {
        estate.publish(&store, &definitions, &outcome)
    });
}

fn warm(estate: &Estate, runs: usize) {
    let tree = estate.tree(0, &mut TreeCache::default());
    let definitions = estate.load(0, &tree, None);
    let mut plans = Plans::new();
    let first = pass(&definitions, &plans, &Reported::default());
    taken_over(&mut plans, &first);
    let reported = acked(&plans);
    sample::row(
        "full replan, warm, nothing to do",
        runs,
        "≤ 30 ms",
        |_| (),
        |()| {
            let outcome = pass(&definitions, &plans, &reported);
            assert!(outcome.plans.is_empty());
            outcome
        },
    );
}

fn one_file(estate: &Estate, runs: usize) {
    let mut cache = TreeCache::default();
    let mut definitions = estate.load(0, &estate.tree(0, &mut cache), None);
    let mut plans = Plans::new();
    let outcome = pass(&definitions, &plans, &Reported::default());
    taken_over(&mut plans, &outcome);
    let store = estate.store("one-file");
    estate.publish(&store, &definitions, &outcome);
    let mut reported = acked(&plans);
    let mut seen = pass(&definitions, &plans, &reported).seen;
    let mut stages: [Vec<Duration>; 5] = std::array::from_fn(|_| Vec::new());
    for run in 1..=runs {
        let mut clock = Stages::start();
        let tree = estate.tree(run, &mut cache);
        clock.lap(&mut stages[1]);
        let next = estate.load(run, &tree, Some(&definitions));
        clock.lap(&mut stages[2]);
        let outcome = pass_after(Some(&seen), &next, &plans, &reported);
        clock.lap(&mut stages[3]);
        estate.publish(&store, &next, &outcome);
        clock.lap(&mut stages[4]);
        clock.end(&mut stages[0]);
        assert!(!outcome.plans.is_empty() && outcome.plans.len() <= 3);
        taken_over(&mut plans, &outcome);
        let changed = outcome.plans.iter().map(|plan| (plan.node.clone(), plan.clone())).collect();
        reported.nodes.extend(acked(&changed).nodes);
        (definitions, seen) = (next, outcome.seen);
    }
    let names = [
        ("one file of all changed: commit to durable plans", "≤ 8 ms"),
        ("… of that: read the tree", ""),
        ("… of that: parse, check and render", ""),
        ("… of that: plan every node", ""),
        ("… of that: publish, durable", ""),
    ];
    for (times, (name, target)) in stages.iter_mut().zip(names) {
        sample::print(name, times, target);
    }
}

/// A stopwatch with laps.
struct Stages {
    start: std::time::Instant,
    lap: std::time::Instant,
}

impl Stages {
    fn start() -> Self {
        let now = std::time::Instant::now();
        Self { start: now, lap: now }
    }

    fn lap(&mut self, times: &mut Vec<Duration>) {
        times.push(self.lap.elapsed());
        self.lap = std::time::Instant::now();
    }

    fn end(&self, times: &mut Vec<Duration>) {
        times.push(self.start.elapsed());
    }
}

fn offline_diff(estate: &Estate, runs: usize) {
    let last = estate.revisions.len() - 1;
    let repository = Repository::discover(&estate.folder.path().join("origin.git")).expect("it is there");
    sample::row(
        "diff of two revisions of the whole, in process",
        runs,
        "≤ 500 ms",
        |_| (),
        |()| {
            let mut cache = TreeCache::default();
            let mut load = |revision: &Revision, previous: Option<&Definitions>| {
                let tree = repository.tree(revision, &Scope::default(), &mut cache).expect("it is there");
                Definitions::load(revision.clone(), &Arc::new(tree), &known(previous))
                    .expect("the workload is valid")
            };
            let old = load(&estate.revisions[0], None);
            let new = load(&estate.revisions[last], Some(&old));
            let diff = diff::compare(&old.side("before"), &new.side("after"), &diff::Scope::at(clock::now()));
            assert!(!diff.changes.is_empty());
            (old, new, diff)
        },
    );
}

fn commands(estate: &Estate, runs: usize) {
    let clone = estate.folder.path().join("clone");
    workload::git(estate.folder.path(), &["clone", "--quiet", "origin.git", "clone"]);
    sample::row(
        "`gitops validate` of the work tree",
        runs,
        "≤ 800 ms",
        |_| (),
        |()| gitops(&clone, &["validate"]),
    );
    sample::row(
        "`gitops validate --rev HEAD`",
        runs,
        "≤ 800 ms",
        |_| (),
        |()| gitops(&clone, &["validate", "--rev", "HEAD"]),
    );
}

/// Why one service is where it is, and how full all nodes are, once the definitions are read.
fn explain_one(estate: &Estate, runs: usize) {
    let tree = estate.tree(0, &mut TreeCache::default());
    let definitions = estate.load(0, &tree, None);
    let Definitions { catalog, desired, .. } = &definitions;
    let entry = catalog.services.values().next().expect("there are services");
    let holders = Holders::default();
    let explained = |()| {
        let explanation = Explanation::of(catalog, desired, &holders, entry, None);
        render::explain::text(&explanation.expect("it is placed"))
    };
    sample::row("`gitops explain` of one service, once all is read", runs, "≤ 50 ms", |_| (), explained);
    let full = |()| {
        let sites = gitops_core::desired::sites(catalog, &desired.placing, &holders);
        let held = desired.held_on(desired.nodes.keys());
        render::capacity::text(&gitops_core::capacity::of(catalog, &sites, &held, None))
    };
    sample::row("`gitops capacity` of all nodes, once all is read", runs.min(10), "", |_| (), full);
}

fn small_repository(runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    std::fs::create_dir(&origin).expect("a folder");
    workload::bare_repository(&origin, Size { services: 30, nodes: 5, instances: 2 }, 3);
    workload::git(folder.path(), &["clone", "--quiet", "origin.git", "clone"]);
    let clone = folder.path().join("clone");
    sample::row(
        "`gitops diff HEAD~1 HEAD` of 30 services",
        runs,
        "≤ 30 ms",
        |_| (),
        |()| gitops(&clone, &["diff", "HEAD~1", "HEAD"]),
    );
}

fn gitops(folder: &Path, arguments: &[&str]) {
    let status = gitops_command(folder, arguments).stdout(Stdio::null()).status().expect("gitops runs");
    assert!(status.success());
}

fn gitops_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gitops"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// The daemon with 30 services and no agents, after it has planned them.
fn daemon_at_rest(quick: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = folder.path().join("origin.git");
    std::fs::create_dir(&origin).expect("a folder");
    workload::bare_repository(&origin, Size { services: 30, nodes: 5, instances: 2 }, 0);
    let arguments = ["serve", "--source", "origin.git", "--state-dir", "state", "--listen", "127.0.0.1:0"];
    let mut daemon =
        gitops_command(folder.path(), &arguments).stderr(Stdio::null()).spawn().expect("gitops runs");
    std::thread::sleep(Duration::from_secs(if quick { 1 } else { 10 }));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap_or_default();
    let line = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned()
    };
    let (resident, anonymous) = (line("VmRSS:"), line("RssAnon:"));
    println!(
        "| resident memory of the daemon at rest, 30 services (of it anonymous: {anonymous}) | 1 | {resident} | | | ≤ 15 MB |"
    );
    daemon.kill().expect("it runs");
    daemon.wait().expect("it ends");
}

fn known(previous: Option<&Definitions>) -> Known<'_> {
    Known { previous, ..Known::at(clock::now()) }
}
