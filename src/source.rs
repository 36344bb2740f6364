//! The definitions repository as the daemon sees it: its newest revision, and the [`Tree`] of any revision.
//!
//! A source decides nothing. It says which commit the branch names now, whether that descends from what is deployed,
//! and what is in it; to hold a rewind or to apply it is for the daemon. What wakes the daemon to ask is in [`Wakes`].
//!
//! Git is read in blocking threads. A fetch is bounded in time, and is stopped where its caller goes away; a slow
//! fetch never keeps others from reading what is there.

mod wakes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gitops_core::name::Revision;
use gitops_core::release::Commit;
use gitops_core::tree::Tree;

use crate::git::{Access, GitError, Mirror, MirrorConfig, RemoteUrl, Scope, TreeCache};
pub use wakes::{Poke, Wake, Wakes, WakesConfig};

/// Which repository is the source, and how it is read.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The repository.
    pub url: RemoteUrl,
    /// The branch that is deployed, without `refs/heads/`.
    pub branch: String,
    /// How the repository lets us in.
    pub access: Access,
    /// The folder that holds the mirror.
    pub state_dir: std::path::PathBuf,
    /// The part of the repository that holds the definitions.
    pub scope: Scope,
    /// How long one fetch may take. [`SourceConfig::TIMEOUT`] is a good one.
    pub timeout: Duration,
}

impl SourceConfig {
    /// One minute: a first fetch of 10,000 services takes half a second over SSH, a new one of five files as much.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
}

/// Why the source could not answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The fetch took too long, and was stopped.
    #[error("{url} did not answer within {seconds} s: check that it is reachable and not overloaded")]
    TimedOut {
        /// The address.
        url: String,
        /// The bound.
        seconds: u64,
    },
    /// The process is being shut down.
    #[error("reading the definitions repository was stopped")]
    Stopped,
}

/// A definitions repository. Clones share one mirror.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    config: SourceConfig,
    /// Opened by the first use, and again by the next where that failed: a full disk does not keep a daemon from
    /// starting.
    mirror: Mutex<Option<Arc<Mirror>>>,
    cache: Mutex<TreeCache>,
    /// Held by the one fetch that runs.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

impl Source {
    /// A source. Nothing is read yet, so that every failure is one that the next wake mends.
    pub fn open(config: SourceConfig) -> Self {
        let inner =
            Inner { config, mirror: Mutex::default(), cache: Mutex::default(), fetching: Arc::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Fetches, and says which commit the branch names now: `None` while the repository has no such branch, as when
    /// nothing was pushed yet. Dropping the future stops the fetch.
    ///
    /// # Errors
    ///
    /// Where the repository cannot be reached or read in time.
    pub async fn fetch(&self) -> Result<Option<Revision>, SourceError> {
        self.fetching(Mirror::fetch).await
    }

    async fn in_time<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, SourceError> {
        let late =
            |_| SourceError::TimedOut { url: self.inner.config.url.to_string(), seconds: limit.as_secs() };
        tokio::time::timeout(limit, work).await.map_err(late)
    }

    /// One fetch at a time. Its time begins when it does: it does not pay for the one before it.
    async fn fetching(
        &self,
        fetch: impl FnOnce(&Mirror, &AtomicBool) -> Result<Option<Revision>, GitError> + Send + 'static,
    ) -> Result<Option<Revision>, SourceError> {
        let limit = self.inner.config.timeout;
        // One that runs ends in its own time, and a little more until it has stopped.
        let running = self.in_time(limit * 2, Arc::clone(&self.inner.fetching).lock_owned()).await?;
        let cancel = CancelOnDrop(Arc::default());
        let cancelled = Arc::clone(&cancel.0);
        let fetching = self.blocking(move |inner| {
            let mirror = inner.mirror()?;
            let fetched = fetch(&mirror, &cancelled);
            // Only now may the next one start, also where nobody waits for this one any more.
            drop(running);
            fetched
        });
        self.in_time(limit, fetching).await?
    }

    /// Fetches the head of a pull request by the reference under which its forge offers it, and says which commit that
    /// is: `None` where there is no such reference. It stays readable until the head of another one is fetched. Dropping
    /// the future stops the fetch.
    ///
    /// # Errors
    ///
    /// Where the repository cannot be reached or read in time.
    pub async fn fetch_head(&self, reference: &str) -> Result<Option<Revision>, SourceError> {
        let reference = reference.to_owned();
        self.fetching(move |mirror, cancel| mirror.fetch_head(&reference, cancel)).await
    }

    /// What the last successful fetch saw, in this run or an earlier one: what to start from while the repository
    /// cannot be reached.
    ///
    /// # Errors
    ///
    /// Where the mirror cannot be opened.
    pub async fn newest_known(&self) -> Result<Option<Revision>, SourceError> {
        self.blocking(|inner| Ok(inner.mirror()?.newest())).await
    }

    /// The definitions at a revision that was fetched.
    ///
    /// # Errors
    ///
    /// Where the revision is not in the mirror, or cannot be read.
    pub async fn tree(&self, revision: &Revision) -> Result<Tree, SourceError> {
        let revision = revision.clone();
        self.blocking(move |inner| {
            let mirror = inner.mirror()?;
            let mut cache = inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
            mirror.tree(&revision, &inner.config.scope, &mut cache)
        })
        .await
    }

    /// Whether `newest` is `deployed` or descends from it. Where `deployed` was never fetched, it does not.
    ///
    /// # Errors
    ///
    /// Where the history cannot be read.
    pub async fn descends(&self, newest: &Revision, deployed: &Revision) -> Result<bool, SourceError> {
        let (newest, deployed) = (newest.clone(), deployed.clone());
        self.blocking(move |inner| inner.mirror()?.is_ancestor(&deployed, &newest)).await
    }

    /// The newest commit that is in the history of both; `None` where they share none.
    ///
    /// # Errors
    ///
    /// Where one of them was never fetched, or its history cannot be read.
    pub async fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, SourceError> {
        let (one, two) = (one.clone(), two.clone());
        self.blocking(move |inner| inner.mirror()?.merge_base(&one, &two)).await
    }

    /// Keeps the deployed revision readable, although the branch may move away from it.
    ///
    /// # Errors
    ///
    /// Where the revision is not in the mirror, or the mirror cannot be written.
    pub async fn keep(&self, revision: &Revision) -> Result<(), SourceError> {
        let revision = revision.clone();
        self.blocking(move |inner| inner.mirror()?.keep(&revision)).await
    }

    /// Who made a commit, and what for.
    ///
    /// # Errors
    ///
    /// Where the revision is not in the mirror, or cannot be read.
    pub async fn commit(&self, revision: &Revision) -> Result<Commit, SourceError> {
        let revision = revision.clone();
        self.blocking(move |inner| inner.mirror()?.commit(&revision)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || read(&inner)).await {
            Ok(outcome) => outcome.map_err(SourceError::Git),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SourceError::Stopped),
        }
    }
}

impl Inner {
    fn mirror(&self) -> Result<Arc<Mirror>, GitError> {
        let mut mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = &*mirror {
            return Ok(Arc::clone(mirror));
        }
        let SourceConfig { url, branch, access, state_dir, timeout, scope: _ } = self.config.clone();
        let opened = Arc::new(Mirror::open(MirrorConfig { state_dir, url, branch, access, timeout })?);
        Ok(Arc::clone(mirror.insert(opened)))
    }
}

/// Tells a fetch to stop when its caller stops waiting.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
