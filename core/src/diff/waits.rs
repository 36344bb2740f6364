//! What a change will wait for once it is merged, as far as definitions tell: somebody's word, and a window.
//!
//! The planner decides both anew on each pass, from what stands then; what people hold, and how far a release is, is not
//! known here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::document::Risk;
use super::pairs::Pair;
use super::risks::counted;
use super::state::State;
use super::{Selection, Side, effects};
use crate::catalog::ApprovalDemand;
use crate::decision::{are_many_removals, is_most_lost};
use crate::definition::WindowKind;
use crate::name::ServiceName;
use crate::window::{self, Calendar, Subject};

/// Of the instances that are to take another form, or to go.
pub(super) fn of_pairs<'a>(pairs: &[Pair<'a>], new: &Side<'a>, now: Timestamp) -> Vec<Risk> {
    let calendar = Calendar::new(&new.catalog.settings.window, now);
    let changed = pairs.iter().filter(|pair| takes_another_form(pair));
    let waits = |pair| words(pair, new).into_iter().chain(held(pair)).chain(closed(pair, new, &calendar));
    let waits = changed.flat_map(waits);
    counted(waits.map(|risk| (risk, 1)))
}

fn takes_another_form(pair: &Pair<'_>) -> bool {
    let digest = |stand: Option<super::state::Stand<'_>>| stand.map(|stand| stand.ensure.digest);
    pair.has_moved() || digest(pair.before) != digest(pair.after)
}

/// Whose word is asked for.
fn words(pair: &Pair<'_>, new: &Side<'_>) -> Vec<Risk> {
    let service = pair.service();
    let instance = pair.after.and_then(|after| after.instance);
    let demands = instance.map_or_else(Vec::new, |one| one.approval_demands(new.catalog, pair.node));
    let asked = demands.into_iter().map(|demand| asked(service, demand));
    let leaves = pair.before.filter(|_| !pair.keeps_project());
    let leaves = leaves.filter(|before| !before.ensure.named_volumes().is_empty());
    let left = leaves.map(|_| meant(Some(service), "it leaves volumes behind".into()));
    asked.chain(left).collect()
}

fn asked(service: &ServiceName, demand: ApprovalDemand) -> Risk {
    let ApprovalDemand { why, count, roles, timeout: _, author_may: _ } = demand;
    let roles = roles.iter().map(|role| Arc::from(role.as_str())).collect();
    let why = format!("{why} asks for it").into();
    Risk::Awaits { service: Some(service.clone()), approvals: count, roles, why, nodes: 0 }
}

fn meant(service: Option<&ServiceName>, why: Arc<str>) -> Risk {
    Risk::Awaits { service: service.cloned(), approvals: 1, roles: Vec::new(), why, nodes: 0 }
}

/// Whether something goes from a node.
fn goes(pair: &Pair<'_>) -> bool {
    pair.before.is_some() && (pair.after.is_none() || pair.has_moved())
}

/// Containers would be made anew that must not be.
fn held(pair: &Pair<'_>) -> Option<Risk> {
    let (before, after) = pair.before.filter(|_| pair.from.is_none()).zip(pair.after)?;
    let containers = effects::forbidden(before.ensure, after.instance?);
    let service = pair.service().clone();
    (!containers.is_empty()).then_some(Risk::Held { service, containers, nodes: 0 })
}

/// The window that is not open for it now.
fn closed(pair: &Pair<'_>, new: &Side<'_>, calendar: &Calendar<'_>) -> Option<Risk> {
    let service = pair.service();
    let instance = pair.after.and_then(|after| after.instance);
    let subject = Subject::of(new.catalog, pair.node, service, instance.map(|instance| &**instance));
    let window::State::Closed { until, by } = calendar.hours(&subject).state() else { return None };
    Some(Risk::Window {
        service: service.clone(),
        window: by.name.to_string().into(),
        denies: by.kind == WindowKind::Deny,
        reason: by.reason.to_string().into(),
        until,
        nodes: 0,
    })
}

/// What is asked because of the whole, where all of it is looked at.
pub(super) fn of_all(
    pairs: &[Pair<'_>],
    held: &State<'_>,
    new: &Side<'_>,
    selection: &Selection<'_>,
) -> Option<Risk> {
    let removals = pairs.iter().filter(|pair| goes(pair) && !pair.keeps_project()).count();
    if removals == 0 {
        return None;
    }
    let stands = || held.nodes().values().flat_map(BTreeMap::keys);
    let all = stands().count();
    let (before, after) = (stands().collect::<BTreeSet<_>>().len(), new.desired.services.len());
    let why = if is_most_lost(removals, before, after) {
        format!("of {before} services it leaves {after}")
    } else if are_many_removals(removals, all) {
        format!("it removes {removals} of {all} instances")
    } else {
        return None;
    };
    selection.is_everything().then(|| meant(None, why.into()))
}
