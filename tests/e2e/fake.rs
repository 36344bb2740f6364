//! A daemon that offers whatever plan a test gives it, also one that no real daemon would.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use gitops_core::protocol::{Receipt, Report};
use gitops_core::status::NodeStatus;
use serde_json::Value;

/// What is offered, and what was reported last.
#[derive(Default)]
struct Known {
    plan: Option<Value>,
    status: Option<Arc<NodeStatus>>,
}

type Shared = Arc<Mutex<Known>>;

pub(crate) struct FakeDaemon {
    known: Shared,
    pub(crate) port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl FakeDaemon {
    pub(crate) fn start() -> Self {
        let known = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("a listener can be set so");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let routes = Router::new().route("/v1/agent/plan", get(plan)).route("/v1/agent/status", put(status));
        let routes = routes.with_state(known.clone());
        runtime.spawn(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            axum::serve(listener, routes).await
        });
        Self { known, port, _runtime: runtime }
    }

    /// Offers a plan, or what claims to be one, from now on.
    pub(crate) fn offer(&self, plan: Value) {
        self.known.lock().expect("no one panicked").plan = Some(plan);
    }

    /// The last full report.
    pub(crate) fn status(&self) -> Option<Arc<NodeStatus>> {
        self.known.lock().expect("no one panicked").status.clone()
    }
}

async fn plan(State(known): State<Shared>, headers: HeaderMap) -> Response {
    let held = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    for _ in 0..100 {
        let plan = known.lock().expect("no one panicked").plan.clone();
        if let Some(plan) = plan.filter(|plan| held != Some(&plan["digest"].to_string())) {
            return Json(plan).into_response();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    StatusCode::NOT_MODIFIED.into_response()
}

async fn status(State(known): State<Shared>, Json(report): Json<Report>) -> Json<Receipt> {
    if let Report::Status(status) = report {
        known.lock().expect("no one panicked").status = Some(status);
    }
    Json(Receipt { want_status: false, heartbeat_seconds: 1 })
}
