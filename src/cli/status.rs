//! `gitops status`

use std::io::IsTerminal as _;
use std::time::Duration;

use gitops_core::render::{inert, json, status};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, form, show, stream};
use super::patience::Patience;
use crate::api::wire::Standing;
use crate::clock;

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
    let (mut last, mut patience) = (None, Patience::default());
    loop {
        let standing: Standing = match client.get("/v1/status").await {
            Ok(standing) => standing,
            Err(error) => {
                patience.failed(error).await?;
                continue;
            }
        };
        patience.answered();
        let text = text(args, &standing);
        if !args.watch {
            return show(&text);
        }
        if last.as_ref() != Some(&text) {
            let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
            stream(&format!("{clear}{text}\n"))?;
            last = Some(text);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn text(args: &Args, standing: &Standing) -> String {
    match args.output {
        Format::Text => {
            let fleet = status::text(&standing.fleet, clock::now(), form(&std::io::stdout()));
            format!("{fleet}{}", other_version(&standing.daemon.version))
        }
        Format::Json => json::document(standing),
    }
}

/// Worth a word only where it is not the version of this program.
fn other_version(daemon: &str) -> String {
    const OURS: &str = env!("CARGO_PKG_VERSION");
    if daemon == OURS {
        return String::new();
    }
    format!("\nthe daemon is version {}, this is version {OURS}\n", inert(daemon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_daemon_is_told() {
        assert_eq!(other_version(env!("CARGO_PKG_VERSION")), "");
        assert!(other_version("0.0.9").contains("the daemon is version 0.0.9"));
    }
}
