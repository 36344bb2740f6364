//! The forms people write: `gitops.toml` and the YAML files under `nodes/`, `features/`, `controls/` and
//! `services/`.
//!
//! One type per form, and the type is the whole truth about it: the parser, the refusal of unknown fields, the
//! JSON Schema that editors complete from and the field table in `docs/repository-format.md` are all derived from
//! it, doc comments included. A doc comment here is therefore written for the person who writes the file.

mod control;
mod feature;
mod node;
pub mod schema;
mod seconds;
mod service;
mod settings;
mod toml_text;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use control::{Control, Enforcement};
pub use feature::{Feature, FeatureState};
pub use node::Node;
pub use seconds::Seconds;
pub use service::{ComposeFiles, Health, Placement, Service};
pub use settings::{Defaults, Settings};

/// A definition and the document it came from, so that any of its fields can be found again and pointed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// The file, from the root of the repository.
    pub path: Arc<str>,
    /// Which document of the file, from 0.
    pub document: usize,
    /// The fields that have a mistake, and are left out of `value` or wrong in it. None where the definition is right.
    pub broken: BTreeSet<String>,
}
