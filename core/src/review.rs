//! What is said on a pull request, as data: a verdict on the change, the commit status, annotations at lines, and by what
//! a comment is found again.
//!
//! `gitops review` and the daemon say the same in the same words: both come to a [`Verdict`] here, `render::review` puts it
//! into words, and `forge` carries those to the forge. What makes a verdict a failure is asked of the settings of the main
//! branch ([`definition::Review`](crate::definition::Review)), never of the branch under review.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::definition::{Gate, Saying};
use crate::diagnostic::{Diagnostic, Severity};
use crate::diff::Diff;
use crate::name::{Digest, Revision};
use crate::sensitive::{HIDDEN, Sensitive};

/// What was found out about a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has mistakes: all findings.
    Invalid(Vec<Diagnostic>),
    /// It has none, and what it would change is not said.
    Valid(Unsaid),
    /// What it changes.
    Compared(Box<Diff>),
}

/// Why it is not said what a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// It comes from another repository, whose authors need not be trusted with a picture of the fleet.
    Fork,
    /// What it is to be compared with has mistakes.
    BaseInvalid,
}

/// What is thought of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The commit that was looked at.
    pub head: Revision,
    /// What it was compared with; none where nothing was there before.
    pub base: Option<Revision>,
    /// What was found out.
    pub outcome: Outcome,
    /// Warnings that the change brings. Of a change with mistakes, they are among its findings.
    pub warnings: Vec<Diagnostic>,
    /// What it does that the main branch wants to fail.
    pub reached: BTreeSet<Gate>,
    sensitive: Sensitive,
}

impl Verdict {
    /// A verdict; `fail_on` is what the main branch, and who asks, want to fail.
    pub fn new(
        head: Revision,
        base: Option<Revision>,
        outcome: Outcome,
        warnings: Vec<Diagnostic>,
        fail_on: &BTreeSet<Gate>,
    ) -> Self {
        let reached = match &outcome {
            Outcome::Compared(diff) => diff.stopped_by(fail_on),
            Outcome::Invalid(_) | Outcome::Valid(_) => BTreeSet::new(),
        };
        Self { head, base, outcome, warnings, reached, sensitive: Sensitive::default() }
    }

    /// The same, hiding also what these name.
    #[must_use]
    pub fn hiding(self, sensitive: Sensitive) -> Self {
        Self { sensitive, ..self }
    }

    /// How the commit stands.
    pub fn state(&self) -> State {
        match self.outcome {
            Outcome::Invalid(_) => State::Failure,
            Outcome::Valid(_) | Outcome::Compared(_) if self.reached.is_empty() => State::Success,
            Outcome::Valid(_) | Outcome::Compared(_) => State::Failure,
        }
    }

    /// Whether it is a comparison that has nothing to tell.
    pub fn is_silent(&self) -> bool {
        let Outcome::Compared(diff) = &self.outcome else { return false };
        let Diff { risks, changes, features, controls, settings, cost, ignored, .. } = &**diff;
        changes.is_empty()
            && risks.is_empty()
            && features.is_empty()
            && controls.is_empty()
            && settings.is_empty()
            && cost.is_none()
            && ignored.is_empty()
    }

    /// Whether there is something to look at: a mistake, a warning or a change.
    pub fn has_news(&self) -> bool {
        let changes = match &self.outcome {
            Outcome::Invalid(_) => true,
            Outcome::Valid(_) => false,
            Outcome::Compared(_) => !self.is_silent(),
        };
        changes || !self.warnings.is_empty()
    }

    /// Whether a comment is made. One that is there already is always brought up to date, unless comments are not wanted.
    pub fn comment(&self, wanted: Saying) -> Comment {
        match wanted {
            Saying::Never => Comment::Leave,
            Saying::Changes if !self.has_news() => Comment::Refresh,
            Saying::Changes | Saying::Always => Comment::Make,
        }
    }

    /// What is to be read of it, mistakes or warnings, without what looks like a secret.
    pub fn findings(&self) -> Vec<Diagnostic> {
        let findings = match &self.outcome {
            Outcome::Invalid(findings) => findings,
            Outcome::Valid(_) | Outcome::Compared(_) => &self.warnings,
        };
        let shown = findings.iter().filter(|finding| finding.severity != Severity::Info);
        shown.map(|finding| discreet(finding, &self.sensitive)).collect()
    }

    /// What is said at lines of files. `folder` is where the definitions are in their repository.
    pub fn annotations(&self, folder: &str) -> Vec<Annotation> {
        self.findings().iter().map(|finding| Annotation::of(finding, folder)).collect()
    }
}

/// A finding as it may be shown to everyone who sees the pull request. A line that looks like it sets a secret is left out,
/// and what its words quote of it. So is a line without a key of its own: what it belongs to stands above it.
fn discreet(finding: &Diagnostic, sensitive: &Sensitive) -> Diagnostic {
    let mut shown = finding.clone();
    let line = finding.place.text.as_deref().unwrap_or_default();
    let is_secret = sensitive.lines(line).iter().ne(line.lines());
    let inert = |text: &String| {
        let text = sensitive.redacted(text);
        if is_secret { unquoted(&text, line) } else { text }
    };
    shown.place.text = finding.place.text.clone().filter(|line| !is_secret && key_and_value(line).is_some());
    shown.message = inert(&finding.message);
    shown.label = finding.label.as_ref().map(inert);
    shown.notes = finding.notes.iter().map(inert).collect();
    shown.help = finding.help.as_ref().map(inert);
    shown
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    line.split_once([':', '=']).map(|(key, value)| (key, value.trim()))
}

/// A text without what it quotes, and without the value of `line`. A value may have quotes in it, and be cut where it is
/// quoted, so that nothing between the first quote and the last is safe.
fn unquoted(text: &str, line: &str) -> String {
    let value = key_and_value(line).map_or(line.trim(), |(_, value)| value);
    let text = if value.is_empty() { text.to_owned() } else { text.replace(value, HIDDEN) };
    ['`', '"'].into_iter().fold(text, |text, quote| match (text.find(quote), text.rfind(quote)) {
        (Some(first), Some(last)) if first < last => {
            format!("{}{HIDDEN}{}", &text[..=first], &text[last..])
        }
        _ => text,
    })
}

/// Whose status it is: of the review of these definitions.
pub fn context(name: &str) -> String {
    const MAX: usize = 100;
    let inert: String = name.chars().filter(|c| !c.is_control()).collect();
    cut(&format!("gitops/{inert}"), MAX)
}

/// Findings that are in `after` and were not in `before`, wherever they stood then.
pub fn new_findings(before: &[Diagnostic], after: &[Diagnostic]) -> Vec<Diagnostic> {
    let key = |finding: &Diagnostic| {
        let Diagnostic { code, message, place, .. } = finding;
        (code.clone(), message.clone(), place.path.clone())
    };
    let known: BTreeSet<_> = before.iter().map(key).collect();
    after.iter().filter(|finding| !known.contains(&key(finding))).cloned().collect()
}

/// What is done about a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comment {
    /// It is made, or brought up to date.
    Make,
    /// It is brought up to date if it is there.
    Refresh,
    /// Nothing.
    Leave,
}

/// How a commit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being looked at, or under way.
    Pending,
    /// All is well.
    Success,
    /// It is not.
    Failure,
}

/// A commit status, as every forge has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How the commit stands.
    pub state: State,
    /// Whose status it is: one of each context is shown.
    pub context: String,
    /// One line.
    pub description: String,
    /// Where there is more to read.
    pub target: Option<String>,
}

impl Status {
    /// The longest description that every forge takes: GitHub's limit; GitLab's is 255.
    pub const MAX_DESCRIPTION: usize = 140;

    /// A status without a link. A description that is too long ends in `…`.
    pub fn new(state: State, context: impl Into<String>, description: &str) -> Self {
        let line: String = description.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { state, context: context.into(), description: cut(&line, Self::MAX_DESCRIPTION), target: None }
    }
}

/// The first `max` characters, the last of them `…` where there are more.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

/// What is said at a line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The file, from the root of the repository.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// Columns from 1, the last one included; none where the whole line is meant.
    pub columns: Option<(u32, u32)>,
    /// How much it weighs.
    pub severity: Severity,
    /// The code of the finding.
    pub title: String,
    /// What it says, in several lines.
    pub message: String,
}

impl Annotation {
    /// Longer ones are cut: the least of what forges take is 64 kB, and nobody reads that.
    const MAX_MESSAGE: usize = 4_000;

    fn of(finding: &Diagnostic, folder: &str) -> Self {
        let Diagnostic { code, severity, message, place, label, notes, help } = finding;
        let more = label.iter().chain(notes).cloned().chain(help.iter().map(|help| format!("fix: {help}")));
        let text = std::iter::once(message.clone()).chain(more).collect::<Vec<_>>().join("\n");
        let inert =
            text.chars().map(|c| if c.is_control() && c != '\n' { '·' } else { c }).collect::<String>();
        let last = place.column.saturating_add(place.width.saturating_sub(1));
        Self {
            path: if folder.is_empty() { place.path.to_string() } else { format!("{folder}/{}", place.path) },
            line: place.line.max(1),
            columns: (place.line > 0 && place.column > 0).then_some((place.column, last)),
            severity: *severity,
            title: code.to_string(),
            message: cut(&inert, Self::MAX_MESSAGE),
        }
    }
}

/// What a comment of ours begins with, unseen by people, by which it is found again. It names the definitions that it
/// speaks of, so that two repositories of definitions in one repository of a forge have a comment each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marker(String);

impl Marker {
    /// A marker of these words. Whatever they are, it is one short HTML comment, and other words make another marker.
    pub fn new(words: &[&str]) -> Self {
        const MAX_WORD: usize = 100;
        let mut text = String::from("<!-- gitops:review");
        for word in words {
            text.push(' ');
            if word.len() > MAX_WORD {
                text.push_str(&Digest::of(word).hex());
                continue;
            }
            word.bytes().for_each(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' => text.push(char::from(byte)),
                // Writing to a String cannot fail.
                _ => _ = write!(text, "%{byte:02X}"),
            });
        }
        Self(text + " -->")
    }

    /// The marker itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a comment is one that was marked with it.
    pub fn is_in(&self, comment: &str) -> bool {
        comment.trim_start().starts_with(&self.0)
    }

    /// A comment, marked.
    pub fn on(&self, text: &str) -> String {
        format!("{}\n{text}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    fn head() -> Revision {
        "a".repeat(40).parse().expect("a revision")
    }

    fn verdict(outcome: Outcome, warnings: Vec<Diagnostic>) -> Verdict {
        Verdict::new(head(), None, outcome, warnings, &BTreeSet::new())
    }

    fn place(line: u32, text: &str) -> Place {
        Place { path: "services/db/compose.yaml".into(), line, column: 3, width: 4, text: Some(text.into()) }
    }

    #[test]
    fn a_marker_is_one_comment_whatever_its_words_are() {
        let check = |words: &[&str], expected: &str| {
            let marker = Marker::new(words);
            assert_eq!(marker.as_str(), expected);
            assert_eq!(marker.as_str().matches("-->").count(), 1);
            assert!(marker.is_in(&marker.on("text")));
        };
        check(&["estate"], "<!-- gitops:review estate -->");
        check(&["live", "estate"], "<!-- gitops:review live estate -->");
        check(&["my-estate"], "<!-- gitops:review my%2Destate -->");
        check(&["a --> b"], "<!-- gitops:review a%20%2D%2D%3E%20b -->");
        check(&["\u{1b}\n<b>"], "<!-- gitops:review %1B%0A%3Cb%3E -->");
        check(&["Köln"], "<!-- gitops:review K%C3%B6ln -->");
    }

    #[test]
    fn a_marker_is_found_only_at_the_head_of_a_comment_and_only_as_itself() {
        let marker = Marker::new(&["estate"]);
        assert!(marker.is_in("<!-- gitops:review estate -->\r\ntext"));
        for other in [
            "> <!-- gitops:review estate -->",
            "text <!-- gitops:review estate -->",
            "<!-- gitops:review estate 2 -->",
            "<!-- gitops:review estate2 -->",
            "",
        ] {
            assert!(!marker.is_in(other), "{other}");
        }
    }

    #[test]
    fn a_status_is_one_line_that_every_forge_takes() {
        let check = |text: &str, expected: &str| {
            let status = Status::new(State::Success, "gitops/estate", text);
            assert_eq!(status.description, expected);
            assert!(status.description.chars().count() <= Status::MAX_DESCRIPTION);
        };
        check("Nothing changes", "Nothing changes");
        check("one\ntwo\u{1b}[2J", "one two [2J");
        check(&"ä".repeat(140), &"ä".repeat(140));
        check(&"ä".repeat(141), &format!("{}…", "ä".repeat(139)));
    }

    #[test]
    fn who_says_it_is_named_in_few_words() {
        assert_eq!(context("estate"), "gitops/estate");
        assert_eq!(context("a\u{1b}b"), "gitops/ab");
        assert_eq!(context(&"x".repeat(500)).chars().count(), 100);
    }

    #[test]
    fn a_finding_is_new_where_it_was_not_before_whatever_line_it_moved_to() {
        let warning = |line, message: &str| Diagnostic::warning("w", place(line, "a: b"), message);
        let before = [warning(1, "old"), warning(2, "gone")];
        let after = [warning(7, "old"), warning(8, "new")];
        assert_eq!(new_findings(&before, &after), [warning(8, "new")]);
        assert_eq!(new_findings(&[], &after), after);
    }

    #[test]
    fn a_line_that_sets_a_secret_is_not_shown_and_nothing_quotes_it() {
        let shown = |text: &str, message: &str, sensitive: Sensitive| {
            let finding = Diagnostic::error("e", place(1, text), message).label(message).note(message);
            let verdict = verdict(Outcome::Invalid(vec![finding]), Vec::new()).hiding(sensitive);
            let all = format!("{:?} {:?}", verdict.findings(), verdict.annotations("estate"));
            (all.contains("canar") || all.contains("can`"), all.contains(text))
        };
        let check = |text: &str, message: &str, expected: bool| {
            assert_eq!(shown(text, message, Sensitive::default()), (false, expected), "{text} {message}");
        };
        check("  image: nginx", "`image` has no tag", true);
        check("  DB_PASSWORD: canary", "this is text", false);
        check("  DB_PASSWORD: canary", "`canary` is no number", false);
        check("  DB_PASSWORD=canary", "`DB_PASSWORD` is `canary`, which is no number", false);
        check("  image: nginx", "the variable PASSWORD=canary is not used", true);
        check("  DB_PASSWORD: can`ary", "`can`ary` is no number", false);
        check("  DB_PASSWORD: canary", "the text \"canar…\" is cut, canary", false);
        check("  - canary", "this is text", false);
        check("    canary of two", "this is text", false);
        check("  - name: web", "`web` is no name", true);
        let policy = Sensitive::new(["*_SALT".into()]);
        assert_eq!(shown("  DB_SALT: canary", "`canary` is no number", policy), (false, false));
    }

    #[test]
    fn annotations_stand_at_files_of_the_repository_and_only_for_what_matters() {
        let findings = vec![
            Diagnostic::error("e", place(3, "a: b"), "wrong").label("here").note("because").help("mend it"),
            Diagnostic::warning("w", Place::file("nodes"), "none"),
            Diagnostic::info("i", place(4, "c: d"), "by the way"),
        ];
        let verdict = verdict(Outcome::Invalid(findings), Vec::new());
        let found = verdict.annotations("estate");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, "estate/services/db/compose.yaml");
        assert_eq!((found[0].line, found[0].columns), (3, Some((3, 6))));
        assert_eq!(found[0].message, "wrong\nhere\nbecause\nfix: mend it");
        assert_eq!((found[1].line, found[1].columns), (1, None), "forges want a line");
        assert_eq!(verdict.annotations("")[1].path, "nodes");
    }

    #[test]
    fn a_comment_is_made_as_it_is_wanted() {
        let compared = || Outcome::Compared(Box::default());
        let warning = || vec![Diagnostic::warning("w", Place::file("nodes"), "m")];
        let check = |outcome: Outcome, warnings: Vec<Diagnostic>, wanted: Saying, expected: Comment| {
            assert_eq!(verdict(outcome, warnings).comment(wanted), expected);
        };
        check(compared(), vec![], Saying::Always, Comment::Make);
        check(compared(), vec![], Saying::Changes, Comment::Refresh);
        check(compared(), warning(), Saying::Changes, Comment::Make);
        check(Outcome::Invalid(vec![]), vec![], Saying::Changes, Comment::Make);
        check(Outcome::Valid(Unsaid::Fork), vec![], Saying::Changes, Comment::Refresh);
        check(Outcome::Invalid(vec![]), vec![], Saying::Never, Comment::Leave);
    }
}
