//! `gitops show`, and the document of a release for `gitops diff --release`

use std::fmt;
use std::str::FromStr;

use gitops_core::release::ReleaseView;
use gitops_core::render::{json, release};

use super::client::{Client, Connection};
use super::diff::Format;
use super::error::{CliError, Exit};
use super::output::{print, width};
use super::pager::{self, Pager};

/// Show everything about one release: its commit, what it changed, and how far every node is
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops show latest\n  $ gitops show 12 -o json\n  $ gitops show 12 -o markdown"
)]
pub(super) struct Args {
    /// The number of the release, or `latest`
    release: Number,
    /// How the release is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    pager: Pager,
    #[command(flatten)]
    connection: Connection,
}

/// Which release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// The newest.
    Latest,
    /// The one with this number.
    Number(u64),
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .map(Self::Number)
                .map_err(|_| "use the number of a release, or `latest`".to_owned()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Asks for a release.
pub(super) async fn release(connection: &Connection, number: Number) -> Result<ReleaseView, CliError> {
    Client::new(connection)?.get(&format!("/v1/releases/{number}")).await
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let view = release(&args.connection, args.release).await?;
    match args.output {
        Format::Text => pager::print(&release::text(&view, width()), &args.pager)?,
        Format::Json => print(&json::document(&view))?,
        Format::Markdown => print(&release::markdown(&view))?,
    }
    Ok(Exit::Done)
}
