//! `gitops completions`

use std::io::{ErrorKind, Write as _};

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
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "gitops", &mut script);
    match std::io::stdout().write_all(&script) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::because("cannot print", error)),
        _ => Ok(Exit::Done),
    }
}
