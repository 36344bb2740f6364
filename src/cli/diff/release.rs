//! `gitops diff --release`: what a past release did, as the daemon keeps it.

use gitops_core::render::release::left_out;

use super::super::client::block_on;
use super::super::error::{CliError, Exit};
use super::super::show::{self, Number};
use super::Args;

pub(super) fn run(args: &Args, number: Number) -> Result<Exit, CliError> {
    let kept = block_on(show::release(&args.live.connection, number))?.kept;
    super::show(&kept.diff, args.output, &args.pager)?;
    if let Some(line) = left_out(&kept) {
        anstream::eprintln!("{line}");
    }
    args.verdict.of(&kept.diff)
}
