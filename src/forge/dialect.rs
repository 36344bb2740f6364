//! How a forge spells what we ask of it. Pure: requests are made and answers are read here, nothing is sent.
//!
//! GitHub's API came first, and Gitea and Forgejo took over its paths and most of its fields. So what it does is the
//! default here, each of them says only what it does in another way, and GitLab all of it.

use gitops_core::name::Revision;
use gitops_core::review::{State, Status};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::Ask;
use super::{Author, Comment, Pull, PullState};

type Read<T> = Result<T, serde_json::Error>;

/// One kind of forge. `repository` is as the user names it, fit for a path.
pub(super) trait Dialect: Send + Sync {
    /// How many comments a page has; none where all come at once.
    fn page_size(&self) -> Option<usize>;

    /// Who we are.
    fn me(&self) -> Ask;

    /// Who we are, if the forge says.
    fn read_me(&self, body: &[u8]) -> Read<Option<Author>> {
        serde_json::from_slice::<User>(body).map(|user| Some(Author(user.id)))
    }

    /// The repository as it stands in a path.
    fn repository(&self, name: &str) -> Option<String> {
        let is_name = |part: &str| !part.is_empty() && part.bytes().all(is_plain) && !part.starts_with('.');
        let (owner, rest) = name.split_once('/')?;
        (is_name(owner) && is_name(rest)).then(|| format!("repos/{name}"))
    }

    /// A pull request.
    fn pull(&self, repository: &str, number: u64) -> Ask {
        Ask::get(format!("read pull request {number}"), format!("{repository}/pulls/{number}"))
    }

    /// The answer to [`Dialect::pull`].
    fn read_pull(&self, body: &[u8]) -> Read<Pull> {
        serde_json::from_slice::<PullRequest>(body).map(Pull::from)
    }

    /// A page of comments, from 1, the oldest first.
    fn comments(&self, repository: &str, number: u64, page: usize) -> Ask {
        let page = self.page_size().map(|size| format!("?per_page={size}&page={page}")).unwrap_or_default();
        Ask::get(
            format!("read the comments of pull request {number}"),
            format!("{repository}/issues/{number}/comments{page}"),
        )
    }

    /// A new comment.
    fn create_comment(&self, repository: &str, number: u64, body: &str) -> Ask {
        Ask::send(
            format!("comment on pull request {number}"),
            Method::POST,
            format!("{repository}/issues/{number}/comments"),
            json!({ "body": body }),
        )
    }

    /// Another text for a comment.
    fn update_comment(&self, repository: &str, number: u64, id: u64, body: &str) -> Ask {
        Ask::send(
            format!("update our comment on pull request {number}"),
            Method::PATCH,
            format!("{repository}/issues/comments/{id}"),
            json!({ "body": body }),
        )
    }

    /// A comment less.
    fn delete_comment(&self, repository: &str, number: u64, id: u64) -> Ask {
        Ask::delete(
            format!("delete our second comment on pull request {number}"),
            format!("{repository}/issues/comments/{id}"),
        )
    }

    /// The answer to [`Dialect::comments`].
    fn read_comments(&self, body: &[u8]) -> Read<Vec<Comment>> {
        let comments: Vec<IssueComment> = serde_json::from_slice(body)?;
        Ok(comments.into_iter().map(Comment::from).collect())
    }

    /// The answer to [`Dialect::create_comment`].
    fn read_comment(&self, body: &[u8]) -> Read<Comment> {
        serde_json::from_slice::<IssueComment>(body).map(Comment::from)
    }

    /// A commit status.
    fn status(&self, repository: &str, sha: &Revision, status: &Status) -> Ask {
        Ask::send(
            format!("set the status of commit {}", sha.short()),
            Method::POST,
            format!("{repository}/statuses/{sha}"),
            status_body(status, "failure"),
        )
    }

    /// Whether a request was refused with these words because what it asks for is so already.
    fn is_so_already(&self, _status: u16, _said: &str) -> bool {
        false
    }
}

/// The body of a commit status; every forge takes these fields, and has a word of its own for a failure.
pub(super) fn status_body(status: &Status, failure: &str) -> Value {
    let state = match status.state {
        State::Pending => "pending",
        State::Success => "success",
        State::Failure => failure,
    };
    let mut body = json!({ "state": state, "context": status.context, "description": status.description });
    if let Some(target) = &status.target {
        body["target_url"] = Value::from(target.as_str());
    }
    body
}

/// What the names of owners and repositories are made of, on every forge.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    state: String,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<Revision>,
    head: End,
    base: End,
}

/// One end of a pull request.
#[derive(Deserialize)]
struct End {
    #[serde(default)]
    r#ref: String,
    sha: Revision,
    /// None where the repository was deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    id: i64,
}

impl From<PullRequest> for Pull {
    fn from(pull: PullRequest) -> Self {
        let PullRequest { number, state, merged, merge_commit_sha, head, base } = pull;
        let id = |end: &End| end.repo.as_ref().map(|repository| repository.id);
        let is_within = id(&head).is_some() && id(&head) == id(&base);
        Self {
            number,
            state: match (merged, state.as_str()) {
                (true, _) => PullState::Merged,
                (false, "open") => PullState::Open,
                (false, _) => PullState::Closed,
            },
            is_fork: !(is_within && names_a_branch(&head.r#ref)),
            // Of an open one GitHub names the commit of a merge that it only tried.
            merged_as: merge_commit_sha.filter(|_| merged),
            head: head.sha,
            base_branch: base.r#ref,
            base: Some(base.sha),
        }
    }
}

/// Whether the head of a pull request is a branch. One that was pushed to `refs/for/` is none: Gitea and Forgejo say
/// that it is of the repository itself, and whoever may read that may push it.
pub(crate) fn names_a_branch(head: &str) -> bool {
    !head.is_empty() && !head.starts_with("refs/")
}

#[derive(Deserialize)]
struct IssueComment {
    id: u64,
    body: Option<String>,
    /// None where the account was deleted.
    user: Option<User>,
}

impl From<IssueComment> for Comment {
    fn from(comment: IssueComment) -> Self {
        let IssueComment { id, body, user } = comment;
        Self { id, body: body.unwrap_or_default(), author: user.map(|user| Author(user.id)) }
    }
}
