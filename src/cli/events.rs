//! `gitops events`

use futures_util::StreamExt as _;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, stream};
use crate::api::wire::EventPage;
use crate::render::events;
use crate::store::Event;

/// Show what happened, oldest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops events\n  $ gitops events --follow\n  $ gitops events --after 120 -o json"
)]
pub(super) struct Args {
    /// Go on with what happens from now on, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only events with a greater number
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// How each event is printed; JSON is one document to a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

const PAGE: u32 = 500;

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    let mut after = args.after;
    loop {
        let page: EventPage = client.get(&format!("/v1/events?after={after}&limit={PAGE}")).await?;
        let Some(last) = page.events.last() else { break };
        after = last.id;
        page.events.iter().try_for_each(|event| tell(args, event))?;
    }
    if args.follow {
        follow(args, &client, after).await?;
    }
    Ok(Exit::Done)
}

fn tell(args: &Args, event: &Event) -> Result<(), CliError> {
    let line = match args.output {
        Format::Text => events::line(event),
        Format::Json => {
            serde_json::to_string(event).expect("an event has no map with keys that are not strings")
        }
    };
    stream(&format!("{line}\n"))
}

/// Reads server-sent events: only `data:` lines matter, each a whole event.
async fn follow(args: &Args, client: &Client, after: u64) -> Result<(), CliError> {
    let response = client.stream(&format!("/v1/events/stream?after={after}")).await?;
    let mut chunks = response.bytes_stream();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        pending.extend_from_slice(
            &chunk.map_err(|error| CliError::because("the stream of events broke off", error))?,
        );
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Some(event) =
                line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice(data).ok())
            {
                tell(args, &event)?;
            }
        }
    }
    Err(CliError::new("the daemon ended the stream of events")
        .hint("`gitops events --follow` starts it again"))
}
