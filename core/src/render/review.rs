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

/// Of the name of a repository.
const MAX_NAME: usize = 100;

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
    let name: String = name.chars().take(MAX_NAME).collect();
    let mut text = format!("### gitops: {}\n\n", code(&name));
    if let Some(reached) = reached(verdict) {
        text.push_str(&format!("**This fails on {reached}.**\n\n"));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::definition::Gate;
    use crate::diagnostic::Place;
    use crate::diff::{Diff, Risk, Summary};
    use crate::name::Revision;
    use crate::review::{Marker, Status};

    fn revision(digit: &str) -> Revision {
        digit.repeat(40).parse().expect("a revision")
    }

    fn verdict(outcome: Outcome, warnings: Vec<Diagnostic>) -> Verdict {
        let gates = BTreeSet::from(Gate::ALL);
        Verdict::new(revision("a"), Some(revision("b")), outcome, warnings, &gates)
    }

    fn recreation() -> Diff {
        let summary = Summary { recreate: 1, unchanged: 3, nodes: 1, ..Summary::default() };
        let risk = Risk::Capability {
            service: "web".parse().expect("a name"),
            nodes: 1,
            capability: crate::diff::NewCapability {
                capability: "docker-socket".into(),
                granted_by: None,
                reason: None,
                until: None,
            },
        };
        Diff { summary, risks: vec![risk], ..Diff::default() }
    }

    fn mistake(number: u32, path: &str) -> Diagnostic {
        let text = Some("colour: red".into());
        let place = Place { path: path.into(), line: number, column: 1, width: 6, text };
        Diagnostic::error("unknown-field", place, "there is no field `colour` here").help("remove it")
    }

    #[test]
    fn a_verdict_is_one_line() {
        let check = |outcome: Outcome, expected: &str| {
            let line = summary(&verdict(outcome, Vec::new()));
            assert_eq!(line, expected);
            assert!(line.chars().count() <= Status::MAX_DESCRIPTION, "{line}");
        };
        check(Outcome::Invalid(vec![mistake(1, "a"), mistake(2, "a")]), "2 mistakes in the definitions");
        check(Outcome::Valid(Unsaid::Fork), "No mistakes; what a fork would change is not said");
        check(
            Outcome::Valid(Unsaid::BaseInvalid),
            "No mistakes; the base has some, so there is nothing to compare with",
        );
        check(Outcome::Compared(Box::default()), "Nothing changes");
        check(
            Outcome::Compared(Box::new(recreation())),
            "Fails on recreate and capability. Plan: 0 to create, 0 to update, 1 to recreate, 0 to move, 0 to \
             remove, 3 unchanged, over 1 node",
        );
    }

    #[test]
    fn mistakes_are_pictures_in_a_block_of_code() {
        let text = comment(&verdict(Outcome::Invalid(vec![mistake(3, "nodes/a.yaml")]), Vec::new()), "shop");
        let expected = "### gitops: `shop`\n\n1 mistake in the definitions.\n\n`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` \
                        against `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb`\n\n```text\nerror[unknown-field]: there is no \
                        field `colour` here\n --> nodes/a.yaml:3:1\n  |\n3 | colour: red\n  | ^^^^^^\n  |\n  = fix: remove \
                        it\n```\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_comment_is_short_enough_for_every_forge_whatever_is_in_it() {
        let mistakes: Vec<Diagnostic> =
            (1..=5_000).map(|number| mistake(number, "services/web/service.yaml")).collect();
        let long = vec![mistake(1, &"x".repeat(100_000))];
        for outcome in [
            Outcome::Invalid(mistakes.clone()),
            Outcome::Invalid(long),
            Outcome::Compared(Box::new(recreation())),
            Outcome::Compared(Box::default()),
        ] {
            let text = comment(&verdict(outcome, mistakes.clone()), &"-".repeat(100_000));
            let posted = Marker::new(&[&"-".repeat(100_000)]).on(&text);
            assert!(posted.chars().count() < 65_536, "{}", posted.chars().count());
            assert!(text.contains(" more: `gitops validate` shows every one."), "{text}");
        }
    }

    #[test]
    fn nothing_ends_the_block_that_it_is_in() {
        let text =
            comment(&verdict(Outcome::Invalid(vec![mistake(1, "a`````b")]), Vec::new()), "``` <b>@all");
        assert!(text.starts_with("### gitops: ```` ``` <b>@all ````\n"), "{text}");
        assert!(text.contains("\n``````text\n") && text.ends_with("\n``````\n"), "{text}");
    }
}
