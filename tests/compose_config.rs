//! Our reading of Compose files against that of the real Compose.
//!
//! Each folder of `tests/compose/` holds the files of one service and a `case`: variables, one `NAME=value` a line, and
//! where it matters `files: …` and `profiles: …`. The real Compose reads the original, and reads what we would send to a
//! node: both readings must be the same. So Compose itself is the judge of what every short form, merge rule and
//! variable means.
//!
//! Needs `docker compose`, which `tests/setup compose` gets. Under `CI=true` its absence is a failure.

#![expect(clippy::disallowed_methods, reason = "runs the real Compose next to ours")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use gitops_core::compose::{ReadSpec, Source, Variables, labelled};
use gitops_core::tree::Tree;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// `docker compose` in a folder, with nothing in its environment but what finds the program, and `variables`.
fn compose(folder: &Path, variables: &Variables, arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments).current_dir(folder).env_clear();
    for name in ["PATH", "HOME", "DOCKER_CONFIG"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.envs(variables.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
    command.output().unwrap_or_else(|error| panic!("docker does not start: {error}"))
}

/// Whether the real Compose is there. Says so where it is not, and fails where it must be.
fn compose_is_there() -> bool {
    let there = Command::new("docker")
        .args(["compose", "version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "docker compose is missing: run tests/setup compose"
        );
        println!("skipped: docker compose is missing; tests/setup compose gets it");
    }
    there
}

/// What Compose makes of some files: JSON, or its words.
fn config(
    folder: &Path,
    variables: &Variables,
    files: &[String],
    profiles: &[Arc<str>],
) -> Result<serde_json::Value, String> {
    let mut arguments = vec!["--project-directory", "."];
    arguments.extend(files.iter().flat_map(|file| ["-f", file.as_str()]));
    arguments.extend(profiles.iter().flat_map(|profile| ["--profile", profile]));
    arguments.extend(["config", "--format", "json"]);
    let output = compose(folder, variables, &arguments);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // We drop profiles once they have been obeyed, and extensions, which mean nothing to Compose.
    for service in config["services"].as_object_mut().into_iter().flat_map(|services| services.values_mut()) {
        service.as_object_mut().unwrap().remove("profiles");
    }
    config.as_object_mut().unwrap().retain(|key, _| !key.starts_with("x-"));
    drop_empty(&mut config);
    Ok(config)
}

/// `volume: {}` and `networks: {front: null}` say no more than their absence and `{}`.
fn drop_empty(value: &mut serde_json::Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.values_mut().for_each(drop_empty);
        fields
            .retain(|key, field| key != "volume" || field.as_object().is_none_or(|field| !field.is_empty()));
        fields.values_mut().filter(|field| field.is_null()).for_each(|field| *field = serde_json::json!({}));
    }
    value.as_array_mut().into_iter().flatten().for_each(drop_empty);
}

#[derive(Default)]
struct Case {
    variables: Variables,
    files: Vec<Arc<str>>,
    profiles: Vec<Arc<str>>,
}

impl Case {
    fn read(folder: &Path) -> Self {
        let mut case = Self::default();
        for line in std::fs::read_to_string(folder.join("case")).unwrap().lines() {
            let words = |list: &str| list.split_whitespace().map(Arc::from).collect();
            if let Some(files) = line.strip_prefix("files: ") {
                case.files = words(files);
            } else if let Some(profiles) = line.strip_prefix("profiles: ") {
                case.profiles = words(profiles);
            } else if let Some((name, value)) = line.split_once('=') {
                case.variables.insert(name.into(), value.into());
            }
        }
        case
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// The service `name` of a definitions repository that has these files.
fn tree(folder: &Path, name: &str) -> Tree {
    let mut files = Vec::new();
    files_below(folder, &mut files);
    Tree::from_files(files.into_iter().map(|path| {
        let relative = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (format!("services/{name}/{relative}"), std::fs::read(&path).unwrap())
    }))
}

/// The YAML that a node would get.
fn sent(tree: &Tree, name: &str, case: &Case) -> Result<String, String> {
    let spec =
        ReadSpec { files: &case.files, profiles: &case.profiles, overlays: &[], hooks: &[], formerly: None };
    let said = |found: Vec<_>| format!("{found:#?}");
    let source = Source::read(tree, &format!("services/{name}"), &spec).map_err(said)?;
    let rendered = source.render(tree, &case.variables).map_err(said)?;
    Ok(labelled(&rendered.model, &BTreeMap::new()))
}

#[test]
fn compose_reads_what_we_send_as_it_reads_the_original() {
    if !compose_is_there() {
        return;
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let mut failures = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if let Err(failure) = check(&folder, &name) {
            failures += &format!("== {name}\n{failure}\n");
        }
        count += 1;
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count >= 10, "the corpus has only {count} cases");
}

fn check(folder: &Path, name: &str) -> Result<(), String> {
    let case = Case::read(folder);
    let files: Vec<String> = case.files.iter().map(|file| file.to_string()).collect();
    let original = config(folder, &case.variables, &files, &case.profiles)?;
    let yaml = sent(&tree(folder, name), name, &case)?;
    let ours = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ours.path(), &yaml).unwrap();
    let files = [ours.path().to_str().unwrap().to_owned()];
    let again = config(folder, &Variables::new(), &files, &[]).map_err(|words| format!("{words}\n{yaml}"))?;
    if again == original {
        return Ok(());
    }
    let pretty = |value| serde_json::to_string_pretty(value).unwrap();
    let diff = similar::TextDiff::from_lines(pretty(&original), pretty(&again)).unified_diff().to_string();
    Err(diff)
}

/// Text with variables in it that Compose accepts.
fn template() -> impl Strategy<Value = String> {
    let name = prop::sample::select(&["A", "EMPTY", "_u1", "NO", "ALSO_NO"][..]);
    let set = prop::sample::select(&["A", "EMPTY", "_u1"][..]);
    let text = prop_oneof![
        "[a-z0-9 .:/=+?-]{0,5}".prop_map(String::from),
        Just("$$".to_owned()),
        Just("$1".to_owned())
    ];
    let leaf = prop_oneof![
        text,
        set.clone().prop_map(|name| format!("${name}.")),
        set.prop_map(|name| format!("${{{name}}}")),
    ];
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let word = prop::collection::vec(inner.clone(), 0..3).prop_map(|parts| parts.concat());
        let operator = prop::sample::select(&[":-", "-", ":+", "+"][..]);
        prop_oneof![
            prop::collection::vec(inner, 1..3).prop_map(|parts| parts.concat()),
            (name.clone(), operator, word)
                .prop_map(|(name, operator, word)| format!("${{{name}{operator}{word}}}")),
        ]
    })
}

#[test]
fn variables_mean_what_they_mean_to_compose() {
    if !compose_is_there() {
        return;
    }
    let variables: Variables =
        [("A", "a"), ("EMPTY", ""), ("_u1", "u$A")].map(|(name, value)| (name.into(), value.into())).into();
    let mut runner = TestRunner::new(Config { cases: 4, max_shrink_iters: 30, ..Config::default() });
    // Many texts in one file, because each start of Compose takes longer than all of them.
    let texts = prop::collection::vec(template(), 100);
    runner
        .run(&texts, |texts| {
            let environment: BTreeMap<String, &String> =
                texts.iter().enumerate().map(|(number, text)| (format!("K{number}"), text)).collect();
            let file = serde_json::json!({"services": {"a": {"image": "i", "environment": environment}}})
                .to_string();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("compose.yaml"), &file).unwrap();
            let theirs = config(folder.path(), &variables, &["compose.yaml".to_owned()], &[])
                .map_err(TestCaseError::fail)?;
            let tree = Tree::from_files([("services/t/compose.yaml", &file)]);
            let source = Source::read(&tree, "services/t", &ReadSpec::default()).unwrap();
            let ours = source
                .render(&tree, &variables)
                .map_err(|found| TestCaseError::fail(format!("{found:#?}")))?;
            for (key, text) in environment {
                // Compose prints a dollar sign of the result doubled, so that its output can be read again.
                let theirs =
                    theirs["services"]["a"]["environment"][&key].as_str().unwrap().replace("$$", "$");
                prop_assert_eq!(
                    &ours.model.value()["services"]["a"]["environment"][&key],
                    &theirs,
                    "{}",
                    text
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_environment_file_that_we_accept_loses_nothing_in_compose() {
    if !compose_is_there() {
        return;
    }
    let accepted = [
        "A=1 # c\n  export B=$A\nC: ${B}x\n",
        "A='$NO ${NO} \\'x'\nB=\"\\$NO $$NO \\n\"\nC=$$NO\n",
        "A=${NO:-d}${NO-d}${NO:+d}${NO+d}|${COMPOSE_PROJECT_NAME}\n",
        "A=\"one\ntwo\"\nB='three\nfour'\nC=$A\n",
        "A= spaced out \r\nB=x\\y\na.b-c[0]=$ $. $1\n",
        "# words\n\nEMPTY=\nB=$EMPTY\n",
    ]
    .map(str::to_owned);
    let refused = [
        "A=$NO\n",
        "A=${NO}\n",
        "A=\"${NO}\"\n",
        "A=\\$NO\n",
        "A=\"\\\\$NO\"\n",
        "A=${NO:-$NOT}\n",
        "A=${NO:?x}\n",
        "A=${\n",
        "A=\"x\n",
        "A='x\n",
        "A B=1\n",
        "A*=1\n",
        "BARE\n",
        "BARE\nA=1\n",
        "A=$B\nB=1\n",
        "A=$A\n",
    ]
    .map(str::to_owned);
    for (text, is_accepted) in
        accepted.into_iter().map(|text| (text, true)).chain(refused.into_iter().map(|text| (text, false)))
    {
        let folder = tempfile::tempdir().unwrap();
        let file = r#"{"services": {"a": {"image": "i", "env_file": "e"}}}"#;
        std::fs::write(folder.path().join("compose.yaml"), file).unwrap();
        std::fs::write(folder.path().join("e"), &text).unwrap();
        let theirs = compose(folder.path(), &Variables::new(), &["config", "--format", "json"]);
        let words = String::from_utf8_lossy(&theirs.stderr);
        let says_all = !text.contains("BARE") || String::from_utf8_lossy(&theirs.stdout).contains("BARE");
        let keeps_all = theirs.status.success() && !words.contains("variable is not set") && says_all;
        assert_eq!(keeps_all, is_accepted, "Compose of {text:?}: {words}");
        let tree = Tree::from_files([("services/t/compose.yaml", file), ("services/t/e", &text)]);
        let source = Source::read(&tree, "services/t", &ReadSpec::default()).unwrap();
        let ours = source.render(&tree, &Variables::new());
        assert_eq!(ours.is_ok(), is_accepted, "{text:?}: {ours:#?}");
    }
}

#[test]
fn compose_refuses_the_variables_that_we_refuse() {
    if !compose_is_there() {
        return;
    }
    for text in ["${", "${}", "${1}", "${A.b}", "${A:}", "${A:=x}", "${A", "${NO:?say}", "${NO:-${}}"] {
        let file = serde_json::json!({"services": {"a": {"image": text}}}).to_string();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), &file).unwrap();
        let theirs = config(folder.path(), &Variables::new(), &["compose.yaml".to_owned()], &[]);
        assert!(theirs.is_err(), "Compose accepts {text}: {theirs:?}");
        let tree = Tree::from_files([("services/t/compose.yaml", &file)]);
        let ours =
            Source::read(&tree, "services/t", &ReadSpec::default()).unwrap().render(&tree, &Variables::new());
        assert!(ours.is_err(), "we accept {text}");
    }
}
