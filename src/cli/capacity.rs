//! `gitops capacity`

use std::path::PathBuf;

use gitops_core::capacity;
use gitops_core::desired::sites;
use gitops_core::holders::Holders;
use gitops_core::name::EnvironmentName;
use gitops_core::reconcile::Definitions;
use gitops_core::render::{self, json};

use super::error::{CliError, Exit};
use super::load::{examined, tell_mistakes};
use super::output::{Format, show};

/// Show what is reserved and what is left on every node, or what everything costs
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops capacity\n  $ gitops capacity --cost\n  $ gitops capacity --environment production -o json"
)]
pub(super) struct Args {
    /// Only the nodes of this environment
    #[arg(long)]
    environment: Option<EnvironmentName>,
    /// What services, projects and environments cost in a month, instead
    #[arg(long)]
    cost: bool,
    /// A commit, branch or tag instead of the files as they are
    #[arg(long)]
    rev: Option<String>,
    /// The folder with gitops.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let definitions = examined(&args.path, args.rev.as_deref(), None)?;
    if let Some(name) = &args.environment {
        check_environment(definitions, name)?;
    }
    tell_mistakes(definitions);
    let Definitions { catalog, desired, .. } = definitions;
    let sites = sites(catalog, &desired.placing, &Holders::default());
    let capacity =
        capacity::of(catalog, &sites, &desired.held_on(desired.nodes.keys()), args.environment.as_ref());
    show(&match (args.output, args.cost) {
        (Format::Json, _) => json::document(&capacity),
        (Format::Text, false) => render::capacity::text(&capacity),
        (Format::Text, true) => render::capacity::costs(&capacity),
    })
}

/// An environment that is not defined, or has another name.
pub(super) fn check_environment(definitions: &Definitions, name: &EnvironmentName) -> Result<(), CliError> {
    let known = &definitions.catalog.settings.environments;
    if known.contains_key(name) {
        return Ok(());
    }
    let names = known.keys().map(EnvironmentName::as_str);
    let otherwise = "environments are defined in gitops.toml: `[environments.NAME]`";
    Err(CliError::unknown("environment", name.as_str(), names, otherwise))
}
