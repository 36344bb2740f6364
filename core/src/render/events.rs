//! Events as lines of text.

use super::{BAD, DIM, inert, painted};
use crate::event::Event;

/// `12  2026-01-01T00:00:00Z  plan.published  edge-1  generation 3: …`
pub fn line(event: &Event) -> String {
    let Event { id, event } = event;
    let about = [
        event.node.as_ref().map(|node| node.as_str().to_owned()),
        event.service.as_ref().map(|service| service.as_str().to_owned()),
        event.revision.as_ref().map(|revision| revision.short().to_owned()),
    ];
    let about: Vec<String> = about.into_iter().flatten().collect();
    let bad = ["failed", "refused", "invalid", "held"].iter().any(|word| event.kind.ends_with(word));
    let kind = if bad { painted(BAD, &event.kind) } else { event.kind.to_string() };
    let at = painted(DIM, &format!("{:.0}", event.at));
    format!("{id}  {at}  {kind}  {}  {}", about.join(" "), inert(&event.message))
}
