use std::process::Stdio;

use super::*;
use crate::git::SshOptions;
use crate::git::testing::{Origin, git_command};

/// Does something to a mirror's folder that only an accident does.
type Spoil = fn(&Path);

fn config(origin: &Origin, url: &str) -> MirrorConfig {
    MirrorConfig {
        state_dir: origin.folder().join("state"),
        url: url.parse().unwrap(),
        branch: "main".into(),
        access: Access::default(),
        timeout: Duration::from_secs(20),
    }
}

fn git(folder: &Path, arguments: &[&str], input: Stdio) -> String {
    let output = git_command(folder, arguments).stdin(input).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) fn open(origin: &Origin) -> Mirror {
    Mirror::open(config(origin, origin.bare().to_str().unwrap())).unwrap()
}

pub(super) fn fetch(mirror: &Mirror) -> Option<Revision> {
    mirror.fetch(&AtomicBool::new(false)).unwrap()
}

pub(super) fn content(mirror: &Mirror, revision: &Revision, path: &str) -> String {
    let tree = mirror.tree(revision, &Scope::default(), &mut TreeCache::default()).unwrap();
    String::from_utf8(tree.get(path).unwrap().content.as_ref().unwrap().to_vec()).unwrap()
}

#[test]
fn a_branch_is_fetched_from_every_form_of_local_address() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "format = 1");
    let bare = origin.bare().display().to_string();
    let work = origin.work().display().to_string();
    for url in [bare.clone(), format!("file://{bare}"), work.clone(), format!("{work}/.git")] {
        let mirror = Mirror::open(config(&origin, &url)).unwrap();
        assert_eq!(fetch(&mirror), Some(pushed.clone()), "{url}");
        assert_eq!(content(&mirror, &pushed, "gitops.toml"), "format = 1", "{url}");
    }
}

#[test]
fn an_empty_repository_has_no_revision_yet_and_gets_one() {
    let origin = Origin::new();
    let mirror = open(&origin);
    assert_eq!((fetch(&mirror), mirror.newest()), (None, None));
    let pushed = origin.push_file("gitops.toml", "");
    assert_eq!((fetch(&mirror), mirror.newest()), (Some(pushed.clone()), Some(pushed)));
}

#[test]
fn a_branch_that_does_not_exist_is_no_revision() {
    let origin = Origin::new();
    origin.push_file("gitops.toml", "");
    let url = origin.bare().display().to_string();
    let mirror = Mirror::open(MirrorConfig { branch: "other".into(), ..config(&origin, &url) }).unwrap();
    assert_eq!(fetch(&mirror), None);
}

#[test]
fn a_branch_name_that_git_refuses_is_refused_first() {
    let origin = Origin::new();
    for branch in ["", "a..b", "a b", "x.lock", "a:b", "*"] {
        let config = MirrorConfig { branch: branch.into(), ..config(&origin, "/srv/estate") };
        assert!(matches!(Mirror::open(config), Err(GitError::BranchName { .. })), "{branch:?}");
    }
}

#[test]
fn a_force_push_is_seen_and_what_is_kept_stays_readable() {
    let origin = Origin::new();
    let mirror = open(&origin);
    let first = origin.push_file("gitops.toml", "one");
    fetch(&mirror);
    let deployed = origin.push_file("gitops.toml", "two");
    fetch(&mirror);
    mirror.keep(&deployed).unwrap();
    assert!(mirror.is_ancestor(&first, &deployed).unwrap());
    origin.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let rewound = origin.push_file("gitops.toml", "three");
    assert_eq!(fetch(&mirror), Some(rewound.clone()));
    assert!(!mirror.is_ancestor(&deployed, &rewound).unwrap(), "it is a rewind");
    assert!(mirror.is_ancestor(&first, &rewound).unwrap());
    assert!(mirror.is_ancestor(&rewound, &rewound).unwrap());
    git(&origin.folder().join("state/mirror.git"), &["gc", "--quiet", "--prune=now"], Stdio::null());
    let mirror = open(&origin);
    assert_eq!(content(&mirror, &deployed, "gitops.toml"), "two");
}

#[test]
fn a_revision_that_was_never_fetched_is_in_no_history_and_cannot_be_kept_or_read() {
    let origin = Origin::new();
    let mirror = open(&origin);
    let pushed = origin.push_file("gitops.toml", "");
    fetch(&mirror);
    let unknown: Revision = "1".repeat(40).parse().unwrap();
    assert!(!mirror.is_ancestor(&unknown, &pushed).unwrap());
    assert!(matches!(mirror.keep(&unknown), Err(GitError::NoSuchCommit(_))));
    let read = mirror.tree(&unknown, &Scope::default(), &mut TreeCache::default());
    assert!(matches!(read, Err(GitError::NoSuchCommit(_))), "{read:?}");
}

#[test]
fn a_mirror_that_was_left_in_any_state_is_usable_again() {
    let spoil: [(&str, Spoil); 6] = [
        ("HEAD is gone", |mirror| fs::remove_file(mirror.join("HEAD")).unwrap()),
        ("objects are gone", |mirror| {
            fs::remove_dir_all(mirror.join("objects")).unwrap();
            fs::create_dir_all(mirror.join("objects/pack")).unwrap();
        }),
        ("the ref is garbage", |mirror| fs::write(mirror.join(NEWEST), "garbage").unwrap()),
        ("killed while it wrote a ref", |mirror| {
            fs::write(mirror.join(NEWEST.to_owned() + ".lock"), "").unwrap()
        }),
        ("killed before the exchange", |mirror| {
            fs::create_dir(aside(mirror, "new")).unwrap();
            fs::rename(mirror, aside(mirror, "old")).unwrap();
        }),
        ("it is a file", |mirror| {
            fs::remove_dir_all(mirror).unwrap();
            fs::write(mirror, "").unwrap();
        }),
    ];
    for (name, spoil) in spoil {
        let origin = Origin::new();
        origin.push_file("gitops.toml", "one");
        fetch(&open(&origin));
        spoil(&origin.folder().join("state/mirror.git"));
        let pushed = origin.push_file("gitops.toml", "two");
        let mirror = open(&origin);
        assert_eq!(fetch(&mirror), Some(pushed.clone()), "{name}");
        assert_eq!(content(&mirror, &pushed, "gitops.toml"), "two", "{name}");
    }
}

#[test]
fn a_mirror_that_loses_objects_while_it_is_open_says_so_and_heals_with_the_next_fetch() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "one");
    fetch(&open(&origin));
    let folder = origin.folder().join("state/mirror.git");
    let pack = fs::read_dir(folder.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.into_iter().find(|path| path.extension().unwrap() == "pack").unwrap();
    let away = origin.folder().join("away.pack");
    fs::rename(&pack, &away).unwrap();
    fs::remove_file(pack.with_extension("idx")).unwrap();
    git(&folder, &["unpack-objects", "-q"], fs::File::open(away).unwrap().into());
    let mirror = open(&origin);
    let blob = git(&folder, &["rev-parse", &format!("{pushed}:gitops.toml")], Stdio::null());
    fs::remove_file(folder.join("objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let error = mirror.tree(&pushed, &Scope::default(), &mut TreeCache::default()).unwrap_err();
    assert!(matches!(error, GitError::Damaged { .. }), "{error:?}");
    assert_eq!(fetch(&mirror), Some(pushed.clone()));
    assert_eq!(content(&mirror, &pushed, "gitops.toml"), "one");
}

#[test]
fn a_mirror_that_is_deleted_or_emptied_while_it_is_open_is_made_again_by_the_next_fetch() {
    let spoil: [(&str, Spoil); 2] = [
        ("deleted", |mirror| fs::remove_dir_all(mirror).unwrap()),
        ("emptied", |mirror| {
            fs::remove_dir_all(mirror.join("objects/pack")).unwrap();
            fs::create_dir(mirror.join("objects/pack")).unwrap();
        }),
    ];
    for (name, spoil) in spoil {
        let origin = Origin::new();
        let pushed = origin.push_file("gitops.toml", "one");
        fetch(&open(&origin));
        let mirror = open(&origin);
        spoil(&mirror.path);
        // As a handle that was opened later sees it: one with the pack in memory would still read it.
        if let Ok(repo) = objects::open_isolated(&mirror.path) {
            *mirror.repo.write().unwrap() = repo;
        }
        assert_eq!(fetch(&mirror), Some(pushed.clone()), "{name}");
        assert_eq!(content(&mirror, &pushed, "gitops.toml"), "one", "{name}");
    }
}

#[test]
fn another_branch_gets_a_mirror_of_its_own() {
    let origin = Origin::new();
    let main = origin.push_file("gitops.toml", "main");
    let url = origin.bare().display().to_string();
    assert_eq!(fetch(&open(&origin)), Some(main.clone()));
    origin.git(&["push", "--quiet", "origin", "HEAD:refs/heads/team/next"]);
    let config = MirrorConfig { branch: "team/next".into(), ..config(&origin, &url) };
    let mirror = Mirror::open(config).unwrap();
    assert_eq!((mirror.newest(), fetch(&mirror)), (None, Some(main)));
}

#[test]
fn another_address_gets_a_mirror_of_its_own() {
    let (one, two) = (Origin::new(), Origin::new());
    let old = one.push_file("gitops.toml", "one");
    let new = two.push_file("gitops.toml", "two");
    fetch(&open(&one));
    let mirror = Mirror::open(config(&one, two.bare().to_str().unwrap())).unwrap();
    assert_eq!(mirror.newest(), None, "what the old address said is forgotten");
    assert_eq!(fetch(&mirror), Some(new));
    assert!(mirror.commit(&old).is_err());
}

#[test]
fn a_repository_with_sha256_ids_is_mirrored_with_them() {
    let origin = Origin::with_format("sha256");
    let mirror = open(&origin);
    let pushed = origin.push_file("gitops.toml", "one");
    assert_eq!(fetch(&mirror), Some(pushed.clone()));
    assert_eq!(pushed.as_str().len(), 64);
    assert_eq!(content(&mirror, &pushed, "gitops.toml"), "one");
    assert_eq!(fetch(&open(&origin)), Some(pushed));
}

#[test]
fn many_fetches_end_in_few_packs_unless_what_is_kept_would_be_lost() {
    let origin = Origin::new();
    let mirror = Mirror { max_packs: 3, ..open(&origin) };
    let mut last = None;
    for number in 0..4 {
        last = Some(origin.push_file("gitops.toml", number.to_string()));
        assert_eq!(fetch(&mirror), last);
        mirror.keep(last.as_ref().unwrap()).unwrap();
    }
    assert!(packs(&mirror.path) < 3, "{} packs", packs(&mirror.path));
    let deployed = last.unwrap();
    origin.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    for number in 10..14 {
        origin.push_file("gitops.toml", number.to_string());
        fetch(&mirror);
    }
    assert!(packs(&mirror.path) > 3);
    assert_eq!(content(&mirror, &deployed, "gitops.toml"), "3");
}

#[test]
fn more_fetches_than_git_keeps_packs_open_for_by_default_can_all_be_read() {
    let origin = Origin::new();
    let mirror = open(&origin);
    let first = origin.push_file("gitops.toml", "first");
    fetch(&mirror);
    for number in 0..34 {
        origin.push_file("gitops.toml", number.to_string());
        fetch(&mirror);
    }
    assert_eq!(content(&mirror, &first, "gitops.toml"), "first");
    assert_eq!(content(&mirror, &origin.head(), "gitops.toml"), "33");
}

#[test]
fn a_missing_repository_is_named_with_what_to_do() {
    let origin = Origin::new();
    let mirror = Mirror::open(config(&origin, "/nonexistent/estate.git")).unwrap();
    let error = mirror.fetch(&AtomicBool::new(false)).unwrap_err();
    assert!(
        matches!(&error, GitError::NoRepository { url, .. } if url == "/nonexistent/estate.git"),
        "{error}"
    );
}

#[test]
fn a_cancelled_fetch_says_so_and_the_next_one_works() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "");
    let hanging = origin.folder().join("ssh");
    script(&hanging, "exec sleep 600");
    let access =
        Access { ssh: SshOptions { program: hanging.clone(), ..SshOptions::default() }, ..Access::default() };
    let url = format!("ssh://git@estate{}", origin.bare().display());
    let mirror = Mirror::open(MirrorConfig { access, ..config(&origin, &url) }).unwrap();
    let error = mirror.fetch(&AtomicBool::new(true)).unwrap_err();
    assert!(matches!(error, GitError::Cancelled { .. }), "{error}");
    script(&hanging, FAKE_SSH);
    assert_eq!(fetch(&mirror), Some(pushed));
}

/// Does what `ssh` does once it is connected: runs its last argument by the account's shell.
const FAKE_SSH: &str = r#"for line; do :; done; exec sh -c "$line""#;

fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Most hosts do not accept `GIT_PROTOCOL` over SSH, and answer in the protocol of old.
#[test]
fn a_host_that_only_speaks_the_old_protocol_is_understood() {
    let origin = Origin::new();
    let program = origin.folder().join("ssh");
    script(&program, &format!("unset GIT_PROTOCOL; {FAKE_SSH}"));
    let access = Access { ssh: SshOptions { program, ..SshOptions::default() }, ..Access::default() };
    let url = format!("ssh://git@estate{}", origin.bare().display());
    let mirror = Mirror::open(MirrorConfig { access, ..config(&origin, &url) }).unwrap();
    assert_eq!(fetch(&mirror), None);
    for content in ["one", "two"] {
        let pushed = origin.push_file("gitops.toml", content);
        assert_eq!(fetch(&mirror), Some(pushed));
    }
}

#[test]
fn what_ssh_complains_about_is_told() {
    let origin = Origin::new();
    let program = origin.folder().join("ssh");
    let access =
        Access { ssh: SshOptions { program: program.clone(), ..SshOptions::default() }, ..Access::default() };
    let mirror = Mirror::open(MirrorConfig { access, ..config(&origin, "ssh://git@estate/srv/x") }).unwrap();
    for (complaint, told) in [
        ("Host key verification failed.", "known-hosts file"),
        ("git@estate: Permission denied (publickey).", "Permission denied (publickey)"),
        ("ssh: Could not resolve hostname estate: Name or service not known", "Could not resolve hostname"),
    ] {
        script(&program, &format!("echo '{complaint}' >&2; exit 255"));
        let error = mirror.fetch(&AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains(told), "{complaint}: {error}");
    }
}

#[test]
fn a_token_is_never_sent_in_the_clear() {
    let origin = Origin::new();
    let access = Access { token: Some(crate::git::Token::new("ci", "hunter2")), ..Access::default() };
    let opened = Mirror::open(MirrorConfig { access, ..config(&origin, "http://127.0.0.1:1/estate") });
    assert!(matches!(opened, Err(GitError::TokenInClear { .. })));
}

#[test]
fn a_commit_says_who_made_it_and_what_for() {
    let origin = Origin::new();
    let mirror = open(&origin);
    let pushed = origin.push_file("gitops.toml", "");
    fetch(&mirror);
    let commit = mirror.commit(&pushed).unwrap();
    assert_eq!(
        (&*commit.author, &*commit.email, &*commit.subject),
        ("Ada", "ada@example.org", "gitops.toml")
    );
    assert_eq!(commit.time.to_string(), "2026-01-02T03:04:05Z");
}
