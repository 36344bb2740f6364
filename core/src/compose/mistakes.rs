//! What is wrong with one service, up to the number that a person mends in one go.
//!
//! A generated file may have tens of thousands of mistakes. Each of them costs the search for its place, and nobody
//! reads so many: the first hundred are said, the rest only counted.

use crate::diagnostic::{Diagnostic, Place};

/// How many are said.
pub(super) const MAX_MISTAKES: usize = 100;

/// Findings of one kind: mistakes, or warnings.
#[derive(Default)]
pub(super) struct Mistakes {
    said: Vec<Diagnostic>,
    unsaid: usize,
}

impl Mistakes {
    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// From here on mistakes are only counted, so that no place needs to be looked up.
    pub(super) fn is_full(&self) -> bool {
        self.said.len() >= MAX_MISTAKES
    }

    /// Counts one that is not said, where even its words would cost too much; false while there is room to say it.
    pub(super) fn skips(&mut self) -> bool {
        self.unsaid += usize::from(self.is_full());
        self.is_full()
    }

    /// Adds one. It is made only if it is said.
    pub(super) fn add(&mut self, make: impl FnOnce() -> Diagnostic) {
        if !self.skips() {
            self.said.push(make());
        }
    }

    /// All that are said, in order, and how many are not. `folder` is that of the service.
    pub(super) fn into_diagnostics(mut self, folder: &str) -> Vec<Diagnostic> {
        self.said.sort();
        self.said.dedup();
        let Some(last) = self.said.last().filter(|_| self.unsaid > 0) else { return self.said };
        let message = format!("and {} more in the Compose files of {folder}", self.unsaid);
        let place = Place::file(last.place.path.clone());
        let more = Diagnostic::new(last.severity, "more-mistakes", place, message);
        self.said.push(more.help("mend those that are shown, then look again"));
        self.said
    }
}
