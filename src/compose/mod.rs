//! A Compose file as data: found, read, interpolated, merged, brought into one canonical form, and digested, without
//! Docker at hand.
//!
//! Two steps, because most instances of a service are alike. [`Source::read`] finds and parses what does not depend on
//! variables, once for a service. [`Source::render`] gives the model for one set of variables, and says which of them
//! it looked at: whoever has the same values for those has the same model.
//!
//! **Invariant:** what is rendered depends on the tree, the overlays and the variables alone: never on a `.env` file,
//! an environment, or the machine that renders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::Value;

pub mod labels;
pub use labels::labels;

use crate::diagnostic::{Diagnostic, Place};
use crate::name::Digest;
use crate::plan::{ContainerSpec, FileRef, Model, OnFileChange, RunState};
use crate::tree::Tree;

/// Variables by name: all that interpolation sees.
pub type Variables = BTreeMap<Arc<str>, Arc<str>>;

/// What to read of a service's folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSpec<'a> {
    /// Compose files by path relative to the folder, each merged over those before it. None: the names that Compose
    /// itself looks for.
    pub files: &'a [Arc<str>],
    /// Active profiles.
    pub profiles: &'a [Arc<str>],
    /// Merged over the files, in this order.
    pub overlays: &'a [Overlay],
}

/// What a feature adds to the services that use it: a Compose file inside a definition.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The definition's file, from the root of the repository.
    pub path: Arc<str>,
    /// Which document of it.
    pub document: usize,
    /// The field that holds the Compose file: `overlay`.
    pub field: &'static str,
    /// What that field holds.
    pub value: Arc<Value>,
}

/// The parsed Compose files of a service, before any variable is known.
#[derive(Clone, Debug)]
pub struct Source {}

/// One model of a service.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// `name:` of the Compose file, or else the name of the service's folder.
    pub project: Arc<str>,
    /// In canonical form: no short forms, no anchors, no extensions, keys sorted, `$` as it stands.
    pub model: Model,
    /// What travels, by path relative to the service's folder.
    pub files: BTreeMap<Arc<str>, File>,
    /// By Compose service.
    pub containers: BTreeMap<Arc<str>, ContainerSpec>,
    /// Named volumes that Compose creates, by their names on the node.
    pub volumes: Vec<Arc<str>>,
    /// Every variable that was looked at, whether it was there or not. Equal values, or equal absence, of these give an
    /// equal result.
    pub used_variables: BTreeSet<Arc<str>>,
    /// Every path of the tree that had a say, with those that were looked for in vain.
    pub inputs: BTreeSet<Arc<str>>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
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
    /// Finds and parses the Compose files of the service in `folder` (`services/web`).
    ///
    /// # Errors
    ///
    /// `no-compose-file`, `file-not-found`, and what is wrong with the YAML.
    pub fn read(_tree: &Tree, _folder: &str, _spec: &ReadSpec<'_>) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }

    /// The model for these variables. `tree` is the one that was read.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, as far as it can be told apart.
    pub fn render(&self, _tree: &Tree, _variables: &Variables) -> Result<Rendered, Vec<Diagnostic>> {
        todo!()
    }
}

impl Rendered {
    /// The place that set a field of the model last, or the nearest thing around it: `["services", "app", "image"]`.
    /// `tree` is the one that was read.
    pub fn place_of(&self, _tree: &Tree, _path: &[&str]) -> Option<Place> {
        todo!()
    }
}

/// The digest of an instance: everything that makes a difference to the host, and nothing else.
pub fn instance_digest(
    _model: &Model,
    _files: &BTreeMap<Arc<str>, FileRef>,
    _state: RunState,
    _on_file_change: OnFileChange,
) -> Digest {
    todo!()
}

/// The Compose file that a node gets, as readable YAML: the model with these labels by Compose service, and every `$`
/// doubled, so that Compose leaves it as it stands.
pub fn labelled(_model: &Model, _labels: &BTreeMap<Arc<str>, BTreeMap<String, String>>) -> String {
    todo!()
}
