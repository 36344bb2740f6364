//! `gitops review`: what a job of a CI says on the pull request that it runs for.
//!
//! Everything is read from the clone that the job works in, as `gitops diff` does: nothing of the branch under review is
//! run, and neither Docker, the daemon nor a secret is asked. Only the result goes to the forge.

mod ci;
mod examine;
mod say;

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum as _;
use gitops_core::definition::{Gate, Saying};
use gitops_core::render::{annotations, review as words};
use gitops_core::review::{Comment, Marker, Outcome, State};
use reqwest::Url;

use super::client;
use super::diff::gate;
use super::error::{CliError, Exit};
use crate::config::layer::process_env;
use crate::forge::{Client, ForgeError, Kind, Pull};
use crate::store::token::Secret;
use ci::Ci;
use examine::{Examined, examine};
use say::{Words, patiently, refused, say};

/// Say on a pull request what it changes
///
/// In a comment that is kept up to date, a commit status and, where the forge has them, annotations at lines of files. Runs
/// in a job of the forge's CI and finds there which pull request it is about; flags say it elsewhere. The clone must have the history of both branches. `[review]` of gitops.toml on the branch that the pull request goes to says when a
/// comment is made and what lets the status fail.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops review --forge github\n  \
                  $ gitops review --forge gitlab --code-quality gl-code-quality.json\n  \
                  $ gitops review --forge forgejo --repository shop/estate --pull 7 --base main --head topic\n  \
                  $ gitops review --forge github --base main --head HEAD --dry-run\n\n\
                  The token is read from GITHUB_TOKEN, GITLAB_TOKEN, GITEA_TOKEN or FORGEJO_TOKEN, or from --token-file.")]
pub(super) struct Args {
    /// The kind of forge
    #[arg(long, value_enum)]
    forge: Kind,
    /// The repository there: OWNER/NAME, at GitLab also its number [default: as the CI says]
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// The number of the pull request [default: as the CI says]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    pull: Option<u64>,
    /// The address of the forge's API [default: as the CI says]
    #[arg(long, value_name = "URL")]
    api_url: Option<Url>,
    /// The branch that it is to be merged into, or its newest commit [default: as the CI or the forge says]
    #[arg(long, value_name = "REVISION")]
    base: Option<String>,
    /// The commit to review [default: as the CI or the forge says]
    #[arg(long, value_name = "REVISION")]
    head: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// Let the status fail, and end with 1, where the change does one of these or of what gitops.toml names
    #[arg(long, value_parser = gate(), value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<Gate>,
    /// End with 2 if something would change and nothing lets it fail
    #[arg(long)]
    exit_code: bool,
    /// The file with the token [default: the variable of the forge]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A certificate that the forge's is signed with, where the system does not know it
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Write mistakes and warnings into a file, as a Code Quality report of GitLab
    #[arg(long, value_name = "FILE")]
    code_quality: Option<PathBuf>,
    /// Print the comment, and ask nothing of the forge
    #[arg(long)]
    dry_run: bool,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a pull request has a number, such as 17".to_owned())
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let ci = Ci::read(args.forge, &process_env)?;
    if args.dry_run {
        let examined = examine(args, &ci, None)?;
        ci.print(&Marker::new(&[&examined.name]).on(&text(&examined)))?;
        report(args, &examined)?;
        return Ok(exit(args, &examined));
    }
    let client = connect(args, &ci)?;
    let number = ci.pull(args.pull)?;
    client::block_on(review(args, &ci, &client, number))
}

async fn review(args: &Args, ci: &Ci, client: &Client, number: u64) -> Result<Exit, CliError> {
    let pull = patiently(|| client.pull(number)).await.map_err(|error| refused(args.forge, error))?;
    let examined = examine(args, ci, Some(&pull))?;
    ci.print(&words::text(&examined.verdict))?;
    report(args, &examined)?;
    let marker = Marker::new(&[&examined.name]);
    let words = Words {
        number,
        marker: &marker,
        comment: comment(&examined, &pull),
        text: &text(&examined),
        verdict: &examined.verdict,
        name: &examined.name,
        annotations: &examined.verdict.annotations(&examined.folder),
        target: ci.run_url.as_deref(),
    };
    let failures = say(client, ci, &words).await;
    told(args, &examined, failures)?;
    Ok(exit(args, &examined))
}

/// What is done about the comment. One on a newer commit is left to the job that looks at that.
fn comment(examined: &Examined, pull: &Pull) -> Comment {
    if pull.head == examined.verdict.head {
        return examined.verdict.comment(examined.comment);
    }
    anstream::eprintln!(
        "note: the pull request is at {} by now, so there is no comment on {}",
        pull.head.short(),
        examined.verdict.head.short()
    );
    Comment::Leave
}

/// What could not be said. A fork gets a token that may say nothing, and that is no failure of its change.
fn told(args: &Args, examined: &Examined, failures: Vec<ForgeError>) -> Result<(), CliError> {
    let mut first = None;
    for error in failures {
        if examined.is_fork && error.is_denied() {
            anstream::eprintln!("note: {error}: the token of a job for a fork may not");
        } else if first.is_none() {
            first = Some(refused(args.forge, error));
        } else {
            refused(args.forge, error).print();
        }
    }
    first.map_or(Ok(()), Err)
}

fn text(examined: &Examined) -> String {
    words::comment(&examined.verdict, &examined.name)
}

/// Writes the report that the forge's CI reads.
fn report(args: &Args, examined: &Examined) -> Result<(), CliError> {
    let Some(path) = &args.code_quality else { return Ok(()) };
    let report = annotations::code_quality(&examined.verdict.annotations(&examined.folder));
    let failed = |error| CliError::because(format!("cannot write {}", path.display()), error);
    fs::write(path, report).map_err(failed)
}

fn exit(args: &Args, examined: &Examined) -> Exit {
    let verdict = &examined.verdict;
    let changes = matches!(&verdict.outcome, Outcome::Compared(diff) if !diff.is_empty());
    match verdict.state() {
        State::Failure => Exit::Failed,
        State::Pending | State::Success if args.exit_code && changes => Exit::Changes,
        State::Pending | State::Success => Exit::Done,
    }
}

fn connect(args: &Args, ci: &Ci) -> Result<Client, CliError> {
    let url = ci.api_url(args.api_url.as_ref())?;
    let repository = ci.repository(args.repository.as_deref())?;
    let ca = args.ca_file.clone().or_else(|| ci.ca_file.clone());
    let certificates = match &ca {
        Some(path) => client::certificates(path)?,
        None => Vec::new(),
    };
    let client = Client::trusting(args.forge, &url, &repository, token(args)?, &certificates);
    client.map_err(|error| CliError::because(format!("cannot speak to {}", args.forge), error))
}

/// The variable with the token.
fn token_variable(kind: Kind) -> String {
    let name = kind.to_possible_value().map(|value| value.get_name().to_uppercase());
    format!("{}_TOKEN", name.unwrap_or_default())
}

fn token(args: &Args) -> Result<Secret, CliError> {
    let variable = token_variable(args.forge);
    let text = match (&args.token_file, process_env(&variable)) {
        (Some(path), _) => fs::read_to_string(path).map_err(|error| {
            CliError::because(format!("cannot read the token from {}", path.display()), error)
        })?,
        (None, Some(token)) => token.to_string_lossy().into_owned(),
        (None, None) => {
            return Err(CliError::new(format!("there is no token for {}", args.forge)).hint(format!(
                "set {variable} for this step of the job, or name a file with --token-file; \
                 --dry-run needs none"
            )));
        }
    };
    let token = text.trim();
    if token.is_empty() {
        return Err(CliError::new(format!("the token for {} is empty", args.forge)));
    }
    Ok(Secret::presented(token))
}

/// When a comment is made where the main branch has no settings yet.
const FIRST: Saying = Saying::Always;
