//! The document that a comparison is: what people read as text or Markdown, and programs as JSON.
//!
//! It holds everything that is shown and nothing that must not be: what looks like a secret was taken out before it came
//! in. Changes that are the same on many nodes are one, so that its size follows what was changed and not the fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ControlName, Digest, EnvironmentName, FeatureName, NodeName, ServiceName};
use crate::plan::Reason;

/// The version of this document.
pub const SCHEMA: u32 = 2;

/// What differs between two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "gitops diff")]
pub struct Diff {
    /// The version of this document: 2.
    pub schema: u32,
    /// What is compared with: a commit, or what else stands for it.
    pub base: Arc<str>,
    /// What is compared: a commit, or `work tree`.
    pub head: Arc<str>,
    /// The id of the plan that this would be: only against a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// In numbers.
    pub summary: Summary,
    /// What to look at before it is made.
    #[serde(default)]
    pub risks: Vec<Risk>,
    /// By environment, nodes and service; what is unchanged is only counted.
    pub changes: Vec<Change>,
    /// Features that are not what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<FeatureChange>,
    /// Controls that are not what they were, or are met where they were not, or the other way round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlChange>,
    /// What is asked of all: the fields of gitops.toml that are not what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Reason>,
    /// What everything costs in a month, where it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostChange>,
    /// Fields that changed and that services ask not to be told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Ignored>,
}

impl Diff {
    /// Whether nothing would change on any node.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// How many instances become what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Summary {
    /// New ones.
    pub create: usize,
    /// Those that change, with no container replaced.
    pub update: usize,
    /// Those that change, with containers replaced.
    pub recreate: usize,
    /// Those that go to another node or under another name.
    #[serde(rename = "move")]
    pub moved: usize,
    /// Those that go.
    pub remove: usize,
    /// Those that stay as they are.
    pub unchanged: usize,
    /// Nodes on which anything changes.
    pub nodes: usize,
}

/// The same change of one service on one node or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The environment that the nodes are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Where, by name.
    pub nodes: Vec<NodeName>,
    /// What.
    pub service: ServiceName,
    /// How.
    pub kind: ChangeKind,
    /// Where it was before, where it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// Which fields, old and new.
    pub because: Vec<Reason>,
    /// Which files that it mounts or reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChange>,
    /// What happens to the containers, by Compose service; those that are left alone are not listed.
    pub effects: BTreeMap<Arc<str>, Effect>,
    /// Dangerous powers of Compose that it uses and did not use before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<NewCapability>,
    /// Named volumes that stay where it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_kept: Vec<Arc<str>>,
}

/// How an instance differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new on this node.
    Create,
    /// It changes, and no container is replaced.
    Update,
    /// It changes, and containers are replaced.
    Recreate,
    /// It goes to another node, or under another name. Its volumes stay where it was.
    Move,
    /// It goes. Its volumes stay.
    Remove,
}

/// Where an instance was before it moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The service, where it had another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The nodes, in the order of those that it moves to, where they are others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
}

/// What becomes of a file that a service mounts or reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// From the folder of the service.
    pub path: Arc<str>,
    /// In the repository.
    pub source: Arc<str>,
    /// How.
    pub kind: FileChangeKind,
    /// Whether it can be executed now, where that is what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// Bytes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_size: Option<u64>,
    /// Bytes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_size: Option<u64>,
    /// The lines that differ, as a unified diff without its head; secrets are taken out of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Arc<str>>,
    /// Why lines are not shown, where they are not or not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Arc<str>>,
}

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileChangeKind {
    /// It is new.
    Added,
    /// It has another content.
    Changed,
    /// It can be executed now, or not any more.
    Mode,
    /// It is gone.
    Removed,
}

/// A capability that an instance begins to use, and the grant that it lives by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NewCapability {
    /// Its name.
    pub capability: Arc<str>,
    /// The file that grants it; none where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<Arc<str>>,
    /// Why it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The last day of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Arc<str>>,
}

/// What a change does to the containers of one Compose service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// New containers.
    Create,
    /// Containers replaced by new ones.
    Recreate,
    /// The same containers, stopped and started.
    Restart,
    /// Containers added or taken away, the others left alone.
    Scale,
    /// Stopped, or started after having been stopped.
    Switch,
    /// Containers removed.
    Remove,
}

impl Effect {
    /// Whether a container that runs is away for a while by it. One that is stopped is meant to stay so.
    pub fn interrupts(self) -> bool {
        matches!(self, Self::Recreate | Self::Restart)
    }
}

/// Something to look at before a change is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "risk", rename_all = "kebab-case")]
pub enum Risk {
    /// Containers that run will be stopped and started, or replaced.
    Restart {
        /// Of this service.
        service: ServiceName,
        /// These of its Compose services.
        containers: Vec<Arc<str>>,
        /// On so many nodes.
        nodes: usize,
        /// Seconds that it took before, in the middle; none where it was never measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// A service goes from nodes, and nothing takes its place.
    Removal {
        /// The service.
        service: ServiceName,
        /// From so many nodes.
        nodes: usize,
        /// It is not there at all any more.
        entirely: bool,
        /// Only these of its Compose services go; none where all of it does.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        containers: Vec<Arc<str>>,
    },
    /// Data stays behind, and what takes the place of the service begins without it.
    VolumesLeft {
        /// Of this service.
        service: ServiceName,
        /// By name.
        volumes: Vec<Arc<str>>,
        /// It goes on elsewhere or under another name, with empty ones.
        begins_anew: bool,
        /// On so many nodes.
        nodes: usize,
    },
    /// A service has another name now, and nothing says so.
    Renamed {
        /// The name that it had.
        from: ServiceName,
        /// The name that it has.
        service: ServiceName,
    },
    /// A dangerous power of Compose is used that was not used before.
    Capability {
        /// By this service.
        service: ServiceName,
        /// It, and the grant.
        #[serde(flatten)]
        capability: NewCapability,
        /// On so many nodes.
        nodes: usize,
    },
    /// A service does not meet a control that it met, or that it need not meet before.
    Unmet {
        /// The service.
        service: ServiceName,
        /// The environment, where the service names its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<EnvironmentName>,
        /// The control.
        control: ControlName,
        /// What the control weighs: `strict`, `advisory`, `informative`.
        enforcement: Arc<str>,
        /// What is missing, by name.
        missing: Vec<Arc<str>>,
        /// It met it before; else it is new that it must.
        any_more: bool,
    },
    /// A node is filled beyond nine tenths.
    Capacity {
        /// The node.
        node: NodeName,
        /// Of what: `cpu`, `memory`, `disk`, `gpus`, `slots`.
        resource: Arc<str>,
        /// Per cent before.
        before: u64,
        /// Per cent after.
        after: u64,
    },
    /// The nodes cost more than a threshold of the budget.
    Budget {
        /// Per cent of the budget.
        threshold: u32,
        /// What they cost in a month.
        cost: Arc<str>,
        /// What they may cost.
        budget: Arc<str>,
    },
    /// Somebody's approval is what the change lives by.
    Approval {
        /// The service.
        service: ServiceName,
        /// The control.
        control: ControlName,
        /// The rule of it.
        rule: Arc<str>,
    },
    /// It begins only when somebody approved it.
    Awaits {
        /// The service; none where it is asked of the whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
        /// So many people.
        approvals: usize,
        /// Each of them has one of these roles; any will do where there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        roles: Vec<Arc<str>>,
        /// Why, in a clause.
        why: Arc<str>,
        /// On so many nodes.
        nodes: usize,
    },
    /// It does not begin: its roll-out says `recreate: never`, and containers would be made anew.
    Held {
        /// The service.
        service: ServiceName,
        /// The Compose services of those containers.
        containers: Vec<Arc<str>>,
        /// On so many nodes.
        nodes: usize,
    },
    /// It begins only when a window lets it.
    Window {
        /// The service.
        service: ServiceName,
        /// The window.
        window: Arc<str>,
        /// Whether the window denies changes while it is open; else it allows them, and is not open.
        denies: bool,
        /// What is said of the window.
        reason: Arc<str>,
        /// Until when, as far as that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
        /// On so many nodes.
        nodes: usize,
    },
}

/// A feature that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct FeatureChange {
    /// Its id.
    pub feature: FeatureName,
    /// What changed, old and new.
    pub because: Vec<Reason>,
    /// The services that use it, whether they change by it or not.
    pub services: Vec<ServiceName>,
}

/// A control that is not what it was, or that services stand to in another way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ControlChange {
    /// Its id.
    pub control: ControlName,
    /// What changed in it, old and new.
    pub because: Vec<Reason>,
    /// The services that stand to it in another way than before.
    pub services: Vec<Turn>,
}

/// How a service stands to a control, before and after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// The service.
    pub service: ServiceName,
    /// The environment, where the service names its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// `met`, `not fully met` or `not met`; none where it need not meet it, or was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<str>>,
    /// The same after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<str>>,
}

/// What everything costs in a month, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostChange {
    /// What amounts are in.
    pub currency: Arc<str>,
    /// Before.
    pub before: Cost,
    /// After.
    pub after: Cost,
    /// Whether the nodes, or what services reserve of them, cost more than before.
    pub rises: bool,
}

/// What everything costs in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The prices of all nodes together, as `12.50`.
    pub nodes: Arc<str>,
    /// Of that, what services reserve.
    pub reserved: Arc<str>,
    /// Of that, what the nodes cost on which services run.
    pub used: Arc<str>,
}

/// Changes of fields that a service asks not to be told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Ignored {
    /// The service.
    pub service: ServiceName,
    /// The path that it gives.
    pub path: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// How many changes.
    pub changes: usize,
}
