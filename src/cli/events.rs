//! `gitops events`

use futures_util::StreamExt as _;
use gitops_core::render::events;
use reqwest::Response;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, stream};
use super::patience::Patience;
use crate::api::wire::EventPage;
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
        follow(&client, after, |event| tell(args, event)).await?;
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

/// Goes on after event `after` until `tell` fails, and takes up again where a daemon that went away broke off.
async fn follow(
    client: &Client,
    mut after: u64,
    mut tell: impl FnMut(&Event) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut patience = Patience::default();
    // The pages before were its answer.
    patience.answered();
    loop {
        match client.stream(&format!("/v1/events/stream?after={after}")).await {
            Err(error) => patience.failed(error).await?,
            Ok(response) => {
                patience.answered();
                let told = read(response, |event| {
                    after = event.id;
                    tell(event)
                });
                told.await?;
                patience.ended().await;
            }
        }
    }
}

/// Reads server-sent events until they end or break off: only `data:` lines matter, each a whole event.
async fn read(
    response: Response,
    mut tell: impl FnMut(&Event) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut chunks = response.bytes_stream();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Some(event) =
                line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice(data).ok())
            {
                tell(&event)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A daemon that answers one request after the other with these, each over its own connection, and returns what
    /// it was asked for.
    async fn daemon(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                assert_ne!(connection.read_buf(&mut request).await.expect("a request"), 0);
            }
            let request = String::from_utf8(request).expect("UTF-8");
            asked.push(request.split(' ').nth(1).expect("a path").to_owned());
            connection.write_all(answer.as_bytes()).await.expect("a caller");
        }
        asked
    }

    fn streamed(id: u64) -> String {
        let event =
            serde_json::json!({ "id": id, "at": "2026-01-01T00:00:00Z", "kind": "k", "message": "m" });
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: {id}\ndata: {event}\n\n"
        )
    }

    fn refused(status: &str, detail: &str) -> String {
        let body =
            serde_json::json!({ "code": "c", "status": 1, "title": "t", "detail": detail }).to_string();
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn following_goes_on_where_it_broke_off_when_the_daemon_is_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = Client::of(&format!("http://{address}"), "secret");
        let answers = vec![
            streamed(8),
            refused("503 Service Unavailable", "the daemon is stopping"),
            streamed(9),
            refused("401 Unauthorized", "the token is unknown"),
        ];
        let mut told = Vec::new();
        let follow = follow(&client, 7, |event| {
            told.push(event.id);
            Ok(())
        });
        let (asked, ended) = tokio::join!(daemon(listener, answers), follow);
        assert_eq!(ended.expect_err("the token was revoked").to_string(), "the token is unknown");
        assert_eq!(told, [8, 9]);
        let after = |number: u64| format!("/v1/events/stream?after={number}");
        assert_eq!(asked, [after(7), after(8), after(8), after(9)]);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::of(&format!("http://{}", listener.local_addr().expect("bound")), "secret");
        let follow = follow(&client, 0, |_| Err(CliError::ReaderGone));
        let (_, ended) = tokio::join!(daemon(listener, vec![streamed(1)]), follow);
        assert!(matches!(ended, Err(CliError::ReaderGone)));
    }
}
