//! What is compared with what: `BASE..HEAD` and its kin as people type them, and the two sides that they mean.
//!
//! Without a word the question is what the files at hand would change once they are merged: they are compared with the
//! commit where they parted from the main branch. Where that commit cannot be told, as in the short clones of build
//! machines, it is an error and never a guess, since "nothing changes" would be the wrong answer.

use std::fmt;

use gitops_core::name::Revision;

use super::{Branch, GitError, Repository};

/// What to compare, as it is typed. Nothing is looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Nothing was said: the files as they are, against where they parted from the main branch.
    SinceMain,
    /// `REV`: the files as they are, against a revision.
    Since(String),
    /// `BASE..HEAD`: two revisions.
    Between(String, String),
    /// `BASE...HEAD`: a revision, against where it parted from another.
    Apart(String, String),
}

impl Range {
    /// Reads what was typed, as `git diff` does: an end that is left out is `HEAD`.
    pub fn parse(text: Option<&str>) -> Self {
        let end = |text: &str| if text.is_empty() { "HEAD".to_owned() } else { text.to_owned() };
        let Some(text) = text else { return Self::SinceMain };
        if let Some((base, head)) = text.split_once("...") {
            return Self::Apart(end(base), end(head));
        }
        match text.split_once("..") {
            Some((base, head)) => Self::Between(end(base), end(head)),
            None => Self::Since(end(text)),
        }
    }
}

impl Range {
    /// Whether each end may be a revision: none has two dots in its name.
    fn is_one(&self) -> Result<(), GitError> {
        let ends = match self {
            Self::SinceMain => Vec::new(),
            Self::Since(end) => vec![end],
            Self::Between(base, head) | Self::Apart(base, head) => vec![base, head],
        };
        match ends.into_iter().find(|end| end.contains("..")) {
            Some(end) => {
                let end = end.chars().filter(|char| !char.is_control()).take(100).collect();
                Err(GitError::NoRange { end })
            }
            None => Ok(()),
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the first commit: no definition at all.
    Nothing,
    /// A commit.
    Commit {
        /// Which.
        revision: Revision,
        /// What it was called, or why it was chosen: `v1.2`, `merge base with origin/main`.
        name: String,
    },
    /// The files as they are, committed or not.
    WorkTree,
}

impl Side {
    /// The commit, where it is one.
    pub fn revision(&self) -> Option<&Revision> {
        match self {
            Self::Commit { revision, .. } => Some(revision),
            Self::Nothing | Self::WorkTree => None,
        }
    }
}

/// `main (1a2b3c4d5e6f)`, `the work tree`; fit for a terminal, since a name may be anything that was typed.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::WorkTree => f.write_str("the work tree"),
            Self::Commit { revision, name } if revision.as_str().starts_with(name.as_str()) => {
                f.write_str(revision.short())
            }
            Self::Commit { revision, name } => write!(f, "{name} ({})", revision.short()),
        }
    }
}

/// What was, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// What was.
    pub base: Side,
    /// What would be.
    pub head: Side,
}

/// `main (1a2b3c4d5e6f) → the work tree`
impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.base, self.head)
    }
}

impl Repository {
    /// The two sides that a range means here.
    ///
    /// # Errors
    ///
    /// Where a name means no commit, the two have no history in common, the main branch cannot be told, or the files are
    /// asked for and there are none.
    pub fn sides(&self, range: &Range) -> Result<Sides, GitError> {
        range.is_one()?;
        let named = |name: &String| self.named(name);
        let (base, head) = match range {
            Range::SinceMain => (self.since_main()?, self.files()?),
            Range::Since(base) => (named(base)?, self.files()?),
            Range::Between(base, head) => (named(base)?, named(head)?),
            Range::Apart(base, head) => {
                (self.parting(&self.branch(base)?, &self.resolve(head)?, head)?, named(head)?)
            }
        };
        Ok(Sides { base, head })
    }

    fn named(&self, name: &str) -> Result<Side, GitError> {
        Ok(Side::Commit { revision: self.resolve(name)?, name: name.to_owned() })
    }

    fn branch(&self, name: &str) -> Result<Branch, GitError> {
        Ok(Branch { name: name.to_owned(), tip: self.resolve(name)? })
    }

    fn files(&self) -> Result<Side, GitError> {
        self.work_tree().map(|_| Side::WorkTree).ok_or_else(|| self.bare())
    }

    /// Where the commit at hand parted from the main branch: itself, while nothing was committed on top of that.
    fn since_main(&self) -> Result<Side, GitError> {
        let Some(head) = self.head()? else { return Ok(Side::Nothing) };
        match self.main_branch() {
            Some(main) => self.parting(&main, &head, "HEAD"),
            // Nothing was ever fetched, so this is the only place that the definitions are in.
            None if !self.has_remotes() => Ok(Side::Commit { revision: head, name: "HEAD".to_owned() }),
            None => Err(GitError::NoMainBranch { shallow: self.is_shallow() }),
        }
    }

    /// Where `head`, called `called`, parted from `main`, named the shortest way.
    fn parting(&self, main: &Branch, head: &Revision, called: &str) -> Result<Side, GitError> {
        let base = self.merge_base(&main.tip, head)?.ok_or_else(|| GitError::NoCommonHistory {
            one: main.name.clone(),
            two: called.to_owned(),
            shallow: self.is_shallow(),
        })?;
        let name = match () {
            () if base == *head => called.to_owned(),
            () if base == main.tip => main.name.clone(),
            () => format!("merge base with {}", main.name),
        };
        Ok(Side::Commit { revision: base, name })
    }
}

#[cfg(test)]
mod tests;
