//! The host over a real engine and the real Compose.
//!
//! `GITOPS_TEST_DOCKER` names the socket of an engine that has `busybox:1.36`.

#![allow(clippy::disallowed_methods, reason = "tests find their engine by the environment")]
#![allow(clippy::unwrap_used, reason = "what a test does not expect ends it")]

#[path = "docker/bench.rs"]
mod bench;
#[path = "docker/checks.rs"]
mod checks;
#[path = "docker/drift.rs"]
mod drift;
#[path = "docker/files.rs"]
mod files;
#[path = "docker/hooks.rs"]
mod hooks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bollard::query_parameters::KillContainerOptions;
use gitops_agent::attempt::Attempt;
use gitops_agent::docker::{DockerConfig, DockerHost, Wake};
use gitops_agent::host::{Host as _, HostError};
use gitops_core::name::Digest;
use gitops_core::plan::{ContainerDigest, Ensure, RunState};
use gitops_core::status::{ContainerState, Health};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use bench::{Bench, sleeper};

/// For what happens soon, on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_instance_is_created_and_a_second_time_nothing_is_done() {
    let Some(bench) = Bench::new("create") else { return };
    let step = bench.step(
        json!({
            "web": sleeper(json!({"volumes": ["./web.conf:/etc/web.conf:ro", "data:/data"]})),
            "job": sleeper(json!({"command": ["true"], "restart": "no"})),
        }),
        &[("web.conf", "one")],
    );
    bench.ensure(&step).await;
    let first = bench.look().await;
    assert_eq!(first["web"].state, ContainerState::Running);
    assert_eq!(first["web"].config, Some(step.containers["web"].config));
    assert_eq!(first["web"].files, step.containers["web"].files);
    assert_eq!(bench.read(&first["web"], "/etc/web.conf").await, "one");
    until(&bench, "job", |job| job.state == ContainerState::Exited).await;

    bench.without_compose().ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap();
    assert_eq!(bench.ids().await, ids_of(&first));
    bench.clean_up().await;
}

#[tokio::test]
async fn a_change_of_one_compose_service_recreates_that_one() {
    let Some(bench) = Bench::new("change") else { return };
    let services = |level: &str| json!({"a": sleeper(json!({"environment": {"LEVEL": level}})), "b": sleeper(json!({}))});
    bench.ensure(&bench.step(services("1"), &[])).await;
    let before = bench.ids().await;
    bench.ensure(&bench.step(services("2"), &[])).await;
    assert_eq!(recreated(&before, &bench.ids().await), ["a"]);
    // One that is no longer named goes.
    let step = bench.step(json!({"b": sleeper(json!({}))}), &[]);
    bench.ensure(&step).await;
    assert_eq!(bench.ids().await.into_keys().collect::<Vec<_>>(), ["b"]);
    bench.clean_up().await;
}

#[tokio::test]
async fn another_rule_of_the_digest_adopts_what_runs() {
    let Some(bench) = Bench::new("adopt") else { return };
    let with_rule = |rule, level: &str| {
        let a = sleeper(json!({"environment": {"LEVEL": level}, "volumes": ["./conf:/conf:ro"]}));
        let mut step = bench.step(json!({"a": a, "b": sleeper(json!({}))}), &[("conf", "same")]);
        for spec in step.containers.values_mut() {
            spec.config =
                ContainerDigest { rule, digest: Digest::of(format!("{rule} {level} {}", spec.config)) };
            spec.files = spec.files.map(|files| Digest::of(format!("{rule} {files}")));
        }
        step
    };
    bench.ensure(&with_rule(1, "1")).await;
    let before = bench.look().await;
    bench.without_compose().ensure(&with_rule(2, "1"), &[], &Attempt::unlogged("a test")).await.unwrap();
    assert_eq!(bench.look().await, before);
    // A real change under the new rule gives the changed container the new label, and only that one.
    bench.ensure(&with_rule(2, "2")).await;
    let after = bench.look().await;
    assert_eq!(recreated(&ids_of(&before), &ids_of(&after)), ["a"]);
    assert_eq!((after["a"].config.unwrap().rule, after["b"].config.unwrap().rule), (2, 1));
    bench.clean_up().await;
}

#[tokio::test]
async fn a_removed_instance_leaves_its_volume_and_its_data() {
    let Some(bench) = Bench::new("remove") else { return };
    let service = sleeper(json!({"volumes": ["data:/data", "./own:/own", "./conf:/conf:ro"]}));
    bench.ensure(&bench.step(json!({"a": service}), &[("conf/x", "1")])).await;
    std::fs::write(bench.instance_folder().join("own/precious"), "data").unwrap();
    bench.remove().await;
    assert!(bench.ids().await.is_empty());
    assert_eq!(bench.volumes().await, [format!("{}_data", bench.name)]);
    assert_eq!(names(&bench.instance_folder()), ["own"]);
    assert_eq!(std::fs::read_to_string(bench.instance_folder().join("own/precious")).unwrap(), "data");
    // Twice is as good as once.
    bench.remove().await;
    bench.clean_up().await;
}

#[tokio::test]
async fn a_project_of_someone_else_is_refused() {
    let Some(bench) = Bench::new("foreign") else { return };
    let step = bench.step(json!({"a": sleeper(json!({}))}), &[]);
    bench.ensure(&step).await;
    let before = bench.ids().await;

    let other = bench.with_node("other");
    assert_foreign(other.ensure(&step, &[], &Attempt::unlogged("a test")).await, "belongs to node");
    assert_foreign(other.remove(&bench.removal(), &Attempt::unlogged("a test")).await, "belongs to node");
    assert!(other.observe().await.unwrap().instances.is_empty());
    let renamed = Ensure { service: format!("{}-b", bench.name).parse().unwrap(), ..step.clone() };
    assert_foreign(
        bench.host.ensure(&renamed, &[], &Attempt::unlogged("a test")).await,
        "belongs to service",
    );
    assert_eq!(bench.ids().await, before);
    bench.clean_up().await;
}

#[tokio::test]
async fn a_project_made_by_hand_is_refused() {
    let Some(bench) = Bench::new("by-hand") else { return };
    let step = bench.step(json!({"a": sleeper(json!({}))}), &[]);
    let options =
        bollard::query_parameters::CreateContainerOptionsBuilder::default().name(&bench.name).build();
    let labels = [("com.docker.compose.project".to_owned(), bench.name.clone())];
    let body = bollard::models::ContainerCreateBody {
        image: Some("busybox:1.36".to_owned()),
        labels: Some(labels.into()),
        ..Default::default()
    };
    let id = bench.engine.create_container(Some(options), body).await.unwrap().id;
    assert_foreign(
        bench.host.ensure(&step, &[], &Attempt::unlogged("a test")).await,
        "that gitops did not make",
    );
    assert_foreign(
        bench.host.remove(&bench.removal(), &Attempt::unlogged("a test")).await,
        "that gitops did not make",
    );
    bench.delete_container(&id).await;
    bench.clean_up().await;
}

#[tokio::test]
async fn a_stopped_instance_stands_and_does_not_run() {
    let Some(bench) = Bench::new("stopped") else { return };
    let running = bench.step(json!({"a": sleeper(json!({}))}), &[]);
    let stopped = Ensure { state: RunState::Stopped, ..running.clone() };
    bench.ensure(&stopped).await;
    let created = bench.look().await;
    assert_eq!(created["a"].state, ContainerState::Created);
    bench.without_compose().ensure(&stopped, &[], &Attempt::unlogged("a test")).await.unwrap();

    bench.ensure(&running).await;
    assert_eq!(bench.look().await["a"].state, ContainerState::Running);
    bench.ensure(&stopped).await;
    let ended = bench.look().await;
    assert_eq!(ended["a"].state, ContainerState::Exited);
    assert_eq!(ended["a"].id, created["a"].id);
    bench.clean_up().await;
}

#[tokio::test]
async fn a_killed_container_wakes_and_only_that_one_is_brought_back() {
    let Some(bench) = Bench::new("killed") else { return };
    let step = bench.step(
        json!({
            "a": sleeper(json!({"depends_on": {"job": {"condition": "service_completed_successfully"}}})),
            "b": sleeper(json!({})),
            "job": sleeper(json!({"command": ["true"], "restart": "no"})),
        }),
        &[],
    );
    bench.ensure(&step).await;
    let before = bench.look().await;
    let (sender, mut wakes) = mpsc::channel(64);
    let host = bench.host.clone();
    let watching = tokio::spawn(async move { host.watch(sender).await });
    assert_eq!(timeout(SOON, wakes.recv()).await.unwrap(), Some(Wake::Everything));

    // What happened just before the stream began may still arrive; the kill is what comes with a dead container.
    let killed_at = Instant::now();
    bench.engine.kill_container(&before["a"].id, None::<KillContainerOptions>).await.unwrap();
    let seen = loop {
        let wake = timeout(SOON, wakes.recv()).await.unwrap().unwrap();
        if !is_of(&wake, &step) {
            continue;
        }
        if bench.look().await["a"].state == ContainerState::Exited {
            break killed_at.elapsed();
        }
    };
    assert!(seen < Duration::from_secs(1), "{seen:?}");
    assert_eq!(bench.look().await["a"].exit_code, Some(137));

    bench.ensure(&step).await;
    let after = bench.look().await;
    assert_eq!(ids_of(&after), ids_of(&before));
    assert_eq!(after["a"].state, ContainerState::Running);
    assert!(after["a"].started_at > before["a"].started_at);
    assert_eq!(after["job"].started_at, before["job"].started_at, "a job that had ended well ran again");
    println!("a killed container was seen after {seen:?}");
    drop(wakes);
    timeout(SOON, watching).await.unwrap().unwrap();
    bench.clean_up().await;
}

fn is_of(wake: &Wake, step: &Ensure) -> bool {
    matches!(wake, Wake::Container { service: Some(service), .. } if *service == step.service)
}

#[tokio::test]
async fn a_crashing_container_tells_its_exit_code_and_its_last_words() {
    let Some(bench) = Bench::new("crash") else { return };
    let script =
        "{ for i in 1 2 3 4 5; do echo line $i; done; printf '\\033[31mred\\033[0m\\n'; } >&2; exit 3";
    let step = bench.step(
        json!({
            "once": sleeper(json!({"command": ["sh", "-c", script], "init": false})),
            "loop": sleeper(json!({"command": ["sh", "-c", "echo again; exit 4"], "init": false, "restart": "always"})),
            "tty": sleeper(json!({"command": ["echo", "on a terminal"], "init": false, "tty": true})),
        }),
        &[],
    );
    bench.ensure(&step).await;
    let once = until(&bench, "once", |once| once.state == ContainerState::Exited).await;
    assert_eq!(once.exit_code, Some(3));
    assert_eq!(bench.host.last_log_lines(&once.id, 3).await, ["line 4", "line 5", "red"]);
    let tty = until(&bench, "tty", |tty| tty.state == ContainerState::Exited).await;
    assert_eq!(bench.host.last_log_lines(&tty.id, 3).await, ["on a terminal"]);
    let again = until(&bench, "loop", |again| again.restarts >= 3).await;
    assert!(matches!(again.state, ContainerState::Restarting | ContainerState::Running), "{again:?}");
    assert_eq!(bench.host.last_log_lines("no-such-container", 3).await, [""; 0]);
    bench.clean_up().await;
}

#[tokio::test]
async fn health_is_observed() {
    let Some(bench) = Bench::new("health") else { return };
    let check = |test: &str| json!({"healthcheck": {"test": ["CMD", test], "interval": "1s", "retries": 1}});
    let step = bench.step(json!({"well": sleeper(check("true")), "ill": sleeper(check("false"))}), &[]);
    bench.ensure(&step).await;
    until(&bench, "well", |well| well.health == Health::Healthy).await;
    until(&bench, "ill", |ill| ill.health == Health::Unhealthy).await;
    bench.clean_up().await;
}

#[tokio::test]
async fn a_tag_that_names_another_image_by_now_is_observed() {
    use bollard::query_parameters::{
        CommitContainerOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
    };
    let Some(bench) = Bench::new("tag") else { return };
    let image = format!("{}:1", bench.name);
    let tag = TagImageOptionsBuilder::default().repo(&bench.name).tag("1").build();
    bench.engine.tag_image("busybox:1.36", Some(tag)).await.unwrap();
    bench.ensure(&bench.step(json!({"a": sleeper(json!({"image": image}))}), &[])).await;
    let before = bench.look().await;
    assert_eq!((&*before["a"].image, &before["a"].image_now), (&*image, &None));

    let commit = CommitContainerOptionsBuilder::default()
        .container(&before["a"].id)
        .repo(&bench.name)
        .tag("1")
        .build();
    let made =
        bench.engine.commit_container(commit, bollard::models::ContainerConfig::default()).await.unwrap().id;
    let after = bench.look().await;
    assert_eq!((&*after["a"].image, after["a"].image_now.as_deref()), (&*image, Some(&*made)));
    assert_eq!((&after["a"].image_id, &after["a"].id), (&before["a"].image_id, &before["a"].id));
    bench.engine.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
    assert_eq!(bench.look().await["a"].image_now, None, "it names nothing");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_failed_call_says_why() {
    let Some(bench) = Bench::new("fail") else { return };
    let step = bench.step(json!({"a": sleeper(json!({"image": "nowhere.invalid/x:1"}))}), &[]);
    let error = bench.host.ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap_err();
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
    assert!(matches!(&error, HostError::Compose { verb: "up", .. }), "{error}");

    let error = bench.without_compose().ensure(&step, &[], &Attempt::unlogged("a test")).await.unwrap_err();
    assert!(error.to_string().contains("install Docker Compose"), "{error}");

    // A condition that never comes true ends with the time that a call may take.
    let step = bench.step(
        json!({
            "a": sleeper(json!({"healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 1000}})),
            "b": sleeper(json!({"depends_on": {"a": {"condition": "service_healthy"}}})),
        }),
        &[],
    );
    let hasty = DockerConfig { compose_within: Duration::from_secs(3), ..bench.config.clone() };
    let error = DockerHost::connect(hasty)
        .unwrap()
        .ensure(&step, &[], &Attempt::unlogged("a test"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no end after 3 s"), "{error}");
    bench.clean_up().await;
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_a_problem_in_words() {
    let Some(bench) = Bench::new("absent") else { return };
    let info = bench.host.info().await;
    assert_eq!(info.problem, None);
    assert!(info.holds.is_some_and(|holds| holds.images > 0), "{info:?}");
    assert!(
        !info.docker.is_empty() && !info.compose.is_empty() && info.cpus > 0 && info.disk_bytes > 0,
        "{info:?}"
    );
    // What it can do is told in the words that definitions ask for it with.
    let kinds: Vec<&str> = info.capabilities.iter().filter_map(|offer| offer.split('@').next()).collect();
    for kind in ["cgroup", "compose", "docker", "runtime:runc"] {
        assert!(kinds.contains(&kind), "{info:?}");
    }
    assert!(kinds.iter().any(|kind| kind.starts_with("arch:")), "{info:?}");
    let major = |version: &str| version.trim_start_matches('v').split('.').next().unwrap().to_owned();
    assert!(info.capabilities.contains(&*format!("compose@{}", major(&info.compose))), "{info:?}");
    assert!(info.capabilities.contains(&*format!("docker@{}", major(&info.docker))), "{info:?}");

    let socket = bench.folder.path().join("absent.sock");
    let absent = DockerHost::connect(DockerConfig { socket, ..bench.config.clone() }).unwrap();
    assert!(matches!(absent.observe().await, Err(HostError::Engine { .. })));
    let problem = absent.info().await.problem.unwrap();
    assert!(problem.starts_with("Docker does not answer at unix:///"), "{problem}");
    assert_eq!(absent.info().await.capabilities.len(), 1, "only Compose is there without an engine");
    // The stream asks to look again when it is there.
    let (sender, mut wakes) = mpsc::channel(4);
    let absent = Arc::new(absent);
    let host = absent.clone();
    let watching = tokio::spawn(async move { host.watch(sender).await });
    let listener = UnixListener::bind(bench.folder.path().join("absent.sock")).unwrap();
    let _proxy = Proxy::start(listener, &bench.config.socket);
    assert_eq!(timeout(SOON, wakes.recv()).await.unwrap(), Some(Wake::Everything));
    drop(wakes);
    timeout(SOON, watching).await.unwrap().unwrap();
    bench.clean_up().await;
}

#[tokio::test]
async fn a_look_at_twenty_unchanged_containers_is_one_request() {
    let Some(bench) = Bench::new("twenty") else { return };
    let step = bench.step(json!({"a": sleeper(json!({"scale": 20}))}), &[]);
    bench.ensure(&step).await;
    let socket = bench.folder.path().join("proxy.sock");
    let proxy = Proxy::start(UnixListener::bind(&socket).unwrap(), &bench.config.socket);
    let host = Arc::new(DockerHost::connect(DockerConfig { socket, ..bench.config.clone() }).unwrap());
    let (sender, mut wakes) = mpsc::channel(64);
    let watched = host.clone();
    let watching = tokio::spawn(async move { watched.watch(sender).await });
    timeout(SOON, wakes.recv()).await.unwrap();
    // Until the events of its making are through.
    let mut requests = 0;
    while requests != 1 {
        let before = proxy.requests();
        assert_eq!(host.observe().await.unwrap().instances[bench.name.as_str()].len(), 20);
        requests = proxy.requests() - before;
    }
    let direct = Arc::new(DockerHost::connect(bench.config.clone()).unwrap());
    let (sender, mut more) = mpsc::channel(64);
    let watched = direct.clone();
    let also_watching = tokio::spawn(async move { watched.watch(sender).await });
    timeout(SOON, more.recv()).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        direct.observe().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("a look at 20 containers: p50 {:?}, p99 {:?}, max {:?}", times[49], times[98], times[99]);
    assert!(times[49] < Duration::from_millis(100), "{times:?}");
    watching.abort();
    also_watching.abort();
    bench.clean_up().await;
}

/// Stands between a client and the engine and counts requests: the client makes a connection for each.
struct Proxy(Arc<AtomicUsize>, tokio::task::JoinHandle<()>);

impl Proxy {
    fn start(listener: UnixListener, engine: &Path) -> Self {
        let (count, engine) = (Arc::new(AtomicUsize::new(0)), engine.to_owned());
        let counted = count.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let engine = engine.clone();
                tokio::spawn(async move {
                    let mut engine = UnixStream::connect(engine).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        Self(count, task)
    }

    fn requests(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.1.abort();
    }
}

type Looked = std::collections::BTreeMap<String, gitops_core::status::Container>;
type Ids = std::collections::BTreeMap<String, Arc<str>>;

fn ids_of(looked: &Looked) -> Ids {
    looked.iter().map(|(service, container)| (service.clone(), container.id.clone())).collect()
}

fn recreated(before: &Ids, after: &Ids) -> Vec<String> {
    assert!(before.keys().eq(after.keys()), "{before:?} {after:?}");
    before
        .iter()
        .filter(|(service, id)| after[*service] != **id)
        .map(|(service, _)| service.clone())
        .collect()
}

/// Looks until a container is as wanted.
async fn until(
    bench: &Bench,
    service: &str,
    wanted: impl Fn(&gitops_core::status::Container) -> bool,
) -> gitops_core::status::Container {
    let looking = async {
        loop {
            if let Some(container) = bench.look().await.remove(service).filter(&wanted) {
                return container;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, looking).await.unwrap_or_else(|_| panic!("`{service}` did not become as wanted"))
}

fn assert_foreign(result: Result<(), HostError>, because: &str) {
    match result {
        Err(HostError::Foreign(why)) => assert!(why.contains(because), "{why}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until something is so, and says how it is where that does not come.
async fn eventually(is_so: impl AsyncFn() -> bool, otherwise: impl Fn() -> String) {
    let give_up = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < give_up, "{}", otherwise());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
