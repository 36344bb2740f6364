//! `gitops config`

use std::path::PathBuf;

use clap::Subcommand;
use gitops_core::render::{json, settings};

use super::error::{CliError, Exit};
use super::output::{Format, show};
use crate::config::{Config, ControlSettings};

/// Show the settings that `gitops serve` would run with
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops config show\n  $ GITOPS_BRANCH=next gitops config show --config control.toml -o json"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every setting and where it comes from: flag, variable, file or default. Secrets are not shown
    Show(Box<Show>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops config show --config /etc/gitops/control.toml")]
struct Show {
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// The file with settings [default: /etc/gitops/control.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: ControlSettings,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let Command::Show(args) = &args.command;
    let config = Config::load(&args.settings, args.config.as_deref())
        .map_err(|error| CliError::because("the settings cannot be used", error))?;
    let resolved = config.settings();
    show(&match args.output {
        Format::Text => settings::text(&resolved),
        Format::Json => json::document(&settings::document(&resolved)),
    })
}
