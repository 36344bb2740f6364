//! What is wrong with a placement, as diagnostics: at the service's `place`, with why each node is out and the smallest
//! change that would do.

use super::explain::{self, Refusal};
use super::{Code, Exclusion, Fault, Held, Id, Misplaced, Placed, Request, Sites};
use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::definition::{Bytes, Slot};
use crate::diagnostic::{Diagnostic, Place};
use crate::holders::Holders;
use crate::name::NodeName;
use crate::yaml::Step;

/// What the faults of a placement are looked at with.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// All definitions.
    pub catalog: &'a Catalog,
    /// The nodes.
    pub sites: &'a Sites<'a>,
    /// What was placed.
    pub placed: &'a Placed,
    /// What stood before.
    pub holders: &'a Holders,
}

impl<'a> Telling<'a> {
    /// What is to be said of a fault. Nothing of one that only waits.
    pub fn diagnostic(&self, request: &Request, misplaced: &Misplaced) -> Option<Diagnostic> {
        if !self.is_told_in_full(misplaced) {
            return self.in_short(misplaced);
        }
        match &misplaced.fault {
            // A slot that nobody has is told where it is written.
            Fault::TooFew { .. } if self.is_unknown_slot(request) => None,
            Fault::TooFew { found, wanted } => Some(self.too_few(request, *found, *wanted)),
            Fault::Named { node, exclusions } => Some(self.named(request, node, exclusions)),
            Fault::Stays { .. } => None,
        }
    }

    /// Why each node is out takes a look at all of them, so that is told only of the first.
    fn is_told_in_full(&self, misplaced: &Misplaced) -> bool {
        let mut first = self.placed.misplaced.iter().take(MAX_IN_FULL);
        first.any(|one| std::ptr::eq(one, misplaced) || one == misplaced)
    }

    fn in_short(&self, Misplaced { id, fault }: &Misplaced) -> Option<Diagnostic> {
        let service = &id.service;
        let message = match fault {
            Fault::TooFew { found, wanted } => {
                format!("service `{service}` fits on {found} nodes, and is to run on {wanted}")
            }
            Fault::Named { node, .. } => {
                format!("service `{service}` cannot run on node `{node}`, which it names")
            }
            Fault::Stays { .. } => return None,
        };
        let place = Place::file(format!("services/{service}/service.yaml"));
        let help = format!(
            "mend the first {MAX_IN_FULL} services that cannot be placed: why is told of no more at a time"
        );
        Some(Diagnostic::error("no-placement", place, message).help(help))
    }

    fn is_unknown_slot(&self, request: &Request) -> bool {
        let slot = request.place.slot.as_ref().filter(|slot| ***slot != *Slot::ANY);
        slot.is_some_and(|slot| !self.sites.values().any(|site| site.node.slots.contains_key(slot)))
    }

    fn too_few(&self, request: &Request, found: usize, wanted: usize) -> Diagnostic {
        let Id { service, environment } = &request.id;
        let there = environment.as_ref().map(|name| format!(" of environment `{name}`")).unwrap_or_default();
        let message = match (found, wanted) {
            (0, 1) => format!("service `{service}` fits on no node{there}"),
            (found, wanted) => {
                let fit = match found {
                    0 => "none fits".to_owned(),
                    1 => format!("only 1 of {wanted} fits"),
                    found => format!("only {found} of {wanted} fit"),
                };
                format!("service `{service}` is to run on {wanted} nodes{there}, and {fit}")
            }
        };
        let refusal = explain::refusal(self.sites, request, self.placed, self.holders);
        let mut diagnostic = Diagnostic::error("no-placement", self.place(request, &[]), message);
        for note in reasons(&refusal) {
            diagnostic = diagnostic.note(note);
        }
        diagnostic.help(match refusal.change {
            Some(change) if found == 0 => format!("the smallest change that makes it fit: {change}"),
            Some(change) => format!("the smallest change that makes it fit on one more: {change}"),
            None if self.sites.is_empty() => "define a node in nodes/".into(),
            None => format!("it runs on all {found} nodes that there are: lower `count`, or define more"),
        })
    }

    fn named(&self, request: &Request, node: &NodeName, exclusions: &[Exclusion]) -> Diagnostic {
        let service = &request.id.service;
        let is_full = exclusions.iter().all(|one| matches!(one.code, Code::Capacity | Code::Slot));
        let index = request.place.named().iter().position(|name| name == node).unwrap_or_default();
        let place = self.place(request, &[Step::Key("nodes"), Step::Item(index)]);
        let (code, verb) =
            if is_full { ("over-committed", "does not fit") } else { ("no-placement", "cannot run") };
        let first = exclusions.first().map(|one| one.reason.as_str()).unwrap_or_default();
        let message = format!("service `{service}` {verb} on node `{node}`, which it names: {first}");
        let mut diagnostic = Diagnostic::error(code, place, message);
        for exclusion in exclusions.iter().skip(1) {
            diagnostic = diagnostic.note(format!("{}: {}", exclusion.code.as_str(), exclusion.reason));
        }
        diagnostic = diagnostic.note(self.held(request, node)).help({
            let changes: Vec<&str> = exclusions.iter().map(|one| one.change.as_str()).collect();
            format!("the smallest change that makes it fit: {}", changes.join(" and "))
        });
        if !is_full {
            diagnostic.notes.pop();
        }
        diagnostic
    }

    /// Who holds what of a node.
    fn held(&self, request: &Request, node: &NodeName) -> String {
        let others = self.placed.chosen.iter().filter(|(id, _)| **id != request.id);
        let mut held: Vec<(&Id, &Held)> =
            others.filter_map(|(id, nodes)| Some((id, nodes.get(node)?))).collect();
        held.retain(|(_, held)| words(held).is_some());
        held.sort_by_key(|(id, held)| (std::cmp::Reverse((held.memory, held.cpu, held.disk)), *id));
        let told =
            |(id, held): &(&Id, &Held)| format!("`{}` {}", id.service, words(held).unwrap_or_default());
        let more = match held.len().saturating_sub(MAX_HOLDERS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let held: Vec<String> = held.iter().take(MAX_HOLDERS).map(told).collect();
        match held.is_empty() {
            true => format!("no other service reserves any of `{node}`"),
            false => format!("reserved on `{node}`: {}{more}", held.join("; ")),
        }
    }

    fn place(&self, request: &Request, field: &[Step<'_>]) -> Place {
        let Id { service, environment } = &request.id;
        let entry = self.catalog.services.get(service);
        let of = |entry: &'a ServiceEntry| -> Option<(&'a ServiceEntry, &'a Deployment)> {
            let deployment = entry.deployments.iter().find(|one| one.environment == *environment)?;
            Some((entry, deployment))
        };
        match entry.and_then(|entry| of(entry)) {
            Some((entry, deployment)) => {
                let steps: Vec<Step<'_>> =
                    [Step::Key("place")].into_iter().chain(field.iter().copied()).collect();
                self.catalog.deployment_place(entry, deployment, &steps)
            }
            None => Place::file(format!("services/{service}/service.yaml")),
        }
    }
}

/// So many faults are told with all that is to be said of them.
const MAX_IN_FULL: usize = 100;

/// Of those that hold most.
const MAX_HOLDERS: usize = 5;

/// `2 cores, 1 GiB of memory`.
fn words(held: &Held) -> Option<String> {
    let mut words = Vec::new();
    if held.cpu.0 > 0 {
        let s = if held.cpu.0 == 1000 { "" } else { "s" };
        words.push(format!("{} core{s}", held.cpu));
    }
    words.extend((held.memory > Bytes(0)).then(|| format!("{} of memory", held.memory)));
    words.extend((held.disk > Bytes(0)).then(|| format!("{} of disk", held.disk)));
    let gpus = held.gpus.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
    words.extend((gpus > 0).then(|| format!("{gpus} GPU{}", if gpus == 1 { "" } else { "s" })));
    words.extend(held.slot.as_ref().map(|slot| format!("slot `{slot}`")));
    (!words.is_empty()).then(|| words.join(", "))
}

/// How many nodes each reason excludes.
fn reasons(refusal: &Refusal) -> impl Iterator<Item = String> {
    refusal.reasons.iter().map(|(code, count, node, reason)| match count {
        1 => format!("{}: 1 node, `{node}`: {reason}", code.as_str()),
        count => format!("{}: {count} nodes, such as `{node}`: {reason}", code.as_str()),
    })
}
