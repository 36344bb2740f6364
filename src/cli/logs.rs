//! `gitops logs`

use std::time::Duration;

use gitops_core::fleet::{FleetStatus, NodeView};
use gitops_core::log::LogEntry;
use gitops_core::name::NodeName;
use gitops_core::protocol::LOG_LINES;
use gitops_core::render::logs;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, stream};
use super::patience::Patience;
use super::target::Target;
use crate::api::wire::LogPage;

/// Show what agents did for a service, and what Docker Compose said
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops logs web\n  $ gitops logs web@edge-1 --tail 20\n  $ gitops logs web --follow -o json"
)]
pub(super) struct Args {
    /// The service, and where it should be of one node only, that node
    #[arg(value_name = "SERVICE[@NODE]")]
    what: Target,
    /// Only of this node
    #[arg(long)]
    node: Option<NodeName>,
    /// How many of the newest lines to show, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LOG_LINES as i64))]
    tail: u32,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How each line is printed; JSON is one document to a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// How often `--follow` asks.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    if let (Some(one), Some(other)) = (&args.what.node, &args.node)
        && one != other
    {
        return Err(CliError::new(format!(
            "`{}@{one}` is not on `{other}`: name one node",
            args.what.service
        )));
    }
    let client = Client::new(&args.connection)?;
    let (mut after, mut patience) = (None, Patience::default());
    loop {
        let page: LogPage = match client.get(&path(args, after)).await {
            Ok(page) => page,
            Err(error) => {
                patience.failed(error).await?;
                continue;
            }
        };
        patience.answered();
        page.lines.iter().try_for_each(|entry| tell(args, entry))?;
        let last = page.lines.last().map(|entry| entry.id);
        if !args.follow {
            if last.is_none() {
                is_there(args, &client.get("/v1/status").await?)?;
                anstream::eprintln!(
                    "no agent has done anything for {} that is still kept",
                    args.what.service
                );
            }
            return Ok(Exit::Done);
        }
        after = last.or(after);
        // A full page may have more behind it.
        if page.lines.len() < LOG_LINES {
            tokio::time::sleep(PERIOD).await;
        }
    }
}

/// Whether the service is where its log is asked for.
fn is_there(args: &Args, fleet: &FleetStatus) -> Result<(), CliError> {
    let Target { service, node } = &args.what;
    let has = |view: &&NodeView| view.instances.iter().any(|instance| instance.service == *service);
    let nodes: Vec<&str> = fleet.nodes.iter().filter(has).map(|view| view.node.as_str()).collect();
    match node.as_ref().or(args.node.as_ref()) {
        _ if nodes.is_empty() => Err(CliError::new(format!("no node has a service `{service}`"))
            .hint("`gitops status` lists the services")),
        Some(node) if !nodes.contains(&node.as_str()) => {
            let error = CliError::new(format!("`{service}` is not on node `{node}`"));
            Err(error.hint(format!("it is on {}", nodes.join(", "))))
        }
        _ => Ok(()),
    }
}

fn path(args: &Args, after: Option<u64>) -> String {
    let Target { service, node } = &args.what;
    let node = node.as_ref().or(args.node.as_ref()).map_or(String::new(), |node| format!("&node={node}"));
    let range = match after {
        Some(after) => format!("&after={after}&limit={LOG_LINES}"),
        None => format!("&limit={}", args.tail),
    };
    format!("/v1/logs?service={service}{node}{range}")
}

fn tell(args: &Args, entry: &LogEntry) -> Result<(), CliError> {
    let line = match args.output {
        Format::Text => logs::line(entry),
        Format::Json => {
            serde_json::to_string(entry).expect("a line has no map with keys that are not strings")
        }
    };
    stream(&format!("{line}\n"))
}
