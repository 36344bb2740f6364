//! What differs between two plans for one commit: why the one that people agreed to is not the one that would be carried
//! out now.
//!
//! Two plans differ in what they would change, and in what they start from. Both are told, because a plan id covers both:
//! where nothing else would be done than was shown, the node says what moved under it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Preview, Touched};
use crate::align::aligned;
use crate::diff::{Change, ChangeKind, Diff};
use crate::name::{Digest, NodeName, Revision, ServiceName};
use crate::plan::Reason;
use crate::status::PlanId;

/// What differs between the plan that was asked for and the one of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The id that was asked for.
    pub asked: Digest,
    /// The id of the plan of now.
    pub now: Option<Digest>,
    /// Whether what was asked for is remembered. Where it is not, nothing can be said of how it differs.
    pub is_remembered: bool,
    /// The commit that was asked for, where it is another than that of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// What would be done otherwise than it was shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Otherwise>,
    /// What moved under the plan, by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeName, Vec<Reason>>,
}

/// A change that only one of the plans has, or that both have in another form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Otherwise {
    /// Where, by name.
    pub nodes: Vec<NodeName>,
    /// The service.
    pub service: ServiceName,
    /// What was shown; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Told>,
    /// What would be done now; none where nothing would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Told>,
}

/// A change in short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// How the instance changes.
    pub kind: ChangeKind,
    /// Which fields and files, by name.
    pub fields: Vec<Arc<str>>,
    /// How many of its Compose services have containers that are touched.
    pub containers: usize,
}

/// The plan that was asked for under the id `asked`, against that of now.
pub fn difference(asked: Digest, shown: Option<&Preview>, now: &Preview) -> Difference {
    let mut difference = Difference {
        asked,
        now: now.diff.plan,
        is_remembered: shown.is_some(),
        revision: None,
        changes: Vec::new(),
        nodes: BTreeMap::new(),
    };
    if let Some(shown) = shown {
        difference.revision = shown.revision.clone().filter(|_| shown.revision != now.revision);
        difference.changes = otherwise(&shown.diff, &now.diff);
        let moved = aligned(&shown.touched, &now.touched);
        let moved = moved.map(|(node, before, after)| (node.clone(), moves(before, after)));
        difference.nodes = moved.filter(|(_, reasons)| !reasons.is_empty()).collect();
    }
    difference
}

type Instances<'a> = BTreeMap<(&'a ServiceName, &'a NodeName), &'a Change>;

/// Every instance that changes. What was folded over many nodes is looked at one by one, because others may be in it now.
fn instances(diff: &Diff) -> Instances<'_> {
    let changes = diff.changes.iter();
    changes
        .flat_map(|change| change.nodes.iter().map(move |node| ((&change.service, node), change)))
        .collect()
}

fn otherwise(shown: &Diff, now: &Diff) -> Vec<Otherwise> {
    let (shown, now) = (instances(shown), instances(now));
    type Key<'a> = (&'a ServiceName, Option<Told>, Option<Told>);
    let mut folded: BTreeMap<Key<'_>, Vec<NodeName>> = BTreeMap::new();
    for ((service, node), before, after) in aligned(&shown, &now) {
        if before.map(|change| body(change)) != after.map(|change| body(change)) {
            let told = |change: Option<&&Change>| change.map(|change| told(change));
            folded.entry((*service, told(before), told(after))).or_default().push((*node).clone());
        }
    }
    let one = |((service, shown, now), nodes): (Key<'_>, Vec<NodeName>)| Otherwise {
        nodes,
        service: service.clone(),
        shown,
        now,
    };
    folded.into_iter().map(one).collect()
}

/// The change, less where it is made.
fn body(change: &Change) -> Change {
    Change { nodes: Vec::new(), ..change.clone() }
}

fn told(change: &Change) -> Told {
    let fields = change.because.iter().map(|reason| reason.field.clone());
    let files = change.files.iter().map(|file| file.source.clone());
    Told { kind: change.kind, fields: fields.chain(files).collect(), containers: change.effects.len() }
}

/// What a plan starts from on a node that moved.
fn moves(before: Option<&Touched>, after: Option<&Touched>) -> Vec<Reason> {
    let plan =
        |plan: Option<PlanId>| plan.map(|plan| format!("{} ({})", plan.generation, plan.digest.short()));
    let names = |names: Vec<&ServiceName>| {
        let names: Vec<&str> = names.into_iter().map(ServiceName::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let both = |field: &str, of: &dyn Fn(&Touched) -> Option<String>| {
        let [old, new] = [before, after].map(|touched| touched.and_then(of));
        let [old, new] = [old, new].map(|value| value.map(Arc::from));
        (old != new).then(|| Reason { field: field.into(), old, new, source: None })
    };
    let told = [
        both("stored plan", &|touched| plan(touched.from)),
        both("steps", &|touched| touched.gets.map(|digest| digest.short())),
        both("held back", &|touched| names(touched.held.keys().collect())),
        both("accepted plan", &|touched| plan(touched.accepted)),
        both("not done", &|touched| names(touched.undone.iter().collect())),
    ];
    told.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
