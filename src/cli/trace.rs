//! `gitops trace`

use gitops_core::release::Trace;
use gitops_core::render::{json, trace};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, show};
use super::target::Target;

/// Show what became of a service on a node: what changed, when, how long it took, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops trace web@edge-1\n  $ gitops trace web@edge-1 -n 1 -o json")]
pub(super) struct Args {
    /// The service and the node
    #[arg(value_name = "SERVICE@NODE")]
    what: Target,
    /// How many changes to show, at most 100
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// How the journal is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let Target { service, node } = &args.what;
    let Some(node) = node else {
        return Err(CliError::new(format!("`{service}` may be on several nodes: name one"))
            .hint(format!("`gitops trace {service}@NODE`; `gitops why {service}` lists them")));
    };
    let path = format!("/v1/trace/{service}/{node}?limit={}", args.limit);
    let journal: Trace = Client::new(&args.connection)?.get(&path).await?;
    show(&match args.output {
        Format::Text => trace::text(&journal),
        Format::Json => json::document(&journal),
    })
}
