//! What wakes the daemon to look at its source: a ref that changed on this machine, the clock, a person or a webhook.
//!
//! A wake is never an input: it says "look again", and the fetch that follows says what is there. So a wake too many
//! costs one fetch of a few milliseconds, and a lost one is made good by the next poll.
//!
//! For a repository on this machine the folders of its refs are watched. The branch is read again on every event and
//! compared, because events mislead: reading a repository makes events of its own, and `git pack-refs` removes the
//! file of a branch that did not move.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::Revision;
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::git::{self, RemoteUrl};

/// A push makes about twenty events within a few milliseconds; this much quiet ends a burst.
const QUIET: Duration = Duration::from_millis(20);

/// A burst is not waited out for longer than this.
const BURST: Duration = Duration::from_millis(200);

/// Why to look at the source again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The first look.
    Start,
    /// The branch of a repository on this machine names another commit.
    Moved,
    /// Somebody asked: a webhook, or `gitops sync`.
    Poked,
    /// It is time again.
    Poll,
}

/// What is watched, and how often it is looked at anyway.
#[derive(Clone, Debug)]
pub struct WakesConfig {
    /// The repository.
    pub url: RemoteUrl,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// How long to wait from one look to the next, give or take a tenth. [`WakesConfig::INTERVAL`] is a good one.
    pub interval: Duration,
}

impl WakesConfig {
    /// Half a minute: soon enough for a person who waits, and seldom enough for a thousand daemons on one forge.
    pub const INTERVAL: Duration = Duration::from_secs(30);
}

/// The stream of wakes. It does not end; nothing runs while nobody waits for it.
pub struct Wakes {
    config: WakesConfig,
    poked: Arc<Notify>,
    touched: Arc<Notify>,
    /// `None` before the first wake.
    next_poll: Option<Instant>,
    watch: Option<Watch>,
    /// What the branch named when it was last looked at.
    tip: Option<Revision>,
}

/// Wakes a [`Wakes`] from elsewhere. Several pokes before it looks are one.
#[derive(Clone)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Asks for a look now.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

impl Wakes {
    /// Starts watching. The first wake is there at once.
    pub fn start(config: WakesConfig) -> Self {
        let mut wakes = Self {
            config,
            poked: Arc::default(),
            touched: Arc::default(),
            next_poll: None,
            watch: None,
            tip: None,
        };
        wakes.look();
        wakes
    }

    /// Wakes this from elsewhere.
    pub fn poke(&self) -> Poke {
        Poke(Arc::clone(&self.poked))
    }

    /// Waits for the next reason to look. Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> Wake {
        let Some(next_poll) = self.next_poll else {
            self.next_poll = Some(self.poll_time());
            return Wake::Start;
        };
        loop {
            tokio::select! {
                // A person first, so that what they asked for is what is answered.
                biased;
                () = self.poked.notified() => return self.woken(Wake::Poked),
                () = self.touched.notified() => {
                    settle(&self.touched).await;
                    if self.look() {
                        return self.woken(Wake::Moved);
                    }
                }
                () = tokio::time::sleep_until(next_poll) => return self.woken(Wake::Poll),
            }
        }
    }

    fn woken(&mut self, wake: Wake) -> Wake {
        self.look();
        self.next_poll = Some(self.poll_time());
        wake
    }

    /// Reads the branch of a repository on this machine, and says whether it moved. A repository that was not there
    /// or was exchanged for another is watched from now on.
    fn look(&mut self) -> bool {
        let Some(path) = self.config.url.local_path() else { return false };
        if !self.watch.as_ref().is_some_and(Watch::is_current) {
            self.watch = Watch::new(path, &self.touched);
        }
        // One that cannot be read is left to the fetch, which says why.
        let Ok(tip) = git::branch_tip(path, &self.config.branch) else { return true };
        let moved = tip != self.tip;
        self.tip = tip;
        moved
    }

    /// The interval, give or take a tenth, so that many daemons do not ask one forge in step.
    fn poll_time(&self) -> Instant {
        // Without randomness there is no jitter, and nothing else is lost.
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        let part = 0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX);
        Instant::now() + self.config.interval.mul_f64(part)
    }
}

/// Waits until a burst of events is over.
async fn settle(touched: &Notify) {
    let burst = Instant::now() + BURST;
    while Instant::now() < burst {
        if tokio::time::timeout(QUIET, touched.notified()).await.is_err() {
            return;
        }
    }
}

/// A watch over the refs of one repository.
struct Watch {
    git_dir: PathBuf,
    /// What was at that path when the watch began: a watch follows the folder, not its name.
    identity: Option<(u64, u64)>,
    /// `None` where the system allows no more watches: then the polls remain.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// `None` where there is nothing to watch yet.
    fn new(repository: &Path, touched: &Arc<Notify>) -> Option<Self> {
        let git_dir = git::refs_folder(repository)?;
        let touched = Arc::clone(touched);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a repository makes `Access` events, also when it is us who read. An error may be a queue that
            // ran over, so look.
            if !matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_))) {
                touched.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            // `HEAD` and `packed-refs` are exchanged by renames in the folder itself; `objects/` is noise.
            watcher.watch(&git_dir, RecursiveMode::NonRecursive)?;
            watcher.watch(&git_dir.join("refs"), RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watched {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, path = %git_dir.display(), "the repository cannot be watched, and is polled instead");
        }
        Some(Self { identity: identity(&git_dir), git_dir, _watcher: watched.ok() })
    }

    fn is_current(&self) -> bool {
        self.identity.is_some() && self.identity == identity(&self.git_dir)
    }
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_a_tenth_early_or_late_and_not_in_step() {
        let url = "https://example.org/estate.git".parse().unwrap();
        let wakes =
            Wakes::start(WakesConfig { url, branch: "main".into(), interval: Duration::from_secs(3600) });
        let now = Instant::now();
        let waits: Vec<_> = (0..50).map(|_| (wakes.poll_time() - now).as_secs()).collect();
        // One second of grace for a machine that stops in between.
        assert!(waits.iter().all(|wait| (3240..=3961).contains(wait)), "{waits:?}");
        assert!(waits.iter().max().unwrap() - waits.iter().min().unwrap() > 60, "{waits:?}");
    }
}
