//! The pattern of `matches`: read with the condition, and weighed, so that a search is paid for by what it may take.

use regex::bytes::{Regex, RegexBuilder};

use super::Mistake;

/// A regular expression and what each byte that it reads costs.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Steps for each byte.
    pub(super) weight: usize,
}

/// Sizes of the compiled pattern in bytes, each with its weight. At worst every state of it is visited for each byte that
/// is searched, and a state takes some twenty bytes: that is a hundred states for four steps.
const SIZES: [(usize, usize); 3] = [(1 << 11, 4), (1 << 13, 16), (1 << 15, 64)];

impl Pattern {
    /// Reads a pattern. Classes such as `\w` mean ASCII, as in RE2, which CEL names: their Unicode tables alone would go
    /// over the sizes.
    pub(super) fn read(text: &str) -> Result<Self, Mistake> {
        let mut last = None;
        for (size, weight) in SIZES {
            let regex =
                RegexBuilder::new(text).unicode(false).size_limit(size).dfa_size_limit(1 << 18).build();
            match regex {
                Ok(regex) => return Ok(Self { regex, weight }),
                Err(error) => last = Some(error),
            }
        }
        Err(Mistake::Pattern(match last {
            Some(regex::Error::CompiledTooBig(_)) => {
                "it is too large: use fewer or smaller repetitions".to_owned()
            }
            Some(error) => last_line(&error.to_string()),
            None => String::new(),
        }))
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }
}

/// The crate draws a picture; its last line says what is wrong.
fn last_line(picture: &str) -> String {
    let line = picture.lines().last().unwrap_or(picture);
    line.trim_start_matches("error: ").to_owned()
}
