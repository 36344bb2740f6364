use super::*;
use crate::git::SshOptions;
use crate::git::testing::{Origin, git};

/// Long enough for a machine under load; a test only waits for it where it fails.
const SOON: Duration = Duration::from_secs(20);

fn config(origin: &Origin, url: &str) -> SourceConfig {
    SourceConfig {
        url: url.parse().unwrap(),
        branch: "main".into(),
        access: Access::default(),
        state_dir: origin.folder().join("state"),
        scope: Scope::default(),
        timeout: SOON,
    }
}

fn source(origin: &Origin) -> Source {
    Source::open(config(origin, origin.bare().to_str().unwrap()))
}

/// Wakes that only poll when the test is long over.
fn wakes(url: &str) -> Wakes {
    let interval = Duration::from_secs(3600);
    Wakes::start(WakesConfig { url: url.parse().unwrap(), branch: "main".into(), interval })
}

async fn next(wakes: &mut Wakes) -> Wake {
    tokio::time::timeout(SOON, wakes.next()).await.expect("a wake comes soon")
}

/// That nothing wakes for a while. The while bounds how late a false wake is still seen, not whether the test passes.
async fn assert_quiet(wakes: &mut Wakes) {
    let woken = tokio::time::timeout(Duration::from_millis(400), wakes.next()).await;
    assert!(woken.is_err(), "{woken:?}");
}

#[tokio::test]
async fn a_push_is_fetched_read_and_compared_with_what_is_deployed() {
    let origin = Origin::new();
    let source = source(&origin);
    assert_eq!(source.fetch().await.unwrap(), None);
    let deployed = origin.push_file("gitops.toml", "one");
    assert_eq!(source.fetch().await.unwrap(), Some(deployed.clone()));
    source.keep(&deployed).await.unwrap();
    let next = origin.push_file("gitops.toml", "two");
    assert_eq!(source.fetch().await.unwrap(), Some(next.clone()));
    assert!(source.descends(&next, &deployed).await.unwrap());
    assert!(!source.descends(&deployed, &next).await.unwrap(), "going back is a rewind");
    let tree = source.tree(&next).await.unwrap();
    assert_eq!(tree.get("gitops.toml").unwrap().content.as_deref(), Some(&b"two"[..]));
    assert_eq!(source.commit(&next).await.unwrap().author, "Ada");
}

#[tokio::test]
async fn what_was_fetched_is_known_while_the_repository_is_away() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "one");
    source(&origin).fetch().await.unwrap();
    std::fs::rename(origin.bare(), origin.folder().join("away")).unwrap();
    let source = source(&origin);
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Git(GitError::NoRepository { .. })), "{error}");
    assert_eq!(source.newest_known().await.unwrap(), Some(pushed.clone()));
    assert!(source.tree(&pushed).await.is_ok());
}

#[tokio::test]
async fn a_fetch_that_hangs_ends_in_time_and_does_not_block_the_next() {
    let origin = Origin::new();
    let ssh = SshOptions { program: origin.folder().join("ssh"), ..SshOptions::default() };
    std::fs::write(&ssh.program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&ssh.program, executable).unwrap();
    let source = Source::open(SourceConfig {
        access: Access { ssh, ..Access::default() },
        timeout: Duration::from_millis(300),
        ..config(&origin, "ssh://git@estate/srv/x")
    });
    for _ in 0..2 {
        let error = tokio::time::timeout(SOON, source.fetch()).await.unwrap().unwrap_err();
        assert!(matches!(error, SourceError::TimedOut { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_fetch_does_not_pay_for_the_time_of_the_one_before_it() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "one");
    let ssh = SshOptions { program: origin.folder().join("ssh"), ..SshOptions::default() };
    let (hung, bare) = (origin.folder().join("hung"), origin.bare());
    let script = format!(
        "#!/bin/sh\nif mkdir '{}' 2>/dev/null; then exec sleep 600; fi\nexec git upload-pack '{}'\n",
        hung.display(),
        bare.display()
    );
    std::fs::write(&ssh.program, script).unwrap();
    std::fs::set_permissions(&ssh.program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let source = Source::open(SourceConfig {
        access: Access { ssh, ..Access::default() },
        timeout: Duration::from_secs(3),
        ..config(&origin, "ssh://git@estate/srv/x")
    });
    let (first, second) = tokio::join!(source.fetch(), source.fetch());
    assert!(matches!(first, Err(SourceError::TimedOut { .. })), "{first:?}");
    assert_eq!(second.unwrap(), Some(pushed));
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_is_told_and_mended_without_a_restart() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "one");
    let source = source(&origin);
    std::fs::write(origin.folder().join("state"), "in the way").unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Git(GitError::MirrorFolder { .. })), "{error}");
    std::fs::remove_file(origin.folder().join("state")).unwrap();
    assert_eq!(source.fetch().await.unwrap(), Some(pushed));
}

#[tokio::test]
async fn a_push_wakes_and_what_moves_no_branch_does_not() {
    let origin = Origin::new();
    origin.push_file("gitops.toml", "one");
    let url = origin.bare().display().to_string();
    let mut wakes = wakes(&url);
    assert_eq!(next(&mut wakes).await, Wake::Start);
    origin.push_file("gitops.toml", "two");
    assert_eq!(next(&mut wakes).await, Wake::Moved);
    git(&origin.bare(), &["pack-refs", "--all"]);
    git(&origin.bare(), &["gc", "--quiet"]);
    git(&origin.bare(), &["branch", "other", "main"]);
    source(&origin).fetch().await.unwrap();
    assert_quiet(&mut wakes).await;
    origin.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    origin.push();
    assert_eq!(next(&mut wakes).await, Wake::Moved, "a rewind out of packed refs");
}

#[tokio::test]
async fn a_commit_in_a_repository_with_a_work_tree_wakes() {
    let origin = Origin::new();
    origin.commit("one");
    let mut wakes = wakes(origin.work().to_str().unwrap());
    assert_eq!(next(&mut wakes).await, Wake::Start);
    origin.commit("two");
    assert_eq!(next(&mut wakes).await, Wake::Moved);
}

#[tokio::test]
async fn the_first_push_into_an_empty_repository_wakes() {
    let origin = Origin::new();
    let mut wakes = wakes(origin.bare().to_str().unwrap());
    assert_eq!(next(&mut wakes).await, Wake::Start);
    origin.push_file("gitops.toml", "one");
    assert_eq!(next(&mut wakes).await, Wake::Moved);
}

#[tokio::test]
async fn a_poke_wakes_once_and_is_not_lost_while_nobody_waits() {
    let mut wakes = wakes("https://example.org/estate.git");
    let poke = wakes.poke();
    assert_eq!(next(&mut wakes).await, Wake::Start);
    poke.poke();
    poke.poke();
    assert_eq!(next(&mut wakes).await, Wake::Poked);
    assert_quiet(&mut wakes).await;
}

#[tokio::test]
async fn a_remote_is_polled() {
    let url = "https://example.org/estate.git".parse().unwrap();
    let interval = Duration::from_millis(10);
    let mut wakes = Wakes::start(WakesConfig { url, branch: "main".into(), interval });
    for expected in [Wake::Start, Wake::Poll, Wake::Poll] {
        assert_eq!(next(&mut wakes).await, expected);
    }
}

#[tokio::test]
async fn a_repository_that_appears_later_is_watched_from_the_next_look_on() {
    let origin = Origin::new();
    let late = origin.folder().join("late.git");
    let mut wakes = wakes(late.to_str().unwrap());
    assert_eq!(next(&mut wakes).await, Wake::Start);
    git(origin.folder(), &["init", "--quiet", "--bare", "-b", "main", "late.git"]);
    wakes.poke().poke();
    assert_eq!(next(&mut wakes).await, Wake::Poked);
    origin.commit("one");
    origin.git(&["push", "--quiet", "../late.git", "HEAD:main"]);
    assert_eq!(next(&mut wakes).await, Wake::Moved);
}
