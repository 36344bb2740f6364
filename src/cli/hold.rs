//! `gitops holds`, and what the commands have in common that begin and end holds.

use std::time::Duration;

use gitops_core::decision::{Held, Hold, KeptHold};
use gitops_core::render::{decisions, inert, json};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, print, show};
use crate::api::wire::{HoldPage, HoldRequest};
use crate::clock;

/// Show what people hold: locks, suspensions, pins, cordons and drains, with who, why and until when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops holds\n  $ gitops holds --all\n  $ gitops holds -o json")]
pub(super) struct Args {
    /// Also those that ended, as far as they are kept
    #[arg(long)]
    all: bool,
    /// How the list is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let page: HoldPage = Client::new(&args.connection)?.get(&format!("/v1/holds?all={}", args.all)).await?;
    match args.output {
        Format::Json => show(&json::document(&page)),
        Format::Text if page.holds.is_empty() => show("nothing is held\n"),
        Format::Text => show(&decisions::kept(&page.holds, clock::now())),
    }
}

/// Why something is held
#[derive(Debug, clap::Args)]
pub(super) struct Reason {
    /// Why: one sentence for everybody whom it stops
    #[arg(short = 'm', long = "message", value_name = "REASON")]
    pub(super) reason: String,
}

/// How long something is held
#[derive(Debug, clap::Args)]
pub(super) struct Term {
    /// When it ends by itself, as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "span")]
    until: Option<Timestamp>,
    /// After how long it ends by itself, as 30m, 2h or 3d
    #[arg(long = "for", value_name = "SPAN", value_parser = seconds)]
    span: Option<u32>,
}

impl Term {
    /// Whether somebody said how long.
    pub(super) fn is_given(&self) -> bool {
        self.until.is_some() || self.span.is_some()
    }
}

/// Which hold ends
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Its number, where there are several: `gitops holds` shows it
    #[arg(long = "hold", value_name = "NUMBER")]
    number: Option<u64>,
}

/// `90`, `30m`, `1h 30m`, `3d`, in seconds.
fn seconds(text: &str) -> Result<u32, String> {
    const DAY: u32 = 24 * 60 * 60;
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok());
    let span = || text.parse::<SignedDuration>().ok().and_then(|span| u32::try_from(span.as_secs()).ok());
    let seconds = match (days, text.parse().ok()) {
        (Some(days), _) => days.checked_mul(DAY),
        (None, Some(seconds)) => Some(seconds),
        (None, None) => span(),
    };
    let seconds = seconds.filter(|seconds| (1..=366 * DAY).contains(seconds));
    seconds.ok_or_else(|| "a span of time such as `30m`, `2h` or `3d`, up to 366 days".to_owned())
}

/// Begins a hold, and says how to end it.
pub(super) async fn begin(
    connection: &Connection,
    what: Held,
    reason: &Reason,
    term: Option<&Term>,
) -> Result<Exit, CliError> {
    let (until, seconds) = term.map_or((None, None), |term| (term.until, term.span));
    let request = HoldRequest { what, reason: reason.reason.clone(), until, seconds };
    let asked = Client::new(connection)?.ask("/v1/holds", &request, Duration::from_secs(30)).await?;
    let hold: Hold = asked?;
    let until = hold.until.map_or(String::new(), |until| format!(" until {until:.0}"));
    let text = format!("{}{until}: hold {}\n", hold.what, hold.number);
    print(&text)?;
    anstream::eprintln!("it ends with: {}", decisions::end_of(&hold));
    Ok(Exit::Done)
}

/// Ends the one hold that `is_meant`; `what` names it where there is none.
pub(super) async fn end(
    connection: &Connection,
    which: &Which,
    what: &str,
    is_meant: impl Fn(&Held) -> bool,
) -> Result<Exit, CliError> {
    let client = Client::new(connection)?;
    let page: HoldPage = client.get("/v1/holds").await?;
    let meant: Vec<KeptHold> = page.holds.into_iter().filter(|kept| is_meant(&kept.hold.what)).collect();
    let chosen = meant.iter().filter(|kept| which.number.is_none_or(|number| number == kept.hold.number));
    let (number, others) = match chosen.map(|kept| kept.hold.number).collect::<Vec<_>>()[..] {
        [] => {
            return Err(CliError::new(format!("{what} is not held so, and nothing was ended"))
                .hint("`gitops holds` lists what is held"));
        }
        [number] => (number, meant.iter().filter(|kept| kept.hold.number != number).count()),
        _ => return Err(several(what, &meant)),
    };
    let ended: Hold = client.send(Method::DELETE, &format!("/v1/holds/{number}")).await?;
    print(&format!("hold {number} of {} ended: {}\n", inert(&ended.owner), ended.what))?;
    if others > 0 {
        anstream::eprintln!("note: {what} is still held: see `gitops holds`");
    }
    Ok(Exit::Done)
}

fn several(what: &str, meant: &[KeptHold]) -> CliError {
    let line = |KeptHold { hold, .. }: &KeptHold| {
        format!("{} of {} ({})", hold.number, inert(&hold.owner), inert(&hold.reason))
    };
    let lines: Vec<String> = meant.iter().map(line).collect();
    CliError::new(format!("{what} is held by holds {}", lines.join(", ")))
        .hint("say which one ends: `--hold NUMBER`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_people_say_them() {
        let check = |text, expected| assert_eq!(seconds(text).ok(), expected, "{text}");
        check("90", Some(90));
        check("30m", Some(1_800));
        check("1h 30m", Some(5_400));
        check("3d", Some(259_200));
        check("366d", Some(31_622_400));
        for bad in ["", "0", "-1h", "367d", "soon", "999999999999d"] {
            check(bad, None);
        }
    }
}
