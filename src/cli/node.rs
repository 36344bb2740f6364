//! `gitops node`

use clap::Subcommand;
use gitops_core::decision::Held;
use gitops_core::fleet::FleetStatus;
use gitops_core::name::NodeName;
use gitops_core::render::{count, json, status};
use reqwest::Method;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::hold::{self, Reason, Term, Which};
use super::output::{Format, print};
use crate::api::wire::{NodeToken, Revoked};
use crate::clock;

/// List nodes, give their agents access, and take nodes out of use
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops node ls\n  $ gitops node token edge-1 > edge-1.token\n  $ gitops node revoke edge-1\n  \
                  $ gitops node drain edge-1 -m \"new disks\"\n  $ gitops node uncordon edge-1"
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
    /// Let nothing new come to a node; what runs there stays
    Cordon {
        /// The node
        node: NodeName,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        term: Term,
    },
    /// Let nothing new come to a node, and let what can be elsewhere go there
    Drain {
        /// The node
        node: NodeName,
        /// Stop what can be nowhere else, too
        #[arg(long)]
        stop: bool,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        term: Term,
    },
    /// End a cordon or a drain: the node is used again
    Uncordon {
        /// The node
        node: NodeName,
        #[command(flatten)]
        which: Which,
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
        Command::Cordon { node, reason, term } => {
            let what = Held::Cordon { node: node.clone() };
            return hold::begin(&args.connection, what, reason, Some(term)).await;
        }
        Command::Drain { node, stop, reason, term } => {
            let what = Held::Drain { node: node.clone(), stop: *stop };
            return hold::begin(&args.connection, what, reason, Some(term)).await;
        }
        Command::Uncordon { node, which } => return uncordon(&args.connection, node, which).await,
        Command::Revoke { node } => {
            let revoked: Revoked = client.send(Method::DELETE, &format!("/v1/nodes/{node}/token")).await?;
            let number = usize::try_from(revoked.revoked).unwrap_or(usize::MAX);
            print(&format!("revoked {} of {node}\n", count(number, "token")))?;
        }
    }
    Ok(Exit::Done)
}

/// Whichever keeps the node from being used.
async fn uncordon(connection: &Connection, node: &NodeName, which: &Which) -> Result<Exit, CliError> {
    let is_meant = |held: &Held| match held {
        Held::Cordon { node: held } | Held::Drain { node: held, .. } => held == node,
        _ => false,
    };
    hold::end(connection, which, &format!("node {node}"), is_meant).await
}
