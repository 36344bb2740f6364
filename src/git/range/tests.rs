use super::*;
use crate::git::testing::{Origin, git};

#[test]
fn a_range_is_read_as_git_reads_it() {
    let between = |base: &str, head: &str| Range::Between(base.into(), head.into());
    let apart = |base: &str, head: &str| Range::Apart(base.into(), head.into());
    for (text, expected) in [
        (None, Range::SinceMain),
        (Some(""), Range::Since("HEAD".into())),
        (Some("main"), Range::Since("main".into())),
        (Some("HEAD~3"), Range::Since("HEAD~3".into())),
        (Some("v1.2"), Range::Since("v1.2".into())),
        (Some("a..b"), between("a", "b")),
        (Some("a.."), between("a", "HEAD")),
        (Some("..b"), between("HEAD", "b")),
        (Some(".."), between("HEAD", "HEAD")),
        (Some("a...b"), apart("a", "b")),
        (Some("a..."), apart("a", "HEAD")),
        (Some("...b"), apart("HEAD", "b")),
        (Some("a..b..c"), between("a", "b..c")),
    ] {
        assert_eq!(Range::parse(text), expected, "{text:?}");
    }
}

/// What a range means in a folder: `BASE → HEAD`, with each revision written as the subject of its commit.
fn sides(origin: &Origin, text: Option<&str>) -> Result<String, GitError> {
    let told = Repository::discover(&origin.work())?.sides(&Range::parse(text))?.to_string();
    let all = origin.git(&["log", "--all", "--format=%H %s"]);
    let commits = all.lines().filter_map(|line| line.split_once(' '));
    Ok(commits.fold(told, |text, (revision, subject)| text.replace(&revision[..12], subject)))
}

fn check(origin: &Origin, text: Option<&str>, expected: &str) {
    assert_eq!(sides(origin, text).unwrap(), expected, "{text:?}");
}

/// Commits 1 and 2 on `main`, which is pushed; 3 on `topic`, on top of 1.
fn parted() -> Origin {
    let origin = Origin::new();
    let first = origin.commit("1");
    origin.commit("2");
    origin.push();
    origin.git(&["checkout", "--quiet", "-b", "topic", first.as_str()]);
    origin.commit("3");
    origin
}

#[test]
fn a_branch_is_compared_with_where_it_parted_from_main() {
    let origin = parted();
    check(&origin, None, "merge base with origin/main (1) → the work tree");
    check(&origin, Some("main...topic"), "merge base with main (1) → topic (3)");
    check(&origin, Some("main...HEAD~1"), "HEAD~1 (1) → HEAD~1 (1)");
    check(&origin, Some("main..topic"), "main (2) → topic (3)");
    check(&origin, Some("main.."), "main (2) → HEAD (3)");
    check(&origin, Some("main"), "main (2) → the work tree");
    let first = origin.git(&["rev-parse", "HEAD~1"]);
    check(&origin, Some(&first), "1 → the work tree");
    check(&origin, Some(&first[..8]), "1 → the work tree");
    origin.git(&["rebase", "--quiet", "main"]);
    check(&origin, None, "origin/main (2) → the work tree");
}

#[test]
fn on_main_what_is_not_pushed_is_compared() {
    let origin = parted();
    origin.git(&["checkout", "--quiet", "main"]);
    check(&origin, None, "HEAD (2) → the work tree");
    origin.git(&["branch", "--quiet", "-D", "topic"]);
    origin.commit("4");
    check(&origin, None, "origin/main (2) → the work tree");
}

#[test]
fn the_main_branch_is_the_one_that_the_remote_names() {
    let main = |origin: &Origin| {
        Repository::discover(&origin.work()).unwrap().main_branch().map(|branch| branch.name)
    };
    let origin = Origin::new();
    assert_eq!(main(&origin), None);
    origin.push_file("gitops.toml", "one");
    assert_eq!(main(&origin).as_deref(), Some("origin/main"));
    origin.git(&["push", "--quiet", "origin", "HEAD:trunk"]);
    origin.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk"]);
    assert_eq!(main(&origin).as_deref(), Some("origin/trunk"));
    origin.git(&["update-ref", "-d", "refs/remotes/origin/trunk"]);
    assert_eq!(main(&origin).as_deref(), Some("origin/main"), "the remote's own is gone");
    origin.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    assert_eq!(main(&origin).as_deref(), Some("main"));
    origin.git(&["tag", "main"]);
    assert_eq!(main(&origin).as_deref(), Some("main"), "a tag is no branch");
    origin.git(&["branch", "--move", "main", "master"]);
    assert_eq!(main(&origin).as_deref(), Some("master"));
}

#[test]
fn a_tag_of_the_same_name_is_not_the_main_branch() {
    let origin = parted();
    origin.git(&["tag", "origin/main", "topic"]);
    check(&origin, None, "merge base with origin/main (1) → the work tree");
}

#[test]
fn before_the_first_commit_everything_is_new() {
    check(&Origin::new(), None, "nothing → the work tree");
}

#[test]
fn without_a_remote_or_a_main_branch_the_last_commit_is_compared() {
    let origin = Origin::new();
    origin.git(&["remote", "remove", "origin"]);
    origin.git(&["checkout", "--quiet", "-b", "trunk"]);
    origin.commit("1");
    check(&origin, None, "HEAD (1) → the work tree");
    origin.git(&["remote", "add", "origin", "../estate.git"]);
    let error = sides(&origin, None).unwrap_err().to_string();
    assert!(error.contains("git remote set-head origin --auto"), "{error}");
}

#[test]
fn histories_that_never_met_are_not_guessed_about() {
    let origin = parted();
    origin.git(&["checkout", "--quiet", "--orphan", "alone"]);
    origin.commit("alone");
    for (text, one) in [(None, "origin/main"), (Some("topic..."), "topic")] {
        let error = sides(&origin, text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{one}` and `HEAD` have no history in common: name two")),
            "{error}"
        );
    }
    assert!(sides(&origin, Some("topic..alone")).is_ok());
}

/// What a build machine clones: only what it was asked for, and as little history as it can.
#[test]
fn a_short_clone_says_what_to_fetch() {
    let origin = parted();
    origin.git(&["push", "--quiet", "origin", "topic"]);
    let url = format!("file://{}", origin.bare().display());
    git(origin.folder(), &["clone", "--quiet", "--depth=1", "--branch=topic", &url, "ci"]);
    let ci = origin.folder().join("ci");
    let told = || Repository::discover(&ci).unwrap().sides(&Range::SinceMain);
    let error = told().unwrap_err().to_string();
    assert!(error.contains("cannot tell") && error.contains("fetch depth 0"), "{error}");
    git(&ci, &["fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main"]);
    let error = told().unwrap_err().to_string();
    assert!(error.contains("in this clone") && error.contains("fetch depth 0"), "{error}");
    git(&ci, &["fetch", "--quiet", "--unshallow", "origin"]);
    git(&ci, &["fetch", "--quiet", "origin", "main:refs/remotes/origin/main"]);
    assert!(told().unwrap().to_string().starts_with("merge base with origin/main"));
}

#[test]
fn a_bare_repository_has_no_files_to_compare() {
    let origin = parted();
    let bare = Repository::discover(&origin.bare()).unwrap();
    assert!(matches!(bare.sides(&Range::SinceMain), Err(GitError::Bare { .. })));
    assert!(matches!(bare.sides(&Range::parse(Some("main"))), Err(GitError::Bare { .. })));
    assert!(bare.sides(&Range::parse(Some("main~1..main"))).is_ok());
}

#[test]
fn a_name_that_means_nothing_is_said() {
    let origin = parted();
    for text in ["nope", "nope..main", "main..nope", "main...nope", "--help", "main..\u{1b}[31m"] {
        let error = sides(&origin, Some(text)).unwrap_err();
        assert!(matches!(error, GitError::NoSuchRevision { .. }), "{text}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    for text in ["a..b..c", "a...b...c", "main..main~1..main"] {
        let error = sides(&origin, Some(text)).unwrap_err();
        assert!(matches!(error, GitError::NoRange { .. }), "{text}: {error}");
    }
}
