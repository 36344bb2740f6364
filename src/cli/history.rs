//! `gitops history`

use gitops_core::name::ServiceName;
use gitops_core::release::ReleasePage;
use gitops_core::render::{json, release};

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, show};

/// Show what was deployed when, by whom, and how it went: the newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops history\n  $ gitops history web         what changed of one service\n  \
                  $ gitops history --before 120 --limit 50"
)]
pub(super) struct Args {
    /// Only releases that changed this service, with the fields that changed
    service: Option<ServiceName>,
    /// How many to show, at most 100
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Only releases with a smaller number
    #[arg(long, value_name = "RELEASE")]
    before: Option<u64>,
    /// How the list is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let page: ReleasePage = Client::new(&args.connection)?.get(&path(args)).await?;
    if args.output == Format::Json {
        return show(&json::document(&page));
    }
    match page.releases.last() {
        None => nothing(args),
        Some(last) => {
            let exit = show(&release::list(&page.releases))?;
            let full = page.releases.len() == args.limit as usize;
            if full && last.release.number > 1 {
                let service = args.service.as_ref().map_or(String::new(), |service| format!(" {service}"));
                anstream::eprintln!("older: gitops history{service} --before {}", last.release.number);
            }
            Ok(exit)
        }
    }
}

fn path(args: &Args) -> String {
    let service = args.service.as_ref().map_or(String::new(), |service| format!("&service={service}"));
    let before = args.before.map_or(String::new(), |before| format!("&before={before}"));
    format!("/v1/releases?limit={}{before}{service}", args.limit)
}

/// What is said in the place of an empty list.
fn nothing(args: &Args) -> Result<Exit, CliError> {
    let words = match (&args.service, args.before) {
        (_, Some(before)) => format!("no release before {before} is kept"),
        (Some(service), None) => format!("no release that is kept changed {service}"),
        (None, None) => "nothing was deployed yet".to_owned(),
    };
    anstream::eprintln!("{words}");
    Ok(Exit::Done)
}
