//! The head of a pull request in the mirror, for as long as it is being reviewed.
//!
//! A forge offers it under a reference of the repository itself, also where the pull request comes from another one,
//! so that nothing is ever fetched from an address that somebody else chose.

use std::sync::atomic::AtomicBool;

use gitops_core::name::Revision;

use super::{Mirror, Received, Want};
use crate::git::{GitError, objects};

/// One at a time: the head of the next takes its place.
const REVIEWED: &str = "refs/gitops/reviewed";

impl Mirror {
    /// Fetches what `reference` names, and says which commit that is: `None` where there is no such reference. The branch
    /// and what is kept are not touched.
    ///
    /// # Errors
    ///
    /// Where the repository cannot be reached or read, or `cancel` is set meanwhile.
    pub fn fetch_head(&self, reference: &str, cancel: &AtomicBool) -> Result<Option<Revision>, GitError> {
        let want = Want { theirs: reference, ours: REVIEWED };
        let mut received = self.with(|repo| self.receive(repo, want, cancel))?;
        if let Received::NeedsNewMirror(hash) = received {
            self.renew(hash, cancel)?;
            received = self.with(|repo| self.receive(repo, want, cancel))?;
        }
        Ok(match received {
            Received::Tip(tip) => Some(objects::revision(tip)),
            Received::NoBranch | Received::NeedsNewMirror(_) => None,
        })
    }

    /// The newest commit that is in the history of both; `None` where they share none.
    ///
    /// # Errors
    ///
    /// Where one of them is not in the mirror, or the mirror is damaged.
    pub fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, GitError> {
        self.with(|repo| objects::merge_base(repo, one, two)).map_err(|error| self.damage_of(error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{content, fetch, open};
    use super::*;
    use crate::git::testing::Origin;

    fn head(mirror: &Mirror, number: u64) -> Option<Revision> {
        mirror.fetch_head(&format!("refs/pull/{number}/head"), &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn a_head_is_fetched_beside_the_branch_and_moves_nothing_else() {
        let origin = Origin::new();
        let mirror = open(&origin);
        assert_eq!(head(&mirror, 7), None, "an empty repository");
        let main = origin.push_file("gitops.toml", "main");
        origin.write("gitops.toml", "seven");
        let seven = origin.commit("seven");
        origin.git(&["push", "--quiet", "origin", "HEAD:refs/pull/7/head"]);
        assert_eq!(head(&mirror, 7), Some(seven.clone()), "before the branch was ever fetched");
        assert_eq!(mirror.newest(), None);
        assert_eq!(fetch(&mirror), Some(main.clone()));
        mirror.keep(&main).unwrap();
        assert_eq!(content(&mirror, &seven, "gitops.toml"), "seven");
        assert_eq!(mirror.merge_base(&seven, &main).unwrap(), Some(main.clone()));

        origin.git(&["checkout", "--quiet", "--orphan", "other"]);
        let orphan = origin.commit("no parent");
        origin.git(&["push", "--quiet", "origin", "HEAD:refs/pull/8/head"]);
        assert_eq!(head(&mirror, 8), Some(orphan.clone()));
        assert_eq!(mirror.merge_base(&orphan, &main).unwrap(), None);
        assert_eq!(head(&mirror, 9), None, "there is none");
        assert_eq!(mirror.newest(), Some(main.clone()));
        assert_eq!(content(&mirror, &main, "gitops.toml"), "main");
        let missing = "7".repeat(40).parse().unwrap();
        assert!(matches!(mirror.merge_base(&missing, &main), Err(GitError::NoSuchCommit(_))));
    }
}
