//! Forges: what we read there of a pull request, and how we say something on it.
//!
//! One client for GitHub, GitLab, Gitea and Forgejo, over the HTTP client that the program has anyway. They are asked the
//! same few things (a pull request, its comments, a status of a commit), so what differs is how each spells them: the
//! `dialect` and a small file for each forge, pure and typed. A client library for one of them would bring a second HTTP
//! stack, a second clock and a signer of tokens for the sake of those few requests, and leave three forges to be done.
//!
//! | file | its one job |
//! |---|---|
//! | `dialect`, `github`, `gitlab`, `gitea` | requests and answers of each forge, as data |
//! | `http` | one request: its bounds, and what an answer means |
//! | `sticky` | the one comment that is kept up to date, also when several do so at once |
//! | `error` | what can go wrong |
//!
//! Nothing here waits or tries again: an error that only time mends says so ([`ForgeError::later`]), and the caller knows
//! how long it can wait.

mod dialect;
mod error;
mod gitea;
mod github;
mod gitlab;
mod http;
mod sticky;

use std::fmt;

use gitops_core::name::Revision;
use gitops_core::review::{Annotation, Status};
use http::{Ask, Connection};
use reqwest::{Certificate, Url};

use crate::store::token::Secret;
use dialect::Dialect;
pub(crate) use dialect::names_a_branch;
pub use error::{ForgeError, ForgeSettingsError, Why};
pub use sticky::Stuck;

/// A kind of forge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// github.com or GitHub Enterprise Server.
    Github,
    /// gitlab.com or a GitLab of one's own.
    Gitlab,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// As it calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Gitlab => "GitLab",
            Self::Gitea => "Gitea",
            Self::Forgejo => "Forgejo",
        }
    }

    /// The reference under which a forge offers the head of a pull request, also of one from another repository.
    pub fn head_ref(self, number: u64) -> String {
        match self {
            Self::Gitlab => format!("refs/merge-requests/{number}/head"),
            Self::Github | Self::Gitea | Self::Forgejo => format!("refs/pull/{number}/head"),
        }
    }

    fn dialect(self, api: &Url) -> &'static dyn Dialect {
        // GitHub Enterprise Server has its REST API at `/api/v3` and GraphQL beside it, at `/api/graphql`.
        let is_enterprise = api.path().trim_end_matches('/').ends_with("/api/v3");
        match self {
            Self::Github if is_enterprise => &github::Github { graphql: "../graphql" },
            Self::Github => &github::Github { graphql: "graphql" },
            Self::Gitlab => &gitlab::Gitlab,
            Self::Gitea | Self::Forgejo => &gitea::Gitea,
        }
    }
}

/// A pull request, or merge request, as the forge has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number in the repository.
    pub number: u64,
    /// Whether it is still open.
    pub state: PullState,
    /// The commit that is to be merged.
    pub head: Revision,
    /// The branch that it is to be merged into.
    pub base_branch: String,
    /// The tip of that branch, as far as the forge says.
    pub base: Option<Revision>,
    /// Whether it comes from another repository.
    pub is_fork: bool,
    /// The commit that it became on its base branch.
    pub merged_as: Option<Revision>,
}

/// Whether a pull request is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    /// It is.
    Open,
    /// It was merged.
    Merged,
    /// It was closed.
    Closed,
}

/// An account of a forge, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Author(i64);

/// A comment on a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Comment {
    /// Later ones have greater ones.
    id: u64,
    body: String,
    author: Option<Author>,
}

/// What is said at lines of the files of a commit, under one heading.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The same for every commit.
    pub name: &'a str,
    /// One line.
    pub title: &'a str,
    /// Some more.
    pub summary: &'a str,
    /// Whether it is a failure.
    pub is_failure: bool,
    /// What is said where.
    pub annotations: &'a [Annotation],
}

/// One repository of a forge.
pub struct Client {
    connection: Connection,
    kind: Kind,
    dialect: &'static dyn Dialect,
    /// As it stands in a path.
    repository: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connection, kind, repository, .. } = self;
        let mut shown = f.debug_struct("Client");
        shown.field("kind", kind).field("repository", repository).field("connection", connection).finish()
    }
}

impl Client {
    /// Makes a client. Nothing is sent yet. `repository` is `OWNER/NAME`, at GitLab also with groups or a number.
    ///
    /// # Errors
    ///
    /// If the token must not be sent to `api_url`, the name is none, or the token no token.
    pub fn new(
        kind: Kind,
        api_url: &Url,
        repository: &str,
        token: Secret,
    ) -> Result<Self, ForgeSettingsError> {
        Self::trusting(kind, api_url, repository, token, &[])
    }

    /// The same, trusting these certificates besides those of the machine.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn trusting(
        kind: Kind,
        api_url: &Url,
        repository: &str,
        token: Secret,
        certificates: &[Certificate],
    ) -> Result<Self, ForgeSettingsError> {
        let dialect = kind.dialect(api_url);
        let bad_name = || ForgeSettingsError::Repository(repository.chars().take(200).collect());
        let repository = dialect.repository(repository).ok_or_else(bad_name)?;
        let connection = Connection::new(api_url, token, certificates)?;
        Ok(Self { connection, kind, dialect, repository })
    }

    /// A pull request.
    ///
    /// # Errors
    ///
    /// If there is none of that number, or the forge does not say.
    pub async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        let ask = self.dialect.pull(&self.repository, number);
        let body = self.connection.send(&ask).await?;
        self.read(&ask, self.dialect.read_pull(&body))
    }

    /// Sets a status of a commit.
    ///
    /// # Errors
    ///
    /// If the forge does not know the commit, or the token may not.
    pub async fn set_status(&self, sha: &Revision, status: &Status) -> Result<(), ForgeError> {
        let ask = self.dialect.status(&self.repository, sha, status);
        match self.connection.send(&ask).await {
            Err(ForgeError { why: Why::Refused { status, said }, .. })
                if self.dialect.is_so_already(status, &said) =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Whether the forge shows what is said at lines of files, when it is told so.
    pub fn takes_annotations(&self) -> bool {
        self.kind == Kind::Github
    }

    /// Says something at lines of the files of a commit. A forge that has no such thing is not asked.
    ///
    /// # Errors
    ///
    /// If the forge does not know the commit, or the token may not: at GitHub only that of an app or a workflow may.
    pub async fn annotate(&self, sha: &Revision, check: &Check<'_>) -> Result<(), ForgeError> {
        if !self.takes_annotations() {
            return Ok(());
        }
        let ask = github::create_check(&self.repository, sha, check);
        let body = self.connection.send(&ask).await?;
        let id = self.read(&ask, github::read_check(&body))?;
        for more in check.annotations.chunks(github::ANNOTATIONS).skip(1) {
            self.connection.send(&github::extend_check(&self.repository, id, check, more)).await?;
        }
        Ok(())
    }

    fn read<T>(&self, ask: &Ask, read: Result<T, serde_json::Error>) -> Result<T, ForgeError> {
        let unreadable = |source| Why::Unreadable { kind: self.kind.name(), source };
        read.map_err(|source| self.connection.error(ask, unreadable(source)))
    }
}
