//! Output of programs and containers, cut to what people read: the last lines, bounded, nothing that moves a cursor.

use std::collections::VecDeque;

/// Bytes that are kept of a program's output, whatever it prints.
const KEPT: usize = 64 << 10;

/// Characters that are kept of one line.
const LINE: usize = 500;

/// The end of a stream of bytes.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes what came next, and forgets what is too old.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..excess);
        self.0.extend(bytes);
    }

    /// The last `count` lines that are not blank, as one text.
    pub fn last_lines(&self, count: usize) -> String {
        self.lines(count).join("\n")
    }

    /// The last `count` lines that are not blank, oldest first.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<_> =
            text.lines().rev().map(plain).filter(|line| !line.is_empty()).take(count).collect();
        lines.reverse();
        lines
    }
}

/// One line without control characters and terminal sequences, cut to [`LINE`] characters.
pub fn plain(line: &str) -> String {
    // A progress display overwrites a line by going back to its start: what was last written is what was shown.
    let line = line.trim_end_matches('\r');
    let line = line.rsplit_once('\r').map_or(line, |(_, shown)| shown);
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => skip_sequence(&mut rest),
            '\t' => text.push(' '),
            // Unicode's own controls of direction can make a line read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            _ if character.is_control() => {}
            _ => text.push(character),
        }
    }
    text.trim().chars().take(LINE).collect()
}

/// After an escape: `[` begins a sequence that ends with a byte from `@` to `~`; all others are one character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    if rest.next() == Some('[') {
        rest.find(|character| ('@'..='~').contains(character));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_without_what_moves_a_cursor() {
        let check = |line: &str, expected: &str| assert_eq!(plain(line), expected, "{line:?}");
        check("plain", "plain");
        check("  indented \t and\ttabbed ", "indented   and tabbed");
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("\u{1b}cgone \u{1b}", "gone");
        check("10%\r50%\r100%", "100%");
        check("windows\r", "windows");
        check("bell\u{7} nul\0 delete\u{7f} c1\u{9b}31m", "bell nul delete c131m");
        check("a\u{202e}b", "ab");
        check(&"x".repeat(LINE + 1), &"x".repeat(LINE));
    }

    #[test]
    fn the_last_lines_are_kept_however_much_comes() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(format!("line {number}\n\n").as_bytes());
        }
        assert_eq!(tail.lines(2), ["line 99998", "line 99999"]);
        assert!(tail.0.len() <= KEPT);
        tail.push(&[b'x'; 3 * KEPT]);
        assert_eq!(tail.0.len(), KEPT);
        assert_eq!(tail.last_lines(9), "x".repeat(LINE));
    }

    #[test]
    fn bytes_that_are_not_utf8_do_no_harm() {
        let mut tail = Tail::default();
        tail.push(b"caf\xff\n");
        assert_eq!(tail.last_lines(1), "caf\u{fffd}");
    }
}
