//! Diffs that people read: a case is a text file with a repository before and after a change, and the golden beside it
//! holds the diff in all its forms. A new case is two text files and no Rust.
//!
//! A case opens with prose that says what it shows. Then each line that starts with `--- ` is a command:
//!
//! ```text
//! --- file PATH            the lines that follow are its content
//! --- delete PATH
//! --- then                 what follows is the change
//! --- only KEY NAME        looks at one service, node or environment
//! --- took SERVICE SECONDS how long it took to come back, by past releases
//! ```
//!
//! `UPDATE_GOLDENS=1 cargo test --test diffs` writes the goldens anew.

#![allow(clippy::disallowed_methods, reason = "tests read the environment")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::diff::{self, Diff, Scope, Selection};
use gitops_core::name::{EnvironmentName, NodeName, ServiceName};
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::render;
use gitops_core::tree::Tree;
use jiff::{SignedDuration, Timestamp};

use support::script::commands;

/// One side: the files by path.
type Files = BTreeMap<String, String>;

#[derive(Default)]
struct Case {
    sides: [Files; 2],
    service: Option<ServiceName>,
    node: Option<NodeName>,
    environment: Option<EnvironmentName>,
    durations: BTreeMap<ServiceName, SignedDuration>,
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a timestamp")
}

fn parsed(script: &str) -> Case {
    let mut case = Case::default();
    let mut changed = false;
    for (command, body) in commands(script) {
        let words: Vec<&str> = command.split_whitespace().collect();
        // What comes before the change is there after it as well.
        let sides = case.sides.iter_mut().skip(usize::from(changed));
        match words.as_slice() {
            ["then"] => changed = true,
            ["file", path] => sides.for_each(|side| _ = side.insert((*path).to_owned(), body.clone())),
            ["delete", path] => sides.for_each(|side| _ = side.remove(*path).expect("it is there")),
            ["only", "service", name] => case.service = Some(name.parse().expect("a name")),
            ["only", "node", name] => case.node = Some(name.parse().expect("a name")),
            ["only", "environment", name] => case.environment = Some(name.parse().expect("a name")),
            ["took", service, seconds] => {
                let span = SignedDuration::from_secs(seconds.parse().expect("a number"));
                case.durations.insert(service.parse().expect("a name"), span);
            }
            other => panic!("there is no command {other:?}"),
        }
    }
    case
}

fn definitions(files: &Files) -> Definitions {
    let mut files = files.clone();
    files.entry("gitops.toml".to_owned()).or_insert_with(|| "format = 1\nname = \"t\"\n".to_owned());
    let revision = "1".repeat(40).parse().expect("a revision");
    let read = Definitions::load(revision, &Arc::new(Tree::from_files(files)), &Known::at(now()));
    read.unwrap_or_else(|found| {
        panic!("{}", render::diagnostics::text(&found, render::diagnostics::Form::Lines))
    })
}

impl Case {
    fn diff(&self) -> Diff {
        let [old, new] = self.sides.each_ref().map(definitions);
        let selection = Selection {
            service: self.service.as_ref(),
            node: self.node.as_ref(),
            environment: self.environment.as_ref(),
        };
        let scope = Scope { selection: &selection, ..Scope::at(now()) };
        let mut diff = diff::compare(&old.side("main"), &new.side("the work tree"), &scope);
        diff.time(&self.durations);
        diff
    }
}

fn text(diff: &Diff, width: usize) -> String {
    anstream::adapter::strip_str(&render::diff::text(diff, Some(width))).to_string()
}

/// All forms of a diff. What is the same at both widths is shown once.
fn shown(diff: &Diff) -> String {
    let (narrow, wide) = (text(diff, 80), text(diff, 200));
    let wide = if wide == narrow { "as at 80 columns\n".to_owned() } else { wide };
    let (markdown, json) = (render::diff::markdown(diff), render::json::document(diff));
    format!("=== 80 columns\n{narrow}\n=== 200 columns\n{wide}\n=== Markdown\n{markdown}\n=== JSON\n{json}")
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diffs");
    let entries = std::fs::read_dir(folder).expect("the folder of cases is there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths
}

#[test]
fn diffs_read_as_their_goldens_do() {
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases were found", cases.len());
    let failures: Vec<String> = cases.iter().filter_map(|path| check(path).err()).collect();
    assert!(failures.is_empty(), "{} cases failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

fn check(path: &Path) -> Result<(), String> {
    let name = path.file_stem().expect("it has an extension").to_string_lossy().into_owned();
    let script = std::fs::read_to_string(path).expect("a case is UTF-8");
    let case = parsed(&script);
    let diff = case.diff();
    let shown = shown(&diff);
    invariants(&diff, &shown).map_err(|broken| format!("{name}: {broken}"))?;
    assert_eq!(self::shown(&case.diff()), shown, "{name}: the same input gives the same bytes");
    let golden_path = path.with_extension("golden");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden_path, &shown).expect("goldens can be written");
    }
    let golden = std::fs::read_to_string(&golden_path).unwrap_or_default();
    if golden == shown {
        return Ok(());
    }
    let lines = similar::TextDiff::from_lines(&golden, &shown);
    Err(format!("{name} differs from its golden:\n{}", lines.unified_diff().context_radius(3)))
}

/// What holds of every diff, whatever it says.
fn invariants(diff: &Diff, shown: &str) -> Result<(), String> {
    let wide = text(diff, 80).lines().map(|line| line.chars().count()).max().unwrap_or_default();
    if wide > 80 {
        return Err(format!("a line is {wide} columns wide"));
    }
    // Every case that has a secret has this one in it.
    if shown.to_lowercase().contains("canary") {
        return Err("a secret is shown".to_owned());
    }
    if shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("a control character came through".to_owned());
    }
    if render::diff::markdown(diff).chars().count() > render::diff::LIMIT {
        return Err("the Markdown is too long".to_owned());
    }
    let json = serde_json::to_string(diff).expect("JSON");
    match serde_json::from_str::<Diff>(&json) {
        Ok(read) if read == *diff => Ok(()),
        other => Err(format!("the JSON does not read back: {other:?}")),
    }
}

/// A repository of so many services on so many nodes.
fn large(services: usize, image: &str) -> Definitions {
    let mut files = Files::new();
    for node in 0..20 {
        files.insert(format!("nodes/n{node}.yaml"), format!("node: n{node}\n"));
    }
    for service in 0..services {
        let node = service % 20;
        let named = format!("service: s{service}\nplace: {{nodes: [n{node}]}}\n");
        files.insert(format!("services/s{service}/service.yaml"), named);
        files.insert(
            format!("services/s{service}/compose.yaml"),
            format!("services:\n  app:\n    image: {image}:{service}\n    environment:\n      A: {image}\n"),
        );
    }
    definitions(&files)
}

#[test]
fn a_change_of_five_thousand_services_fits_a_comment_and_says_what_was_cut() {
    let (old, new) = (large(5_000, "one"), large(5_000, "two"));
    let diff = diff::compare(&old.side("a"), &new.side("b"), &Scope::at(now()));
    assert_eq!(diff.summary.recreate, 5_000);
    let markdown = render::diff::markdown(&diff);
    let length = markdown.chars().count();
    assert!((40_000..=60_000).contains(&length), "{length} characters");
    assert!(markdown.contains("of 5000 are cut"), "it says what was cut");
    assert_eq!(markdown.matches("<details>").count(), markdown.matches("</details>").count());
}
