//! `gitops explain`

mod live;

use std::io::stderr;
use std::path::PathBuf;
use std::sync::Arc;

use gitops_core::catalog::ServiceEntry;
use gitops_core::diagnostic::Diagnostic;
use gitops_core::explain::Explanation;
use gitops_core::holders::Holders;
use gitops_core::name::{EnvironmentName, ServiceName};
use gitops_core::reconcile::Definitions;
use gitops_core::render::{self, json};

use super::capacity::check_environment;
use super::client::{Client, Connection, block_on};
use super::error::{CliError, Exit};
use super::load::{examined, tell_mistakes};
use super::output::{Format, form, show};

/// Show why a service runs where it runs, and why not elsewhere
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops explain web\n  $ gitops explain web --environment production -o json\n  $ gitops explain web --live"
)]
pub(super) struct Args {
    /// The service
    service: ServiceName,
    /// Only in this environment
    #[arg(long)]
    environment: Option<EnvironmentName>,
    /// A commit, branch or tag instead of the files as they are
    #[arg(long)]
    rev: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// Ask the daemon what runs where and which nodes are offline. Otherwise it is as if nothing ran yet.
    #[arg(long)]
    live: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let holders = match args.live {
        true => block_on(async { live::holders(&Client::new(&args.connection)?).await })?,
        false => Holders::default(),
    };
    let definitions = examined(&args.path, args.rev.as_deref(), Some(&holders))?;
    if let Some(name) = &args.environment {
        check_environment(definitions, name)?;
    }
    let entry = entry(definitions, &args.service)?;
    tell_mistakes(definitions);
    let Definitions { catalog, desired, .. } = definitions;
    let explanation = Explanation::of(catalog, desired, &holders, entry, args.environment.as_ref());
    let explanation = explanation.ok_or_else(|| elsewhere(args, entry))?;
    show(&match args.output {
        Format::Text => render::explain::text(&explanation),
        Format::Json => json::document(&explanation),
    })
}

fn elsewhere(args: &Args, entry: &ServiceEntry) -> CliError {
    let environment = args.environment.as_ref().map_or("", EnvironmentName::as_str);
    CliError::new(format!("`{}` is not in environment `{environment}`", args.service))
        .hint(format!("name it under `environments:` in {}", entry.path()))
}

/// The service. Mistakes in its own files are told, but for those that an explanation is there for.
fn entry<'a>(definitions: &'a Definitions, name: &ServiceName) -> Result<&'a Arc<ServiceEntry>, CliError> {
    let folder = format!("services/{name}/");
    let is_own = |finding: &&Diagnostic| {
        finding.is_error() && finding.place.path.starts_with(&folder) && !EXPLAINED.contains(&&*finding.code)
    };
    let own: Vec<Diagnostic> = definitions.findings.iter().filter(is_own).cloned().collect();
    anstream::eprint!("{}", render::diagnostics::text(&own, form(&stderr())));
    let services = &definitions.catalog.services;
    if let Some(entry) = services.get(name) {
        return Ok(entry);
    }
    if !own.is_empty() {
        return Err(CliError::new(format!("`{name}` cannot be read, so there is nothing to explain"))
            .hint("mend the mistakes above first"));
    }
    let known = services.keys().map(ServiceName::as_str);
    Err(CliError::unknown("service", name.as_str(), known, "each folder in services/ is one"))
}

/// What is said of a service that cannot be placed.
const EXPLAINED: [&str; 2] = ["no-placement", "over-committed"];
