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
/// After so many findings about one service people mend those first.
const MAX_OF_A_SERVICE: usize = 100;

/// Capabilities without a live grant, each with the nodes where it lacks one.
type Ungranted<'a> = BTreeMap<&'a Capability, BTreeSet<&'a NodeName>>;

/// One finding for each capability that is used without a live grant.
pub(super) fn findings(subject: &Subject<'_>) -> Vec<Diagnostic> {
    if !subject.catalog.knows_grants() {
        return Vec::new();
    }
    let mut ungranted = Ungranted::new();
    for (node, instance) in subject.instances {
        let open = instance.capabilities.iter().filter(|used| !used.is_granted(subject.now));
        open.for_each(|used| _ = ungranted.entry(&used.capability).or_default().insert(node));
    }
    let told: Ungranted<'_> = ungranted.into_iter().take(MAX_OF_A_SERVICE).collect();
    let mut places = places(subject, &told);
    told.iter()
        .map(|(capability, nodes)| {
            finding(subject, capability, nodes, places.remove(capability).unwrap_or_default())
        })
        .collect()
}

/// Where each capability is used, by line, as the service is rendered for the first of the nodes. A file is read once for
/// all the capabilities that a render uses.
fn places<'a>(subject: &Subject<'_>, ungranted: &Ungranted<'a>) -> BTreeMap<&'a Capability, BTreeSet<Place>> {
    let Subject { catalog, instances, .. } = *subject;
    let mut by_render: BTreeMap<_, Vec<(&Capability, &Instance, &NodeName)>> = BTreeMap::new();
    for (capability, nodes) in ungranted {
        let first = nodes.first().and_then(|node| Some((*node, instances.get(*node)?)));
        if let Some((node, instance)) = first {
            by_render.entry(Arc::as_ptr(&instance.rendered)).or_default().push((capability, instance, node));
        }
    }
    let mut places = BTreeMap::new();
    for uses in by_render.values() {
        let Some((_, instance, _)) = uses.first() else { continue };
        let place_of = instance.rendered.places_in(&catalog.tree);
        for (capability, instance, node) in uses {
            let Some(node) = catalog.nodes.get(*node) else { continue };
            let floor = catalog.host_port_floor(&node.value);
            let fields = instance.rendered.powers.fields_of(capability, floor).take(MAX_PLACES);
            let keys = |path: Vec<Arc<str>>| place_of(&path.iter().map(|key| &**key).collect::<Vec<_>>());
            places.insert(*capability, fields.filter_map(keys).collect());
        }
    }
    places
}

fn finding(
    subject: &Subject<'_>,
    capability: &Capability,
    nodes: &BTreeSet<&NodeName>,
    places: BTreeSet<Place>,
) -> Diagnostic {
    let service = &subject.entry.service().service;
    let severity = if subject.catalog.denies_capabilities() { Severity::Error } else { Severity::Warning };
    let mut places = places.into_iter();
    let place = places.next().unwrap_or_else(|| Place::file(subject.entry.path().clone()));
    let message =
        format!("service `{service}` uses the capability `{capability}`, which nothing grants to it");
    let mut diagnostic =
        Diagnostic::new(severity, "capability-not-granted", place, message).label(capability.kind().means);
    for Place { path, line, column, .. } in places {
        diagnostic = diagnostic.note(format!("also at {path}:{line}:{column}"));
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
    let capability = quoted(capability.as_str());
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
