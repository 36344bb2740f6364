//! A forge of our own: it answers as the documentation of each forge says, keeps what it is told, and writes down every
//! request that no such forge would take.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use gitops::forge::Kind;
use serde_json::{Value, json};
use tokio::sync::Barrier;

pub(crate) const TOKEN: &str = "forge-canary-5f1d";
/// Whose token it is.
pub(crate) const ME: i64 = 41_898_282;
pub(crate) const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What the forge keeps.
#[derive(Default)]
pub(crate) struct Kept {
    /// By number, the oldest first.
    pub(crate) comments: Vec<Value>,
    /// In order, each with its commit.
    pub(crate) statuses: Vec<(String, Value)>,
    /// Bodies of requests about check runs.
    pub(crate) checks: Vec<Value>,
    /// `METHOD path?query`.
    pub(crate) requests: Vec<String>,
    /// What no forge would take.
    pub(crate) mistakes: Vec<String>,
    /// The pull request.
    pub(crate) pull: Value,
    /// As many lists of comments are given out together, so that whoever asked saw what all saw.
    pub(crate) together: Option<(usize, Arc<Barrier>)>,
    /// Answers to the next requests, whatever they are.
    pub(crate) script: VecDeque<Answer>,
    /// Whether the forge says whose token it is.
    pub(crate) tells_me: bool,
    /// Whether the token is one of an app or a workflow.
    pub(crate) may_annotate: bool,
    /// Whether the token may write.
    pub(crate) is_read_only: bool,
    last: i64,
}

/// An answer out of turn.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }
}

/// A forge that runs until the test is over.
pub(crate) struct Forge {
    kind: Kind,
    kept: Arc<Mutex<Kept>>,
    address: String,
}

#[derive(Clone)]
struct Shared {
    kind: Kind,
    kept: Arc<Mutex<Kept>>,
}

impl Forge {
    pub(crate) fn start(kind: Kind) -> Self {
        let pull = payload(kind, "pull");
        let kept = Arc::new(Mutex::new(Kept { pull, tells_me: true, may_annotate: true, ..Kept::default() }));
        let shared = Shared { kind, kept: kept.clone() };
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                let router = Router::new().fallback(answer).with_state(shared);
                axum::serve(listener, router).await.expect("it serves");
            });
        });
        let address = told.recv().expect("it starts").to_string();
        Self { kind, kept, address }
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, root(self.kind))
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no test panics with it")
    }

    /// The next `number` lists of comments are given out together.
    pub(crate) fn hold(&self, number: usize) {
        self.kept().together = Some((number, Arc::new(Barrier::new(number))));
    }

    /// Says the next answers.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.kept().script.extend(answers);
    }

    /// Somebody comments.
    pub(crate) fn comment(&self, author: i64, body: &str) -> i64 {
        self.kept().add(self.kind, author, body)
    }

    /// The texts of the comments, by their authors.
    pub(crate) fn comments(&self) -> Vec<(i64, String)> {
        let text = |comment: &Value| {
            let author = comment["user"]["id"].as_i64().or(comment["author"]["id"].as_i64());
            (author.expect("an author"), comment["body"].as_str().expect("a text").to_owned())
        };
        self.kept().comments.iter().map(text).collect()
    }

    /// Nothing came that a forge would not take.
    #[track_caller]
    pub(crate) fn is_content(&self) {
        let kept = self.kept();
        assert!(kept.mistakes.is_empty(), "{:#?}", kept.mistakes);
    }
}

/// What the documentation shows.
fn payload(kind: Kind, what: &str) -> Value {
    let text = match (kind, what) {
        (Kind::Github, "pull") => include_str!("payloads/github-pull.json"),
        (Kind::Github, _) => include_str!("payloads/github-comment.json"),
        (Kind::Gitlab, "pull") => include_str!("payloads/gitlab-pull.json"),
        (Kind::Gitlab, _) => include_str!("payloads/gitlab-comment.json"),
        (_, "pull") => include_str!("payloads/gitea-pull.json"),
        (_, _) => include_str!("payloads/gitea-comment.json"),
    };
    serde_json::from_str(text).expect("a payload is JSON")
}

fn root(kind: Kind) -> &'static str {
    match kind {
        Kind::Github => "",
        Kind::Gitlab => "/api/v4",
        Kind::Gitea | Kind::Forgejo => "/api/v1",
    }
}

impl Kept {
    fn add(&mut self, kind: Kind, author: i64, body: &str) -> i64 {
        let mut comment = payload(kind, "comment");
        self.last += 1;
        comment["id"] = json!(self.last);
        comment["body"] = json!(body);
        let field = if kind == Kind::Gitlab { "author" } else { "user" };
        comment[field]["id"] = json!(author);
        self.comments.push(comment);
        self.last
    }

    /// What this list of comments waits for.
    fn held(&mut self) -> Option<Arc<Barrier>> {
        let (left, barrier) = self.together.as_mut().filter(|(left, _)| *left > 0)?;
        *left -= 1;
        Some(barrier.clone())
    }

    fn position(&self, id: &str) -> Option<usize> {
        let id: i64 = id.parse().ok()?;
        self.comments.iter().position(|comment| comment["id"] == id)
    }

    fn is_ours(&self, position: usize) -> bool {
        let comment = &self.comments[position];
        comment["user"]["id"] == json!(ME) || comment["author"]["id"] == json!(ME)
    }
}

/// A request, read.
struct Asked<'a> {
    method: &'a Method,
    /// After the root of the API.
    path: &'a str,
    query: &'a str,
    body: Value,
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 4 << 20).await.unwrap_or_default();
    // Requests that come together mix.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (response, barrier) = considered(&shared, &head, &body);
    if let Some(barrier) = barrier {
        barrier.wait().await;
    }
    response
}

fn considered(shared: &Shared, head: &Parts, body: &[u8]) -> (Response<Body>, Option<Arc<Barrier>>) {
    let mut kept = shared.kept.lock().expect("no test panics with it");
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let shown = format!("{} {}", head.method, head.uri);
    let mistakes = mistakes(&head.method, &head.headers, body);
    kept.mistakes.extend(mistakes.into_iter().map(|mistake| format!("{shown}: {mistake}")));
    kept.requests.push(shown.clone());
    if let Some(answer) = kept.script.pop_front() {
        return (scripted(&answer), None);
    }
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    let Some(path) = path.strip_prefix(root(shared.kind)) else { return (plain(404, &Value::Null), None) };
    let asked = Asked { method: &head.method, path, query, body };
    let (status, body) = take(shared.kind, &mut kept, &asked);
    if matches!(status, 404 | 405 | 422) && !path.contains("comments/") && !path.contains("notes/") {
        kept.mistakes.push(format!("{shown}: {status} {body}"));
    }
    let is_list = head.method == Method::GET && (path.ends_with("/comments") || path.ends_with("/notes"));
    let barrier = if is_list { kept.held() } else { None };
    (plain(status, &body), barrier)
}

/// What every request must have.
fn mistakes(method: &Method, headers: &HeaderMap, body: &[u8]) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut mistakes = Vec::new();
    if text("authorization") != format!("Bearer {TOKEN}") {
        mistakes.push("without the token".to_owned());
    }
    if !text("user-agent").starts_with("gitops/") {
        mistakes.push("GitHub refuses who does not name itself".to_owned());
    }
    let has_body = *method == Method::POST || *method == Method::PATCH || *method == Method::PUT;
    if has_body
        && (text("content-type") != "application/json" || serde_json::from_slice::<Value>(body).is_err())
    {
        mistakes.push("its body is not JSON".to_owned());
    }
    mistakes
}

fn scripted(answer: &Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(answer.body.clone())).expect("an answer")
}

fn plain(status: u16, body: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    let text = if status == StatusCode::NO_CONTENT { String::new() } else { body.to_string() };
    Response::builder().status(status).body(Body::from(text)).expect("an answer")
}

fn take(kind: Kind, kept: &mut Kept, asked: &Asked<'_>) -> (u16, Value) {
    let is_write = *asked.method != Method::GET && asked.path != "/graphql";
    if kept.is_read_only && is_write {
        return (403, json!({ "message": "Resource not accessible by integration", "status": "403" }));
    }
    match kind {
        Kind::Gitlab => gitlab(kept, asked),
        Kind::Github => github(kept, asked),
        Kind::Gitea | Kind::Forgejo => like_github(kind, kept, asked),
    }
}

fn github(kept: &mut Kept, asked: &Asked<'_>) -> (u16, Value) {
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    match (asked.method.as_str(), &parts[..]) {
        ("POST", ["graphql"]) if !kept.tells_me => {
            (200, json!({ "data": { "viewer": null }, "errors": [{ "type": "FORBIDDEN" }] }))
        }
        ("POST", ["graphql"]) => (200, json!({ "data": { "viewer": { "databaseId": ME } } })),
        ("POST", ["repos", "shop", "estate", "check-runs"]) if !kept.may_annotate => {
            (403, json!({ "message": "You must authenticate via a GitHub App.", "status": "403" }))
        }
        ("POST", ["repos", "shop", "estate", "check-runs"]) => check(kept, &asked.body, true),
        ("PATCH", ["repos", "shop", "estate", "check-runs", "4"]) => check(kept, &asked.body, false),
        ("POST", ["repos", "shop", "estate", "statuses", _])
            if asked.body["description"].as_str().is_some_and(|text| text.chars().count() > 140) =>
        {
            (422, json!({ "message": "Validation Failed", "errors": ["description is too long"] }))
        }
        _ => like_github(Kind::Github, kept, asked),
    }
}

fn check(kept: &mut Kept, body: &Value, is_new: bool) -> (u16, Value) {
    let annotations = body["output"]["annotations"].as_array().map_or(0, Vec::len);
    let is_whole = body["output"]["title"].is_string()
        && body["output"]["summary"].is_string()
        && (!is_new || body["name"].is_string() && body["head_sha"].is_string());
    if annotations > 50 || !is_whole {
        return (422, json!({ "message": "Invalid request." }));
    }
    kept.checks.push(body.clone());
    (if is_new { 201 } else { 200 }, json!({ "id": 4, "head_sha": HEAD, "status": "completed" }))
}

/// The paths that GitHub has and Gitea and Forgejo took over.
fn like_github(kind: Kind, kept: &mut Kept, asked: &Asked<'_>) -> (u16, Value) {
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let ["repos", "shop", "estate", rest @ ..] = &parts[..] else {
        return match (asked.method.as_str(), asked.path) {
            ("GET", "/user") if !kept.tells_me => (403, json!({ "message": "token does not have scope" })),
            ("GET", "/user") => (200, json!({ "id": ME, "login": "review-bot" })),
            _ => (404, json!({ "message": "Not Found" })),
        };
    };
    match (asked.method.as_str(), rest) {
        ("GET", ["pulls", "7"]) => (200, kept.pull.clone()),
        ("GET", ["issues", "7", "comments"]) if kind == Kind::Github => (200, page(kept, asked.query)),
        // Gitea and Forgejo have no pages here, whatever is asked for.
        ("GET", ["issues", "7", "comments"]) => (200, json!(kept.comments)),
        ("POST", ["issues", "7", "comments"]) => created(kind, kept, &asked.body, 65_536),
        ("PATCH", ["issues", "comments", id]) => updated(kept, id, &asked.body, 65_536),
        ("DELETE", ["issues", "comments", id]) => deleted(kept, id),
        ("POST", ["statuses", sha]) => {
            status(kept, sha, &asked.body, &["pending", "success", "failure", "error"])
        }
        _ => (404, json!({ "message": "Not Found" })),
    }
}

fn gitlab(kept: &mut Kept, asked: &Asked<'_>) -> (u16, Value) {
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let ["projects", "shop%2Festate", rest @ ..] = &parts[..] else {
        return match (asked.method.as_str(), asked.path) {
            ("GET", "/user") if kept.tells_me => {
                (200, json!({ "id": ME, "username": "project_15513260_bot" }))
            }
            ("GET", "/user") => (403, json!({ "error": "insufficient_scope" })),
            _ => (404, json!({ "message": "404 Not Found" })),
        };
    };
    match (asked.method.as_str(), rest) {
        ("GET", ["merge_requests", "7"]) => (200, kept.pull.clone()),
        ("GET", ["merge_requests", "7", "notes"]) => {
            if !asked.query.contains("sort=asc") {
                kept.mistakes.push("the newest notes come first if nothing is said".to_owned());
            }
            (200, page(kept, asked.query))
        }
        ("POST", ["merge_requests", "7", "notes"]) => created(Kind::Gitlab, kept, &asked.body, 1_000_000),
        ("PUT", ["merge_requests", "7", "notes", id]) => updated(kept, id, &asked.body, 1_000_000),
        ("DELETE", ["merge_requests", "7", "notes", id]) => deleted(kept, id),
        ("POST", ["statuses", sha]) => gitlab_status(kept, sha, &asked.body),
        _ => (404, json!({ "message": "404 Not Found" })),
    }
}

fn gitlab_status(kept: &mut Kept, sha: &str, body: &Value) -> (u16, Value) {
    let of_context = |(of, status): &&(String, Value)| of == sha && status["context"] == body["context"];
    let last = kept.statuses.iter().rev().find(of_context).map(|(_, status)| status["state"].clone());
    if last == Some(json!("pending")) && body["state"] == "pending" {
        let why = "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \
                   \"enqueue\")";
        return (400, json!({ "message": why }));
    }
    status(kept, sha, body, &["pending", "running", "success", "failed", "canceled", "skipped"])
}

fn page(kept: &Kept, query: &str) -> Value {
    let number = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.and_then(|text| text.parse::<usize>().ok())
    };
    let (size, page) = (number("per_page").unwrap_or(20).min(100), number("page").unwrap_or(1));
    let comments: Vec<&Value> = kept.comments.iter().skip((page - 1) * size).take(size).collect();
    json!(comments)
}

fn created(kind: Kind, kept: &mut Kept, body: &Value, max: usize) -> (u16, Value) {
    match body["body"].as_str() {
        Some(text) if !text.is_empty() && text.chars().count() <= max => {
            kept.add(kind, ME, text);
            (201, kept.comments.last().expect("it was just added").clone())
        }
        _ => (422, json!({ "message": "Validation Failed" })),
    }
}

fn updated(kept: &mut Kept, id: &str, body: &Value, max: usize) -> (u16, Value) {
    let Some(position) = kept.position(id) else { return (404, json!({ "message": "Not Found" })) };
    if !kept.is_ours(position) {
        kept.mistakes.push(format!("the comment {id} of somebody else is changed"));
    }
    match body["body"].as_str() {
        Some(text) if text.chars().count() <= max => {
            kept.comments[position]["body"] = json!(text);
            (200, kept.comments[position].clone())
        }
        _ => (422, json!({ "message": "Validation Failed" })),
    }
}

fn deleted(kept: &mut Kept, id: &str) -> (u16, Value) {
    let Some(position) = kept.position(id) else { return (404, json!({ "message": "Not Found" })) };
    if !kept.is_ours(position) {
        kept.mistakes.push(format!("the comment {id} of somebody else is deleted"));
    }
    kept.comments.remove(position);
    (204, Value::Null)
}

fn status(kept: &mut Kept, sha: &str, body: &Value, states: &[&str]) -> (u16, Value) {
    let is_known = body["state"].as_str().is_some_and(|state| states.contains(&state));
    let is_short = body["description"].as_str().is_some_and(|text| text.chars().count() <= 255);
    if !is_known || !is_short || body["context"].as_str().is_none() {
        return (422, json!({ "message": "Validation Failed" }));
    }
    kept.statuses.push((sha.to_owned(), body.clone()));
    (201, json!({ "id": 1, "state": body["state"], "context": body["context"] }))
}
