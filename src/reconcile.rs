//! The whole pass as one function: definitions, last plans and reports in; new plans and a report out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::diagnostic::Diagnostic;
use crate::fleet::NodeView;
use crate::name::{Digest, NodeName, Revision};
use crate::plan::NodePlan;
use crate::status::Reported;
use crate::tree::Tree;

/// The definitions at one revision, checked and made concrete. Only a commit without errors becomes one.
#[derive(Debug)]
pub struct Definitions {
    /// The commit.
    pub revision: Revision,
    /// Warnings and recorded findings.
    pub findings: Vec<Diagnostic>,
}

impl Definitions {
    /// Reads a tree. What `previous` has in common with it is taken over instead of parsed and rendered again.
    ///
    /// # Errors
    ///
    /// All findings, in order, if one of them is an error.
    pub fn load(revision: Revision, _tree: &Tree, _previous: Option<&Self>) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self { revision, findings: Vec::new() })
    }

    /// The bytes of a file that some instance names.
    pub fn content(&self, _digest: Digest) -> Option<Arc<[u8]>> {
        None
    }
}

/// What a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What should be.
    pub definitions: &'a Definitions,
    /// The newest plan of each node.
    pub plans: &'a BTreeMap<NodeName, Arc<NodePlan>>,
    /// What nodes said last.
    pub reported: &'a Reported,
    /// When the pass runs.
    pub now: Timestamp,
    /// A report older than this is not believed: three heartbeats.
    pub stale_after: SignedDuration,
}

/// What a pass comes to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Plans to publish: only of nodes whose steps changed.
    pub plans: Vec<Arc<NodePlan>>,
    /// The content that those plans name.
    pub blobs: BTreeMap<Digest, Arc<[u8]>>,
    /// How every node and instance stands, what is waited on and why; measured against the plans as they are
    /// after this pass.
    pub nodes: Vec<NodeView>,
}

/// Plans for every node, and what is waited on.
pub fn reconcile(_inputs: &Inputs<'_>) -> Outcome {
    Outcome::default()
}
