//! GitLab: merge requests and their notes, and a commit status that must not be what it is already.

use gitops_core::name::Revision;
use gitops_core::review::Status;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::dialect::{Dialect, User, is_plain, status_body};
use super::http::Ask;
use super::{Author, Comment, Pull, PullState};

/// The dialect.
pub(super) struct Gitlab;

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    state: String,
    sha: Revision,
    target_branch: String,
    target_project_id: i64,
    /// None where the project was deleted.
    source_project_id: Option<i64>,
    merge_commit_sha: Option<Revision>,
    squash_commit_sha: Option<Revision>,
    /// None until GitLab has prepared the merge request.
    diff_refs: Option<DiffRefs>,
}

#[derive(Deserialize)]
struct DiffRefs {
    /// The tip of the target branch when the source branch was last pushed; `base_sha` is the merge base.
    start_sha: Option<Revision>,
}

impl From<MergeRequest> for Pull {
    fn from(merge: MergeRequest) -> Self {
        let merged_as = merge.merge_commit_sha.or(merge.squash_commit_sha);
        let state = match merge.state.as_str() {
            "opened" | "locked" => PullState::Open,
            "merged" => PullState::Merged,
            _ => PullState::Closed,
        };
        // Merged by fast-forward, it has no commit but its own.
        let landed = || merged_as.unwrap_or_else(|| merge.sha.clone());
        Self {
            number: merge.iid,
            state,
            is_fork: merge.source_project_id != Some(merge.target_project_id),
            merged_as: (state == PullState::Merged).then(landed),
            head: merge.sha,
            base_branch: merge.target_branch,
            base: merge.diff_refs.and_then(|refs| refs.start_sha),
        }
    }
}

#[derive(Deserialize)]
struct Note {
    id: u64,
    body: String,
    author: Option<User>,
}

impl From<Note> for Comment {
    fn from(note: Note) -> Self {
        let Note { id, body, author } = note;
        Self { id, body, author: author.map(|user| Author(user.id)) }
    }
}

impl Dialect for Gitlab {
    /// A note has up to a million characters, so a page is a quarter of what it is elsewhere.
    fn page_size(&self) -> Option<usize> {
        Some(25)
    }

    fn me(&self) -> Ask {
        Ask::get("find out whose token it is", "user".to_owned())
    }

    /// Its number, or its path with every group above it, in one segment.
    fn repository(&self, name: &str) -> Option<String> {
        let parts: Vec<&str> = name.split('/').collect();
        let is_name = |part: &&str| !part.is_empty() && part.bytes().all(is_plain) && !part.starts_with('.');
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let is_path = is_number || parts.len() > 1;
        (is_path && parts.iter().all(is_name)).then(|| format!("projects/{}", parts.join("%2F")))
    }

    fn pull(&self, repository: &str, number: u64) -> Ask {
        Ask::get(format!("read merge request {number}"), format!("{repository}/merge_requests/{number}"))
    }

    fn read_pull(&self, body: &[u8]) -> Result<Pull, serde_json::Error> {
        serde_json::from_slice::<MergeRequest>(body).map(Pull::from)
    }

    fn comments(&self, repository: &str, number: u64, page: usize) -> Ask {
        let size = self.page_size().unwrap_or_default();
        Ask::get(
            format!("read the comments of merge request {number}"),
            format!(
                "{repository}/merge_requests/{number}/notes?sort=asc&order_by=created_at&per_page={size}&page={page}"
            ),
        )
    }

    fn create_comment(&self, repository: &str, number: u64, body: &str) -> Ask {
        Ask::send(
            format!("comment on merge request {number}"),
            Method::POST,
            format!("{repository}/merge_requests/{number}/notes"),
            json!({ "body": body }),
        )
    }

    fn update_comment(&self, repository: &str, number: u64, id: u64, body: &str) -> Ask {
        Ask::send(
            format!("update our comment on merge request {number}"),
            Method::PUT,
            format!("{repository}/merge_requests/{number}/notes/{id}"),
            json!({ "body": body }),
        )
    }

    fn delete_comment(&self, repository: &str, number: u64, id: u64) -> Ask {
        Ask::delete(
            format!("delete our second comment on merge request {number}"),
            format!("{repository}/merge_requests/{number}/notes/{id}"),
        )
    }

    fn read_comments(&self, body: &[u8]) -> Result<Vec<Comment>, serde_json::Error> {
        let notes: Vec<Note> = serde_json::from_slice(body)?;
        Ok(notes.into_iter().map(Comment::from).collect())
    }

    fn read_comment(&self, body: &[u8]) -> Result<Comment, serde_json::Error> {
        serde_json::from_slice::<Note>(body).map(Comment::from)
    }

    fn status(&self, repository: &str, sha: &Revision, status: &Status) -> Ask {
        Ask::send(
            format!("set the status of commit {}", sha.short()),
            Method::POST,
            format!("{repository}/statuses/{sha}"),
            status_body(status, "failed"),
        )
    }

    /// `Cannot transition status via :enqueue from :pending`: its statuses are a state machine, and no state follows itself.
    fn is_so_already(&self, status: u16, said: &str) -> bool {
        status == 400 && said.contains("Cannot transition status")
    }
}
