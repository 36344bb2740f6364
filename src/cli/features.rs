//! `gitops features`

use std::path::PathBuf;

use clap::Subcommand;
use gitops_core::definition::FeatureState;
use gitops_core::govern::standing::{Standing, standing};
use gitops_core::name::NodeName;
use gitops_core::reconcile::Definitions;
use gitops_core::render::{features, json};

use super::error::{CliError, Exit};
use super::load::{examined, tell_mistakes};
use super::output::{Format, show};

/// Show the features of the platform, where they are to be had and who uses them
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops features ls\n  $ gitops features ls --node edge-1 --state planned\n  \
                        $ gitops features check log.bounded"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    Ls {
        /// Say what this node has of each
        #[arg(long)]
        node: Option<NodeName>,
        /// Only those in this state
        #[arg(long, value_parser = FeatureState::ALL.map(FeatureState::as_str))]
        state: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Say all there is to say of one: what it needs, which nodes have it, who uses it and how, what would break
    Check {
        /// The id of the feature
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
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
    match &args.command {
        Command::Ls { node, state, common } => list(node.as_ref(), state.as_deref(), common),
        Command::Check { id, common } => check(id, common),
    }
}

fn list(node: Option<&NodeName>, state: Option<&str>, common: &Common) -> Result<Exit, CliError> {
    let definitions = definitions(common)?;
    let nodes = &definitions.catalog.nodes;
    if let Some(node) = node.filter(|node| !nodes.contains_key(*node)) {
        let known = nodes.keys().map(NodeName::as_str);
        return Err(CliError::unknown("node", node.as_str(), known, "name one that nodes/ defines"));
    }
    let all = all(definitions);
    let is_wanted = |one: &&Standing| state.is_none_or(|state| one.state == state);
    let shown: Vec<&Standing> = all.iter().filter(is_wanted).collect();
    match common.output {
        Format::Json => show(&json::document(&shown)),
        Format::Text if shown.is_empty() => show("there is no such feature\n"),
        Format::Text => show(&features::list(&shown, node)),
    }
}

fn check(id: &str, common: &Common) -> Result<Exit, CliError> {
    let definitions = definitions(common)?;
    let all = all(definitions);
    let Some(found) = all.iter().find(|one| one.feature.as_str() == id) else {
        let known = all.iter().map(|one| one.feature.as_str());
        return Err(CliError::unknown(
            "feature",
            id,
            known,
            "`gitops features ls` lists those that there are",
        ));
    };
    match common.output {
        Format::Json => show(&json::document(found)),
        Format::Text => show(&features::text(found)),
    }
}

fn definitions(common: &Common) -> Result<&'static Definitions, CliError> {
    let definitions = examined(&common.path, common.rev.as_deref(), None)?;
    tell_mistakes(definitions);
    Ok(definitions)
}

fn all(definitions: &Definitions) -> Vec<Standing> {
    standing(&definitions.catalog, &definitions.desired)
}
