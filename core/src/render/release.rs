//! Releases: in a list, one whole, and why a service is as it is, as text and Markdown.
//!
//! Whoever made a commit wrote its message and its names, so they are made inert here like everything from outside.

use jiff::Timestamp;

use super::diff::{self, reason_text};
use super::markdown::{code, escaped};
use super::table::{Cell, table};
use super::{BAD, BOLD, DIM, GOOD, WARN, count, inert, painted, span};
use crate::diff::{Change, ChangeKind, Summary};
use crate::name::NodeName;
use crate::release::{
    Commit, KeptDiff, PlanRecord, Release, ReleaseEntry, ReleaseView, Signature, SignatureFormat, Standing,
};

/// Releases as a table, the newest first; with what each changed of a service, where that was asked for.
pub fn list(releases: &[ReleaseEntry]) -> String {
    if releases.iter().all(|entry| entry.changes.is_empty()) {
        let rows = releases.iter().map(row).collect();
        return table(["RELEASE", "BEGAN", "STATE", "COMMIT", "AUTHOR", "CHANGES", "SUBJECT"], rows);
    }
    releases.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn row(entry: &ReleaseEntry) -> [Cell; 7] {
    let Release { number, release, .. } = &entry.release;
    let commit = release.commit.as_ref();
    [
        number.to_string().into(),
        moment(release.began_at).into(),
        state(&entry.standing),
        release.revision.short().into(),
        commit.map_or_else(|| "-".to_owned(), |commit| brief(&commit.author, 24)).into(),
        changes(&release.summary).into(),
        commit.map_or_else(String::new, |commit| brief(&commit.subject, 72)).into(),
    ]
}

fn block(entry: &ReleaseEntry) -> String {
    let Release { number, release, .. } = &entry.release;
    let Cell(word, style) = state(&entry.standing);
    let by = release.commit.as_ref().map(|commit| {
        let (author, subject) = (brief(&commit.author, 24), brief(&commit.subject, 72));
        format!("  {author}: {subject}")
    });
    let head = painted(BOLD, &format!("release {number}"));
    let (at, short) = (moment(release.began_at), release.revision.short());
    let head = format!("{head}  {at}  {}  {short}{}\n", painted(style, &word), by.unwrap_or_default());
    head + &entry.changes.iter().map(change).collect::<String>()
}

/// What became of the service, and in which fields.
fn change(change: &Change) -> String {
    let (verb, style) = match change.kind {
        ChangeKind::Create => ("+ create", GOOD),
        ChangeKind::Update => ("~ update", WARN),
        ChangeKind::Recreate => ("± recreate", WARN),
        ChangeKind::Move => ("→ move", WARN),
        ChangeKind::Remove => ("- remove", BAD),
    };
    let mut text = format!("  {} on {}\n", painted(style, verb), some(change.nodes.iter()));
    for reason in &change.because {
        text.push_str(&format!("      {}\n", reason_text(reason)));
    }
    for file in &change.files {
        text.push_str(&format!("      file {}\n", inert(&file.source)));
    }
    text
}

/// Everything about one release.
pub fn text(view: &ReleaseView, width: Option<usize>) -> String {
    let Cell(word, style) = state(&view.standing);
    let number = view.release.number;
    let mut text = format!("{}  {}\n", painted(BOLD, &format!("release {number}")), painted(style, &word));
    for (name, value) in facts(&view.release) {
        text.push_str(&format!("  {}{value}\n", painted(DIM, &format!("{name:<11}"))));
    }
    let nodes: Vec<[Cell; 5]> = view.nodes.iter().map(node_row).collect();
    if !nodes.is_empty() {
        let head = ["NODE", "GENERATION", "PLAN", "PUBLISHED", "ACKNOWLEDGED"];
        text.push_str(&format!("\n{}", table(head, nodes)));
    }
    text.push_str(&format!("\n{}", kept(&view.kept, width)));
    text
}

/// What a release did, as far as it is kept.
pub fn kept(kept: &KeptDiff, width: Option<usize>) -> String {
    let left_out = left_out(kept).map(|line| format!("\n{}\n", painted(WARN, &line)));
    diff::text(&kept.diff, width) + &left_out.unwrap_or_default()
}

/// What is not there for want of room.
pub fn left_out(kept: &KeptDiff) -> Option<String> {
    let parts = [(kept.changes_left_out, "change"), (kept.others_left_out, "other line")];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(*number, noun)).collect();
    (!parts.is_empty())
        .then(|| format!("This release was too large to be kept whole: {} more.", parts.join(" and ")))
}

fn node_row(record: &PlanRecord) -> [Cell; 5] {
    let at = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), moment);
    let acked = match record.acked_at {
        Some(at) => Cell(moment(at), GOOD),
        None => Cell("not yet".to_owned(), WARN),
    };
    let PlanRecord { node, plan, published_at, .. } = record;
    let plan_digest = plan.digest.short().to_owned();
    [
        node.as_str().into(),
        plan.generation.to_string().into(),
        plan_digest.into(),
        at(*published_at).into(),
        acked,
    ]
}

/// The same for a page of a forge.
pub fn markdown(view: &ReleaseView) -> String {
    let Cell(word, _) = state(&view.standing);
    let mut head = format!("**Release {}: {}**\n\n", view.release.number, escaped(&word));
    for (name, value) in facts(&view.release) {
        head.push_str(&format!("- {name}: {}\n", code(&value)));
    }
    head.push_str("\n| node | generation | published | acknowledged |\n|---|---|---|---|\n");
    for record in view.nodes.iter().take(MAX_NODES) {
        let [node, generation, _, published, acked] = node_row(record).map(|Cell(text, _)| text);
        head.push_str(&format!("| `{node}` | {generation} | {published} | {acked} |\n"));
    }
    let more = view.nodes.len().saturating_sub(MAX_NODES);
    if more > 0 {
        head.push_str(&format!("\n… and {}\n", count(more, "more node")));
    }
    head.push_str(&left_out(&view.kept).map(|line| format!("\n{line}\n")).unwrap_or_default());
    diff::markdown_under(&format!("{head}\n"), &view.kept.diff)
}

/// Rows of the table of nodes on a page: enough to see how it goes.
const MAX_NODES: usize = 50;

/// What is known of a release, by name.
fn facts(release: &Release) -> Vec<(&'static str, String)> {
    let Release { release, finished_at, .. } = release;
    let mut facts = vec![("commit", release.revision.to_string())];
    if let Some(commit) = &release.commit {
        facts.extend(commit_facts(commit));
    }
    facts.extend(release.before.as_ref().map(|before| ("before", before.to_string())));
    facts.extend(release.plan.map(|plan| ("plan id", plan.to_string())));
    facts.push(("began", moment(release.began_at)));
    facts.extend(finished_at.map(|at| {
        let took = span(at.duration_since(release.began_at));
        ("done", format!("{}, after {took}", moment(at)))
    }));
    facts
}

/// Who made a commit, and who signed it.
pub(super) fn commit_facts(commit: &Commit) -> Vec<(&'static str, String)> {
    let Commit { author, email, committer, subject, time, signature } = commit;
    let mut facts = vec![
        ("subject", inert(subject)),
        ("author", format!("{} <{}>, {}", inert(author), inert(email), moment(*time))),
    ];
    if committer != author {
        facts.push(("committer", inert(committer)));
    }
    facts.push(("signature", signed(signature.as_ref())));
    facts
}

/// Which key a signature names. Plainly not more than that.
fn signed(signature: Option<&Signature>) -> String {
    let Some(Signature { format, key_type, key }) = signature else { return "none".to_owned() };
    let format = match format {
        SignatureFormat::Ssh => "SSH",
        SignatureFormat::OpenPgp => "OpenPGP",
        SignatureFormat::X509 => "X.509",
        SignatureFormat::Unknown => "of an unknown format",
    };
    let named = [key_type, key].into_iter().flatten().map(|text| format!(" {}", inert(text)));
    format!("{format}{} (what it names; not verified)", named.collect::<String>())
}

pub(super) fn state(standing: &Standing) -> Cell {
    let on = |word: &str, nodes: &std::collections::BTreeSet<NodeName>| match nodes.is_empty() {
        true => word.to_owned(),
        false => format!("{word} on {}", some(nodes.iter())),
    };
    match standing {
        Standing::InProgress { on: nodes } => Cell(on("in progress", nodes), WARN),
        Standing::Failed { on: nodes } => Cell(on("failed", nodes), BAD),
        Standing::Undoing { on: nodes, .. } => Cell(on("being undone", nodes), BAD),
        Standing::Undone { unreachable } if unreachable.is_empty() => Cell("undone".to_owned(), BAD),
        Standing::Undone { unreachable } => {
            Cell(format!("undone, but not on {}: not heard", some(unreachable.iter())), BAD)
        }
        Standing::Done => Cell("done".to_owned(), GOOD),
        Standing::Superseded { by, on } if on.is_empty() => Cell(format!("superseded by {by}"), DIM),
        Standing::Superseded { by, on: nodes } => {
            Cell(format!("superseded by {by}, not done on {}", some(nodes.iter())), DIM)
        }
    }
}

/// `1 create, 2 update`; what is not there is not named.
fn changes(summary: &Summary) -> String {
    let Summary { create, update, recreate, moved, remove, .. } = *summary;
    let parts =
        [(create, "create"), (update, "update"), (recreate, "recreate"), (moved, "move"), (remove, "remove")];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, verb)| format!("{number} {verb}")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// `a, b, c and 2 more`.
pub(super) fn some<'a>(names: impl ExactSizeIterator<Item = &'a NodeName>) -> String {
    const MAX: usize = 3;
    let more = match names.len().saturating_sub(MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.take(MAX).map(NodeName::as_str).collect::<Vec<_>>().join(", ") + &more
}

pub(super) fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn brief(text: &str, max: usize) -> String {
    let text = inert(text);
    if text.chars().count() <= max { text } else { text.chars().take(max - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
