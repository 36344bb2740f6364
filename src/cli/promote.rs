//! `gitops promote`

use std::io::stderr;
use std::path::PathBuf;
use std::sync::Arc;

use gitops_core::diff::{self, Diff};
use gitops_core::name::Revision;
use gitops_core::plan::Reason;
use gitops_core::promote::{Promotion, Request, promotion};
use gitops_core::reconcile::Definitions;
use gitops_core::render::{self, json};
use serde::Serialize;

use super::error::{CliError, Exit};
use super::load::{Reader, folder};
use super::output::{Format, form, show, width};
use crate::clock;
use crate::git::{Draft, Edit, GitError, Repository};

/// Carry what a service runs in one environment over to the next, as a commit on a branch
///
/// Takes `compose`, `profiles`, `features` and `variables` from what the service gives otherwise in one environment to
/// what it gives in the other, starting from HEAD. Your files and your branch stay as they are, and nothing is pushed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops promote web --from staging --to production\n  \
                  $ gitops promote web --from staging --to production --variable TAG")]
pub(super) struct Args {
    /// The service
    service: String,
    /// The environment that runs it already
    #[arg(long, value_name = "ENVIRONMENT")]
    from: String,
    /// The environment that comes next
    #[arg(long, value_name = "ENVIRONMENT")]
    to: String,
    /// Only this variable, and nothing else; may be given several times
    #[arg(long = "variable", value_name = "NAME")]
    variables: Vec<String>,
    /// The branch to make [default: promote/SERVICE-to-ENVIRONMENT]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What was done.
#[derive(Serialize)]
struct Promoted<'a> {
    service: &'a str,
    from: &'a str,
    to: &'a str,
    /// None where there was nothing to promote.
    branch: Option<&'a str>,
    base: &'a Revision,
    revision: Option<&'a Revision>,
    carried: &'a [Reason],
    diff: &'a Diff,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let mut reader = Reader::default();
    let base = base(&mut reader, args)?;
    let Args { service, from, to, variables, .. } = args;
    let request = Request { service, from, to, variables };
    let promotion = promotion(&base.catalog, &request).map_err(|error| {
        let help = error.help();
        CliError::because(format!("cannot promote `{service}`"), error).hint(help)
    })?;
    let Some(promotion) = promotion else { return nothing(args, base) };
    let next = valid(&mut reader, base, &promotion)?;
    let branch = args.branch.clone().unwrap_or_else(|| format!("promote/{service}-to-{to}"));
    let (revision, is_unsigned) = commit(args, base, &promotion, &branch)?;
    let diff = compared(base, next, &branch);
    match args.output {
        Format::Json => show(&json::document(&Promoted {
            service,
            from,
            to,
            branch: Some(&branch),
            base: &base.revision,
            revision: Some(&revision),
            carried: &promotion.changes,
            diff: &diff,
        })),
        Format::Text => show(&text(args, &promotion, &diff, &branch, is_unsigned)),
    }
}

fn compared(base: &Definitions, next: &Definitions, head: &str) -> Diff {
    diff::compare(&base.side(base.revision.as_str()), &next.side(head), &diff::Scope::at(clock::now()))
}

/// The commit that `HEAD` names, without mistakes.
fn base(reader: &mut Reader, args: &Args) -> Result<&'static Definitions, CliError> {
    reader.definitions(&args.path, Some("HEAD"))?.map_err(|diagnostics| {
        anstream::eprint!("{}", render::diagnostics::text(&diagnostics, form(&stderr())));
        CliError::new("HEAD has mistakes, so nothing is promoted from it")
            .hint("mend them, and commit that first")
    })
}

/// The definitions with the promotion in them: before anything is written.
fn valid(
    reader: &mut Reader,
    base: &Definitions,
    promotion: &Promotion,
) -> Result<&'static Definitions, CliError> {
    reader.changed(base, &promotion.path, &promotion.content).map_err(|diagnostics| {
        anstream::eprint!("{}", render::diagnostics::text(&diagnostics, form(&stderr())));
        CliError::new("the promoted definitions have mistakes, so no branch was made")
            .hint("these are mistakes of the result: mend what they name, commit it, and promote again")
    })
}

/// Writes the commit; says whether Git would have signed it.
fn commit(
    args: &Args,
    base: &Definitions,
    promotion: &Promotion,
    branch: &str,
) -> Result<(Revision, bool), CliError> {
    let failed = |error: GitError| CliError::because("cannot make the branch", error);
    let dir = args.path.canonicalize();
    let dir =
        dir.map_err(|error| CliError::because(format!("cannot open {}", args.path.display()), error))?;
    let repository = Repository::discover(&dir).map_err(failed)?;
    let path = match folder(&repository, &dir).as_str() {
        "" => promotion.path.to_string(),
        folder => format!("{folder}/{}", promotion.path),
    };
    let message = message(args, promotion);
    let draft = Draft {
        parent: &base.revision,
        edit: Edit::File { path: &path, content: promotion.content.as_bytes() },
        branch,
        message: &message,
    };
    let revision = repository.commit_to_new_branch(&draft).map_err(failed)?;
    Ok((revision, repository.signs_commits()))
}

/// What is promoted, line by line.
fn message(args: &Args, promotion: &Promotion) -> String {
    let Args { service, from, to, .. } = args;
    let value = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("(none)").to_owned();
    let line = |one: &Reason| format!("{}: {} -> {}\n", one.field, value(&one.old), value(&one.new));
    let lines: String = promotion.changes.iter().map(line).collect();
    format!("{service}: promote from {from} to {to}\n\n{lines}")
}

fn text(args: &Args, promotion: &Promotion, diff: &Diff, branch: &str, is_unsigned: bool) -> String {
    let Args { service, from, to, .. } = args;
    let mut text = format!("`{service}` goes from {from} to {to} on the branch `{branch}`:\n");
    for change in &promotion.changes {
        text.push_str(&format!("  {}\n", render::diff::reason_text(change)));
    }
    text.push_str(&format!("\nWhat the branch changes, as `gitops diff HEAD..{branch}` shows it:\n\n"));
    text.push_str(&render::diff::text(diff, width()));
    text.push_str(&format!("\nNothing is pushed yet: `git push origin {branch}`\n"));
    if is_unsigned {
        text.push_str(&unsigned(branch));
    }
    text
}

/// What is said where Git would have signed the commit.
pub(super) fn unsigned(branch: &str) -> String {
    format!(
        "The commit is not signed, which `commit.gpgSign` asks for: `git switch {branch}`, then \
         `git commit --amend --no-edit`\n"
    )
}

fn nothing(args: &Args, base: &Definitions) -> Result<Exit, CliError> {
    let Args { service, from, to, .. } = args;
    match args.output {
        Format::Json => show(&json::document(&Promoted {
            service,
            from,
            to,
            branch: None,
            base: &base.revision,
            revision: None,
            carried: &[],
            diff: &compared(base, base, "HEAD"),
        })),
        Format::Text => {
            show(&format!("`{service}` runs the same in {to} as in {from}: nothing to promote\n"))
        }
    }
}
