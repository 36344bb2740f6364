//! Where every value and key of a file stands.
//!
//! Made from the events of a parser that keeps positions, and only when a place is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Step, Text};
use crate::diagnostic::Place;

/// A stretch of one line, from 1, in characters. Width 0: it goes on over several lines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
}

impl Spot {
    fn of(span: Span) -> Self {
        Self::between(span.start, span.end)
    }

    fn between(start: saphyr_parser::Marker, end: saphyr_parser::Marker) -> Self {
        let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 0 };
        Self { line: start.line(), column: start.col() + 1, width }
    }

    pub(super) fn place(self, text: &Text<'_>) -> Place {
        let line = text.text.lines().nth(self.line.saturating_sub(1)).unwrap_or_default();
        self.place_in(&text.path, line)
    }

    pub(super) fn place_in(self, path: &Arc<str>, line: &str) -> Place {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let room = line.chars().count().saturating_sub(self.column.saturating_sub(1)).max(1);
        Place {
            path: path.clone(),
            line: count(self.line.max(1)),
            column: count(self.column.max(1)),
            width: count(if self.width == 0 { 1 } else { self.width.min(room) }),
            text: Some(cut(line.trim_end_matches('\r'), Place::MAX_TEXT).into()),
        }
    }
}

fn cut(line: &str, most: usize) -> &str {
    let mut end = line.len().min(most);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    spot: Spot,
}

#[derive(Debug)]
enum Kind {
    Scalar { plain: bool },
    Items(Vec<usize>),
    Fields(Fields),
    Alias(Option<usize>),
}

/// A mapping, with where the first field of each key is: some files have tens of thousands of them.
#[derive(Debug, Default)]
struct Fields {
    all: Vec<Field>,
    by_key: BTreeMap<Arc<str>, usize>,
}

impl Fields {
    fn push(&mut self, key: String, spot: Spot, value: usize) {
        let key: Arc<str> = key.into();
        self.by_key.entry(key.clone()).or_insert(self.all.len());
        self.all.push(Field { key, spot, value });
    }

    fn get(&self, key: &str) -> Option<&Field> {
        self.all.get(*self.by_key.get(key)?)
    }
}

#[derive(Debug)]
struct Field {
    key: Arc<str>,
    spot: Spot,
    value: usize,
}

/// The places of one file.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: Vec<Node>,
    /// The root of each document.
    roots: Vec<usize>,
}

/// A collection that is still open, and the key that waits for its value.
struct Open {
    node: usize,
    start: saphyr_parser::Marker,
    key: Option<(String, Spot)>,
}

impl Index {
    /// Of as much of the text as can be read.
    pub(super) fn new(text: &str) -> Self {
        let mut index = Self::default();
        let mut anchors = BTreeMap::new();
        let mut open: Vec<Open> = Vec::new();
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            let (kind, anchor, name) = match event {
                Event::Alias(anchor) => (Kind::Alias(anchors.get(&anchor).copied()), 0, None),
                Event::Scalar(name, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain && tag.is_none();
                    (Kind::Scalar { plain }, anchor, Some(name))
                }
                Event::SequenceStart(anchor, _) => (Kind::Items(Vec::new()), anchor, None),
                Event::MappingStart(anchor, _) => (Kind::Fields(Fields::default()), anchor, None),
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(closed) = open.pop() {
                        index.close(&closed, span);
                    }
                    continue;
                }
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {
                    continue;
                }
            };
            let collection = matches!(kind, Kind::Items(_) | Kind::Fields(_));
            let node = index.nodes.len();
            index.nodes.push(Node { kind, spot: Spot::of(span) });
            if anchor != 0 {
                anchors.insert(anchor, node);
            }
            index.attach(open.last_mut(), node, name.as_deref());
            if collection {
                open.push(Open { node, start: span.start, key: None });
            }
        }
        index
    }

    /// Makes a node the next item, key or value of what is open, or the root of a document.
    fn attach(&mut self, parent: Option<&mut Open>, node: usize, name: Option<&str>) {
        let Some(parent) = parent else { return self.roots.push(node) };
        let spot = self.nodes[node].spot;
        match &mut self.nodes[parent.node].kind {
            Kind::Items(items) => items.push(node),
            Kind::Fields(fields) => match parent.key.take() {
                None => parent.key = Some((name.unwrap_or_default().to_owned(), spot)),
                Some((key, spot)) => fields.push(key, spot, node),
            },
            Kind::Scalar { .. } | Kind::Alias(_) => {}
        }
    }

    /// Only `{…}` and `[…]` on one line are a thing to underline: the rest is shown by its key.
    fn close(&mut self, closed: &Open, end: Span) {
        let node = &mut self.nodes[closed.node];
        let bracket = end.end.index() > end.start.index();
        node.spot = Spot::between(closed.start, end.end);
        if !bracket {
            node.spot.width = 0;
        }
    }

    pub(super) fn value(&self, document: usize, path: &[Step<'_>]) -> Spot {
        let (spot, key) = self.walk(document, path);
        match (spot.width, key) {
            (0, Some(key)) => key,
            _ => spot,
        }
    }

    pub(super) fn key(&self, document: usize, path: &[Step<'_>]) -> Spot {
        let (spot, key) = self.walk(document, path);
        key.unwrap_or(spot)
    }

    pub(super) fn is_plain(&self, document: usize, path: &[Step<'_>]) -> bool {
        let step = |node: Option<usize>, step: &Step<'_>| Some(self.child(node?, *step)?.0);
        let node = path.iter().fold(self.roots.get(document).copied(), step);
        node.is_some_and(|node| matches!(self.nodes[self.follow(node)].kind, Kind::Scalar { plain: true }))
    }

    /// The spot of the deepest node on the way, and of the key that leads to it.
    fn walk(&self, document: usize, path: &[Step<'_>]) -> (Spot, Option<Spot>) {
        let Some(&root) = self.roots.get(document).or(self.roots.last()) else {
            return (Spot { line: 1, column: 1, width: 0 }, None);
        };
        let (mut node, mut key) = (root, None);
        for &step in path {
            let Some((child, child_key)) = self.child(node, step) else { break };
            (node, key) = (child, child_key);
        }
        (self.nodes[node].spot, key)
    }

    fn child(&self, node: usize, step: Step<'_>) -> Option<(usize, Option<Spot>)> {
        match (&self.nodes[self.follow(node)].kind, step) {
            (Kind::Fields(fields), Step::Key(key)) => fields
                .get(key)
                .map(|field| (field.value, Some(field.spot)))
                .or_else(|| self.merged_child(fields, step)),
            (Kind::Items(items), Step::Item(item)) => items.get(item).map(|&item| (item, None)),
            _ => None,
        }
    }

    /// A key that came in by `<<`.
    fn merged_child(&self, fields: &Fields, step: Step<'_>) -> Option<(usize, Option<Spot>)> {
        let merged = fields.get("<<")?.value;
        match &self.nodes[self.follow(merged)].kind {
            Kind::Items(items) => items.iter().find_map(|&item| self.child(item, step)),
            Kind::Fields(_) => self.child(merged, step),
            Kind::Scalar { .. } | Kind::Alias(_) => None,
        }
    }

    /// What an alias stands for: always an earlier node that is no alias, so this ends.
    fn follow(&self, node: usize) -> usize {
        match self.nodes[node].kind {
            Kind::Alias(Some(target)) => target,
            _ => node,
        }
    }

    /// Every key that its mapping has already: the key, the first one, this one.
    pub(super) fn duplicates(&self) -> Vec<(String, Spot, Spot)> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let Kind::Fields(fields) = &node.kind else { continue };
            let mut seen = BTreeMap::new();
            for field in &fields.all {
                match seen.get(&*field.key) {
                    Some(&first) => found.push((field.key.to_string(), first, field.spot)),
                    None => {
                        seen.insert(&*field.key, field.spot);
                    }
                }
            }
        }
        found.sort_by_key(|(_, _, again)| (again.line, again.column));
        found
    }
}
