//! Is what `place` says sensible by itself? Fields that contradict each other, amounts that mean nothing, and selectors
//! that would fit everything by accident.

use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, MAX_OF_A_KIND};
use crate::definition::{Located, Node, Placement, Resources, Selector, Service, Slot};
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::{Step, suggestion};

/// What is wrong with `place` and `resources` of a service and of its environments. `at` says where a field stands.
pub(super) fn check(definition: &Located<Service>, at: &dyn Fn(&[Step<'_>]) -> Place) -> Vec<Diagnostic> {
    let service = &definition.value;
    let environments = || service.environments.iter().flatten();
    let mut found = Vec::new();
    let is_broken = |field: &str| definition.broken.contains(field);
    let is_left_out = |field: &[Step<'_>]| environments_give(service, field);
    if !is_broken("place") {
        let checked = Checked { service, place: &service.place, steps: vec![Step::Key("place")], at };
        if !is_left_out(&[Step::Key("place")]) {
            found.extend(checked.somewhere());
        }
        found.extend(checked.contradictions());
    }
    found.extend(amounts(&service.resources, &[Step::Key("resources")], at));
    if is_broken("environments") {
        return found;
    }
    for (name, given) in environments() {
        let Some(given) = given else { continue };
        let steps = |field| vec![Step::Key("environments"), Step::Key(name.as_str()), Step::Key(field)];
        if let Some(place) = &given.place {
            let checked = Checked { service, place, steps: steps("place"), at };
            found.extend(checked.somewhere());
            found.extend(checked.contradictions());
        }
        if let Some(resources) = &given.resources {
            found.extend(amounts(resources, &steps("resources"), at));
        }
    }
    found
}

/// Whether every environment says otherwise, so that nobody asks for what is said for all.
fn environments_give(service: &Service, field: &[Step<'_>]) -> bool {
    let Some(environments) = &service.environments else { return false };
    let gives = |given: &Option<crate::definition::Override>| {
        field == [Step::Key("place")] && given.as_ref().is_some_and(|given| given.place.is_some())
    };
    !environments.is_empty() && environments.values().all(gives)
}

struct Checked<'a> {
    service: &'a Service,
    place: &'a Placement,
    steps: Vec<Step<'a>>,
    at: &'a dyn Fn(&[Step<'_>]) -> Place,
}

impl Checked<'_> {
    fn at(&self, field: &[Step<'_>]) -> Place {
        let steps: Vec<Step<'_>> = self.steps.iter().chain(field).copied().collect();
        (self.at)(&steps)
    }

    /// That it says where at all.
    fn somewhere(&self) -> Option<Diagnostic> {
        let Self { service, place, .. } = self;
        if let Some([]) = place.nodes.as_deref() {
            let message = format!("service `{}` is placed on no node, so it runs nowhere", service.service);
            let diagnostic = Diagnostic::warning("placed-nowhere", self.at(&[Step::Key("nodes")]), message);
            return Some(diagnostic.help("name at least one node"));
        }
        if place.nodes.is_some() || place.select.is_some() || place.all == Some(true) {
            return None;
        }
        let (message, add) = match **place == Placement::default() {
            true => ("the field `place` is missing", "add `place` with"),
            false => ("`place` does not say on which nodes", "add"),
        };
        let help = format!("{add} `nodes: […]`, `select: {{LABEL: VALUE}}` or `all: true`");
        Some(Diagnostic::error("missing-field", self.at(&[]), message).help(help))
    }

    fn contradictions(&self) -> Vec<Diagnostic> {
        let place = self.place;
        let mut found = Vec::new();
        if place.nodes.is_some() {
            found.extend(self.besides_nodes());
        } else if place.all == Some(true) {
            let fields = [("count", place.count.is_some()), ("failover", place.failover.is_some())];
            let given = fields.into_iter().filter(|(_, is_given)| *is_given);
            found.extend(given.map(|(field, _)| {
                self.conflict(field, "all: true", "the service runs on every node that fits")
            }));
        }
        if place.nodes.is_none() && place.sticky == Some(false) && place.failover.is_some() {
            let because = "where it goes when a node is lost would not last";
            found.push(self.conflict("failover", "sticky: false", because));
        }
        found.extend(self.empty_selectors());
        if place.count == Some(0) {
            let at = self.at(&[Step::Key("count")]);
            let diagnostic = Diagnostic::error("invalid-value", at, "`count` must be at least 1");
            found.push(diagnostic.help("to run it nowhere, write `nodes: []`; to stop it, `state: stopped`"));
        }
        for (index, preference) in place.prefer.iter().enumerate() {
            if preference.weight.is_some_and(|weight| !(1..=100).contains(&weight)) {
                let field = [Step::Key("prefer"), Step::Item(index), Step::Key("weight")];
                let message = "`weight` must be from 1 to 100";
                found.push(
                    Diagnostic::error("invalid-value", self.at(&field), message).help("leave it out for 50"),
                );
            }
        }
        found
    }

    /// Where the nodes are named, nothing is chosen.
    fn besides_nodes(&self) -> impl Iterator<Item = Diagnostic> {
        let place = self.place;
        let fields = [
            ("select", place.select.is_some()),
            ("count", place.count.is_some()),
            ("all", place.all.is_some()),
            ("prefer", !place.prefer.is_empty()),
            ("spread", place.spread.is_some()),
            ("sticky", place.sticky.is_some()),
            ("failover", place.failover.is_some()),
        ];
        let given = fields.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(field, _)| self.conflict(field, "nodes", "the service runs on the nodes that it names"))
    }

    fn conflict(&self, field: &'static str, with: &str, because: &str) -> Diagnostic {
        let message = format!("`{field}` has no meaning beside `{with}`: {because}");
        let diagnostic = Diagnostic::error("conflicting-fields", self.at(&[Step::Key(field)]), message);
        diagnostic.help(format!("remove `{field}` or `{with}`"))
    }

    fn empty_selectors(&self) -> Vec<Diagnostic> {
        let empty = |selector: &Selector, field: &[Step<'_>], message: &str, help: &str| {
            let diagnostic = || Diagnostic::error("empty-selector", self.at(field), message).help(help);
            selector.is_empty().then(diagnostic)
        };
        let selector = self.place.select.iter().filter(|_| self.place.nodes.is_none());
        let select = selector.filter_map(|selector| {
            let message = "`select` names no label, so that any node would do";
            let help = "name a label, or write `all: true` to run it on every node";
            empty(selector, &[Step::Key("select")], message, help)
        });
        let forbid = self.place.forbid.iter().enumerate().filter_map(|(index, selector)| {
            let field = [Step::Key("forbid"), Step::Item(index)];
            empty(
                selector,
                &field,
                "this names no label, so that it forbids nothing",
                "name a label, or remove it",
            )
        });
        let prefer = self.place.prefer.iter().enumerate().filter_map(|(index, preference)| {
            let field = [Step::Key("prefer"), Step::Item(index), Step::Key("select")];
            let message = "this names no label, so that no node is preferred";
            empty(&preference.select, &field, message, "name a label, or remove it")
        });
        select.chain(forbid).chain(prefer).collect()
    }
}

fn amounts(
    resources: &Resources,
    steps: &[Step<'_>],
    at: &dyn Fn(&[Step<'_>]) -> Place,
) -> Option<Diagnostic> {
    let gpus = resources.gpus.as_ref().filter(|gpus| gpus.count == Some(0));
    gpus.map(|_| {
        let field: Vec<Step<'_>> =
            steps.iter().copied().chain([Step::Key("gpus"), Step::Key("count")]).collect();
        Diagnostic::error("invalid-value", at(&field), "`count` must be at least 1").help("remove `gpus`")
    })
}

/// The name of a slot that no node has.
pub(super) fn unknown_slot(
    catalog: &Catalog,
    place: &Placement,
    at: impl Fn() -> Place,
) -> Option<Diagnostic> {
    let slot = place.slot.as_deref().filter(|slot| *slot != Slot::ANY && !catalog.unread.nodes)?;
    let slots = || catalog.nodes.values().flat_map(|node| node.value.slots.keys());
    if slots().any(|known| **known == *slot) {
        return None;
    }
    let known: BTreeSet<&str> = slots().map(|slot| &**slot).collect();
    let otherwise = "define it under `slots` of a node, or write `slot: any`";
    let diagnostic = Diagnostic::error("unknown-slot", at(), format!("no node has a slot `{slot}`"));
    Some(diagnostic.help(suggestion(slot, known, otherwise)))
}

/// What is wrong with the slots and the processors of a node: of each kind no more than people mend.
pub(super) fn check_node(catalog: &Catalog, node: &Located<Node>) -> Vec<Diagnostic> {
    let place_of = catalog.places(node);
    let mut found = check_slots(node, &place_of);
    let gpus = node.value.capacity.gpus.iter().enumerate().filter(|(_, gpu)| gpu.count == Some(0));
    for (index, gpu) in gpus.take(MAX_OF_A_KIND) {
        let field = [Step::Key("capacity"), Step::Key("gpus"), Step::Item(index), Step::Key("count")];
        let message = format!("there are none of model `{}`", gpu.model);
        found.push(Diagnostic::error("invalid-value", place_of(&field), message).help("remove the item"));
    }
    found
}

fn check_slots(node: &Located<Node>, place_of: &dyn Fn(&[Step<'_>]) -> Place) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Of each processor, the first slot that has it.
    let mut slot_of: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, slot) in &node.value.slots {
        if found.len() >= MAX_OF_A_KIND {
            break;
        }
        let at = |rest: &[Step<'_>]| {
            let steps = [Step::Key("slots"), Step::Key(name)];
            place_of(&steps.iter().chain(rest).copied().collect::<Vec<_>>())
        };
        if **name == *Slot::ANY {
            let diagnostic = Diagnostic::error("invalid-value", at(&[]), "no slot can be called `any`");
            found.push(diagnostic.help("call it otherwise: `slot: any` in a service stands for any of them"));
        }
        let Some(cpus) = slot.processors() else {
            let message = format!("`{}` is no list of processors", slot.cpus);
            let diagnostic = Diagnostic::error("invalid-value", at(&[Step::Key("cpus")]), message);
            found.push(diagnostic.help("write numbers and ranges, such as `0-3` or `0,2`"));
            continue;
        };
        let shared = cpus.iter().filter_map(|cpu| Some((*slot_of.get(cpu)?, *cpu))).min();
        if let Some((other, both)) = shared {
            let message = format!("processor {both} is in the slots `{other}` and `{name}`");
            let diagnostic = Diagnostic::error("shared-processor", at(&[Step::Key("cpus")]), message);
            found
                .push(diagnostic.help("a processor belongs to one slot at most: take it out of one of them"));
        }
        for cpu in cpus {
            slot_of.entry(cpu).or_insert(name);
        }
    }
    found
}
