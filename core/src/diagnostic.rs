//! What is wrong, where, and how to mend it, as data.
//!
//! A diagnostic carries the source line it points at, so that it can be shown with a caret by anyone who holds
//! it: the command line next to the files, a client of the daemon far from them. Nothing here formats for people;
//! `render` does.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How much a finding weighs. Only an error keeps a commit from being applied.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The commit is not applied.
    Error,
    /// Applied, and shown.
    Warning,
    /// Recorded.
    Info,
}

/// A place in a file of the definitions repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Place {
    /// Path from the root of the repository, with `/`.
    pub path: Arc<str>,
    /// From 1. 0 where the whole file, or its absence, is meant.
    pub line: u32,
    /// From 1, counted in characters. 0 with line 0.
    pub column: u32,
    /// How many characters the caret underlines, at least 1 where `line` is not 0.
    pub width: u32,
    /// The text of that line, cut to [`Place::MAX_TEXT`] bytes, so that the picture needs no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
}

impl Place {
    /// Longer source lines are cut here: a minified file must not fill a terminal or the database.
    pub const MAX_TEXT: usize = 400;

    /// A whole file, or the place where one should be.
    pub fn file(path: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), line: 0, column: 0, width: 0, text: None }
    }
}

/// One finding about the definitions.
#[must_use = "a diagnostic that is not collected is a mistake that the user never hears of"]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Diagnostic {
    /// Stable, kebab-case, fit for scripts: `unknown-field`.
    pub code: Arc<str>,
    /// How much it weighs.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// Where it is.
    pub place: Place,
    /// A few words at the caret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Further lines, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do, as an instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `place`.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, place, message)
    }

    /// A warning at `place`.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, place, message)
    }

    /// A finding that is only recorded.
    pub fn info(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, place, message)
    }

    /// A finding of the given weight.
    pub fn new(severity: Severity, code: &'static str, place: Place, message: impl Into<String>) -> Self {
        let (label, notes, help) = (None, Vec::new(), None);
        Self { code: code.into(), severity, message: message.into(), place, label, notes, help }
    }

    /// With words at the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With one more line below.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it keeps the commit from being applied.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The order in which people read them: by file and line, then the heavier first.
impl Ord for Diagnostic {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |d: &Self| (d.place.clone(), d.severity, d.code.clone());
        key(self).cmp(&key(other)).then_with(|| self.message.cmp(&other.message)).then_with(|| {
            (&self.label, &self.notes, &self.help).cmp(&(&other.label, &other.notes, &other.help))
        })
    }
}

impl PartialOrd for Diagnostic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
