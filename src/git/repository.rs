//! The repository around a folder, as the command line sees it: the user's own, with its branches and work tree.

use std::path::{Path, PathBuf};

use gitops_core::name::Revision;
use gitops_core::release::Commit;
use gitops_core::tree::Tree;
use gitops_core::tree::patch::Patch;
use gix::sec::trust::DefaultForLevel as _;
use gix::sec::{Trust, trust};

use super::objects::Objects;
use super::{GitError, Scope, TreeCache, changes, objects, read, worktree};

/// Where the main branch is looked for, in this order.
const MAIN_BRANCHES: [&str; 5] = [
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/heads/main",
    "refs/remotes/origin/master",
    "refs/heads/master",
];

/// A branch, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// `main`, or `origin/main` for what the remote had when it was fetched.
    pub name: String,
    /// Its newest commit.
    pub tip: Revision,
}

/// A repository whose files are never touched.
pub struct Repository {
    pub(super) repo: gix::ThreadSafeRepository,
    incoming: Vec<PathBuf>,
}

impl Repository {
    /// Finds the repository that holds `folder`, looking upwards as Git does.
    ///
    /// # Errors
    ///
    /// Where there is none, or where it belongs to another account and Git's `safe.directory` does not name it.
    pub fn discover(folder: &Path) -> Result<Self, GitError> {
        let options = |level| {
            let options =
                gix::open::Options::default_for_level(level).config_overrides([objects::DELTA_CACHE]);
            options.bail_if_untrusted(true)
        };
        let trust = trust::Mapping { full: options(Trust::Full), reduced: options(Trust::Reduced) };
        let repo = gix::ThreadSafeRepository::discover_opts(folder, Default::default(), trust)
            .map_err(|error| discovery_failure(folder, error))?;
        Ok(Self { repo, incoming: Vec::new() })
    }

    /// The same, with objects that are in these folders and not in the repository yet: see
    /// [`object_folders`](super::object_folders).
    pub fn with_incoming(self, folders: Vec<PathBuf>) -> Self {
        Self { incoming: folders, ..self }
    }

    fn read<T>(&self, read: impl FnOnce(Objects<'_>) -> Result<T, GitError>) -> Result<T, GitError> {
        let own = self.repo.to_thread_local();
        let open = |folder: &PathBuf| {
            let failed = |source: std::io::Error| GitError::Open {
                path: folder.clone(),
                source: Box::new(gix::Error::from_error(source)),
            };
            objects::incoming(&own, folder.clone()).map_err(failed)
        };
        let incoming = self.incoming.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        read(Objects::of(&own).and(&incoming))
    }

    /// The root of the work tree; `None` for a bare repository.
    pub fn work_tree(&self) -> Option<&Path> {
        self.repo.work_tree.as_deref()
    }

    /// The commit that is checked out, or that a bare repository calls its own; `None` before the first one.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn head(&self) -> Result<Option<Revision>, GitError> {
        let repo = self.repo.to_thread_local();
        let head = || -> gix::Result<Option<Revision>> {
            let id = repo.head()?.try_into_peeled_id()?;
            Ok(id.map(objects::revision))
        };
        head().map_err(|source| GitError::Open { path: repo.path().to_owned(), source: Box::new(source) })
    }

    /// The branch that is checked out, or that a bare repository calls its own, whether it has a commit yet or not;
    /// `None` where a commit is checked out and no branch.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn head_branch(&self) -> Result<Option<String>, GitError> {
        let repo = self.repo.to_thread_local();
        let name = repo.head_name();
        let name =
            name.map_err(|source| GitError::Open { path: repo.path().to_owned(), source: Box::new(source) })?;
        Ok(name.map(|name| name.shorten().to_string()))
    }

    /// The main branch, as `origin/main`: the one that the remote calls its own, else the first of the usual ones.
    pub fn main_branch(&self) -> Option<Branch> {
        let repo = self.repo.to_thread_local();
        let name = |name: &&str| {
            let branch = repo.try_find_reference(*name).ok()??;
            // The remote names one of the others, which may be gone: then the usual ones make up for it.
            let mut branch = branch.follow().map_or(Some(branch), Result::ok)?;
            let tip = branch.peel_to_commit().ok()?;
            Some(Branch { name: branch.name().shorten().to_string(), tip: objects::revision(tip.id) })
        };
        MAIN_BRANCHES.iter().find_map(name)
    }

    /// Whether the history ends before its beginning, as it does after `git clone --depth`.
    pub(super) fn is_shallow(&self) -> bool {
        self.repo.to_thread_local().is_shallow().unwrap_or(false)
    }

    /// Whether it was fetched from anywhere.
    pub(super) fn has_remotes(&self) -> bool {
        !self.repo.to_thread_local().remote_names().is_empty()
    }

    /// The commit that `spec` names: a branch, a tag, a commit id, `HEAD~3` and all else that `git rev-parse` takes.
    ///
    /// # Errors
    ///
    /// Where it names no commit, or more than one.
    pub fn resolve(&self, spec: &str) -> Result<Revision, GitError> {
        let repo = self.repo.to_thread_local();
        let commit = || -> gix::Result<Revision> {
            let commit = repo.rev_parse_single(spec)?.object()?.peel_to_commit()?;
            Ok(objects::revision(commit.id))
        };
        // An option is never a revision, and a line break never part of one.
        let sane = !spec.is_empty() && !spec.starts_with('-') && !spec.chars().any(char::is_control);
        sane.then(commit).and_then(gix::Result::ok).ok_or_else(|| GitError::NoSuchRevision {
            spec: spec.chars().filter(|char| !char.is_control()).take(100).collect(),
            shallow: repo.is_shallow().unwrap_or(false),
        })
    }

    /// The newest commit that is in the history of both; `None` where they share none.
    ///
    /// # Errors
    ///
    /// Where one of them is not in this repository or its history cannot be read.
    pub fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, GitError> {
        self.read(|objects| {
            let ids = [one, two].map(objects::object_id);
            match [one, two].into_iter().zip(ids).find(|(_, id)| !objects.has(*id)) {
                Some((missing, _)) => Err(GitError::NoSuchCommit(missing.clone())),
                None => match objects.merge_base(ids[0], ids[1]) {
                    Ok(base) => Ok(base.map(objects::revision)),
                    Err(source) => Err(read_failure(two, source)),
                },
            }
        })
    }

    /// Whether `ancestor` is `descendant` or in its history.
    ///
    /// # Errors
    ///
    /// Where the history of `descendant` cannot be read.
    pub fn is_ancestor(&self, ancestor: &Revision, descendant: &Revision) -> Result<bool, GitError> {
        self.read(|objects| {
            objects::is_ancestor(objects, ancestor, descendant)
                .map_err(|source| read_failure(descendant, source))
        })
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    ///
    /// Where it is not in this repository or cannot be read.
    pub fn commit(&self, revision: &Revision) -> Result<Commit, GitError> {
        self.read(|objects| objects::commit_info(objects, revision))
    }

    /// The definitions at `revision`. Two trees read with one `cache` share what is the same in them.
    ///
    /// # Errors
    ///
    /// Where the revision or the folder of `scope` does not exist or cannot be read.
    pub fn tree(&self, revision: &Revision, scope: &Scope, cache: &mut TreeCache) -> Result<Tree, GitError> {
        self.read(|objects| read::tree(objects, revision, scope, cache))
    }

    /// What makes the definitions at `head` of those at `base`, in the time that it takes to read what differs.
    ///
    /// # Errors
    ///
    /// Where a revision or the folder of `scope` does not exist or cannot be read.
    pub fn changes(&self, base: &Revision, head: &Revision, scope: &Scope) -> Result<Patch, GitError> {
        self.read(|objects| changes::changes(objects, base, head, scope))
    }

    /// The definitions as they are on disk now, committed or not.
    ///
    /// # Errors
    ///
    /// Where the repository is bare, or a file cannot be read.
    pub fn work_tree_definitions(&self, scope: &Scope) -> Result<Tree, GitError> {
        let root = self.work_tree().ok_or_else(|| self.bare())?;
        worktree::tree(&root.join(scope.segments().collect::<PathBuf>()), scope.limits)
    }

    /// Says that there are no files.
    pub(super) fn bare(&self) -> GitError {
        GitError::Bare { path: self.repo.path().to_owned() }
    }
}

fn read_failure(revision: &Revision, source: gix::Error) -> GitError {
    GitError::Read { revision: revision.clone(), source: Box::new(source) }
}

fn discovery_failure(folder: &Path, error: gix::Error) -> GitError {
    let path: PathBuf = folder.to_owned();
    if error.is_permission_denied() {
        GitError::Unsafe { path: path.display().to_string() }
    } else if error.is_not_found() {
        GitError::NotInRepository { path }
    } else {
        GitError::Open { path, source: Box::new(error) }
    }
}

#[cfg(test)]
mod tests;
