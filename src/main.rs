//! `gitops`: the command line and the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    gitops::cli::run(std::env::args_os())
}
