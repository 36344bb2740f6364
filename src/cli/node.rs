//! `gitops node`

use clap::Subcommand;
use reqwest::Method;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, print};
use crate::api::wire::{NodeToken, Revoked};
use crate::clock;
use crate::fleet::FleetStatus;
use crate::name::NodeName;
use crate::render::{count, json, status};

/// List nodes and give their agents access
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops node ls\n  $ gitops node token edge-1 > edge-1.token\n  $ gitops node revoke edge-1"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the nodes, their machines and how they stand
    Ls {
        /// How the result is printed
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Make a token for the agent of a node and print it. It is shown this once and stored hashed.
    Token {
        /// The node
        node: NodeName,
    },
    /// Refuse every token of a node from now on
    Revoke {
        /// The node
        node: NodeName,
    },
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    match &args.command {
        Command::Ls { output } => {
            let fleet: FleetStatus = client.get("/v1/status").await?;
            match output {
                Format::Text => {
                    print(&format!(
                        "{}{}",
                        status::nodes(&fleet.nodes, clock::now()),
                        status::hosts(&fleet.nodes)
                    ))?;
                }
                Format::Json => print(&json::document(&fleet.nodes))?,
            }
        }
        Command::Token { node } => {
            let token: NodeToken = client.send(Method::POST, &format!("/v1/nodes/{node}/token")).await?;
            print(&format!("{}\n", token.token))?;
            anstream::eprintln!(
                "the agent of {node} reads it from the file that `token_file` names in its agent.toml"
            );
            let fleet: FleetStatus = client.get("/v1/status").await?;
            if !fleet.nodes.iter().any(|view| view.node == *node) {
                anstream::eprintln!("note: the definitions have no node `{node}` so far");
            }
        }
        Command::Revoke { node } => {
            let revoked: Revoked = client.send(Method::DELETE, &format!("/v1/nodes/{node}/token")).await?;
            let number = usize::try_from(revoked.revoked).unwrap_or(usize::MAX);
            print(&format!("revoked {} of {node}\n", count(number, "token")))?;
        }
    }
    Ok(Exit::Done)
}
