//! The finding about a control that a service does not meet: one for the service, whatever the number of its nodes, with a
//! line for each thing that is asked for.

use std::collections::BTreeMap;

use super::super::Subject;
use super::{Ask, Outcome, Spot, Standing, What};
use crate::catalog::By;
use crate::condition::Failure;
use crate::definition::{Approval, Enforcement, Level, Rule};
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::name::NodeName;
use crate::usage::Lack;
use crate::yaml::Step;

/// All that is to be said of a service and a control.
pub(super) fn of(subject: &Subject<'_>, standing: &Standing<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        standing.asks.iter().filter_map(|ask| failed(subject, standing, ask)).collect();
    found.extend(not_met(subject, standing));
    found.extend(standing.asks.iter().filter_map(|ask| approved(subject, standing, ask)));
    found
}

/// The service does not meet the control.
fn not_met(subject: &Subject<'_>, standing: &Standing<'_>) -> Option<Diagnostic> {
    let severity = standing.asks.iter().filter_map(|ask| severity(standing, ask)).min()?;
    let missing: Vec<&Ask<'_>> = standing.asks.iter().filter(|ask| is_missing(ask)).collect();
    let (name, service) = (standing.name(), &subject.entry.service().service);
    let answer = standing.answer().as_str();
    let message =
        format!("control `{name}` ({}) is {answer} by service `{service}`", heaviest(standing).as_str());
    let diagnostic = Diagnostic::new(severity, "control-not-satisfied", place(subject, standing), message);
    let diagnostic = lines(standing).into_iter().fold(diagnostic.label(label(&missing)), Diagnostic::note);
    let diagnostic = why(subject, standing).into_iter().fold(diagnostic, Diagnostic::note);
    Some(match fixes(subject, standing).as_slice() {
        [] => diagnostic,
        fixes => diagnostic.help(fixes.join("; ")),
    })
}

/// What a missing thing weighs; none where nothing is missing that a finding is made for. Optional features are told, never
/// enforced; a rule that cannot be read is a mistake of its own.
fn severity(standing: &Standing<'_>, ask: &Ask<'_>) -> Option<Severity> {
    if !is_missing(ask) {
        return None;
    }
    let missing = ask.outcomes.iter().zip(&standing.spots).filter(|(outcome, _)| !outcome.is_met());
    missing
        .map(|(outcome, spot)| match (outcome, ask.what) {
            (outcome, _) if outcome.is_unanswered() => Severity::Error,
            (_, What::Rule(Rule { level: Level::Warn, .. })) => Severity::Warning,
            (_, What::Rule(_)) => Severity::Error,
            _ => spot.enforcement.severity(),
        })
        .min()
}

/// Whether something of this is missing that a finding is made for.
fn is_missing(ask: &Ask<'_>) -> bool {
    let counts = |outcome: &Outcome<'_>| !outcome.is_met() && !matches!(outcome, Outcome::Unread(_));
    !matches!(ask.what, What::Optional(_)) && ask.outcomes.iter().any(counts)
}

fn heaviest(standing: &Standing<'_>) -> Enforcement {
    let weights = standing.spots.iter().map(|spot| spot.enforcement);
    weights.min().unwrap_or(standing.control.value.enforcement)
}

fn label(missing: &[&Ask<'_>]) -> String {
    let Some(first) = missing.first() else { return String::new() };
    let what = match first.what {
        What::Required(feature) | What::Optional(feature) => format!("requires feature `{feature}`"),
        What::Rule(rule) => format!("rule `{}` is not kept", rule.id),
    };
    match missing.len() - 1 {
        0 => what,
        more => format!("{what}, and {more} more"),
    }
}

/// Where it is asked for: in the service, in the defaults, or in the control.
fn place(subject: &Subject<'_>, standing: &Standing<'_>) -> Place {
    let Subject { catalog, entry, .. } = *subject;
    match (standing.asked.by, standing.spots.first()) {
        (By::List(index), Some(spot)) => catalog.item_place(entry, spot.deployment, "controls", index),
        _ => {
            let root = catalog.controls.get(standing.asked.root).unwrap_or(standing.control);
            catalog.place(root, &[Step::Key("applies_to")])
        }
    }
}

/// Why the service must meet the control, where that is not plain from the place.
fn why(subject: &Subject<'_>, standing: &Standing<'_>) -> Vec<String> {
    let asked = standing.asked;
    let mut why = Vec::new();
    if asked.root != asked.control {
        why.push(format!("it is asked for because `{}` depends on it", asked.root));
    }
    let root = subject.catalog.controls.get(asked.root);
    if let (By::Labels, Some(selector)) = (asked.by, root.and_then(|root| root.value.applies_to.as_ref())) {
        why.push(format!("`{}` applies to services with {selector}", asked.root));
    }
    why
}

/// A line for each thing that is asked for; several where it stands differently on different nodes.
pub(super) fn lines(standing: &Standing<'_>) -> Vec<String> {
    standing.asks.iter().flat_map(|ask| ask_lines(standing, ask)).collect()
}

fn ask_lines(standing: &Standing<'_>, ask: &Ask<'_>) -> Vec<String> {
    let mut groups: Vec<(&Outcome<'_>, Vec<&Spot<'_>>)> = Vec::new();
    for (outcome, spot) in ask.outcomes.iter().zip(&standing.spots) {
        match groups.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, spots)) => spots.push(spot),
            None => groups.push((outcome, vec![spot])),
        }
    }
    let is_everywhere = groups.len() == 1;
    let name = name(ask.what);
    groups
        .into_iter()
        .map(|(outcome, spots)| {
            let nodes = if is_everywhere && !names_node(outcome) { String::new() } else { nodes(&spots) };
            format!("{} {name}   {}{nodes}", mark(ask.what, outcome), told(ask.what, outcome))
        })
        .collect()
}

/// What is good to have and not there is no failure.
fn mark(what: What<'_>, outcome: &Outcome<'_>) -> char {
    match (what, outcome) {
        (_, Outcome::Unknown) => '–',
        (_, outcome) if outcome.is_met() => '✓',
        (What::Optional(_), _) => '–',
        _ => '✗',
    }
}

fn name(what: What<'_>) -> String {
    match what {
        What::Required(feature) => feature.to_string(),
        What::Optional(feature) => format!("{feature} (optional)"),
        What::Rule(rule) => format!("{} ({})", rule.id, rule.level.as_str()),
    }
}

/// How a thing stands, in words.
pub(super) fn told(what: What<'_>, outcome: &Outcome<'_>) -> String {
    let message = match what {
        What::Rule(rule) => rule.message.as_str(),
        _ => "",
    };
    match outcome {
        Outcome::Met if matches!(what, What::Rule(_)) => "holds".into(),
        Outcome::Met => "used, available".into(),
        Outcome::NotUsed => "available, but not used by this service".into(),
        Outcome::Unavailable { is_used: true, lack } => {
            format!("used, but not available: {}", obstacle(lack))
        }
        Outcome::Unavailable { is_used: false, lack } => {
            format!("not available, and not used by this service: {}", obstacle(lack))
        }
        Outcome::Broken => message.to_owned(),
        Outcome::Approved(approval) => {
            format!("does not hold, and need not{}: {}", until(approval), approval.reason)
        }
        Outcome::Failed(failure) => format!("cannot be evaluated, which counts as denied: {failure}"),
        Outcome::Unread(mistake) => format!("cannot be read, which counts as denied: {mistake}"),
        Outcome::Unknown => "not known: the service runs on no node".into(),
    }
}

fn obstacle(lack: &Lack) -> String {
    match lack {
        Lack::State(state) => format!("the feature is {}", state.as_str()),
        lack => format!("the node {lack}"),
    }
}

/// Whether what is said of it is said of a node.
fn names_node(outcome: &Outcome<'_>) -> bool {
    matches!(outcome, Outcome::Unavailable { lack, .. } if !matches!(lack, Lack::State(_)))
}

fn until(approval: &Approval) -> String {
    approval.until.map_or_else(String::new, |day| format!(" until {day}"))
}

/// ` (on edge-1 and 2 more)`.
fn nodes(spots: &[&Spot<'_>]) -> String {
    let mut names = spots.iter().filter_map(|spot| spot.node);
    let Some(first) = names.next() else { return String::new() };
    match names.count() {
        0 => format!(" (on {first})"),
        more => format!(" (on {first} and {more} more)"),
    }
}

/// What to do, each thing once, in order.
pub(super) fn fixes(subject: &Subject<'_>, standing: &Standing<'_>) -> Vec<String> {
    let is_not_used =
        |ask: &&Ask<'_>| matches!(ask.what, What::Required(_)) && ask.outcomes.contains(&Outcome::NotUsed);
    let unused = standing.asks.iter().filter(is_not_used).filter_map(|ask| match ask.what {
        What::Required(feature) => Some(format!("`{feature}`")),
        _ => None,
    });
    let unused: Vec<String> = unused.collect();
    let mut fixes = Vec::new();
    if !unused.is_empty() {
        fixes.push(format!("add {} to `features:` in {}", unused.join(" and "), subject.entry.path()));
    }
    for ask in standing.asks.iter().filter(|ask| is_missing(ask)) {
        fixes.extend(lacking(standing, ask).into_iter().filter_map(|(node, lack)| mend(subject, node, lack)));
        if let What::Rule(rule) = ask.what {
            fixes.extend(rule_fix(standing, ask, rule));
        }
    }
    fixes
}

/// The first node that lacks something of a feature.
fn lacking<'s>(standing: &'s Standing<'_>, ask: &'s Ask<'_>) -> Option<(&'s NodeName, &'s Lack)> {
    ask.outcomes.iter().zip(&standing.spots).find_map(|(outcome, spot)| match outcome {
        Outcome::Unavailable { lack, .. } => Some((spot.node?, lack)),
        _ => None,
    })
}

fn mend(subject: &Subject<'_>, node: &NodeName, lack: &Lack) -> Option<String> {
    let path = &subject.catalog.nodes.get(node)?.path;
    Some(format!(
        "once the node has it, write {} in {path}, or run the service on nodes that have it",
        lack.mend()?
    ))
}

fn rule_fix(standing: &Standing<'_>, ask: &Ask<'_>, rule: &Rule) -> Option<String> {
    let is_broken = ask.outcomes.contains(&Outcome::Broken);
    let written = rule.fix.as_ref().filter(|_| is_broken).map(|fix| fix.trim().to_owned());
    let approval = (is_broken && rule.level == Level::RequireApproval).then(|| {
        let owner = standing
            .control
            .value
            .owner
            .as_ref()
            .map_or("its owner".to_owned(), |owner| format!("`{owner}`"));
        format!(
            "or ask {owner} for an approval of rule `{}` under `approvals:` in {}",
            rule.id, standing.control.path
        )
    });
    match (written, approval) {
        (Some(fix), Some(approval)) => Some(format!("{fix}, {approval}")),
        (None, Some(approval)) => approval.strip_prefix("or ").map(str::to_owned),
        (fix, None) => fix,
    }
}

/// A rule that has no answer for the service: at the rule.
fn failed(subject: &Subject<'_>, standing: &Standing<'_>, ask: &Ask<'_>) -> Option<Diagnostic> {
    let What::Rule(rule) = ask.what else { return None };
    let failures = ask.outcomes.iter().zip(&standing.spots).filter_map(|(outcome, spot)| match outcome {
        Outcome::Failed(failure) => Some((failure, spot)),
        _ => None,
    });
    let mut by_failure: BTreeMap<String, Vec<&Spot<'_>>> = BTreeMap::new();
    let mut first = None;
    for (failure, spot) in failures {
        first.get_or_insert(failure);
        by_failure.entry(failure.to_string()).or_default().push(spot);
    }
    let first = first?;
    let index = standing.control.value.rules.iter().position(|one| std::ptr::eq(one, rule))?;
    let place = subject
        .catalog
        .place(standing.control, &[Step::Key("rules"), Step::Item(index), Step::Key("expression")]);
    let service = &subject.entry.service().service;
    let message =
        format!("rule `{}` of control `{}` has no answer for service `{service}`", rule.id, standing.name());
    let diagnostic = Diagnostic::error("rule-failed", place, message).label(first.to_string());
    let is_everywhere = by_failure.values().next().is_some_and(|spots| spots.len() == standing.spots.len());
    let told = by_failure.iter().filter(|_| !is_everywhere);
    let told = told.map(|(failure, spots)| format!("{failure}{}", nodes(spots)));
    let diagnostic = told.fold(diagnostic, Diagnostic::note);
    Some(diagnostic.note("what has no answer counts as denied").help(failure_help(first)))
}

fn failure_help(failure: &Failure) -> String {
    match failure {
        Failure::NoKey(key) => format!("ask whether it is there first: `has(….{key}) && …`"),
        Failure::NoSuchKey => "ask whether it is there first: `KEY in … && …`".into(),
        Failure::NoItem => "ask for the size of the list first: `size(…) > …`".into(),
        Failure::OverBudget => "look at less: name the containers or fields that matter".into(),
        Failure::NotBool(_) => "compare it with something, so that the answer is true or false".into(),
        _ => "`docs/governance.md` says of what type each value is".into(),
    }
}

/// A rule that need not be kept is recorded.
fn approved(subject: &Subject<'_>, standing: &Standing<'_>, ask: &Ask<'_>) -> Option<Diagnostic> {
    let What::Rule(rule) = ask.what else { return None };
    let approval = ask.outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Approved(approval) => Some(*approval),
        _ => None,
    })?;
    let service = &subject.entry.service().service;
    let message =
        format!("service `{service}` need not keep rule `{}` of control `{}`", rule.id, standing.name());
    let diagnostic = Diagnostic::info("rule-approved", place(subject, standing), message);
    let end = approval.until.map_or("it holds on".to_owned(), |day| format!("it ends on {day}"));
    Some(
        diagnostic
            .note(&*rule.message)
            .note(format!("approved in {}: {}", standing.control.path, approval.reason))
            .note(end),
    )
}
