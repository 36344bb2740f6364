//! `gitops suspend` and `gitops resume`

use clap::ValueEnum;
use gitops_core::decision::{Held, Part};
use gitops_core::name::NameError;

use super::client::Connection;
use super::error::{CliError, Exit};
use super::hold::{self, Reason, Term, Which};

/// Stop every change of a service, a node or an environment; what runs goes on running, and is healed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops suspend service web -m \"it flaps, see INC-7\" --for 2h\n  \
                  $ gitops suspend node edge-1 -m \"new disks\"\n  $ gitops suspend environment production -m \"audit\"")]
pub(super) struct Args {
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    connection: Connection,
}

/// End a suspension: changes that waited go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ gitops resume service web\n  $ gitops resume node edge-1 --hold 7")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct PartArgs {
    /// What kind of thing it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A service, wherever it runs
    Service,
    /// Everything on a node
    Node,
    /// Everything in an environment
    Environment,
}

impl PartArgs {
    fn part(&self) -> Result<Part, CliError> {
        let part: Result<Part, NameError> = match self.kind {
            Kind::Service => self.name.parse().map(Part::Service),
            Kind::Node => self.name.parse().map(Part::Node),
            Kind::Environment => self.name.parse().map(Part::Environment),
        };
        part.map_err(|error| CliError::new(error.to_string()))
    }
}

pub(super) async fn run(args: &Args) -> Result<Exit, CliError> {
    let what = Held::Suspend { on: args.part.part()? };
    hold::begin(&args.connection, what, &args.reason, Some(&args.term)).await
}

pub(super) async fn resume(args: &ResumeArgs) -> Result<Exit, CliError> {
    let part = args.part.part()?;
    let is_meant = |held: &Held| matches!(held, Held::Suspend { on } if *on == part);
    hold::end(&args.connection, &args.which, &part.to_string(), is_meant).await
}
