//! Environment files, read by Compose's own rules, for what would get lost in them.
//!
//! Compose replaces variables in an environment file, and takes a name without a value from the environment. On a node
//! that environment is empty, and the variables of the definitions are not seen there: `URL=http://${HOST}` would
//! silently become `http://`. So both are mistakes here, unless the file itself, or one before it, says the value.
//!
//! The syntax is that of Compose's own reader: comments, `export`, `KEY=value` and `KEY: value`, values in single quotes
//! as they stand, values in double quotes with escapes, both over several lines. What travels to the node is the file
//! as it was written.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde_yaml::Value;

use super::Variables;
use super::interpolate::{Fault, MAX_BYTES, Scope};
use super::resolve::Pass;
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::Text;

/// One line of an environment file, or several if a quoted value goes on over them.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a str,
    meaning: Meaning,
    /// Where its value stands in the text; its name, if it has none.
    at: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// A name alone: the value is that of the environment.
    Bare,
    /// A value as it stands.
    Literal(String),
    /// A value whose variables are replaced.
    Template(String),
    /// What Compose refuses, in words.
    Refused(&'static str),
}

/// Every entry of the text. It goes on after what Compose refuses, so that all of that is told.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(start) = statement(text, at) {
        let (entry, end) = entry(text, start);
        entries.push(entry);
        at = end;
    }
    entries
}

/// The names that the text gives values to.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    entries(text).into_iter().map(|entry| entry.name)
}

/// Where the next entry begins: behind blanks and comments.
fn statement(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += text[at..].find(|c: char| !c.is_whitespace())?;
        if !text[at..].starts_with('#') {
            return Some(at);
        }
        at += text[at..].find('\n')?;
    }
}

/// The entry that begins at `start`, and where the text behind it begins.
fn entry(text: &str, start: usize) -> (Entry<'_>, usize) {
    let start = match text[start..].strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => {
            text.len() - rest.trim_start_matches(is_blank).len()
        }
        _ => start,
    };
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let line = &text[start..line_end];
    let name_end = line.find(['=', ':']).unwrap_or(line.len());
    let name = line[..name_end].trim_end();
    let at = start..start + name.len().max(1).min(line.len());
    if let Some(refused) = refused_name(name) {
        return (Entry { name, meaning: Meaning::Refused(refused), at }, line_end);
    }
    if name_end == line.len() {
        return (Entry { name, meaning: Meaning::Bare, at }, line_end);
    }
    let rest = &text[start + name_end + 1..];
    let value_start = text.len() - rest.trim_start_matches(is_blank).len();
    let (meaning, length) = value(&text[value_start..]);
    (Entry { name, meaning, at: value_start..value_start + length }, value_start + length)
}

fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

fn refused_name(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.-[]".contains(c);
    match name {
        "" => Some("the name of the variable is missing"),
        _ if !name.chars().all(allowed) => {
            Some("the name of a variable has only letters, digits and `_.-[]`")
        }
        _ if name.contains(' ') => Some("the name of a variable cannot have a blank in it"),
        _ => None,
    }
}

/// The value at the start of `text`, and how many bytes it takes.
fn value(text: &str) -> (Meaning, usize) {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let line = text.split('\n').next().unwrap_or_default();
        let value = line.split(" #").next().unwrap_or_default().trim_end();
        return (Meaning::Template(value.to_owned()), line.len());
    };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            let inside = text[1..at].replace("\r\n", "\n").replace(&format!("\\{quote}"), &quote.to_string());
            let meaning =
                if quote == '"' { Meaning::Template(unescaped(&inside)) } else { Meaning::Literal(inside) };
            return (meaning, at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    (Meaning::Refused("the quoted value does not end"), text.len())
}

/// The escapes of a value in double quotes, as far as they matter here: `\$` is a dollar sign as it stands, and no other
/// one makes a variable or ends one.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('$')) => plain.push_str("$$"),
            ('\\', Some('\\')) => plain.push('\\'),
            (c, next) => plain.extend([c].into_iter().chain(next)),
        }
    }
    plain
}

impl Pass<'_, '_, '_> {
    /// What would get lost in the environment files of a service.
    pub(super) fn environment_files(&mut self, service: &str, fields: &Value) {
        let given = fields.get("environment");
        for field in ["env_file", "label_file"] {
            let (mut before, mut room) = (Variables::new(), MAX_BYTES);
            if let Some(project) = &self.scope.project {
                before.insert("COMPOSE_PROJECT_NAME".into(), project.clone());
            }
            for item in fields.get(field).and_then(Value::as_sequence).into_iter().flatten() {
                let path = item.get("path").unwrap_or(item).as_str().and_then(|path| path.strip_prefix("./"));
                let raw = item.get("format").and_then(Value::as_str) == Some("raw");
                if let (Some(path), false) = (path, raw) {
                    let given = given.filter(|_| field == "env_file");
                    self.environment_file(service, path, given, (&mut before, &mut room));
                }
            }
        }
    }

    /// `given` is what `environment:` of the service says; `before`, what the files before this one say, and how many
    /// bytes all values may still add up to.
    fn environment_file(
        &mut self,
        service: &str,
        path: &str,
        given: Option<&Value>,
        (before, room): (&mut Variables, &mut usize),
    ) {
        let path: Arc<str> = self.source.full(path).into();
        let Some(bytes) = self.tree.get(&path).and_then(|entry| entry.content.as_deref()) else { return };
        // Only a value that is no text is a mistake: Compose does not mind comments in any encoding.
        let lossy = String::from_utf8_lossy(bytes);
        let is_text = matches!(lossy, Cow::Borrowed(_));
        let text = match Text::new(&path, lossy.as_bytes()) {
            Ok(text) => text,
            Err(found) => return found.into_iter().for_each(|diagnostic| self.found.add(|| diagnostic)),
        };
        for entry in entries(text.as_str()) {
            let is_given = given.is_some_and(|given| given.get(entry.name).is_some());
            let written = text.as_str().get(entry.at.clone()).unwrap_or_default();
            let (lost, value) = match entry.meaning {
                _ if !is_text && (entry.name.contains(NO_TEXT) || written.contains(NO_TEXT)) => {
                    (Some(Lost::Refused("the value is not text in UTF-8")), String::new())
                }
                Meaning::Literal(value) => (None, value),
                Meaning::Template(template) => match Scope::expand_within(before, &template, room) {
                    Ok(value) => (None, value),
                    Err(fault) => (Some(Lost::Fault(fault)), String::new()),
                },
                Meaning::Bare => (Some(Lost::Bare), String::new()),
                Meaning::Refused(words) => (Some(Lost::Refused(words)), String::new()),
            };
            let is_too_large = matches!(lost, Some(Lost::Fault(Fault::TooLarge)));
            if let Some(lost) = lost.filter(|lost| !is_given || lost.breaks_the_file()) {
                self.found.add(|| lost.diagnostic(place(&text, &entry.at, &lost), entry.name, service));
            }
            if is_too_large {
                return;
            }
            before.insert(entry.name.into(), value.into());
        }
    }
}

/// The name of an entry, where it can be nothing else: a line of a key or a certificate is a name without a value, too.
fn shown(name: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.len() <= 40 && name.bytes().all(is_plain) { name } else { "NAME" }
}

/// What stands in a text for bytes that are none.
const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

/// Why an entry does not come out as it is written.
enum Lost {
    Bare,
    Fault(Fault),
    Refused(&'static str),
}

impl Lost {
    /// Compose reads nothing of a file with this.
    fn breaks_the_file(&self) -> bool {
        !matches!(self, Self::Bare | Self::Fault(Fault::Missing(_)))
    }

    fn diagnostic(&self, place: Place, name: &str, service: &str) -> Diagnostic {
        let name = shown(name);
        let instead =
            format!("under `environment:` of `{service}` in the Compose file, where variables are seen");
        let fault = match self {
            Self::Bare => {
                let message = format!("`{name}` has no value: on a node there is none to take");
                return Diagnostic::error("env-file-variable", place, message)
                    .help(format!("write `{name}=…` here, or `{name}: ${{{name}}}` {instead}"));
            }
            Self::Refused(words) => {
                return Diagnostic::error("env-file-syntax", place, *words)
                    .help("write `NAME=value`, with the value in quotes if it has several lines");
            }
            Self::Fault(fault) => fault,
        };
        match fault {
            Fault::Missing(_) => {
                let message = format!(
                    "the variable in `{name}` would be empty: those of the definitions are not seen here"
                );
                Diagnostic::error("env-file-variable", place, message).help(format!(
                    "write `{name}` {instead}; or put the value in single quotes to keep it as it is, or give the \
                     variable a default: `${{…:-…}}`"
                ))
            }
            Fault::Required(..) => {
                let message =
                    format!("`{name}` asks for a variable, and those of the definitions are not seen here");
                Diagnostic::error("env-file-variable", place, message)
                    .help(format!("write `{name}` {instead}"))
            }
            Fault::Syntax(_) => Diagnostic::error(
                "variable-syntax",
                place,
                format!("`{name}` has a `${{` that begins no variable"),
            )
            .help("write `${NAME:-default}`; for a dollar sign as it stands, write `$$` or single quotes"),
            Fault::TooLarge => {
                Diagnostic::error("env-file-syntax", place, "the values are too long or nest too deep")
                    .help("write shorter values")
            }
        }
    }
}

/// The place of what is lost: the variable itself where it can be seen, else the first line of the entry. The line is
/// not shown: environment files hold secrets, and a `$` in a password is just what ends up here.
fn place(text: &Text<'_>, at: &Range<usize>, lost: &Lost) -> Place {
    let whole = text.as_str();
    let value = whole.get(at.clone()).unwrap_or_default();
    let pieces = match lost {
        Lost::Fault(fault) => fault.pieces(),
        Lost::Bare | Lost::Refused(_) => Vec::new(),
    };
    let piece = pieces.iter().find_map(|piece| Some((value.find(piece.as_str())?, piece.chars().count())));
    let first_line = value.lines().next().unwrap_or_default().chars().count();
    let (offset, width) = piece.unwrap_or((0, first_line.max(1)));
    let before = &whole[..at.start + offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let mut place = text.place_at(line, column);
    place.width = u32::try_from(width).unwrap_or(1);
    place.text = None;
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_as_compose_reads_them() {
        let check = |text: &str, expected: &[(&str, Meaning)]| {
            let found: Vec<_> = entries(text).into_iter().map(|entry| (entry.name, entry.meaning)).collect();
            assert_eq!(found, expected, "{text}");
        };
        let template = |text: &str| Meaning::Template(text.to_owned());
        let literal = |text: &str| Meaning::Literal(text.to_owned());
        check("", &[]);
        check("# only\n\n  # words", &[]);
        check(
            "A=1\nB = 2 \r\n export  C=3",
            &[("A", template("1")), ("B", template("2")), ("C", template("3"))],
        );
        check("A=x # y\nB=x#y\nC=", &[("A", template("x")), ("B", template("x#y")), ("C", template(""))]);
        check("A: b\nD.e-f[0]=$X", &[("A", template("b")), ("D.e-f[0]", template("$X"))]);
        check("A='$x \\'y' # c\nB=1", &[("A", literal("$x 'y")), ("B", template("1"))]);
        check("A=\"a\n\\$b \\\"c\\\"\"\nB", &[("A", template("a\n$$b \"c\"")), ("B", Meaning::Bare)]);
        check(r#"A="\\$B \$C""#, &[("A", template(r"\$B $$C"))]);
        check("A='x'B=2", &[("A", literal("x")), ("B", template("2"))]);
        check("A=\"x", &[("A", Meaning::Refused("the quoted value does not end"))]);
        check(
            "A*=1\n=2\nA B=3\nC=4",
            &[
                ("A*", Meaning::Refused("the name of a variable has only letters, digits and `_.-[]`")),
                ("", Meaning::Refused("the name of the variable is missing")),
                ("A B", Meaning::Refused("the name of a variable cannot have a blank in it")),
                ("C", template("4")),
            ],
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A=:$\\\\'\"\\n\\r #{}\u{e9}]{0,40}|\\PC{0,40}") {
            for entry in entries(&text) {
                prop_assert!(text.get(entry.at).is_some());
            }
        }
    }
}
