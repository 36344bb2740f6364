//! What looks like definitions and is not read: it would be silence where people expect a service.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place};
use crate::name::ServiceName;
use crate::tree::{Entry, EntryKind, ROOTS, Tree};

/// Something else in place of a folder of definitions: all that was in it would be gone.
pub(super) fn no_folders(tree: &Tree) -> Vec<Diagnostic> {
    let folders = ROOTS.iter().filter_map(|root| root.strip_suffix('/'));
    folders.filter_map(|folder| Some(no_folder(folder, tree.get(folder)?.kind))).collect()
}

fn no_folder(folder: &str, kind: EntryKind) -> Diagnostic {
    let message = match kind {
        EntryKind::Link => format!("`{folder}` is a symbolic link, and those are never followed"),
        EntryKind::Submodule => format!("`{folder}` is a Git submodule, and those are never entered"),
        EntryKind::File { .. } => format!("`{folder}` is a file, and must be a folder"),
    };
    Diagnostic::error("not-a-folder", Place::file(folder), message)
        .help(format!("put a folder with the files themselves there; without any, remove `{folder}`"))
}

/// Definitions of nodes, features or controls (`field` names them) in folders further down.
pub(super) fn too_deep(path: &Arc<str>, entry: &Entry, folder: &str, field: &str) -> Option<Diagnostic> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let help = format!("move it to {folder}/{name}, or give it a name that is not `*.yaml`");
    (is_yaml(path) && has_fields(entry, &[field])).then(|| stray(path, help))
}

/// What is directly in `services/`, where every service has a folder: YAML, and whatever else may stand for a folder.
/// A text such as `README.md` may lie there.
pub(super) fn beside_services(tree: &Tree) -> Vec<Diagnostic> {
    let beside = tree.under("services").filter(|(path, _)| is_beside_services(path));
    beside.filter_map(|(path, entry)| beside_service(path, entry.kind)).collect()
}

fn beside_service(path: &Arc<str>, kind: EntryKind) -> Option<Diagnostic> {
    let name = path.trim_start_matches("services/");
    if is_yaml(path) {
        let name = name.rsplit_once('.').map_or(name, |(name, _)| name);
        let name = if is_service_name(name) { name } else { "NAME" };
        let help = format!("move it to services/{name}/service.yaml, with its Compose file beside it");
        return Some(stray(path, help));
    }
    let is_meant = match kind {
        EntryKind::Submodule => true,
        EntryKind::Link => !name.contains('.'),
        EntryKind::File { .. } => is_service_name(name),
    };
    is_meant.then(|| no_folder(path, kind))
}

/// Whether a service could have this name.
pub(super) fn is_service_name(name: &str) -> bool {
    name.parse::<ServiceName>().is_ok()
}

/// Whether a path is directly in `services/`.
pub(super) fn is_beside_services(path: &str) -> bool {
    path.strip_prefix("services/").is_some_and(|rest| !rest.contains('/'))
}

/// `service.yml` beside `service.yaml`, and definitions of services in folders of a service.
pub(super) fn in_service(tree: &Tree, folder: &str) -> Vec<Diagnostic> {
    let found = tree.under(folder).filter_map(|(path, entry)| {
        let below = &path[folder.len() + 1..];
        let help = match below {
            "service.yml" => "write all of it into service.yaml, and delete it".to_owned(),
            _ if below.ends_with("/service.yaml") && has_fields(entry, &["service", "place"]) => {
                "every service has a folder directly in services/: move this one there".to_owned()
            }
            _ => return None,
        };
        Some(stray(path, help))
    });
    found.collect()
}

fn stray(path: &Arc<str>, help: String) -> Diagnostic {
    Diagnostic::warning("not-read", Place::file(path.clone()), "this looks like a definition and is not read")
        .help(help)
}

pub(super) fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// Whether a file has these fields at the start of lines: enough to tell a definition from other YAML.
fn has_fields(entry: &Entry, fields: &[&str]) -> bool {
    let text = entry.content.as_deref().and_then(|content| std::str::from_utf8(content).ok());
    let has = |text: &str, field: &str| {
        text.lines().any(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')))
    };
    text.is_some_and(|text| fields.iter().all(|field| has(text, field)))
}
