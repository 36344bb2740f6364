//! A Compose file as data: found, read, interpolated, merged, brought into one canonical form, and digested, without
//! Docker at hand.
//!
//! Two steps, because most instances of a service are alike. [`Source::read`] finds and parses what does not depend on
//! variables, once for a service. [`Source::render`] gives the model for one set of variables, and says which of them
//! it looked at: whoever has the same values for those has the same model.
//!
//! ```text
//! files ─▶ interpolate ─▶ include ─▶ normal ─▶ extends ─▶ merge ─▶ model ─▶ files, digest, emit
//!          └───────────────── each document ──────────────────┘
//! ```
//!
//! **Invariant:** what is rendered depends on the tree, the overlays and the variables alone: never on a `.env` file,
//! an environment, or the machine that renders.

mod digest;
mod dotenv;
mod emit;
mod extends;
mod extensions;
mod files;
mod hooks;
mod interpolate;
mod known;
mod merge;
mod mistakes;
mod model;
mod normal;
mod paths;
mod places;
pub mod powers;
mod read;
mod reference;
mod resolve;
mod resource;
mod scalar;
mod short;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

pub mod labels;
pub use labels::labels;

use crate::diagnostic::{Diagnostic, Place};
use crate::plan::{ContainerSpec, FileRef, Model};
use crate::tree::Tree;
pub use digest::RULE;
pub use emit::labelled;
use hooks::Beside;
pub use hooks::HOOKS_PROFILE;
use places::{Origin, Places};
use powers::Powers;
use resolve::Pass;

/// Variables by name: all that interpolation sees.
pub type Variables = BTreeMap<Arc<str>, Arc<str>>;

/// What to read of a service's folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSpec<'a> {
    /// Compose files by path relative to the folder, each merged over those before it. None: the names that Compose
    /// itself looks for.
    pub files: &'a [Arc<str>],
    /// Active profiles; `*` stands for all.
    pub profiles: &'a [Arc<str>],
    /// Merged over the files, in this order.
    pub overlays: &'a [Overlay],
    /// Services that run once around a change, whatever their profiles.
    pub hooks: &'a [Arc<str>],
    /// What the service was called before: the name of its project, where the files name none.
    pub formerly: Option<&'a str>,
}

/// What a feature adds to the services that use it: a Compose file inside a definition.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The definition's file, from the root of the repository.
    pub path: Arc<str>,
    /// Which document of it.
    pub document: usize,
    /// The field that holds the Compose file, if it is no file of its own.
    pub field: Option<&'static str>,
    /// What that field holds.
    pub value: Arc<Value>,
}

/// The parsed Compose files of a service, before any variable is known.
#[derive(Clone, Debug)]
pub struct Source {
    folder: Arc<str>,
    profiles: Vec<Arc<str>>,
    layers: Vec<Layer>,
    /// Files by path from the service's folder: those above, and those that they name without a variable.
    parsed: BTreeMap<String, Documents>,
    warnings: Vec<Diagnostic>,
    /// The processors of the slot that the instance holds.
    cpuset: Option<Arc<str>>,
    /// The services that run once around a change.
    hooks: BTreeSet<Arc<str>>,
    /// What the service was called before.
    formerly: Option<Arc<str>>,
}

/// The documents of a file, shared, each with its number.
type Documents = Arc<[(usize, Arc<Value>)]>;

/// A document to merge.
#[derive(Clone, Debug)]
struct Layer {
    origin: Origin,
    /// The folder that its paths are relative to, from the service's folder.
    base: String,
    /// It was added by a feature.
    is_overlay: bool,
    value: Arc<Value>,
}

impl Layer {
    fn overlay(overlay: &Overlay) -> Self {
        let Overlay { path, document, field, value } = overlay.clone();
        let origin = Origin { path, document, field, service: None };
        Self { origin, base: String::new(), is_overlay: true, value }
    }
}

/// One model of a service.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// `name:` of the Compose file, or else the first name of the service's folder.
    pub project: Arc<str>,
    /// In canonical form: no short forms, no anchors, no extensions, keys sorted, `$` as it stands.
    pub model: Model,
    /// The `x-…` fields at the top of the files and of the services in the model, merged like the rest, their variables
    /// as they stand. No digest covers them.
    pub extensions: Option<Model>,
    /// What travels, by path relative to the service's folder.
    pub files: BTreeMap<Arc<str>, File>,
    /// By Compose service.
    pub containers: BTreeMap<Arc<str>, ContainerSpec>,
    /// Those that run once around a change, and are no part of what runs.
    pub hooks: BTreeMap<Arc<str>, ContainerSpec>,
    /// Every variable that was looked at, whether it was there or not. Equal values, or equal absence, of these give an
    /// equal result.
    pub used_variables: BTreeSet<Arc<str>>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// What it lets its containers do to the host or to other projects.
    pub powers: Powers,
    /// What there is beside hooks, where there are any.
    beside: Option<Beside>,
    origins: Vec<Origin>,
}

/// A file that travels, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What the plan says of it.
    pub reference: FileRef,
    /// Shared with the tree, except where it was made from a variable.
    pub content: Arc<[u8]>,
}

impl Source {
    /// The model for these variables. `tree` is the one that was read.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, as far as it can be told apart.
    pub fn render(&self, tree: &Tree, variables: &Variables) -> Result<Rendered, Vec<Diagnostic>> {
        let mut pass = Pass::new(self, tree, variables);
        let project = self.project(&mut pass);
        pass.scope.project = Some(project.clone());
        let mut model = pass.merged();
        let extensions = extensions::take_extensions(&mut model);
        let finished = pass.finish(&mut model);
        self.bind(&mut model);
        self.check_project(&mut pass, &project);
        let travelling = pass.travelling(&model, finished.made);
        let Pass { found, scope, origins, .. } = pass;
        if !found.is_empty() {
            return Err(found.into_diagnostics(&self.folder));
        }
        let own = [self.name()].into_iter().chain(self.formerly.as_deref());
        let powers = powers::powers(&model, own, &project, &travelling.files, &finished.unknown);
        let warnings = finished.warnings.into_diagnostics(&self.folder);
        model.insert("name".into(), Value::String(project.as_ref().to_owned()));
        let containers = digest::containers(&model, &travelling).into_iter();
        let (hooks, containers) = containers.partition(|(name, _)| self.hooks.contains(name));
        Ok(Rendered {
            containers,
            hooks,
            beside: hooks::beside(&self.hooks, &model, &travelling),
            extensions: extensions::beside(extensions, &model),
            model: Model::from_canonical(emit::canonical_json(&Value::Mapping(model))),
            project,
            files: travelling.files,
            used_variables: scope.used,
            warnings: self.warnings.iter().cloned().chain(warnings).collect(),
            powers,
            origins,
        })
    }

    /// The same with these merged over it, too.
    pub fn with(&self, overlays: &[Overlay]) -> Self {
        let mut more = self.clone();
        more.layers.extend(overlays.iter().map(Layer::overlay));
        more
    }

    /// The same, for an instance that holds these processors.
    pub fn bound_to(&self, cpus: Arc<str>) -> Self {
        Self { cpuset: Some(cpus), ..self.clone() }
    }

    /// Each container runs on the processors that are set apart, unless it names its own.
    fn bind(&self, model: &mut Mapping) {
        let services = model.get_mut("services").and_then(Value::as_mapping_mut);
        let Some((cpuset, services)) = self.cpuset.as_ref().zip(services) else { return };
        for service in services.values_mut().filter_map(Value::as_mapping_mut) {
            service.entry("cpuset".into()).or_insert_with(|| Value::String(cpuset.as_ref().to_owned()));
        }
    }

    /// The mistakes that stand even if there are more variables than these.
    pub fn mistakes(&self, tree: &Tree, variables: &Variables) -> Vec<Diagnostic> {
        let found = self.render(tree, variables).err().unwrap_or_default();
        let certain =
            |one: &Diagnostic| one.code.as_ref() != "unknown-variable" && !one.message.contains('$');
        found.into_iter().filter(certain).collect()
    }

    /// The last `name:`, with its variables replaced; or the name of the folder, or that which it had.
    fn project(&self, pass: &mut Pass<'_, '_, '_>) -> Arc<str> {
        let names = self.layers.iter().rev().filter_map(|layer| layer.value.get("name"));
        let name = names.filter_map(Value::as_str).next().and_then(|name| pass.scope.expand(name).ok());
        name.map_or_else(|| self.formerly.clone().unwrap_or_else(|| self.name().into()), Arc::from)
    }

    /// The name of the service's folder.
    fn name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or_default()
    }

    /// Compose's rule for project names: `[a-z0-9][a-z0-9_-]*`.
    fn check_project(&self, pass: &mut Pass<'_, '_, '_>, project: &str) {
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = project.bytes().next().is_some_and(edge)
            && project.bytes().all(|byte| edge(byte) || b"_-".contains(&byte))
            && project.len() <= 63;
        if !good {
            let shown: String = project.chars().take(80).collect();
            let diagnostic = Diagnostic::error(
                "invalid-value",
                pass.at(&["name"]),
                format!("`{shown}` cannot be the name of a project"),
            )
            .help("use up to 63 lower-case letters, digits, `-` and `_`, starting with a letter or digit");
            pass.found.add(|| diagnostic);
        }
    }

    fn layer(&self, file: &str, base: &str, (document, value): &(usize, Arc<Value>)) -> Layer {
        let origin = Origin { path: self.full(file).into(), document: *document, field: None, service: None };
        Layer { origin, base: base.to_owned(), is_overlay: false, value: value.clone() }
    }
}

impl Rendered {
    /// The place that set a field of the model last, or the nearest thing around it: `["services", "app", "image"]`.
    /// `tree` is the one that was read; each of its files is read once more for all the fields that are asked for.
    pub fn places_in<'a>(&'a self, tree: &'a Tree) -> impl Fn(&[&str]) -> Option<Place> + 'a {
        let places = Places::new(tree);
        move |path| places.of_field(&self.origins, path)
    }
}

#[cfg(test)]
mod tests;
