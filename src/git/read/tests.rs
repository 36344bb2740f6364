use super::*;
use crate::git::Repository;
use crate::git::testing::{Origin, git};

fn tree_of(origin: &Origin, revision: &Revision, scope: &Scope, cache: &mut TreeCache) -> Tree {
    Repository::discover(&origin.work()).unwrap().tree(revision, scope, cache).unwrap()
}

fn read(origin: &Origin, revision: &Revision) -> Tree {
    tree_of(origin, revision, &Scope::default(), &mut TreeCache::default())
}

fn with_limits(change: impl FnOnce(&mut Limits)) -> Scope {
    let mut scope = Scope::default();
    change(&mut scope.limits);
    scope
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.entries().map(|(path, _)| &**path).collect()
}

fn read_paths(tree: &Tree) -> Vec<&str> {
    tree.entries().filter(|(_, entry)| entry.content.is_some()).map(|(path, _)| &**path).collect()
}

fn estate(origin: &Origin) {
    for (path, content) in [
        ("gitops.toml", "format = 1\n"),
        ("nodes/edge-1.yaml", "node: edge-1\n"),
        ("services/api/compose.yaml", "services: {}\n"),
        ("services/api/service.yaml", "service: api\n"),
        ("services/web/conf/site.conf", "listen 80;\n"),
        ("services/web/service.yaml", "service: web\n"),
        ("README.md", "not a definition\n"),
        ("docs/services/x.yaml", "not a definition\n"),
        ("servicesx/x.yaml", "not a definition\n"),
    ] {
        origin.write(path, content);
    }
}

#[test]
fn only_definitions_are_read_in_order_with_git_ids_and_sizes() {
    let origin = Origin::new();
    estate(&origin);
    let revision = origin.commit("estate");
    let tree = read(&origin, &revision);
    let expected = [
        "gitops.toml",
        "nodes/edge-1.yaml",
        "services/api/compose.yaml",
        "services/api/service.yaml",
        "services/web/conf/site.conf",
        "services/web/service.yaml",
    ];
    assert_eq!(paths(&tree), expected);
    let entry = tree.get("services/web/conf/site.conf").unwrap();
    assert_eq!((entry.size, entry.kind), (11, EntryKind::File { executable: false }));
    assert_eq!(entry.content.as_deref(), Some(&b"listen 80;\n"[..]));
    let id = origin.git(&["rev-parse", "HEAD:services/web/conf/site.conf"]);
    assert_eq!(entry.id, blob_id(gix::ObjectId::from_hex(id.as_bytes()).unwrap()));
}

#[test]
fn links_executables_and_submodules_are_told_apart_and_not_followed() {
    let origin = Origin::new();
    estate(&origin);
    origin.write("services/web/run.sh", "#!/bin/sh\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(origin.work().join("services/web/run.sh"), executable).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", origin.work().join("services/web/passwd")).unwrap();
    let first = origin.commit("first");
    let gitlink = format!("160000,{first},services/web/vendor");
    origin.git(&["update-index", "--add", "--cacheinfo", &gitlink]);
    origin.git(&["commit", "--quiet", "-m", "submodule"]);
    let tree = read(&origin, &origin.head());
    let link = tree.get("services/web/passwd").unwrap();
    assert_eq!((link.kind, link.content.as_deref()), (EntryKind::Link, Some(&b"/etc/passwd"[..])));
    assert_eq!(tree.get("services/web/run.sh").unwrap().kind, EntryKind::File { executable: true });
    let submodule = tree.get("services/web/vendor").unwrap();
    assert_eq!((submodule.kind, submodule.size), (EntryKind::Submodule, 0));
    assert!(submodule.content.is_none());
    assert_eq!(submodule.id, blob_id(objects::object_id(&first)));
}

#[test]
fn a_root_that_is_a_link_is_listed_and_not_taken_for_empty() {
    let origin = Origin::new();
    std::os::unix::fs::symlink("elsewhere", origin.work().join("services")).unwrap();
    let tree = read(&origin, &origin.commit("link"));
    assert_eq!(tree.get("services").unwrap().kind, EntryKind::Link);
}

#[test]
fn what_is_over_a_limit_is_listed_with_its_size_and_without_content() {
    let origin = Origin::new();
    estate(&origin);
    origin.write("services/big/data", vec![0; 5000]);
    let revision = origin.commit("estate");
    let tree = tree_of(
        &origin,
        &revision,
        &with_limits(|limits| limits.file_bytes = 4999),
        &mut TreeCache::default(),
    );
    let big = tree.get("services/big/data").unwrap();
    assert_eq!((big.size, big.content.is_none()), (5000, true));
    assert_eq!(read_paths(&tree).len(), tree.entries().count() - 1, "the others are read");

    let tree = tree_of(
        &origin,
        &revision,
        &with_limits(|limits| limits.total_bytes = 40),
        &mut TreeCache::default(),
    );
    assert_eq!(read_paths(&tree), ["gitops.toml", "nodes/edge-1.yaml", "services/api/compose.yaml"]);
    assert_eq!(tree.entries().count(), 7, "all are listed");

    let tree =
        tree_of(&origin, &revision, &with_limits(|limits| limits.files = 2), &mut TreeCache::default());
    assert_eq!(tree.entries().count(), 3, "one more than the limit shows that it is passed");
    assert_eq!(read_paths(&tree).len(), 2);
}

#[test]
fn two_revisions_share_the_bytes_of_what_did_not_change() {
    let origin = Origin::new();
    estate(&origin);
    let one = origin.commit("one");
    origin.write("services/web/service.yaml", "service: web # changed\n");
    origin.write("services/new/service.yaml", "service: new\n");
    std::fs::remove_file(origin.work().join("services/api/compose.yaml")).unwrap();
    let two = origin.commit("two");
    let mut cache = TreeCache::default();
    let scope = Scope::default();
    let (before, after) =
        (tree_of(&origin, &one, &scope, &mut cache), tree_of(&origin, &two, &scope, &mut cache));
    assert!(after.get("services/api/compose.yaml").is_none());
    assert_eq!(after.get("services/web/service.yaml").unwrap().size, 23);
    for path in
        ["gitops.toml", "nodes/edge-1.yaml", "services/api/service.yaml", "services/web/conf/site.conf"]
    {
        let content = |tree: &Tree| tree.get(path).unwrap().content.clone().unwrap();
        assert!(Arc::ptr_eq(&content(&before), &content(&after)), "{path}");
    }
    let again = tree_of(&origin, &one, &scope, &mut cache);
    let content = |tree: &Tree| tree.get("services/web/service.yaml").unwrap().content.clone().unwrap();
    assert!(Arc::ptr_eq(&content(&before), &content(&again)), "the one before last is kept too");
    assert_eq!(cache.recent.len(), 2);
}

/// Whatever was read before, a tree only depends on its revision and limits.
#[test]
fn a_cache_never_changes_what_is_read() {
    let origin = Origin::new();
    let mut revisions = Vec::new();
    for number in 0..12 {
        // Files turn into folders and back, come and go, and grow past the limits.
        let name = format!("services/s{}/a", number % 3);
        let _ = std::fs::remove_dir_all(origin.work().join(&name));
        let _ = std::fs::remove_file(origin.work().join(&name));
        let path = if number % 2 == 0 { name.clone() } else { format!("{name}/b") };
        origin.write(&path, "x".repeat(number * 7));
        origin.write(&format!("services/s{}/a.b", number % 4), "y".repeat(number));
        origin.write("gitops.toml", number.to_string());
        revisions.push(origin.commit("next"));
    }
    for scope in [
        Scope::default(),
        with_limits(|limits| limits.file_bytes = 40),
        with_limits(|limits| limits.total_bytes = 60),
        with_limits(|limits| limits.files = 4),
    ] {
        let mut cache = TreeCache::default();
        for step in [1, 5, 7] {
            for number in 0..revisions.len() {
                let revision = &revisions[number * step % revisions.len()];
                let cached = tree_of(&origin, revision, &scope, &mut cache);
                let fresh = tree_of(&origin, revision, &scope, &mut TreeCache::default());
                assert_eq!(
                    format!("{:?}", cached.parts()),
                    format!("{:?}", fresh.parts()),
                    "{scope:?} {revision}"
                );
            }
        }
    }
}

#[test]
fn one_cache_serves_other_limits_without_mixing_them() {
    let origin = Origin::new();
    estate(&origin);
    let revision = origin.commit("estate");
    let mut cache = TreeCache::default();
    tree_of(&origin, &revision, &Scope::default(), &mut cache);
    let tree = tree_of(&origin, &revision, &with_limits(|limits| limits.file_bytes = 11), &mut cache);
    assert_eq!(read_paths(&tree), ["gitops.toml", "services/web/conf/site.conf"]);
}

#[test]
fn definitions_may_live_in_a_folder() {
    let origin = Origin::new();
    origin.write("infra/estate/gitops.toml", "format = 1\n");
    origin.write("gitops.toml", "another\n");
    let revision = origin.commit("estate");
    for folder in ["infra/estate", "/infra/estate/", "./infra//estate"] {
        let scope = Scope { folder: folder.into(), ..Scope::default() };
        let tree = tree_of(&origin, &revision, &scope, &mut TreeCache::default());
        assert_eq!(
            tree.get("gitops.toml").unwrap().content.as_deref(),
            Some(&b"format = 1\n"[..]),
            "{folder}"
        );
    }
    for folder in ["nowhere", "gitops.toml", "../infra"] {
        let scope = Scope { folder: folder.into(), ..Scope::default() };
        let repository = Repository::discover(&origin.work()).unwrap();
        let error = repository.tree(&revision, &scope, &mut TreeCache::default()).unwrap_err();
        assert!(matches!(error, GitError::NoSuchFolder { .. }), "{folder}: {error}");
    }
}

/// Writes a tree object of these `mode name\0id` entries, well-formed or not, and gives its id.
fn hostile_tree(origin: &Origin, entries: &[(&str, &str, &str)]) -> String {
    let mut data = Vec::new();
    for (mode, name, id) in entries {
        data.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        data.extend_from_slice(gix::ObjectId::from_hex(id.as_bytes()).unwrap().as_slice());
    }
    std::fs::write(origin.folder().join("tree"), data).unwrap();
    origin.git(&["hash-object", "-t", "tree", "-w", "--literally", "../tree"])
}

fn hostile_commit(origin: &Origin, tree: &str) -> Revision {
    origin.git(&["commit-tree", "-m", "hostile", tree]).parse().unwrap()
}

#[test]
fn names_that_leave_their_folder_are_refused() {
    let origin = Origin::new();
    origin.write("x", "x");
    let blob = origin.git(&["hash-object", "-w", "x"]);
    for name in ["..", ".", "a/../../x", ".git", ".GIT", ""] {
        let services = hostile_tree(&origin, &[("100644", name, &blob)]);
        let revision = hostile_commit(&origin, &hostile_tree(&origin, &[("40000", "services", &services)]));
        let repository = Repository::discover(&origin.work()).unwrap();
        let error = repository.tree(&revision, &Scope::default(), &mut TreeCache::default()).unwrap_err();
        assert!(matches!(error, GitError::Hostile { .. }), "{name:?}: {error}");
    }
}

#[test]
fn folders_that_multiply_by_nesting_are_bounded() {
    for leaf_is_empty in [true, false] {
        let origin = Origin::new();
        origin.write("x", "x");
        let blob = origin.git(&["hash-object", "-w", "x"]);
        let leaf: &[_] = if leaf_is_empty { &[] } else { &[("100644", "x", &*blob)] };
        let mut tree = hostile_tree(&origin, leaf);
        // Ten folders of ten folders of …: 10^12 of them, in twelve objects.
        let names: Vec<_> = (0..10).map(|number| number.to_string()).collect();
        for _ in 0..12 {
            let entries: Vec<_> = names.iter().map(|name| ("40000", &**name, &*tree)).collect();
            tree = hostile_tree(&origin, &entries);
        }
        let revision = hostile_commit(&origin, &hostile_tree(&origin, &[("40000", "services", &tree)]));
        let repository = Repository::discover(&origin.work()).unwrap();
        let scope = with_limits(|limits| limits.files = 500);
        match repository.tree(&revision, &scope, &mut TreeCache::default()) {
            Ok(tree) => assert_eq!(tree.entries().count(), 501),
            Err(error) => assert!(error.to_string().contains("over 2100 folders"), "{error}"),
        }
    }
}

#[test]
fn a_folder_thousands_deep_is_refused() {
    let origin = Origin::new();
    let mut tree = hostile_tree(&origin, &[]);
    for _ in 0..MAX_DEPTH + 1 {
        tree = hostile_tree(&origin, &[("40000", "d", &tree)]);
    }
    let revision = hostile_commit(&origin, &hostile_tree(&origin, &[("40000", "services", &tree)]));
    let repository = Repository::discover(&origin.work()).unwrap();
    let error = repository.tree(&revision, &Scope::default(), &mut TreeCache::default()).unwrap_err();
    assert!(error.to_string().contains("folders deep"), "{error}");
}

#[test]
fn packed_and_loose_objects_read_the_same() {
    let origin = Origin::new();
    estate(&origin);
    let revision = origin.commit("estate");
    let loose = read(&origin, &revision);
    git(&origin.work(), &["gc", "--quiet"]);
    assert_eq!(format!("{:?}", loose.parts()), format!("{:?}", read(&origin, &revision).parts()));
}
