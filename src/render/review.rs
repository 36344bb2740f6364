//! A verdict as a comment in Markdown, and as the one line of a commit status.
//!
//! A comment is read by everyone who sees the pull request, and much of it was written by whoever opened that. What is
//! quoted of files is in code blocks that nothing in it can end, where no forge reads markup, mentions or HTML.

use anstream::adapter::strip_str;

use super::markdown::{code, fenced};
use super::{count, diagnostics, diff};
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
        Outcome::Compared(_) if verdict.is_silent() => "Nothing changes".to_owned(),
        Outcome::Compared(diff) => diff::summary(diff),
    };
    let reached = reached(verdict).map(|reached| format!("Fails on {reached}. ")).unwrap_or_default();
    strip_str(&format!("{reached}{line}")).to_string()
}

/// The verdict for the log of a job: what is to be read of it, and what changes.
pub fn text(verdict: &Verdict) -> String {
    let findings = diagnostics::text(&verdict.findings(), diagnostics::Form::Lines);
    match &verdict.outcome {
        Outcome::Compared(changes) if verdict.reached.is_empty() => findings + &diff::text(changes, None),
        Outcome::Compared(changes) => {
            format!("{findings}{}{}\n", diff::text(changes, None), summary(verdict))
        }
        Outcome::Invalid(_) | Outcome::Valid(_) => format!("{findings}{}\n", summary(verdict)),
    }
}

/// The verdict as Markdown. `name` is what the definitions are called.
pub fn comment(verdict: &Verdict, name: &str) -> String {
    let mut text = format!("### gitops: {}\n\n", code(name));
    if let Some(reached) = reached(verdict) {
        text.push_str(&format!("**This fails on {reached}**, as the main branch asks.\n\n"));
    }
    text.push_str(&match &verdict.outcome {
        Outcome::Compared(changes) if !verdict.is_silent() => diff::markdown(changes),
        _ => format!("{}.\n\n{}\n", summary(verdict), sides(verdict)),
    });
    let room = match &verdict.outcome {
        Outcome::Compared(_) => MAX_WARNINGS,
        Outcome::Invalid(_) | Outcome::Valid(_) => MAX_FINDINGS,
    };
    text.push_str(&findings(&verdict.findings(), room));
    text
}

/// What was looked at.
fn sides(verdict: &Verdict) -> String {
    let head = code(verdict.head.as_str());
    match &verdict.base {
        Some(base) => format!("{head} against {}", code(base.as_str())),
        None => format!("{head}, the first definitions"),
    }
}

/// `remove and recreate`.
fn reached(verdict: &Verdict) -> Option<String> {
    let words: Vec<&str> = verdict.reached.iter().map(|gate| gate.as_str()).collect();
    let (last, others) = words.split_last()?;
    Some(if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) })
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
    let mut text =
        if shown > 0 { format!("\n{}", fenced(pictures.trim_end(), "text")) } else { String::new() };
    if shown < findings.len() {
        text.push_str(&format!(
            "\n{} more: `gitops validate` shows every one.\n",
            count(findings.len() - shown, "finding")
        ));
    }
    text
}
