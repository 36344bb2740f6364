//! Ways to a value, as people write them: keys with dots between them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::written::{Written, written_form};

/// A way to a value: keys with dots between them, a number for an item of a list, `*` for any one key or item:
/// `services.*.gpus`. A key that has a dot of its own stands in quotes: `services.*.labels."com.example.team"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValuePath {
    text: Arc<str>,
    parts: Vec<Part>,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// This key, or the item of this number.
    Key(Arc<str>),
    /// Any one key or item.
    Any,
}

/// Why a text is no such way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValuePathError {
    /// Two dots with nothing between them, or one at an end.
    #[error("`{0}` has an empty part: write a key between any two dots, and none at the ends")]
    EmptyPart(String),
    /// It begins with `*`.
    #[error("`{0}` fits anything: begin with the key that it is about, such as `services.*.gpus`")]
    BeginsAnywhere(String),
    /// A quote that is not closed, or has something after it.
    #[error("`{0}` has quotes that do not stand around a whole key: write `labels.\"com.example.team\"`")]
    Quotes(String),
    /// Nobody means that.
    #[error(
        "`{0}…` is too long for a path: at most {max_text} characters and {max_parts} parts are read",
        max_text = ValuePath::MAX_TEXT,
        max_parts = ValuePath::MAX_PARTS
    )]
    TooLong(String),
}

impl ValuePath {
    /// Characters: far beyond any Compose field.
    pub const MAX_TEXT: usize = 300;
    /// Keys: Compose files nest under 10 deep.
    pub const MAX_PARTS: usize = 20;

    /// The steps, at least one. The first is a key.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The first key: it says what the path is about.
    pub fn first(&self) -> &str {
        match self.parts.first() {
            Some(Part::Key(key)) => key,
            Some(Part::Any) | None => "",
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Written for ValuePath {
    const EXPECTED: &'static str = "a path such as `services.*.gpus`: keys with dots between them";
}

written_form!(ValuePath, "string", ["services.*.gpus", "x-tls.rotation.strategy"]);

impl FromStr for ValuePath {
    type Err = ValuePathError;

    fn from_str(text: &str) -> Result<Self, ValuePathError> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.chars().nth(Self::MAX_TEXT).is_some() {
            return Err(ValuePathError::TooLong(shown()));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            let (part, after) = part(rest).map_err(|fault| fault(shown()))?;
            parts.push(part);
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        match parts.first() {
            Some(Part::Any) => Err(ValuePathError::BeginsAnywhere(shown())),
            _ if parts.len() > Self::MAX_PARTS => Err(ValuePathError::TooLong(shown())),
            _ => Ok(Self { text: text.into(), parts }),
        }
    }
}

type Fault = fn(String) -> ValuePathError;

/// The first part, and what is after the dot that follows it.
fn part(text: &str) -> Result<(Part, Option<&str>), Fault> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let (key, after) = text[1..].split_once(quote).ok_or(ValuePathError::Quotes as Fault)?;
        let after = match after.strip_prefix('.') {
            None if !after.is_empty() => return Err(ValuePathError::Quotes),
            after => after,
        };
        return Ok((Part::Key(not_empty(key)?.into()), after));
    }
    let (key, after) = text.split_once('.').map_or((text, None), |(key, after)| (key, Some(after)));
    match not_empty(key)? {
        "*" => Ok((Part::Any, after)),
        key if key.contains(['"', '\'']) => Err(ValuePathError::Quotes),
        key => Ok((Part::Key(key.into()), after)),
    }
}

fn not_empty(key: &str) -> Result<&str, Fault> {
    if key.is_empty() { Err(ValuePathError::EmptyPart) } else { Ok(key) }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_dots_between_them_and_quotes_where_they_have_dots_themselves() {
        let check = |text: &str, expected: &[&str]| {
            let path: ValuePath = text.parse().expect("a path");
            let parts = path.parts().iter().map(|part| match part {
                Part::Key(key) => key,
                Part::Any => "(any)",
            });
            assert_eq!(parts.collect::<Vec<_>>(), expected, "{text}");
            assert_eq!(path.to_string(), text);
        };
        check("services", &["services"]);
        check("services.*.gpus", &["services", "(any)", "gpus"]);
        check("services.*.ports.0", &["services", "(any)", "ports", "0"]);
        check("x-tls.rotation.strategy", &["x-tls", "rotation", "strategy"]);
        check("labels.\"com.example.x\".y", &["labels", "com.example.x", "y"]);
        check("labels.'com.example.x'", &["labels", "com.example.x"]);
        check("labels.\"*\"", &["labels", "*"]);
        check("labels.'it\"s'", &["labels", "it\"s"]);
    }

    #[test]
    fn what_is_no_path_says_why() {
        let check = |text: &str, expected: Fault| {
            let shown = text.chars().take(80).collect();
            assert_eq!(text.parse::<ValuePath>(), Err(expected(shown)), "{text}");
        };
        for empty in ["", ".", "a.", ".a", "a..b", "a.\"\"", "'a'."] {
            check(empty, ValuePathError::EmptyPart);
        }
        for anywhere in ["*", "*.*", "*.gpus"] {
            check(anywhere, ValuePathError::BeginsAnywhere);
        }
        for quotes in ["a.\"b", "a.\"b\"c", "a.b\"c\"", "'"] {
            check(quotes, ValuePathError::Quotes);
        }
        check(&"a".repeat(301), ValuePathError::TooLong);
        check(&["a"; 21].join("."), ValuePathError::TooLong);
        assert!(["a"; 20].join(".").parse::<ValuePath>().is_ok());
    }
}
