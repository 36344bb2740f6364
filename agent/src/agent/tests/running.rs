//! The loop itself, with a machine and a daemon in memory: that every effect is carried out and answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gitops_core::log::LogLine;
use gitops_core::name::Digest;
use gitops_core::plan::{Ensure, Hook, NodePlan, Probe, Remove};
use gitops_core::status::{AgentInfo, Container, ContainerState, HostInfo};
use tokio::sync::{mpsc, oneshot, watch};

use crate::agent::state::{Answer, Message, Offer, Settings, State};
use crate::agent::{Parts, Snapshot, run};
use crate::apply::Limits;
use crate::attempt::{Attempt, LogDir};
use crate::blobs::{BlobDir, BlobWriter};
use crate::checks;
use crate::client::{Daemon, DaemonError};
use crate::docker::Wake;
use crate::host::{Blobs as _, HookCall, Host, HostError, Observation};
use crate::journal::{HookEnd, Journal};
use crate::ledger::{Ledger, Loaded, Record};
use crate::testing::{check, container, ensure, node, plan};

struct Machine {
    containers: Mutex<Observation>,
    changed: mpsc::Sender<Wake>,
    hooks: Mutex<Vec<String>>,
}

#[async_trait]
impl Host for Machine {
    async fn observe(&self) -> Result<Observation, HostError> {
        Ok(self.containers.lock().unwrap().clone())
    }

    async fn info(&self) -> HostInfo {
        HostInfo::default()
    }

    async fn ensure(&self, step: &Ensure, _: &[Container], attempt: &Attempt) -> Result<(), HostError> {
        attempt.output(b" Container app Started\n");
        let made =
            Container { config: Some(step.containers["app"].config), ..container(step.service.as_str(), "") };
        self.containers.lock().unwrap().instances.insert(step.service.clone(), vec![made]);
        self.changed.send(Wake::Everything).await.unwrap();
        Ok(())
    }

    async fn remove(&self, step: &Remove, _: &Attempt) -> Result<(), HostError> {
        self.containers.lock().unwrap().instances.remove(&step.service);
        Ok(())
    }

    async fn run_hook(&self, call: &HookCall, attempt: &Attempt) -> Result<Option<HookEnd>, HostError> {
        attempt.output(b"migrated\n");
        self.hooks.lock().unwrap().push(format!("run {}", call.container));
        Ok(Some(HookEnd::Done))
    }

    async fn forget_hook(&self, container: &str) {
        self.hooks.lock().unwrap().push(format!("forget {container}"));
    }

    async fn probe(&self, _: &str, _: &Probe, _: Duration) -> checks::Answer {
        checks::Answer::Good
    }

    async fn last_log_lines(&self, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }
}

struct Control {
    plan: Arc<NodePlan>,
    content: BTreeMap<Digest, Vec<u8>>,
    heard: watch::Sender<Vec<Message>>,
    logged: watch::Sender<Vec<LogLine>>,
}

#[async_trait]
impl Daemon for Control {
    async fn plan(&self, known: Option<Digest>) -> Result<Offer, DaemonError> {
        if known == Some(self.plan.digest) {
            std::future::pending::<()>().await;
        }
        Ok(Offer::Plan(self.plan.clone()))
    }

    async fn blob(&self, digest: Digest, writer: &mut BlobWriter) -> Result<(), DaemonError> {
        Ok(writer.write(&self.content[&digest])?)
    }

    async fn logs(&self, lines: &[LogLine]) -> Result<(), DaemonError> {
        self.logged.send_modify(|logged| logged.extend_from_slice(lines));
        Ok(())
    }

    async fn report(&self, message: Message) -> Result<Answer, DaemonError> {
        self.heard.send_modify(|heard| heard.push(message));
        Ok(Answer { heartbeat_seconds: 15, want_full: false })
    }
}

#[tokio::test]
async fn the_loop_pulls_applies_acknowledges_heals_and_stops() {
    let temp = tempfile::tempdir().unwrap();
    let cared_for = |step: &mut Ensure| {
        step.terms.hooks.before = vec![Hook { service: "migrate".into(), timeout: 60 }];
        step.terms.checks = vec![check("up", Probe::Tcp { port: 80 })];
    };
    let step = ensure("web", "1").file("nginx.conf", "hello").with(cared_for).step();
    let wanted = Arc::new(plan(3, vec![step]));
    let (heard, mut hears) = watch::channel(Vec::new());
    let content = BTreeMap::from([(Digest::of("hello"), b"hello".to_vec())]);
    let (logged, mut logs) = watch::channel(Vec::<LogLine>::new());
    let (changed, wakes) = mpsc::channel(16);
    let machine = Arc::new(Machine { containers: Mutex::default(), changed, hooks: Mutex::default() });
    let ledger = Ledger::at(temp.path());
    let blobs = BlobDir::open(temp.path().join("blobs")).unwrap();
    let parts = Parts {
        host: machine.clone(),
        daemon: Arc::new(Control { plan: wanted.clone(), content, heard, logged }),
        ledger: ledger.clone(),
        blobs: blobs.clone(),
        logs: LogDir::open(temp.path().join("logs")).unwrap(),
        snapshot: temp.path().join("status.json"),
        wakes,
        stop_within: Duration::from_secs(60),
    };
    let settings = Settings {
        node: node(),
        agent: AgentInfo { id: "a1".into(), version: "1".into(), start: None },
        limits: Limits { concurrency: 4, settle: Duration::ZERO },
        observe_every: Duration::from_secs(600),
        heartbeat: Duration::from_secs(15),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = tokio::spawn(run(State::new(settings, None, Record::new(), Journal::new()), parts, async {
        let _ = stopped.await;
    }));

    let acks =
        |heard: &[Message]| matches!(heard.last(), Some(Message::Full(status)) if status.acks(&wanted));
    hears.wait_for(|heard| acks(heard)).await.unwrap();
    assert_eq!(ledger.read().unwrap().as_ref(), Some(&wanted));
    assert!(blobs.path(Digest::of("hello")).is_some());
    let logs =
        logs.wait_for(|logs| logs.last().is_some_and(|line| line.text == "done")).await.unwrap().clone();
    let said: Vec<_> = logs.iter().map(|line| line.text.as_str()).collect();
    let expected = [
        "begins: hook migrate (before) runs",
        "migrated",
        "hook migrate (before) is done",
        "begins: it is not here yet",
        "Container app Started",
        "done",
    ];
    assert_eq!((said, logs[1].generation), (expected.into(), wanted.generation));
    let hooks = machine.hooks.lock().unwrap().clone();
    let name = hooks[0].strip_prefix("run ").unwrap().to_owned();
    assert_eq!(hooks, [format!("run {name}"), format!("forget {name}")]);
    let Loaded::Found(journal) = ledger.load_journal().unwrap() else { panic!("there is no journal") };
    assert_eq!(journal["web"].hooks[name.as_str()].end, Some(HookEnd::Done));

    for container in machine.containers.lock().unwrap().instances.get_mut("web").unwrap() {
        container.state = ContainerState::Exited;
    }
    hears.mark_unchanged();
    machine.changed.send(Wake::Everything).await.unwrap();
    hears.changed().await.unwrap();
    hears.wait_for(|heard| acks(heard)).await.unwrap();
    assert_eq!(machine.containers.lock().unwrap().instances["web"][0].state, ContainerState::Running);

    let snapshot: Snapshot =
        serde_json::from_slice(&std::fs::read(temp.path().join("status.json")).unwrap()).unwrap();
    assert!(snapshot.status.acks(&wanted));
    stop.send(()).unwrap();
    agent.await.unwrap();
}
