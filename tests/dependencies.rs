//! What we ship of others: their licences, where they come from, what must not be among them, and that each comes
//! in one version. The rules stand in `deny.toml`, and mean here what they mean to `cargo deny`; this test applies
//! them where that tool is not installed.
//!
//! Looked at are the crates that the shipped programs are built from: normal and build dependencies, for the
//! targets that `deny.toml` names. What only the tests use is not shipped.

#![allow(clippy::disallowed_methods, reason = "the test asks cargo for the graph")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

/// The registry that `unknown-registry = "deny"` lets through, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

// ---- deny.toml ----------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Rules {
    graph: GraphRules,
    licenses: LicenseRules,
    bans: BanRules,
}

#[derive(Deserialize)]
struct GraphRules {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct LicenseRules {
    allow: BTreeSet<String>,
}

#[derive(Default, Deserialize)]
struct BanRules {
    deny: Vec<CrateRule>,
    skip: Vec<CrateRule>,
}

/// A crate, as `name` or as `name@version`.
#[derive(Deserialize)]
struct CrateRule {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

impl CrateRule {
    fn covers(&self, package: &Package) -> bool {
        self.spec == package.name || self.spec == package.spec()
    }
}

fn rules() -> Rules {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(path).expect("deny.toml is there");
    toml::from_str(&text).expect("deny.toml has the sections that this test applies")
}

// ---- the graph ----------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Requirement>,
}

impl Package {
    fn spec(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// What a manifest asks for.
#[derive(Clone, Deserialize)]
struct Requirement {
    name: String,
    req: String,
    path: Option<String>,
}

/// The packages of the workspace and of others that the programs are built from. `cargo metadata` knows the licences
/// and sources, but lists optional crates that nothing turns on; what is really built is known to `cargo tree`.
static SHIPPED: LazyLock<Vec<Package>> = LazyLock::new(|| {
    let targets = rules().graph.targets;
    let built = built(&targets.iter().map(|target| cargo(TREE, "--target", &[target])).collect::<String>());
    let metadata = cargo(METADATA, "--filter-platform", &targets.iter().collect::<Vec<_>>());
    let metadata: Metadata = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata.packages.into_iter().filter(|package| built.contains(&package.spec()));
    let shipped: Vec<Package> = packages.collect();
    assert_eq!(shipped.len(), built.len(), "both tell of the same crates");
    shipped
});

const TREE: &str = "tree --workspace --locked --edges normal,build --prefix none --format {p}";
const METADATA: &str = "metadata --locked --format-version 1";

/// Each line is `name v1.2.3`, and what else cargo tells of it.
fn built(tree: &str) -> BTreeSet<String> {
    let spec = |line: &str| {
        let mut words = line.split(' ');
        Some(format!("{}@{}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    tree.lines().filter_map(spec).collect()
}

/// Cargo needs the network only for what it never fetched.
fn cargo(command: &str, option: &str, targets: &[&String]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(command.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR"));
    targets.iter().for_each(|target| _ = cargo.args([option, target]));
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

// ---- licences -----------------------------------------------------------------------------------------------------

/// Whether a licence expression (SPDX, or the old `MIT/Apache-2.0`) can be met with `allow` alone.
fn is_met(expression: &str, allow: &BTreeSet<String>) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allow)?;
    if rest.is_empty() {
        Ok(met)
    } else {
        Err(format!("`{}` is left over in `{expression}`", rest.join(" ")))
    }
}

/// Alternatives, joined by `OR`, which binds the least.
fn any(words: &mut &[&str], allow: &BTreeSet<String>) -> Result<bool, String> {
    let mut met = all(words, allow)?;
    while take(words, "OR") {
        met |= all(words, allow)?;
    }
    Ok(met)
}

fn all(words: &mut &[&str], allow: &BTreeSet<String>) -> Result<bool, String> {
    let mut met = one(words, allow)?;
    while take(words, "AND") {
        met &= one(words, allow)?;
    }
    Ok(met)
}

/// A licence, with its exception where it has one, or an expression in brackets.
fn one(words: &mut &[&str], allow: &BTreeSet<String>) -> Result<bool, String> {
    if take(words, "(") {
        let met = any(words, allow)?;
        return if take(words, ")") { Ok(met) } else { Err("a bracket is not closed".to_owned()) };
    }
    let licence = next(words)?;
    let named =
        if take(words, "WITH") { format!("{licence} WITH {}", next(words)?) } else { licence.to_owned() };
    Ok(allow.contains(&named))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        *words = &words[1..];
    }
    found
}

fn next<'a>(words: &mut &[&'a str]) -> Result<&'a str, String> {
    let (first, rest) = words.split_first().ok_or("a licence is missing")?;
    *words = rest;
    if ["OR", "AND", "WITH", ")"].contains(first) {
        Err(format!("`{first}` stands alone"))
    } else {
        Ok(first)
    }
}

fn licence_mistakes(packages: &[Package], allow: &BTreeSet<String>) -> Vec<String> {
    let mistake = |package: &Package| {
        let Some(licence) = &package.license else {
            return Some(format!("{} names no licence", package.spec()));
        };
        match is_met(licence, allow) {
            Ok(true) => None,
            Ok(false) => {
                Some(format!("{} has the licence `{licence}`, which is not allowed", package.spec()))
            }
            Err(why) => Some(format!("the licence of {} cannot be read: {why}", package.spec())),
        }
    };
    packages.iter().filter_map(mistake).collect()
}

/// Licences that could be taken off the list without a mistake.
fn unneeded_licences<'a>(packages: &[Package], allow: &'a BTreeSet<String>) -> Vec<&'a str> {
    let without = |licence: &String| allow.iter().filter(|other| *other != licence).cloned().collect();
    let is_unneeded = |licence: &&String| licence_mistakes(packages, &without(licence)).is_empty();
    allow.iter().filter(is_unneeded).map(String::as_str).collect()
}

// ---- bans and sources ---------------------------------------------------------------------------------------------

fn ban_mistakes(packages: &[Package], deny: &[CrateRule]) -> Vec<String> {
    let banned = |package: &Package| {
        let rule = deny.iter().find(|rule| rule.covers(package))?;
        Some(format!("{} is banned: {}", package.spec(), rule.reason))
    };
    packages.iter().filter_map(banned).collect()
}

fn duplicate_mistakes(packages: &[Package], skip: &[CrateRule]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package);
    }
    versions.retain(|_, of_one_name| of_one_name.len() > 1);
    let is_skipped = |package: &&Package| skip.iter().any(|rule| rule.covers(package));
    let left =
        |of_one_name: &Vec<&Package>| of_one_name.iter().filter(|package| !is_skipped(package)).count();
    let duplicates = versions.values().filter(|of_one_name| left(of_one_name) > 1).map(|of_one_name| {
        let specs: Vec<String> = of_one_name.iter().map(|package| package.spec()).collect();
        format!(
            "{} come together: bring them to one version, or skip one with its reason",
            specs.join(" and ")
        )
    });
    let is_needed = |rule: &&CrateRule| versions.values().flatten().any(|package| rule.covers(package));
    let needless = skip.iter().filter(|rule| !is_needed(rule));
    duplicates
        .chain(needless.map(|rule| format!("skipping {} is needless: it is no duplicate", rule.spec)))
        .collect()
}

fn wildcard_mistakes(packages: &[Package]) -> Vec<String> {
    let ours = packages.iter().filter(|package| package.source.is_none());
    let wild = ours.flat_map(|package| {
        package.dependencies.iter().filter(|wanted| wanted.req == "*").map(move |wanted| (package, wanted))
    });
    // A member of the workspace is named by its folder, so its version is whatever lies there.
    let wild = wild.filter(|(_, wanted)| wanted.path.is_none());
    wild.map(|(package, wanted)| format!("{} takes any version of {}", package.name, wanted.name)).collect()
}

fn source_mistakes(packages: &[Package], members: &[&str]) -> Vec<String> {
    let mistake = |package: &Package| match package.source.as_deref() {
        Some(REGISTRY) => None,
        Some(source) => Some(format!("{} comes from {source}", package.spec())),
        None if members.contains(&package.name.as_str()) => None,
        None => Some(format!("{} comes from a folder that is no member of the workspace", package.spec())),
    };
    packages.iter().filter_map(mistake).collect()
}

// ---- the rules hold here ------------------------------------------------------------------------------------------

fn none(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn every_licence_is_allowed_and_every_allowed_licence_is_needed() {
    let (packages, allow) = (&*SHIPPED, rules().licenses.allow);
    none(&licence_mistakes(packages, &allow));
    assert_eq!(unneeded_licences(packages, &allow), [""; 0], "these can be taken off the list");
}

#[test]
fn no_crate_is_banned_doubled_or_of_any_version() {
    let (packages, bans) = (&*SHIPPED, rules().bans);
    none(&ban_mistakes(packages, &bans.deny));
    none(&duplicate_mistakes(packages, &bans.skip));
    none(&wildcard_mistakes(packages));
}

#[test]
fn every_crate_comes_from_the_registry_or_from_this_workspace() {
    let members = ["gitops", "gitops-agent", "gitops-core", "gitops-crash", "gitops-simulation"];
    none(&source_mistakes(&SHIPPED, &members));
}

#[test]
fn the_agent_is_built_without_git_web_server_and_database() {
    let targets = rules().graph.targets;
    let tree = |package: &str| {
        let command = TREE.replace("--workspace", &format!("--package {package}"));
        built(&targets.iter().map(|target| cargo(&command, "--target", &[target])).collect::<String>())
    };
    let heavy = |package: &str| {
        let is_heavy = |spec: &&String| ["gix@", "axum@", "sqlx@"].iter().any(|name| spec.starts_with(name));
        tree(package).iter().filter(is_heavy).cloned().collect::<Vec<_>>()
    };
    assert_eq!(heavy("gitops").len(), 3, "the daemon has them");
    assert_eq!(heavy("gitops-agent"), Vec::<String>::new());
}

// ---- and would be seen to fail ------------------------------------------------------------------------------------

fn package(spec: &str, license: Option<&str>, source: Option<&str>) -> Package {
    let (name, version) = spec.split_once('@').expect("name@version");
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.map(str::to_owned),
        source: source.map(str::to_owned),
        dependencies: Vec::new(),
    }
}

fn crates(specs: &[&str]) -> Vec<Package> {
    specs.iter().map(|spec| package(spec, Some("MIT"), Some(REGISTRY))).collect()
}

fn rule(spec: &str) -> CrateRule {
    CrateRule { spec: spec.to_owned(), reason: "of a test".to_owned() }
}

#[test]
fn licence_expressions_mean_what_spdx_says() {
    let allow: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", Ok(true)),
        ("GPL-3.0", Ok(false)),
        ("GPL-3.0 OR MIT", Ok(true)),
        ("GPL-3.0/MIT", Ok(true)),
        ("MIT AND GPL-3.0", Ok(false)),
        ("MIT OR ISC AND GPL-3.0", Ok(true)),
        ("(MIT OR ISC) AND GPL-3.0", Ok(false)),
        ("(GPL-3.0 OR ISC) AND MIT", Ok(true)),
        ("Apache-2.0", Ok(false)),
        ("Apache-2.0 WITH LLVM-exception", Ok(true)),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", Ok(true)),
        ("", Err("a licence is missing")),
        ("MIT OR", Err("a licence is missing")),
        ("OR MIT", Err("`OR` stands alone")),
        ("(MIT", Err("a bracket is not closed")),
        ("MIT ISC", Err("`ISC` is left over in `MIT ISC`")),
    ] {
        assert_eq!(is_met(expression, &allow), expected.map_err(str::to_owned), "{expression}");
    }
}

#[test]
fn a_licence_that_is_missing_forbidden_or_needless_is_found() {
    let allow: BTreeSet<String> = ["ISC", "MIT"].map(str::to_owned).into();
    let packages = [package("a@1.0.0", None, None), package("b@1.0.0", Some("GPL-3.0"), None)];
    let expected = ["a@1.0.0 names no licence", "b@1.0.0 has the licence `GPL-3.0`, which is not allowed"];
    assert_eq!(licence_mistakes(&packages, &allow), expected);
    assert_eq!(unneeded_licences(&crates(&["c@1.0.0"]), &allow), ["ISC"]);
}

#[test]
fn a_banned_crate_is_found() {
    let deny = [rule("openssl-sys"), rule("time@0.1.0")];
    let found = ban_mistakes(&crates(&["openssl-sys@0.9.1", "time@0.1.0", "time@0.3.0"]), &deny);
    assert_eq!(found, ["openssl-sys@0.9.1 is banned: of a test", "time@0.1.0 is banned: of a test"]);
}

#[test]
fn two_versions_of_a_crate_are_found_unless_one_is_skipped() {
    let packages = crates(&["a@1.0.0", "a@2.0.0", "b@1.0.0"]);
    assert_eq!(duplicate_mistakes(&packages, &[]).len(), 1);
    assert_eq!(duplicate_mistakes(&packages, &[rule("a@1.0.0")]), [""; 0]);
    let needless = duplicate_mistakes(&packages, &[rule("a@1.0.0"), rule("b@1.0.0")]);
    assert_eq!(needless, ["skipping b@1.0.0 is needless: it is no duplicate"]);
}

#[test]
fn any_version_is_found_unless_it_is_a_folder() {
    let wanted =
        |path: Option<&str>| Requirement { name: "b".into(), req: "*".into(), path: path.map(str::to_owned) };
    let ours =
        Package { dependencies: vec![wanted(None), wanted(Some(".."))], ..package("a@1.0.0", None, None) };
    assert_eq!(wildcard_mistakes(&[ours]), ["a takes any version of b"]);
}

#[test]
fn a_crate_from_elsewhere_is_found() {
    let packages =
        [package("a@1.0.0", None, Some("git+https://example.org/a")), package("b@1.0.0", None, None)];
    assert_eq!(
        source_mistakes(&packages, &["gitops"]),
        [
            "a@1.0.0 comes from git+https://example.org/a",
            "b@1.0.0 comes from a folder that is no member of the workspace"
        ]
    );
}

#[test]
fn what_cargo_tells_of_the_tree_is_read() {
    let tree = "us v1.0.0 (/src/us)\na v1.2.3\nb v0.1.0-rc.1 (proc-macro)\n\nus v1.0.0 (/src/us) (*)\na v1.2.3 (*)\n";
    assert_eq!(built(tree), ["a@1.2.3", "b@0.1.0-rc.1", "us@1.0.0"].map(str::to_owned).into());
}

// ---- what is asked for --------------------------------------------------------------------------------------------

/// A dependency that no line of code names is built, shipped and licensed for nothing.
#[test]
fn every_dependency_is_named_by_some_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (manifest, folders) in
        [("Cargo.toml", &["src", "benches", "tests"][..]), ("agent/Cargo.toml", &["agent"][..])]
    {
        let text = std::fs::read_to_string(root.join(manifest)).expect("a manifest");
        let manifest_toml: toml::Table = text.parse().expect("TOML");
        let mut code = String::new();
        folders.iter().for_each(|folder| read_code(&root.join(folder), &mut code));
        let named = |name: &String| {
            let name = name.replace('-', "_");
            [format!("{name}::"), format!("use {name};"), format!("{name} as ")]
                .iter()
                .any(|use_| code.contains(use_))
        };
        let asked =
            ["dependencies", "dev-dependencies"].iter().filter_map(|table| manifest_toml[*table].as_table());
        let unused: Vec<&String> = asked.flat_map(toml::Table::keys).filter(|name| !named(name)).collect();
        assert!(unused.is_empty(), "{manifest}: {unused:?}");
    }
}

fn read_code(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            read_code(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(&path).expect("code is UTF-8"));
        }
    }
}
