//! Where in the definitions a part of a model comes from.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_yaml::Value;

use super::mistakes::Mistakes;
use super::resolve::EVERY;
use super::scalar::text_of;
use super::short;
use crate::diagnostic::{Diagnostic, Place};
use crate::tree::Tree;
use crate::yaml::{Document, Step, Text, Trail};

/// A Compose document that went into a model.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// From the root of the repository.
    pub(super) path: Arc<str>,
    /// Which document of that file.
    pub(super) document: usize,
    /// The field that the Compose file is in, if it is no file of its own.
    pub(super) field: Option<&'static str>,
    /// Where just one of its services counts, by `extends`: its name there, and in the model.
    pub(super) service: Option<(Arc<str>, Arc<str>)>,
}

impl Origin {
    pub(super) fn steps<'a>(&self, steps: &[Step<'a>]) -> Vec<Step<'a>> {
        self.field.map(Step::Key).into_iter().chain(steps.iter().copied()).collect()
    }
}

/// The texts of a tree, read again when a place in them is asked for.
pub(super) struct Places<'t> {
    tree: &'t Tree,
    texts: RefCell<BTreeMap<Arc<str>, Option<Read<'t>>>>,
}

/// A file, with its documents once a field is looked for: many mistakes in one file must not read it many times.
struct Read<'t> {
    text: Text<'t>,
    documents: OnceCell<Vec<Document>>,
}

impl Read<'_> {
    fn document(&self, number: usize) -> Option<&Document> {
        let documents = self.documents.get_or_init(|| self.text.documents().unwrap_or_default());
        documents.iter().find(|document| document.number == number)
    }
}

impl<'t> Places<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        Self { tree, texts: RefCell::default() }
    }

    fn with<R>(&self, path: &Arc<str>, ask: impl FnOnce(&Read<'t>) -> R) -> Option<R> {
        let mut texts = self.texts.borrow_mut();
        let text = texts.entry(path.clone()).or_insert_with(|| {
            let bytes = self.tree.get(path)?.content.as_deref()?;
            Some(Read { text: Text::new(path, bytes).ok()?, documents: OnceCell::new() })
        });
        text.as_ref().map(ask)
    }

    pub(super) fn value(&self, origin: &Origin, trail: &Trail<'_>) -> Place {
        let steps = origin.steps(&trail.steps());
        self.with(&origin.path, |read| read.text.place(origin.document, &steps))
            .unwrap_or_else(|| Place::file(origin.path.clone()))
    }

    /// Of this very piece of a value, where it can be seen in the line.
    pub(super) fn within(&self, origin: &Origin, trail: &Trail<'_>, pieces: &[String]) -> Place {
        let mut place = self.value(origin, trail);
        let Some(line) = place.text.clone() else { return place };
        let start: usize =
            line.chars().take(place.column.saturating_sub(1) as usize).map(char::len_utf8).sum();
        let hit = |piece: &String| Some((line[start..].find(piece)?, piece.chars().count()));
        if let Some((at, width)) = pieces.iter().find_map(hit) {
            place.column += u32::try_from(line[start..start + at].chars().count()).unwrap_or(0);
            place.width = u32::try_from(width).unwrap_or(1);
        }
        place
    }

    /// The last of `origins` that sets this field of the model, or the one that comes nearest.
    pub(super) fn of_field(&self, origins: &[Origin], path: &[&str]) -> Option<Place> {
        self.of(origins, path, Text::place)
    }

    /// The same for the key of the field.
    pub(super) fn of_key(&self, origins: &[Origin], path: &[&str]) -> Option<Place> {
        self.of(origins, path, Text::key_place)
    }

    /// The key of this field where it is written first, in a document that counts as a whole.
    pub(super) fn of_first_key(&self, origins: &[Origin], path: &[&str]) -> Option<Place> {
        origins.iter().filter(|origin| origin.service.is_none()).find_map(|origin| {
            let found = self.with(&origin.path, |read| find(read, origin, path, Text::key_place));
            found.flatten().filter(|(depth, _)| *depth == path.len()).map(|(_, place)| place)
        })
    }

    fn of(&self, origins: &[Origin], path: &[&str], place: PlaceIn<'t>) -> Option<Place> {
        let mut best: Option<(usize, Place)> = None;
        for origin in origins.iter().rev() {
            let Some(path) = origin.path_in(path) else { continue };
            let Some((depth, place)) =
                self.with(&origin.path, |read| find(read, origin, &path, place)).flatten()
            else {
                continue;
            };
            if depth == path.len() {
                return Some(place);
            }
            if best.as_ref().is_none_or(|(most, _)| depth > *most) {
                best = Some((depth, place));
            }
        }
        best.map(|(_, place)| place)
    }
}

impl Origin {
    /// The path of a field of the model as it is called in this document; none where it cannot come from here.
    fn path_in<'a>(&'a self, path: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut path = path.to_vec();
        if let Some((here, there)) = &self.service {
            match path.as_mut_slice() {
                ["services", name, ..] if **name == **there => *name = here,
                _ => return None,
            }
        }
        Some(path)
    }
}

/// [`Text::place`] or [`Text::key_place`].
type PlaceIn<'t> = for<'p, 's> fn(&Text<'t>, usize, &'p [Step<'s>]) -> Place;

/// How many steps of `path` the document has, and the place of the last of them.
fn find<'t>(read: &Read<'t>, origin: &Origin, path: &[&str], place: PlaceIn<'t>) -> Option<(usize, Place)> {
    let mut value = &read.document(origin.document)?.value;
    if let Some(field) = origin.field {
        value = value.get(field)?;
    }
    let mut steps = Vec::new();
    for name in path {
        // A service of the model may have got this from what an overlay says of every service.
        let every = || if steps == [Step::Key("services")] { step_into(value, EVERY) } else { None };
        let Some((step, next)) = step_into(value, name).or_else(every) else { break };
        steps.push(step);
        value = next;
    }
    Some((steps.len(), place(&read.text, origin.document, &origin.steps(&steps))))
}

/// Whether an item of a list is what the canonical form calls by this name: `NAME=value`, `name:/target`, `./file`, or
/// the long form of such.
fn is_named(item: &Value, name: &str) -> bool {
    let name = name.trim_start_matches("./");
    let starts = |text: &str| {
        let rest = text.trim_start_matches("./").strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ':', '/']))
    };
    match item {
        Value::String(text) => starts(text),
        _ => ["source", "path", "target"]
            .iter()
            .any(|key| item.get(key).and_then(Value::as_str).is_some_and(starts)),
    }
}

/// Whether an item of a list publishes this port of the host, alone or in a range of ports.
fn publishes(item: &Value, port: &str) -> bool {
    match item {
        Value::String(text) => short::publishes(text, port),
        _ => item.get("published").is_some_and(|published| text_of(published) == port),
    }
}

/// The one item of a list that has a variable in it, whose value is not known here.
fn with_variable(items: &[Value]) -> Option<usize> {
    let mut having = items.iter().enumerate().filter(|(_, item)| {
        let texts = item.as_mapping().into_iter().flat_map(|fields| fields.values()).chain([*item]);
        texts.filter_map(Value::as_str).any(|text| text.contains('$'))
    });
    having.next().map(|(number, _)| number).filter(|_| having.next().is_none())
}

/// A step by the name that the canonical form has for it, also into a list.
fn step_into<'a>(value: &'a Value, name: &'a str) -> Option<(Step<'a>, &'a Value)> {
    match value {
        Value::Tagged(tagged) => step_into(&tagged.value, name),
        Value::Mapping(fields) => Some((Step::Key(name), fields.get(name)?)),
        Value::Sequence(items) => {
            let published =
                || short::range(name).and_then(|_| items.iter().position(|item| publishes(item, name)));
            let numbered = || name.parse().ok().filter(|number: &usize| *number < items.len());
            let number = items.iter().position(|item| is_named(item, name)).or_else(published);
            let number = number.or_else(numbered).or_else(|| with_variable(items))?;
            Some((Step::Item(number), items.get(number)?))
        }
        _ => None,
    }
}

/// Collects what is wrong with one document.
pub(super) struct Report<'a, 't> {
    pub(super) origin: &'a Origin,
    pub(super) places: &'a Places<'t>,
    pub(super) found: &'a mut Mistakes,
}

impl Report<'_, '_> {
    /// An error at a value, still to be given notes and help.
    pub(super) fn error(&mut self, trail: &Trail<'_>, code: &'static str, message: impl Into<String>) {
        self.push(trail, |place| Diagnostic::error(code, place, message));
    }

    /// An error with what to do about it.
    pub(super) fn error_with_help(
        &mut self,
        trail: &Trail<'_>,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(trail, |place| Diagnostic::error(code, place, message).help(help));
    }

    fn push(&mut self, trail: &Trail<'_>, diagnostic: impl FnOnce(Place) -> Diagnostic) {
        self.found.add(|| diagnostic(self.places.value(self.origin, trail)));
    }
}
