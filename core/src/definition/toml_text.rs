//! TOML as people write it, with the place of every value: what [`yaml::Text`] is to YAML.
//!
//! The values go through the same typed reading as YAML, so that a mistake in `gitops.toml` reads like a mistake
//! anywhere else, and all of them come at once.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::{self, Places, Step};

/// Reads the text as the form `T`.
pub(super) fn decode<T: DeserializeOwned>(path: &Arc<str>, content: &[u8]) -> Result<T, Vec<Diagnostic>> {
    let text = std::str::from_utf8(content).map_err(|_| {
        let diagnostic =
            Diagnostic::error("not-utf-8", Place::file(path.clone()), "the file is not text in UTF-8");
        vec![diagnostic.help("save it as UTF-8")]
    })?;
    let (table, errors) = DeTable::parse_recoverable(text);
    let toml = TomlText { path, text, table };
    let syntax = |error: &toml::de::Error| {
        let place = toml.place_of(error.span().unwrap_or_default());
        Diagnostic::error("toml-syntax", place, error.message().replace('\n', "; "))
    };
    if !errors.is_empty() {
        return Err(errors.iter().map(syntax).collect());
    }
    let value: toml::Table = toml::from_str(text).map_err(|error| vec![syntax(&error)])?;
    let value = serde_yaml::to_value(value).map_err(|error| {
        vec![Diagnostic::error("wrong-type", Place::file(path.clone()), error.to_string())]
    })?;
    yaml::decode(value, &toml)
}

/// The places of values in a text that was read before.
pub(super) fn places(path: &Arc<str>, content: &[u8], fields: &[&[Step<'_>]]) -> Vec<Place> {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(text);
    let toml = TomlText { path, text, table };
    fields.iter().map(|field| toml.place(0, field)).collect()
}

struct TomlText<'a> {
    path: &'a Arc<str>,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl TomlText<'_> {
    /// The spans of the key and the value at a path, or of the nearest thing around it that exists.
    fn spans(&self, path: &[Step<'_>]) -> (Range<usize>, Range<usize>) {
        let Some((first, rest)) = path.split_first() else { return (0..0, 0..0) };
        let Some((mut key, mut value)) = entry(self.table.get_ref(), first) else { return (0..0, 0..0) };
        for step in rest {
            let next = match (value.get_ref(), step) {
                (DeValue::Table(table), step) => entry(table, step),
                (DeValue::Array(items), Step::Item(item)) => items.get(*item).map(|item| (item.span(), item)),
                _ => None,
            };
            let Some(next) = next else { break };
            (key, value) = next;
        }
        (key, value.span())
    }

    /// The line, column and width of a range of bytes.
    fn place_of(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let marked = self.text.get(span).unwrap_or_default().lines().next().unwrap_or_default();
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let newlines = u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX);
        let cut = line.char_indices().map(|(offset, _)| offset).find(|offset| *offset >= Place::MAX_TEXT);
        Place {
            path: self.path.clone(),
            line: newlines.saturating_add(1),
            column: count(&before[start..]).saturating_add(1),
            width: count(marked).max(1),
            text: Some(line[..cut.unwrap_or(line.len())].into()),
        }
    }
}

type Entry<'t, 'a> = (Range<usize>, &'t Spanned<DeValue<'a>>);

fn entry<'t, 'a>(table: &'t DeTable<'a>, step: &Step<'_>) -> Option<Entry<'t, 'a>> {
    let Step::Key(name) = step else { return None };
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(key, value)| (key.span(), value))
}

impl Places for TomlText<'_> {
    fn place(&self, _: usize, path: &[Step<'_>]) -> Place {
        self.place_of(self.spans(path).1)
    }

    fn key_place(&self, _: usize, path: &[Step<'_>]) -> Place {
        self.place_of(self.spans(path).0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    fn check(toml: &str, expected: &[&str]) {
        let found = Settings::parse(&"gitops.toml".into(), toml.as_bytes()).err().unwrap_or_default();
        let shown = |d: &crate::diagnostic::Diagnostic| {
            format!("{}:{}+{} {} {}", d.place.line, d.place.column, d.place.width, d.code, d.message)
        };
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected, "{toml}");
    }

    #[test]
    fn all_mistakes_come_with_their_places() {
        check("format = 1\nname = \"x\"\n", &[]);
        check(
            "format = 1\nnmae = \"x\"\n\n[defaults]\nhealht = 1\n",
            &[
                "1:1+1 missing-field the field `name` is missing",
                "2:1+4 unknown-field there is no field `nmae` here",
                "5:1+6 unknown-field there is no field `healht` here",
            ],
        );
        check(
            "format = \"one\"\nname = \"x\"\n[defaults.variables]\nA = 1.10\n",
            &[
                "1:10+5 wrong-type `format` must be a whole number, 0 or more",
                "4:5+4 wrong-type `defaults.variables.A` must be text: put the number in quotes",
            ],
        );
    }

    #[test]
    fn bad_syntax_is_pointed_at() {
        let found =
            Settings::parse(&"gitops.toml".into(), b"format = \nname = \"x\"\n").expect_err("it is no TOML");
        assert_eq!((found[0].place.line, &*found[0].code), (1, "toml-syntax"));
        assert!(Settings::parse(&"gitops.toml".into(), b"\xff").is_err());
    }
}
