//! The files that travel with a model, and which of its services read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::File;
use super::model::{Made, used_names};
use super::paths::{Absent, readable};
use super::resolve::Pass;
use crate::diagnostic::Diagnostic;
use crate::name::Digest;
use crate::plan::FileRef;
use crate::tree::{Entry, EntryKind};

/// Files by path from the service's folder.
pub(super) type Files = BTreeMap<Arc<str>, File>;

/// What travels, and by Compose service what it reads.
#[derive(Default)]
pub(super) struct Travelling {
    pub(super) files: Files,
    pub(super) read_by: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Pass<'_, '_, '_> {
    /// Finds every file that the model names.
    pub(super) fn travelling(&mut self, model: &Mapping, made: Made) -> Travelling {
        let mut travelling = Travelling::default();
        for (path, content) in made {
            travelling.files.insert(path, File::new(content, false));
        }
        let mut by_thing = BTreeMap::new();
        for section in ["volumes", "configs", "secrets"] {
            let things = model.get(section).and_then(Value::as_mapping).into_iter().flatten();
            for (name, thing) in things.filter_map(|(name, thing)| Some((name.as_str()?, thing))) {
                let file = thing.get("file").or_else(|| thing.get("driver_opts")?.get("device"));
                let Some(path) = file.and_then(inside) else { continue };
                let found = self.wanted(&[section, name, "file"], path, true, &mut travelling.files);
                by_thing.insert((section, name), found);
            }
        }
        let services = model.get("services").and_then(Value::as_mapping).into_iter().flatten();
        for (name, service) in services.filter_map(|(name, service)| Some((name.as_str()?, service))) {
            let mut read = self.read_by(name, service, &mut travelling.files);
            self.environment_files(name, service);
            for used in used_names(service) {
                read.extend(by_thing.get(&used).into_iter().flatten().cloned());
            }
            if !read.is_empty() {
                travelling.read_by.insert(name.into(), read);
            }
        }
        travelling
    }

    /// What a service names itself: environment files and bind mounts.
    fn read_by(&mut self, name: &str, service: &Value, files: &mut Files) -> BTreeSet<Arc<str>> {
        let mut read = BTreeSet::new();
        for field in ["env_file", "label_file"] {
            for item in service.get(field).and_then(Value::as_sequence).into_iter().flatten() {
                let Some(path) = inside(item.get("path").unwrap_or(item)) else { continue };
                let required = item.get("required") != Some(&Value::Bool(false));
                read.extend(self.wanted(&["services", name, field, path], path, required, files));
            }
        }
        for mount in service.get("volumes").and_then(Value::as_sequence).into_iter().flatten() {
            let bind = mount.get("type").and_then(Value::as_str) == Some("bind");
            if let Some(path) = mount.get("source").and_then(inside).filter(|_| bind) {
                read.extend(self.wanted(&["services", name, "volumes", path], path, true, files));
            }
        }
        read
    }

    /// Takes the file, or every file of the folder, at `path`; says which they are.
    fn wanted(&mut self, field: &[&str], path: &str, required: bool, files: &mut Files) -> Vec<Arc<str>> {
        if let Some((path, _)) = files.get_key_value(path) {
            return vec![path.clone()];
        }
        match self.take(path, files) {
            Ok(taken) => taken,
            Err(absent) if !required && absent.code == "file-not-found" => Vec::new(),
            Err(absent) => {
                let place = self.at(field);
                let mut diagnostic = Diagnostic::error(absent.code, place, absent.message).help(absent.help);
                if absent.code == "file-not-found" && field.get(2) == Some(&"volumes") {
                    diagnostic = diagnostic.note("for data that a service writes, use a named volume");
                }
                self.found.add(|| diagnostic);
                Vec::new()
            }
        }
    }

    fn take(&mut self, path: &str, files: &mut Files) -> Result<Vec<Arc<str>>, Absent> {
        let source = self.source;
        let full: Arc<str> = source.full(path).into();
        source.no_links(self.tree, path)?;
        if !self.tree.is_folder(&full) {
            let entry = source.entry(self.tree, path)?;
            return Ok(vec![add(path, entry, files)]);
        }
        let mut taken = Vec::new();
        for (name, entry) in self.tree.under(&full) {
            let path = &name[source.folder.len() + 1..];
            named_in_text(path)?;
            taken.push(add(path, readable(path, entry)?, files));
        }
        Ok(taken)
    }
}

/// A name that is not UTF-8 is in the tree with this character in it, and cannot be sent as it is.
fn named_in_text(path: &str) -> Result<(), Absent> {
    if !path.contains(char::REPLACEMENT_CHARACTER) {
        return Ok(());
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let message = format!("the name of a file in `{folder}` is not text in UTF-8: `{name}`");
    Err(Absent { code: "file-name", message, help: "rename it, or take it out of the folder".to_owned() })
}

fn add(path: &str, entry: &Entry, files: &mut Files) -> Arc<str> {
    if let Some((path, _)) = files.get_key_value(path) {
        return path.clone();
    }
    let path: Arc<str> = path.into();
    let executable = matches!(entry.kind, EntryKind::File { executable: true });
    if let Some(content) = &entry.content {
        files.insert(path.clone(), File::new(content.clone(), executable));
    }
    path
}

/// A path of the canonical form that leads into the service's folder, without its `./`.
fn inside(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix("./")
}

impl File {
    fn new(content: Arc<[u8]>, executable: bool) -> Self {
        let reference = FileRef { digest: Digest::of(&content), size: content.len() as u64, executable };
        Self { reference, content }
    }
}
