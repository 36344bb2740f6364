//! `gitops retry`

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::show;

/// Roll the deployed revision out again that failed and was undone
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops retry\n  $ gitops retry && gitops status --watch")]
pub(super) struct Args {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    Client::new(&args.connection)?.post("/v1/retry").await?;
    show("it is tried again: `gitops status --watch` shows how it goes\n")
}
