//! `gitops lock` and `gitops unlock`

use gitops_core::decision::Held;

use super::client::Connection;
use super::error::{CliError, Exit};
use super::hold::{self, Reason, Term, Which};

/// Stop every change of the whole fleet; what runs goes on running, and is healed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops lock -m \"database migration\" --for 2h\n  $ gitops lock -m \"holidays\" --until 2027-01-02T08:00:00Z"
)]
pub(super) struct Args {
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    connection: Connection,
}

/// End a lock: changes that waited go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops unlock\n  $ gitops unlock --hold 7")]
pub(super) struct UnlockArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    hold::begin(&args.connection, Held::Lock, &args.reason, Some(&args.term)).await
}

pub(super) async fn unlock(args: &UnlockArgs) -> Result<Exit, CliError> {
    let is_lock = |held: &Held| *held == Held::Lock;
    hold::end(&args.connection, &args.which, "the fleet", is_lock).await
}
