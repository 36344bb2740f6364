use gitops_core::name::Revision;
use gitops_core::tree::patch::{Becomes, Patch};
use gitops_core::tree::{Limits, Tree};

use crate::git::testing::Origin;
use crate::git::{GitError, Repository, Scope, TreeCache};

fn listed(tree: &Tree) -> Vec<String> {
    let entry = |(path, entry): (&std::sync::Arc<str>, &gitops_core::tree::Entry)| {
        format!("{path} {:?} {} {:?}", entry.kind, entry.size, entry.content)
    };
    tree.entries().map(entry).collect()
}

/// The patch from `base` to `head`, which must make the tree of the one of that of the other.
fn check(origin: &Origin, base: &Revision, head: &Revision, scope: &Scope, expected: &[&str]) -> Patch {
    let repository = Repository::discover(&origin.work()).unwrap();
    let patch = repository.changes(base, head, scope).unwrap();
    assert_eq!(patch.0.keys().map(|path| &**path).collect::<Vec<_>>(), expected);
    let tree = |revision| repository.tree(revision, scope, &mut TreeCache::default()).unwrap();
    assert_eq!(listed(&patch.applied(&tree(base)).unwrap()), listed(&tree(head)));
    patch
}

#[test]
fn what_differs_makes_the_one_revision_of_the_other() {
    let origin = Origin::new();
    origin.write("README.md", "one");
    origin.write("gitops.toml", "one");
    origin.write("services/a/compose.yaml", "one");
    origin.write("services/a/conf/x", "one");
    origin.write("services/b/compose.yaml", [0, 255]);
    origin.write("services/c", "a file");
    let base = origin.commit("one");
    origin.write("README.md", "two");
    origin.write("services/a/conf/y", "two");
    origin.write("services/b/run", "two");
    std::fs::remove_file(origin.work().join("services/a/conf/x")).unwrap();
    std::fs::remove_file(origin.work().join("services/c")).unwrap();
    origin.write("services/c/compose.yaml", [254]);
    origin.git(&["add", "--all"]);
    origin.git(&["update-index", "--chmod=+x", "services/b/run"]);
    origin.git(&["commit", "--quiet", "-m", "two"]);
    let head = origin.head();
    let paths =
        ["services/a/conf/x", "services/a/conf/y", "services/b/run", "services/c", "services/c/compose.yaml"];
    let scope = Scope::default();
    let patch = check(&origin, &base, &head, &scope, &paths);
    assert_eq!(patch.0["services/c"], Becomes::Gone);
    assert!(matches!(patch.0["services/b/run"], Becomes::Executable(_)));
    check(&origin, &head, &base, &scope, &paths);
    check(&origin, &base, &base, &scope, &[]);
    // A file that is too large to be read is told by its size alone: it cannot be deployed.
    let limits = Limits { file_bytes: 2, ..Limits::default() };
    let repository = Repository::discover(&origin.work()).unwrap();
    let patch = repository.changes(&base, &head, &Scope { limits, ..Scope::default() }).unwrap();
    assert_eq!(patch.0["services/b/run"], Becomes::Unread(3));
}

#[test]
fn definitions_in_a_folder_are_compared_there() {
    let origin = Origin::new();
    origin.write("estate/nodes/a.yaml", "one");
    origin.write("nodes/a.yaml", "one");
    let base = origin.commit("one");
    origin.write("estate/nodes/a.yaml", "two");
    origin.write("nodes/a.yaml", "two");
    let head = origin.commit("two");
    let scope = |folder: &str| Scope { folder: folder.to_owned(), ..Scope::default() };
    check(&origin, &base, &head, &scope("estate"), &["nodes/a.yaml"]);
    let repository = Repository::discover(&origin.work()).unwrap();
    let error = repository.changes(&base, &head, &scope("other")).unwrap_err();
    assert!(matches!(error, GitError::NoSuchFolder { .. }), "{error}");
    let gone: Revision = "3".repeat(40).parse().unwrap();
    let error = repository.changes(&gone, &head, &scope("")).unwrap_err();
    assert!(matches!(error, GitError::NoSuchCommit(revision) if revision == gone));
}
