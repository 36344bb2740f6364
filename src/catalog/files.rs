//! From files to definitions of one kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::compose::Overlay;
use crate::definition::{Feature, Located, Settings};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::FeatureName;
use crate::tree::{EntryKind, Tree};
use crate::yaml;

/// The definitions directly in a folder, by name. `field` is the one that names them.
pub(super) fn definitions<T: DeserializeOwned, N: Ord + std::fmt::Display>(
    tree: &Tree,
    folder: &str,
    field: &'static str,
    name: impl Fn(&T) -> N,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<N, Located<T>> {
    let mut definitions: BTreeMap<N, Located<T>> = BTreeMap::new();
    for (path, _) in tree.under(folder) {
        if path[folder.len() + 1..].contains('/') || !is_yaml(path) {
            continue;
        }
        for definition in documents(tree, path, found) {
            let name = name(&definition.value);
            match definitions.get(&name) {
                Some(first) => found.push(defined_twice(tree, field, &name, first, &definition)),
                None => _ = definitions.insert(name, definition),
            }
        }
    }
    definitions
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

fn defined_twice<T>(
    tree: &Tree,
    field: &'static str,
    name: &impl std::fmt::Display,
    first: &Located<T>,
    second: &Located<T>,
) -> Diagnostic {
    let place = |definition| super::place(tree, definition, &[yaml::Step::Key(field)]);
    let first = place(first);
    Diagnostic::error("defined-twice", place(second), format!("{field} `{name}` is defined twice"))
        .note(format!("first defined at {}:{}:{}", first.path, first.line, first.column))
        .help("remove one of them or give it another name")
}

/// Every document of a YAML file. What is wrong with it is added to `found`.
pub(super) fn documents<T: DeserializeOwned>(
    tree: &Tree,
    path: &Arc<str>,
    found: &mut Vec<Diagnostic>,
) -> Vec<Located<T>> {
    let Some(content) = content(tree, path, found) else { return Vec::new() };
    read(path, content).unwrap_or_else(|(definitions, diagnostics)| {
        found.extend(diagnostics);
        definitions
    })
}

/// What could be read, and what is wrong with the rest.
type Partly<T> = (Vec<Located<T>>, Vec<Diagnostic>);

fn read<T: DeserializeOwned>(path: &Arc<str>, content: &[u8]) -> Result<Vec<Located<T>>, Partly<T>> {
    let nothing = |diagnostics| (Vec::new(), diagnostics);
    let text = yaml::Text::new(path, content).map_err(nothing)?;
    let (mut definitions, mut found) = (Vec::new(), Vec::new());
    for document in text.documents().map_err(nothing)? {
        match text.decode(&document) {
            Ok(value) => definitions.push(Located { value, path: path.clone(), document: document.number }),
            Err(diagnostics) => found.extend(diagnostics),
        }
    }
    if found.is_empty() { Ok(definitions) } else { Err((definitions, found)) }
}

/// The overlays of features, by their path as the feature names it. One that is not there is reported with its feature.
pub(super) fn overlays(
    tree: &Tree,
    features: &BTreeMap<FeatureName, Located<Feature>>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<Arc<str>, Overlay> {
    let paths: BTreeSet<&Arc<str>> =
        features.values().filter_map(|feature| feature.value.overlay.as_ref()).collect();
    let read = |name: &Arc<str>| {
        let path: Arc<str> = format!("features/{name}").into();
        let documents =
            yaml::Text::new(&path, content(tree, &path, found)?).and_then(|text| text.compose_documents());
        let document = documents.map_err(|diagnostics| found.extend(diagnostics)).ok()?.into_iter().next()?;
        let overlay =
            Overlay { path, document: document.number, field: None, value: Arc::new(document.value) };
        Some((name.clone(), overlay))
    };
    paths.into_iter().filter_map(read).collect()
}

/// `gitops.toml`.
pub(super) fn settings(tree: &Tree, found: &mut Vec<Diagnostic>) -> Option<Settings> {
    let path: Arc<str> = "gitops.toml".into();
    if tree.get(&path).is_none() {
        let message = "there is no gitops.toml, so this is not a definitions repository";
        let help = "run `gitops init` in an empty folder to see a working one, or create a gitops.toml with \
                    `format = 1` and `name = \"…\"`";
        found.push(Diagnostic::error("no-settings", Place::file(path), message).help(help));
        return None;
    }
    let content = content(tree, &path, found)?;
    let settings: Settings =
        Settings::parse(&path, content).map_err(|diagnostics| found.extend(diagnostics)).ok()?;
    if settings.format != Settings::FORMAT {
        let message = format!(
            "this repository has format {}, this program knows {}",
            settings.format,
            Settings::FORMAT
        );
        let diagnostic = Diagnostic::error("unknown-format", Place::file(path), message);
        found.push(diagnostic.help("use a newer version of gitops, or write `format = 1`"));
    }
    Some(settings)
}

/// The bytes of a file that is one. A file over the limits has none, and was reported as such.
fn content<'a>(tree: &'a Tree, path: &Arc<str>, found: &mut Vec<Diagnostic>) -> Option<&'a [u8]> {
    let entry = tree.get(path)?;
    if !matches!(entry.kind, EntryKind::File { .. }) {
        let diagnostic =
            Diagnostic::error("not-a-file", Place::file(path.clone()), "this is not a regular file");
        found.push(diagnostic.help("links and submodules are not followed: put the file itself here"));
        return None;
    }
    entry.content.as_deref()
}
