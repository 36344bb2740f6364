//! Values that are secret wherever they stand, because somewhere one stands under a name that says so: the password that
//! a variable holds is one in each field and line that the variable goes into.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use super::HIDDEN;
use super::words::last_word;

/// Shorter ones are `true`, `1` and `admin`: they stand everywhere.
const SHORTEST: usize = 6;

/// A name that ends so speaks of a secret and holds none: where it is, how long it is good for.
const ABOUT: [&str; 30] = [
    "file",
    "path",
    "dir",
    "directory",
    "url",
    "uri",
    "endpoint",
    "host",
    "hostname",
    "port",
    "user",
    "username",
    "name",
    "mode",
    "type",
    "provider",
    "method",
    "header",
    "enabled",
    "limit",
    "length",
    "size",
    "ttl",
    "lifetime",
    "expiry",
    "timeout",
    "algorithm",
    "issuer",
    "scope",
    "scopes",
];

/// Such values, found in one look at a text, however many there are.
#[derive(Clone, Debug)]
pub(super) struct Known {
    values: BTreeSet<Arc<str>>,
    search: AhoCorasick,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Eq for Known {}

impl Known {
    /// Of these values; none where there is none that can be looked for.
    pub(super) fn new(values: BTreeSet<Arc<str>>) -> Option<Self> {
        let mut search = AhoCorasick::builder();
        let search = search.match_kind(MatchKind::LeftmostLongest).build(values.iter().map(|value| &**value));
        let search = search.ok().filter(|_| !values.is_empty())?;
        Some(Self { values, search })
    }

    pub(super) fn values(&self) -> &BTreeSet<Arc<str>> {
        &self.values
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.search.find_iter(text).any(|found| stands_alone(text, found.start(), found.end()))
    }

    /// The text with them taken out.
    pub(super) fn taken_out(&self, text: &str) -> String {
        let (mut shown, mut end) = (String::new(), 0);
        for found in
            self.search.find_iter(text).filter(|found| stands_alone(text, found.start(), found.end()))
        {
            shown.push_str(&text[end..found.start()]);
            shown.push_str(HIDDEN);
            end = found.end();
        }
        shown + &text[end..]
    }
}

/// Whether this part of a text is no part of a longer word, if it is a word or a number: `secret` is none of `/run/secrets`.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let value = &text[start..end];
    let is_plain = value.chars().all(char::is_alphabetic) || value.chars().all(|c| c.is_ascii_digit());
    let is_cut =
        text[..start].ends_with(char::is_alphanumeric) || text[end..].starts_with(char::is_alphanumeric);
    !is_plain || !is_cut
}

/// Whether what stands under this name is a secret wherever else it stands.
pub(super) fn holds_one(name: &str) -> bool {
    let last = last_word(name);
    !ABOUT.contains(&&*last) || last == "url" && name.to_lowercase().contains("webhook")
}

/// The lines of a value that are long enough to be told from others.
pub(super) fn lines_of(value: &str) -> impl Iterator<Item = &str> {
    value.lines().map(str::trim).filter(|line| line.chars().count() >= SHORTEST)
}

/// Every text of a document with the name that it stands under.
pub(super) fn named(document: &Value) -> Vec<(&str, &str)> {
    let (mut found, mut open) = (Vec::new(), vec![("", document)]);
    while let Some((name, value)) = open.pop() {
        match value {
            Value::String(text) => found.push((name, text.as_str())),
            Value::Array(items) => open.extend(items.iter().map(|item| (name, item))),
            Value::Object(fields) => {
                found.extend(pair(fields));
                open.extend(fields.iter().map(|(key, value)| (key.as_str(), value)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

/// `{name: DB_PASSWORD, value: x}`
pub(super) fn pair(fields: &serde_json::Map<String, Value>) -> Option<(&str, &str)> {
    let name = super::NAMES.iter().find_map(|key| fields.get(*key)?.as_str())?;
    Some((name, fields.get("value")?.as_str()?))
}
