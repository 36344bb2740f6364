//! A verdict as a comment in Markdown, and as the one line of a commit status.
//!
//! A comment is read by everyone who sees the pull request, and much of it was written by whoever opened that. What is
//! quoted of files is in code blocks that nothing in it can end, where no forge reads markup, mentions or HTML.

use anstream::adapter::strip_str;

use super::{count, diagnostics, diff, inert};
use crate::diagnostic::Diagnostic;
use crate::review::{Outcome, Unsaid, Verdict};

/// Findings are cut here, each whole. GitHub takes 65,536 characters in a comment, less than the others.
const MAX_FINDINGS: usize = 55_000;
/// Beside what changes, warnings have only this room.
const MAX_WARNINGS: usize = 4_000;

/// The verdict in one line without colours.
pub fn summary(verdict: &Verdict) -> String {
    let line = match &verdict.outcome {
        Outcome::Invalid(findings) => {
            let errors = findings.iter().filter(|finding| finding.is_error()).count();
            format!("{} in the definitions", count(errors, "mistake"))
        }
        Outcome::Valid(Unsaid::Fork) => "No mistakes; what a fork would change is not said".to_owned(),
        Outcome::Valid(Unsaid::BaseInvalid) => {
            "No mistakes; the base has some, so there is nothing to compare with".to_owned()
        }
        Outcome::Compared(diff) if diff.changes.is_empty() => "Nothing changes".to_owned(),
        Outcome::Compared(diff) => diff::summary(diff),
    };
    let reached = reached(verdict).map(|reached| format!("Fails on {reached}. ")).unwrap_or_default();
    strip_str(&format!("{reached}{line}")).to_string()
}

/// The verdict as Markdown. `name` is what the definitions are called.
pub fn comment(verdict: &Verdict, name: &str) -> String {
    let mut text = format!("### gitops: {}\n\n", code(name));
    if let Some(reached) = reached(verdict) {
        text.push_str(&format!("**This fails on {reached}**, as the main branch asks.\n\n"));
    }
    text.push_str(&match &verdict.outcome {
        Outcome::Compared(changes) if !changes.changes.is_empty() => changes_text(changes),
        _ => format!("{}.\n", summary(verdict)),
    });
    let room = match &verdict.outcome {
        Outcome::Compared(_) => MAX_WARNINGS,
        Outcome::Invalid(_) | Outcome::Valid(_) => MAX_FINDINGS,
    };
    text.push_str(&findings(&verdict.findings(), room));
    text.push_str(&match &verdict.base {
        Some(base) => format!("\n<sub>{} against {}</sub>\n", verdict.head.short(), base.short()),
        None => format!("\n<sub>{}, the first definitions</sub>\n", verdict.head.short()),
    });
    text
}

/// `remove and recreate`.
fn reached(verdict: &Verdict) -> Option<String> {
    let words: Vec<&str> = verdict.reached.iter().map(|deed| deed.word()).collect();
    let (last, others) = words.split_last()?;
    Some(if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) })
}

fn changes_text(changes: &crate::diff::Diff) -> String {
    block(&strip_str(&diff::text(changes)).to_string())
}

/// Findings as pictures, as many as there is room for.
fn findings(findings: &[Diagnostic], room: usize) -> String {
    let (mut pictures, mut shown, mut left) = (String::new(), 0, room);
    for finding in findings {
        let picture = diagnostics::text(std::slice::from_ref(finding), diagnostics::Form::Pictures);
        let picture = strip_str(&picture).to_string();
        let Some(rest) = left.checked_sub(picture.chars().count()) else { break };
        left = rest;
        pictures.push_str(&picture);
        shown += 1;
    }
    let mut text = if shown > 0 { format!("\n{}", block(pictures.trim_end())) } else { String::new() };
    if shown < findings.len() {
        text.push_str(&format!(
            "\n{} more: `gitops validate` shows every one.\n",
            count(findings.len() - shown, "finding")
        ));
    }
    text
}

/// A code block that nothing within can end.
fn block(text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

/// A code span that nothing within can end.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", inert(text))
}

/// How many backticks stand together at most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
