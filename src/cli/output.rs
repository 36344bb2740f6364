//! Output that can be text or JSON, and text that depends on who reads it.

use std::io::IsTerminal;

use clap::ValueEnum;

use crate::render::diagnostics;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Pictures at a terminal, lines elsewhere.
pub(super) fn form(stream: &impl IsTerminal) -> diagnostics::Form {
    if stream.is_terminal() { diagnostics::Form::Pictures } else { diagnostics::Form::Lines }
}
