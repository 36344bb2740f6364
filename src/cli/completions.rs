//! `gitops completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::error::{CliError, Exit};
use super::output::show;

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
    show(&String::from_utf8_lossy(&script))
}
