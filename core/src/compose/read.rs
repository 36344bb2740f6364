//! Which files a service is read from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_yaml::Value;

use super::{Documents, Layer, ReadSpec, Source, paths};
use crate::diagnostic::{Diagnostic, Place};
use crate::tree::Tree;
use crate::yaml::Text;

/// The names that Compose looks for, best first.
const DEFAULT_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// The names of the file that Compose merges over one of those, best first.
const DEFAULT_OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// How many files are parsed ahead. Those beyond are parsed when they are needed.
const MAX_AHEAD: usize = 50;

impl Source {
    /// Finds and parses the Compose files of the service in `folder` (`services/web`).
    ///
    /// # Errors
    ///
    /// `no-compose-file`, `file-not-found`, and what is wrong with the YAML.
    pub fn read(tree: &Tree, folder: &str, spec: &ReadSpec<'_>) -> Result<Self, Vec<Diagnostic>> {
        let mut source = Self {
            folder: folder.into(),
            profiles: spec.profiles.to_vec(),
            layers: Vec::new(),
            parsed: BTreeMap::new(),
            warnings: Vec::new(),
            cpuset: None,
            hooks: spec.hooks.iter().cloned().collect(),
            formerly: spec.formerly.map(Arc::from),
        };
        let files = if spec.files.is_empty() {
            source.default_files(tree)?
        } else {
            source.given_files(tree, spec)?
        };
        let base = files.first().map_or("", |file| paths::parent(file)).to_owned();
        let mut found = Vec::new();
        for file in &files {
            match source.parse(tree, file) {
                Ok(documents) => {
                    let layers: Vec<_> =
                        documents.iter().map(|document| source.layer(file, &base, document)).collect();
                    source.layers.extend(layers);
                    source.parse_ahead(tree, &base, &documents);
                }
                Err(mistakes) => found.extend(mistakes),
            }
        }
        source.layers.extend(spec.overlays.iter().map(Layer::overlay));
        if found.is_empty() { Ok(source) } else { Err(found) }
    }

    fn given_files(&self, tree: &Tree, spec: &ReadSpec<'_>) -> Result<Vec<String>, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let mut files = Vec::new();
        for given in spec.files {
            let place = || Place::file(self.full(given));
            match paths::file_target("", given) {
                Ok(file) => match self.entry(tree, &file) {
                    Ok(_) => files.push(file),
                    Err(absent) => {
                        found.push(Diagnostic::error(absent.code, place(), absent.message).help(absent.help));
                    }
                },
                Err(fault) => {
                    found.push(
                        Diagnostic::error(fault.code(), place(), fault.message(given)).help(fault.help()),
                    );
                }
            }
        }
        if found.is_empty() { Ok(files) } else { Err(found) }
    }

    /// Compose takes the first of its names, and the first override that is there; others it warns of.
    fn default_files(&mut self, tree: &Tree) -> Result<Vec<String>, Vec<Diagnostic>> {
        let mut files = Vec::new();
        for names in [DEFAULT_FILES, DEFAULT_OVERRIDES] {
            let there: Vec<&str> =
                names.into_iter().filter(|name| tree.get(&self.full(name)).is_some()).collect();
            match there[..] {
                [] if files.is_empty() => return Err(vec![self.no_compose_file()]),
                [] => {}
                [first, ..] => files.push(first.to_owned()),
            }
            if let [first, ignored, ..] = there[..] {
                let place = Place::file(self.full(ignored));
                let message = format!("`{ignored}` is not read, because there is `{first}`");
                self.warnings.push(
                    Diagnostic::warning("several-compose-files", place, message)
                        .help("delete it, or name the files under `compose:` of the service"),
                );
            }
        }
        for file in &files {
            self.entry(tree, file).map_err(|absent| {
                vec![
                    Diagnostic::error(absent.code, Place::file(self.full(file)), absent.message)
                        .help(absent.help),
                ]
            })?;
        }
        Ok(files)
    }

    fn no_compose_file(&self) -> Diagnostic {
        let place = Place::file(self.full(DEFAULT_FILES[0]));
        Diagnostic::error("no-compose-file", place, format!("{} has no Compose file", self.folder))
            .note(format!("looked for {}", DEFAULT_FILES.join(", ")))
            .help("add one of these, or name the files under `compose:` of the service")
    }

    /// The documents of a file that is there.
    pub(super) fn parse(&self, tree: &Tree, file: &str) -> Result<Documents, Vec<Diagnostic>> {
        let path: Arc<str> = self.full(file).into();
        let bytes = tree.get(&path).and_then(|entry| entry.content.as_deref()).unwrap_or_default();
        let documents = Text::new(&path, bytes)?.compose_documents()?;
        Ok(documents.into_iter().map(|document| (document.number, Arc::new(document.value))).collect())
    }

    /// Parses the files that documents name without a variable, so that no render has to. Mistakes are left to the
    /// render, which knows who asked.
    fn parse_ahead(&mut self, tree: &Tree, base: &str, documents: &Documents) {
        for file in documents.iter().flat_map(|(_, document)| named_files(document)) {
            let Ok(file) = paths::file_target(base, file) else { continue };
            if self.parsed.contains_key(&file)
                || self.parsed.len() >= MAX_AHEAD
                || self.entry(tree, &file).is_err()
            {
                continue;
            }
            if let Ok(documents) = self.parse(tree, &file) {
                self.parsed.insert(file.clone(), documents.clone());
                self.parse_ahead(tree, paths::parent(&file), &documents);
            }
        }
    }
}

/// Files that a document includes or extends.
fn named_files(document: &Value) -> Vec<&str> {
    let mut files = Vec::new();
    for entry in document.get("include").and_then(Value::as_sequence).into_iter().flatten() {
        match entry.get("path").unwrap_or(entry) {
            Value::Sequence(paths) => files.extend(paths.iter().filter_map(Value::as_str)),
            path => files.extend(path.as_str()),
        }
    }
    for service in
        document.get("services").and_then(Value::as_mapping).into_iter().flat_map(|all| all.values())
    {
        files.extend(service.get("extends").and_then(|extends| extends.get("file")).and_then(Value::as_str));
    }
    files.retain(|file| !file.contains('$'));
    files
}
