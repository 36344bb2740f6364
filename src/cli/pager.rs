//! Long text at a terminal, through a pager.
//!
//! The pager is a program with its arguments, started as such: no shell reads the text of a setting. Where it cannot be
//! started, or the text fits the screen, the text is printed as it is.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;
use std::process::Stdio;

use super::error::CliError;
use super::output;

/// How long text is shown at a terminal
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Pager {
    /// Print long text at once, without a pager
    #[arg(long)]
    no_pager: bool,
    /// The pager and its arguments
    #[arg(long, env = "GITOPS_PAGER", hide = true)]
    pager: Option<String>,
    #[arg(long, env = "PAGER", hide = true)]
    usual_pager: Option<String>,
}

/// Quits at once where the text fits, keeps colours, and leaves the text on the screen.
const USUAL: &str = "less -FRX";

/// Prints text, through the pager where it is longer than the screen is high.
pub(super) fn print(text: &str, pager: &Pager) -> Result<(), CliError> {
    let lines = text.lines().count();
    match pager.words().split_first() {
        Some((program, arguments)) if !pager.no_pager && lines >= height() => {
            page(text, program, arguments).unwrap_or_else(|_| output::print(text))
        }
        _ => output::print(text),
    }
}

impl Pager {
    fn words(&self) -> Vec<&str> {
        let setting = self.pager.as_deref().or(self.usual_pager.as_deref()).unwrap_or(USUAL);
        setting.split_whitespace().collect()
    }
}

/// How high the terminal is; without one nothing is too long.
fn height() -> usize {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten();
    size.map_or(usize::MAX, |size| usize::from(size.ws_row).max(1))
}

/// Gives the text to the pager and waits until it ends. The outer error says that it did not start.
fn page(text: &str, program: &str, arguments: &[&str]) -> std::io::Result<Result<(), CliError>> {
    #[expect(clippy::disallowed_methods, reason = "the pager is started here and nowhere else")]
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let mut paint =
            anstream::AutoStream::new(Vec::new(), anstream::AutoStream::choice(&std::io::stdout()));
        paint.write_all(text.as_bytes())?;
        // Who has seen enough ends the pager before it has read everything.
        let _ = input.write_all(&paint.into_inner());
    }
    Ok(child.wait().map(drop).map_err(|error| CliError::because("cannot wait for the pager", error)))
}
