//! What can go wrong in a command, by kind, and the exit codes.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use gitops_core::render::{BAD, inert, painted};
use gitops_core::yaml::suggestion;

/// How a command ends. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// The user's mistake, or an operation that failed.
    Failed = 1,
    /// Changes are pending. Only where it was asked for.
    Changes = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

type Source = Box<dyn Error + Send + Sync>;

/// Why a command did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// It failed, or cannot be done so.
    #[error("{message}")]
    Failed {
        /// What was being done.
        message: String,
        /// Why it failed.
        #[source]
        source: Option<Source>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The daemon cannot answer now: it is stopping, or its disk is full.
    #[error("{detail}")]
    Later {
        /// What it says.
        detail: String,
    },
    /// Whoever reads the output has seen enough. Nothing is said of it.
    #[error("nobody reads the output any more")]
    ReaderGone,
    /// The daemon does not answer.
    #[error("cannot reach the daemon at {url}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the client says.
        #[source]
        source: Source,
    },
}

impl CliError {
    /// A failure without a cause underneath.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), source: None, hint: None }
    }

    /// A failure with its cause.
    pub(super) fn because(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Failed { message: message.into(), source: Some(source.into()), hint: None }
    }

    /// A name that nothing has; `otherwise` is what to do where none is like it.
    pub(super) fn unknown<'a>(
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
        otherwise: &str,
    ) -> Self {
        Self::new(format!("there is no {kind} `{name}`")).hint(suggestion(name, known, otherwise))
    }

    /// With what to do about it.
    pub(super) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Failed { message, source, .. } => Self::Failed { message, source, hint: Some(text.into()) },
            other => other,
        }
    }

    /// The exit code that it stands for.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Failed { .. } | Self::Later { .. } => Exit::Failed,
            Self::ReaderGone => Exit::Done,
            Self::Unreachable { .. } => Exit::Unreachable,
        }
    }

    /// Prints it with every cause underneath and, last, the hint.
    pub(super) fn print(&self) {
        if !matches!(self, Self::ReaderGone) {
            anstream::eprint!("{}", self.text());
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} {}\n", painted(BAD.bold(), "error:"), inert(&self.to_string()));
        let mut cause = self.source();
        while let Some(error) = cause {
            // A mistake in a settings file comes as a picture of several lines.
            for (number, line) in error.to_string().lines().enumerate() {
                let word = if number == 0 { "because" } else { "       " };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {word} {}", inert(line));
            }
            cause = error.source();
        }
        let hint = match self {
            Self::Failed { hint, .. } => hint.as_deref(),
            Self::ReaderGone | Self::Later { .. } => None,
            Self::Unreachable { .. } => {
                Some("is `gitops serve` running there? --url and GITOPS_URL say where it is")
            }
        };
        if let Some(hint) = hint {
            let _ = writeln!(text, "  fix: {}", inert(hint));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_what_scripts_rely_on() {
        let codes = [Exit::Done, Exit::Failed, Exit::Changes, Exit::Unreachable].map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3]);
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_what_to_do() {
        let cause = std::io::Error::other("disk on fire");
        let error = CliError::because("cannot read the repository", cause).hint("buy a new disk");
        let text = anstream::adapter::strip_str(&error.text()).to_string();
        assert_eq!(
            text,
            "error: cannot read the repository\n  because disk on fire\n  fix: buy a new disk\n"
        );
    }
}
