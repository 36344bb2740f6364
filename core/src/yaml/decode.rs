//! A document as a typed form, with all of its mistakes at once.
//!
//! serde stops at the first mistake. So the document is mended in memory, mistake by mistake, and read again until it
//! is right: what was mended is the list of mistakes. A right document is read once and pays nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use super::text::closest;
use super::{Document, Places, Step, dotted};
use crate::diagnostic::Diagnostic;

/// After so many mistakes people mend those first.
const MAX_MISTAKES: usize = 50;

/// A document with mistakes, read as if the fields that have them were not there.
#[derive(Debug)]
pub struct Mended<T> {
    /// What could be read; none where the mistakes leave nothing to read.
    pub form: Option<T>,
    /// The fields of the document with a mistake in or below them, and those that were probably meant by others.
    pub fields: BTreeSet<String>,
    /// Every mistake.
    pub found: Vec<Diagnostic>,
}

/// Reads `document` as a `T`.
pub(super) fn decode<T: DeserializeOwned>(text: &impl Places, document: &Document) -> Result<T, Mended<T>> {
    match T::deserialize(&document.value) {
        Ok(form) => Ok(form),
        Err(_) => Err(mistakes::<T>(text, document)),
    }
}

fn mistakes<T: DeserializeOwned>(text: &impl Places, document: &Document) -> Mended<T> {
    let mut patient = Patient::new(document);
    let mut found = Vec::new();
    let mut wrong = BTreeSet::new();
    let mut fields = BTreeSet::new();
    let mut next = read::<T>(&patient.value);
    while let Some(mistake) = next {
        let others = patient.take_unknown_beside(&mistake, MAX_MISTAKES - found.len() - 1);
        for mistake in std::iter::once(&mistake).chain(&others) {
            // A field that is missing because it was left out for being wrong is no mistake of the author.
            if wrong.insert(patient.original(&mistake.path)) {
                found.push(mistake.diagnostic(text, document.number, &patient));
                fields.extend(mistake.fields());
            }
        }
        if found.len() == MAX_MISTAKES {
            break;
        }
        next = match patient.mend::<T>(&mistake) {
            Some(next) => next,
            None => break,
        };
    }
    found.sort();
    Mended { form: T::deserialize(&patient.value).ok(), fields, found }
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<Mistake> {
    let error = serde_path_to_error::deserialize::<_, T>(value).err()?;
    let path = error.path().iter().filter_map(Part::new).collect();
    Some(Mistake::new(path, error.inner().to_string()))
}

/// A step that owns its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Item(usize),
}

impl Part {
    fn new(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Seq { index } => Some(Self::Item(*index)),
            Segment::Map { key } => Some(Self::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }

    fn step(&self) -> Step<'_> {
        match self {
            Self::Key(key) => Step::Key(key),
            Self::Item(item) => Step::Item(*item),
        }
    }
}

fn steps(path: &[Part]) -> Vec<Step<'_>> {
    path.iter().map(Part::step).collect()
}

/// What serde says, taken apart.
#[derive(Clone, Debug, PartialEq)]
struct Mistake {
    kind: Kind,
    /// To the value that is wrong or unknown; for a missing field, to where it should be.
    path: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Unknown { allowed: Vec<String> },
    Missing,
    Variant { found: String, allowed: Vec<String> },
    Type { found: String, expected: String },
    Invalid { message: String },
}

impl Mistake {
    fn new(mut path: Vec<Part>, message: String) -> Self {
        let kind = if let Some(rest) = message.strip_prefix("unknown field `") {
            let (field, allowed) = rest.split_once('`').unwrap_or((rest, ""));
            // Where the unknown key itself is on the path depends on how its form reads keys.
            if path.last() != Some(&Part::Key(field.to_owned())) {
                path.push(Part::Key(field.to_owned()));
            }
            Kind::Unknown { allowed: quoted(allowed) }
        } else if let Some(rest) = message.strip_prefix("missing field `") {
            path.push(Part::Key(rest.trim_end_matches('`').to_owned()));
            Kind::Missing
        } else if let Some(rest) = message.strip_prefix("unknown variant `") {
            let (found, allowed) = rest.split_once('`').unwrap_or((rest, ""));
            Kind::Variant { found: found.to_owned(), allowed: quoted(allowed) }
        } else if let Some((found, expected)) =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
        {
            Kind::Type { found: in_words(found), expected: expected_in_words(expected) }
        } else {
            Kind::Invalid { message: message.strip_prefix("invalid value: ").unwrap_or(&message).to_owned() }
        };
        Self { kind, path }
    }

    /// The field of the document that it is in, and the one that was probably meant.
    fn fields(&self) -> impl Iterator<Item = String> {
        let field = match self.path.first() {
            Some(Part::Key(field)) => Some(field.clone()),
            _ => None,
        };
        let meant = match (&self.kind, self.path.as_slice()) {
            (Kind::Unknown { allowed }, [Part::Key(name)]) => {
                closest(name, allowed.iter().map(String::as_str)).map(str::to_owned)
            }
            _ => None,
        };
        field.into_iter().chain(meant)
    }

    fn diagnostic(&self, text: &impl Places, document: usize, patient: &Patient) -> Diagnostic {
        let path = patient.original(&self.path);
        let way = steps(&path);
        let field = dotted(&way);
        let field = if field.is_empty() { "the document".to_owned() } else { format!("`{field}`") };
        match &self.kind {
            Kind::Unknown { allowed } => {
                let name = match path.last() {
                    Some(Part::Key(name)) => name.chars().take(80).collect::<String>(),
                    _ => field,
                };
                let place = text.key_place(document, &way);
                let diagnostic =
                    Diagnostic::error("unknown-field", place, format!("there is no field `{name}` here"));
                suggest(diagnostic, &name, allowed)
            }
            Kind::Missing => {
                let place = text.key_place(document, &way);
                let message = format!("the field {field} is missing");
                Diagnostic::error("missing-field", place, message).help(format!("add {field}"))
            }
            Kind::Variant { found, allowed } => {
                let found: String = found.chars().take(80).collect();
                let place = text.place(document, &way);
                let message = format!("{field} cannot be `{found}`");
                suggest(Diagnostic::error("invalid-value", place, message), &found, allowed)
            }
            Kind::Type { found, expected } => {
                let place = text.place(document, &way);
                Diagnostic::error("wrong-type", place, format!("{field} must be {expected}"))
                    .label(format!("this is {found}"))
            }
            Kind::Invalid { message } => {
                Diagnostic::error("invalid-value", text.place(document, &way), message.clone())
            }
        }
    }
}

fn suggest(diagnostic: Diagnostic, word: &str, allowed: &[String]) -> Diagnostic {
    let diagnostic = match closest(word, allowed.iter().map(String::as_str)) {
        Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
        None => diagnostic,
    };
    if allowed.is_empty() {
        return diagnostic;
    }
    let listed: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
    diagnostic.note(format!("possible here: {}", listed.join(", ")))
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// serde's word for what was found, as people say it.
fn in_words(found: &str) -> String {
    let cut = |text: &str| text.chars().take(80).collect::<String>();
    match found {
        "unit value" | "null" => "nothing".to_owned(),
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        _ if found.starts_with("string ") => format!("the text {}", cut(&found["string ".len()..])),
        _ if found.starts_with("boolean ") => cut(&found["boolean ".len()..]),
        _ if found.starts_with("integer ") => format!("the number {}", cut(&found["integer ".len()..])),
        _ if found.starts_with("floating point ") => {
            format!("the number {}", cut(&found["floating point ".len()..]))
        }
        _ => cut(found),
    }
}

/// serde's word for what was expected, as people say it.
fn expected_in_words(expected: &str) -> String {
    match expected {
        "a string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        _ if expected.starts_with("struct ") => "a mapping".to_owned(),
        _ => expected.replace("a string", "text"),
    }
}

/// A document that is being mended.
struct Patient {
    value: Value,
    /// Items that were taken out of lists, by the list's path in the document as it is written.
    removed: BTreeMap<Vec<Part>, BTreeSet<usize>>,
    /// What may stand for a field that was left out, should it be missed.
    spare: BTreeMap<Vec<Part>, Vec<Value>>,
}

impl Patient {
    fn new(document: &Document) -> Self {
        Self { value: document.value.clone(), removed: BTreeMap::new(), spare: BTreeMap::new() }
    }

    /// A path in the mended document as one in the document as it is written.
    fn original(&self, path: &[Part]) -> Vec<Part> {
        let mut original: Vec<Part> = Vec::with_capacity(path.len());
        for part in path {
            let part = match part {
                Part::Key(_) => part.clone(),
                Part::Item(item) => {
                    Part::Item(self.removed.get(&original).map_or(*item, |gone| shifted(gone, *item)))
                }
            };
            original.push(part);
        }
        original
    }

    /// Leaves out the other unknown fields beside an unknown one, so many at most: serde names one at a time, and to
    /// read the document again for each would cost the square of their number.
    fn take_unknown_beside(&mut self, mistake: &Mistake, most: usize) -> Vec<Mistake> {
        let Kind::Unknown { allowed } = &mistake.kind else { return Vec::new() };
        let Some((Part::Key(known), above)) = mistake.path.split_last() else { return Vec::new() };
        let Some(Value::Mapping(fields)) = value_at(&mut self.value, above) else { return Vec::new() };
        let is_other = |name: &&str| name != known && !allowed.iter().any(|allowed| allowed == name);
        let others = fields.keys().filter_map(Value::as_str).filter(is_other).take(most);
        let others: Vec<String> =
            if allowed.is_empty() { Vec::new() } else { others.map(str::to_owned).collect() };
        let take = |name: String| {
            fields.shift_remove(name.as_str());
            let path = above.iter().cloned().chain([Part::Key(name)]).collect();
            Mistake { kind: mistake.kind.clone(), path }
        };
        others.into_iter().map(take).collect()
    }

    /// Makes the mistake go away and reads again: the next mistake, `Some(None)` when there is none, `None` when
    /// nothing helps.
    fn mend<T: DeserializeOwned>(&mut self, mistake: &Mistake) -> Option<Option<Mistake>> {
        let spare = self.spare.remove(&mistake.path).unwrap_or_default();
        for cure in spare.into_iter().map(Some).chain(cures(mistake)) {
            let before = self.value.clone();
            if !apply(&mut self.value, &mistake.path, cure.clone()) {
                continue;
            }
            let next = read::<T>(&self.value);
            if next.as_ref().is_none_or(|next| !next.is_about(mistake)) {
                if cure.is_none() {
                    self.note_left_out(mistake);
                }
                return Some(next);
            }
            self.value = before;
        }
        None
    }
}

impl Patient {
    fn note_left_out(&mut self, mistake: &Mistake) {
        if let Some((Part::Item(item), list)) = mistake.path.split_last() {
            let list = self.original(list);
            let gone = self.removed.entry(list).or_default();
            gone.insert(shifted(gone, *item));
        } else {
            let spare = cures(mistake).into_iter().flatten().collect();
            self.spare.insert(mistake.path.clone(), spare);
        }
    }
}

impl Mistake {
    /// Whether mending `other` by leaving it out, or by a filler of the wrong kind, led to this.
    fn is_about(&self, other: &Self) -> bool {
        if matches!(other.path.last(), Some(Part::Item(_))) {
            // The items behind the one that went have moved up: the same place with the same words is no progress.
            return self == other;
        }
        self.path.starts_with(&other.path)
            || (self.path.is_empty() && matches!(self.kind, Kind::Invalid { .. }))
    }
}

/// The item that was number `item` before those in `gone` went.
fn shifted(gone: &BTreeSet<usize>, item: usize) -> usize {
    gone.iter().fold(item, |item, &gone| if gone <= item { item + 1 } else { item })
}

/// The value itself, and what the message says of others.
const MAX_EXAMPLES: usize = 4;

/// What may stand in place of the mistake, best first; none: leave it out.
fn cures(mistake: &Mistake) -> Vec<Option<Value>> {
    let variant = match &mistake.kind {
        Kind::Unknown { .. } => return vec![None],
        Kind::Variant { allowed, .. } => allowed.first().cloned().map(Value::String),
        _ => None,
    };
    let fillers = [
        Value::String("x".to_owned()),
        Value::Number(1.into()),
        Value::Bool(true),
        Value::Sequence(Vec::new()),
        Value::Mapping(Mapping::new()),
    ];
    // A field that must be there and has a form of its own: its message has an example.
    let examples = match &mistake.kind {
        Kind::Invalid { message } => {
            quoted(message).into_iter().map(Value::String).take(MAX_EXAMPLES).collect()
        }
        _ => Vec::new(),
    };
    let leave_out = (mistake.kind != Kind::Missing).then_some(None);
    leave_out.into_iter().chain(variant.into_iter().chain(fillers).chain(examples).map(Some)).collect()
}

/// Sets or removes what is at `path`; says whether it could.
fn apply(root: &mut Value, path: &[Part], cure: Option<Value>) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    let Some(value) = value_at(root, above) else { return false };
    match (value, last, cure) {
        (Value::Mapping(fields), Part::Key(key), None) => fields.shift_remove(key.as_str()).is_some(),
        (Value::Mapping(fields), Part::Key(key), Some(value)) => {
            fields.insert(Value::String(key.clone()), value);
            true
        }
        (Value::Sequence(items), Part::Item(item), None) if *item < items.len() => {
            items.remove(*item);
            true
        }
        (Value::Sequence(items), Part::Item(item), Some(value)) if *item < items.len() => {
            items[*item] = value;
            true
        }
        _ => false,
    }
}

fn value_at<'v>(root: &'v mut Value, path: &[Part]) -> Option<&'v mut Value> {
    path.iter().try_fold(root, |value, part| match (value, part) {
        (Value::Mapping(fields), Part::Key(key)) => fields.get_mut(key.as_str()),
        (Value::Sequence(items), Part::Item(item)) => items.get_mut(*item),
        _ => None,
    })
}
