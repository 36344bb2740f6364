//! A forge on loopback that speaks as Gitea does, keeps what it is told, and can be out of order.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::*;

/// What opens it. It must be seen nowhere else.
pub(super) const TOKEN: &str = "canary-of-the-forge";

/// A forge that runs until the test ends.
pub(super) struct FakeForge {
    pub(super) url: String,
    kept: Arc<Mutex<Kept>>,
}

/// What it has, and what it was told.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) pulls: BTreeMap<u64, Value>,
    /// Of which pull request, and what it says.
    pub(super) comments: Vec<(u64, String)>,
    /// Of which commit, and its context, state and description.
    pub(super) statuses: Vec<(String, [String; 3])>,
    /// How often it was asked anything.
    pub(super) asked: usize,
    /// All that it was sent.
    pub(super) heard: String,
    /// It answers with this status and, if it is not empty, this `Retry-After`.
    pub(super) out_of_order: Option<(u16, &'static str)>,
}

impl FakeForge {
    pub(super) async fn start() -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/api/v1", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, kept }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("not poisoned")
    }

    /// Has a pull request of this commit to the main branch.
    pub(super) fn open(&self, number: u64, head: &Revision, from: i64) {
        let end =
            |branch: &str, sha: &str, id: i64| json!({ "ref": branch, "sha": sha, "repo": { "id": id } });
        let (head, base) = (end("topic", head.as_str(), from), end("main", &"b".repeat(40), 1));
        let pull = json!({ "number": number, "state": "open", "merged": false, "head": head, "base": base });
        self.kept().pulls.insert(number, pull);
    }

    /// Waits until it was told what is wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&Kept) -> bool) {
        let look = async {
            while !wanted(&self.kept()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, look).await;
        waited.unwrap_or_else(|_| panic!("it was told {:?}", (&self.kept().comments, &self.kept().statuses)));
    }

    /// What it was told last of a commit under a context: state and description.
    pub(super) fn status(&self, sha: &Revision, context: &str) -> Option<(String, String)> {
        let kept = self.kept();
        let mut statuses = kept.statuses.iter().rev();
        let (_, [_, state, description]) =
            statuses.find(|(of, status)| of == sha.as_str() && status[0] == context)?;
        Some((state.clone(), description.clone()))
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut kept = kept.lock().expect("not poisoned");
    kept.asked += 1;
    if headers.get(header::AUTHORIZATION).is_none_or(|token| token != &format!("Bearer {TOKEN}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if let Some((status, after)) = kept.out_of_order {
        let status = StatusCode::from_u16(status).expect("a status");
        return (status, [(header::RETRY_AFTER, after)], "{}").into_response();
    }
    kept.heard.push_str(&String::from_utf8_lossy(&body));
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = uri.path().strip_prefix("/api/v1/").unwrap_or_default();
    let (status, said) = kept.answer(&method, path.trim_start_matches("repos/acme/estate/"), &sent);
    (StatusCode::from_u16(status).expect("a status"), said.to_string()).into_response()
}

impl Kept {
    fn answer(&mut self, method: &Method, path: &str, sent: &Value) -> (u16, Value) {
        let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match (method.as_str(), &parts[..]) {
            ("GET", ["user"]) => (200, json!({ "id": 5 })),
            ("GET", ["pulls", pull]) => match self.pulls.get(&number(pull)) {
                Some(pull) => (200, pull.clone()),
                None => (404, json!({ "message": "not found" })),
            },
            ("GET", ["issues", pull, "comments"]) => {
                let all = self.comments.iter().enumerate();
                let of = all.filter(|(_, (of, _))| *of == number(pull)).map(|(id, _)| self.comment(id));
                (200, of.collect())
            }
            ("POST", ["issues", pull, "comments"]) => {
                self.comments.push((number(pull), text("body")));
                (201, self.comment(self.comments.len() - 1))
            }
            ("PATCH", ["issues", "comments", id]) => {
                let id = usize::try_from(number(id)).expect("small") - 1;
                self.comments[id].1 = text("body");
                (200, self.comment(id))
            }
            ("POST", ["statuses", sha]) => {
                let status = ["context", "state", "description"].map(text);
                self.statuses.push(((*sha).to_owned(), status));
                (201, json!({}))
            }
            _ => (405, json!({ "message": format!("{method} {path}") })),
        }
    }

    fn comment(&self, id: usize) -> Value {
        json!({ "id": id + 1, "body": self.comments[id].1, "user": { "id": 5 } })
    }
}
