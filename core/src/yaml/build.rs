//! From text to values, under budgets that are counted while the value grows, so that an alias bomb or a tower of
//! brackets ends early instead of filling the memory.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize as _, DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Value};

use super::{Document, MAX_DEPTH, MAX_NODES, Step, Text};
use crate::diagnostic::{Diagnostic, Place};

/// Every document of the text.
pub(super) fn documents(text: &Text<'_>) -> Result<Vec<Document>, Vec<Diagnostic>> {
    if bracket_depth(text.text) > MAX_BRACKETS {
        return Err(vec![too_deep(Place::file(text.path.clone()))]);
    }
    let growth = Growth::default();
    let mut documents = Vec::new();
    for (number, deserializer) in serde_yaml::Deserializer::from_str(text.text).enumerate() {
        let value = Node { growth: &growth, depth: 1 }
            .deserialize(deserializer)
            .map_err(|error| vec![mistake(text, &growth, &error)])?;
        if !value.is_null() {
            documents.push(Document { number, value });
        }
    }
    if growth.duplicates.get() {
        return Err(duplicate_keys(text));
    }
    Ok(documents)
}

/// The parser below takes time that grows with the square of the open brackets, so that far too many are refused
/// before it starts. Brackets in text count as well; no file that is no attack has this many more open than closed.
const MAX_BRACKETS: usize = 1_000;

fn bracket_depth(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}

/// What has grown so far.
#[derive(Default)]
struct Growth {
    nodes: Cell<usize>,
    duplicates: Cell<bool>,
    breach: Cell<Option<Breach>>,
}

#[derive(Clone, Copy)]
enum Breach {
    Depth,
    Nodes,
}

impl Growth {
    fn add<E: serde::de::Error>(&self, depth: usize) -> Result<(), E> {
        let nodes = self.nodes.get() + 1;
        self.nodes.set(nodes);
        let breach = match () {
            () if nodes > MAX_NODES => Breach::Nodes,
            () if depth > MAX_DEPTH => Breach::Depth,
            () => return Ok(()),
        };
        self.breach.set(Some(breach));
        Err(E::custom("budget"))
    }
}

/// The value at one depth of a document.
#[derive(Clone, Copy)]
struct Node<'g> {
    growth: &'g Growth,
    depth: usize,
}

impl Node<'_> {
    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.growth.add(self.depth)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    /// Too large for a whole number: what Compose makes of it, too.
    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number((value as f64).into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number((value as f64).into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            sequence.push(item);
        }
        Ok(Value::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut mapping = Mapping::new();
        let mut merged = None;
        while let Some(key) = fields.next_key_seed(Key)? {
            self.growth.add(self.depth)?;
            let value = fields.next_value_seed(self.below())?;
            let duplicate = if key == "<<" {
                merged.replace(value).is_some()
            } else {
                insert_new(&mut mapping, key, value)
            };
            if duplicate {
                self.growth.duplicates.set(true);
            }
        }
        if let Some(merged) = merged {
            merge_key(&mut mapping, merged).map_err(A::Error::custom)?;
        }
        Ok(Value::Mapping(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, content) = data.variant_seed(PhantomData::<String>)?;
        let value = content.newtype_variant_seed(self.below())?;
        if tag.is_empty() {
            return Ok(value);
        }
        Ok(Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value })))
    }
}

/// Inserts where the key is new; says whether it was not.
fn insert_new(mapping: &mut Mapping, key: String, value: Value) -> bool {
    match mapping.entry(Value::String(key)) {
        serde_yaml::mapping::Entry::Occupied(_) => true,
        serde_yaml::mapping::Entry::Vacant(vacant) => {
            vacant.insert(value);
            false
        }
    }
}

/// `<<: *base` or `<<: [*first, *second]`: what stands in the mapping wins, then the earlier one.
fn merge_key(mapping: &mut Mapping, merged: Value) -> Result<(), &'static str> {
    let sources = match merged {
        Value::Mapping(source) => vec![Value::Mapping(source)],
        Value::Sequence(sources) => sources,
        _ => return Err(MERGE_RULE),
    };
    for source in sources {
        let Value::Mapping(source) = source else { return Err(MERGE_RULE) };
        for (key, value) in source {
            mapping.entry(key).or_insert(value);
        }
    }
    Ok(())
}

const MERGE_RULE: &str = "the merge key `<<` takes a mapping or a list of mappings";

/// A key, as it is written: Compose and our own forms know no keys but text.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

fn mistake(text: &Text<'_>, growth: &Growth, error: &serde_yaml::Error) -> Diagnostic {
    let place = match error.location() {
        Some(at) => text.place_at(at.line(), at.column()),
        None => Place::file(text.path.clone()),
    };
    let message = strip_position(&error.to_string());
    match growth.breach.get() {
        Some(Breach::Depth) => too_deep(place),
        Some(Breach::Nodes) => too_many(place),
        None if message.starts_with("recursion limit") => too_deep(place),
        None if message.starts_with("repetition limit") => too_many(place),
        // Only keys are asked for as text.
        None if message.starts_with("invalid type: ") => {
            Diagnostic::error("yaml-syntax", place, "a key of a mapping must be text")
        }
        None => {
            let tab = place.text.as_deref().is_some_and(|line| indent(line).contains('\t'));
            let diagnostic =
                Diagnostic::error("yaml-syntax", place, format!("this is not valid YAML: {message}"));
            if tab {
                diagnostic.help("indent with spaces: YAML does not allow tabs there")
            } else {
                diagnostic
            }
        }
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The parser's words without ` at line 3 column 4`: the place says that.
fn strip_position(message: &str) -> String {
    let mut words: Vec<&str> = message.split(' ').collect();
    while let Some(at) = words.windows(5).position(|w| {
        let number = |word: &str| word.trim_end_matches([',', ':']).parse::<u64>().is_ok();
        matches!(w, ["at", "line", line, "column", column] if number(line) && number(column))
    }) {
        let comma = words[at + 4].ends_with(',');
        words.drain(at..at + 5);
        if comma && at > 0 {
            words.insert(at, "–");
        }
    }
    words.join(" ").replace(" – ", ", ")
}

fn too_deep(place: Place) -> Diagnostic {
    Diagnostic::error("yaml-too-deep", place, format!("the file nests more than {MAX_DEPTH} levels deep"))
        .help("write it flatter")
}

fn too_many(place: Place) -> Diagnostic {
    Diagnostic::error(
        "yaml-too-large",
        place,
        "the file holds too many values once its aliases are written out",
    )
    .note(format!("at most {MAX_NODES} mappings, lists, keys and scalars are read"))
    .help("use fewer aliases (`*name`), or split the file")
}

/// After so many people mend those first; each costs a look through the lines of the file.
const MAX_DUPLICATES: usize = 100;

fn duplicate_keys(text: &Text<'_>) -> Vec<Diagnostic> {
    let diagnose = |(key, first, again): (String, super::index::Spot, super::index::Spot)| {
        let key: String = key.chars().take(80).collect();
        Diagnostic::error(
            "duplicate-key",
            again.place(text),
            format!("the key `{key}` stands here a second time"),
        )
        .note(format!("first in line {}", first.line))
        .help("keep one of the two")
    };
    let found: Vec<_> = text.index().duplicates().into_iter().take(MAX_DUPLICATES).map(diagnose).collect();
    if found.is_empty() {
        // The two parsers disagree about this file: better a place that is vague than a mistake that is lost.
        let place = text.place(0, &[] as &[Step<'_>]);
        return vec![Diagnostic::error(
            "duplicate-key",
            place,
            "a key stands twice in one mapping of this file",
        )];
    }
    found
}
