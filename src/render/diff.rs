//! A diff as text: per node and service what changes, why, and what that does to running containers.

use std::collections::BTreeSet;

use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted};
use crate::diff::{Change, ChangeKind, Diff, Effect, NewCapability};
use crate::plan::Reason;

/// The whole diff, ending in its summary line.
pub fn text(diff: &Diff) -> String {
    let mut text = String::new();
    let mut node = None;
    for change in &diff.changes {
        if node != Some(&change.node) {
            let gap = if node.is_some() { "\n" } else { "" };
            text.push_str(&format!("{gap}{}\n", painted(BOLD, change.node.as_str())));
            node = Some(&change.node);
        }
        text.push_str(&change_text(change));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text + &summary(diff) + "\n"
}

/// `Plan: 2 to create, 1 to update, 0 to remove, 37 unchanged, over 3 nodes`.
pub fn summary(diff: &Diff) -> String {
    let number = |kind| diff.changes.iter().filter(|change| change.kind == kind).count();
    let nodes: BTreeSet<_> = diff.changes.iter().map(|change| &change.node).collect();
    format!(
        "Plan: {} to create, {} to update, {} to remove, {} unchanged, over {}",
        number(ChangeKind::Create),
        number(ChangeKind::Update),
        number(ChangeKind::Remove),
        diff.unchanged,
        count(nodes.len(), "node"),
    )
}

fn change_text(change: &Change) -> String {
    let (sign, word, style) = match change.kind {
        ChangeKind::Create => ("+", "create", GOOD),
        ChangeKind::Update => ("~", "update", WARN),
        ChangeKind::Remove => ("-", "remove", BAD),
    };
    let mut text = format!("  {}\n", painted(style, &format!("{sign} {word} {}", change.service)));
    for capability in &change.capabilities {
        text.push_str(&format!("      {}\n", painted(BAD.bold(), &capability_text(capability))));
    }
    for reason in &change.because {
        text.push_str(&format!("      {}\n", reason_text(reason)));
    }
    text.push_str(&effects_text(change));
    text
}

/// `services.app.image: nginx:1.27 → nginx:1.28   services/web/compose.yaml:4`
pub fn reason_text(reason: &Reason) -> String {
    let value = |value: &Option<_>| {
        value.as_ref().map_or("(none)".to_owned(), |value: &std::sync::Arc<str>| inert(value))
    };
    let source = reason.source.as_deref().map(|source| painted(DIM, &format!("   {}", inert(source))));
    let (old, new) = (value(&reason.old), value(&reason.new));
    format!("{}: {old} → {new}{}", inert(&reason.field), source.unwrap_or_default())
}

/// `! uses capability docker-socket (granted by controls/edge.yaml: reads container events, until 2027-01-31)`
fn capability_text(new: &NewCapability) -> String {
    let until = new.until.as_ref().map(|day| format!(", until {day}")).unwrap_or_default();
    let reason = new.reason.as_deref().unwrap_or_default();
    let grant = match &new.granted_by {
        Some(path) => format!("granted by {}: {}{until}", inert(path), inert(reason)),
        None => "not granted".to_owned(),
    };
    format!("! uses capability {} ({grant})", inert(&new.capability))
}

fn effects_text(change: &Change) -> String {
    let mut text = String::new();
    for (container, effect) in &change.effects {
        let (words, style) = match effect {
            Effect::Create => ("is created", GOOD),
            Effect::Recreate => ("is recreated", WARN),
            Effect::Restart => ("is restarted", WARN),
            Effect::Scale => ("changes its number of containers", WARN),
            Effect::Switch => ("is started or stopped", WARN),
            Effect::Remove => ("is removed", BAD),
        };
        text.push_str(&format!(
            "      {}\n",
            painted(style, &format!("container {} {words}", inert(container)))
        ));
    }
    if change.kind == ChangeKind::Update && change.effects.is_empty() {
        text.push_str(&format!("      {}\n", painted(DIM, "no container is touched")));
    }
    if change.kind == ChangeKind::Remove {
        text.push_str(&format!("      {}\n", painted(DIM, "its volumes stay")));
    }
    text
}
