//! Dangerous powers of Compose: denied unless granted.
//!
//! What a service uses without a live grant is told once for each capability, at the line that uses it, with the grant
//! that it would need and who could give it. In a repository that is moving in (`capabilities = "warn"`) it is told
//! just so, as a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Subject;
use crate::catalog::Given;
use crate::compose::powers::Capability;
use crate::definition::{Control, Located};
use crate::desired::Instance;
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::name::NodeName;

/// So many places of one capability are named.
const MAX_PLACES: usize = 5;

/// One finding for each capability that is used without a live grant.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    if !subject.catalog.knows_grants() {
        return Vec::new();
    }
    let mut ungranted: BTreeMap<&Capability, BTreeSet<&NodeName>> = BTreeMap::new();
    for (node, instance) in subject.instances {
        let open = instance.capabilities.iter().filter(|used| !used.is_granted(subject.now));
        open.for_each(|used| _ = ungranted.entry(&used.capability).or_default().insert(node));
    }
    ungranted.iter().map(|(capability, nodes)| finding(subject, capability, nodes)).collect()
}

fn finding(subject: &Subject<'_>, capability: &Capability, nodes: &BTreeSet<&NodeName>) -> Diagnostic {
    let service = &subject.entry.service().service;
    let severity = if subject.catalog.denies_capabilities() { Severity::Error } else { Severity::Warning };
    let mut places = places(subject, capability, nodes).into_iter();
    let place = places.next().unwrap_or_else(|| Place::file(subject.entry.path().clone()));
    let message =
        format!("service `{service}` uses the capability `{capability}`, which nothing grants to it");
    let mut diagnostic =
        Diagnostic::new(severity, "capability-not-granted", place, message).label(capability.kind().means);
    let others: Vec<Place> = places.collect();
    for Place { path, line, column, .. } in others.iter().take(MAX_PLACES) {
        diagnostic = diagnostic.note(format!("also at {path}:{line}:{column}"));
    }
    if others.len() > MAX_PLACES {
        diagnostic = diagnostic.note(format!("and at {} more", others.len() - MAX_PLACES));
    }
    let is_everywhere = nodes.len() == subject.instances.len();
    if !is_everywhere {
        diagnostic = diagnostic.note(format!("on {}, and on no other of its nodes", listed(nodes)));
    }
    for note in near(subject, capability, nodes) {
        diagnostic = diagnostic.note(note);
    }
    let grant = grant(capability, service.as_str(), nodes, is_everywhere);
    match giver(subject, capability) {
        Some(control) => {
            let (path, owner) = (&control.path, control.value.owner.as_deref());
            let owner =
                owner.map_or("which names no owner".to_owned(), |owner| format!("which {owner} owns"));
            diagnostic
                .note(format!("the grant that it would need:\n{grant}"))
                .help(format!("take it out, or have the grant written into {path}, {owner}"))
        }
        None => diagnostic
            .note(format!(
                "the control that it would need, as no control grants anything yet:\ncontrol: capabilities\n\
                 enforcement: strict\n{grant}"
            ))
            .help("take it out, or create controls/capabilities.yaml with this control, which can hold all grants"),
    }
}

/// Where the capability is used, by line.
fn places(subject: &Subject<'_>, capability: &Capability, nodes: &BTreeSet<&NodeName>) -> BTreeSet<Place> {
    let tree = &subject.catalog.tree;
    let mut seen: Vec<&Instance> = Vec::new();
    let mut places = BTreeSet::new();
    for (name, instance) in nodes.iter().filter_map(|name| Some((*name, subject.instances.get(*name)?))) {
        if seen.iter().any(|other| Arc::ptr_eq(&other.rendered, &instance.rendered)) {
            continue;
        }
        seen.push(instance);
        let Some(node) = subject.catalog.nodes.get(name) else { continue };
        let place_of = instance.rendered.places_in(tree);
        for power in instance.rendered.powers.below(subject.catalog.host_port_floor(&node.value)) {
            if power.capability == *capability {
                let keys: Vec<&str> = power.path.iter().map(|key| &**key).collect();
                places.extend(place_of(&keys));
            }
        }
    }
    places
}

/// Grants that would do, but for the day or the node.
fn near(subject: &Subject<'_>, capability: &Capability, nodes: &BTreeSet<&NodeName>) -> Vec<String> {
    let service = &subject.entry.service().service;
    let close = subject.catalog.grants().filter(|given| given.is_for(service) && given.covers(capability));
    let is_here = |given: &Given<'_>| {
        nodes.iter().any(|name| subject.catalog.nodes.get(*name).is_some_and(|node| given.is_on(&node.value)))
    };
    let note = |given: Given<'_>| {
        let path = &given.control.path;
        match (is_here(&given), given.grant.until, &given.grant.nodes) {
            (true, Some(day), _) => Some(format!("{path} granted it until {day}")),
            (false, _, Some(nodes)) => Some(format!("{path} grants it only on nodes with {nodes}")),
            _ => None,
        }
    };
    let mut notes: Vec<String> = close.filter_map(note).collect();
    notes.dedup();
    notes
}

/// The control that is best asked: one that knows of the capability, or else one that grants anything.
fn giver<'a>(subject: &Subject<'a>, capability: &Capability) -> Option<&'a Located<Control>> {
    let service = &subject.entry.service().service;
    let worth = |given: &Given<'_>| (given.covers(capability), given.is_for(service));
    let best = subject
        .catalog
        .grants()
        .reduce(|best, other| if worth(&other) > worth(&best) { other } else { best });
    best.map(|given| given.control)
}

/// The grant, fit to be pasted into a control.
fn grant(capability: &Capability, service: &str, nodes: &BTreeSet<&NodeName>, is_everywhere: bool) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
    let nodes = match is_everywhere {
        true => String::new(),
        false => format!("    nodes: {{node: [{}]}}\n", names.join(", ")),
    };
    let capability = quoted(&capability.to_string());
    format!(
        "grants:\n  - capabilities: [{capability}]\n    services: [{service}]\n{nodes}    reason: say why it needs this"
    )
}

/// As a plain item of a YAML list where it can be one.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte);
    match text.bytes().all(is_plain) && !text.ends_with(':') {
        true => text.to_owned(),
        false => serde_json::to_string(text).expect("a text is always JSON"),
    }
}

/// `node-1`, or `node-1` and 2 more.
fn listed(nodes: &BTreeSet<&NodeName>) -> String {
    let first = nodes.first().map_or(String::new(), |node| format!("`{node}`"));
    match nodes.len() {
        0 | 1 => first,
        more => format!("{first} and {} more", more - 1),
    }
}
