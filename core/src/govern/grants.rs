//! Mistakes in grants themselves: what they name, and how long they last.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::Catalog;
use crate::compose::powers::{CapabilityPattern, KINDS, PatternError};
use crate::definition::{Control, Day, Grant, Located};
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::{Step, suggestion};

/// So long before its end a grant is told of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// After so many mistakes in one control people mend those first.
const MAX_OF_A_CONTROL: usize = 100;

/// What is wrong with grants, or soon will be.
pub(super) fn check(catalog: &Catalog, now: Timestamp) -> Vec<Diagnostic> {
    let with_grants = catalog.controls.values().filter(|control| !control.value.grants.is_empty());
    let mut seen = BTreeMap::new();
    with_grants.flat_map(|control| of_control(catalog, control, now, &mut seen)).collect()
}

/// What whole grants say (capabilities, services, nodes), with the file that says it first.
type Seen<'a> = BTreeMap<(BTreeSet<CapabilityPattern>, BTreeSet<Arc<str>>, String), &'a str>;

/// One grant, where it is written.
struct Written<'a> {
    grant: &'a Grant,
    place: &'a dyn Fn(&[Step<'_>]) -> Place,
}

impl Written<'_> {
    fn at(&self, field: &'static str) -> Place {
        (self.place)(&[Step::Key(field)])
    }

    fn item(&self, field: &'static str, number: usize) -> Place {
        (self.place)(&[Step::Key(field), Step::Item(number)])
    }
}

fn of_control<'a>(
    catalog: &Catalog,
    control: &'a Located<Control>,
    now: Timestamp,
    seen: &mut Seen<'a>,
) -> Vec<Diagnostic> {
    let places = catalog.places(control);
    let mut found = Vec::new();
    for (number, grant) in control.value.grants.iter().enumerate() {
        let place = |field: &[Step<'_>]| {
            let grant = [Step::Key("grants"), Step::Item(number)];
            places(&grant.iter().chain(field).copied().collect::<Vec<_>>())
        };
        let written = Written { grant, place: &place };
        if found.len() >= MAX_OF_A_CONTROL {
            break;
        }
        found.extend(capabilities(&written));
        found.extend(services(catalog, &written));
        found.extend(nodes(catalog, &written));
        found.extend(end(&written, now));
        found.extend(again(&written, &control.path, seen));
    }
    found.truncate(MAX_OF_A_CONTROL);
    found
}

fn capabilities(written: &Written<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        empty(written, "capabilities", &written.grant.capabilities).into_iter().collect();
    let mut seen = BTreeSet::new();
    for (number, text) in written.grant.capabilities.iter().enumerate() {
        if found.len() >= MAX_OF_A_CONTROL {
            break;
        }
        let place = || written.item("capabilities", number);
        match CapabilityPattern::parse(text) {
            Err(error) => found.push(unknown(&error, place())),
            Ok(pattern) if !seen.insert(pattern.clone()) => found.push(twice(&pattern.to_string(), place())),
            Ok(_) => {}
        }
    }
    found
}

fn unknown(error: &PatternError, place: Place) -> Diagnostic {
    let diagnostic = Diagnostic::error("unknown-capability", place, error.to_string());
    match error {
        PatternError::Unknown { word } => {
            let words = KINDS.iter().map(|kind| kind.word);
            diagnostic.help(suggestion(
                word,
                words,
                "docs/governance.md lists the capabilities that there are",
            ))
        }
        PatternError::NoPorts { .. } => {
            diagnostic.help("write `host-port:53`, `host-port:50-60` or `host-port:*`")
        }
        PatternError::Incomplete { word, .. } => diagnostic
            .help(format!("name just what is needed: `{word}:…`, with `*` at the end for any ending")),
        PatternError::Overfull { word } => diagnostic.help(format!("write `{word}`")),
    }
}

/// An empty list. One that is not there is told as a missing field.
fn empty<T>(written: &Written<'_>, field: &'static str, list: &[T]) -> Option<Diagnostic> {
    if !list.is_empty() {
        return None;
    }
    let place = Some(written.at(field)).filter(|place| *place != (written.place)(&[]))?;
    let one = if field == "services" { "service" } else { "capability" };
    let message = format!("the grant names no {one}, so it grants nothing");
    let help = format!("name at least one under `{field}`, or take the grant out");
    Some(Diagnostic::error("grant-of-nothing", place, message).help(help))
}

fn twice(name: &str, place: Place) -> Diagnostic {
    Diagnostic::error("named-twice", place, format!("`{name}` is named twice")).help("name it once")
}

fn services(catalog: &Catalog, written: &Written<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        empty(written, "services", &written.grant.services).into_iter().collect();
    let mut seen = BTreeSet::new();
    for (number, name) in written.grant.services.iter().enumerate() {
        if found.len() >= MAX_OF_A_CONTROL {
            break;
        }
        let place = || written.item("services", number);
        if !seen.insert(name) {
            found.push(twice(name, place()));
        } else if &**name != "*" && !is_there(catalog, name) {
            let known = catalog.services.keys().map(|name| name.as_str());
            let otherwise = "name one that is in services/, or take it out; `*` stands for all";
            let message = format!("there is no service `{name}`");
            let diagnostic = Diagnostic::error("unknown-service", place(), message);
            found.push(diagnostic.help(suggestion(name, known, otherwise)));
        }
    }
    found
}

/// Whether there is such a service, or a folder for it whose own mistakes are told.
fn is_there(catalog: &Catalog, name: &str) -> bool {
    let folder = format!("services/{name}");
    catalog.services.contains_key(name) || !name.contains('/') && catalog.tree.is_folder(&folder)
}

/// A selector that fits no node.
fn nodes(catalog: &Catalog, written: &Written<'_>) -> Option<Diagnostic> {
    let nodes = written.grant.nodes.as_ref()?;
    if nodes.is_empty() {
        let message = "`nodes` names no label, so the grant holds on no node";
        let help = "name a label, or take `nodes` out: then the grant holds on all nodes";
        return Some(Diagnostic::error("empty-selector", written.at("nodes"), message).help(help));
    }
    let fits = catalog.nodes.values().any(|node| nodes.matches(|label| node.value.label(label)));
    let message = format!("no node has {nodes}, so the grant holds on no node");
    let help = "name labels of nodes/, or take the grant out";
    (!fits && !catalog.nodes.is_empty())
        .then(|| Diagnostic::warning("selects-nothing", written.at("nodes"), message).help(help))
}

fn end(written: &Written<'_>, now: Timestamp) -> Option<Diagnostic> {
    let day = written.grant.until?;
    let place = || written.at("until");
    if day.end() <= now {
        let message = format!("the grant ended with {day}, and grants nothing any more");
        let help = "take it out, or give it a later day if it is still needed";
        return Some(Diagnostic::warning("grant-expired", place(), message).help(help));
    }
    let left = day.end().duration_since(now);
    let help = "ask whether it is still needed; if so, give it a later day";
    let soon =
        (left <= SOON).then(|| Diagnostic::warning("grant-expires", place(), ends(day, left)).help(help))?;
    Some(
        soon.note("what runs then goes on running; nothing that needs it can be changed or started any more"),
    )
}

fn ends(day: Day, left: SignedDuration) -> String {
    match (left.as_secs() - 1) / 86_400 {
        0 => format!("the grant ends with {day}, which is today"),
        1 => format!("the grant ends with {day}, which is tomorrow"),
        days => format!("the grant ends with {day}, in {days} days"),
    }
}

/// A grant that says what one before it says, whatever its end and its reason.
fn again<'a>(written: &Written<'_>, path: &'a str, seen: &mut Seen<'a>) -> Option<Diagnostic> {
    let Grant { capabilities, services, nodes, .. } = written.grant;
    let patterns = capabilities.iter().filter_map(|text| CapabilityPattern::parse(text).ok()).collect();
    let nodes = nodes.as_ref().map(ToString::to_string).unwrap_or_default();
    let before = match seen.entry((patterns, services.iter().cloned().collect(), nodes)) {
        Entry::Vacant(entry) => {
            entry.insert(path);
            return None;
        }
        Entry::Occupied(entry) => *entry.get(),
    };
    let message = format!("the same is granted in {before} already");
    let help = "keep one of the two: the one that lasts longer counts";
    Some(Diagnostic::warning("granted-twice", (written.place)(&[]), message).help(help))
}
