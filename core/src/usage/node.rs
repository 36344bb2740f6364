//! What features ask of a node, and whether a node has it.

use std::fmt;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::definition::{Feature, FeatureState, Needs, Node, Offer, Pattern};
use crate::name::{FeatureName, NodeName};

/// What a feature that a service uses asks of the nodes of the service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need<'a> {
    /// The feature.
    pub feature: &'a FeatureName,
    /// All that it asks.
    pub needs: &'a Needs,
}

/// What keeps a feature from being there for a service on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is planned or removed, and so nowhere.
    State(FeatureState),
    /// The node does not have a label as it must be.
    Label {
        /// Which one.
        label: Arc<str>,
        /// What it must be.
        needed: Pattern,
        /// What it is.
        there: Option<Arc<str>>,
    },
    /// The node does not promise to be able to do something.
    Capability {
        /// What it must be able to do.
        needed: Offer,
        /// What it promises instead, of the same kind.
        there: Option<Offer>,
    },
}

/// What the features among `used` ask of a node, in the order of their names. One that is planned or removed asks for
/// nothing, because it gives nothing.
pub fn needs<'a>(catalog: &'a Catalog, used: impl IntoIterator<Item = &'a FeatureName>) -> Vec<Need<'a>> {
    let mut needs: Vec<Need<'a>> = used
        .into_iter()
        .filter_map(|name| Some((name, &catalog.features.get(name)?.value)))
        .filter(|(_, feature)| feature.state.is_available() && feature.needs != Needs::default())
        .map(|(feature, definition)| Need { feature, needs: &definition.needs })
        .collect();
    needs.sort_by_key(|need| need.feature);
    needs.dedup();
    needs
}

/// Whether a service on this node can have the feature.
///
/// # Errors
///
/// The first thing that is in the way: its state, then labels, then capabilities.
pub fn available_on(feature: &Feature, node: &Node) -> Result<(), Lack> {
    let absent = (!feature.state.is_available()).then_some(Lack::State(feature.state));
    absent.or_else(|| lacking(&feature.needs, node)).map_or(Ok(()), Err)
}

/// The nodes where a service can have the feature, in the order of their names.
pub fn offered_by<'a>(catalog: &'a Catalog, feature: &Feature) -> Vec<&'a NodeName> {
    let nodes = catalog.nodes.iter().filter(|(_, node)| available_on(feature, &node.value).is_ok());
    nodes.map(|(name, _)| name).collect()
}

fn lacking(needs: &Needs, node: &Node) -> Option<Lack> {
    let label = needs.labels.as_ref().and_then(|labels| {
        let (label, needed) = labels.first_misfit(|label| node.label(label))?;
        Some(Lack::Label {
            label: label.into(),
            needed: needed.clone(),
            there: node.label(label).map(Arc::from),
        })
    });
    label.or_else(|| {
        let served = |needed: &&Offer| node.capabilities.iter().any(|offer| offer.serves(needed));
        let needed = needs.capabilities.iter().find(|needed| !served(needed))?;
        let there = node.capabilities.iter().filter(|offer| offer.kind == needed.kind).max();
        Some(Lack::Capability { needed: needed.clone(), there: there.cloned() })
    })
}

impl fmt::Display for Lack {
    /// What there is to say of the node, without its name: ``lacks the label `gpu=*` ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "is not offered anywhere: it is {}", state.as_str()),
            Self::Label { label, needed, there: None } => write!(f, "lacks the label `{label}={needed}`"),
            Self::Label { label, needed, there: Some(there) } => {
                write!(f, "has the label `{label}={there}` instead of `{label}={needed}`")
            }
            Self::Capability { needed, there: None } => write!(f, "lacks the capability `{needed}`"),
            Self::Capability { needed, there: Some(there) } => {
                write!(f, "has the capability `{there}`, which is older than `{needed}`")
            }
        }
    }
}

impl Lack {
    /// What to write into the definition of the node once it has what is lacking. None where that is not up to a node.
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::State(_) => None,
            Self::Label { label, needed: Pattern::OneOf(values), .. } => {
                let value = values.first().map_or("true", |value| &**value);
                Some(format!("`{label}: {value}` under `labels:`"))
            }
            Self::Label { label, .. } => Some(format!("`{label}` under `labels:`")),
            Self::Capability { needed, .. } => Some(format!("`{needed}` to `capabilities:`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(yaml: &str) -> Feature {
        serde_yaml::from_str(&format!("feature: f\n{yaml}")).expect("a feature")
    }

    fn node(yaml: &str) -> Node {
        serde_yaml::from_str(&format!("node: n\n{yaml}")).expect("a node")
    }

    #[test]
    fn a_feature_is_available_where_its_state_the_labels_and_the_capabilities_allow_it() {
        let check = |asked: &str, given: &str, expected: &str| {
            let answer = available_on(&feature(asked), &node(given));
            assert_eq!(answer.map_or_else(|lack| lack.to_string(), |()| "yes".to_owned()), expected);
        };
        let gpu = "state: implemented\nneeds: {labels: {gpu: '*', rack: [a, b]}, capabilities: [gpu@2]}";
        check("state: implemented", "", "yes");
        check("state: deprecated", "", "yes");
        check("state: planned", "", "is not offered anywhere: it is planned");
        check("state: removed", "", "is not offered anywhere: it is removed");
        check(gpu, "labels: {gpu: l4, rack: b}\ncapabilities: [gpu@3]", "yes");
        check(gpu, "labels: {rack: b}\ncapabilities: [gpu@3]", "lacks the label `gpu=*`");
        check(gpu, "labels: {gpu: l4, rack: c}", "has the label `rack=c` instead of `rack=a|b`");
        check(gpu, "labels: {gpu: l4, rack: a}", "lacks the capability `gpu@2`");
        let old = "has the capability `gpu@1`, which is older than `gpu@2`";
        check(gpu, "labels: {gpu: l4, rack: a}\ncapabilities: [gpu@1]", old);
        check("state: implemented\nneeds: {labels: {node: n}}", "", "yes");
    }
}
