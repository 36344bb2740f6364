//! `gitops diff … --live`: what a change would do to the fleet as it is now, and how the fleet stands to its plans.
//!
//! The daemon knows the fleet, and this machine the change, which may not be pushed. So what differs from the deployed
//! revision is sent, and nothing else: the daemon has the rest.

use std::path::Path;
use std::time::Duration;

use gitops_core::diff::Diff;
use gitops_core::fleet::SourceStatus;
use gitops_core::fleet::drift::Drift;
use gitops_core::name::Revision;
use gitops_core::render::{self, json};
use gitops_core::tree::patch::Patch;
use gitops_core::tree::{Limits, Tree};

use super::{Format, show};
use crate::api::wire::{DiffAnswer, DiffRequest, Only};
use crate::cli::client::{Client, Connection, Refused};
use crate::cli::error::{CliError, Exit};
use crate::cli::load::folder;
use crate::cli::output::{form, print};
use crate::cli::pager;
use crate::git::{GitError, Repository, Scope, TreeCache, worktree};

/// Against the fleet instead of a revision
#[derive(Debug, clap::Args)]
pub(super) struct Live {
    /// Compare with the fleet as it is now: a revision with what nodes hold, or, without one, what nodes report with what
    /// they should be
    #[arg(long)]
    live: bool,
    /// Compare the files as they are with the fleet
    #[arg(long, requires = "live", conflicts_with = "range")]
    work_tree: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Live {
    /// Whether it is asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.live
    }
}

/// The daemon answers a preview of ten thousand changed services within seconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(args: &super::Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.live.connection)?;
    let super::Narrow { service, node, environment } = args.narrow.clone();
    let only = Only { service, node, environment };
    let head = match (&args.range, &args.head) {
        (Some(_), Some(_)) => None,
        (Some(range), None) if range.contains("..") => None,
        (range, None) => Some(range.as_deref()),
        (None, Some(_)) => None,
    };
    let Some(head) = head else {
        let message = "with `--live` one revision is compared with the fleet, and not two with each other";
        return Err(CliError::new(message).hint("`gitops diff HEAD --live`"));
    };
    if head.is_none() && !args.live.work_tree {
        return drift(args, &client, &only).await;
    }
    let diff = preview(&client, &args.path, head, &only).await?;
    show(&diff, args.output, &args.pager)?;
    if args.output == Format::Text && diff.plan.is_some() {
        let id = diff.plan.map(|id| id.to_string()).unwrap_or_default();
        anstream::eprintln!("`gitops sync --plan {id}` deploys just this, once it is pushed");
    }
    args.verdict.of(&diff)
}

async fn drift(args: &super::Args, client: &Client, only: &Only) -> Result<Exit, CliError> {
    if !args.verdict.fail_on.is_empty() {
        return Err(CliError::new("`--fail-on` is about changes, and this is what nodes report")
            .hint("`--exit-code` ends with 2 where something is not in sync"));
    }
    let fields = [
        ("service", only.service.as_ref().map(ToString::to_string)),
        ("node", only.node.as_ref().map(ToString::to_string)),
        ("environment", only.environment.as_ref().map(ToString::to_string)),
    ];
    let query: Vec<String> =
        fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
    let drift: Drift = client.get(&format!("/v1/drift?{}", query.join("&"))).await?;
    match args.output {
        Format::Json => print(&json::document(&drift))?,
        Format::Markdown => print(&render::drift::markdown(&drift))?,
        Format::Text => pager::print(&render::drift::text(&drift), &args.pager)?,
    }
    let is_pending = args.verdict.exit_code && !drift.is_empty();
    Ok(if is_pending { Exit::Changes } else { Exit::Done })
}

/// What deploying `head`, or the files as they are, would do. Where another revision was deployed in between, it is looked
/// at once more.
async fn preview(client: &Client, dir: &Path, head: Option<&str>, only: &Only) -> Result<Diff, CliError> {
    let mut attempts = 0..2;
    loop {
        let last = attempts.next().is_none_or(|attempt| attempt > 0);
        let source: SourceStatus = client.get("/v1/source").await?;
        let request = request(dir, head, source.deployed, only)?;
        match client.ask("/v1/diff", &request, PATIENCE).await? {
            Ok(DiffAnswer::Diff(diff)) => return Ok(*diff),
            Ok(DiffAnswer::Invalid(findings)) => {
                anstream::eprint!("{}", render::diagnostics::text(&findings, form(&std::io::stderr())));
                let side = head.unwrap_or("the work tree");
                return Err(CliError::new(format!("{side} cannot be deployed"))
                    .hint("mend the mistakes above; `gitops validate` shows them again"));
            }
            Err(Refused { code, .. }) if code == "base-moved" && !last => {}
            Err(refused) => return Err(refused.into()),
        }
    }
}

fn request(
    dir: &Path,
    head: Option<&str>,
    base: Option<Revision>,
    only: &Only,
) -> Result<DiffRequest, CliError> {
    let here = dir.display();
    let failed = |error: GitError| CliError::because(format!("cannot read the definitions in {here}"), error);
    let dir = dir.canonicalize().map_err(|error| CliError::because(format!("cannot open {here}"), error))?;
    let repository = Repository::discover(&dir).map_err(failed)?;
    let scope = Scope { folder: folder(&repository, &dir), limits: Limits::default() };
    let revision = head.map(|head| repository.resolve(head)).transpose().map_err(failed)?;
    let changes = changes(&repository, &dir, base.as_ref(), revision.as_ref(), &scope);
    let changes = match (changes, &revision) {
        (Ok(changes), _) => Some(changes),
        // The daemon may have the revision itself.
        (Err(GitError::NoSuchCommit(_)), Some(_)) => None,
        (Err(GitError::NoSuchCommit(missing)), None) => {
            let message = format!("{} is deployed, and this repository does not have it", missing.short());
            return Err(CliError::new(message).hint("`git fetch`, and try again"));
        }
        (Err(error), _) => return Err(failed(error)),
    };
    let base = base.filter(|_| changes.is_some());
    Ok(DiffRequest { revision, base, changes, only: only.clone() })
}

/// What makes the head of what is deployed: only what differs is read, where both are revisions.
fn changes(
    repository: &Repository,
    dir: &Path,
    base: Option<&Revision>,
    head: Option<&Revision>,
    scope: &Scope,
) -> Result<Patch, GitError> {
    if let (Some(base), Some(head)) = (base, head) {
        return repository.changes(base, head, scope);
    }
    let cache = &mut TreeCache::default();
    let base = base.map_or_else(|| Ok(Tree::default()), |base| repository.tree(base, scope, cache))?;
    let head = match head {
        Some(head) => repository.tree(head, scope, cache)?,
        None => worktree::tree(dir, scope.limits)?,
    };
    Ok(Patch::between(&base, &head))
}
