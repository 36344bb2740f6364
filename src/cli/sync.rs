//! `gitops sync`

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{form, print, show};
use crate::api::wire::{SyncRequest, Synced};
use crate::clock;
use crate::definition::Seconds;
use crate::fleet::{FleetStatus, InstanceState, NodeState, NodeView, SourceState, SourceStatus};
use crate::name::Revision;
use crate::render::{count, status};

/// Look at the repository now, instead of at the next poll
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops sync\n  $ gitops sync --wait --timeout 5m\n  $ gitops sync --accept-rewind"
)]
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
    let request = SyncRequest { accept_rewind: args.accept_rewind };
    let synced: Synced = client.post("/v1/sync", &request, PATIENCE).await?;
    let revision = match (&synced.revision, synced.source.state) {
        (Some(revision), SourceState::Ok) => revision,
        (_, state) => return Err(not_deployed(&synced, state)),
    };
    print(&format!("revision {} is to be deployed\n", revision.short()))?;
    if args.wait { wait(args, &client, revision).await } else { Ok(Exit::Done) }
}

fn not_deployed(synced: &Synced, state: SourceState) -> CliError {
    let what = match (&synced.revision, state) {
        (None, _) => "the branch has no commit yet".to_owned(),
        (Some(revision), SourceState::Invalid) => format!("revision {} has mistakes", revision.short()),
        (Some(revision), SourceState::Held) => {
            format!("revision {} does not descend from the deployed one", revision.short())
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

async fn wait(args: &Args, client: &Client, revision: &Revision) -> Result<Exit, CliError> {
    let end = Instant::now() + Duration::from_secs(args.timeout.0.into());
    let progress = Progress::new();
    loop {
        let fleet: FleetStatus = client.get("/v1/status").await?;
        let (done, all) = progress.show(&fleet);
        if is_planned(&fleet.source, revision) && fleet.nodes.iter().all(is_done) {
            progress.finish();
            return show(&format!(
                "{} on {} as planned\n",
                count(all, "instance"),
                count(fleet.nodes.len(), "node")
            ));
        }
        if Instant::now() >= end {
            progress.finish();
            anstream::eprint!("{}", status::text(&fleet, clock::now(), form(&std::io::stderr())));
            let message =
                format!("{done} of {} as planned after {}s", count(all, "instance"), args.timeout.0);
            return Err(
                CliError::new(message).hint("the status above says what each of the others waits for")
            );
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The answer to the request comes before the plans do. Where a newer revision was pushed meanwhile, that one counts.
fn is_planned(source: &SourceStatus, revision: &Revision) -> bool {
    let is_newest = source.state == SourceState::Ok && source.deployed == source.newest;
    is_newest || source.deployed.as_ref() == Some(revision)
}

fn is_done(node: &NodeView) -> bool {
    matches!(node.state, NodeState::Ok | NodeState::Undefined)
}

/// A bar on a terminal, a line for each change elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    last: std::cell::Cell<Option<(usize, usize)>>,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} instances as planned");
        let bar = std::io::stderr().is_terminal().then(|| match style {
            Ok(style) => ProgressBar::new(0).with_style(style),
            Err(_) => ProgressBar::new(0),
        });
        Self { bar, last: std::cell::Cell::new(None) }
    }

    fn show(&self, fleet: &FleetStatus) -> (usize, usize) {
        let instances = || fleet.nodes.iter().flat_map(|node| &node.instances);
        let is_done = |state| matches!(state, InstanceState::Healthy | InstanceState::Stopped);
        let counts = (instances().filter(|instance| is_done(instance.state)).count(), instances().count());
        match &self.bar {
            Some(bar) => {
                bar.set_length(counts.1 as u64);
                bar.set_position(counts.0 as u64);
            }
            None if self.last.get() != Some(counts) => {
                anstream::eprintln!("{} of {} instances as planned", counts.0, counts.1)
            }
            None => {}
        }
        self.last.set(Some(counts));
        counts
    }

    fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
