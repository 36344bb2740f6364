//! `gitops status`

use std::io::IsTerminal as _;
use std::time::Duration;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, form};
use crate::clock;
use crate::fleet::FleetStatus;
use crate::render::{json, status};

/// Show how the source, every node and every instance stand
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops status\n  $ gitops status --watch\n  $ gitops status -o json")]
pub(super) struct Args {
    /// Show it again whenever it changes, until interrupted
    #[arg(long)]
    watch: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// How often `--watch` asks.
const PERIOD: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its top left corner.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    let mut last = None;
    loop {
        let fleet: FleetStatus = client.get("/v1/status").await?;
        let text = text(args, &fleet);
        if !args.watch {
            anstream::print!("{text}");
            return Ok(Exit::Done);
        }
        if last.as_ref() != Some(&text) {
            let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
            anstream::println!("{clear}{text}");
            last = Some(text);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn text(args: &Args, fleet: &FleetStatus) -> String {
    match args.output {
        Format::Text => status::text(fleet, clock::now(), form(&std::io::stdout())),
        Format::Json => json::document(fleet),
    }
}
