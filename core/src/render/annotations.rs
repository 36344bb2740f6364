//! Annotations for programs that read them from a file or from the output of a job: a Code Quality report for GitLab, and
//! workflow commands for the runner of GitHub Actions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::json;
use crate::diagnostic::Severity;
use crate::name::Digest;
use crate::review::Annotation;

/// A Code Quality report. GitLab tells findings apart by their fingerprints, also those of another commit; so the line is
/// no part of it, and of equal ones it is the which.
pub fn code_quality(annotations: &[Annotation]) -> String {
    let mut seen: BTreeMap<Digest, usize> = BTreeMap::new();
    let issue = |annotation: &Annotation| -> Value {
        let Annotation { path, line, severity, title, message, .. } = annotation;
        let same = Digest::of(json!([path, title, message]).to_string());
        let number = seen.entry(same).and_modify(|number| *number += 1).or_default();
        json!({
            "description": message,
            "check_name": title,
            "fingerprint": Digest::of(format!("{same} {number}")).hex(),
            "severity": match severity {
                Severity::Error => "blocker",
                Severity::Warning => "minor",
                Severity::Info => "info",
            },
            "location": { "path": path, "lines": { "begin": line } },
        })
    };
    json::document(&annotations.iter().map(issue).collect::<Vec<_>>())
}

/// Lines that the runner of GitHub Actions shows at files.
pub fn workflow_commands(annotations: &[Annotation]) -> String {
    let mut text = String::new();
    for Annotation { path, line, columns, severity, title, message } in annotations {
        let level = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let columns =
            columns.map(|(first, last)| format!(",col={first},endColumn={last}")).unwrap_or_default();
        let (path, title, message) = (property(path), property(title), data(message));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "::{level} file={path},line={line}{columns},title={title}::{message}");
    }
    text
}

/// The message of a command, which ends with the line.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command, which ends with a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(path: &str, line: u32, message: &str) -> Annotation {
        Annotation {
            path: path.to_owned(),
            line,
            columns: Some((3, 7)),
            severity: Severity::Error,
            title: "wrong-type".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_command_stays_one_command_whatever_is_in_it() {
        let check = |path: &str, message: &str, expected: &str| {
            assert_eq!(workflow_commands(&[annotation(path, 2, message)]), format!("{expected}\n"));
        };
        check(
            "nodes/a.yaml",
            "must be text",
            "::error file=nodes/a.yaml,line=2,col=3,endColumn=7,title=wrong-type::must be text",
        );
        check(
            "a,title=x::b\n::add-mask::c",
            "one\r\n::stop-commands::x 100%",
            "::error file=a%2Ctitle=x%3A%3Ab%0A%3A%3Aadd-mask%3A%3Ac,line=2,col=3,endColumn=7,title=wrong-type::\
             one%0D%0A::stop-commands::x 100%25",
        );
    }

    #[test]
    fn a_finding_keeps_its_fingerprint_when_it_moves_and_equal_ones_have_their_own() {
        let report = |annotations: &[Annotation]| -> Vec<String> {
            let report: Vec<Value> = serde_json::from_str(&code_quality(annotations)).expect("JSON");
            report.iter().map(|issue| issue["fingerprint"].to_string()).collect()
        };
        let here = report(&[annotation("a", 1, "m"), annotation("a", 9, "m"), annotation("b", 1, "m")]);
        let there = report(&[annotation("a", 4, "m"), annotation("a", 12, "m"), annotation("b", 2, "m")]);
        assert_eq!(here, there);
        let distinct: std::collections::BTreeSet<_> = here.iter().collect();
        assert_eq!(distinct.len(), 3);
    }
}
