//! Where a secret of a text begins and ends: after a name that announces it, and as far as the notation of the file goes
//! on with it.
//!
//! No format is parsed, because a file may be of any. Every line is either within the value of a line above or looked at
//! by itself; what it leaves open decides on the lines below.

use std::ops::Range;

use super::pairs::{self, Found, Pair, Table};
use super::words::{is_part, without_secrets};
use super::{HIDDEN, Sensitive, commands};

/// Who reads a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program: `password hunter2` sets one.
    File,
    /// People: "password policy" and "auth: mend the login" set none.
    Prose,
}

/// The lines of a text with their secrets taken out.
pub(super) fn shown<'a>(
    sensitive: &Sensitive,
    lines: impl Iterator<Item = &'a str>,
    kind: Kind,
) -> Vec<String> {
    let lines: Vec<&str> = lines.collect();
    if let Some(table) = Table::of(sensitive, &lines).filter(|_| kind == Kind::File) {
        let below = lines[1..].iter().map(|line| table.shown(line));
        return [lines[0].to_owned()].into_iter().chain(below).collect();
    }
    let mut text = Text { sensitive, kind, open: None, pair: Pair::default(), shown: Vec::new() };
    lines.into_iter().for_each(|line| text.take(line));
    text.shown
}

/// A text as far as it was looked at.
struct Text<'a> {
    sensitive: &'a Sensitive,
    kind: Kind,
    /// What the lines above leave open.
    open: Option<Open>,
    pair: Pair,
    shown: Vec<String>,
}

impl Text<'_> {
    fn take(&mut self, line: &str) {
        let (is_hidden, still) = self.open.take().map_or((false, None), |open| open.over(line));
        self.open = still;
        let shown =
            if is_hidden { hidden(line) } else { self.looked_at(&self.sensitive.without_known(line)) };
        self.shown.push(shown);
    }

    /// A line that is not within the value of one above.
    fn looked_at(&mut self, line: &str) -> String {
        let mut found = assignment(self.sensitive, line, self.kind);
        if self.kind == Kind::File {
            match self.pair.take(self.sensitive, self.shown.len(), line) {
                Some(Found::Value(value)) => found = earlier(found, Some(value)),
                Some(Found::Since(number)) => {
                    self.shown[number..].iter_mut().for_each(|above| *above = hidden(above));
                }
                None => found = earlier(found, pairs::of_line(self.sensitive, line)),
            }
        }
        if let Some(found) = &found {
            self.open = Some(found.leaves_open(line));
        } else if is_section(self.sensitive, line) {
            self.open = Some(Open::Section);
        }
        found.map_or_else(|| without_secrets(line), |found| found.hidden(line))
    }
}

/// Nothing of a line but how far in it stands.
fn hidden(line: &str) -> String {
    format!("{}{HIDDEN}", &line[..indent(line)])
}

/// What a line leaves open: which of the lines below belong to its secret.
enum Open {
    /// Those further in than this; after a name without a value also its list, and what has no name of its own.
    Below { top: usize, is_empty: bool },
    /// All to the one with this in it.
    Until(String),
    /// All to the one that begins with this and is not further in.
    Closed { top: usize, by: char },
    /// The next, and those after it as long as they end in a backslash.
    Continued,
    /// All to the next section.
    Section,
}

impl Open {
    /// Whether this line belongs to the secret, and what is open after it.
    fn over(self, line: &str) -> (bool, Option<Self>) {
        let (depth, text) = (indent(line), line.trim());
        if text.is_empty() {
            return (false, Some(self));
        }
        let (is_within, is_last) = match &self {
            Self::Below { top, is_empty } => {
                let is_bare = text.starts_with(|c: char| is_part(c) || matches!(c, '"' | '\''))
                    && !text.contains([':', '=']);
                (depth > *top || *is_empty && depth == *top && (text.starts_with("- ") || is_bare), false)
            }
            Self::Until(end) => (true, text.contains(end.as_str())),
            Self::Closed { top, by } => (depth > *top || !text.starts_with(*by), false),
            Self::Continued => (true, !text.ends_with('\\')),
            Self::Section => (!text.starts_with('['), false),
        };
        (is_within, (is_within && !is_last).then_some(self))
    }
}

/// A name that says its value is secret, and where that begins; at the end of the line where it has none.
pub(super) struct Assignment {
    pub(super) name: Range<usize>,
    pub(super) value: usize,
}

impl Assignment {
    /// Of what follows a name, and the signs between both.
    pub(super) fn of(line: &str, name: Range<usize>) -> (&str, Self) {
        let after = line[name.end..].trim_start_matches(is_sign);
        let value = line.len() - after.len();
        (&line[name.end..value], Self { name, value })
    }

    fn hidden(&self, line: &str) -> String {
        let (before, value) = line.split_at(self.value);
        let quote = before.chars().last().filter(|c| matches!(c, '"' | '\'')).map(String::from);
        let before = without_secrets(before);
        let is_told = value.is_empty() || before.ends_with(HIDDEN);
        if is_told { before } else { format!("{before}{HIDDEN}{}", quote.unwrap_or_default()) }
    }

    fn leaves_open(&self, line: &str) -> Open {
        let (name, value) = (&line[self.name.clone()], line[self.value..].trim_end());
        let before = &line[..self.name.start];
        if before.ends_with('<') && !value.contains("</") && !value.ends_with("/>") {
            return Open::Until(format!("</{name}"));
        }
        if let Some(quote) = self.open_quote(line) {
            return Open::Until(quote.to_owned());
        }
        let top = top(line);
        match line.trim_end().chars().last() {
            Some('\\') => Open::Continued,
            Some('{') => Open::Closed { top, by: '}' },
            Some('[') => Open::Closed { top, by: ']' },
            Some('(') => Open::Closed { top, by: ')' },
            _ => Open::Below { top, is_empty: value.is_empty() },
        }
    }

    /// The quote that begins the value, if the line does not end it.
    fn open_quote(&self, line: &str) -> Option<&'static str> {
        let (sign, value) = (&line[self.name.end..self.value], &line[self.value..]);
        // The quote after a name in quotes is the name's.
        let is_quoted = line[..self.name.start].ends_with(['"', '\'']);
        let sign = if is_quoted { sign.strip_prefix(['"', '\'']).unwrap_or(sign) } else { sign };
        let is_open = |quote: &str| sign.matches(quote).count() % 2 == 1 && !value.contains(quote);
        ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| is_open(quote))
    }
}

/// How far in the lines below must stand to belong to this one: further than its key, or than the dash before what has
/// none.
fn top(line: &str) -> usize {
    let item = line.trim_start().trim_start_matches("- ").trim_start();
    let has_key = item.contains(": ") || item.trim_end().ends_with(':');
    if has_key { line.len() - item.len() } else { indent(line) }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `[credentials]`
fn is_section(sensitive: &Sensitive, line: &str) -> bool {
    let name = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    let name = name.map(|name| name.trim_matches(['[', ']', ' ']));
    name.is_some_and(|name| name.chars().all(is_part) && sensitive.names_a_secret(name))
}

/// What of a line is given a secret first: a name that says so, or a flag of a program that takes one.
fn assignment(sensitive: &Sensitive, line: &str, kind: Kind) -> Option<Assignment> {
    let first = line.len() - line.trim_start().trim_start_matches("- ").len();
    let of_name = names(line).find_map(|name| {
        let (_, found) = Assignment::of(line, name);
        let is_given = is_given(line, &found, kind)
            || kind == Kind::File && found.name.start == first && is_directive(&line[found.name.end..]);
        (is_given && sensitive.names_a_secret(&line[found.name.clone()])).then_some(found)
    });
    let of_flag = commands::password(line).map(|(name, value)| Assignment { name, value });
    earlier(of_name, of_flag)
}

fn earlier(one: Option<Assignment>, other: Option<Assignment>) -> Option<Assignment> {
    one.into_iter().chain(other).min_by_key(|found| found.value)
}

pub(super) fn names(line: &str) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    std::iter::from_fn(move || {
        let begin = end + line[end..].find(is_part)?;
        end = line[begin..].find(|c| !is_part(c)).map_or(line.len(), |length| begin + length);
        Some(begin..end)
    })
}

fn is_sign(c: char) -> bool {
    matches!(c, '=' | ':' | '"' | '\'' | '>' | ',' | ' ' | '\t' | '[' | '{' | '(' | '|' | '\\')
}

/// `password: x`, `PGPASSWORD=x`, `--token x`, `<password>x`.
fn is_given(line: &str, found: &Assignment, kind: Kind) -> bool {
    let (before, name) = (&line[..found.name.start], &line[found.name.clone()]);
    let (sign, value) = (&line[found.name.end..found.value], &line[found.value..]);
    let is_path = before.ends_with('/') && sign == ":";
    let is_apostrophe = sign == "'" && !before.ends_with('\'') && value.starts_with(char::is_alphabetic);
    let is_topic = kind == Kind::Prose && name.eq_ignore_ascii_case("auth") && sign == ": ";
    if is_path || is_apostrophe || is_topic {
        return false;
    }
    let is_flag = name.starts_with('-') && (!value.is_empty() || line.trim_start().starts_with("- "));
    // A quote at the end may as well be that of a quotation.
    let is_set = sign.contains(['=', ':', '>']) || sign.contains(['"', '\'']) && !value.is_empty();
    is_flag || is_set || before.ends_with('<')
}

/// `requirepass x`: what follows the first word of a line is one more, if this is true.
fn is_directive(after: &str) -> bool {
    let mut words = after.split_whitespace();
    let is_one = words.next().is_some() && words.next().is_none_or(|word| word.starts_with('#'));
    after.starts_with([' ', '\t']) && is_one
}
