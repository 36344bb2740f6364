//! `gitops why`

use gitops_core::release::Why;
use gitops_core::render::{json, why};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, show};
use super::target::Target;

/// Show why a service is as it is: the commit, the release, and what it waits on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops why web\n  $ gitops why web@edge-1 -o json")]
pub(super) struct Args {
    /// The service, and where it should be of one node only, that node
    #[arg(value_name = "SERVICE[@NODE]")]
    what: Target,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let Target { service, node } = &args.what;
    let node = node.as_ref().map_or(String::new(), |node| format!("?node={node}"));
    let answer: Why = Client::new(&args.connection)?.get(&format!("/v1/why/{service}{node}")).await?;
    show(&match args.output {
        Format::Text => why::text(&answer),
        Format::Json => json::document(&answer),
    })
}
