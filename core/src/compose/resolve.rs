//! From the documents of a service to one: each interpolated, its `include` and `extends` resolved, brought into
//! canonical form, and merged over those before it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::extends::Pool;
use super::extensions::{put_back, take_extensions};
use super::interpolate::{Fault, Scope};
use super::mistakes::{MAX_MISTAKES, Mistakes};
use super::normal::Normal;
use super::paths::{self, Target};
use super::places::{Origin, Places, Report};
use super::{Documents, Layer, Source, Variables, merge};
use crate::diagnostic::{Diagnostic, Place};
use crate::tree::Tree;
use crate::yaml::{MAX_NODES, Trail, closest};

/// How deep files may include files, and services extend services.
pub(super) const MAX_CHAIN: usize = 20;
/// How many documents one service may be made of.
const MAX_DOCUMENTS: usize = 200;

/// One render: what it sees and what it has found so far.
pub(super) struct Pass<'s, 't, 'v> {
    pub(super) source: &'s Source,
    pub(super) tree: &'t Tree,
    pub(super) places: Places<'t>,
    pub(super) scope: Scope<'v>,
    pub(super) found: Mistakes,
    /// The documents that went in, in the order in which they were merged.
    pub(super) origins: Vec<Origin>,
    documents: usize,
    grown: usize,
    pub(super) pools: BTreeMap<String, Option<Rc<Pool>>>,
}

/// In an overlay, the name that stands for every service there is.
pub(super) const EVERY: &str = "*";

/// An overlay as two layers: what it says of [`EVERY`] service, written out for each service of the model so far, and
/// over that the rest. Any other layer is itself.
fn spread(layer: &Layer, model: &Mapping) -> Vec<Layer> {
    let every = layer.value.get("services").and_then(|services| services.get(EVERY));
    let (Some(every), true) = (every, layer.is_overlay) else { return vec![layer.clone()] };
    let names = model.get("services").and_then(Value::as_mapping).into_iter().flat_map(Mapping::keys);
    let services: Mapping = names.map(|name| (name.clone(), every.clone())).collect();
    let spread: Mapping = [(Value::from("services"), Value::Mapping(services))].into_iter().collect();
    let mut rest = (*layer.value).clone();
    if let Some(Value::Mapping(services)) = rest.get_mut("services") {
        services.shift_remove(EVERY);
    }
    [Value::Mapping(spread), rest].map(|value| Layer { value: Arc::new(value), ..layer.clone() }).into()
}

impl<'s, 't, 'v> Pass<'s, 't, 'v> {
    pub(super) fn new(source: &'s Source, tree: &'t Tree, variables: &'v Variables) -> Self {
        Self {
            source,
            tree,
            places: Places::new(tree),
            scope: Scope::new(variables),
            found: Mistakes::default(),
            origins: Vec::new(),
            documents: 0,
            grown: 0,
            pools: BTreeMap::new(),
        }
    }

    /// All layers, merged.
    pub(super) fn merged(&mut self) -> Mapping {
        let source = self.source;
        let mut model = Mapping::new();
        for layer in &source.layers {
            for layer in spread(layer, &model) {
                let mut chain = vec![layer.origin.path.to_string()];
                let document = self.document(&layer, &mut chain);
                self.merge(&mut model, document, &layer.origin);
            }
        }
        let mut model = Value::Mapping(model);
        merge::settle(&mut model);
        match model {
            Value::Mapping(model) => model,
            _ => Mapping::new(),
        }
    }

    /// The place of a field of the merged model, as long as mistakes are said.
    pub(super) fn at(&self, path: &[&str]) -> Place {
        let place = if self.found.is_full() { None } else { self.places.of_field(&self.origins, path) };
        place.unwrap_or_else(|| Place::file(self.source.folder.clone()))
    }

    fn document(&mut self, layer: &Layer, chain: &mut Vec<String>) -> Mapping {
        let Some(mut document) = self.prepared(layer) else { return Mapping::new() };
        let include = document.shift_remove("include");
        let mut model = Mapping::new();
        if let Some(include) = include {
            self.includes(layer, include, chain, &mut model);
        }
        self.normalise(layer, &mut document);
        if model.is_empty() {
            model = document;
        } else {
            self.merge(&mut model, document, &layer.origin);
        }
        self.extend_services(layer, &mut model);
        self.origins.push(layer.origin.clone());
        model
    }

    /// A document with its variables replaced, but for those in extensions.
    pub(super) fn prepared(&mut self, layer: &Layer) -> Option<Mapping> {
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS {
            let message = format!("the service is made of more than {MAX_DOCUMENTS} documents");
            let help = "write them together into fewer files, or split the service";
            self.error_with_help(&layer.origin, &Trail::ROOT, "compose-too-large", message, help);
            return None;
        }
        match &*layer.value {
            Value::Mapping(document) => {
                let mut document = document.clone();
                let extensions = take_extensions(&mut document);
                self.interpolate(&layer.origin, &mut document);
                put_back(&mut document, extensions);
                Some(document)
            }
            Value::Null => None,
            _ => {
                self.error(&layer.origin, &Trail::ROOT, "wrong-type", "a Compose file must be a mapping");
                None
            }
        }
    }

    fn interpolate(&mut self, origin: &Origin, document: &mut Mapping) {
        let Self { scope, places, found, .. } = self;
        let mut faults = Vec::new();
        for (key, value) in document.iter_mut() {
            let key = key.as_str().unwrap_or_default();
            scope.interpolate(value, &Trail::ROOT.to(key), &mut |trail, fault| {
                let shown = faults.len() < MAX_MISTAKES;
                let place = || places.within(origin, trail, &fault.pieces());
                faults.push((shown.then(place), fault));
            });
        }
        for (place, fault) in faults {
            found.add(|| {
                let place = place.unwrap_or_else(|| Place::file(origin.path.clone()));
                self.source.note_env_file(self.tree, fault_diagnostic(place, fault, scope))
            });
        }
    }

    pub(super) fn normalise(&mut self, layer: &Layer, document: &mut Mapping) {
        let report = Report { origin: &layer.origin, places: &self.places, found: &mut self.found };
        let mut normal = Normal { base: &layer.base, report, grown: 0 };
        normal.document(document);
        let grown = normal.grown;
        self.grow(&layer.origin, grown);
    }

    pub(super) fn merge(&mut self, model: &mut Mapping, document: Mapping, origin: &Origin) {
        let mut clashes = Vec::new();
        merge::documents(model, document, &mut clashes);
        self.clashes(clashes, origin);
    }

    pub(super) fn clashes(&mut self, clashes: Vec<merge::Clash>, origin: &Origin) {
        for clash in clashes {
            self.found.add(|| {
                let steps: Vec<&str> = clash.split('.').collect();
                let place = self.places.of_field(std::slice::from_ref(origin), &steps);
                let place = place.unwrap_or_else(|| Place::file(origin.path.clone()));
                let message = format!("`{clash}` is of another kind in the file before");
                Diagnostic::error("wrong-type", place, message).help(
                    "write it as a list in both, or as a mapping in both; or put `!override` in front of it",
                )
            });
        }
    }

    /// Whether there is room for so many more values.
    pub(super) fn grow(&mut self, origin: &Origin, values: usize) -> bool {
        let fits = self.grown <= MAX_NODES;
        self.grown += values;
        if fits && self.grown > MAX_NODES {
            let message = "the model is too large once ranges and extended services are written out";
            let help = "extend smaller services and publish fewer ports, or split the service";
            self.error_with_help(origin, &Trail::ROOT, "compose-too-large", message, help);
        }
        self.grown <= MAX_NODES
    }

    pub(super) fn error(
        &mut self,
        origin: &Origin,
        trail: &Trail<'_>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        Report { origin, places: &self.places, found: &mut self.found }.error(trail, code, message);
    }

    pub(super) fn error_with_help(
        &mut self,
        origin: &Origin,
        trail: &Trail<'_>,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        Report { origin, places: &self.places, found: &mut self.found }
            .error_with_help(trail, code, message, help);
    }

    fn includes(&mut self, layer: &Layer, include: Value, chain: &mut Vec<String>, model: &mut Mapping) {
        let top = Trail::ROOT.to("include");
        let Value::Sequence(entries) = include else {
            return self.error(&layer.origin, &top, "wrong-type", "`include` must be a list");
        };
        for (number, entry) in entries.iter().enumerate() {
            let trail = top.to(number);
            let Some((files, base)) = self.included_files(layer, entry, &trail) else { continue };
            for file in files {
                self.included_file(layer, &trail, &file, &base, chain, model);
            }
        }
    }

    /// The files of one entry, and the folder that their paths are relative to.
    fn included_files(
        &mut self,
        layer: &Layer,
        entry: &Value,
        trail: &Trail<'_>,
    ) -> Option<(Vec<String>, String)> {
        if entry.get("env_file").is_some() {
            self.error_with_help(
                &layer.origin,
                &trail.to("env_file"),
                "include-env-file",
                "an included file gets its variables from the definitions, and not from an `env_file`",
                "move them under `variables:` of the service",
            );
        }
        let named = entry.get("path").unwrap_or(entry);
        let files: Vec<&str> = match named {
            Value::String(path) => vec![path],
            Value::Sequence(paths) => paths.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if files.is_empty() {
            self.error(&layer.origin, trail, "wrong-type", "an `include` names a file, or has a `path`");
            return None;
        }
        let files: Vec<String> =
            files.into_iter().filter_map(|path| self.compose_file(layer, trail, path)).collect();
        let first = paths::parent(files.first()?).to_owned();
        let base = match entry.get("project_directory").and_then(Value::as_str) {
            None => first,
            Some(folder) => match paths::target(&layer.base, folder) {
                Ok(Target::Inside(folder)) => folder,
                Ok(Target::Host) | Err(_) => {
                    let fault = paths::PathFault::Outside;
                    self.error_with_help(
                        &layer.origin,
                        &trail.to("project_directory"),
                        fault.code(),
                        fault.message(folder),
                        fault.help(),
                    );
                    return None;
                }
            },
        };
        Some((files, base))
    }

    /// The path, from the service's folder, of a Compose file that another one names.
    pub(super) fn compose_file(&mut self, layer: &Layer, trail: &Trail<'_>, path: &str) -> Option<String> {
        match paths::file_target(&layer.base, path) {
            Ok(file) => Some(file),
            Err(fault) => {
                self.error_with_help(&layer.origin, trail, fault.code(), fault.message(path), fault.help());
                None
            }
        }
    }

    fn included_file(
        &mut self,
        layer: &Layer,
        trail: &Trail<'_>,
        file: &str,
        base: &str,
        chain: &mut Vec<String>,
        model: &mut Mapping,
    ) {
        let full = self.source.full(file);
        if chain.contains(&full) {
            let way = chain.iter().chain([&full]).map(String::as_str).collect::<Vec<_>>().join(" → ");
            let message = format!("files include each other: {way}");
            return self.error_with_help(
                &layer.origin,
                trail,
                "include-cycle",
                message,
                "take one of them out",
            );
        }
        if chain.len() >= MAX_CHAIN {
            let message = format!("files include each other more than {MAX_CHAIN} deep");
            let help = "include the files that are furthest down from further up";
            return self.error_with_help(&layer.origin, trail, "include-too-deep", message, help);
        }
        let Some(documents) = self.read_file(layer, trail, file) else { return };
        chain.push(full);
        for document in documents.iter() {
            let included = self.source.layer(file, base, document);
            let document = self.document(&included, chain);
            self.merge(model, document, &included.origin);
        }
        chain.pop();
    }

    /// The documents of a file that `layer` names at `trail`.
    pub(super) fn read_file(&mut self, layer: &Layer, trail: &Trail<'_>, file: &str) -> Option<Documents> {
        if let Some(documents) = self.source.parsed.get(file) {
            return Some(documents.clone());
        }
        if let Err(absent) = self.source.entry(self.tree, file) {
            self.error_with_help(&layer.origin, trail, absent.code, absent.message, absent.help);
            return None;
        }
        match self.source.parse(self.tree, file) {
            Ok(documents) => Some(documents),
            Err(found) => {
                found.into_iter().for_each(|diagnostic| self.found.add(|| diagnostic));
                None
            }
        }
    }
}

fn fault_diagnostic(place: Place, fault: Fault, scope: &Scope<'_>) -> Diagnostic {
    let define = "define it under `variables:` of the service or the node, or in `[defaults]`";
    match fault {
        Fault::Missing(name) => {
            let help = match closest(&name, scope.names()) {
                Some(meant) => format!("did you mean `{meant}`? If not, {define}"),
                None => format!("{define}, or give it a default: `${{{name}:-…}}`"),
            };
            Diagnostic::error("unknown-variable", place, format!("there is no variable `{name}`")).help(help)
        }
        Fault::Required(name, message) => {
            let diagnostic =
                Diagnostic::error("unknown-variable", place, format!("the variable `{name}` must be set"))
                    .help(define);
            if message.is_empty() { diagnostic } else { diagnostic.label(message) }
        }
        Fault::Syntax(text) => {
            Diagnostic::error("variable-syntax", place, format!("`{text}` is not the form of a variable"))
                .help("write `${NAME}` or `${NAME:-default}`; for a dollar sign as it stands, write `$$`")
        }
        Fault::TooLarge => {
            Diagnostic::error("compose-too-large", place, "the variables are too long or nest too deep")
                .help("use shorter values in fewer places, and defaults without variables")
        }
    }
}

impl Source {
    /// People who know Compose expect a `.env` file to count: where one would, says so.
    fn note_env_file(&self, tree: &Tree, diagnostic: Diagnostic) -> Diagnostic {
        let content = tree.get(&self.full(".env")).and_then(|entry| entry.content.as_deref());
        let name = diagnostic.message.split('`').nth(1).unwrap_or_default();
        let sets =
            |line: &[u8]| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        let there = content.is_some_and(|content| content.split(|&byte| byte == b'\n').any(sets));
        if there && diagnostic.code.as_ref() == "unknown-variable" {
            return diagnostic.note("`.env` has it, but is not read: what is deployed must not depend on it");
        }
        diagnostic
    }
}
