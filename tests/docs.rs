//! Documents and examples say what is true: every `console` block of `README.md` and `docs/` is run in a copy of
//! `examples/repo`, which is itself checked, with its schemas.

#![allow(clippy::disallowed_methods, reason = "the tests start programs")]

mod support;

use std::path::{Path, PathBuf};

use support::{Sandbox, copy, repository, session, succeed};

/// Blocks that are marked `norun=NAME`, and why. A block of any other mark is a mistake.
const NOT_RUN: [(&str, &str); 4] = [
    ("fleet", "tests/e2e/documents.rs runs it, beside a daemon and two nodes"),
    ("quickstart", "tests/e2e/quickstart.rs runs it"),
    ("tests", "it runs this test"),
    ("install", "it changes the machine: it takes root, and leaves services behind"),
];

fn documents() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join("docs")).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.push(repository().join("README.md"));
    paths.sort();
    paths
}

/// `examples/repo` as a repository with one commit, and its parent folder.
fn example() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    copy(&repository().join("examples/repo"), &sandbox.path("repo"));
    sandbox.git("repo", &["init", "--quiet"]);
    sandbox.git("repo", &["add", "--all"]);
    sandbox.git("repo", &["commit", "--quiet", "--message", "The corner shop"]);
    let folder = sandbox.path("repo");
    (sandbox, folder)
}

#[test]
fn every_command_in_a_document_prints_what_the_document_shows() {
    let mut failures = Vec::new();
    let mut number = 0;
    for path in documents() {
        match check(&path) {
            Ok(commands) => number += commands,
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(number >= 3, "only {number} commands were found in the documents");
}

fn check(path: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_known = |marks: &str| NOT_RUN.iter().any(|(name, _)| marks == format!("norun={name}"));
    for (marks, _) in session::blocks(&text) {
        if !marks.is_empty() && !is_known(marks) {
            return Err(format!(
                "{}: a block is marked `{marks}`, for which no reason is given",
                path.display()
            ));
        }
    }
    let (sandbox, folder) = example();
    session::check(&sandbox, &folder, path, str::is_empty)
}

#[test]
fn the_example_has_no_mistake_in_any_file() {
    let (sandbox, folder) = example();
    let mut gitops = sandbox.command("gitops");
    let output = gitops.current_dir(folder).args(["validate", "-o", "json"]).output().expect("gitops starts");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let size = ["valid", "services", "instances", "nodes"].map(|key| report[key].clone());
    assert_eq!(serde_json::json!(size), serde_json::json!([true, 4, 5, 2]), "{}", support::said(&output));
}

#[test]
fn the_schemas_of_the_example_are_those_of_the_program() {
    let sandbox = Sandbox::new();
    for form in ["settings", "node", "feature", "control", "service"] {
        let path = repository().join(format!("examples/repo/schemas/{form}.json"));
        let schema = succeed(sandbox.command("gitops").args(["schema", form]));
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            support::write(&path, &schema);
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == schema,
            "{} is not `gitops schema {form}`: UPDATE_GOLDENS=1 writes it",
            path.display()
        );
    }
}

/// An editor finds the schema by a comment at the head of the file.
#[test]
fn every_definition_of_the_example_names_its_schema() {
    let (sandbox, folder) = example();
    let listed = sandbox.git(
        "repo",
        &["ls-files", "gitops.toml", "nodes", "features/*.yaml", "controls", "services/*/service.yaml"],
    );
    let definitions = listed.lines().filter(|path| !path.contains("overlays/"));
    for path in definitions {
        let text = std::fs::read_to_string(folder.join(path)).expect("definitions are UTF-8");
        let named = text
            .lines()
            .next()
            .and_then(|line| line.split(['=', ' ']).next_back())
            .expect("it has a first line");
        let schema = folder.join(path).parent().expect("it is in a folder").join(named);
        assert!(schema.exists(), "{path} opens with the path of its schema, not with `{named}`");
    }
}
