//! The API over a real loopback listener. The daemon behind it answers as one does that says yes to everything.

mod agents;
mod decisions;
mod door;
mod history;
mod live;
mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::decision::Hold;
use gitops_core::fleet::drift::{Drift, Summary};
use gitops_core::fleet::{FleetStatus, SourceState, SourceStatus};
use gitops_core::name::{NodeName, OperatorName};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, Receipt, SPOKEN};
use reqwest::{Method, RequestBuilder, Response};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Hooks;
use super::access::{TokenBook, follow_tokens};
use super::control::{Answer, Asked, Control, Plans, Request};
use super::listen::Door;
use super::router;
use super::wire::Synced;
use crate::clock;
use crate::store::memory::MemoryStore;
use crate::store::token::Secret;
use crate::store::{Identity, Store as _, StoredToken};

/// Longer than anything here takes; a test that reaches it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, what it stands on, and a client with the tokens of an operator and of the nodes `edge-1` and `edge-2`.
struct Api {
    base: String,
    client: reqwest::Client,
    store: Arc<MemoryStore>,
    plans: watch::Sender<Plans>,
    last_event: Arc<watch::Sender<u64>>,
    /// What the daemon was asked.
    asked: Mutex<mpsc::UnboundedReceiver<Request>>,
    operator: String,
    edge_1: String,
    edge_2: String,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a label")
}

impl Api {
    async fn start() -> Self {
        let client = reqwest::Client::builder();
        Self::start_with(client, "http", None, 100).await
    }

    async fn start_with(
        client: reqwest::ClientBuilder,
        scheme: &str,
        tls: Option<Arc<ServerConfig>>,
        max_connections: usize,
    ) -> Self {
        let store = Arc::new(MemoryStore::default());
        let operator = token(&store, Identity::Operator(OperatorName::first())).await;
        let edge_1 = token(&store, Identity::Node(node("edge-1"))).await;
        let edge_2 = token(&store, Identity::Node(node("edge-2"))).await;
        let (plans, plans_seen) = watch::channel(Plans::default());
        let (last_event, last_event_seen) = watch::channel(0);
        let last_event = Arc::new(last_event);
        let (requests, questions) = mpsc::channel(16);
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(say_yes(questions, tell, store.clone(), last_event.clone()));
        let stop = CancellationToken::new();
        let tokens = store.tokens().await.expect("memory");
        let control = Control {
            store: store.clone(),
            plans: plans_seen,
            last_event: last_event_seen,
            tokens: Arc::new(TokenBook::new(tokens)),
            requests,
            metrics: Arc::default(),
            hooks: Arc::new(Hooks::new(Some("hush".into()))),
            started_at: "2026-01-01T00:00:00Z".parse().expect("a time"),
            stopping: stop.clone(),
        };
        tokio::spawn(follow_tokens(control.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let metrics = control.metrics.clone();
        let door = Door::new(listener, tls, max_connections).expect("loopback");
        let served = tokio::spawn(door.serve(router(control), metrics, stop.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client.timeout(PATIENCE).no_proxy().build().expect("a client");
        let base = format!("{scheme}://localhost:{}", address.port());
        let asked = Mutex::new(asked);
        Self { base, client, store, plans, last_event, asked, operator, edge_1, edge_2, stop, served }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let hello = Hello {
            protocols: SPOKEN,
            agent: "a1".into(),
            version: "0.1.0".into(),
            host: "host".into(),
            node: None,
            start: None,
        };
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        hello.to_headers().into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.request(Method::GET, path, token)
    }

    /// What the daemon was asked next.
    async fn asked(&self) -> Option<Request> {
        self.asked.lock().await.recv().await
    }

    /// Shows a plan to the API as the daemon does when it was stored.
    fn post(&self, plan: NodePlan) {
        let plans = BTreeMap::from([(plan.node.clone(), Arc::new(plan))]);
        self.plans.send_replace(Arc::new(plans));
    }
}

async fn token(store: &MemoryStore, identity: Identity) -> String {
    let secret = Secret::generate(&identity).expect("randomness");
    let roles = Default::default();
    let token = StoredToken { digest: secret.digest(), identity, roles, created_at: clock::now() };
    store.add_token(token).await.expect("memory");
    secret.expose().to_owned()
}

async fn say_yes(
    mut questions: mpsc::Receiver<Asked>,
    tell: mpsc::UnboundedSender<Request>,
    store: Arc<MemoryStore>,
    last_event: Arc<watch::Sender<u64>>,
) {
    while let Some((request, caller)) = questions.recv().await {
        let answer = match &request {
            Request::Report { .. } => Answer::Received(Receipt { want_status: false, heartbeat_seconds: 15 }),
            Request::Sync { plan, .. } => live::synced(*plan),
            Request::Diff(request) => live::previewed(request),
            Request::Drift(_) => {
                let (summary, nodes) = (Summary::default(), Vec::new());
                Answer::Drift(Box::new(Drift { schema: 1, revision: None, newest: None, summary, nodes }))
            }
            // It has no definitions.
            Request::Applied(_) => Answer::NotReady,
            Request::Source => Answer::Source(Box::new(fleet().source)),
            Request::Fleet => Answer::Fleet(Box::new(fleet())),
            Request::Pull { .. } | Request::Wake | Request::Review(_) => Answer::Done,
            Request::Hold(hold) => Answer::Held(Box::new(Hold { number: 7, ..(**hold).clone() })),
            Request::EndHold { number, .. } => Answer::NoHold(*number),
            Request::Vote(ballot) => {
                Answer::NotAwaited(format!("no changes wait under plan {}", ballot.plan))
            }
            Request::Approvals => Answer::Approvals(Vec::new()),
            Request::Retry { .. } => Answer::Done,
            Request::Note(event) => {
                let events = store.append_events(vec![event.clone()]).await.expect("memory");
                last_event.send_replace(events[0].id);
                Answer::Done
            }
        };
        let _ = (caller.send(answer), tell.send(request));
    }
}

fn fleet() -> FleetStatus {
    let source = SourceStatus {
        url: "/repo".into(),
        branch: "main".into(),
        state: SourceState::Ok,
        deployed: None,
        newest: None,
        checked_at: None,
        message: None,
    };
    let (holds, awaiting) = (Vec::new(), Vec::new());
    FleetStatus { source, release: None, nodes: Vec::new(), diagnostics: Vec::new(), holds, awaiting }
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

/// Sends, and compares status and, where it is a refusal, code.
async fn check(request: RequestBuilder, status: u16, code: Option<&str>) -> Value {
    let response = send(request).await;
    let url = response.url().clone();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    assert_eq!(response.status().as_u16(), status, "{url}");
    let body = response.bytes().await.expect("a body");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if let Some(code) = code {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{url}");
        assert_eq!((&body["code"], &body["status"]), (&Value::from(code), &Value::from(status)), "{url}");
        assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{url}: {body}");
    }
    body
}
