//! Who may use which capability: the grants of all controls, ready to be asked.
//!
//! Whether a grant has ended is not asked here, so that the answer holds for as long as the definitions do: an instance
//! lives by the grant that lasts longest, and knows when that ends.

use std::sync::Arc;

use jiff::Timestamp;

use super::Catalog;
use crate::compose::powers::{Capability, CapabilityPattern, Powers};
use crate::definition::{Capabilities, Control, Day, Grant, Located, Node};
use crate::name::{ControlName, ServiceName};

/// So many capabilities of one service are looked for among the grants. Real services use a handful; what is beyond is
/// not granted.
const MAX_GRANTED: usize = 1_000;

/// A grant of a control, with its patterns read. Patterns that mean nothing are left out.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    control: ControlName,
    index: usize,
    patterns: Vec<CapabilityPattern>,
}

/// The grants of all controls.
pub(super) fn ready<'a>(
    controls: impl Iterator<Item = (&'a ControlName, &'a Located<Control>)>,
) -> Vec<Ready> {
    let of_control = |(name, control): (&'a ControlName, &'a Located<Control>)| {
        control.value.grants.iter().enumerate().map(move |(index, grant)| Ready {
            control: name.clone(),
            index,
            patterns: grant
                .capabilities
                .iter()
                .filter_map(|text| CapabilityPattern::parse(text).ok())
                .collect(),
        })
    };
    controls.flat_map(of_control).collect()
}

/// A grant, where it is written.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The control that gives it.
    pub control: &'a Located<Control>,
    /// Which of its grants.
    pub index: usize,
    /// What it says.
    pub grant: &'a Grant,
    patterns: &'a [CapabilityPattern],
}

impl Given<'_> {
    /// Whether it names this capability.
    pub fn covers(&self, capability: &Capability) -> bool {
        self.patterns.iter().any(|pattern| pattern.covers(capability))
    }

    /// Whether it names this service.
    pub fn is_for(&self, service: &ServiceName) -> bool {
        self.grant.services.iter().any(|name| &**name == "*" || &**name == service.as_str())
    }

    /// Whether it holds on this node.
    pub fn is_on(&self, node: &Node) -> bool {
        self.grant.nodes.as_ref().is_none_or(|nodes| nodes.matches(|label| node.label(label)))
    }
}

/// A capability that an instance uses, and the grant that it lives by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The capability.
    pub capability: Capability,
    /// Of the grants that cover it, the one that lasts longest; none where there is none.
    pub grant: Option<Terms>,
}

/// What a grant says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The file of the control that gives it.
    pub path: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// Its last day.
    pub until: Option<Day>,
}

impl Used {
    /// Whether there is a grant that holds now.
    pub fn is_granted(&self, now: Timestamp) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.until.is_none_or(|day| now < day.end()))
    }

    /// When its grant ends.
    pub fn ends(&self) -> Option<Timestamp> {
        self.grant.as_ref()?.until.map(Day::end)
    }
}

impl Catalog {
    /// Whether every grant that there is could be read.
    pub fn knows_grants(&self) -> bool {
        let is_right = |control: &Located<Control>| !control.broken.contains("grants");
        !self.unread.controls && !self.unread.settings && self.controls.values().all(is_right)
    }

    /// Whether a capability without a grant is an error.
    pub fn denies_capabilities(&self) -> bool {
        self.settings.capabilities == Capabilities::Deny
    }

    /// Every grant, by control.
    pub fn grants(&self) -> impl Iterator<Item = Given<'_>> {
        self.grants.iter().filter_map(|ready| {
            let control = self.controls.get(&ready.control)?;
            let grant = control.value.grants.get(ready.index)?;
            Some(Given { control, index: ready.index, grant, patterns: &ready.patterns })
        })
    }

    /// Ports below this one need a grant on this node.
    pub fn host_port_floor(&self, node: &Node) -> u16 {
        self.policy_for(self.environment_of(&node.node)).host_port_floor()
    }

    /// The capabilities that a service uses on a node, each once.
    pub fn capabilities(&self, service: &ServiceName, node: &Node, powers: &Powers) -> Vec<Used> {
        if powers.is_empty() {
            return Vec::new();
        }
        let mut names: Vec<Capability> =
            powers.below(self.host_port_floor(node)).map(|power| power.capability).collect();
        names.sort_unstable();
        names.dedup();
        let used = |(number, capability)| Used {
            grant: Some(&capability)
                .filter(|_| number < MAX_GRANTED)
                .and_then(|one| self.lasting(one, service, node)),
            capability,
        };
        names.into_iter().enumerate().map(used).collect()
    }

    /// Of the grants that cover a capability, the first of those that last longest.
    fn lasting(&self, capability: &Capability, service: &ServiceName, node: &Node) -> Option<Terms> {
        let covering = self
            .grants()
            .filter(|given| given.is_for(service) && given.is_on(node) && given.covers(capability));
        let end = |given: &Given<'_>| given.grant.until.map_or(Timestamp::MAX, Day::end);
        let lasting = covering.reduce(|best, other| if end(&other) > end(&best) { other } else { best })?;
        let Given { control, grant, .. } = lasting;
        Some(Terms { path: control.path.clone(), reason: grant.reason.as_str().into(), until: grant.until })
    }
}
