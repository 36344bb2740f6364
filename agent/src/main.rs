//! `gitops-agent`: pulls the plan of one node, makes it true, and says so.

use std::process::ExitCode;

fn main() -> ExitCode {
    gitops_agent::cli::main()
}
