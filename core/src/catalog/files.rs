//! From files to definitions of one kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::strays;
use crate::compose::Overlay;
use crate::definition::{Defaults, Feature, Located, Service, Settings};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::FeatureName;
use crate::tree::{EntryKind, Tree};
use crate::yaml::{self, Step};

/// The definitions directly in a folder, by name. `field` is the one that names them. Those with mistakes are among
/// them; also says whether there are some whose names could not be read.
pub(super) fn definitions<T: DeserializeOwned, N: Ord + std::fmt::Display>(
    tree: &Tree,
    folder: &str,
    field: &'static str,
    name: impl Fn(&T) -> N,
    found: &mut Vec<Diagnostic>,
) -> (BTreeMap<N, Located<T>>, bool) {
    // A link or a file in place of the folder may stand for any of them.
    let mut nameless = tree.get(folder).is_some();
    let mut definitions: BTreeMap<N, Located<T>> = BTreeMap::new();
    for (path, entry) in tree.under(folder) {
        if path[folder.len() + 1..].contains('/') {
            found.extend(strays::too_deep(path, entry, folder, field));
            continue;
        }
        if !strays::is_yaml(path) {
            continue;
        }
        let (read, whole) = documents(tree, path, found);
        nameless |= !whole;
        for definition in read {
            if definition.broken.contains(field) {
                nameless = true;
                continue;
            }
            let name = name(&definition.value);
            match definitions.get(&name) {
                Some(first) => found.push(defined_twice(tree, field, &name, first, &definition)),
                None => _ = definitions.insert(name, definition),
            }
        }
    }
    (definitions, nameless)
}

fn defined_twice<T>(
    tree: &Tree,
    field: &'static str,
    name: &impl std::fmt::Display,
    first: &Located<T>,
    second: &Located<T>,
) -> Diagnostic {
    let place = |definition| super::place(tree, definition, &[Step::Key(field)]);
    let first = place(first);
    Diagnostic::error("defined-twice", place(second), format!("{field} `{name}` is defined twice"))
        .note(format!("first defined at {}:{}:{}", first.path, first.line, first.column))
        .help("remove one of them or give it another name")
}

/// Every document of a YAML file, and whether that is all there is in it. What is wrong with it is added to `found`.
pub(super) fn documents<T: DeserializeOwned>(
    tree: &Tree,
    path: &Arc<str>,
    found: &mut Vec<Diagnostic>,
) -> (Vec<Located<T>>, bool) {
    let Some((text, documents)) = parsed(tree, path, found) else { return (Vec::new(), false) };
    let count = documents.len();
    let read: Vec<_> = documents.iter().filter_map(|document| read(&text, document, found)).collect();
    let whole = read.len() == count;
    (read, whole)
}

/// The service of a `service.yaml`, which holds just one: its name is that of the folder.
pub(super) fn service(
    tree: &Tree,
    path: &Arc<str>,
    folder: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<Located<Service>> {
    let (text, documents) = parsed(tree, path, found)?;
    let Some(first) = documents.first() else {
        found.push(empty_service(path, folder));
        return None;
    };
    if let Some(second) = documents.get(1) {
        let message = "service.yaml holds one service, and this is a further document";
        let diagnostic = Diagnostic::error("several-documents", text.place(second.number, &[]), message);
        found.push(diagnostic.help("give every service a folder of its own directly in services/"));
    }
    read(&text, first, found)
}

fn empty_service(path: &Arc<str>, folder: &str) -> Diagnostic {
    let message = format!("service.yaml is empty, so nothing in `{folder}` is deployed");
    Diagnostic::error("empty-service-file", Place::file(path.clone()), message)
        .help("write the service into it (`gitops schema service` tells its fields), or remove the folder")
}

/// The text of a file and its documents.
fn parsed<'a>(
    tree: &'a Tree,
    path: &Arc<str>,
    found: &mut Vec<Diagnostic>,
) -> Option<(yaml::Text<'a>, Vec<yaml::Document>)> {
    let text = yaml::Text::new(path, content(tree, path, found)?);
    let read = text.and_then(|text| text.documents().map(|documents| (text, documents)));
    read.map_err(|mistakes| found.extend(mistakes)).ok()
}

/// A definition, as far as it can be read.
fn read<T: DeserializeOwned>(
    text: &yaml::Text<'_>,
    document: &yaml::Document,
    found: &mut Vec<Diagnostic>,
) -> Option<Located<T>> {
    let (value, broken) = match text.decode_mended(document) {
        Ok(value) => (value, BTreeSet::new()),
        Err(mended) => {
            found.extend(mended.found);
            (mended.form?, mended.fields)
        }
    };
    Some(Located { value, path: text.path().clone(), document: document.number, broken })
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

/// The places of the first items of the lists of the defaults.
pub(super) fn default_places(tree: &Tree, defaults: &Defaults) -> BTreeMap<(&'static str, usize), Place> {
    let path: Arc<str> = "gitops.toml".into();
    let Some(content) = tree.get(&path).and_then(|entry| entry.content.as_deref()) else {
        return BTreeMap::new();
    };
    let count = |len: Option<usize>| 0..len.unwrap_or_default().min(super::MAX_OF_A_KIND);
    let features = count(defaults.features.as_ref().map(Vec::len)).map(|index| ("features", index));
    let controls = count(defaults.controls.as_ref().map(Vec::len)).map(|index| ("controls", index));
    let items: Vec<_> = features.chain(controls).collect();
    let steps = |&(field, index)| [Step::Key("defaults"), Step::Key(field), Step::Item(index)];
    let steps: Vec<_> = items.iter().map(steps).collect();
    let fields: Vec<&[Step<'_>]> = steps.iter().map(|steps| steps.as_slice()).collect();
    items.into_iter().zip(Settings::places(&path, content, &fields)).collect()
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
