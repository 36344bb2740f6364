//! What differs between a plan that people agreed to and the one of now, as text.

use std::sync::Arc;

use super::{BAD, BOLD, WARN, count, inert, painted};
use crate::name::NodeName;
use crate::plan::Reason;
use crate::reconcile::preview::difference::{Difference, Otherwise, Told};

/// Nodes that are named; of more, their number.
const NAMED: usize = 3;
/// Fields that are named.
const FIELDS: usize = 5;

/// All of it.
pub fn text(difference: &Difference) -> String {
    let Difference { asked, now, is_remembered, revision, changes, nodes } = difference;
    let now = now.map_or("none".to_owned(), |now| now.to_string());
    let mut text = format!("asked for  {asked}\nnow        {now}\n");
    if !is_remembered {
        text.push_str("what was asked for is not remembered, so it cannot be said how it differs\n");
    }
    if let Some(revision) = revision {
        text.push_str(&format!("what was asked for is of another commit: {}\n", revision.short()));
    }
    if !changes.is_empty() {
        text.push_str(&format!("\n{}\n", painted(BOLD, "What would be done otherwise than it was shown")));
        changes.iter().for_each(|change| text.push_str(&otherwise(change)));
    }
    if !nodes.is_empty() {
        text.push_str(&format!("\n{}\n", painted(BOLD, "What moved under it")));
        nodes.iter().for_each(|(node, reasons)| text.push_str(&moved(node, reasons)));
    }
    text
}

fn otherwise(change: &Otherwise) -> String {
    let Otherwise { nodes, service, shown, now } = change;
    let (sign, style) = match (shown, now) {
        (None, _) => ("+", WARN),
        (_, None) => ("-", WARN),
        _ => ("~", BAD),
    };
    let head = painted(style, &format!("{sign} {service} on {}", names(nodes)));
    format!("  {head}\n      shown: {}\n      now:   {}\n", told(shown.as_ref()), told(now.as_ref()))
}

fn names(nodes: &[NodeName]) -> String {
    let named: Vec<&str> = nodes.iter().take(NAMED).map(NodeName::as_str).collect();
    match nodes.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn told(told: Option<&Told>) -> String {
    let Some(Told { kind, fields, containers }) = told else { return "nothing".to_owned() };
    let named: Vec<String> = fields.iter().take(FIELDS).map(|field| inert(field)).collect();
    let more = match fields.len().saturating_sub(FIELDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let kind = format!("{kind:?}").to_lowercase();
    let touched = count(*containers, "container");
    match named.is_empty() {
        true => format!("{kind}, {touched} touched"),
        false => format!("{kind}, {touched} touched: {}{more}", named.join(", ")),
    }
}

fn moved(node: &NodeName, reasons: &[Reason]) -> String {
    let side = |value: &Option<Arc<str>>| value.as_deref().map_or("none".to_owned(), inert);
    let line = |Reason { field, old, new, .. }: &Reason| {
        format!("      {}: {} → {}\n", inert(field), side(old), side(new))
    };
    format!("  {node}\n{}", reasons.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests;
