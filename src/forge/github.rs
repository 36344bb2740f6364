//! GitHub, and GitHub Enterprise Server: who we are by GraphQL, and annotations as check runs.
//!
//! `GET /user` answers people only, and the token of a workflow is nobody's; the viewer of GraphQL is told for both.

use gitops_core::diagnostic::Severity;
use gitops_core::name::Revision;
use gitops_core::review::Annotation;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dialect::Dialect;
use super::http::Ask;
use super::{Author, Check};

/// Annotations of one request: GitHub's limit.
pub(super) const ANNOTATIONS: usize = 50;

/// The dialect; `graphql` is where its GraphQL is, from the address of the API.
pub(super) struct Github {
    pub(super) graphql: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    viewer: Option<Viewer>,
}

#[derive(Deserialize)]
struct Viewer {
    #[serde(rename = "databaseId")]
    database_id: Option<i64>,
}

impl Dialect for Github {
    fn page_size(&self) -> Option<usize> {
        Some(100)
    }

    fn me(&self) -> Ask {
        let query = json!({ "query": "query { viewer { databaseId } }" });
        Ask::send("find out whose token it is", Method::POST, self.graphql.to_owned(), query)
    }

    fn read_me(&self, body: &[u8]) -> Result<Option<Author>, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(body)?;
        let viewer = answer.data.and_then(|data| data.viewer);
        Ok(viewer.and_then(|viewer| viewer.database_id).map(Author))
    }
}

/// A check run with its first annotations. It is over when it begins.
pub(super) fn create_check(repository: &str, sha: &Revision, check: &Check<'_>) -> Ask {
    let mut body = output(check, check.annotations.chunks(ANNOTATIONS).next().unwrap_or_default());
    body["name"] = Value::from(check.name);
    body["head_sha"] = Value::from(sha.as_str());
    body["status"] = Value::from("completed");
    body["conclusion"] = Value::from(if check.is_failure { "failure" } else { "neutral" });
    Ask::send("annotate the files", Method::POST, format!("{repository}/check-runs"), body)
}

/// More annotations for a check run.
pub(super) fn extend_check(repository: &str, id: u64, check: &Check<'_>, more: &[Annotation]) -> Ask {
    let path = format!("{repository}/check-runs/{id}");
    Ask::send("annotate the files", Method::PATCH, path, output(check, more))
}

/// The number of a check run that was made.
pub(super) fn read_check(body: &[u8]) -> Result<u64, serde_json::Error> {
    #[derive(Deserialize)]
    struct CheckRun {
        id: u64,
    }
    serde_json::from_slice::<CheckRun>(body).map(|run| run.id)
}

fn output(check: &Check<'_>, annotations: &[Annotation]) -> Value {
    let annotations: Vec<Value> = annotations.iter().map(annotation).collect();
    json!({ "output": { "title": check.title, "summary": check.summary, "annotations": annotations } })
}

fn annotation(annotation: &Annotation) -> Value {
    let Annotation { path, line, columns, severity, title, message } = annotation;
    let level = match severity {
        Severity::Error => "failure",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut body = json!({
        "path": path, "start_line": line, "end_line": line, "annotation_level": level, "title": title,
        "message": message,
    });
    if let Some((first, last)) = columns {
        body["start_column"] = Value::from(*first);
        body["end_column"] = Value::from(*last);
    }
    body
}
