use super::*;
use crate::git::testing::{Origin, git, trusts_every_folder};

fn discover(origin: &Origin) -> Repository {
    Repository::discover(&origin.work()).unwrap()
}

#[test]
fn a_repository_is_found_from_within_its_folders() {
    let origin = Origin::new();
    origin.write("services/web/service.yaml", "");
    let repository = Repository::discover(&origin.work().join("services/web")).unwrap();
    assert_eq!(
        repository.work_tree().unwrap().canonicalize().unwrap(),
        origin.work().canonicalize().unwrap()
    );
    assert!(Repository::discover(&origin.bare()).unwrap().work_tree().is_none());
    let plain = tempfile::tempdir().unwrap();
    for path in [plain.path().to_owned(), plain.path().join("missing")] {
        let Err(error) = Repository::discover(&path) else { panic!("found one at {path:?}") };
        assert!(matches!(error, GitError::NotInRepository { .. }), "{error:?}");
    }
}

#[test]
fn specs_resolve_to_commits_as_rev_parse_does() {
    let origin = Origin::new();
    let first = origin.push_file("gitops.toml", "one");
    let second = origin.push_file("gitops.toml", "two");
    origin.git(&["tag", "-a", "v1", "-m", "v1", first.as_str()]);
    let repository = discover(&origin);
    for (spec, expected) in [
        ("HEAD", &second),
        ("HEAD~1", &first),
        ("main^", &first),
        ("v1", &first),
        ("@", &second),
        (second.as_str(), &second),
        (second.short(), &second),
        ("refs/heads/main", &second),
    ] {
        assert_eq!(repository.resolve(spec).unwrap(), *expected, "{spec}");
    }
    for spec in ["", "nope", "HEAD~9", "-n", "--help", "HEAD:gitops.toml", "v1..main", "HEAD\n", "0000000"] {
        let error = repository.resolve(spec).unwrap_err();
        assert!(matches!(error, GitError::NoSuchRevision { .. }), "{spec:?}: {error}");
    }
}

#[test]
fn the_merge_base_is_where_two_branches_part() {
    let origin = Origin::new();
    let base = origin.push_file("gitops.toml", "base");
    let main = origin.push_file("gitops.toml", "main");
    origin.git(&["checkout", "--quiet", "-b", "topic", base.as_str()]);
    origin.write("nodes/a.yaml", "");
    let topic = origin.commit("topic");
    origin.git(&["checkout", "--quiet", "--orphan", "alone"]);
    let alone = origin.commit("alone");
    let repository = discover(&origin);
    assert_eq!(repository.merge_base(&main, &topic).unwrap(), Some(base.clone()));
    assert_eq!(repository.merge_base(&main, &alone).unwrap(), None);
    assert!(repository.is_ancestor(&base, &topic).unwrap());
    assert!(!repository.is_ancestor(&main, &topic).unwrap());
    let unknown: Revision = "1".repeat(40).parse().unwrap();
    assert!(matches!(repository.merge_base(&unknown, &main), Err(GitError::NoSuchCommit(_))));
    assert!(matches!(repository.commit(&unknown), Err(GitError::NoSuchCommit(_))));
}

#[test]
fn a_shallow_clone_says_how_to_get_the_rest() {
    let origin = Origin::new();
    let first = origin.push_file("gitops.toml", "one");
    origin.push_file("gitops.toml", "two");
    let url = format!("file://{}", origin.bare().display());
    git(origin.folder(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
    let repository = Repository::discover(&origin.folder().join("shallow")).unwrap();
    let error = repository.resolve(first.as_str()).unwrap_err();
    assert!(error.to_string().contains("--unshallow"), "{error}");
}

#[test]
fn a_commit_message_cannot_write_to_the_terminal() {
    let origin = Origin::new();
    origin.write("gitops.toml", "");
    let revision = origin.commit("red \x1b[31m alert\n\nbody");
    let commit = discover(&origin).commit(&revision).unwrap();
    assert_eq!(commit.subject, "red [31m alert");
}

/// Only root can give a repository to somebody else, and it may be set up to trust everyone.
#[test]
fn the_repository_of_another_account_is_refused_with_what_to_do() {
    let origin = Origin::new();
    if trusts_every_folder() {
        return;
    }
    origin.push_file("gitops.toml", "");
    let owner = rustix::fs::Uid::from_raw(12345);
    for path in [origin.work(), origin.work().join(".git")] {
        if rustix::fs::chown(&path, Some(owner), None).is_err() {
            return;
        }
    }
    let Err(error) = Repository::discover(&origin.work()) else { panic!("it was trusted") };
    assert!(error.to_string().contains("safe.directory"), "{error}");
}

#[test]
fn committed_and_uncommitted_definitions_are_both_trees() {
    let origin = Origin::new();
    let revision = origin.push_file("estate/gitops.toml", "one");
    origin.write("estate/gitops.toml", "two");
    let repository = discover(&origin);
    let scope = Scope { folder: "estate".into(), ..Scope::default() };
    let committed = repository.tree(&revision, &scope, &mut TreeCache::default()).unwrap();
    let on_disk = repository.work_tree_definitions(&scope).unwrap();
    assert_eq!(committed.get("gitops.toml").unwrap().content.as_deref(), Some(&b"one"[..]));
    assert_eq!(on_disk.get("gitops.toml").unwrap().content.as_deref(), Some(&b"two"[..]));
    assert!(Repository::discover(&origin.bare()).unwrap().work_tree_definitions(&scope).is_err());
}
