//! One changed file as a commit on a new branch. The work tree, the index, `HEAD` and every other branch stay as they
//! are, and nothing leaves this machine.

use gix::bstr::ByteSlice as _;
use gix::objs::tree::EntryKind;
use gix::refs::transaction::PreviousValue;

use super::{GitError, Repository, objects};
use crate::name::Revision;

/// A commit to be made.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The commit that it comes after.
    pub parent: &'a Revision,
    /// The file that it changes, from the root of the repository.
    pub path: &'a str,
    /// The whole content of that file.
    pub content: &'a [u8],
    /// The branch that it is the tip of, which must be a new one.
    pub branch: &'a str,
    /// What it is for.
    pub message: &'a str,
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
        if self.has_branch(draft.branch)? {
            return Err(GitError::BranchExists { branch: draft.branch.to_owned() });
        }
        let repo = self.repo.to_thread_local();
        let (Some(author), Some(committer)) = (repo.author(), repo.committer()) else {
            return Err(GitError::NoAuthor);
        };
        let write = || -> gix::Result<Revision> {
            let parent = repo.find_commit(objects::object_id(draft.parent))?;
            let tree = parent.tree()?;
            let there = tree.lookup_entry_by_path(draft.path)?;
            let kind = there.map_or(EntryKind::Blob, |entry| entry.mode().kind());
            let mut editor = tree.edit()?;
            editor.upsert(draft.path, kind, repo.write_blob(draft.content)?)?;
            let tree = editor.write()?;
            let commit = repo.new_commit_as(committer?, author?, draft.message, tree, [parent.id])?;
            let name = format!("refs/heads/{}", draft.branch);
            // Somebody else may have made it in the meantime: then theirs stands.
            repo.reference(
                name.as_str(),
                commit.id,
                PreviousValue::MustNotExist,
                "branch: Created by gitops promote",
            )?;
            Ok(objects::revision(commit.id))
        };
        write()
            .map_err(|source| GitError::Write { branch: draft.branch.to_owned(), source: Box::new(source) })
    }

    /// Whether commits are signed here, by Git's own setting.
    pub fn signs_commits(&self) -> bool {
        self.repo.to_thread_local().config_snapshot().boolean("commit.gpgSign").unwrap_or(false)
    }
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
