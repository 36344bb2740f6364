//! What the CI of a forge says of the pull request that a job runs for.
//!
//! GitHub Actions, and the Actions of Gitea and Forgejo that took over its variables, write the event into a file;
//! `GITHUB_SHA` is a merge that nobody made, so the commit under review is read from there. GitLab CI has a variable for
//! everything. What a flag says goes before what is found here.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use getrandom::fill;
use reqwest::Url;
use serde::Deserialize;

use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::config::layer::Env;
use crate::forge::{Kind, names_a_branch};

/// An event is as large as GitHub's webhooks at most.
const MAX_EVENT: u64 = 25 << 20;

/// What is known of the pull request. What the CI does not say is none.
#[derive(Debug)]
pub(super) struct Ci {
    kind: Kind,
    api_url: Option<String>,
    repository: Option<String>,
    pull: Option<u64>,
    /// The branch that it goes to, or its newest commit: the first that the clone has.
    pub(super) bases: Vec<String>,
    /// The commit under review.
    pub(super) head: Option<String>,
    /// Whether it comes from another repository.
    pub(super) is_fork: bool,
    /// Where the job can be looked at.
    pub(super) run_url: Option<String>,
    /// Certificates that the runner trusts the forge by.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether lines of the output can be commands to the runner.
    pub(super) obeys_output: bool,
}

/// The event of a job that runs for a pull request, as far as it is read.
#[derive(Debug, Default, Deserialize)]
struct Event {
    pull_request: Option<PullRequest>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    head: End,
    base: End,
}

impl PullRequest {
    /// Whether it comes from a branch of the repository that it goes to.
    fn is_within(&self) -> bool {
        let Self { head, base, number: _ } = self;
        head.repo.is_some() && head.repo == base.repo && names_a_branch(&head.r#ref)
    }
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(default)]
    r#ref: String,
    sha: String,
    /// None where the repository was deleted.
    repo: Option<Repository>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Repository {
    id: i64,
}

impl Ci {
    /// Reads the variables that CI for this kind of forge sets.
    pub(super) fn read(kind: Kind, env: Env<'_>) -> Result<Self, CliError> {
        let text = |name: &str| env(name).map(|value| value.to_string_lossy().into_owned());
        match kind {
            Kind::Gitlab => Ok(Self::gitlab(&text)),
            Kind::Github | Kind::Gitea | Kind::Forgejo => {
                let event = match env("GITHUB_EVENT_PATH") {
                    Some(path) => event(&PathBuf::from(path))?,
                    None => Event::default(),
                };
                Ok(Self::actions(kind, event, &text))
            }
        }
    }

    fn actions(kind: Kind, event: Event, text: &dyn Fn(&str) -> Option<String>) -> Self {
        let repository = text("GITHUB_REPOSITORY");
        // Gitea and Forgejo count the runs of a repository, GitHub all of them.
        let run = text(if kind == Kind::Github { "GITHUB_RUN_ID" } else { "GITHUB_RUN_NUMBER" });
        let run_url = match (text("GITHUB_SERVER_URL"), &repository, run) {
            (Some(server), Some(repository), Some(run)) => {
                Some(format!("{server}/{repository}/actions/runs/{run}"))
            }
            _ => None,
        };
        let default_url = (kind == Kind::Github).then(|| "https://api.github.com".to_owned());
        let pull = event.pull_request;
        Self {
            kind,
            api_url: text("GITHUB_API_URL").or(default_url),
            repository,
            pull: pull.as_ref().map(|pull| pull.number),
            bases: pull.iter().map(|pull| pull.base.sha.clone()).collect(),
            head: pull.as_ref().map(|pull| pull.head.sha.clone()),
            is_fork: pull.is_some_and(|pull| !pull.is_within()),
            run_url,
            ca_file: None,
            obeys_output: text("GITHUB_ACTIONS").is_some(),
        }
    }

    fn gitlab(text: &dyn Fn(&str) -> Option<String>) -> Self {
        let branch =
            text("CI_MERGE_REQUEST_TARGET_BRANCH_NAME").map(|name| format!("refs/remotes/origin/{name}"));
        let tips =
            [text("CI_MERGE_REQUEST_TARGET_BRANCH_SHA"), branch, text("CI_MERGE_REQUEST_DIFF_BASE_SHA")];
        let project = text("CI_MERGE_REQUEST_PROJECT_ID");
        let source = text("CI_MERGE_REQUEST_SOURCE_PROJECT_ID");
        Self {
            kind: Kind::Gitlab,
            api_url: text("CI_API_V4_URL"),
            is_fork: source.is_some_and(|source| project.as_ref() != Some(&source)),
            repository: project.or_else(|| text("CI_PROJECT_ID")),
            pull: text("CI_MERGE_REQUEST_IID").and_then(|number| number.parse().ok()),
            bases: tips.into_iter().flatten().collect(),
            head: text("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").or_else(|| text("CI_COMMIT_SHA")),
            run_url: text("CI_JOB_URL"),
            ca_file: text("CI_SERVER_TLS_CA_FILE").map(PathBuf::from),
            obeys_output: false,
        }
    }

    /// The address of the API.
    pub(super) fn api_url(&self, flag: Option<&Url>) -> Result<Url, CliError> {
        if let Some(url) = flag {
            return Ok(url.clone());
        }
        let variable = if self.kind == Kind::Gitlab { "CI_API_V4_URL" } else { "GITHUB_API_URL" };
        let text =
            self.api_url.as_ref().ok_or_else(|| self.missing("address of the API", "--api-url", variable))?;
        text.parse().map_err(|error| CliError::because(format!("{variable} is no address"), error))
    }

    /// The repository of the pull request.
    pub(super) fn repository(&self, flag: Option<&str>) -> Result<String, CliError> {
        let variable =
            if self.kind == Kind::Gitlab { "CI_MERGE_REQUEST_PROJECT_ID" } else { "GITHUB_REPOSITORY" };
        let name = flag.or(self.repository.as_deref());
        name.map(str::to_owned).ok_or_else(|| self.missing("repository", "--repository", variable))
    }

    /// Its number.
    pub(super) fn pull(&self, flag: Option<u64>) -> Result<u64, CliError> {
        let variable = if self.kind == Kind::Gitlab { "CI_MERGE_REQUEST_IID" } else { "GITHUB_EVENT_PATH" };
        flag.or(self.pull).ok_or_else(|| self.missing("pull request", "--pull", variable))
    }

    /// What neither a flag nor the CI says.
    pub(super) fn missing(&self, what: &str, flag: &str, variable: &str) -> CliError {
        let job = match self.kind {
            Kind::Gitlab => "with `rules: [{ if: $CI_PIPELINE_SOURCE == \"merge_request_event\" }]`",
            Kind::Github | Kind::Gitea | Kind::Forgejo => "for the event `pull_request`",
        };
        CliError::new(format!("it is not said which {what}: neither by {flag} nor by {variable}"))
            .hint(format!("run it in a job {job}, or give {flag}"))
    }

    /// Prints text that others wrote parts of, so that the runner takes no line of it for a command.
    pub(super) fn print(&self, text: &str) -> Result<(), CliError> {
        if !self.obeys_output {
            return print(text);
        }
        let mut bits = [0; 16];
        fill(&mut bits).map_err(|error| CliError::because("cannot make a random word", error))?;
        let word = format!("{:032x}", u128::from_be_bytes(bits));
        let end = if text.ends_with('\n') { "" } else { "\n" };
        print(&format!("::stop-commands::{word}\n{text}{end}::{word}::\n"))
    }
}

fn event(path: &PathBuf) -> Result<Event, CliError> {
    let what = || format!("cannot read the event in {}, which GITHUB_EVENT_PATH names", path.display());
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| CliError::because(what(), error))?;
    file.take(MAX_EVENT).read_to_end(&mut text).map_err(|error| CliError::because(what(), error))?;
    serde_json::from_slice(&text).map_err(|error| CliError::because(what(), error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_branch_of_the_repository_itself_is_no_fork() {
        for (head, is_fork) in [
            (json!({ "ref": "topic", "sha": "a", "repo": { "id": 12 } }), false),
            (json!({ "ref": "topic", "sha": "a", "repo": { "id": 99 } }), true),
            (json!({ "ref": "topic", "sha": "a", "repo": null }), true),
            // Pushed to `refs/for/main`, which needs no right to write.
            (json!({ "ref": "refs/pull/7/head", "sha": "a", "repo": { "id": 12 } }), true),
            (json!({ "ref": "", "sha": "a", "repo": { "id": 12 } }), true),
            (json!({ "sha": "a", "repo": { "id": 12 } }), true),
        ] {
            let base = json!({ "ref": "main", "sha": "b", "repo": { "id": 12 } });
            let event = json!({ "pull_request": { "number": 7, "head": head, "base": base } });
            let event: Event = serde_json::from_value(event).expect("an event");
            let ci = Ci::actions(Kind::Gitea, event, &|_| None);
            assert_eq!(ci.is_fork, is_fork, "{head}");
        }
    }
}
