//! `gitops hook pre-receive`, run by Git itself: real pushes of every kind into a bare repository, and what whoever
//! pushes gets to see.

#![allow(clippy::unwrap_used, reason = "a test whose ground is missing has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests start programs")]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use support::sshd::Sshd;
use support::{Sandbox, program, said};

/// Looks like a secret. It must never be seen.
const CANARY: &str = "AKIAIOSFODNN7EXAMPLE-hunter2";

/// A bare repository with the hook, and a clone that pushes to it.
struct Estate {
    sandbox: Sandbox,
}

impl Estate {
    /// Empty, with a hook that is run with `flags`.
    fn new(flags: &str) -> Self {
        Self::with_format("sha1", flags)
    }

    fn with_format(format: &str, flags: &str) -> Self {
        let sandbox = Sandbox::new();
        let format = format!("--object-format={format}");
        sandbox.git("", &["init", "--quiet", "--bare", &format, "estate.git"]);
        sandbox.git("", &["init", "--quiet", &format, "work"]);
        sandbox.git("work", &["remote", "add", "origin", "../estate.git"]);
        let estate = Self { sandbox };
        estate.write("gitops.toml", "format = 1\nname = \"estate\"\n");
        estate.write("nodes/n1.yaml", "node: n1\n");
        estate.service("web", "nginx:1.27");
        estate.hook("estate.git", flags);
        estate
    }

    /// One that holds a commit already, pushed before the hook was there.
    fn pushed(flags: &str) -> Self {
        let estate = Self::new(flags);
        estate.commit("One");
        estate.unhooked(&["main"]);
        estate
    }

    fn hook(&self, repository: &str, flags: &str) {
        let path = self.sandbox.path(repository).join("hooks/pre-receive");
        let gitops = program("gitops");
        support::write(&path, &format!("#!/bin/sh\nexec {} hook pre-receive {flags}\n", gitops.display()));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn write(&self, path: &str, content: &str) {
        self.sandbox.write(Path::new("work").join(path), content);
    }

    fn service(&self, name: &str, image: &str) {
        self.write(
            &format!("services/{name}/service.yaml"),
            &format!("service: {name}\nplace: {{nodes: [n1]}}\n"),
        );
        self.write(
            &format!("services/{name}/compose.yaml"),
            &format!("services:\n  app:\n    image: {image}\n"),
        );
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.sandbox.git("work", arguments)
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    /// Pushes past the hook, as before it was there.
    fn unhooked(&self, references: &[&str]) {
        let origin = ["-c", "core.hooksPath=/nonexistent", "push", "--quiet", "--force", "--receive-pack"];
        let pack = "git -c core.hooksPath=/nonexistent receive-pack";
        self.git(&[&origin[..], &[pack, "origin"], references].concat());
    }

    fn push(&self, arguments: &[&str]) -> Push {
        self.push_to("origin", arguments, "ssh")
    }

    fn push_to(&self, remote: &str, arguments: &[&str], ssh: &str) -> Push {
        let mut git = self.sandbox.command("git");
        git.current_dir(self.sandbox.path("work")).env("GIT_SSH_COMMAND", ssh);
        git.args(["push", "--no-progress", remote]).args(arguments);
        Push::of(&git.output().unwrap())
    }

    /// Where a reference of the bare repository stands; empty where it is not.
    fn tip(&self, reference: &str) -> String {
        let mut git = self.sandbox.command("git");
        git.current_dir(self.bare()).args(["rev-parse", "--verify", "--quiet", reference]);
        String::from_utf8(git.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn bare(&self) -> PathBuf {
        self.sandbox.path("estate.git")
    }
}

/// How a push went, and what was shown of it.
struct Push {
    accepted: bool,
    /// The lines of the hook, without `remote: `.
    hook: String,
}

impl Push {
    fn of(output: &Output) -> Self {
        let all = said(output);
        assert!(!all.contains('\u{1b}'), "an escape sequence in {all:?}");
        assert!(!all.contains(CANARY) && !all.contains("hunter2"), "a secret in {all}");
        let lines = all.lines().filter_map(|line| line.strip_prefix("remote:"));
        let hook = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>();
        Self { accepted: output.status.success(), hook: hook.join("\n") }
    }

    #[track_caller]
    fn accepted(self, shown: &[&str]) -> Self {
        assert!(self.accepted, "it was refused:\n{}", self.hook);
        self.shows(shown)
    }

    #[track_caller]
    fn refused(self, shown: &[&str]) -> Self {
        assert!(!self.accepted, "it was accepted:\n{}", self.hook);
        self.shows(shown)
    }

    #[track_caller]
    fn shows(self, shown: &[&str]) -> Self {
        for text in shown {
            assert!(self.hook.contains(text), "`{text}` is not in:\n{}", self.hook);
        }
        self
    }
}

/// Two mistakes, in two files.
fn with_mistakes(estate: &Estate) {
    estate.service("web", "nginx:1.28\n    build: .");
    estate.write("nodes/n1.yaml", "node: n1\nlables: {a: b}\n");
}

#[test]
fn whoever_pushes_sees_what_changes() {
    let estate = Estate::pushed("");
    estate.service("web", "nginx:1.28");
    estate.service("new", "redis:7");
    estate.commit("Two");
    let push = estate.push(&["main"]).accepted(&[
        "Plan: 1 to create, 0 to update, 1 to recreate, 0 to move, 0 to remove",
        "nginx:1.27 → nginx:1.28",
        "services/web/compose.yaml:3",
        "→ this push (",
    ]);
    for line in push.hook.lines() {
        assert!(line.chars().count() <= 72, "`{line}` is too long for 80 columns behind `remote: `");
    }
    assert_eq!(estate.tip("main"), estate.head());
}

#[test]
fn the_first_push_is_all_new() {
    let estate = Estate::new("");
    estate.commit("One");
    estate.push(&["main"]).accepted(&["Plan: 1 to create", "nothing → this push ("]);
    estate.commit("Two");
    estate.push(&["main"]).accepted(&["0 to create"]);
}

#[test]
fn mistakes_are_all_shown_and_nothing_moves() {
    let estate = Estate::pushed("");
    let before = (estate.tip("main"), objects(&estate.bare()));
    with_mistakes(&estate);
    estate.commit("Two");
    estate.push(&["main"]).refused(&[
        "nodes/n1.yaml:2:1",
        "there is no field `lables` here",
        "services/web/compose.yaml:4:12",
        "`app` would be built on the node",
        "`main` stays as it is:",
        "has 2 mistakes",
        "`gitops validate` shows them before a push",
    ]);
    assert_eq!((estate.tip("main"), objects(&estate.bare())), before, "something was left behind");
    estate.service("web", "nginx:1.28");
    estate.write("nodes/n1.yaml", "node: n1\n");
    estate.commit("Three");
    estate.push(&["main"]).accepted(&["nginx:1.27 → nginx:1.28"]);
}

/// All files that hold objects.
fn objects(bare: &Path) -> Vec<PathBuf> {
    let mut folders = vec![bare.join("objects")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn commits_are_taken_back_only_where_that_is_allowed() {
    let estate = Estate::pushed("");
    estate.service("web", "nginx:1.28");
    estate.commit("Two");
    estate.push(&["main"]).accepted(&[]);
    let two = estate.head();
    estate.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    for message in ["", "Other"] {
        if !message.is_empty() {
            estate.commit(message);
        }
        estate.push(&["--force", "main"]).refused(&[
            "would lose commits",
            "does not go on from",
            "git revert",
        ]);
        assert_eq!(estate.tip("main"), two);
    }
    estate.git(&["checkout", "--quiet", "--orphan", "alone"]);
    estate.commit("Alone");
    estate.push(&["--force", "alone:main"]).refused(&["would lose commits"]);
    estate.hook("estate.git", "--allow-rewind");
    estate.push(&["--force", "alone:main"]).accepted(&["nginx:1.28 → nginx:1.27"]);
    assert_eq!(estate.tip("main"), estate.head());
}

#[test]
fn what_is_deployed_cannot_be_deleted() {
    let estate = Estate::pushed("");
    estate.git(&["push", "--quiet", "origin", "main:topic", "main:refs/tags/v1"]);
    // Git itself would refuse it too, but only after the hook.
    estate.push(&["--delete", "main"]).refused(&["`main` is what is deployed, and cannot be deleted"]);
    estate.push(&["--delete", "topic", "refs/tags/v1"]).accepted(&[]);
    assert_eq!((estate.tip("topic"), estate.tip("v1")), (String::new(), String::new()));
}

#[test]
fn other_branches_and_tags_pass_unless_all_are_checked() {
    let estate = Estate::pushed("");
    let good = estate.head();
    with_mistakes(&estate);
    estate.commit("Draft");
    let push = estate.push(&["main:topic", "main:refs/tags/draft"]).accepted(&[]);
    assert_eq!(push.hook, "");
    estate.hook("estate.git", "--all-branches");
    estate.push(&["main:refs/tags/again"]).accepted(&[]);
    estate.push(&["main:other"]).refused(&["`other` stays as it is", "has 2 mistakes"]);
    let push = estate.push(&[&format!("{good}:refs/heads/good")]).accepted(&[]);
    assert_eq!(push.hook, "");
    estate.push(&["--delete", "good"]).accepted(&[]);
}

#[test]
fn the_branch_that_is_deployed_may_have_another_name() {
    let estate = Estate::pushed("--branch live");
    with_mistakes(&estate);
    estate.commit("Draft");
    estate.push(&["main"]).accepted(&[]);
    estate.push(&["main:live"]).refused(&["`live` stays as it is"]);
    estate.hook("estate.git", "");
    estate.sandbox.git("estate.git", &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    estate.push(&["main:trunk"]).refused(&["`trunk` stays as it is"]);
}

#[test]
fn several_references_are_accepted_or_refused_together() {
    let estate = Estate::pushed("");
    estate.service("web", "nginx:1.28");
    estate.commit("Two");
    let two = estate.head();
    with_mistakes(&estate);
    estate.commit("Three");
    let (good, bad) = (format!("{two}:refs/heads/main"), format!("{two}:refs/heads/topic"));
    estate.push(&["main", &bad, "main:refs/tags/v3"]).refused(&["has 2 mistakes"]);
    assert_eq!((estate.tip("topic"), estate.tip("v3")), (String::new(), String::new()));
    estate.push(&[&good, "main:topic", "main:refs/tags/v3"]).accepted(&["nginx:1.27 → nginx:1.28"]);
    assert_eq!(
        (estate.tip("main"), estate.tip("topic"), estate.tip("v3")),
        (two, estate.head(), estate.head())
    );
}

#[test]
fn a_gate_refuses_what_it_names() {
    let estate = Estate::pushed("--fail-on remove,capability");
    estate.service("new", "redis:7");
    estate.commit("Two");
    estate.push(&["main"]).accepted(&["1 to create"]);
    std::fs::remove_dir_all(estate.sandbox.path("work/services/new")).unwrap();
    estate.commit("Three");
    estate.push(&["main"]).refused(&["1 to remove", "error: the change does not pass `--fail-on remove`"]);
}

/// Mistakes that came in before the hook keep nobody from mending them.
#[test]
fn what_was_wrong_before_can_be_mended() {
    let estate = Estate::pushed("");
    with_mistakes(&estate);
    estate.commit("Two");
    estate.unhooked(&["main"]);
    estate.commit("Three");
    estate.push(&["main"]).refused(&["has 2 mistakes"]);
    estate.service("web", "nginx:1.28");
    estate.write("nodes/n1.yaml", "node: n1\n");
    estate.commit("Four");
    estate
        .push(&["main"])
        .accepted(&["What changes is not shown: main (", "has mistakes, or cannot be read"]);
}

/// Git keeps few objects as files, and many as one pack. Some come as differences to objects that are there already.
#[test]
fn objects_are_seen_before_they_are_in_the_repository() {
    for limit in ["1", "100000"] {
        let estate = Estate::pushed("");
        estate.sandbox.git("estate.git", &["config", "receive.unpackLimit", limit]);
        let long = "# the same for ever\n".repeat(200);
        estate.write("services/web/notes", &long);
        estate.commit("Two");
        estate.push(&["main"]).accepted(&[]);
        estate.write("services/web/notes", &format!("{long}# but for this\n"));
        estate.service("web", "nginx:1.28");
        estate.commit("Three");
        estate.push(&["main"]).accepted(&["nginx:1.27 → nginx:1.28"]);
        with_mistakes(&estate);
        estate.commit("Four");
        estate.push(&["main"]).refused(&["has 2 mistakes"]);
    }
}

#[test]
fn a_repository_of_long_ids_works_the_same() {
    let estate = Estate::with_format("sha256", "");
    estate.commit("One");
    estate.push(&["main"]).accepted(&["1 to create"]);
    with_mistakes(&estate);
    estate.commit("Two");
    estate.push(&["main"]).refused(&["has 2 mistakes"]);
}

/// As on servers where the forks of a repository share its objects.
#[test]
fn objects_may_lie_in_another_repository() {
    let estate = Estate::pushed("");
    estate.sandbox.git("", &["clone", "--quiet", "--bare", "--shared", "estate.git", "fork of: estate.git"]);
    estate.hook("fork of: estate.git", "");
    let fork = estate.sandbox.path("fork of: estate.git").display().to_string();
    estate.service("web", "nginx:1.28");
    estate.commit("Two");
    estate.push_to(&fork, &["main"], "ssh").accepted(&["nginx:1.27 → nginx:1.28"]);
}

#[test]
fn definitions_may_lie_in_a_folder() {
    let estate = Estate::new("--folder estate");
    estate.commit("One");
    estate.push(&["main"]).refused(&["there is no folder `estate` at revision"]);
    for path in ["gitops.toml", "nodes", "services"] {
        std::fs::create_dir_all(estate.sandbox.path("work/estate")).unwrap();
        let (from, to) = (format!("work/{path}"), format!("work/estate/{path}"));
        std::fs::rename(estate.sandbox.path(from), estate.sandbox.path(to)).unwrap();
    }
    estate.commit("Two");
    estate.push(&["main"]).accepted(&["1 to create"]);
}

#[test]
fn a_repository_with_files_can_be_pushed_to() {
    let estate = Estate::pushed("");
    estate.sandbox.git("", &["clone", "--quiet", "estate.git", "site"]);
    estate.sandbox.git("site", &["config", "receive.denyCurrentBranch", "updateInstead"]);
    estate.hook("site/.git", "");
    let site = estate.sandbox.path("site").display().to_string();
    estate.service("web", "nginx:1.28");
    estate.commit("Two");
    estate.push_to(&site, &["main"], "ssh").accepted(&["nginx:1.27 → nginx:1.28"]);
    with_mistakes(&estate);
    estate.commit("Three");
    estate.push_to(&site, &["main"], "ssh").refused(&["has 2 mistakes"]);
}

#[test]
fn a_large_push_is_shown_in_part_and_checked_whole() {
    let estate = Estate::pushed("");
    (0..400).for_each(|number| estate.service(&format!("s{number}"), "redis:7"));
    estate.commit("Two");
    let push =
        estate.push(&["main"]).accepted(&["Plan: 400 to create", "more; `gitops diff` shows them all"]);
    assert!(push.hook.lines().count() <= 401, "{} lines", push.hook.lines().count());
    (0..400).for_each(|number| estate.service(&format!("s{number}"), "redis:8"));
    estate.service("s399", "redis:8\n    build: .");
    estate.commit("Three");
    estate.push(&["main"]).refused(&["services/s399/compose.yaml:4:12", "has 1 mistake"]);
}

#[test]
fn neither_secrets_nor_escape_sequences_are_shown() {
    let estate = Estate::pushed("");
    estate.service(
        "web",
        &format!(
            "nginx:1.28\n    environment:\n      API_KEY: {CANARY}\n      DB_PASSWORD: hunter2\n    \
             labels: {{note: \"\\e[31mred\"}}\n    volumes: [\"./app.conf:/app.conf\"]"
        ),
    );
    estate.write("services/web/app.conf", &format!("password = {CANARY}\n\u{1b}[31mred\n"));
    estate.commit(&format!("\u{1b}[31m {CANARY}"));
    estate.push(&["main"]).accepted(&["API_KEY", "DB_PASSWORD"]);
    estate.write("nodes/n\u{1b}[31m.yaml", "node: n1\nlables: 1\n");
    estate.commit("Mistakes");
    estate.push(&["main"]).refused(&["there is no field `lables` here"]);
    estate.service("web", "nginx:1.28\n    environment:\n      DB_PASSWORD: hunter2${MISSING}");
    estate.commit("A mistake in the line of a secret");
    estate.push(&["main"]).refused(&["services/web/compose.yaml:5:27", "there is no variable `(hidden)`"]);
}

#[test]
fn it_works_the_same_by_ssh() {
    let estate = Estate::new("");
    let Some(sshd) = Sshd::start(&estate.sandbox.path("")) else { return };
    let url = sshd.url(&estate.bare());
    let push = |arguments: &[&str]| estate.push_to(&url, arguments, &sshd.command());
    estate.commit("One");
    push(&["main"]).accepted(&["Plan: 1 to create", "nothing → this push ("]);
    estate.service("web", "nginx:1.28");
    estate.commit("Two");
    push(&["main"]).accepted(&["nginx:1.27 → nginx:1.28"]);
    with_mistakes(&estate);
    estate.commit("Three");
    push(&["main", "main:topic"]).refused(&["has 2 mistakes"]);
    assert_eq!(estate.tip("topic"), "");
    push(&["--force", "main~2:main"]).refused(&["would lose commits"]);
    push(&["--delete", "main"]).refused(&["cannot be deleted"]);
    push(&["main:topic", "main:refs/tags/v1"]).accepted(&[]);
}

/// What the hook says to input that Git would never give it.
fn run(folder: &Path, estate: &Estate, input: &[u8]) -> (Option<i32>, String) {
    let mut gitops = estate.sandbox.command("gitops");
    gitops.current_dir(folder).args(["hook", "pre-receive"]);
    gitops.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = gitops.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn what_is_no_push_is_refused() {
    let estate = Estate::pushed("");
    let bare = estate.bare();
    let line = |new: &str| format!("{} {new} refs/heads/main\n", estate.tip("main"));
    for (input, expected) in [
        (b"nonsense".to_vec(), "line 1 is not `OLD NEW REF`"),
        (b"\x1b[31m\0\n".to_vec(), "line 1 is not `OLD NEW REF`"),
        (vec![b'1'; 17 << 20], "too many references"),
        (line(&"1".repeat(40)).into_bytes(), "cannot read what is pushed"),
        (
            line(estate.git(&["rev-parse", "HEAD:gitops.toml"]).trim()).into_bytes(),
            "cannot read what is pushed",
        ),
    ] {
        let (code, said) = run(&bare, &estate, &input);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected) && !said.contains('\u{1b}'), "`{expected}` is not in {said}");
    }
    let (code, said) = run(&estate.sandbox.path("home"), &estate, b"");
    assert!(code == Some(1) && said.contains("is not in a Git repository"), "{said}");
    assert_eq!(run(&bare, &estate, b""), (Some(0), String::new()));
}
