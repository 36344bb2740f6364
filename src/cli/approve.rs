//! `gitops approve`, `gitops reject` and `gitops approvals`

use std::time::Duration;

use gitops_core::decision::AwaitingView;
use gitops_core::render::{decisions, json};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, show};
use crate::api::wire::{ApprovalPage, BallotRequest};
use crate::clock;

/// Agree to changes that wait for approval, as long as they are the ones that you saw
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops approvals\n  $ gitops approve 1f0c9a\n  $ gitops approve 1f0c9a -m \"backup is done\""
)]
pub(super) struct Args {
    #[command(flatten)]
    ballot: Ballot,
}

/// Refuse changes that wait for approval
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops reject 1f0c9a -m \"not before the backup\"")]
pub(super) struct RejectArgs {
    #[command(flatten)]
    ballot: Ballot,
}

/// Show what waits for approval, who said what, and who is still needed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops approvals\n  $ gitops approvals -o json")]
pub(super) struct ListArgs {
    /// How the list is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct Ballot {
    /// The id of the plan, or at least six digits with which it begins
    plan: String,
    /// Why: one sentence for everybody who looks it up
    #[arg(short = 'm', long = "message", value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    vote(&args.ballot, true).await
}

pub(super) async fn reject(args: &RejectArgs) -> Result<Exit, CliError> {
    vote(&args.ballot, false).await
}

pub(super) async fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let page: ApprovalPage = Client::new(&args.connection)?.get("/v1/approvals").await?;
    match args.output {
        Format::Json => show(&json::document(&page)),
        Format::Text if page.awaiting.is_empty() => show("nothing waits for approval\n"),
        Format::Text => show(&decisions::awaiting(&page.awaiting, clock::now())),
    }
}

async fn vote(ballot: &Ballot, approves: bool) -> Result<Exit, CliError> {
    let (plan, reason) = (ballot.plan.clone(), ballot.reason.clone());
    let request = BallotRequest { plan, approves, reason };
    let client = Client::new(&ballot.connection)?;
    let standing: AwaitingView = client.ask("/v1/approvals", &request, Duration::from_secs(30)).await??;
    let verb = if approves { "approved" } else { "rejected" };
    show(&format!("{verb} plan {}: {}\n", standing.awaiting.plan.short(), decisions::verdict(&standing)))
}
