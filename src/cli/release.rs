//! `gitops release`

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Subcommand;
use gitops_core::fleet::FleetStatus;
use gitops_core::release::{ReleaseView, Standing};
use gitops_core::render::{json, progress};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, show, stream};
use super::patience::Patience;
use super::show::Number;
use crate::clock;

/// Show how far a release is, node by node
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops release show latest\n  $ gitops release show latest --watch\n  \
                  $ gitops releases         what was deployed when\n  $ gitops show 12          what a release changed"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which nodes are done, since when the others are at it, and what they wait for
    Show {
        /// The number of the release, or `latest`
        release: Number,
        /// Show it again whenever it changes, until the release is over
        #[arg(long)]
        watch: bool,
        /// How it is printed
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// How often `--watch` asks.
const PERIOD: Duration = Duration::from_millis(500);
/// Clears the screen and goes to its top left corner.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    let Command::Show { release, watch, output } = &args.command;
    if *watch && *output == Format::Text {
        return follow(&client, *release).await;
    }
    let (view, fleet) = look(&client, *release).await?;
    show(&match output {
        Format::Text => progress::text(&view, &fleet.nodes, clock::now(), false),
        Format::Json => json::document(&view),
    })
}

async fn look(client: &Client, release: Number) -> Result<(ReleaseView, FleetStatus), CliError> {
    let view = client.get(&format!("/v1/releases/{release}")).await?;
    Ok((view, client.get("/v1/status").await?))
}

/// Shows it over and over at a terminal; elsewhere each line when it is new.
async fn follow(client: &Client, release: Number) -> Result<Exit, CliError> {
    let is_terminal = std::io::stdout().is_terminal();
    let (mut last, mut patience) = (String::new(), Patience::default());
    loop {
        let (view, fleet) = match look(client, release).await {
            Ok(both) => both,
            Err(error) => {
                patience.failed(error).await?;
                continue;
            }
        };
        patience.answered();
        let text = progress::text(&view, &fleet.nodes, clock::now(), is_terminal);
        if text != last {
            match is_terminal {
                true => stream(&format!("{CLEAR}{text}"))?,
                false => stream(&news(&last, &text))?,
            }
            last = text;
        }
        if !matches!(view.standing, Standing::InProgress { .. } | Standing::Undoing { .. }) {
            return Ok(if view.standing == Standing::Done { Exit::Done } else { Exit::Failed });
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The lines that were not there before, but for those in which only time went on.
fn news(before: &str, now: &str) -> String {
    let is_time = |word: &str| {
        let number = word.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let without_time = |line: &str| {
        let words: Vec<&str> = line.split(' ').filter(|word| !is_time(word)).collect();
        words.join(" ")
    };
    let old: Vec<String> = before.lines().map(without_time).collect();
    let fresh = now.lines().filter(|line| !old.contains(&without_time(line)));
    fresh.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_terminal_only_news_is_printed() {
        let before = "release 7  in progress\nedge-1  in progress for 1s\nedge-2  in progress for 1s\n";
        let now =
            "release 7  in progress\nedge-1  done after 2s\nedge-2  in progress for 2s\n  web  applying\n";
        assert_eq!(news("", before), before);
        assert_eq!(news(before, now), "edge-1  done after 2s\n  web  applying\n");
    }
}
