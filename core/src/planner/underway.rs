//! What is known of the release under way, beside the plans and what nodes report: facts that were written down as they came
//! about, and that no report can tell again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::Decisions;
use crate::name::{Digest, NodeName, ServiceName};
use crate::plan::Ensure;

/// What planning reads beside definitions, plans and reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The release under way.
    pub underway: Arc<Underway>,
    /// What people decided.
    pub decisions: Arc<Decisions>,
}

impl Facts {
    /// Where nothing is known: a release that has not begun, and nobody who decided anything.
    pub fn none() -> &'static Self {
        static NONE: std::sync::LazyLock<Facts> = std::sync::LazyLock::new(Facts::default);
        &NONE
    }
}

/// The release under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Underway {
    /// When it began; none where it has not, or was not written down.
    pub began_at: Option<Timestamp>,
    /// How often it was begun again.
    pub attempts: u32,
    /// The steps that it brought into a new form, each with the last of these.
    pub brought: BTreeMap<(NodeName, ServiceName), Brought>,
    /// It failed, and is undone.
    pub undo: Option<Arc<Undo>>,
}

/// A step that a release brought into a new form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The instance digest; none where it is a removal.
    pub digest: Option<Digest>,
    /// When its plan was published.
    pub at: Timestamp,
    /// When the node first said that it is done.
    pub satisfied_at: Option<Timestamp>,
}

/// How a failed release is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// What failed.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What ran well before, of each service on each node that the release touched; none where the service was not there.
    pub good: BTreeMap<NodeName, BTreeMap<ServiceName, Option<Arc<Ensure>>>>,
    /// What it touched and of which nothing is known that ran well: it stays as it is.
    pub unknown: BTreeSet<(NodeName, ServiceName)>,
}

impl Undo {
    /// What ran well before where the release touched it: none where it did not touch it, or nothing is known.
    pub fn of(&self, node: &NodeName, service: &ServiceName) -> Option<Option<&Arc<Ensure>>> {
        self.good.get(node)?.get(service).map(Option::as_ref)
    }
}
