//! One changed file, or a folder as it was, as a commit on a new branch. The work tree, the index, `HEAD` and every other branch stay as they
//! are, and nothing leaves this machine.

use gitops_core::name::Revision;
use gix::bstr::ByteSlice as _;
use gix::objs::tree::EntryKind;
use gix::refs::transaction::PreviousValue;

use super::{GitError, Repository, objects};

/// A commit to be made.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The commit that it comes after.
    pub parent: &'a Revision,
    /// What it changes.
    pub edit: Edit<'a>,
    /// The branch that it is the tip of, which must be a new one.
    pub branch: &'a str,
    /// What it is for.
    pub message: &'a str,
}

/// What a commit changes. Paths are from the root of the repository.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// One file.
    File {
        /// Which.
        path: &'a str,
        /// The whole content of that file.
        content: &'a [u8],
    },
    /// A folder becomes what it was at a commit, and goes where it was not there; empty for all files.
    Folder {
        /// Which.
        path: &'a str,
        /// When.
        from: &'a Revision,
    },
}

impl Repository {
    /// Whether there is a branch of this name.
    ///
    /// # Errors
    ///
    /// Where no branch can have this name, or the repository cannot be read.
    pub fn has_branch(&self, branch: &str) -> Result<bool, GitError> {
        let name = branch_reference(branch)?;
        let repo = self.repo.to_thread_local();
        let found = repo.try_find_reference(name.as_str());
        let failed = |source| GitError::Open { path: repo.path().to_owned(), source: Box::new(source) };
        found.map(|found| found.is_some()).map_err(failed)
    }

    /// Makes the commit and its branch, by whoever Git says is at work here.
    ///
    /// # Errors
    ///
    /// Where the branch is there already, nobody's name is configured, or the repository cannot be written.
    pub fn commit_to_new_branch(&self, draft: &Draft<'_>) -> Result<Revision, GitError> {
        self.check_new_branch(draft.branch)?;
        let revision = self.commit_for_branch(draft)?;
        self.make_branch(draft.branch, &revision)?;
        Ok(revision)
    }

    /// That a branch of this name can be made.
    ///
    /// # Errors
    ///
    /// Where it is there already, or nothing can be called so.
    pub fn check_new_branch(&self, branch: &str) -> Result<(), GitError> {
        match self.has_branch(branch)? {
            true => Err(GitError::BranchExists { branch: branch.to_owned() }),
            false => Ok(()),
        }
    }

    /// Makes the commit, which is of no branch yet and may be looked at before it is.
    ///
    /// # Errors
    ///
    /// Where nobody's name is configured, or the repository cannot be written.
    pub fn commit_for_branch(&self, draft: &Draft<'_>) -> Result<Revision, GitError> {
        let repo = self.repo.to_thread_local();
        let (Some(author), Some(committer)) = (repo.author(), repo.committer()) else {
            return Err(GitError::NoAuthor);
        };
        let write = || -> gix::Result<Revision> {
            let parent = repo.find_commit(objects::object_id(draft.parent))?;
            let tree = edited(&repo, &parent, draft.edit)?;
            let commit = repo.new_commit_as(committer?, author?, draft.message, tree, [parent.id])?;
            Ok(objects::revision(commit.id))
        };
        write().map_err(|source| unwritten(draft.branch, source))
    }

    /// Whether the edit leaves everything as it is.
    ///
    /// # Errors
    ///
    /// If the repository cannot be read or written.
    pub fn changes_nothing(&self, draft: &Draft<'_>) -> Result<bool, GitError> {
        let repo = self.repo.to_thread_local();
        let compare = || -> gix::Result<bool> {
            let parent = repo.find_commit(objects::object_id(draft.parent))?;
            Ok(edited(&repo, &parent, draft.edit)? == parent.tree_id()?.detach())
        };
        compare().map_err(|source| unwritten(draft.branch, source))
    }

    /// Makes a branch with this commit as its tip. Where somebody else made one in the meantime, theirs stands.
    ///
    /// # Errors
    ///
    /// Where it is there already, or the repository cannot be written.
    pub fn make_branch(&self, branch: &str, tip: &Revision) -> Result<(), GitError> {
        let (repo, name) = (self.repo.to_thread_local(), branch_reference(branch)?);
        let made = repo.reference(
            name.as_str(),
            objects::object_id(tip),
            PreviousValue::MustNotExist,
            "branch: Created by gitops",
        );
        made.map(drop).map_err(|source| unwritten(branch, source))
    }

    /// Whether commits are signed here, by Git's own setting.
    pub fn signs_commits(&self) -> bool {
        self.repo.to_thread_local().config_snapshot().boolean("commit.gpgSign").unwrap_or(false)
    }
}

fn unwritten(branch: &str, source: gix::Error) -> GitError {
    GitError::Write { branch: branch.to_owned(), source: Box::new(source) }
}

/// The tree of `parent` with the edit in it.
fn edited(repo: &gix::Repository, parent: &gix::Commit<'_>, edit: Edit<'_>) -> gix::Result<gix::ObjectId> {
    let tree = parent.tree()?;
    let mut editor = tree.edit()?;
    match edit {
        Edit::File { path, content } => {
            let there = tree.lookup_entry_by_path(path)?;
            let kind = there.map_or(EntryKind::Blob, |entry| entry.mode().kind());
            editor.upsert(path, kind, repo.write_blob(content)?)?;
        }
        Edit::Folder { path, from } => {
            let then = repo.find_commit(objects::object_id(from))?.tree()?;
            if path.is_empty() {
                return Ok(then.id);
            }
            match then.lookup_entry_by_path(path)? {
                Some(entry) => editor.upsert(path, entry.mode().kind(), entry.object_id())?,
                None => editor.remove(path)?,
            };
        }
    }
    Ok(editor.write()?.detach())
}

/// Git's rules for names of references, and one more of its own for branches: no `-` in front.
fn branch_reference(branch: &str) -> Result<String, GitError> {
    let name = format!("refs/heads/{branch}");
    let is_valid = gix::validate::reference::name(name.as_bytes().as_bstr()).is_ok();
    if !is_valid || branch.starts_with('-') || branch == "HEAD" {
        return Err(GitError::BranchName {
            branch: branch.chars().filter(|c| !c.is_control()).take(100).collect(),
        });
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
