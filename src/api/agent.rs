//! The routes of agents: the plan, the content that it names, and the report.

use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::protocol::{Hello, PROTOCOL_HEADER, Receipt, Report};
use gitops_core::status;
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::CallingNode;
use super::control::{Answer, Control, Request};
use super::metrics::Counted;
use super::problem::ApiError;
use super::read::{json, parse};

/// The longest wait for a plan, in seconds. Proxies often cut a silent connection after 60.
pub(super) const MAX_WAIT: u64 = 55;

/// The headers of an agent, and the protocol version that it is answered in.
pub(super) struct Greeting(Hello, u32);

impl<S: Send + Sync> FromRequestParts<S> for Greeting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let CallingNode(node, _) = CallingNode::from_request_parts(parts, state).await?;
        let (hello, version) = Hello::from_headers(|name| parts.headers.get(name)?.to_str().ok())?;
        match &hello.node {
            // Before it can take the node from the agent that the token was made for.
            Some(named) if *named != node => Err(ApiError::WrongNode { token: node, agent: named.clone() }),
            _ => Ok(Self(hello, version)),
        }
    }
}

impl Greeting {
    pub(super) fn answer(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        response.headers_mut().insert(PROTOCOL_HEADER, self.1.into());
        response
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Wait {
    /// Seconds to wait for a plan other than the one in `If-None-Match`, at most 55.
    #[serde(default)]
    wait: u64,
}

/// `200` with the newest plan, at once if it is not the one in `If-None-Match`, else as soon as there is another;
/// after `wait` seconds `304`, or `204` where no plan was ever made for the node.
pub(super) async fn plan(
    State(control): State<Control>,
    CallingNode(node, caller): CallingNode,
    greeting: Greeting,
    Query(Wait { wait }): Query<Wait>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let held = held(&headers)?;
    control.ask(Request::Pull { node: node.clone(), hello: greeting.0.clone() }).await?;
    let plan = newer_plan(&control, &node, held, Duration::from_secs(wait.min(MAX_WAIT))).await;
    if !caller.is_still_known(&control) {
        return Err(ApiError::UnknownToken);
    }
    let Some(plan) = plan else {
        let status = if held.is_some() { StatusCode::NOT_MODIFIED } else { StatusCode::NO_CONTENT };
        return Ok(greeting.answer(status));
    };
    let etag = HeaderValue::from_str(&format!("\"{}\"", plan.digest)).expect("a digest is ASCII");
    Ok(greeting.answer(([(header::ETAG, etag)], Json(&*plan))))
}

/// The digest in `If-None-Match`.
fn held(headers: &HeaderMap) -> Result<Option<Digest>, ApiError> {
    let Some(value) = headers.get(header::IF_NONE_MATCH) else { return Ok(None) };
    let digest = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    let wanted = "`If-None-Match` takes the digest of one plan, in quotes";
    digest.map(Some).ok_or_else(|| ApiError::Malformed(wanted.to_owned()))
}

async fn newer_plan(
    control: &Control,
    node: &NodeName,
    held: Option<Digest>,
    wait: Duration,
) -> Option<std::sync::Arc<NodePlan>> {
    let mut plans = control.plans.clone();
    let _waiting = Counted::new(&control.metrics.polls);
    let mut time_is_up = pin!(tokio::time::sleep(wait));
    loop {
        let plan = plans.borrow_and_update().get(node).cloned();
        if let Some(plan) = plan.filter(|plan| Some(plan.digest) != held) {
            return Some(plan);
        }
        tokio::select! {
            changed = plans.changed() => changed.ok()?,
            () = &mut time_is_up => return None,
            () = control.stopping.cancelled() => return None,
        }
    }
}

/// Content that the node's newest plan names, or the one before it, which an agent may still be fetching for. What
/// other nodes' plans name is not found.
pub(super) async fn blob(
    State(control): State<Control>,
    CallingNode(node, _): CallingNode,
    greeting: Greeting,
    Path(digest): Path<String>,
) -> Result<Response, ApiError> {
    let digest: Digest = parse(&digest)?;
    let missing = || ApiError::NotFound(format!("the newest plan of this node names no content {digest}"));
    if !may_read(&control, &node, digest).await? {
        return Err(missing());
    }
    let content = control.store.blob(digest).await?.ok_or_else(missing)?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(greeting.answer(([(header::CONTENT_TYPE, kind)], Bytes::from_owner(content))))
}

async fn may_read(control: &Control, node: &NodeName, digest: Digest) -> Result<bool, ApiError> {
    let Some(plan) = control.plans.borrow().get(node).cloned() else { return Ok(false) };
    if names(&plan, digest) {
        return Ok(true);
    }
    let Some(parent) = plan.parent else { return Ok(false) };
    let before = control.store.plan(node, Some(parent)).await?;
    Ok(before.is_some_and(|before| names(&before, digest)))
}

fn names(plan: &NodePlan, digest: Digest) -> bool {
    let ensures = plan.steps.iter().filter_map(Step::as_ensure);
    ensures.flat_map(|ensure| ensure.files.values()).any(|file| file.digest == digest)
}

/// Takes a report, and answers when it is durable.
pub(super) async fn status(
    State(control): State<Control>,
    CallingNode(node, _): CallingNode,
    greeting: Greeting,
    body: Bytes,
) -> Result<Response, ApiError> {
    let report: Report = json(&body)?;
    if let Report::Status(status) = &report {
        fits(status, &node, &greeting.0)?;
    }
    let answer = control.ask(Request::Report { node, hello: greeting.0.clone(), report }).await?;
    let Answer::Received(receipt) = answer else { return Err(ApiError::Stopping) };
    Ok(greeting.answer(Json::<Receipt>(receipt)))
}

/// Whether the report is one that this caller may make and this daemon can read.
fn fits(report: &status::NodeStatus, node: &NodeName, hello: &Hello) -> Result<(), ApiError> {
    let wrong = if report.schema > status::SCHEMA {
        format!(
            "the status has schema {}, this daemon reads up to {}: upgrade it",
            report.schema,
            status::SCHEMA
        )
    } else if report.node != *node {
        format!("the token is that of node `{node}` and the status that of node `{}`", report.node)
    } else if (&report.agent.id, report.agent.start) != (&hello.agent, hello.start) {
        "the status names another agent than the headers".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::WrongStatus(wrong))
}
