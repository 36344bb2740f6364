//! Diagnostics, diff, plan and status as text and JSON: the only place that formats for people.
//!
//! Text is returned with terminal colours in it. Whoever prints it goes through `anstream`, which takes them out
//! again where the output is no terminal or `NO_COLOR` is set. What comes from files or from the network is made
//! inert first: see [`inert`].

pub mod annotations;
pub mod capacity;
pub mod controls;
pub mod decisions;
pub mod diagnostics;
pub mod diff;
pub mod difference;
pub mod draining;
pub mod drift;
pub mod events;
pub mod explain;
pub mod features;
pub mod json;
pub mod logs;
pub mod markdown;
mod page;
pub mod plan;
pub mod progress;
pub mod release;
pub mod review;
pub mod settings;
pub mod status;
mod table;
pub mod trace;
pub mod why;

use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// How what is wrong is painted.
pub const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// `text` in a style, for a stream that takes the colours out where there are none.
pub fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Text from outside without anything that a terminal would obey, or that hides or turns around what stands beside it:
/// such characters become `·`, so that it shows that something was there.
pub fn inert(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' || is_unseen(c) { '·' } else { c }).collect()
}

/// Whether a character is not seen and changes how others are: their order, or that they seem to be one word.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{feff}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}')
}

/// `1 service`, `2 services`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A span of time in its largest unit: `5s`, `3m`, `2h`, `4d`.
pub fn span(span: SignedDuration) -> String {
    match span.as_secs().max(0) {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_come_out_inert() {
        assert_eq!(inert("a\u{1b}[2Jb\r\n\u{9b}c\td"), "a·[2Jb···c\td");
        assert_eq!(inert("a\u{202e}b\u{200b}c\u{2066}é日"), "a·b·c·é日");
    }

    #[test]
    fn spans_are_in_their_largest_unit() {
        let check = |seconds, expected: &str| assert_eq!(span(SignedDuration::from_secs(seconds)), expected);
        check(-5, "0s");
        check(59, "59s");
        check(60, "1m");
        check(7_199, "1h");
        check(200_000, "2d");
    }
}
