//! `gitops sync`

mod wait;

use std::io::IsTerminal as _;
use std::time::Duration;

use gitops_core::applied::Applied;
use gitops_core::definition::Seconds;
use gitops_core::fleet::{FleetStatus, SourceState};
use gitops_core::name::{Digest, Revision};
use gitops_core::render::{self, count, json, span, status};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, form, print};
use super::patience::Patience;
use crate::api::wire::{SyncRequest, Synced};
use crate::clock;
use wait::Stand;

/// Look at the repository now, instead of at the next poll
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops sync\n  $ gitops sync --wait --timeout 5m\n  \
                  $ gitops sync --plan ID       deploys just what `gitops diff HEAD --live` showed under this id\n  \
                  $ gitops sync --wait -o json    what it put where, why, at what cost, and where it answers\n  \
                  $ gitops sync --accept-rewind")]
pub(super) struct Args {
    /// Return when every node has done what the newest revision asks for
    #[arg(long)]
    wait: bool,
    /// How long to wait before it counts as failed
    #[arg(long, default_value = "10m", value_parser = seconds, requires = "wait")]
    timeout: Seconds,
    /// Deploy the newest revision although it does not descend from the deployed one
    #[arg(long)]
    accept_rewind: bool,
    /// Deploy the newest revision only if that is the plan with this id, which `gitops diff HEAD --live` shows
    #[arg(long, value_name = "ID")]
    plan: Option<Digest>,
    /// How the result is printed. As JSON it comes when plans are made, with what the release put where
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

fn seconds(text: &str) -> Result<Seconds, String> {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};
    let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
    serde::Deserialize::deserialize(deserializer).map_err(|error: Error| error.to_string())
}

/// How often `--wait` asks.
const PERIOD: Duration = Duration::from_millis(250);
/// The daemon answers when the repository has, which it gives a minute.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    let request = SyncRequest { accept_rewind: args.accept_rewind, plan: args.plan };
    let synced: Synced = match client.ask("/v1/sync", &request, PATIENCE).await? {
        Ok(synced) => synced,
        Err(mut refused) => {
            if let Some(difference) = refused.difference.take() {
                print(&render::difference::text(&difference))?;
            }
            return Err(refused.into());
        }
    };
    if let (Some(at), Some(revision)) = (synced.already_at, &synced.revision) {
        let ago = span(clock::now().duration_since(at));
        args.say(&format!("this plan of revision {} was deployed {ago} ago\n", revision.short()))?;
        return finish(args, &client, revision).await;
    }
    let revision = match (&synced.revision, synced.source.state) {
        (Some(revision), SourceState::Ok) => revision,
        (_, state) => return Err(not_deployed(&synced, state)),
    };
    let next = if args.wait { ": waiting until every node has done what it asks for" } else { "" };
    let how = match (args.plan, &synced.source.deployed) {
        (Some(_), _) => "is deployed, just as planned",
        (None, Some(deployed)) if deployed == revision => "is deployed already",
        (None, _) => "is to be deployed",
    };
    args.say(&format!("revision {} {how}{next}\n", revision.short()))?;
    finish(args, &client, revision).await
}

impl Args {
    /// Says something to people.
    fn say(&self, text: &str) -> Result<(), CliError> {
        if self.output == Format::Text { print(text) } else { Ok(()) }
    }
}

/// Waits for what was asked for, and prints what programs asked for, also where the release failed.
async fn finish(args: &Args, client: &Client, revision: &Revision) -> Result<Exit, CliError> {
    let outcome = match (args.wait, args.output) {
        (true, _) => wait(args, client, revision).await,
        (false, Format::Text) => Ok(Exit::Done),
        (false, Format::Json) => planned(client, revision).await,
    };
    if args.output == Format::Json {
        let applied: Applied = client.get("/v1/applied").await?;
        print(&json::document(&applied))?;
    }
    outcome
}

/// Waits until the plans of a revision are made.
async fn planned(client: &Client, revision: &Revision) -> Result<Exit, CliError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let fleet: FleetStatus = client.get("/v1/status").await?;
        if wait::is_planned(&fleet.source, revision) {
            return Ok(Exit::Done);
        }
        if Instant::now() >= end {
            let message = format!("the daemon has not made plans of {} yet", revision.short());
            return Err(CliError::new(message).hint("`gitops status` says why"));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn not_deployed(synced: &Synced, state: SourceState) -> CliError {
    let what = match (&synced.revision, state) {
        (None, _) => "the branch has no commit yet".to_owned(),
        (Some(revision), SourceState::Invalid) => format!("revision {} has mistakes", revision.short()),
        (Some(revision), SourceState::Held) => {
            format!("revision {} does not descend from the deployed one", revision.short())
        }
        // Its message says it all.
        (Some(_), SourceState::Failed | SourceState::Pinned) => {
            return CliError::new(synced.source.message.clone().unwrap_or_else(undone));
        }
        (_, _) => "the repository does not answer".to_owned(),
    };
    let message = synced.source.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
    let error = CliError::new(format!("{what}{message}"));
    match state {
        SourceState::Held => error.hint("`gitops sync --accept-rewind` deploys it all the same"),
        SourceState::Invalid => error.hint("`gitops status` shows every mistake; the last good plans stand"),
        _ => error,
    }
}

fn undone() -> String {
    "the release failed and is undone".to_owned()
}

async fn wait(args: &Args, client: &Client, revision: &Revision) -> Result<Exit, CliError> {
    let started = Instant::now();
    let end = started + Duration::from_secs(args.timeout.0.into());
    let (mut progress, mut patience) = (Progress::new(), Patience::default());
    // The answer to the request.
    patience.answered();
    loop {
        let fleet: FleetStatus = match client.get("/v1/status").await {
            Ok(fleet) => fleet,
            Err(error) if Instant::now() < end => {
                patience.failed(error).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        patience.answered();
        if fleet.source.state == SourceState::Failed {
            progress.finish();
            anstream::eprint!("{}", status::text(&fleet, clock::now(), form(&std::io::stderr())));
            return Err(CliError::new(fleet.source.message.unwrap_or_else(undone)));
        }
        let stand = Stand::of(&fleet, revision, clock::now());
        if stand.waits.is_empty() {
            progress.finish();
            args.say(&format!(
                "{} is in force: {} on {}\n",
                deployed(&fleet, revision).short(),
                count(stand.all, "instance"),
                count(fleet.nodes.len(), "node"),
            ))?;
            return Ok(Exit::Done);
        }
        if Instant::now() >= end {
            progress.finish();
            anstream::eprint!("{}", status::text(&fleet, clock::now(), form(&std::io::stderr())));
            let Stand { done, all, .. } = stand;
            let message =
                format!("after {}s {done} of {} are as wanted", args.timeout.0, count(all, "instance"));
            return Err(CliError::new(format!("{message}: {}", stand.reasons()))
                .hint("`gitops logs SERVICE` shows what the agents do; they go on all the same"));
        }
        progress.show(&stand, started.elapsed());
        tokio::time::sleep(PERIOD).await;
    }
}

/// Where a newer revision was pushed meanwhile, that one.
fn deployed<'a>(fleet: &'a FleetStatus, revision: &'a Revision) -> &'a Revision {
    fleet.source.deployed.as_ref().unwrap_or(revision)
}

/// How often a line is printed where nothing changes.
const REMIND: Duration = Duration::from_secs(15);

/// A bar on a terminal; elsewhere a line for each change, and now and then one where nothing changes.
struct Progress {
    bar: Option<ProgressBar>,
    last: Option<(Stand, Duration)>,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} done; waiting: {msg}");
        let bar = std::io::stderr().is_terminal().then(|| match style {
            Ok(style) => ProgressBar::new(0).with_style(style),
            Err(_) => ProgressBar::new(0),
        });
        Self { bar, last: None }
    }

    fn show(&mut self, stand: &Stand, elapsed: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_length(stand.all as u64);
            bar.set_position(stand.done as u64);
            bar.set_message(stand.reasons());
            return;
        }
        let is_news = self.last.as_ref().is_none_or(|(last, at)| last != stand || elapsed >= *at + REMIND);
        if is_news {
            let Stand { done, all, .. } = stand;
            let (seconds, reasons) = (elapsed.as_secs(), stand.reasons());
            anstream::eprintln!("{seconds}s: {done} of {all} done; waiting: {reasons}");
            self.last = Some((stand.clone(), elapsed));
        }
    }

    fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
