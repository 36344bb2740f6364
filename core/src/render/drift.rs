//! How the fleet stands to its plans, as text and as Markdown.

use anstyle::Style;
use jiff::{SignedDuration, Timestamp};

use super::markdown::code;
use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted, span};
use crate::fleet::drift::{Difference, Drift, DriftState, InstanceDrift, NodeDrift, Summary};
use crate::status::Orphan;

/// The whole of it, ending in its summary line.
pub fn text(drift: &Drift) -> String {
    let mut text = String::new();
    for node in drift.nodes.iter().filter(|node| has_something(node)) {
        text.push_str(&format!("{}  {}\n", painted(BOLD, node.node.as_str()), painted(DIM, &age(node))));
        node.instances.iter().for_each(|instance| text.push_str(&instance_text(instance)));
        text.push_str(&orphans_text(node));
        text.push('\n');
    }
    text + &format!("{}\n{}", summary(drift), newest(drift).map(|line| line + "\n").unwrap_or_default())
}

fn has_something(node: &NodeDrift) -> bool {
    !node.instances.is_empty() || !node.orphans.is_empty()
}

/// `reported 4s ago`
fn age(node: &NodeDrift) -> String {
    let age = node.age_seconds.map(|seconds| span(SignedDuration::from_secs(seconds.cast_signed())));
    match (age, node.is_believed) {
        (Some(age), true) => format!("reported {age} ago"),
        (Some(age), false) => format!("last heard {age} ago, too long to say how it stands"),
        (None, _) => "never heard".to_owned(),
    }
}

fn word(state: DriftState) -> (&'static str, &'static str, Style) {
    match state {
        DriftState::Pending => ("…", "pending", WARN),
        DriftState::Differs => ("~", "differs", BAD),
        DriftState::Unknown => ("?", "unknown", WARN),
        DriftState::Orphan => ("!", "orphan", WARN),
        DriftState::Corrected => ("✓", "corrected", GOOD),
    }
}

/// What stands beside the word: what it waits on, and of an orphan that it is left alone.
fn remark(instance: &InstanceDrift) -> Option<String> {
    let said = instance.message.as_deref().and_then(|message| message.lines().next()).map(inert);
    match instance.state {
        DriftState::Orphan => Some("is in no plan; it is left alone".to_owned()),
        _ => said,
    }
}

fn instance_text(instance: &InstanceDrift) -> String {
    let (sign, word, style) = word(instance.state);
    let remark = remark(instance).map(|remark| format!(": {remark}")).unwrap_or_default();
    let head = painted(style, &format!("{sign} {word} {}", instance.service));
    let mut text = format!("  {head}{remark}\n");
    for difference in &instance.differences {
        let Difference { container, field, .. } = difference;
        let (wanted, found) = sides(difference);
        let (container, field, agent) = (inert(container), inert(field), by_agent(difference));
        text.push_str(&format!("      {container} {field}: wanted {wanted}, found {found}{agent}\n"));
    }
    text
}

fn sides(difference: &Difference) -> (String, String) {
    let side = |value: &Option<std::sync::Arc<str>>| value.as_deref().map_or("none".to_owned(), inert);
    (side(&difference.wanted), side(&difference.found))
}

/// `, by docker update, since 2026-07-01T10:00:00Z: corrected`, as far as it is known.
fn by_agent(difference: &Difference) -> String {
    let by = difference.by.as_deref().map(|by| format!(", by {}", inert(by)));
    let since = difference.since.map(|since| format!(", {}", at(since)));
    let outcome = difference.outcome.map(|outcome| format!(": {}", outcome.words()));
    [by, since, outcome].into_iter().flatten().collect()
}

/// In whole seconds.
fn at(time: Timestamp) -> String {
    let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
    format!("since {second}")
}

/// A difference that an agent tells, in one line.
pub(super) fn told(difference: &Difference) -> String {
    let since = difference.since.map(|since| format!(", {}", at(since))).unwrap_or_default();
    let outcome = difference.outcome.map(|outcome| format!(": {}", outcome.words())).unwrap_or_default();
    difference.line() + &since + &outcome
}

fn orphans_text(node: &NodeDrift) -> String {
    let orphan = |orphan: &Orphan| format!("      {}\n", inert(&orphan_words(orphan)));
    let lines: String = node.orphans.containers.iter().map(orphan).collect();
    orphans_head(node)
        .map(|head| format!("  {}\n{lines}", painted(WARN, &format!("! {head}"))))
        .unwrap_or_default()
}

/// `2 containers that no plan made, left alone`
fn orphans_head(node: &NodeDrift) -> Option<String> {
    let named = node.orphans.containers.len();
    let all = usize::try_from(node.orphans.count).unwrap_or(usize::MAX);
    let head = format!("{} that no plan made, left alone", count(all, "container"));
    let first = if named < all { format!(" (the first {named})") } else { String::new() };
    (all > 0).then(|| head + &first)
}

/// `db (postgres:17, running, Compose project shop)`
fn orphan_words(orphan: &Orphan) -> String {
    let Orphan { name, image, state, project } = orphan;
    let state = format!("{state:?}").to_lowercase();
    let project = project.as_ref().map(|project| format!(", Compose project {project}")).unwrap_or_default();
    format!("{name} ({image}, {state}{project})")
}

/// `Drift: 1 differs, 2 pending, 0 unknown, 1 orphan, 37 in sync, over 3 nodes, at 0123456789ab`
fn summary(drift: &Drift) -> String {
    let Summary { in_sync, pending, differs, unknown, orphans, corrected } = drift.summary;
    let corrected =
        if corrected > 0 { format!(" ({corrected} corrected within the hour)") } else { String::new() };
    let nodes = count(drift.nodes.len(), "node");
    let orphans = count(orphans, "orphan");
    let deployed =
        drift.revision.as_ref().map_or("nothing deployed".to_owned(), |at| format!("at {}", at.short()));
    let line = format!(
        "Drift: {differs} differ, {pending} pending, {unknown} unknown, {orphans}, {in_sync} in sync{corrected}, over {nodes}, {deployed}"
    );
    if drift.is_empty() { painted(GOOD, &line) } else { line }
}

fn newest(drift: &Drift) -> Option<String> {
    let newest = drift.newest.as_ref()?.short();
    Some(format!("The newest commit {newest} is not deployed: `gitops status` says why."))
}

/// A table, and under it what is not in sync, for a comment or a page.
pub fn markdown(drift: &Drift) -> String {
    let Summary { in_sync, pending, differs, unknown, orphans, corrected: _ } = drift.summary;
    let mut text = format!(
        "| differ | pending | unknown | orphans | in sync |\n|---|---|---|---|---|\n\
         | {differs} | {pending} | {unknown} | {orphans} | {in_sync} |\n"
    );
    let mut left_out = 0;
    for node in drift.nodes.iter().filter(|node| has_something(node)) {
        let section = node_markdown(node);
        // Room for the last line.
        match text.len() + section.len() < MAX_MARKDOWN - 200 {
            true if left_out == 0 => text.push_str(&section),
            _ => left_out += 1,
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\nLeft out for want of room: {}.\n", count(left_out, "node")));
    }
    text.push_str(&newest(drift).map(|line| format!("\n{line}\n")).unwrap_or_default());
    text
}

/// Bytes that forges take in a comment, with some to spare.
const MAX_MARKDOWN: usize = 60_000;

fn node_markdown(node: &NodeDrift) -> String {
    let mut text = format!("\n**{}** ({})\n\n", node.node, age(node));
    for instance in &node.instances {
        let (_, word, _) = word(instance.state);
        let remark = remark(instance).map(|remark| format!(": {}", code(&remark))).unwrap_or_default();
        text.push_str(&format!("- `{}` {word}{remark}\n", instance.service));
        for difference in &instance.differences {
            let Difference { container, field, .. } = difference;
            let (wanted, found) = sides(difference);
            let [container, field, wanted, found] = [&**container, &**field, &wanted, &found].map(code);
            let agent = Some(by_agent(difference)).filter(|agent| !agent.is_empty());
            let agent = agent
                .map(|agent| code(agent.trim_start_matches([',', ':', ' '])))
                .map(|agent| format!(", {agent}"));
            let agent = agent.unwrap_or_default();
            text.push_str(&format!("  - {container} {field}: wanted {wanted}, found {found}{agent}\n"));
        }
    }
    if let Some(head) = orphans_head(node) {
        text.push_str(&format!("- {head}\n"));
        let lines =
            node.orphans.containers.iter().map(|orphan| format!("  - {}\n", code(&orphan_words(orphan))));
        text.extend(lines);
    }
    text
}

#[cfg(test)]
mod tests;
