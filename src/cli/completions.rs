//! `gitops completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::error::{CliError, Exit};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ gitops completions bash > /etc/bash_completion.d/gitops")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "gitops", &mut std::io::stdout());
    Ok(Exit::Done)
}
