//! The loop with a real API, a store in memory and a repository that does as it is told.

use std::sync::Mutex;

use gitops_core::fleet::{FleetStatus, SourceState};
use gitops_core::name::{Generation, NodeName, OperatorName};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, SPOKEN};
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Deploy;
use crate::store::memory::MemoryStore;
use crate::store::token::Secret;
use crate::store::{Identity, Publication, StoredToken};

/// A history in one line: each revision descends from those before it.
#[derive(Default)]
struct Scripted {
    /// Of the branch; `Err` where the repository does not answer.
    tip: Mutex<Option<Revision>>,
    /// While set, a fetch waits for ever.
    silent: bool,
    kept: Mutex<Vec<Revision>>,
    was_kept: Notify,
}

#[async_trait]
impl Repository for Scripted {
    async fn fetch(&self) -> Result<Option<Revision>, BoxError> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        Ok(self.tip.lock().expect("not poisoned").clone())
    }

    async fn tree(&self, _: &Revision) -> Result<Tree, BoxError> {
        if self.silent {
            return Err("the mirror is empty".into());
        }
        Ok(Tree::from_files([("gitops.toml", "format = 1\nname = \"test\"\n")]))
    }

    async fn descends(&self, newest: &Revision, base: &Revision) -> Result<bool, BoxError> {
        Ok(newest >= base)
    }

    async fn commit(&self, revision: &Revision) -> Result<Commit, BoxError> {
        Ok(Commit {
            author: "Ada".into(),
            email: "ada@example.org".into(),
            committer: "Ada".into(),
            subject: format!("commit {}", revision.short()),
            time: jiff::Timestamp::UNIX_EPOCH,
            signature: None,
        })
    }

    async fn fetch_head(&self, _: &str) -> Result<Option<Revision>, BoxError> {
        Ok(None)
    }

    async fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, BoxError> {
        Ok(Some(one.min(two).clone()))
    }

    async fn keep(&self, revision: &Revision) -> Result<(), BoxError> {
        self.kept.lock().expect("not poisoned").push(revision.clone());
        self.was_kept.notify_one();
        Ok(())
    }
}

fn rev(letter: char) -> Revision {
    letter.to_string().repeat(40).parse().expect("hexadecimal")
}

fn node() -> NodeName {
    "edge-1".parse().expect("a label")
}

struct Running {
    base: String,
    client: reqwest::Client,
    operator: String,
    agent: String,
    repository: Arc<Scripted>,
    wake: mpsc::Sender<()>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), DaemonError>>,
}

impl Running {
    async fn start(store: Arc<MemoryStore>, repository: Scripted) -> Self {
        let (operator, agent) = (
            token(&store, Identity::Operator(OperatorName::first())).await,
            token(&store, Identity::Node(node())).await,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let (wake, wakes) = mpsc::channel(1);
        let (repository, stop) = (Arc::new(repository), CancellationToken::new());
        let parts = Parts {
            policy: Policy {
                url: "/repo".into(),
                branch: "main".into(),
                poll: jiff::SignedDuration::from_hours(1),
                deploy: Deploy::Auto,
                heartbeat: jiff::SignedDuration::from_secs(15),
                prune: jiff::SignedDuration::from_hours(1),
                forge: None,
                seed: 1,
            },
            store,
            repository: repository.clone(),
            wakes,
            retention: Retention {
                plans_per_node: 10,
                releases: 10,
                events: 1000,
                log_lines_per_node: 1000,
                days: 1,
            },
            door: Door::new(listener, None, 100).expect("loopback"),
            hook_secret: None,
            forge: None,
        };
        let ended = tokio::spawn(run(parts, stop.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { base, client, operator, agent, repository, wake, stop, ended }
    }

    fn push(&self, letter: char) {
        *self.repository.tip.lock().expect("not poisoned") = Some(rev(letter));
    }

    fn request(&self, method: Method, path: &str, token: &str, agent: &str) -> RequestBuilder {
        let hello = Hello {
            protocols: SPOKEN,
            agent: agent.into(),
            version: "0.1.0".into(),
            host: agent.into(),
            node: None,
            start: None,
        };
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        hello.to_headers().into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    async fn operate(&self, method: Method, path: &str, body: &Value) -> Value {
        let response =
            self.request(method, path, &self.operator, "").json(body).send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.expect("JSON")
    }

    async fn fleet(&self) -> FleetStatus {
        serde_json::from_value(self.operate(Method::GET, "/v1/status", &Value::Null).await).expect("a fleet")
    }

    async fn report(&self, agent: &str, report: Value) -> (u16, Value) {
        let request = self.request(Method::PUT, "/v1/agent/status", &self.agent, agent).json(&report);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(STOP_WITHIN + Duration::from_secs(1), self.ended).await;
        ended.expect("stopped in time").expect("no panic").expect("no error");
    }
}

async fn token(store: &MemoryStore, identity: Identity) -> String {
    let secret = Secret::generate(&identity).expect("randomness");
    let roles = Default::default();
    let token = StoredToken { digest: secret.digest(), identity, roles, created_at: clock::now() };
    store.add_token(token).await.expect("memory");
    secret.expose().to_owned()
}

fn status(agent: &str) -> NodeStatus {
    NodeStatus {
        schema: 1,
        node: node(),
        agent: AgentInfo { id: agent.into(), version: "0.1.0".into(), start: None },
        host: HostInfo::default(),
        accepted: None,
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_deployed_a_rewind_is_held_and_accepted() {
    let store = Arc::new(MemoryStore::default());
    let running =
        Running::start(store.clone(), Scripted { tip: Mutex::new(Some(rev('b'))), ..Scripted::default() })
            .await;
    let synced = running.operate(Method::POST, "/v1/sync", &json!({})).await;
    assert_eq!(synced["revision"], json!(rev('b')));
    running.repository.was_kept.notified().await;
    assert_eq!(store.load().await.expect("memory").deployed, Some(rev('b')));

    running.push('c');
    running.wake.send(()).await.expect("running");
    running.repository.was_kept.notified().await;
    assert_eq!(running.fleet().await.source.deployed, Some(rev('c')));

    running.push('a');
    let synced = running.operate(Method::POST, "/v1/sync", &json!({})).await;
    assert_eq!(synced["source"]["state"], "held");
    assert_eq!(running.fleet().await.source.deployed, Some(rev('c')));
    let synced = running.operate(Method::POST, "/v1/sync", &json!({ "accept_rewind": true })).await;
    assert_eq!(synced["source"]["state"], "ok");
    running.repository.was_kept.notified().await;
    assert_eq!(*running.repository.kept.lock().expect("not poisoned"), [rev('b'), rev('c'), rev('a')]);
    running.stop().await;
    let kinds: Vec<_> =
        store.events(0, 100).await.expect("memory").into_iter().map(|event| event.event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| &***kind == "source.held").count(), 1, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deployed_revision_is_a_release_with_its_commit_also_one_that_comes_again() {
    let store = Arc::new(MemoryStore::default());
    let running = Running::start(store.clone(), Scripted::default()).await;
    for letter in ['a', 'b', 'a'] {
        running.push(letter);
        running.operate(Method::POST, "/v1/sync", &json!({ "accept_rewind": true })).await;
        running.repository.was_kept.notified().await;
    }
    let latest = running.operate(Method::GET, "/v1/releases/latest", &Value::Null).await;
    assert_eq!((&latest["number"], &latest["commit"]["subject"]), (&json!(3), &json!("commit aaaaaaaaaaaa")));
    assert_eq!((&latest["revision"], &latest["before"]), (&json!(rev('a')), &json!(rev('b'))));
    assert_eq!((&latest["diff"]["base"], &latest["diff"]["head"]), (&json!(rev('b')), &json!(rev('a'))));
    assert!(latest["plan"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{latest}");
    running.stop().await;
    let query = gitops_core::release::ReleaseQuery { limit: 9, ..Default::default() };
    let releases = store.releases(&query).await.expect("memory");
    let revisions: Vec<&Revision> = releases.iter().map(|it| &it.release.revision).collect();
    assert_eq!(revisions, [&rev('a'), &rev('b'), &rev('a')]);
    assert!(releases[0].finished_at.is_some(), "no node has to do anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_stored_plans_are_served_before_the_source_answers() {
    let store = Arc::new(MemoryStore::default());
    let plan = NodePlan::new(node(), Generation(1), None, rev('a'), Vec::new());
    let plans = vec![Arc::new(plan.clone())];
    let publication = Publication { plans, deployed: Some(rev('a')), ..Publication::default() };
    store.publish(publication).await.expect("published");
    let running = Running::start(store, Scripted { silent: true, ..Scripted::default() }).await;
    let pull = running.request(Method::GET, "/v1/agent/plan?wait=55", &running.agent, "x");
    let answered: NodePlan = pull.send().await.expect("an answer").json().await.expect("a plan");
    assert_eq!(answered, plan);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_durable_when_it_is_answered_and_a_second_agent_is_refused_by_name() {
    let store = Arc::new(MemoryStore::default());
    let running = Running::start(store.clone(), Scripted::default()).await;
    let heartbeat = || json!({ "heartbeat": { "digest": status("x").digest() } });
    assert_eq!(running.report("x", heartbeat()).await.1["want_status"], true);
    assert_eq!(running.report("x", json!({ "status": status("x") })).await.1["want_status"], false);
    let stored = store.load().await.expect("memory").reported;
    assert_eq!(*stored.nodes[&node()].status, status("x"));
    assert_eq!(running.report("x", heartbeat()).await.1["want_status"], false);

    let (code, problem) = running.report("y", json!({ "status": status("y") })).await;
    assert_eq!((code, &problem["code"]), (409, &json!("second-agent")));
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("agent `x` on `x` speaks for this node since 2"), "{detail}");
    let pull = running.request(Method::GET, "/v1/agent/plan?wait=55", &running.agent, "y");
    assert_eq!(pull.send().await.expect("an answer").status(), 409);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_who_waits_and_takes_little_time() {
    let running = Running::start(Arc::default(), Scripted { silent: true, ..Scripted::default() }).await;
    let poll = running.request(Method::GET, "/v1/agent/plan?wait=55", &running.agent, "x");
    let sync = running.request(Method::POST, "/v1/sync", &running.operator, "");
    let (poll, sync) = (tokio::spawn(poll.send()), tokio::spawn(sync.send()));
    // Both wait by the time that the daemon has read three requests, of which one asks for the count.
    loop {
        let metrics =
            running.request(Method::GET, "/metrics", &running.operator, "").send().await.expect("an answer");
        let text = metrics.text().await.expect("text");
        if text.contains("gitops_plan_polls 1") && text.contains("gitops_requests_in_flight 3") {
            break;
        }
        tokio::task::yield_now().await;
    }
    running.stop().await;
    assert_eq!(poll.await.expect("joined").expect("an answer").status(), 204);
    assert_eq!(sync.await.expect("joined").expect("an answer").status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_that_does_not_answer_keeps_nothing_else_from_working() {
    let running = Running::start(Arc::default(), Scripted { silent: true, ..Scripted::default() }).await;
    let ready = running.client.get(format!("{}/readyz", running.base)).send().await.expect("an answer");
    assert_eq!(ready.status(), 204);
    assert_eq!(running.fleet().await.source.state, SourceState::Ok);
    assert_eq!(running.operate(Method::POST, "/v1/nodes/edge-7/token", &Value::Null).await["node"], "edge-7");
    running.stop().await;
}
