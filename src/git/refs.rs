//! The refs of a repository on this machine, read where they are: what is watched, and what is compared.

use std::path::{Path, PathBuf};

use gitops_core::name::Revision;

use super::{GitError, objects};

/// What a branch of the repository at `path` (bare or not) names now; `None` where there is no such branch.
///
/// # Errors
///
/// Where there is no repository, or it cannot be read.
pub fn branch_tip(path: &Path, branch: &str) -> Result<Option<Revision>, GitError> {
    let tip = || -> gix::Result<Option<Revision>> {
        let repo = open(path)?.to_thread_local();
        let reference = repo.try_find_reference(format!("refs/heads/{branch}").as_str())?;
        reference.map(|mut reference| reference.peel_to_id().map(objects::revision)).transpose()
    };
    tip().map_err(|source| GitError::Open { path: path.to_owned(), source: Box::new(source) })
}

/// The folder that holds `HEAD`, `packed-refs` and `refs/`: for a linked work tree that of the main one. `None` where
/// there is no repository.
pub fn refs_folder(path: &Path) -> Option<PathBuf> {
    open(path).ok().map(|repo| repo.to_thread_local().common_dir().to_owned())
}

fn open(path: &Path) -> gix::Result<gix::ThreadSafeRepository> {
    gix::open::Options::isolated().open(path)
}
