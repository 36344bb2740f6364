//! What is said goes to the forge here: each word of it for itself, so that a comment that is refused keeps no status back.

use std::time::Duration;

use gitops_core::render::{annotations, review as words};
use gitops_core::review::{self, Annotation, Comment, Marker, State, Status, Verdict};
use tokio::time::{Instant, sleep};

use super::ci::Ci;
use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::forge::{Check, Client, ForgeError, Kind, Stuck};

/// How long a job waits for a forge in all, for each thing that it asks.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it asks in all, however short the pauses are that the forge wants.
const ATTEMPTS: usize = 10;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What is to be said.
pub(super) struct Words<'a> {
    pub(super) number: u64,
    pub(super) marker: &'a Marker,
    pub(super) comment: Comment,
    pub(super) text: &'a str,
    pub(super) verdict: &'a Verdict,
    pub(super) name: &'a str,
    pub(super) annotations: &'a [Annotation],
    pub(super) target: Option<&'a str>,
}

/// Says it, and returns what was refused.
pub(super) async fn say(client: &Client, ci: &Ci, words: &Words<'_>) -> Vec<ForgeError> {
    let said = [comment(client, words).await, status(client, words).await, annotate(client, ci, words).await];
    said.into_iter().filter_map(Result::err).collect()
}

async fn comment(client: &Client, words: &Words<'_>) -> Result<(), ForgeError> {
    let Words { number, marker, text, .. } = *words;
    let stuck = match words.comment {
        Comment::Leave => return Ok(()),
        Comment::Make => patiently(|| client.upsert_comment(number, marker, text)).await?,
        Comment::Refresh => patiently(|| client.refresh_comment(number, marker, text)).await?,
    };
    anstream::eprintln!(
        "the comment on {number} {}",
        match stuck {
            Stuck::Created => "is made",
            Stuck::Updated => "is brought up to date",
            Stuck::Unchanged => "says so already",
            Stuck::Absent => "is not needed",
        }
    );
    Ok(())
}

async fn status(client: &Client, words: &Words<'_>) -> Result<(), ForgeError> {
    let verdict = words.verdict;
    let context = review::context(words.name);
    let mut status = Status::new(verdict.state(), context, &words::summary(verdict));
    status.target = words.target.map(str::to_owned);
    patiently(|| client.set_status(&verdict.head, &status)).await
}

/// At GitHub, where the token may not make a check run, the runner can; where there is none, the comment has to do.
async fn annotate(client: &Client, ci: &Ci, words: &Words<'_>) -> Result<(), ForgeError> {
    let summary = words::summary(words.verdict);
    let check = Check {
        name: &review::context(words.name),
        title: &summary,
        summary: &summary,
        is_failure: words.verdict.state() == State::Failure,
        annotations: words.annotations,
    };
    if words.annotations.is_empty() || !client.takes_annotations() {
        return Ok(());
    }
    match patiently(|| client.annotate(&words.verdict.head, &check)).await {
        Err(error) if error.later().is_none() && ci.obeys_output => {
            // The runner reads these lines; a reader that is gone reads none.
            let _ = print(&annotations::workflow_commands(words.annotations));
            Ok(())
        }
        Err(error) if error.is_denied() || error.is_missing() => {
            anstream::eprintln!("note: {error}: only the token of an app or a workflow may");
            Ok(())
        }
        other => other,
    }
}

/// Tries until it works, time cannot mend it, or there was enough of it.
pub(super) async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ForgeError>
where
    F: Future<Output = Result<T, ForgeError>>,
{
    let end = Instant::now() + PATIENCE;
    let (mut pause, mut left) = (FIRST_PAUSE, ATTEMPTS);
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        left -= 1;
        let Some(after) = error.later().filter(|_| left > 0) else { return Err(error) };
        let wait = after.and_then(|after| Duration::try_from(after).ok()).unwrap_or(pause);
        if Instant::now() + wait > end {
            return Err(error);
        }
        anstream::eprintln!("{error}; trying again in {} s", wait.as_secs());
        sleep(wait.max(Duration::from_millis(100))).await;
        pause *= 2;
    }
}

/// A refusal of the forge, with what to do about it.
pub(super) fn refused(kind: Kind, error: ForgeError) -> CliError {
    let hint = match kind {
        Kind::Github => {
            "a workflow needs `permissions: { contents: read, pull-requests: write, statuses: write, checks: write }`"
        }
        Kind::Gitlab => {
            "the token needs the scope `api` and the role Developer in the project; the token of a job does not do"
        }
        Kind::Gitea | Kind::Forgejo => {
            "the token needs to read users, and to write issues and the repository: `read:user`, `write:issue`, \
             `write:repository`"
        }
    };
    let is_about_token = error.is_denied() || error.is_missing();
    let told = CliError::because(error.to_string(), error.why);
    if is_about_token { told.hint(hint) } else { told }
}
