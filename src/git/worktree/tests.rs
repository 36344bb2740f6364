use super::*;
use crate::git::testing::{Origin, git};
use crate::git::{Repository, Scope, TreeCache};

fn on_disk(origin: &Origin) -> Tree {
    tree(&origin.work(), Limits::default()).unwrap()
}

fn committed(origin: &Origin) -> Tree {
    let repository = Repository::discover(&origin.work()).unwrap();
    repository.tree(&origin.head(), &Scope::default(), &mut TreeCache::default()).unwrap()
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.entries().map(|(path, _)| &**path).collect()
}

fn assert_same(one: &Tree, two: &Tree) {
    assert_eq!(format!("{:#?}", one.parts()), format!("{:#?}", two.parts()));
}

fn estate(origin: &Origin) {
    for (path, content) in [
        ("gitops.toml", "format = 1\n"),
        ("nodes/edge-1.yaml", "node: edge-1\n"),
        ("services/api.v2/service.yaml", "service: api\n"),
        ("services/api/.env", "A=1\n"),
        ("services/api/service.yaml", "service: api\n"),
        ("services/api/empty", ""),
        ("other/x", "not a definition\n"),
    ] {
        origin.write(path, content);
    }
    origin.write("services/api/run.sh", "#!/bin/sh\n");
    let script = origin.work().join("services/api/run.sh");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../../gitops.toml", origin.work().join("services/api/link")).unwrap();
    std::os::unix::fs::symlink("../other", origin.work().join("services/folder-link")).unwrap();
}

#[test]
fn a_clean_checkout_equals_its_commit() {
    for format in ["sha1", "sha256"] {
        let origin = Origin::with_format(format);
        estate(&origin);
        origin.commit("estate");
        assert_same(&on_disk(&origin), &committed(&origin));
        assert_eq!(on_disk(&origin).get("services/folder-link").unwrap().kind, EntryKind::Link);
    }
}

#[test]
fn a_folder_of_a_work_tree_is_read_by_its_own_paths() {
    let origin = Origin::new();
    origin.write("infra/gitops.toml", "format = 1\n");
    origin.write("infra/services/api/service.yaml", "service: api\n");
    origin.write("infra/services/api/debug.log", "tracked\n");
    origin.commit("estate");
    origin.write(".gitignore", "*.log\n");
    let tree = tree(&origin.work().join("infra"), Limits::default()).unwrap();
    assert_eq!(paths(&tree), ["gitops.toml", "services/api/debug.log", "services/api/service.yaml"]);
}

#[test]
fn what_is_not_yet_tracked_is_in_and_what_is_ignored_is_not() {
    let origin = Origin::new();
    estate(&origin);
    origin.write(".gitignore", "*.log\n");
    origin.write("services/api/tracked.log", "tracked\n");
    origin.git(&["add", "--force", "services/api/tracked.log"]);
    origin.commit("estate");
    assert_same(&on_disk(&origin), &committed(&origin));
    origin.write("services/api/debug.log", "ignored\n");
    origin.write("services/.gitignore", "secret\n");
    origin.write("services/api/secret", "ignored\n");
    origin.write("services/new/service.yaml", "service: new\n");
    std::fs::remove_file(origin.work().join("services/api/empty")).unwrap();
    let tree = on_disk(&origin);
    for (path, expected) in [
        ("services/api/debug.log", false),
        ("services/api/secret", false),
        ("services/api/empty", false),
        ("services/new/service.yaml", true),
        ("services/api/tracked.log", true),
        ("services/.gitignore", true),
    ] {
        assert_eq!(tree.get(path).is_some(), expected, "{path}");
    }
}

#[test]
fn a_tracked_file_behind_a_link_that_took_its_folder_is_not_read() {
    let origin = Origin::new();
    origin.write("services/api/service.yaml", "service: api\n");
    origin.commit("estate");
    origin.write("elsewhere/service.yaml", "not ours\n");
    std::fs::remove_dir_all(origin.work().join("services/api")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", origin.work().join("services/api")).unwrap();
    assert_eq!(paths(&on_disk(&origin)), ["services/api"]);
}

#[test]
fn submodules_are_listed_and_not_entered() {
    let origin = Origin::new();
    let library = Origin::new();
    library.push_file("x", "x");
    estate(&origin);
    let url = library.bare().display().to_string();
    origin.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        &url,
        "services/api/vendor",
    ]);
    origin.commit("estate");
    assert_same(&on_disk(&origin), &committed(&origin));
    // As after a clone that did not initialise it.
    std::fs::remove_dir_all(origin.work().join("services/api/vendor")).unwrap();
    std::fs::create_dir(origin.work().join("services/api/vendor")).unwrap();
    assert_same(&on_disk(&origin), &committed(&origin));
    git(&origin.work(), &["init", "--quiet", "services/untracked"]);
    assert_eq!(on_disk(&origin).get("services/untracked").unwrap().kind, EntryKind::Submodule);
}

#[test]
fn a_plain_folder_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gitops.toml"), "format = 1\n").unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    std::fs::write(folder.path().join("services/.gitignore"), "x\n").unwrap();
    std::fs::write(folder.path().join("services/x"), "ignored\n").unwrap();
    let tree = tree(folder.path(), Limits::default()).unwrap();
    assert_eq!(paths(&tree), ["gitops.toml", "services/.gitignore"]);
}

#[test]
fn pipes_are_passed_over_and_limits_hold() {
    let origin = Origin::new();
    estate(&origin);
    let pipe = origin.work().join("services/api/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(on_disk(&origin).get("services/api/pipe").is_none());
    let limits = Limits { file_bytes: 12, ..Limits::default() };
    let limited = tree(&origin.work(), limits).unwrap();
    let file = limited.get("services/api/service.yaml").unwrap();
    assert_eq!((file.size, file.content.is_none()), (13, true));
    let limits = Limits { files: 3, ..Limits::default() };
    assert_eq!(
        tree(&origin.work(), limits).unwrap().entries().count(),
        4,
        "one more shows that the limit is passed"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = tree(&missing, Limits::default()).unwrap_err();
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
}
