//! A session at a terminal, as Markdown shows it, run and compared.
//!
//! In a block that is fenced as `console`, a line `$ command` is run by `sh`, and the lines under it are what it must
//! print, both streams as they come. `[..]` in a line stands for anything, a line `...` for any lines, and a last line
//! `[exit 1]` for an exit code other than 0. In a block with a mark, spans of time and moments stand for any others, as what
//! takes time in it is real, and what only looks is repeated until it sees what is written. A command goes on where its line ends in `\`; `cd` lasts. The blocks of a
//! document are one session. `UPDATE_GOLDENS=1` writes what was printed in place of what does not match.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Sandbox;

/// Part of a document, in order; together they are its text.
enum Part<'a> {
    /// Prose, and fences.
    Text(&'a str),
    /// What stands in a block, with the words after `console`.
    Block { marks: &'a str, body: &'a str },
}

/// A command and what it printed.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    output: String,
}

/// Runs the blocks of a document that `is_run` says are to be run, by their marks, starting in `folder`. Returns the
/// number of commands and the document as it should be.
pub fn run(
    sandbox: &Sandbox,
    folder: &Path,
    document: &str,
    is_run: impl Fn(&str) -> bool,
) -> (usize, String) {
    let mut here = folder.to_owned();
    let mut number = 0;
    let mut written = String::new();
    for part in parts(document) {
        match part {
            Part::Block { marks, body } if is_run(marks) => {
                for step in steps(body) {
                    number += 1;
                    let (actual, is_same) = match marks {
                        "" => happen(sandbox, &mut here, &step, matches),
                        _ => happen_in_time(sandbox, &mut here, &step),
                    };
                    let output = if is_same { step.output } else { actual };
                    let _ = write!(written, "$ {}\n{output}", step.command);
                }
            }
            Part::Text(text) | Part::Block { body: text, .. } => written.push_str(text),
        }
    }
    (number, written)
}

/// Runs a command. Returns what it printed, and whether that is what is written.
fn happen(
    sandbox: &Sandbox,
    here: &mut PathBuf,
    step: &Step,
    is_same: impl Fn(&str, &str) -> bool,
) -> (String, bool) {
    let actual = execute(sandbox, here, &step.command);
    let is_same = is_same(&step.output, &actual);
    (actual, is_same)
}

/// Commands that change nothing.
const LOOKS: [&str; 6] =
    ["gitops status", "gitops approvals", "gitops holds", "gitops release", "gitops trace", "gitops events"];
/// How long they are repeated, and how long where the document is written anew.
const PATIENCE: Duration = Duration::from_secs(60);
const SETTLES_IN: Duration = Duration::from_secs(15);

/// The same where things take their time.
fn happen_in_time(sandbox: &Sandbox, here: &mut PathBuf, step: &Step) -> (String, bool) {
    let only_looks = LOOKS.iter().any(|look| step.command.starts_with(look));
    let is_written = std::env::var_os("UPDATE_GOLDENS").is_some();
    let give_up = Instant::now() + if is_written { SETTLES_IN } else { PATIENCE };
    loop {
        let same = |expected: &str, actual: &str| matches(&timeless(expected), &timeless(actual));
        let (actual, is_same) = happen(sandbox, here, step, same);
        if is_same || !only_looks || Instant::now() > give_up {
            return (actual, is_same);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a document that is a file, and says how it differs from what happens. Returns the number of commands.
///
/// # Errors
///
/// The difference, ready to be shown.
pub fn check(
    sandbox: &Sandbox,
    folder: &Path,
    path: &Path,
    is_run: impl Fn(&str) -> bool,
) -> Result<usize, String> {
    let document = std::fs::read_to_string(path).expect("a document is UTF-8");
    let (number, actual) = run(sandbox, folder, &document, is_run);
    if actual == document {
        return Ok(number);
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(path, &actual).expect("documents can be written");
        return Ok(number);
    }
    let diff = similar::TextDiff::from_lines(&document, &actual);
    let diff = diff.unified_diff().context_radius(4).header("as written", "as it happens").to_string();
    Err(format!("{}:\n{diff}", path.display()))
}

/// The marks and the bodies of the blocks of a document.
pub fn blocks(document: &str) -> Vec<(&str, &str)> {
    let block = |part| match part {
        Part::Block { marks, body } => Some((marks, body)),
        Part::Text(_) => None,
    };
    parts(document).into_iter().filter_map(block).collect()
}

fn parts(document: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = document;
    let mut open: Option<(usize, &str)> = None;
    let mut length = 0;
    for line in document.split_inclusive('\n') {
        // A fence ends with one that is as long, so that a longer one may hold shorter ones.
        let info = line.trim_start_matches('`');
        let fence = (line.len() - info.len(), info.trim_end());
        let (end, next) = match (open, fence) {
            (None, (3.., _)) => (length + line.len(), Some(fence)),
            (Some((longest, _)), (ticks, "")) if ticks >= longest => (length, None),
            _ => (usize::MAX, open),
        };
        length += line.len();
        if end == usize::MAX {
            continue;
        }
        let (part, after) = rest.split_at(end);
        parts.push(match open.and_then(|(_, info)| info.strip_prefix("console")) {
            Some(marks) => Part::Block { marks: marks.trim_start_matches(','), body: part },
            None => Part::Text(part),
        });
        (rest, open, length) = (after, next, length - end);
    }
    parts.push(Part::Text(rest));
    parts
}

fn steps(body: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (None, Some(step)) if step.command.ends_with('\\') && step.output.is_empty() => {
                let _ = write!(step.command, "\n{line}");
            }
            (Some(command), _) => steps.push(Step { command: command.to_owned(), output: String::new() }),
            (None, Some(step)) => _ = writeln!(step.output, "{line}"),
            (None, None) => panic!("a console block starts with `$ `, not with `{line}`"),
        }
    }
    steps
}

fn execute(sandbox: &Sandbox, here: &mut PathBuf, command: &str) -> String {
    if let Some(folder) = command.strip_prefix("cd ") {
        *here = here.join(folder);
        return String::new();
    }
    let mut shell = sandbox.command("sh");
    shell
        .current_dir(&*here)
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .stdin(std::process::Stdio::null());
    let output = shell.output().expect("sh starts");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => text,
        Some(code) => text + &format!("[exit {code}]\n"),
        None => text + "[ended by a signal]\n",
    }
}

/// Whether `actual` is what `expected` says.
pub fn matches(expected: &str, actual: &str) -> bool {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    lines_match(&expected, &actual)
}

/// A text in which every span of time is the same, and every moment; then columns are as wide as they are.
fn timeless(text: &str) -> String {
    text.lines().map(|line| timeless_line(line) + "\n").collect()
}

fn timeless_line(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let end = word.trim_end_matches([',', ':', ';', ')', '.']).len();
        let (bare, rest) = word.split_at(end);
        let word = match time(bare) {
            Some(time) => format!("{time}{rest}"),
            None => word.to_owned(),
        };
        // `1m 5s` is one span.
        if word.starts_with("SPAN") && words.last().is_some_and(|last| last == "SPAN") {
            words.pop();
        }
        words.push(word);
    }
    words.join(" ")
}

fn time(word: &str) -> Option<&'static str> {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && ["ms", "s", "m", "h", "d"].contains(&&word[digits.len()..]) {
        return Some("SPAN");
    }
    let is_moment =
        word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T';
    is_moment.then_some("MOMENT")
}

fn lines_match(expected: &[&str], actual: &[&str]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((&"...", rest)) => (0..=actual.len()).any(|skipped| lines_match(rest, &actual[skipped..])),
        Some((line, rest)) => {
            let first = actual.split_first();
            first.is_some_and(|(first, after)| line_matches(line, first) && lines_match(rest, after))
        }
    }
}

fn line_matches(expected: &str, actual: &str) -> bool {
    let Some((start, rest)) = expected.split_once("[..]") else { return expected == actual };
    let Some(after) = actual.strip_prefix(start) else { return false };
    let ends = after.char_indices().map(|(at, _)| at).chain([after.len()]);
    ends.into_iter().any(|at| line_matches(rest, &after[at..]))
}

#[test]
fn output_matches_with_wildcards() {
    for (expected, actual, is_match) in [
        ("", "", true),
        ("a\n", "a\n", true),
        ("a\n", "b\n", false),
        ("a\n", "a\nb\n", false),
        ("a [..] c\n", "a b c\n", true),
        ("a [..] c\n", "a c\n", false),
        ("[..]c[..]e\n", "abcde\n", true),
        ("a\n...\nd\n", "a\nb\nc\nd\n", true),
        ("a\n...\nd\n", "a\nd\n", true),
        ("a\n...\nd\n", "a\nb\n", false),
        ("...\n", "", true),
    ] {
        assert_eq!(matches(expected, actual), is_match, "{expected:?} and {actual:?}");
    }
}

#[test]
fn times_are_as_good_as_others_where_they_are_real() {
    for (one, other, is_same) in [
        ("heard 1s ago", "heard 12m 4s ago", true),
        ("a  1s  b", "a  10s b", true),
        ("until 2026-01-02T03:04:05Z: why", "until 2027-11-22T13:14:15Z: why", true),
        ("done after 3s.", "done after 900ms.", true),
        ("3 nodes", "4 nodes", false),
        ("edge-1s", "edge-2s", false),
    ] {
        assert_eq!(timeless(one) == timeless(other), is_same, "{one} and {other}");
    }
}

#[test]
fn a_session_runs_as_it_reads_and_corrects_what_differs() {
    let sandbox = Sandbox::new();
    let document = "Prose.\n```console\n$ mkdir a \\\n  b\n$ cd a\n$ basename $PWD\nz\n$ echo hi; false\n[..]i\n[exit 1]\n\
                    ```\n```toml\n$ no\n```\n```console,norun=x\n$ false\n```\nEnd.\n";
    let (number, actual) = run(&sandbox, &sandbox.path("."), document, |marks| marks.is_empty());
    assert_eq!(number, 4);
    assert_eq!(actual, document.replace("\nz\n", "\na\n"));
    let marks: Vec<&str> = blocks(document).iter().map(|(marks, _)| *marks).collect();
    assert_eq!(marks, ["", "norun=x"]);
}
