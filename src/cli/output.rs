//! Output that can be text or JSON, and text that depends on who reads it.

use std::io::{IsTerminal, Write as _};

use clap::ValueEnum;
use gitops_core::render::diagnostics;

use super::error::{CliError, Exit};

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints a result to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    match stream(text) {
        Err(CliError::ReaderGone) => Ok(()),
        other => other,
    }
}

/// Prints a part of what has no end. [`CliError::ReaderGone`] where nobody reads it any more.
pub(super) fn stream(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::ReaderGone),
        other => other.map_err(|error| CliError::because("cannot print the result", error)),
    }
}

/// Prints all that a command has to say.
pub(super) fn show(text: &str) -> Result<Exit, CliError> {
    print(text).map(|()| Exit::Done)
}

/// How wide the terminal is that standard output goes to, in columns; none where it goes elsewhere.
pub(super) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Pictures at a terminal, lines elsewhere.
pub(super) fn form(stream: &impl IsTerminal) -> diagnostics::Form {
    if stream.is_terminal() { diagnostics::Form::Pictures } else { diagnostics::Form::Lines }
}
