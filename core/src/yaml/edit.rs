//! One value of a file set anew, with every other byte left as it is: comments, quotes, order and blank lines are the
//! work of people.
//!
//! The text is not written out from values but cut open at the right place. What comes of it is read again and must say
//! just what was meant; where it does not (anchors and merge keys can do that), nothing is changed and a person is asked.

use std::ops::Range;

use saphyr_parser::{Event, Parser};
use serde_yaml::{Mapping, Value};

use super::Text;

/// Why a file was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{path}` is written in a way that cannot be changed by a program without touching more than this one value"
)]
pub struct EditError {
    /// The value, as `environments.production.variables.TAG`.
    pub path: String,
}

/// The text of a file with the value at `path` (keys of mappings) of a document set. Mappings on the way that are not
/// there are made.
///
/// # Errors
///
/// Where that cannot be done without changing what else the file says, or how it is written.
pub fn set(text: &Text<'_>, document: usize, path: &[&str], value: &Value) -> Result<String, EditError> {
    let error = || EditError { path: path.join(".") };
    // Read under its budgets first: from here on the text is neither too long nor too deep.
    let expected = expected(text, document, path, value).ok_or_else(error)?;
    let roots = Node::roots(text.as_str());
    let root = roots.get(document).ok_or_else(error)?;
    let (range, insert) = splice(text.as_str(), root, path, value).ok_or_else(error)?;
    let mut edited = text.as_str().to_owned();
    edited.replace_range(range, &insert);
    if values(&edited) == Some(expected) { Ok(edited) } else { Err(error()) }
}

/// All documents as they should be.
fn expected(text: &Text<'_>, document: usize, path: &[&str], value: &Value) -> Option<Vec<(usize, Value)>> {
    let mut documents = values(text.as_str())?;
    let (_, root) = documents.iter_mut().find(|(number, _)| *number == document)?;
    let mut here = root;
    for key in path {
        if here.is_null() {
            *here = Value::Mapping(Mapping::new());
        }
        here = here.as_mapping_mut()?.entry((*key).into()).or_insert(Value::Null);
    }
    *here = value.clone();
    Some(documents)
}

fn values(text: &str) -> Option<Vec<(usize, Value)>> {
    let documents = Text::new(&"".into(), text.as_bytes()).ok()?.documents().ok()?;
    Some(documents.into_iter().map(|document| (document.number, document.value)).collect())
}

/// What is cut out, and what is put in.
type Splice = (Range<usize>, String);

fn splice(text: &str, root: &Node, path: &[&str], value: &Value) -> Option<Splice> {
    let mut around: Vec<&Field> = Vec::new();
    let mut node = root;
    for (depth, key) in path.iter().enumerate() {
        let found = node.fields()?.iter().find(|field| field.key == *key);
        let Some(field) = found else { return insertion(text, node, &around, &path[depth..], value) };
        if field.value.is_nothing() && depth + 1 < path.len() {
            return below(text, field, &around, &path[depth + 1..], value);
        }
        around.push(field);
        node = &field.value;
    }
    replacement(text, around.last()?, value)
}

/// The value of a field that is there. An anchor or a tag in front of it is not cut away.
fn replacement(text: &str, field: &Field, value: &Value) -> Option<Splice> {
    let start = field.colon(text)?;
    let between = text.get(start..field.value.span.start.max(start))?;
    let end = field.value.end(text).max(start);
    // A block of text begins behind its `|`.
    let is_next = between.trim().is_empty() || between.trim_start().starts_with(['|', '>']);
    let is_bare = is_next && !text[start..end].trim_start().starts_with(['&', '!']);
    // Who put the old text in quotes gets the new one in quotes.
    let was_quoted = text[start..end].trim_start().starts_with(['"', '\'']);
    let new = value.as_str().filter(|_| was_quoted).map_or_else(|| flow(value), quoted);
    is_bare.then(|| (start..end, format!(" {new}")))
}

/// A field below one that has no value yet.
fn below(text: &str, field: &Field, around: &[&Field], path: &[&str], value: &Value) -> Option<Splice> {
    let after = field.colon(text)?;
    if around.iter().any(|field| field.value.is_flow) {
        return Some((after..after, format!(" {}", nested_flow(path, value))));
    }
    let at = end_of_line(text, after);
    let indent = field.column(text) + step(text, around, field);
    Some((at..at, nested_block(text, indent, path, value)))
}

/// A field that a mapping does not have yet, after its last one.
fn insertion(text: &str, node: &Node, around: &[&Field], path: &[&str], value: &Value) -> Option<Splice> {
    let fields = node.fields()?;
    if node.is_flow {
        let at = fields.last().map_or(node.span.start + 1, |last| last.end(text));
        let comma = if fields.is_empty() { "" } else { ", " };
        let nested = nested_flow(path, value);
        return Some((at..at, format!("{comma}{}", nested.strip_prefix('{')?.strip_suffix('}')?)));
    }
    let (first, last) = (fields.first()?, fields.last()?);
    // A field of a list item stands behind its dash, and one of an alias elsewhere.
    let is_here = around.last().is_none_or(|field| field.key_span.start < first.key_span.start);
    let at = end_of_line(text, last.end(text));
    is_here.then(|| (at..at, nested_block(text, first.column(text), path, value)))
}

/// How much further in a field of `field` stands, by what the file does elsewhere.
fn step(text: &str, around: &[&Field], field: &Field) -> usize {
    let outer = around.last().map(|outer| outer.column(text));
    outer.and_then(|outer| field.column(text).checked_sub(outer)).filter(|step| *step > 0).unwrap_or(2)
}

fn nested_block(text: &str, indent: usize, path: &[&str], value: &Value) -> String {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines = String::new();
    for (depth, key) in path.iter().enumerate() {
        lines.push_str(newline);
        lines.push_str(&" ".repeat(indent + 2 * depth));
        lines.push_str(&scalar(key));
        lines.push(':');
    }
    format!("{lines} {}", flow(value))
}

fn nested_flow(path: &[&str], value: &Value) -> String {
    let inner = flow(value);
    path.iter().rev().fold(inner, |inner, key| format!("{{{}: {inner}}}", scalar(key)))
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Mapping(fields) => {
            let field = |(key, value): (&Value, &Value)| format!("{}: {}", flow(key), flow(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Tagged(tagged) => flow(&tagged.value),
    }
}

/// Text that reads back as this text in any place: bare where nobody can take it for anything else.
fn scalar(text: &str) -> String {
    let is_bare = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte));
    // Words and dates that other readers of YAML take for truths and times.
    let is_odd = matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off")
        || (text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['-', '_']));
    let reads_back = || serde_yaml::from_str::<Value>(text).is_ok_and(|value| value.as_str() == Some(text));
    if is_bare && !is_odd && reads_back() {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn end_of_line(text: &str, from: usize) -> usize {
    let line = text[from..].find('\n').map_or(text.len(), |newline| from + newline);
    if text[..line].ends_with('\r') && line > from { line - 1 } else { line }
}

/// A value of the text and where it is, in bytes.
#[derive(Debug)]
struct Node {
    span: Range<usize>,
    is_flow: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A scalar, or an alias of something.
    Leaf,
    Items(Vec<Node>),
    Fields(Vec<Field>),
}

#[derive(Debug)]
struct Field {
    key: String,
    key_span: Range<usize>,
    value: Node,
}

impl Field {
    /// Right after the colon.
    fn colon(&self, text: &str) -> Option<usize> {
        let rest = text.get(self.key_span.end..)?;
        let colon = rest.find(|c: char| !c.is_whitespace())?;
        rest[colon..].starts_with(':').then_some(self.key_span.end + colon + 1)
    }

    fn column(&self, text: &str) -> usize {
        let start = self.key_span.start;
        start - text[..start].rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn end(&self, text: &str) -> usize {
        self.value.end(text).max(self.colon(text).unwrap_or(self.key_span.end))
    }
}

impl Node {
    fn fields(&self) -> Option<&[Field]> {
        match &self.content {
            Content::Fields(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether nothing is written.
    fn is_nothing(&self) -> bool {
        matches!(self.content, Content::Leaf) && self.span.is_empty()
    }

    /// Where what is written of it ends: a parser takes the blank lines and comments after a block for part of it.
    fn end(&self, text: &str) -> usize {
        match &self.content {
            _ if self.is_flow => self.span.end,
            Content::Items(items) => items.last().map_or(self.span.end, |item| item.end(text)),
            Content::Fields(fields) => fields.last().map_or(self.span.end, |field| field.end(text)),
            // Nothing is written where the parser happens to be.
            Content::Leaf if self.is_nothing() => 0,
            Content::Leaf => self.span.start + written_len(&text[self.span.clone()]),
        }
    }

    /// The root of each document, as far as the text can be read.
    fn roots(text: &str) -> Vec<Self> {
        let offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect();
        let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
        let mut building = Building::default();
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            let span = byte(span.start.index())..byte(span.end.index());
            let is_flow = text[span.start..].starts_with(['[', '{']);
            let node = |content| Node { span: span.clone(), is_flow, content };
            match event {
                Event::Scalar(name, ..) => {
                    building.add(Node { is_flow: false, ..node(Content::Leaf) }, Some(name.into_owned()));
                }
                Event::Alias(_) => building.add(Node { is_flow: false, ..node(Content::Leaf) }, None),
                Event::SequenceStart(..) => building.open(node(Content::Items(Vec::new()))),
                Event::MappingStart(..) => building.open(node(Content::Fields(Vec::new()))),
                Event::SequenceEnd | Event::MappingEnd => building.close(span.end),
                _ => {}
            }
        }
        building.roots
    }
}

/// How much of the text of a scalar is the scalar: a parser may take what follows a closing quote for part of it.
fn written_len(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return text.trim_end().len();
    };
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        match (c, quote) {
            ('\\', '"') => _ = rest.next(),
            ('\'', '\'') if rest.peek().is_some_and(|(_, next)| *next == '\'') => _ = rest.next(),
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What a key says, and where it is.
type Key = (String, Range<usize>);

/// The nodes that are still open, each with the key that waits for its value.
#[derive(Default)]
struct Building {
    open: Vec<(Node, Option<Key>)>,
    roots: Vec<Node>,
}

impl Building {
    fn open(&mut self, node: Node) {
        self.open.push((node, None));
    }

    fn close(&mut self, end: usize) {
        if let Some((mut node, _)) = self.open.pop() {
            node.span.end = end.max(node.span.start);
            self.add(node, None);
        }
    }

    /// The next item, key or value of what is open, or a root. `name` is what a scalar says.
    fn add(&mut self, node: Node, name: Option<String>) {
        let Some((parent, key)) = self.open.last_mut() else { return self.roots.push(node) };
        match &mut parent.content {
            Content::Items(items) => items.push(node),
            Content::Fields(fields) => match key.take() {
                None => *key = Some((name.unwrap_or_default(), node.span)),
                Some((key, key_span)) => fields.push(Field { key, key_span, value: node }),
            },
            Content::Leaf => {}
        }
    }
}

#[cfg(test)]
mod tests;
