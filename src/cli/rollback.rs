//! `gitops rollback` and `gitops unpin`
//!
//! What should run is only ever said in Git, so going back is a commit like any other: this writes it, shows what it would
//! do, and leaves pushing to whoever looked at it. Where there is no time for that, `--pin` has the fleet go back at once,
//! and stay there visibly until somebody ends it.

use std::io::stderr;
use std::path::{Path, PathBuf};

use gitops_core::decision::Held;
use gitops_core::diff::{self, Diff};
use gitops_core::name::{Revision, ServiceName};
use gitops_core::reconcile::Definitions;
use gitops_core::release::{ReleasePage, ReleaseView};
use gitops_core::render::{self, json};
use serde::Serialize;

use super::client::{Client, Connection, block_on};
use super::error::{CliError, Exit};
use super::hold::{self, Reason, Term, Which};
use super::load::{Reader, folder, opened};
use super::output::{Format, form, show, width};
use super::promote;
use crate::clock;
use crate::git::{Draft, Edit, GitError, Repository};

/// Write a commit that goes back to what was deployed before, on a branch, and show what it would do
///
/// A service goes back to what its folder was before the newest release that changed it; with --release, to what it was
/// in that release. Without a service, everything goes back. Your files and your branch stay as they are, and nothing is
/// pushed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops rollback web\n  $ gitops rollback web --release 12\n  \
                  $ gitops rollback --release 12\n  $ gitops rollback --release 12 --pin -m \"INC-7: 500s since 13\"")]
pub(super) struct Args {
    /// Only this service
    #[arg(required_unless_present_any = ["release", "to"])]
    service: Option<ServiceName>,
    /// Back to what this release deployed
    #[arg(long, value_name = "NUMBER", conflicts_with = "to")]
    release: Option<u64>,
    /// Back to this commit; asks no daemon
    #[arg(long, value_name = "COMMIT")]
    to: Option<String>,
    /// Have the fleet go back at once and stay there until `gitops unpin`, whatever is pushed; writes no commit
    #[arg(long, conflicts_with_all = ["service", "branch", "output"], requires = "reason")]
    pin: bool,
    /// Why the fleet is pinned: one sentence for everybody whom it stops
    #[arg(short = 'm', long = "message", id = "reason", value_name = "REASON", requires = "pin")]
    reason: Option<String>,
    #[command(flatten)]
    term: Term,
    /// The branch to make [default: rollback/SERVICE-to-COMMIT]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The folder with gitops.toml, in a clone of the definitions repository
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Let the fleet follow the branch again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops unpin")]
pub(super) struct UnpinArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    connection: Connection,
}

/// What was done.
#[derive(Serialize)]
struct RolledBack<'a> {
    service: Option<&'a ServiceName>,
    to: &'a Revision,
    base: &'a Revision,
    /// None where everything is as it was.
    branch: Option<&'a str>,
    revision: Option<&'a Revision>,
    diff: &'a Diff,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    if args.term.is_given() && !args.pin {
        return Err(CliError::new("--for and --until say how long the fleet is pinned").hint("add --pin"));
    }
    let to = block_on(target(args))?;
    if let (true, Some(reason)) = (args.pin, &args.reason) {
        let (what, reason) = (Held::Pin { revision: to }, Reason { reason: reason.clone() });
        return block_on(hold::begin(&args.connection, what, &reason, Some(&args.term)));
    }
    let dir = opened(&args.path)?;
    let repository = Repository::discover(&dir).map_err(failed)?;
    // That it is here: a release may be of a commit that was never fetched.
    repository.resolve(to.as_str()).map_err(|error| {
        CliError::because(format!("commit {} is not in this clone", to.short()), error)
            .hint("`git fetch` brings it")
    })?;
    write_back(args, &repository, &dir, &to)
}

pub(super) async fn unpin(args: &UnpinArgs) -> Result<Exit, CliError> {
    let is_pin = |held: &Held| matches!(held, Held::Pin { .. });
    hold::end(&args.connection, &args.which, "the fleet", is_pin).await
}

/// The commit to go back to.
async fn target(args: &Args) -> Result<Revision, CliError> {
    if let Some(spec) = &args.to {
        return Repository::discover(&opened(&args.path)?)
            .and_then(|repo| repo.resolve(spec))
            .map_err(failed);
    }
    let client = Client::new(&args.connection)?;
    if let Some(number) = args.release {
        let view: ReleaseView = client.get(&format!("/v1/releases/{number}")).await?;
        return Ok(view.release.release.revision);
    }
    let service = args.service.as_ref().map_or(String::new(), |service| format!("&service={service}"));
    let page: ReleasePage = client.get(&format!("/v1/releases?limit=1{service}")).await?;
    let before = page.releases.first().and_then(|entry| entry.release.release.before.clone());
    before.ok_or_else(|| {
        CliError::new("no release that is kept changed it, so what was before is not known")
            .hint("`gitops history` lists the releases: name one with --release")
    })
}

fn write_back(args: &Args, repository: &Repository, dir: &Path, to: &Revision) -> Result<Exit, CliError> {
    let mut reader = Reader::default();
    let base = valid(&mut reader, &args.path, "HEAD", "HEAD has mistakes, so nothing goes back from it")?;
    let name = args.service.as_ref().map_or("fleet", |service| service.as_str());
    let branch = args.branch.clone().unwrap_or_else(|| format!("rollback/{name}-to-{}", to.short()));
    let folder = [
        folder(repository, dir),
        args.service.as_ref().map_or(String::new(), |name| format!("services/{name}")),
    ];
    let path =
        folder.iter().filter(|part| !part.is_empty()).map(|part| &**part).collect::<Vec<_>>().join("/");
    if let Some(service) = &args.service {
        was_there(&mut reader, &args.path, service, to)?;
    }
    let message = format!("{name}: back to {}\n\nAs of commit {to}.\n", to.short());
    let edit = Edit::Folder { path: &path, from: to };
    let draft = Draft { parent: &base.revision, edit, branch: &branch, message: &message };
    repository.check_new_branch(&branch).map_err(failed)?;
    if repository.changes_nothing(&draft).map_err(failed)? {
        return told(args, (to, base), None, base, false);
    }
    let revision = repository.commit_for_branch(&draft).map_err(failed)?;
    let why = "what it goes back to has mistakes today, so no branch was made";
    let next = valid(&mut reader, &args.path, revision.as_str(), why)?;
    repository.make_branch(&branch, &revision).map_err(failed)?;
    told(args, (to, base), Some(&branch), next, repository.signs_commits())
}

fn failed(error: GitError) -> CliError {
    CliError::because("cannot go back", error)
}

/// The definitions at a commit, if they can be deployed.
fn valid(
    reader: &mut Reader,
    dir: &Path,
    spec: &str,
    otherwise: &str,
) -> Result<&'static Definitions, CliError> {
    reader.definitions(dir, Some(spec))?.map_err(|diagnostics| {
        anstream::eprint!("{}", render::diagnostics::text(&diagnostics, form(&stderr())));
        CliError::new(otherwise).hint("mend what these name, or go back to another commit")
    })
}

/// That going back does not remove the service.
fn was_there(reader: &mut Reader, dir: &Path, service: &ServiceName, to: &Revision) -> Result<(), CliError> {
    let then = reader.past_definitions(dir, Some(to.as_str()))?;
    match then.map_or(true, |then| then.catalog.services.contains_key(service)) {
        true => Ok(()),
        false => Err(CliError::new(format!("there was no service `{service}` at commit {}", to.short()))
            .hint("`gitops history` lists the releases: name one that had it with --release")),
    }
}

fn told(
    args: &Args,
    (to, base): (&Revision, &Definitions),
    branch: Option<&str>,
    next: &Definitions,
    is_unsigned: bool,
) -> Result<Exit, CliError> {
    let head = branch.unwrap_or("HEAD");
    let scope = diff::Scope::at(clock::now());
    let diff = diff::compare(&base.side(base.revision.as_str()), &next.side(head), &scope);
    let service = args.service.as_ref();
    if args.output == Format::Json {
        let (base, revision) = (&base.revision, branch.map(|_| &next.revision));
        return show(&json::document(&RolledBack { service, to, base, branch, revision, diff: &diff }));
    }
    let what = service.map_or("everything".to_owned(), |service| format!("`{service}`"));
    let Some(branch) = branch else {
        return show(&format!("{what} is at HEAD as it was at {}: nothing to go back\n", to.short()));
    };
    let mut text = format!("{what} goes back to {} on the branch `{branch}`.\n", to.short());
    text.push_str(&format!("\nWhat the branch changes, as `gitops diff HEAD..{branch}` shows it:\n\n"));
    text.push_str(&render::diff::text(&diff, width()));
    text.push_str(&format!("\nNothing is pushed yet: `git push origin {branch}`\n"));
    if is_unsigned {
        text.push_str(&promote::unsigned(branch));
    }
    show(&text)
}
