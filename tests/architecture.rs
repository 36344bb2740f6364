//! The shape of the code, checked: modules import only modules above them in the `lib.rs` of their crate, the core
//! reaches nothing outside the process, and every file says what it owns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the core is, and the shell around it.
const CORE: &str = "core/src";
const SHELL: &str = "src";

/// What the core must not name. Most of it is banned by `clippy.toml` too; this also covers what a lint cannot see.
const FORBIDDEN_IN_CORE: [(&str, &str); 14] = [
    ("std::fs", "files are read by the shell"),
    ("TcpStream", "the network belongs to the shell"),
    ("UdpSocket", "the network belongs to the shell"),
    ("ToSocketAddrs", "names are resolved by the shell"),
    ("std::env", "settings are resolved by the shell"),
    ("std::process", "processes belong to the shell"),
    ("std::time", "time is an argument"),
    ("Timestamp::now", "time is an argument"),
    ("tokio", "the core does not wait"),
    ("async fn", "the core does not wait"),
    ("HashMap", "iteration order would leak into plans"),
    ("HashSet", "iteration order would leak into plans"),
    ("getrandom", "randomness is an argument"),
    ("println!", "printing belongs to the shell"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The modules of a crate in the order of its `lib.rs`.
fn modules(source: &str) -> Vec<String> {
    let lib = std::fs::read_to_string(root().join(source).join("lib.rs")).expect("a crate has a lib.rs");
    let names = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// Every Rust file of a module, with its text.
fn files_of(source: &str, module: &str) -> Vec<(PathBuf, String)> {
    let source = root().join(source);
    let mut paths = vec![source.join(format!("{module}.rs"))];
    collect(&source.join(module), &mut paths);
    let read = |path: PathBuf| std::fs::read_to_string(&path).ok().map(|text| (path, text));
    paths.into_iter().filter_map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        if path.file_stem().is_some_and(|name| name == "tests") {
            // Tests may reach further.
        } else if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|end| end == "rs") {
            paths.push(path);
        }
    }
}

/// The part of a file that ships: tests may reach further.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// The modules that a text names after `crate::`, also within `use crate::{…}`.
fn imported(text: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split("};").next().unwrap_or(group);
                found.extend(group.split(',').map(|part| word(part.trim())));
            }
            None => _ = found.insert(word(rest)),
        }
    }
    found
}

#[test]
fn a_module_imports_only_modules_above_it() {
    let mut broken = Vec::new();
    for (source, at_least) in [(CORE, 20), (SHELL, 8)] {
        let modules = modules(source);
        assert!(modules.len() > at_least, "{source}/lib.rs lists its modules one to a line");
        for (position, module) in modules.iter().enumerate() {
            for (path, text) in files_of(source, module) {
                let below = imported(without_tests(&text)).into_iter();
                let below = below.filter(|name| modules[position + 1..].contains(name));
                broken.extend(below.map(|name| {
                    format!("{} imports `{name}`, which stands below `{module}`", path.display())
                }));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_core_reaches_nothing_outside_the_process() {
    let mut broken = Vec::new();
    for (path, text) in modules(CORE).iter().flat_map(|module| files_of(CORE, module)) {
        let code = without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        for (word, reason) in FORBIDDEN_IN_CORE {
            if code.contains(word) {
                broken.push(format!("{} names `{word}`: {reason}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_module_is_in_the_map() {
    let mut missing = Vec::new();
    for source in [CORE, SHELL] {
        let modules = modules(source);
        for entry in std::fs::read_dir(root().join(source)).expect("it is there") {
            let name = entry.expect("the folder can be read").file_name().to_string_lossy().into_owned();
            let name = name.trim_end_matches(".rs");
            if !["lib", "main"].contains(&name) && !modules.iter().any(|module| module == name) {
                missing.push(format!("{source}/{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in the lib.rs of their crate: {missing:?}");
}

/// Unit tests in a file of their own belong to the file above them, which says what both are about.
fn is_tests(path: &Path) -> bool {
    path.to_string_lossy().ends_with("tests.rs")
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let mut paths = Vec::new();
    for folder in [CORE, SHELL, "agent/src", "core/tests", "tests", "agent/tests", "benches"] {
        collect(&root().join(folder), &mut paths);
    }
    assert!(paths.len() > 40);
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("it was just listed");
    let silent: Vec<_> =
        paths.iter().filter(|path| !is_tests(path) && !text(path).starts_with("//!")).collect();
    assert!(silent.is_empty(), "without a `//!` paragraph: {silent:?}");
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let mut paths = Vec::new();
    [CORE, SHELL, "agent/src"].iter().for_each(|source| collect(&root().join(source), &mut paths));
    let lines = |path: &PathBuf| std::fs::read_to_string(path).expect("it was just listed").lines().count();
    let long: Vec<_> = paths
        .iter()
        .map(|path| (lines(path), path))
        .filter(|(lines, path)| *lines > 600 && !is_tests(path))
        .collect();
    assert!(long.is_empty(), "over 600 lines: {long:?}");
}
