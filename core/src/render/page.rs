//! Text that fits the width of a terminal.
//!
//! A line that is too long goes on below, further in, so nothing of it is lost; only lines of files are cut, which would
//! else no longer stand below each other. Without a width every line is as long as it is.

use anstyle::Style;
use unicode_width::UnicodeWidthChar as _;

use super::inert;

/// Lines, being written.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    width: Option<usize>,
}

/// A part of a line in one style.
pub(super) type Span = (Style, String);

/// A part of a line without a style.
pub(super) fn plain(text: impl Into<String>) -> Span {
    (Style::new(), text.into())
}

/// Narrower than this no terminal is taken for.
const LEAST_WIDTH: usize = 40;
/// How much further in a line goes on.
const HANG: usize = 4;

impl Page {
    pub(super) fn new(width: Option<usize>) -> Self {
        Self { text: String::new(), width: width.map(|width| width.max(LEAST_WIDTH)) }
    }

    /// An empty line, but not at the top.
    pub(super) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A line so far in.
    pub(super) fn line(&mut self, indent: usize, spans: impl IntoIterator<Item = Span>) {
        let mut at = indent;
        self.text.push_str(&" ".repeat(indent));
        for (style, text) in spans {
            at = self.span(style, &inert(&text), at, indent + HANG);
        }
        self.text.push('\n');
    }

    /// A line that is cut where it does not fit.
    pub(super) fn cut_line(&mut self, indent: usize, (style, text): Span) {
        let text = inert(&text).replace('\t', "    ");
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let shown = if columns(&text) <= room { text } else { format!("{}…", taken(&text, room - 1)) };
        self.text.push_str(&format!("{}{style}{shown}{style:#}\n", " ".repeat(indent)));
    }

    /// Writes words one after the other, on the next line where they do not fit. Returns the column after them.
    fn span(&mut self, style: Style, text: &str, mut at: usize, hang: usize) -> usize {
        let width = self.width.unwrap_or(usize::MAX);
        self.text.push_str(&style.render().to_string());
        for word in text.split_inclusive(' ') {
            let length = columns(word.trim_end_matches(' '));
            if at + length > width && at > hang {
                self.turn(style, hang);
                at = hang;
            }
            at = self.word(style, word, at, hang);
        }
        self.text.push_str(&style.render_reset().to_string());
        at
    }

    /// Writes a word, in pieces where it is longer than a line.
    fn word(&mut self, style: Style, word: &str, mut at: usize, hang: usize) -> usize {
        let width = self.width.unwrap_or(usize::MAX);
        let mut rest = word;
        while columns(rest.trim_end_matches(' ')) > width - at.min(width) && at < width {
            let piece = taken(rest, width - at);
            self.text.push_str(piece);
            rest = &rest[piece.len()..];
            self.turn(style, hang);
            at = hang;
        }
        self.text.push_str(rest);
        at + columns(rest)
    }

    /// Goes on with the next line, without blanks at the end of this one.
    fn turn(&mut self, style: Style, hang: usize) {
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push_str(&format!("{}\n{}{}", style.render_reset(), " ".repeat(hang), style.render()));
    }

    pub(super) fn end(self) -> String {
        self.text
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// As much from the start of a text as fits; one character at least.
fn taken(text: &str, room: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > room && at > 0 {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize, indent: usize, text: &str) -> String {
        let mut page = Page::new(Some(width));
        page.line(indent, [plain(text)]);
        page.end()
    }

    #[test]
    fn long_lines_go_on_further_in() {
        let words = "one two three four five six seven eight nine ten";
        let expected = "  one two three four five six seven\n      eight nine ten\n";
        assert_eq!(page(40, 2, words), expected);
        assert_eq!(page(80, 2, words), format!("  {words}\n"));
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        for text in [&"x".repeat(200), &"é日本 ".repeat(60), &"a b ".repeat(100)] {
            for indent in [0, 4, 12] {
                let page = page(40, indent, text);
                assert!(page.lines().all(|line| columns(line) <= 40), "{page}");
                let kept: String = page.chars().filter(|c| !c.is_whitespace()).collect();
                let meant: String = text.chars().filter(|c| !c.is_whitespace()).collect();
                assert_eq!(kept, meant, "nothing is lost");
            }
        }
    }

    #[test]
    fn lines_of_files_are_cut() {
        let mut page = Page::new(Some(40));
        page.cut_line(2, plain("x".repeat(50)));
        page.cut_line(2, plain("a\tb"));
        assert_eq!(page.end(), format!("  {}…\n  a    b\n", "x".repeat(37)));
    }
}
