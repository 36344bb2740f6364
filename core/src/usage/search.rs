//! What the paths of features are looked for in: the Compose model, its extensions, and `service.yaml`.

use std::sync::Arc;

use serde_json::Value;

use super::{Document, Subject, Use, lookup};
use crate::compose::Rendered;
use crate::definition::{Service, UsedBy};
use crate::plan::Model;
use crate::yaml::Text;

/// The documents of one service. Each is read when a path may be in it, and once: most never are.
pub(super) struct Search<'a> {
    subject: &'a Subject<'a>,
    rendered: &'a Rendered,
    model: Option<Value>,
    extensions: Option<Value>,
    definition: Option<Value>,
}

impl<'a> Search<'a> {
    pub(super) fn new(subject: &'a Subject<'a>, rendered: &'a Rendered) -> Self {
        Self { subject, rendered, model: None, extensions: None, definition: None }
    }

    /// Where the path leads. Its first key says in which document.
    pub(super) fn find(&mut self, wanted: &UsedBy) -> Option<Use> {
        let found = |document| move |way| Use::Found { path: wanted.path.clone(), document, way };
        if Service::FIELDS.binary_search(&wanted.path.first()).is_ok() {
            let (document, way) = self.in_definition(wanted)?;
            return Some(found(document)(way));
        }
        self.in_compose(wanted).map(found(Document::Compose))
    }

    /// In the model, then in the extensions: where the first key may leave out its `x-`.
    fn in_compose(&mut self, wanted: &UsedBy) -> Option<Vec<Arc<str>>> {
        let first = wanted.path.first();
        let model = read(&mut self.model, &self.rendered.model, wanted);
        let in_model = model.and_then(|model| lookup::find(model, first, wanted));
        in_model.or_else(|| {
            let extensions = read(&mut self.extensions, self.rendered.extensions.as_ref()?, wanted)?;
            let extended = || lookup::find(extensions, &format!("x-{first}"), wanted);
            lookup::find(extensions, first, wanted).or_else(extended)
        })
    }

    /// In what is given for the environment, and in the rest as far as that stands there: `variables` one by one, any
    /// other field as a whole.
    fn in_definition(&mut self, wanted: &UsedBy) -> Option<(Document, Vec<Arc<str>>)> {
        let first = wanted.path.first();
        let environment = self.subject.deployment.environment.as_ref();
        let definition = self.definition(wanted)?;
        let given = environment.and_then(|name| definition.get("environments")?.get(name.as_str()));
        let way = given.and_then(|given| lookup::find(given, first, wanted));
        if let Some(way) = way {
            return Some((Document::Environment, way));
        }
        if first != "variables" && given.is_some_and(|given| given.get(first).is_some_and(|it| !it.is_null()))
        {
            return None;
        }
        lookup::find(definition, first, wanted).map(|way| (Document::Service, way))
    }

    fn definition(&mut self, wanted: &UsedBy) -> Option<&Value> {
        if self.definition.is_none() {
            let definition = &self.subject.entry.definition;
            let content = self.subject.catalog.tree.get(&definition.path)?.content.as_deref()?;
            let text = Text::new(&definition.path, content).ok()?;
            if !lookup::may_have(text.as_str(), &wanted.path) {
                return None;
            }
            let mut documents = text.documents().ok()?.into_iter();
            let document = documents.find(|document| document.number == definition.document)?;
            self.definition = serde_json::to_value(document.value).ok();
        }
        self.definition.as_ref()
    }
}

fn read<'v>(slot: &'v mut Option<Value>, model: &Model, wanted: &UsedBy) -> Option<&'v Value> {
    if slot.is_none() && lookup::may_have(model.as_str(), &wanted.path) {
        *slot = Some(model.value());
    }
    slot.as_ref()
}
