//! Which node runs which instance, and why there.
//!
//! [`choose::place`] takes what every deployment asks for ([`Request`]), the nodes ([`Site`]) and what stands where
//! now ([`Holders`](crate::holders::Holders)), and returns what each deployment gets and what is reserved of each node ([`Placed`]). First
//! the nodes are filtered ([`filter`]: a [`Misfit`] says why one is out), then those that remain are scored
//! ([`score`]), and what is chosen is reserved in the same pass ([`reserve`]), so that a node is never over-committed.
//!
//! Equal inputs give equal results, whatever the order of files. An instance stays where it is unless it must go: a
//! node that comes moves nothing, and one that goes moves only what it held.

pub mod choose;
pub mod cost;
pub mod demand;
pub mod explain;
pub mod failover;
pub mod filter;
pub mod reserve;
pub mod room;
pub mod score;
pub mod slot;
pub mod told;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::definition::{Bytes, Cpu, Node, Offer, Placement, Selector};
use crate::name::{EnvironmentName, FeatureName, NodeName, ServiceName};

pub use filter::Misfit;
pub use reserve::{Held, Reserved};
pub use score::Score;

/// Names a deployment: a service, in one environment where it names environments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Id {
    /// The service.
    pub service: ServiceName,
    /// None where it is one deployment for all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

/// A node as placement sees it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// What is defined of it.
    pub node: &'a Node,
    /// The environment that it is in.
    pub environment: Option<&'a EnvironmentName>,
    /// It has not been heard for too long: nothing new comes here if it can be helped.
    pub offline: bool,
    /// Nothing new comes here.
    pub cordoned: bool,
    /// Nor stays here what another node takes.
    pub drained: bool,
    /// How many instances run here that reserve nothing.
    pub others: usize,
}

/// All nodes, by name.
pub type Sites<'a> = BTreeMap<&'a NodeName, Site<'a>>;

/// What a deployment asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Which it is.
    pub id: Id,
    /// Where it may run and would rather.
    pub place: Placement,
    /// What each instance takes and needs.
    pub demands: Demands,
    /// Nodes that have been offline for longer than the service waits: what stands there is placed elsewhere.
    pub lost: BTreeSet<NodeName>,
}

impl Request {
    /// Whether it names its nodes, so that nothing is chosen.
    pub fn is_fixed(&self) -> bool {
        self.place.nodes.is_some()
    }

    /// Whether an instance stays where it is while it fits there.
    pub fn is_sticky(&self) -> bool {
        self.place.sticky.unwrap_or(true)
    }

    /// How many instances there should be; none where it is on every node that fits.
    pub fn count(&self) -> Option<usize> {
        match self.place.all {
            Some(true) => None,
            _ => Some(self.place.count.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX))),
        }
    }
}

/// What an instance takes on each node. Mostly the same everywhere; a node's variables may make a difference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demands {
    /// On every node that is not named below.
    pub common: Arc<Demand>,
    /// On the nodes where it differs.
    pub at: BTreeMap<NodeName, Arc<Demand>>,
}

impl Demands {
    /// On this node.
    pub fn on(&self, node: &NodeName) -> &Demand {
        self.at.get(node).unwrap_or(&self.common)
    }
}

/// What one instance takes of its node, and what the node must have for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Cores.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
    /// Graphics processors.
    pub gpus: Option<GpuDemand>,
    /// What the features that it uses need of the node.
    pub needs: Vec<Need>,
    /// The images that it runs.
    pub images: BTreeSet<Arc<str>>,
}

/// Graphics processors that one instance takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpuDemand {
    /// How many; none for all that the node has.
    pub count: Option<u32>,
    /// Of which model, if it matters.
    pub model: Option<Arc<str>>,
    /// How much memory each must have.
    #[serde(skip)]
    pub memory: Option<Bytes>,
}

/// What a feature needs of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The feature.
    pub feature: FeatureName,
    /// Labels.
    pub labels: Option<Selector>,
    /// What the node must be able to do.
    pub capabilities: Vec<Offer>,
}

/// Why a node is out, as a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The service names its nodes, and this is none of them.
    NotNamed,
    /// It is not in the environment of the deployment.
    Environment,
    /// The service selects labels that it does not have.
    Label,
    /// The service forbids nodes with its labels.
    Forbidden,
    /// A feature needs a label that says where in the world it is.
    Residency,
    /// A feature that the service uses needs a label that it does not have.
    FeatureUnavailable,
    /// A feature that the service uses needs something that it cannot do.
    NoCapability,
    /// It has a taint that the service does not tolerate.
    Taint,
    /// Nothing new comes to it.
    Cordoned,
    /// It has not been heard for too long.
    Offline,
    /// It has no slot of that name, or none that is free and large enough.
    Slot,
    /// Too little is left of it.
    Capacity,
}

impl Code {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNamed => "not-named",
            Self::Environment => "environment",
            Self::Label => "label",
            Self::Forbidden => "forbidden",
            Self::Residency => "residency",
            Self::FeatureUnavailable => "feature-unavailable",
            Self::NoCapability => "no-capability",
            Self::Taint => "taint",
            Self::Cordoned => "cordoned",
            Self::Offline => "offline",
            Self::Slot => "slot",
            Self::Capacity => "capacity",
        }
    }
}

/// What is to be said of one node for one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs here, with what speaks for the node.
    Chosen(Score),
    /// It could run here, and others were better.
    Fits(Score),
    /// It cannot, for each of these reasons; never empty.
    Excluded(Vec<Exclusion>),
}

/// One reason against a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exclusion {
    /// For scripts.
    pub code: Code,
    /// For people: a sentence without a full stop, such as ``it has 256 MiB of memory left, and 512 MiB are needed``.
    pub reason: String,
    /// What would take the reason away: ``512 MiB more memory on `edge-1` ``.
    pub change: String,
}

/// What comes of placing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placed {
    /// The nodes of each deployment, with what it holds there.
    pub chosen: BTreeMap<Id, BTreeMap<NodeName, Held>>,
    /// What is reserved of each node on which anything is.
    pub reserved: BTreeMap<NodeName, Reserved>,
    /// What could not be placed as it was asked for, in the order of ids.
    pub misplaced: Vec<Misplaced>,
}

/// A deployment that does not get what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Misplaced {
    /// Which.
    pub id: Id,
    /// What is the matter.
    pub fault: Fault,
}

/// What is the matter with a deployment.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Too few nodes fit.
    TooFew {
        /// How many were found.
        found: usize,
        /// How many are asked for: at least 1.
        wanted: usize,
    },
    /// It names a node on which it cannot run.
    Named {
        /// The node.
        node: NodeName,
        /// Why not.
        exclusions: Vec<Exclusion>,
    },
    /// The nodes where it stands are lost, and it stays there because nothing else fits.
    Stays {
        /// Those nodes.
        nodes: BTreeSet<NodeName>,
    },
}

#[cfg(test)]
mod tests;
