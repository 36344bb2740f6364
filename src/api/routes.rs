//! The one table of routes: what the router serves, what is checked before a handler runs, and what the OpenAPI
//! document says all come from it, so they cannot drift apart.

use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use gitops_core::applied::Applied;
use gitops_core::decision::{AwaitingView, Hold, OperatorView};
use gitops_core::fleet::drift::Drift;
use gitops_core::fleet::{NodeView, SourceStatus};
use gitops_core::plan::NodePlan;
use gitops_core::protocol::{LogUpload, Receipt, Report};
use gitops_core::release::{ReleasePage, ReleaseView, Trace, Why};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::access::{Access, require};
use super::control::Control;
use super::metrics::{Answered, Counted};
use super::problem::ApiError;
use super::wire::{
    ApprovalPage, BallotRequest, DiffAnswer, DiffRequest, EventPage, HoldPage, HoldRequest, LogPage,
    NodeToken, Only, OperatorToken, Revoked, Standing, SyncRequest, Synced, TokenRequest, Version,
};
use super::{agent, decisions, events, history, hook, live, logs, openapi, operator, probe, tokens};

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// As axum and OpenAPI both write it: `/v1/plans/{node}`.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    /// The most that a body may hold, in bytes.
    body_limit: usize,
    /// The longest that an answer may take to begin.
    within: Duration,
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    pub(super) answers: Vec<Reply>,
    mount: MethodRouter<Control>,
}

/// One way in which a route answers when it does not refuse.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) says: &'static str,
    pub(super) content: Option<(&'static str, Option<SchemaOf>)>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        access: Access,
        summary: &'static str,
        mount: MethodRouter<Control>,
    ) -> Self {
        let (query, body, answers) = (None, None, Vec::new());
        // Enough for any parameter list; routes with a body say their own.
        let (body_limit, within) = (4 << 10, Duration::from_secs(30));
        Self { method, path, access, summary, body_limit, within, query, body, answers, mount }
    }

    fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(schema::<T>), ..self }
    }

    fn body<T: JsonSchema>(self, limit: usize) -> Self {
        Self { body: Some(schema::<T>), body_limit: limit, ..self }
    }

    fn within(self, seconds: u64) -> Self {
        Self { within: Duration::from_secs(seconds), ..self }
    }

    fn answers(mut self, status: StatusCode, says: &'static str) -> Self {
        self.answers.push(Reply { status, says, content: None });
        self
    }

    fn json<T: JsonSchema>(mut self, status: StatusCode, says: &'static str) -> Self {
        let content = Some(("application/json", Some(schema::<T> as SchemaOf)));
        self.answers.push(Reply { status, says, content });
        self
    }

    fn content(mut self, media: &'static str, says: &'static str) -> Self {
        self.answers.push(Reply { status: StatusCode::OK, says, content: Some((media, None)) });
        self
    }
}

/// A node with 1,000 containers reports half a megabyte.
const STATUS_LIMIT: usize = 8 << 20;
/// A thousand lines of usual length are 200 kB.
const LOGS_LIMIT: usize = 2 << 20;
/// A change of 1,000 services of usual size is 3 MB. What is larger is pushed, and asked for by its revision.
const DIFF_LIMIT: usize = 32 << 20;
/// Forges send up to 25 MB; a push of a thousand commits stays below this.
const HOOK_LIMIT: usize = 1 << 20;

/// All routes.
pub(super) fn table() -> Vec<Route> {
    agent_routes()
        .into_iter()
        .chain(operator_routes())
        .chain(token_routes())
        .chain(decision_routes())
        .chain(history_routes())
        .chain(live_routes())
        .chain(event_routes())
        .chain(probe_routes())
        .collect()
}

fn agent_routes() -> [Route; 4] {
    let agent = Access::Agent;
    [
        Route::new(Method::GET, "/v1/agent/plan", agent, "The plan of the calling node", get(agent::plan))
            .query::<agent::Wait>()
            .within(agent::MAX_WAIT + 10)
            .json::<NodePlan>(
                StatusCode::OK,
                "A plan other than the one in `If-None-Match`; its digest is the `ETag`",
            )
            .answers(StatusCode::NO_CONTENT, "No plan was made for this node yet")
            .answers(StatusCode::NOT_MODIFIED, "The plan in `If-None-Match` is the newest"),
        Route::new(
            Method::GET,
            "/v1/agent/blobs/{digest}",
            agent,
            "Content that the plan names",
            get(agent::blob),
        )
        .within(300)
        .content("application/octet-stream", "The content; its SHA-256 is the digest"),
        Route::new(Method::PUT, "/v1/agent/status", agent, "Report the node's state", put(agent::status))
            .body::<Report>(STATUS_LIMIT)
            .json::<Receipt>(StatusCode::OK, "The report is durable, or wanted in full"),
        Route::new(Method::PUT, "/v1/agent/logs", agent, "Hand in what the agent did", put(logs::put))
            .body::<LogUpload>(LOGS_LIMIT)
            .answers(StatusCode::NO_CONTENT, "The lines are durable"),
    ]
}

fn operator_routes() -> [Route; 7] {
    let operator = Access::Operator;
    [
        Route::new(Method::GET, "/v1/status", operator, "How everything stands", get(operator::status))
            .json::<Standing>(StatusCode::OK, "The whole picture"),
        Route::new(Method::GET, "/v1/logs", operator, "What agents did for a service", get(logs::page))
            .query::<logs::Which>()
            .json::<LogPage>(StatusCode::OK, "The newest lines, or those after an id; oldest first"),
        Route::new(Method::GET, "/v1/nodes", operator, "How the nodes stand", get(operator::nodes))
            .json::<Vec<NodeView>>(StatusCode::OK, "The nodes by name"),
        Route::new(Method::GET, "/v1/plans/{node}", operator, "A plan of a node", get(operator::plan))
            .query::<operator::WhichPlan>()
            .json::<NodePlan>(StatusCode::OK, "The newest plan, or the one asked for"),
        Route::new(Method::POST, "/v1/sync", operator, "Look at the source now", post(operator::sync))
            .body::<SyncRequest>(4 << 10)
            .within(600)
            .json::<Synced>(StatusCode::OK, "The newest revision was checked"),
        Route::new(
            Method::POST,
            "/v1/hooks/source",
            Access::Hook,
            "Something was pushed, or a pull request changed",
            post(hook::source),
        )
        .body::<serde_json::Value>(HOOK_LIMIT)
        .answers(StatusCode::ACCEPTED, "The source or the pull request will be looked at"),
        Route::new(Method::GET, "/v1/version", Access::Known, "What this daemon is", get(operator::version))
            .json::<Version>(StatusCode::OK, "Versions"),
    ]
}

fn token_routes() -> [Route; 5] {
    let operator = Access::Operator;
    let (of_node, of_operator) = ("/v1/nodes/{node}/token", "/v1/operators/{operator}/token");
    [
        Route::new(Method::POST, of_node, operator, "Make a token", post(tokens::make_for_node))
            .json::<NodeToken>(StatusCode::CREATED, "The token; its secret is shown this once"),
        Route::new(Method::DELETE, of_node, operator, "Revoke", delete(tokens::revoke_of_node))
            .json::<Revoked>(StatusCode::OK, "All tokens of the node are revoked"),
        Route::new(Method::GET, "/v1/operators", operator, "Who operates this", get(tokens::operators))
            .json::<Vec<OperatorView>>(StatusCode::OK, "By name"),
        Route::new(
            Method::POST,
            of_operator,
            operator,
            "Make a token for an operator; for the first one only",
            post(tokens::make_for_operator),
        )
        .body::<TokenRequest>(16 << 10)
        .json::<OperatorToken>(StatusCode::CREATED, "The token; its secret is shown this once"),
        Route::new(
            Method::DELETE,
            of_operator,
            operator,
            "Revoke those of an operator; for the first one only",
            delete(tokens::revoke_of_operator),
        )
        .json::<Revoked>(StatusCode::OK, "All tokens of the operator are revoked"),
    ]
}

fn decision_routes() -> [Route; 6] {
    let operator = Access::Operator;
    [
        Route::new(Method::GET, "/v1/holds", operator, "What people hold", get(decisions::holds))
            .query::<decisions::Which>()
            .json::<HoldPage>(StatusCode::OK, "Those that nobody ended, or all; the newest first"),
        Route::new(Method::POST, "/v1/holds", operator, "Hold something", post(decisions::hold))
            .body::<HoldRequest>(4 << 10)
            .json::<Hold>(StatusCode::CREATED, "The hold with its number; it is in force"),
        Route::new(Method::DELETE, "/v1/holds/{number}", operator, "End a hold", delete(decisions::end_hold))
            .json::<Hold>(StatusCode::OK, "The hold that ended"),
        Route::new(
            Method::GET,
            "/v1/approvals",
            operator,
            "What waits for approval",
            get(decisions::approvals),
        )
        .json::<ApprovalPage>(StatusCode::OK, "With the votes so far, and who is still needed"),
        Route::new(Method::POST, "/v1/approvals", operator, "Approve or reject", post(decisions::vote))
            .body::<BallotRequest>(4 << 10)
            .json::<AwaitingView>(StatusCode::OK, "How the changes stand with this vote"),
        Route::new(
            Method::POST,
            "/v1/retry",
            operator,
            "Try the deployed revision again",
            post(decisions::retry),
        )
        .answers(StatusCode::ACCEPTED, "What was undone is rolled out again"),
    ]
}

fn history_routes() -> [Route; 5] {
    let operator = Access::Operator;
    [
        Route::new(Method::GET, "/v1/releases", operator, "Releases, in pages", get(history::page))
            .query::<history::Page>()
            .json::<ReleasePage>(StatusCode::OK, "The newest first"),
        Route::new(
            Method::GET,
            "/v1/releases/{number}",
            operator,
            "One release, or `latest`",
            get(history::one),
        )
        .json::<ReleaseView>(StatusCode::OK, "What it did, and what became of it"),
        Route::new(
            Method::GET,
            "/v1/applied",
            operator,
            "What the newest release did",
            get(history::applied),
        )
        .within(120)
        .json::<Applied>(
            StatusCode::OK,
            "Each service that it changed: on which nodes and why, at what cost, at which ports",
        ),
        Route::new(
            Method::GET,
            "/v1/trace/{service}/{node}",
            operator,
            "What became of a service on a node",
            get(history::journal),
        )
        .query::<history::HowMany>()
        .json::<Trace>(StatusCode::OK, "The newest change first"),
        Route::new(
            Method::GET,
            "/v1/why/{service}",
            operator,
            "Why a service is as it is",
            get(history::because),
        )
        .query::<history::Where>()
        .json::<Why>(StatusCode::OK, "By node, with the release that changed it last"),
    ]
}

fn live_routes() -> [Route; 3] {
    let operator = Access::Operator;
    [
        Route::new(Method::POST, "/v1/diff", operator, "What deploying something would do", post(live::diff))
            .body::<DiffRequest>(DIFF_LIMIT)
            .within(120)
            .json::<DiffAnswer>(
                StatusCode::OK,
                "What it would do now with its plan id, or why it cannot be deployed",
            ),
        Route::new(Method::GET, "/v1/drift", operator, "How nodes stand to their plans", get(live::drift))
            .query::<Only>()
            .within(120)
            .json::<Drift>(StatusCode::OK, "Every node, with the instances that are not in sync"),
        Route::new(Method::GET, "/v1/source", operator, "How the source stands", get(live::source))
            .json::<SourceStatus>(StatusCode::OK, "What is deployed, and what came last"),
    ]
}

fn event_routes() -> [Route; 2] {
    let operator = Access::Operator;
    [
        Route::new(Method::GET, "/v1/events", operator, "What happened, in pages", get(events::page))
            .query::<events::Page>()
            .json::<EventPage>(StatusCode::OK, "Events, oldest first"),
        Route::new(
            Method::GET,
            "/v1/events/stream",
            operator,
            "What happens, as it does",
            get(events::stream),
        )
        .query::<events::From>()
        .content("text/event-stream", "Events with their numbers as ids; `Last-Event-ID` resumes"),
    ]
}

fn probe_routes() -> [Route; 4] {
    [
        Route::new(
            Method::GET,
            "/healthz",
            Access::Anyone,
            "Whether the process answers",
            get(probe::healthz),
        )
        .answers(StatusCode::NO_CONTENT, "It does"),
        Route::new(
            Method::GET,
            "/readyz",
            Access::Anyone,
            "Whether the daemon can do its work",
            get(probe::readyz),
        )
        .answers(StatusCode::NO_CONTENT, "It can"),
        Route::new(Method::GET, "/metrics", Access::Operator, "Counters for Prometheus", get(probe::metrics))
            .content(probe::OPENMETRICS, "OpenMetrics text"),
        Route::new(Method::GET, "/v1/openapi.json", Access::Known, "This document", get(openapi::document))
            .content("application/json", "OpenAPI 3.1"),
    ]
}

/// The router over the table. Nothing is served that is not in it.
pub fn router(control: Control) -> Router {
    let mount = |router: Router<Control>, route: Route| router.route(route.path, guarded(&control, route));
    let router = table().into_iter().fold(Router::new(), mount);
    let nowhere =
        || async { ApiError::NotFound("there is no such path: see GET /v1/openapi.json".to_owned()) };
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(control)
}

/// Puts the checks in front of the handler; the last one here is the first to run.
fn guarded(control: &Control, route: Route) -> MethodRouter<Control> {
    let Route { path, access, body_limit, within, mut mount, .. } = route;
    mount = mount.layer(DefaultBodyLimit::max(body_limit));
    if !matches!(access, Access::Anyone | Access::Hook) {
        mount = mount.layer(from_fn_with_state((control.clone(), access), require));
    }
    mount.layer(from_fn_with_state(Watch { control: control.clone(), path, body_limit, within }, watch))
}

#[derive(Clone)]
struct Watch {
    control: Control,
    path: &'static str,
    body_limit: usize,
    within: Duration,
}

/// Bounds the time, gives every refusal one form, and counts.
async fn watch(State(watch): State<Watch>, request: Request, next: Next) -> Response {
    let Watch { control, path, body_limit, within } = watch;
    let _in_flight = Counted::new(&control.metrics.requests_in_flight);
    let response = match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => in_form(response, body_limit).await,
        Err(_) => ApiError::TimedOut(within.as_secs()).into_response(),
    };
    let answered = Answered { route: path, status: response.status().as_u16() };
    control.metrics.requests.get_or_create(&answered).inc();
    response
}

/// What axum itself refuses (a body over the limit, a parameter of the wrong type) as a problem like any other.
async fn in_form(response: Response, body_limit: usize) -> Response {
    let status = response.status();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::TooLarge(body_limit).into_response();
    }
    let text = to_bytes(response.into_body(), 4 << 10).await.unwrap_or_default();
    ApiError::Malformed(String::from_utf8_lossy(&text).into_owned()).into_response()
}
