//! `gitops diff`

use std::io::stderr;
use std::path::PathBuf;

use super::error::{CliError, Exit};
use super::load::Reader;
use super::output::{Format, form, print, width};
use crate::clock;
use crate::diagnostic::Diagnostic;
use crate::diff;
use crate::reconcile::Definitions;
use crate::render::{self, json};

/// Show what a change does to each node and service, before it is made
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops diff                 the files as they are, against HEAD\n  \
                  $ gitops diff main            the files as they are, against main\n  \
                  $ gitops diff main..feature   two revisions\n  \
                  $ gitops diff --exit-code     ends with 2 if something would change")]
pub(super) struct Args {
    /// What to compare with: a revision, or two as `BASE..HEAD`
    #[arg(default_value = "HEAD")]
    base: String,
    /// The revision to compare, instead of the files as they are
    head: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// End with 2 if something would change
    #[arg(long)]
    exit_code: bool,
}

impl Args {
    fn sides(&self) -> (&str, Option<&str>) {
        match self.base.split_once("..") {
            Some((base, head)) if self.head.is_none() => (base, Some(head)),
            _ => (&self.base, self.head.as_deref()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let (base, head) = args.sides();
    let mut reader = Reader::default();
    let old = valid(reader.past_definitions(&args.path, Some(base))?, Some(base))?;
    let new = valid(reader.definitions(&args.path, head)?, head)?;
    let side = |definitions: &'static Definitions, revision: Option<&str>| {
        let label = revision.map_or_else(|| "work tree".to_owned(), |_| definitions.revision.to_string());
        definitions.side(label)
    };
    let diff = diff::compare(&side(old, Some(base)), &side(new, head), &diff::Scope::at(clock::now()));
    match args.output {
        Format::Json => print(&json::document(&diff))?,
        Format::Text => print(&render::diff::text(&diff, width()))?,
    }
    Ok(if args.exit_code && !diff.changes.is_empty() { Exit::Changes } else { Exit::Done })
}

/// One side, valid. Its mistakes are printed where it is not.
fn valid(
    side: Result<&'static Definitions, Vec<Diagnostic>>,
    revision: Option<&str>,
) -> Result<&'static Definitions, CliError> {
    side.map_err(|diagnostics| {
        anstream::eprint!("{}", render::diagnostics::text(&diagnostics, form(&stderr())));
        let side = revision.unwrap_or("the work tree");
        CliError::new(format!("{side} has mistakes, so it cannot be compared")).hint(match revision {
            None => "mend the mistakes above; `gitops validate` shows them again",
            Some(_) => {
                "they are in that revision, whatever your files say; compare with one that has none, such as the deployed \
                 one that `gitops status` names: `gitops diff REVISION`"
            }
        })
    })
}
