//! The definitions repository at its forge: commits, a branch, and the ways in which it lets a daemon down.

use std::sync::Arc;

use gitops_core::name::Revision;
use gitops_core::release::Commit as Words;
use gitops_core::tree::Tree;
use jiff::Timestamp;

use crate::repository::Shape;

/// One commit.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its name.
    pub(crate) revision: Revision,
    parent: Option<usize>,
    /// What it says.
    pub(crate) shape: Arc<Shape>,
    /// The same as files.
    pub(crate) tree: Arc<Tree>,
}

/// What the forge serves.
#[derive(Debug)]
pub(crate) struct Git {
    commits: Vec<Commit>,
    head: usize,
    /// It does not answer.
    pub(crate) is_down: bool,
    /// It serves the branch as it was so many commits ago, as a mirror that lags does.
    pub(crate) behind: usize,
}

impl Git {
    /// With one commit.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut git = Self { commits: Vec::new(), head: 0, is_down: false, behind: 0 };
        git.add(None, shape);
        git
    }

    fn add(&mut self, parent: Option<usize>, shape: Shape) {
        let number = self.commits.len() + 1;
        let revision = format!("{number:040x}").parse().expect("hexadecimal");
        let tree = shape.tree();
        self.commits.push(Commit { revision, parent, shape: Arc::new(shape), tree });
        self.head = number - 1;
    }

    /// A commit on top of the branch.
    pub(crate) fn push(&mut self, shape: Shape) {
        self.add(Some(self.head), shape);
    }

    /// The branch is set to a commit beside the last ones.
    pub(crate) fn force_push(&mut self, back: usize, shape: Shape) {
        let base = self.before(self.head, back);
        let parent = self.commits[base].parent;
        self.add(parent, shape);
    }

    fn before(&self, from: usize, back: usize) -> usize {
        (0..back).fold(from, |at, _| self.commits[at].parent.unwrap_or(at))
    }

    /// The newest commit of the branch.
    pub(crate) fn head(&self) -> &Commit {
        &self.commits[self.head]
    }

    /// What whoever fetches now gets, as an error where it does not answer.
    pub(crate) fn fetch(&self) -> Result<Revision, String> {
        match self.is_down {
            true => Err("the repository does not answer".to_owned()),
            false => Ok(self.commits[self.before(self.head, self.behind)].revision.clone()),
        }
    }

    /// What a commit says of itself.
    pub(crate) fn words(&self, time: Timestamp) -> Words {
        let (author, email) = ("Ada".to_owned(), "ada@example.org".to_owned());
        Words {
            committer: author.clone(),
            author,
            email,
            subject: "A change".to_owned(),
            time,
            signature: None,
        }
    }

    fn number(&self, revision: &Revision) -> Option<usize> {
        self.commits.iter().position(|commit| commit.revision == *revision)
    }

    /// A commit by its name.
    pub(crate) fn commit(&self, revision: &Revision) -> Option<&Commit> {
        Some(&self.commits[self.number(revision)?])
    }

    /// The commit and all before it.
    pub(crate) fn history(&self, revision: &Revision) -> impl Iterator<Item = &Revision> {
        let parent = |at: &usize| self.commits[*at].parent;
        std::iter::successors(self.number(revision), parent).map(|at| &self.commits[at].revision)
    }

    /// Whether `newest` descends from `base`.
    pub(crate) fn descends(&self, newest: &Revision, base: &Revision) -> bool {
        self.history(newest).any(|revision| revision == base)
    }
}
