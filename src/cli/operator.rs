//! `gitops operator`

use std::time::Duration;

use clap::Subcommand;
use gitops_core::decision::OperatorView;
use gitops_core::name::{OperatorName, RoleName};
use gitops_core::render::{count, decisions, json};
use reqwest::Method;

use super::client::{Client, Connection};
use super::error::{CliError, Exit};
use super::output::{Format, print, show};
use crate::api::wire::{OperatorToken, Revoked, TokenRequest};
use crate::clock;

/// List the people and scripts that operate this, and give them access
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  $ gitops operator ls\n  $ gitops operator token ada@example.org --role dba > ada.token\n  \
                  $ gitops operator revoke ada@example.org"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the operators with their roles
    Ls {
        /// How the list is printed
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Make a token for an operator and print it. It is shown this once and stored hashed. Only the first operator may,
    /// whose token is in the daemon's state folder.
    Token {
        /// Their name, as they sign commits: by it, authors are told from approvers
        operator: OperatorName,
        /// A role in which they approve changes; may be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<RoleName>,
    },
    /// Refuse every token of an operator from now on. What they decided stands. Only the first operator may.
    Revoke {
        /// Their name
        operator: OperatorName,
    },
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection)?;
    match &args.command {
        Command::Ls { output } => {
            let operators: Vec<OperatorView> = client.get("/v1/operators").await?;
            match output {
                Format::Text => show(&decisions::operators(&operators, clock::now())),
                Format::Json => show(&json::document(&operators)),
            }
        }
        Command::Token { operator, roles } => {
            let request = TokenRequest { roles: roles.iter().cloned().collect() };
            let path = format!("/v1/operators/{operator}/token");
            let made: OperatorToken = client.ask(&path, &request, Duration::from_secs(30)).await??;
            print(&format!("{}\n", made.token))?;
            anstream::eprintln!("the command line reads it from the file that GITOPS_TOKEN_FILE names");
            Ok(Exit::Done)
        }
        Command::Revoke { operator } => {
            let path = format!("/v1/operators/{operator}/token");
            let revoked: Revoked = client.send(Method::DELETE, &path).await?;
            let number = usize::try_from(revoked.revoked).unwrap_or(usize::MAX);
            show(&format!("revoked {} of {operator}\n", count(number, "token")))
        }
    }
}
