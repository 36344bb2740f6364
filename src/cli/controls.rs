//! `gitops controls`

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use gitops_core::definition::Day;
use gitops_core::govern::{self, Compliance};
use gitops_core::name::{Revision, ServiceName};
use gitops_core::reconcile::Definitions;
use gitops_core::render::controls::{self, Evaluated};
use gitops_core::render::json;
use serde::Serialize;

use super::error::{CliError, Exit};
use super::load::{examined, tell_mistakes};
use super::output::print;
use crate::clock;

/// Show which controls there are, and which services meet them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops controls ls\n  $ gitops controls check payments\n  \
                  $ gitops controls check --rev main -o markdown > compliance.md")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the controls, and how many services meet each
    Ls(Shown),
    /// Say of each service and control whether it is met, and what is missing; ends with 1 if what is missing is an error
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Only this service
    service: Option<ServiceName>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// A commit, branch or tag instead of the files as they are
    #[arg(long)]
    rev: Option<String>,
    /// As it is on this day, such as 2027-01-31, instead of today: approvals end
    #[arg(long, value_name = "DAY")]
    on: Option<Day>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// A table to hand on
    Markdown,
}

/// The answers as JSON.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    evaluated: &'a Evaluated,
    /// Whether nothing that is missing is an error, and everything could be read.
    is_met: bool,
    answers: &'a [Compliance],
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Command::Ls(shown) => ls(shown),
        Command::Check(args) => check(args),
    }
}

fn ls(shown: &Shown) -> Result<Exit, CliError> {
    let (definitions, evaluated, answers) = evaluate(shown)?;
    tell_mistakes(definitions);
    let rows = controls::rows(&definitions.catalog, &answers);
    print(&match shown.output {
        Format::Text => controls::list(&rows),
        Format::Json => json::document(&rows),
        Format::Markdown => controls::list_markdown(&rows, &evaluated),
    })?;
    Ok(Exit::Done)
}

fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let (definitions, evaluated, mut answers) = evaluate(&args.shown)?;
    if let Some(service) = &args.service {
        is_there(definitions, service)?;
        answers.retain(|answer| answer.service == *service);
    }
    tell_mistakes(definitions);
    // What could not be read was not asked, so it is not met either.
    let is_met = !answers.iter().any(|answer| answer.is_error) && !definitions.has_errors();
    print(&match args.shown.output {
        Format::Text => controls::text(&answers),
        Format::Json => json::document(&Report { evaluated: &evaluated, is_met, answers: &answers }),
        Format::Markdown => controls::markdown(&answers, &evaluated),
    })?;
    Ok(if is_met { Exit::Done } else { Exit::Failed })
}

fn evaluate(shown: &Shown) -> Result<(&'static Definitions, Evaluated, Vec<Compliance>), CliError> {
    let definitions = examined(&shown.path, shown.rev.as_deref(), None)?;
    // The last moment of the day: what holds until it holds.
    let now = shown.on.map_or_else(clock::now, |day| day.end() - jiff::SignedDuration::from_nanos(1));
    let answers = govern::compliance(&definitions.catalog, &definitions.desired, now, |_| true);
    let revision = shown.rev.as_ref().map(|_| Revision::to_string(&definitions.revision));
    Ok((definitions, Evaluated { revision, on: controls::day(now) }, answers))
}

fn is_there(definitions: &Definitions, service: &ServiceName) -> Result<(), CliError> {
    let known = &definitions.catalog.services;
    if known.contains_key(service) {
        return Ok(());
    }
    let names = known.keys().map(ServiceName::as_str);
    let otherwise = "`gitops validate` shows why one could not be read";
    Err(CliError::unknown("service", service.as_str(), names, otherwise))
}
