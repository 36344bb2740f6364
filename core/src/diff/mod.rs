//! What a change does: between two revisions, or between what nodes hold and what they are to get.
//!
//! The same comparison serves the preview (`gitops diff`), the comment on a pull request, the record of a release and the
//! reasons in a plan, so that what a reviewer reads is what the agent logs. It is pure and its result is a document
//! ([`Diff`]): in it nothing is left that looks like a secret ([`crate::sensitive`]), and what changes alike on many nodes is one change.
//!
//! | file | what it owns |
//! |---|---|
//! | `document` | the document |
//! | `state` | one side: what stands on each node |
//! | `pairs` | which instances differ, which moved, which have another name |
//! | `fold` | what is said of each, once for all that change alike |
//! | `reasons`, `fields`, `files`, `terms`, `effects` | why, in which lines, and what it does to containers |
//! | `ground` | features and controls, and the services behind them |
//! | `risks` | what to look at first; cost and room |
//! | `ignore` | what services ask not to be told of |

mod document;
mod effects;
mod fields;
mod files;
mod fold;
mod ground;
mod ignore;
mod pairs;
mod reasons;
mod risks;
mod state;
mod terms;
mod waits;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::Catalog;
use crate::desired::Desired;
use crate::name::{EnvironmentName, NodeName, ServiceName};

pub use crate::definition::Gate;
pub use crate::sensitive;

pub use document::{
    Change, ChangeKind, ControlChange, Cost, CostChange, Diff, Effect, FeatureChange, FileChange,
    FileChangeKind, Ignored, NewCapability, Origin, Risk, SCHEMA, Summary, Turn,
};
pub use effects::{effects, forbidden};
pub use reasons::{displacement, reasons};
pub use state::State;
pub use terms::terms_in_words;

/// The definitions of one side, and what it is called.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// A revision, or what else people know it by.
    pub label: Arc<str>,
    /// Everything that was defined.
    pub catalog: &'a Catalog,
    /// What it comes to.
    pub desired: &'a Desired,
}

/// What is looked at, and what is known beside the two sides.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// When: grants and approvals end.
    pub now: Timestamp,
    /// What is looked at.
    pub selection: &'a Selection<'a>,
}

static EVERYTHING: Selection<'static> = Selection { service: None, node: None, environment: None };

impl Scope<'_> {
    /// Everything, with nothing known beside.
    pub fn at(now: Timestamp) -> Self {
        Self { now, selection: &EVERYTHING }
    }
}

/// What of the fleet is looked at; all of it where nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// Only this service.
    pub service: Option<&'a ServiceName>,
    /// Only this node.
    pub node: Option<&'a NodeName>,
    /// Only the nodes of this environment.
    pub environment: Option<&'a EnvironmentName>,
}

impl Selection<'_> {
    fn has_service(&self, service: &ServiceName) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
    }

    fn has_node(&self, node: &NodeName, environment: Option<&EnvironmentName>) -> bool {
        self.node.is_none_or(|wanted| wanted == node)
            && self.environment.is_none_or(|wanted| Some(wanted) == environment)
    }

    /// The first of its names that none of these definitions has, as `service x`: nothing would be shown, as if nothing
    /// changed.
    pub fn unknown(&self, definitions: &[&Catalog]) -> Option<String> {
        let any = |has: &dyn Fn(&Catalog) -> bool| definitions.iter().any(|catalog| has(catalog));
        let service = self.service.filter(|name| !any(&|catalog| catalog.services.contains_key(*name)));
        let node = self.node.filter(|name| !any(&|catalog| catalog.nodes.contains_key(*name)));
        let is_there =
            |name: &EnvironmentName| any(&|catalog| catalog.settings.environments.contains_key(name));
        let environment = self.environment.filter(|name| !is_there(name));
        let said = [
            service.map(|name| format!("service `{name}`")),
            node.map(|name| format!("node `{name}`")),
            environment.map(|name| format!("environment `{name}`")),
        ];
        said.into_iter().flatten().next()
    }

    /// Whether all of it is looked at.
    pub fn is_everything(&self) -> bool {
        self.service.is_none() && self.node.is_none() && self.environment.is_none()
    }
}

/// Compares two sides of definitions.
pub fn compare<'a>(old: &Side<'a>, new: &Side<'a>, scope: &Scope<'_>) -> Diff {
    let states = (&State::of_desired(old.desired), &State::of_desired(new.desired));
    compare_states(old, new, states, scope)
}

/// Compares what nodes hold with what they are to get. The sides are the definitions that both come from.
pub fn compare_states<'a>(
    old: &Side<'a>,
    new: &Side<'a>,
    (held, wanted): (&State<'a>, &State<'a>),
    scope: &Scope<'_>,
) -> Diff {
    let Scope { now, selection } = *scope;
    let (before, after) = (old.catalog, new.catalog);
    let environment_of = |node: &NodeName| after.environment_of(node).or_else(|| before.environment_of(node));
    let sensitive = old.desired.sensitive.and(&new.desired.sensitive);
    let is_meant = |node: &NodeName, service: &ServiceName| {
        selection.has_service(service) && selection.has_node(node, environment_of(node))
    };
    let (pairs, unchanged) = pairs::differing(held, wanted, is_meant);
    let mut pairs = pairs::matched(pairs, (held, wanted), environment_of);
    pairs.retain(|pair| pair.is_meant(is_meant));
    let mut changes = fold::folded(&pairs, (old, new), environment_of, &sensitive);
    let ignored = ignore::taken_out(&mut changes, old, new);
    let standings = ground::standings(old, new, now, selection);
    let mut risks = risks::of_changes(&changes, new);
    risks.extend(risks::of_standings(&standings));
    let (filled, cost) = risks::of_capacity(old, new, selection);
    risks.extend(filled);
    risks.extend(waits::of_all(&pairs, held, new, selection));
    risks.extend(waits::of_pairs(&pairs, new, now));
    Diff {
        schema: SCHEMA,
        base: old.label.clone(),
        head: new.label.clone(),
        plan: None,
        summary: Summary::of(&changes, unchanged),
        risks,
        changes,
        settings: if selection.is_everything() { ground::settings(old, new, &sensitive) } else { Vec::new() },
        features: ground::features(old, new, selection, &sensitive),
        controls: ground::controls(old, new, &standings, selection, &sensitive),
        cost,
        ignored,
    }
}

impl Summary {
    fn of(changes: &[Change], unchanged: usize) -> Self {
        let mut summary = Self { unchanged, ..Self::default() };
        let mut nodes: BTreeSet<&NodeName> = BTreeSet::new();
        for change in changes {
            let number = match change.kind {
                ChangeKind::Create => &mut summary.create,
                ChangeKind::Update => &mut summary.update,
                ChangeKind::Recreate => &mut summary.recreate,
                ChangeKind::Move => &mut summary.moved,
                ChangeKind::Remove => &mut summary.remove,
            };
            *number += change.nodes.len();
            nodes.extend(&change.nodes);
            nodes.extend(change.from.iter().flat_map(|from| &from.nodes));
        }
        summary.nodes = nodes.len();
        summary
    }
}

impl Diff {
    /// Those of the gates that it does not pass.
    pub fn stopped_by<'g>(&self, gates: impl IntoIterator<Item = &'g Gate>) -> BTreeSet<Gate> {
        gates.into_iter().copied().filter(|gate| self.is_stopped_by(*gate)).collect()
    }

    /// The services whose containers it stops.
    pub fn interrupted(&self) -> BTreeSet<ServiceName> {
        let interrupted = |risk: &Risk| match risk {
            Risk::Restart { service, .. } => Some(service.clone()),
            _ => None,
        };
        self.risks.iter().filter_map(interrupted).collect()
    }

    /// Says how long services took to come back, where that was measured.
    pub fn time(&mut self, durations: &BTreeMap<ServiceName, SignedDuration>) {
        for risk in &mut self.risks {
            if let Risk::Restart { service, seconds, .. } = risk {
                *seconds = durations.get(service).map(|span| span.as_secs().unsigned_abs());
            }
        }
    }

    fn is_stopped_by(&self, gate: Gate) -> bool {
        let any = |is_meant: fn(&Risk) -> bool| self.risks.iter().any(is_meant);
        match gate {
            Gate::Remove => any(|risk| matches!(risk, Risk::Removal { .. } | Risk::VolumesLeft { .. })),
            Gate::Recreate => self.summary.recreate + self.summary.moved > 0,
            Gate::Capability => any(|risk| matches!(risk, Risk::Capability { .. })),
            Gate::Cost => {
                any(|risk| matches!(risk, Risk::Budget { .. }))
                    || self.cost.as_ref().is_some_and(|cost| cost.rises)
            }
            Gate::Control => any(|risk| matches!(risk, Risk::Unmet { .. })),
        }
    }
}
