//! Mistakes in controls themselves, whoever must meet them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::is_live;
use crate::catalog::{Catalog, MAX_OF_A_KIND};
use crate::condition::Mistake;
use crate::definition::{Approval, Control, Level, Located};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, ServiceName};
use crate::yaml::{Step, suggestion};

/// What is wrong with the controls.
pub(in super::super) fn check_ground(catalog: &Catalog, now: Timestamp) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        catalog.controls.iter().flat_map(|(name, control)| check(catalog, name, control, now)).collect();
    found.extend(circles(catalog));
    found
}

fn check(
    catalog: &Catalog,
    name: &ControlName,
    control: &Located<Control>,
    now: Timestamp,
) -> Vec<Diagnostic> {
    let place_of = catalog.places(control);
    let mut found = rules(catalog, name, control, &place_of);
    found.extend(applies_to(catalog, name, control));
    let approvals = control.value.approvals.iter().enumerate();
    let mistakes = approvals
        .flat_map(|(index, approval)| check_approval(catalog, control, (index, approval), now, &place_of));
    found.extend(mistakes.take(MAX_OF_A_KIND));
    found
}

/// Where a field of a control stands.
type PlaceOf<'a> = &'a dyn Fn(&[Step<'_>]) -> Place;

fn rules(
    catalog: &Catalog,
    name: &ControlName,
    control: &Located<Control>,
    place_of: PlaceOf<'_>,
) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = too_many(name, control, place_of).into_iter().collect();
    let mut seen: BTreeSet<&Arc<str>> = BTreeSet::new();
    let read = control.value.rules.iter().zip(catalog.rules(name)).take(Control::MAX_RULES);
    for (index, (rule, read)) in read.enumerate() {
        let place = |field| place_of(&[Step::Key("rules"), Step::Item(index), Step::Key(field)]);
        if rule.id.trim().is_empty() {
            let message = format!("a rule of control `{name}` has no name");
            found.push(
                Diagnostic::error("empty-name", place("id"), message)
                    .help("give it one, such as `image-pinned`"),
            );
        } else if !seen.insert(&rule.id) {
            let message = format!("control `{name}` has two rules `{}`", rule.id);
            let diagnostic = Diagnostic::error("named-twice", place("id"), message);
            found.push(diagnostic.help("give one of them another name: approvals name rules"));
        }
        if let Err(mistake) = read {
            let message = format!("rule `{}` of control `{name}` cannot be read", rule.id);
            let diagnostic =
                Diagnostic::error("rule-invalid", place("expression"), message).label(mistake.to_string());
            found.push(diagnostic.note("what cannot be read counts as denied").help(rule_help(mistake)));
        }
    }
    found
}

/// Rules beyond the number that a control may have: they are not looked at.
fn too_many(name: &ControlName, control: &Located<Control>, place_of: PlaceOf<'_>) -> Option<Diagnostic> {
    let count = control.value.rules.len();
    let first = Some(Control::MAX_RULES).filter(|most| count > *most)?;
    let place = place_of(&[Step::Key("rules"), Step::Item(first)]);
    let message = format!("control `{name}` has {count} rules, and at most {first} are allowed");
    let help = "move some of them into another control, and let this one depend on it: `depends_on`";
    Some(Diagnostic::error("too-many-rules", place, message).help(help))
}

fn rule_help(mistake: &Mistake) -> String {
    let otherwise = "`docs/governance.md` shows how a rule is written";
    match mistake {
        Mistake::UnknownVariable { name, .. } => suggestion(name, crate::catalog::VARIABLES, otherwise),
        Mistake::TooLong { .. } | Mistake::TooDeep => "split it into several rules".into(),
        Mistake::Empty => {
            "write what must hold, such as `service.labels.owner != ''`, or remove the rule".into()
        }
        _ => otherwise.into(),
    }
}

fn applies_to(catalog: &Catalog, name: &ControlName, control: &Located<Control>) -> Option<Diagnostic> {
    let selector = control.value.applies_to.as_ref()?;
    let place = || catalog.place(control, &[Step::Key("applies_to")]);
    if selector.is_empty() {
        let message = format!("control `{name}` applies to no service: its selector names no label");
        let help = "name a label that services have, such as `applies_to: {tier: production}`, or remove `applies_to` and \
                    let services name the control under `controls:`; for all services, name it under `[defaults]` in \
                    gitops.toml";
        return Some(Diagnostic::error("empty-selector", place(), message).help(help));
    }
    let fits = |service: &crate::definition::Service| {
        selector.matches(|label| service.labels.get(label).map(|value| &*value.0))
    };
    if catalog.services.values().any(|entry| fits(entry.service())) {
        return None;
    }
    let message = format!("control `{name}` applies to no service: none has {selector}");
    let labels =
        catalog.services.values().flat_map(|entry| entry.service().labels.keys()).map(|label| &**label);
    let known: BTreeSet<&str> = labels.collect();
    let unknown = selector.0.keys().find(|label| !known.contains(&***label));
    let otherwise = "give services that label under `labels:` in service.yaml, or change the selector";
    let help = unknown.map_or(otherwise.to_owned(), |label| suggestion(label, known, otherwise));
    Some(Diagnostic::warning("selector-fits-nothing", place(), message).help(help))
}

fn check_approval(
    catalog: &Catalog,
    control: &Located<Control>,
    (index, approval): (usize, &Approval),
    now: Timestamp,
    place_of: PlaceOf<'_>,
) -> Vec<Diagnostic> {
    let place = |steps: &[Step<'_>]| {
        let start = [Step::Key("approvals"), Step::Item(index)];
        place_of(&start.iter().chain(steps).copied().collect::<Vec<_>>())
    };
    let mut found: Vec<Diagnostic> =
        approved_rule(control, approval, || place(&[Step::Key("rule")])).into_iter().collect();
    if approval.services.is_empty() {
        let diagnostic = Diagnostic::error(
            "empty-list",
            place(&[Step::Key("services")]),
            "an approval that names no service",
        );
        found.push(diagnostic.help("name the services, or remove the approval"));
    }
    let unknown = approval.services.iter().enumerate().filter(|(_, name)| !is_there(catalog, name));
    for (item, service) in unknown.take(MAX_OF_A_KIND) {
        let message = format!("there is no service `{service}`");
        let known = catalog.services.keys().map(ServiceName::as_str);
        let help = suggestion(service.as_str(), known, "remove it: what is gone needs no approval");
        found.push(
            Diagnostic::error("unknown-service", place(&[Step::Key("services"), Step::Item(item)]), message)
                .help(help),
        );
    }
    if let Some(day) = approval.until.filter(|_| !is_live(approval, now)) {
        let message = format!("this approval of rule `{}` ended on {day}", approval.rule);
        let diagnostic = Diagnostic::warning("approval-ended", place(&[Step::Key("until")]), message);
        found.push(diagnostic.help("decide again and write another day, or remove it"));
    }
    found
}

/// A service that is there and could not be read is there.
fn is_there(catalog: &Catalog, name: &ServiceName) -> bool {
    catalog.services.contains_key(name) || catalog.tree.is_folder(&format!("services/{name}"))
}

/// What is wrong with the rule that an approval names.
fn approved_rule(
    control: &Located<Control>,
    approval: &Approval,
    place: impl Fn() -> Place,
) -> Option<Diagnostic> {
    let (name, id) = (&control.value.control, &approval.rule);
    let Some(rule) = control.value.rules.iter().find(|rule| rule.id == *id) else {
        let known = control.value.rules.iter().map(|rule| &*rule.id);
        let help = suggestion(id, known, "name a rule of this control, or remove the approval");
        let message = format!("control `{name}` has no rule `{id}`");
        return Some(Diagnostic::error("unknown-rule", place(), message).help(help));
    };
    match rule.level {
        Level::RequireApproval => None,
        Level::Deny => {
            let message =
                format!("rule `{id}` of control `{name}` is of level `deny`, which nothing overrides");
            let help = "remove this approval; if there must be exceptions, the rule is one of level `require-approval`";
            Some(Diagnostic::error("approval-of-deny", place(), message).help(help))
        }
        Level::Warn => {
            let message = format!("rule `{id}` of control `{name}` only warns, so it needs no approval");
            Some(Diagnostic::warning("approval-needless", place(), message).help("remove it"))
        }
    }
}

/// Controls that depend on each other: each circle once, from the first of it by name.
fn circles(catalog: &Catalog) -> Vec<Diagnostic> {
    catalog.controls.keys().filter_map(|start| circle(catalog, start)).collect()
}

fn circle(catalog: &Catalog, start: &ControlName) -> Option<Diagnostic> {
    let way = way_back(catalog, start)?;
    // The others of the circle find it too.
    if way.iter().any(|(name, _)| *name < start) {
        return None;
    }
    let names: Vec<&str> = way.iter().map(|(name, _)| name.as_str()).collect();
    let (last, item) = way.last()?;
    let place = catalog.place(catalog.controls.get(*last)?, &[Step::Key("depends_on"), Step::Item(*item)]);
    let message = format!("controls depend on each other in a circle: {} → {start}", names.join(" → "));
    Some(Diagnostic::error("control-cycle", place, message).help("remove one of these dependencies"))
}

/// The controls on a shortest way from `start` back to it, each with the item of its `depends_on` that goes on.
fn way_back<'a>(catalog: &'a Catalog, start: &'a ControlName) -> Option<Vec<(&'a ControlName, usize)>> {
    // In the order in which they are met, each with where it was come from and by which item.
    let mut met: Vec<(&ControlName, Option<(usize, usize)>)> = vec![(start, None)];
    let mut next = 0;
    while let Some((name, _)) = met.get(next).copied() {
        let dependencies =
            catalog.controls.get(name).map(|control| &*control.value.depends_on).unwrap_or_default();
        for (item, dependency) in dependencies.iter().enumerate() {
            if dependency == start {
                let mut way = vec![(name, item)];
                let mut from = met[next].1;
                while let Some((position, item)) = from {
                    way.push((met[position].0, item));
                    from = met[position].1;
                }
                way.reverse();
                return Some(way);
            }
            if !met.iter().any(|(known, _)| *known == dependency) {
                met.push((dependency, Some((next, item))));
            }
        }
        next += 1;
    }
    None
}
