//! A bare mirror of one branch, under the state folder: what the daemon reads instead of a checkout.
//!
//! The mirror is only a copy: whatever is wrong with it (another address, a crash in the middle of something, a damaged
//! disk) is mended by making it anew. It is made aside and put in place by a rename, so that it is there whole or not
//! at all. Nobody else writes to it.
//!
//! **Invariant:** `refs/gitops/newest` is what the last successful fetch saw, also where that is not a descendant of
//! what it saw before; whether to follow such a rewind is for others to decide. `refs/gitops/kept` is what is deployed:
//! it stays readable while the branch moves away from it. `refs/gitops/reviewed` is the head of the pull request that is
//! being reviewed, one at a time; it is never what is deployed.

mod head;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use gitops_core::name::Revision;
use gitops_core::release::Commit;
use gitops_core::tree::Tree;
use gix::hash::Kind as HashKind;
use gix::progress::Discard;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::git::{ConnectMode, blocking_io::Connection};
use gix::refs::transaction::PreviousValue;
use gix::remote::{Direction, fetch::Tags};

use super::error::fetch_failure;
use super::objects::Objects;
use super::transport::{self, Process};
use super::{Access, GitError, RemoteUrl, Scope, TreeCache, objects, read};

const NEWEST: &str = "refs/gitops/newest";
const KEPT: &str = "refs/gitops/kept";

/// The file in the mirror that says whose mirror it is.
const SOURCE_FILE: &str = "gitops-source";

/// Each fetch that brings something adds a pack, and each lookup asks every pack. At this many the mirror is fetched
/// anew as one.
const MAX_PACKS: usize = 100;

/// Which branch of which repository is mirrored, and where.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// The folder that holds the mirror, made if missing.
    pub state_dir: PathBuf,
    /// The repository.
    pub url: RemoteUrl,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// How the repository lets us in.
    pub access: Access,
    /// How long one HTTPS request may take.
    pub timeout: Duration,
}

/// A mirror that is open. It may be read by several threads while one fetches.
pub struct Mirror {
    config: MirrorConfig,
    path: PathBuf,
    /// Readers hold it while they read, so that the folder is not exchanged under them.
    repo: RwLock<gix::ThreadSafeRepository>,
    /// Set where reading failed: the next fetch makes the mirror anew.
    damaged: AtomicBool,
    max_packs: usize,
}

/// What is wanted of the other side, and what it is called here.
#[derive(Clone, Copy)]
struct Want<'a> {
    theirs: &'a str,
    ours: &'static str,
}

/// What a fetch found at the other side.
enum Received {
    /// What is wanted, and its history is here now.
    Tip(gix::ObjectId),
    /// No such branch.
    NoBranch,
    /// A repository whose objects this mirror cannot hold, since it was made for other ids or lost what it had: one
    /// made for these ids can.
    NeedsNewMirror(HashKind),
}

impl Mirror {
    /// Opens the mirror, or makes an empty one where there is none, where it is of another repository or branch,
    /// or where it cannot be read.
    ///
    /// # Errors
    ///
    /// Where the branch is not a valid name, a token would travel in the clear, or the folder cannot be written.
    pub fn open(config: MirrorConfig) -> Result<Self, GitError> {
        if gix::validate::reference::name(format!("refs/heads/{}", config.branch).as_str().into()).is_err() {
            return Err(GitError::BranchName { branch: config.branch });
        }
        if config.access.token.is_some()
            && matches!(&config.url, RemoteUrl::Http(url) if url.scheme() != "https")
        {
            return Err(GitError::TokenInClear { url: config.url.to_string() });
        }
        let path = config.state_dir.join("mirror.git");
        let repo = match existing(&path, &config) {
            Some(repo) => repo,
            None => {
                let made = create(&path, &config, HashKind::Sha1)?;
                replace(&path, &made)?
            }
        };
        Ok(Self { config, path, repo: repo.into(), damaged: false.into(), max_packs: MAX_PACKS })
    }

    /// Fetches the branch, and says which commit it names now: `None` while the repository has no such branch.
    ///
    /// # Errors
    ///
    /// Where the repository cannot be reached or read, or `cancel` is set meanwhile.
    pub fn fetch(&self, cancel: &AtomicBool) -> Result<Option<Revision>, GitError> {
        let is_there = self.path.join(SOURCE_FILE).is_file();
        if self.damaged.load(Ordering::Relaxed) || !is_there {
            return self.renew(HashKind::Sha1, cancel);
        }
        match self.with(|repo| self.receive_branch_into(repo, cancel))? {
            Received::Tip(tip) => {
                let newest = objects::revision(tip);
                self.compact(&newest, cancel);
                Ok(Some(newest))
            }
            Received::NoBranch => Ok(None),
            Received::NeedsNewMirror(hash) => self.renew(hash, cancel),
        }
    }

    /// What the last successful fetch saw, in this run or an earlier one.
    pub fn newest(&self) -> Option<Revision> {
        self.with(|repo| reference(repo, NEWEST)).map(objects::revision)
    }

    /// Keeps a revision readable, although the branch may move away from it, until another is kept instead.
    ///
    /// # Errors
    ///
    /// Where the revision is not in the mirror, or the mirror cannot be written.
    pub fn keep(&self, revision: &Revision) -> Result<(), GitError> {
        self.with(|repo| {
            let id = objects::object_id(revision);
            if !repo.has_object(id) {
                return Err(GitError::NoSuchCommit(revision.clone()));
            }
            if reference(repo, KEPT) == Some(id) {
                return Ok(());
            }
            set_reference(repo, KEPT, id).map_err(|source| self.damage(source))
        })
    }

    /// Whether `ancestor` is `descendant` or in its history. What is not in the mirror is in no history.
    ///
    /// # Errors
    ///
    /// Where the mirror is damaged.
    pub fn is_ancestor(&self, ancestor: &Revision, descendant: &Revision) -> Result<bool, GitError> {
        self.with(|repo| objects::is_ancestor(Objects::of(repo), ancestor, descendant))
            .map_err(|source| self.damage(source))
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    ///
    /// Where it is not in the mirror, or the mirror is damaged.
    pub fn commit(&self, revision: &Revision) -> Result<Commit, GitError> {
        self.with(|repo| objects::commit_info(Objects::of(repo), revision))
            .map_err(|error| self.damage_of(error))
    }

    /// The definitions at `revision`. Two trees read with one `cache` share what is the same in them.
    ///
    /// # Errors
    ///
    /// Where the revision or the folder of `scope` does not exist, or the mirror is damaged.
    pub fn tree(&self, revision: &Revision, scope: &Scope, cache: &mut TreeCache) -> Result<Tree, GitError> {
        self.with(|repo| read::tree(Objects::of(repo), revision, scope, cache))
            .map_err(|error| self.damage_of(error))
    }

    fn with<T>(&self, read: impl FnOnce(&gix::Repository) -> T) -> T {
        // A handle of its own for each use: its caches are freed with it.
        let repo = self.repo.read().unwrap_or_else(PoisonError::into_inner);
        read(&repo.to_thread_local())
    }

    fn damage_of(&self, error: GitError) -> GitError {
        match error {
            GitError::Read { source, .. } => self.damage(*source),
            other => other,
        }
    }

    fn damage(&self, source: gix::Error) -> GitError {
        self.damaged.store(true, Ordering::Relaxed);
        GitError::Damaged { path: self.path.clone(), source: Box::new(source) }
    }

    /// Fetches the branch into `repo`.
    fn receive_branch_into(&self, repo: &gix::Repository, cancel: &AtomicBool) -> Result<Received, GitError> {
        let branch = format!("refs/heads/{}", self.config.branch);
        self.receive(repo, Want { theirs: &branch, ours: NEWEST }, cancel)
    }

    /// Fetches into `repo` by the transport that the address asks for.
    fn receive(
        &self,
        repo: &gix::Repository,
        want: Want<'_>,
        cancel: &AtomicBool,
    ) -> Result<Received, GitError> {
        match &self.config.url {
            RemoteUrl::Local(path) => self.receive_from(transport::upload_pack(path), repo, want, cancel),
            RemoteUrl::Ssh(address) => {
                self.receive_from(transport::ssh(address, &self.config.access.ssh), repo, want, cancel)
            }
            RemoteUrl::Http(_) => self.receive_by_http(repo, want, cancel),
        }
    }

    fn receive_from(
        &self,
        command: std::process::Command,
        repo: &gix::Repository,
        want: Want<'_>,
        cancel: &AtomicBool,
    ) -> Result<Received, GitError> {
        let (process, stdout, stdin) = Process::start(command, &self.config.url)?;
        let received = process.supervise(cancel, || {
            let (version, host, mode) = (Protocol::V2, None::<(String, Option<u16>)>, ConnectMode::Process);
            let transport = Connection::new(stdout, stdin, version, "", host, mode, false);
            let transport = transport.custom_url(Some(self.config.url.to_string().into()));
            let remote = self.remote(repo, want)?;
            self.receive_wanted(repo, want, remote.to_connection_with_transport(transport), cancel)
        });
        received.map_err(|error| self.fetch_failure(error, || process.complaints(), cancel))
    }

    fn receive_by_http(
        &self,
        repo: &gix::Repository,
        want: Want<'_>,
        cancel: &AtomicBool,
    ) -> Result<Received, GitError> {
        let options = transport::https_options(&self.config.access, self.config.timeout)?;
        let received = || {
            let remote = self.remote(repo, want)?;
            let mut connection = remote.connect(Direction::Fetch)?;
            connection.set_transport_options(Box::new(options));
            // Otherwise the credential programs of the account are run, and they may ask a person.
            connection.set_credentials(|_| Ok(None));
            if let Some(token) = &self.config.access.token {
                connection
                    .transport_mut()
                    .set_identity(transport::account(token))
                    .map_err(gix::Error::from_error)?;
            }
            self.receive_wanted(repo, want, connection, cancel)
        };
        received().map_err(|error| self.fetch_failure(error, String::new, cancel))
    }

    fn fetch_failure(
        &self,
        error: gix::Error,
        complaints: impl FnOnce() -> String,
        cancel: &AtomicBool,
    ) -> GitError {
        let url = self.config.url.to_string();
        if cancel.load(Ordering::Relaxed) {
            return GitError::Cancelled { url };
        }
        if error.is_corrupted() {
            // Whichever side it is: a new mirror shows.
            self.damaged.store(true, Ordering::Relaxed);
        }
        fetch_failure(&url, &complaints(), error)
    }

    /// The other side with the one reference that we want of it.
    fn remote<'a>(&self, repo: &'a gix::Repository, want: Want<'_>) -> gix::Result<gix::Remote<'a>> {
        // The `+` lets the branch be rewound: that is seen and reported, not refused.
        let refspec = format!("+{}:{}", want.theirs, want.ours);
        repo.remote_at_without_url_rewrite(self.config.url.to_string().as_str())?
            .with_fetch_tags(Tags::None)
            .with_refspecs([refspec.as_str()], Direction::Fetch)
    }

    fn receive_wanted<T: Transport>(
        &self,
        repo: &gix::Repository,
        want: Want<'_>,
        connection: gix::remote::Connection<'_, '_, '_, T>,
        cancel: &AtomicBool,
    ) -> gix::Result<Received> {
        let prepared = connection.prepare_fetch(Discard, Default::default())?;
        let map = prepared.ref_map();
        if map.object_hash != repo.object_hash() {
            return Ok(Received::NeedsNewMirror(map.object_hash));
        }
        let Some(tip) = map.mappings.iter().find_map(|mapping| mapping.remote.as_id()).map(ToOwned::to_owned)
        else {
            return Ok(Received::NoBranch);
        };
        prepared.receive(Discard, cancel)?;
        if repo.find_commit(tip).is_err() {
            return Ok(Received::NeedsNewMirror(repo.object_hash()));
        }
        if reference(repo, want.ours) != Some(tip) {
            set_reference(repo, want.ours, tip)?;
        }
        Ok(Received::Tip(tip))
    }

    /// Fetches everything anew into one pack where there are many. What is deployed must be in the branch's history,
    /// since else it could not be fetched again.
    fn compact(&self, newest: &Revision, cancel: &AtomicBool) {
        let due = self.with(|repo| {
            let kept = reference(repo, KEPT).map(objects::revision);
            let fetchable = kept
                .is_none_or(|kept| objects::is_ancestor(Objects::of(repo), &kept, newest).unwrap_or(false));
            (fetchable && packs(&self.path) >= self.max_packs).then(|| repo.object_hash())
        });
        let Some(hash) = due else { return };
        let compacted = self.made_anew(hash, cancel).and_then(|(made, received)| match received {
            Received::Tip(_) => self.exchange(&made),
            // The branch went away just now: only the old mirror still has it.
            Received::NoBranch | Received::NeedsNewMirror(_) => Ok(()),
        });
        if let Err(error) = compacted {
            // The old one still serves.
            tracing::warn!(error = &error as &dyn std::error::Error, "the mirror could not be compacted");
        }
    }

    /// Replaces a mirror that cannot be used.
    fn renew(&self, hash: HashKind, cancel: &AtomicBool) -> Result<Option<Revision>, GitError> {
        let (made, received) = self.made_anew(hash, cancel)?;
        self.exchange(&made)?;
        self.damaged.store(false, Ordering::Relaxed);
        Ok(match received {
            Received::Tip(tip) => Some(objects::revision(tip)),
            Received::NoBranch | Received::NeedsNewMirror(_) => None,
        })
    }

    /// A new mirror beside this one, with what the other side has now and what is kept, as far as it has that.
    fn made_anew(&self, hash: HashKind, cancel: &AtomicBool) -> Result<(PathBuf, Received), GitError> {
        let make = |hash| -> Result<_, GitError> {
            let made = create(&self.path, &self.config, hash)?;
            let repo = objects::open_isolated(&made).map_err(|source| self.damage(source))?.to_thread_local();
            let received = self.receive_branch_into(&repo, cancel)?;
            Ok((made, repo, received))
        };
        let (made, repo, received) = match make(hash)? {
            (_, _, Received::NeedsNewMirror(hash)) => make(hash)?,
            made => made,
        };
        if let Some(kept) = self.with(|old| reference(old, KEPT)).filter(|&kept| repo.has_object(kept)) {
            set_reference(&repo, KEPT, kept).map_err(|source| self.damage(source))?;
        }
        Ok((made, received))
    }

    fn exchange(&self, made: &Path) -> Result<(), GitError> {
        let mut current = self.repo.write().unwrap_or_else(PoisonError::into_inner);
        *current = replace(&self.path, made)?;
        Ok(())
    }
}

fn reference(repo: &gix::Repository, name: &str) -> Option<gix::ObjectId> {
    let reference = repo.try_find_reference(name).ok()??;
    reference.target().try_id().map(ToOwned::to_owned)
}

fn set_reference(repo: &gix::Repository, name: &str, id: gix::ObjectId) -> gix::Result<()> {
    repo.reference(name, id, PreviousValue::Any, "gitops").map(drop)
}

/// The mirror as an earlier run left it, if it can be used.
fn existing(path: &Path, config: &MirrorConfig) -> Option<gix::ThreadSafeRepository> {
    let source = fs::read_to_string(path.join(SOURCE_FILE)).ok()?;
    if source != source_line(config) {
        return None;
    }
    remove_stale(path).ok()?;
    let repo = objects::open_isolated(path).ok()?;
    let local = repo.to_thread_local();
    let readable = |name| match local.try_find_reference(name) {
        Ok(Some(reference)) => reference
            .target()
            .try_id()
            .is_some_and(|id| local.find_commit(id).and_then(|it| it.tree()).is_ok()),
        Ok(None) => true,
        Err(_) => false,
    };
    (readable(NEWEST) && readable(KEPT)).then_some(repo)
}

/// Removes the locks and half-written packs of a run that was killed. No other process writes to the mirror, so none
/// of them is in use.
fn remove_stale(path: &Path) -> io::Result<()> {
    for folder in ["", "refs/gitops", "objects/pack"] {
        let Ok(entries) = fs::read_dir(path.join(folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".lock") || name.ends_with(".keep") || name.starts_with(".tmp") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Of which branch of which repository a mirror is: for another one what it knows would be wrong.
fn source_line(config: &MirrorConfig) -> String {
    format!("{} {}\n", config.branch, config.url)
}

fn packs(path: &Path) -> usize {
    let entries = fs::read_dir(path.join("objects/pack")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
}

fn aside(path: &Path, extension: &str) -> PathBuf {
    path.with_extension(format!("git.{extension}"))
}

/// Makes an empty mirror beside `path`, and says where.
fn create(path: &Path, config: &MirrorConfig, hash: HashKind) -> Result<PathBuf, GitError> {
    let made = aside(path, "new");
    let folder_failure = |source| GitError::MirrorFolder { path: path.to_owned(), source };
    remove_folder(&made).and_then(|()| fs::create_dir_all(&made)).map_err(folder_failure)?;
    let options = gix::create::Options { object_hash: Some(hash), ..gix::create::Options::default() };
    gix::ThreadSafeRepository::init_opts(&made, gix::create::Kind::Bare, options, objects::isolated())
        .map_err(|error| folder_failure(io::Error::other(error)))?;
    fs::write(made.join(SOURCE_FILE), source_line(config)).map_err(folder_failure)?;
    Ok(made)
}

/// Puts the mirror that was made at `made` in the place of the one at `path`, and opens it.
fn replace(path: &Path, made: &Path) -> Result<gix::ThreadSafeRepository, GitError> {
    let old = aside(path, "old");
    let exchange = || {
        remove_folder(&old)?;
        if path.symlink_metadata().is_ok() {
            fs::rename(path, &old)?;
        }
        fs::rename(made, path)?;
        remove_folder(&old)
    };
    exchange().map_err(|source| GitError::MirrorFolder { path: path.to_owned(), source })?;
    objects::open_isolated(path)
        .map_err(|source| GitError::Damaged { path: path.to_owned(), source: Box::new(source) })
}

/// Removes what is at `path`, whatever it is.
fn remove_folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod remote_tests;
#[cfg(test)]
mod tests;
