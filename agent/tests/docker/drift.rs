//! The whole agent over a real engine: what a person does to a container is named by field, and undone within two seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerInspectResponse, ContainerUpdateBody, NetworkDisconnectRequest};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, RenameContainerOptionsBuilder,
    RestartContainerOptions, StopContainerOptions,
};
use gitops_agent::agent::state::{Answer, Message, Offer, Settings, State};
use gitops_agent::agent::{Parts, run};
use gitops_agent::apply::Limits;
use gitops_agent::attempt::{Attempt, LogDir};
use gitops_agent::blobs::{BlobDir, BlobWriter};
use gitops_agent::client::{Daemon, DaemonError};
use gitops_agent::drift::Undo;
use gitops_agent::host::Host as _;
use gitops_agent::journal::Journal;
use gitops_agent::ledger::{Ledger, Record};
use gitops_core::log::LogLine;
use gitops_core::name::{Digest, Generation};
use gitops_core::plan::{Ensure, NodePlan, Step};
use gitops_core::status::{AgentInfo, DriftOutcome, NodeStatus, StepOutcome};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::SOON;
use super::bench::{Bench, sleeper};

/// What was changed is undone within this time of the event that tells.
const WITHIN: Duration = Duration::from_secs(2);

/// Has one plan, and hears.
struct Control {
    plan: Arc<NodePlan>,
    heard: watch::Sender<Option<NodeStatus>>,
}

#[async_trait]
impl Daemon for Control {
    async fn plan(&self, known: Option<Digest>) -> Result<Offer, DaemonError> {
        if known == Some(self.plan.digest) {
            std::future::pending::<()>().await;
        }
        Ok(Offer::Plan(self.plan.clone()))
    }

    async fn blob(&self, _: Digest, _: &mut BlobWriter) -> Result<(), DaemonError> {
        Ok(())
    }

    async fn logs(&self, _: &[LogLine]) -> Result<(), DaemonError> {
        Ok(())
    }

    async fn report(&self, message: Message) -> Result<Answer, DaemonError> {
        if let Message::Full(status) = message {
            self.heard.send_replace(Some(*status));
        }
        Ok(Answer { heartbeat_seconds: 15, want_full: false })
    }
}

/// An agent at work, with what it reports.
struct Agent {
    stop: oneshot::Sender<()>,
    hears: watch::Receiver<Option<NodeStatus>>,
}

impl Agent {
    fn start(bench: &Bench, step: Ensure) -> Self {
        let state = bench.config.instances.parent().unwrap().join("agent");
        std::fs::create_dir_all(&state).unwrap();
        let revision = "a".repeat(40).parse().unwrap();
        let node = bench.config.node.clone();
        let plan = NodePlan::new(node.clone(), Generation(1), None, revision, vec![Step::Ensure(step)]);
        let (heard, hears) = watch::channel(None);
        let (wake, wakes) = mpsc::channel(64);
        let watching = bench.host.clone();
        let parts = Parts {
            host: bench.host.clone(),
            daemon: Arc::new(Control { plan: Arc::new(plan), heard }),
            ledger: Ledger::at(&state),
            blobs: BlobDir::open(state.join("blobs")).unwrap(),
            logs: LogDir::open(state.join("logs")).unwrap(),
            snapshot: state.join("status.json"),
            wakes,
            stop_within: SOON,
        };
        let settings = Settings {
            node,
            agent: AgentInfo { id: "a1".into(), version: "1".into(), start: None },
            limits: Limits { concurrency: 2, settle: Duration::from_millis(500) },
            observe_every: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move { watching.watch(wake).await });
        tokio::spawn(run(State::new(settings, None, Record::new(), Journal::new()), parts, async {
            let _ = stopped.await;
        }));
        Self { stop, hears }
    }

    async fn hears(&mut self, what: &str, is_it: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let is_it = |status: &Option<NodeStatus>| status.as_ref().is_some_and(&is_it);
        let heard =
            timeout(SOON, self.hears.wait_for(is_it)).await.map(|heard| heard.unwrap().clone().unwrap());
        heard.unwrap_or_else(|_| panic!("{what}: {:#?}", self.hears.borrow()))
    }

    async fn settled(&mut self) {
        let well = |status: &NodeStatus| {
            !status.steps.is_empty()
                && status.steps.values().all(|step| step.outcome == StepOutcome::Satisfied)
        };
        self.hears("settled", well).await;
    }
}

/// A Compose service that has networks.
fn connected(more: Value) -> Value {
    let mut service = sleeper(more);
    service.as_object_mut().unwrap().remove("network_mode");
    service
}

async fn inspect(bench: &Bench, service: &str) -> Option<ContainerInspectResponse> {
    let filters = [("label".to_owned(), vec![format!("com.docker.compose.service={service}")])];
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters.into()).build();
    let listed = bench.engine.list_containers(Some(options)).await.unwrap();
    let is_ours = |labels: &bollard::models::ContainerSummary| {
        labels.labels.as_ref().is_some_and(|labels| labels.get("gitops.node") == Some(&bench.name))
    };
    let id = listed.into_iter().find(is_ours)?.id?;
    bench.engine.inspect_container(&id, None::<InspectContainerOptions>).await.ok()
}

/// What a person did, and how long it stood since Docker told of it.
type Times = BTreeMap<&'static str, Duration>;

/// Waits until the container is as `is_it` wants it again.
async fn undone(bench: &Bench, times: &mut Times, what: &'static str, is_it: impl Fn(&Value) -> bool) {
    // The engine answered the call just now, so its event is out.
    let since = Instant::now();
    let as_it_was = async {
        loop {
            let found = inspect(bench, "a").await.map(|found| serde_json::to_value(found).unwrap());
            if found.is_some_and(|found| is_it(&found)) {
                return since.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let took = timeout(SOON, as_it_was).await.unwrap_or_else(|_| panic!("{what} is not undone"));
    println!("| {what} | undone after {} ms |", took.as_millis());
    let best = times.entry(what).or_insert(took);
    *best = took.min(*best);
}

/// The machine may be busy with other tests, so what took too long is measured again, with an instance of its own: one that
/// is changed again and again is corrected with pauses.
#[tokio::test]
async fn what_a_person_does_is_named_by_field_and_undone_within_two_seconds() {
    let mut times = Times::new();
    for name in ["drift", "drift-2", "drift-3", "drift-4", "drift-5"] {
        let Some(bench) = Bench::new(name) else { return };
        changes_by_hand(bench, &mut times).await;
        if times.values().all(|took| *took < WITHIN) {
            return;
        }
    }
    panic!("not undone within {WITHIN:?}: {times:?}");
}

async fn changes_by_hand(bench: Bench, times: &mut Times) {
    let service = connected(json!({"mem_limit": "64m", "networks": {"default": {"aliases": ["x"]}}}));
    let mut agent = Agent::start(&bench, bench.step(json!({"a": service}), &[]));
    agent.settled().await;
    let first = inspect(&bench, "a").await.unwrap();
    let (id, name) = (first.id.unwrap(), first.name.unwrap().trim_start_matches('/').to_owned());
    limits_and_networks(&bench, &mut agent, times, &id).await;
    its_name_and_whether_it_runs(&bench, &mut agent, times, &id, &name).await;
    let unchanged = inspect(&bench, "a").await.unwrap();
    assert_eq!(unchanged.id.as_deref(), Some(&*id), "none of this takes a new container");

    bench.delete_container(&id).await;
    undone(&bench, times, "docker rm --force", runs).await;
    told(&mut agent, "container", Some("busybox:1.36"), None, "docker rm").await;
    let _ = agent.stop.send(());
    bench.clean_up().await;
}

fn runs(found: &Value) -> bool {
    found["State"]["Status"] == "running"
}

async fn limits_and_networks(bench: &Bench, agent: &mut Agent, times: &mut Times, id: &str) {
    let limits =
        ContainerUpdateBody { memory: Some(32 << 20), memory_swap: Some(64 << 20), ..Default::default() };
    bench.engine.update_container(id, limits).await.unwrap();
    undone(bench, times, "docker update", |found| found["HostConfig"]["Memory"] == 64 << 20).await;
    told(agent, "resources.memory", Some("64 MiB"), Some("32 MiB"), "docker update").await;

    let network = format!("{}_default", bench.name);
    let request = NetworkDisconnectRequest { container: id.to_owned(), force: None };
    bench.engine.disconnect_network(&network, request).await.unwrap();
    let has_alias = |found: &Value| {
        let aliases = found["NetworkSettings"]["Networks"][&network]["Aliases"].as_array();
        aliases.is_some_and(|all| all.contains(&json!("x")))
    };
    undone(bench, times, "docker network disconnect", has_alias).await;
    told(agent, &format!("networks.{network}"), None, None, "docker network disconnect").await;
}

async fn its_name_and_whether_it_runs(
    bench: &Bench,
    agent: &mut Agent,
    times: &mut Times,
    id: &str,
    name: &str,
) {
    bench.engine.stop_container(id, None::<StopContainerOptions>).await.unwrap();
    undone(bench, times, "docker stop", runs).await;
    told(agent, "state", Some("running"), None, "docker stop").await;

    let options = RenameContainerOptionsBuilder::default().name(&format!("{name}-other")).build();
    bench.engine.rename_container(id, options).await.unwrap();
    undone(bench, times, "docker rename", |found| found["Name"] == format!("/{name}")).await;
    told(agent, "name", Some(name), None, "docker rename").await;

    bench.engine.pause_container(id).await.unwrap();
    undone(bench, times, "docker pause", runs).await;
    told(agent, "state", Some("running"), Some("paused"), "docker pause").await;
}

/// Waits until the agent tells that this field was changed so, and undone.
async fn told(agent: &mut Agent, field: &str, wanted: Option<&str>, found: Option<&str>, by: &str) {
    let is_it = |status: &NodeStatus| {
        status.drift.values().flatten().any(|one| {
            &*one.field == field
                && one.outcome == Some(DriftOutcome::Corrected)
                && one.by.as_deref() == Some(by)
                && wanted.is_none_or(|wanted| one.wanted.as_deref() == Some(wanted))
                && found.is_none_or(|found| one.found.as_deref() == Some(found))
        })
    };
    agent.hears(field, is_it).await;
    agent.settled().await;
}

#[tokio::test]
async fn the_picture_of_what_nobody_changed_is_the_same_whatever_happens_to_it() {
    let Some(bench) = Bench::new("picture") else { return };
    let rich = connected(json!({
        "networks": {"default": {"aliases": ["y", "x"]}},
        "environment": {"A": "1", "B": ""},
        "labels": {"com.example.team": "shop"},
        "mem_limit": "64m", "cpus": 0.5, "pids_limit": 50, "ulimits": {"nofile": 1000},
        "cap_drop": ["ALL"], "cap_add": ["NET_BIND_SERVICE", "CHOWN"], "read_only": true, "user": "1000",
        "tmpfs": ["/run"], "volumes": ["data:/data", "/anonymous"], "restart": "on-failure:3",
        "ports": ["127.0.0.1::80"],
        "healthcheck": {"test": ["CMD", "true"], "interval": "1s"},
    }));
    let plain = sleeper(json!({}));
    let step = bench.step(json!({"a": rich, "b": plain}), &[]);
    bench.ensure(&step).await;
    let first = pictures(&bench).await;
    assert!(first["a"].fields.len() > 20 && first["b"].fields.len() >= 3, "{first:#?}");
    for id in bench.ids().await.values() {
        bench.engine.restart_container(id, None::<RestartContainerOptions>).await.unwrap();
    }
    assert_eq!(pictures(&bench).await, first, "restarted");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pictures(&bench).await, first, "after its health checks");
    for id in bench.ids().await.values() {
        bench.engine.stop_container(id, None::<StopContainerOptions>).await.unwrap();
    }
    assert_eq!(pictures(&bench).await, first, "stopped");
    let anew = [Undo::Recreate("a".into()), Undo::Recreate("b".into())];
    let before = bench.ids().await;
    bench.host.correct(&step, &anew, &Attempt::unlogged("a test")).await.unwrap();
    assert!(bench.ids().await.iter().all(|(service, id)| before[service] != *id));
    assert_eq!(pictures(&bench).await, first, "made anew");
    bench.clean_up().await;
}

/// By Compose service, from inspections of now.
async fn pictures(bench: &Bench) -> std::collections::BTreeMap<Arc<str>, gitops_agent::picture::Picture> {
    bench.host.forget();
    let seen = bench.host.observe().await.unwrap().pictures;
    seen.into_values().map(|picture| (picture.service.clone(), Arc::unwrap_or_clone(picture))).collect()
}

#[tokio::test]
async fn containers_of_nobody_are_listed_as_orphans_and_those_of_nodes_are_not() {
    let Some(bench) = Bench::new("orphans") else { return };
    bench.ensure(&bench.step(json!({"a": sleeper(json!({}))}), &[])).await;
    let options =
        bollard::query_parameters::CreateContainerOptionsBuilder::default().name(&bench.name).build();
    let body =
        bollard::models::ContainerCreateBody { image: Some("busybox:1.36".to_owned()), ..Default::default() };
    let id = bench.engine.create_container(Some(options), body).await.unwrap().id;
    let orphans = bench.host.orphans().await.unwrap();
    let named: Vec<_> =
        orphans.containers.iter().filter(|orphan| orphan.name.starts_with(&bench.name)).collect();
    assert_eq!(named.iter().map(|orphan| &*orphan.name).collect::<Vec<_>>(), [&bench.name]);
    bench.delete_container(&id).await;
    bench.clean_up().await;
}
