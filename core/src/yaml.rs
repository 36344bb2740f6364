//! YAML as people write it: text under a path, read into values, with the place of every value at hand.
//!
//! One parser gives the values; a second pass gives the places, and runs only when somebody asks for one. The
//! 9,999 right files of a repository never pay for the carets of the wrong one.
//!
//! **Invariant:** whatever the bytes, reading takes bounded time and memory and ends in values or diagnostics.

mod build;
mod decode;
pub mod edit;
mod golang;
mod index;
mod text;

use std::fmt;
use std::sync::OnceLock;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_yaml::Value;

use crate::diagnostic::{Diagnostic, Place};
pub use decode::Mended;
use index::Index;
pub use text::{Scalar, closest, suggestion};

/// Bytes of one file. People write kilobytes; what is larger is generated, and belongs beside the definitions.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep mappings and lists may nest. Real Compose files stay under 10.
pub const MAX_DEPTH: usize = 100;
/// Mappings, lists, keys and scalars of one file after its aliases are written out: twenty times what a file of 10,000
/// lines holds, and at most some 20 MB.
pub const MAX_NODES: usize = 200_000;

/// One step of the way from the root of a document to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step<'a> {
    /// Into a mapping.
    Key(&'a str),
    /// Into a list, from 0.
    Item(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

/// The way to a value, kept on the stack of whoever walks down: nothing is allocated until a place is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    step: Option<Step<'a>>,
}

impl<'a> Trail<'a> {
    /// The root of a document.
    pub const ROOT: Self = Self { parent: None, step: None };

    /// One step further down.
    pub fn to(&'a self, step: impl Into<Step<'a>>) -> Trail<'a> {
        Trail { parent: Some(self), step: Some(step.into()) }
    }

    /// All steps from the root.
    pub fn steps(&self) -> Vec<Step<'a>> {
        let mut steps: Vec<_> =
            std::iter::successors(Some(self), |trail| trail.parent).filter_map(|trail| trail.step).collect();
        steps.reverse();
        steps
    }
}

/// Written as people write paths in messages: `services.app.ports[0]`.
impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(&self.steps()))
    }
}

/// `services.app.ports[0]`.
pub fn dotted(steps: &[Step<'_>]) -> String {
    use fmt::Write as _;
    steps.iter().fold(String::new(), |mut text, step| {
        let dot = if text.is_empty() { "" } else { "." };
        match step {
            Step::Key(key) => write!(text, "{dot}{key}"),
            Step::Item(item) => write!(text, "[{item}]"),
        }
        .expect("writing to a String cannot fail");
        text
    })
}

/// One document of a file. `---` lines part them; one that says nothing is left out.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which one of its file, from 0, those that say nothing counted.
    pub number: usize,
    /// Keys are text, aliases are written out and merge keys (`<<`) are applied.
    pub value: Value,
}

/// The text of a YAML file, under its path in the repository.
#[derive(Debug)]
pub struct Text<'a> {
    path: Arc<str>,
    text: &'a str,
    index: OnceLock<Index>,
}

impl<'a> Text<'a> {
    /// Takes bytes that may be too many or no text at all.
    ///
    /// # Errors
    ///
    /// `yaml-too-large`, `not-utf-8`.
    pub fn new(path: &Arc<str>, bytes: &'a [u8]) -> Result<Self, Vec<Diagnostic>> {
        if bytes.len() > MAX_BYTES {
            return Err(vec![too_large(path, bytes.len())]);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| vec![not_utf8(path, bytes, error)])?;
        // Editors on Windows put a byte order mark in front; it is no part of the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Self { path: path.clone(), text, index: OnceLock::new() })
    }

    /// Path from the root of the repository.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The text itself, without a byte order mark.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Reads every document.
    ///
    /// # Errors
    ///
    /// `yaml-syntax`, `yaml-too-deep`, `yaml-too-large`, and one `duplicate-key` for each of them.
    pub fn documents(&self) -> Result<Vec<Document>, Vec<Diagnostic>> {
        build::documents(self)
    }

    /// Reads every document as Compose does, whose reader takes `022`, `1_000` and `2024-01-31` for numbers and times.
    ///
    /// # Errors
    ///
    /// As [`Self::documents`].
    pub fn compose_documents(&self) -> Result<Vec<Document>, Vec<Diagnostic>> {
        let mut documents = self.documents()?;
        documents.iter_mut().for_each(|document| golang::resolve(self, document));
        Ok(documents)
    }

    /// Reads a document as the form `T`.
    ///
    /// # Errors
    ///
    /// Every mistake that can be told apart, in the order of the file: `unknown-field`, `missing-field`, `wrong-type`,
    /// `invalid-value`.
    pub fn decode<T: DeserializeOwned>(&self, document: &Document) -> Result<T, Vec<Diagnostic>> {
        decode::decode(self, document).map_err(|mended| mended.found)
    }

    /// The same, with what could be read of a document that has mistakes: so that one mistake does not hide what else
    /// there is to say.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`].
    pub fn decode_mended<T: DeserializeOwned>(&self, document: &Document) -> Result<T, Mended<T>> {
        decode::decode(self, document)
    }

    /// Where the value at `path` of a document stands, or else the nearest thing around it that exists.
    pub fn place(&self, document: usize, path: &[Step<'_>]) -> Place {
        self.index().value(document, path).place(self)
    }

    /// Where the key of the last step of `path` stands; for a list item, the item.
    pub fn key_place(&self, document: usize, path: &[Step<'_>]) -> Place {
        self.index().key(document, path).place(self)
    }

    /// Whether the scalar at `path` is written without quotes and without a tag.
    pub fn is_plain(&self, document: usize, path: &[Step<'_>]) -> bool {
        self.index().is_plain(document, path)
    }

    /// One character of the file; `line` and `column` from 1.
    pub fn place_at(&self, line: usize, column: usize) -> Place {
        index::Spot { line, column, width: 1 }.place(self)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(self.text))
    }
}

/// Where values stand in the text that they were read from.
pub trait Places {
    /// Where the value at `path` of a document stands, or else the nearest thing around it that exists.
    fn place(&self, document: usize, path: &[Step<'_>]) -> Place;

    /// Where the key of the last step of `path` stands; for a list item, the item.
    fn key_place(&self, document: usize, path: &[Step<'_>]) -> Place;
}

impl Places for Text<'_> {
    fn place(&self, document: usize, path: &[Step<'_>]) -> Place {
        Text::place(self, document, path)
    }

    fn key_place(&self, document: usize, path: &[Step<'_>]) -> Place {
        Text::key_place(self, document, path)
    }
}

/// Reads a value that came from elsewhere (TOML) as the form `T`, with the places of that text.
///
/// # Errors
///
/// As [`Text::decode`].
pub fn decode<T: DeserializeOwned>(value: Value, places: &impl Places) -> Result<T, Vec<Diagnostic>> {
    decode::decode(places, &Document { number: 0, value }).map_err(|mended| mended.found)
}

fn too_large(path: &Arc<str>, bytes: usize) -> Diagnostic {
    Diagnostic::error("yaml-too-large", Place::file(path.clone()), format!("the file has {bytes} bytes"))
        .note(format!("at most {MAX_BYTES} bytes are read"))
        .help("split it into several files")
}

fn not_utf8(path: &Arc<str>, bytes: &[u8], error: std::str::Utf8Error) -> Diagnostic {
    let valid = &bytes[..error.valid_up_to()];
    let start = valid.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let before = String::from_utf8_lossy(&valid[start..]).chars().count();
    let spot = index::Spot { line, column: before + 1, width: 1 };
    let end = bytes[start..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |len| start + len);
    let place = spot.place_in(path, &String::from_utf8_lossy(&bytes[start..end]));
    Diagnostic::error("not-utf-8", place, "the file is not text in UTF-8").help("save it as UTF-8")
}

#[cfg(test)]
mod tests;
