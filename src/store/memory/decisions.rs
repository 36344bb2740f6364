//! What people decided, in memory.

use std::collections::BTreeMap;

use gitops_core::decision::{Decision, Decisions, Hold, KeptHold, MAX_VOTES, Vote};
use gitops_core::name::Revision;
use jiff::Timestamp;

/// Holds and votes, and how many decisions there were.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    holds: BTreeMap<u64, Told>,
    /// Of the newest hold, also where that is gone.
    last: u64,
    votes: Vec<Vote>,
}

#[derive(Clone, Debug)]
struct Told {
    kept: KeptHold,
    /// That its time is over.
    is_told: bool,
}

impl Decided {
    /// What counts, and what is shown.
    pub(super) fn decisions(&self) -> Decisions {
        let open = self.holds.values().filter(|told| told.kept.ended_at.is_none());
        Decisions { holds: open.map(|told| told.kept.hold.clone()).collect(), votes: self.votes.clone() }
    }

    /// None where there is nothing to decide; else the hold that it is about.
    pub(super) fn decide(
        &mut self,
        decision: Decision,
        retry: impl FnOnce(&Revision) -> bool,
    ) -> Option<Option<Hold>> {
        let hold = match decision {
            Decision::Retry(revision) => retry(&revision).then_some(None)?,
            Decision::Begin(hold) => Some(self.begin(hold)),
            Decision::End { number, by, at } => {
                let told = self.open(number)?;
                (told.kept.ended_at, told.kept.ended_by) = (Some(at), Some(by));
                Some(told.kept.hold.clone())
            }
            Decision::Expire(number) => {
                let told = self.open(number).filter(|told| !told.is_told)?;
                told.is_told = true;
                Some(told.kept.hold.clone())
            }
            Decision::Vote(vote) => {
                self.votes.push(vote);
                self.votes.drain(..self.votes.len().saturating_sub(MAX_VOTES));
                None
            }
        };
        Some(hold)
    }

    fn begin(&mut self, hold: Hold) -> Hold {
        self.last += 1;
        let hold = Hold { number: self.last, ..hold };
        let kept = KeptHold { hold: hold.clone(), ended_at: None, ended_by: None };
        self.holds.insert(self.last, Told { kept, is_told: false });
        hold
    }

    fn open(&mut self, number: u64) -> Option<&mut Told> {
        self.holds.get_mut(&number).filter(|told| told.kept.ended_at.is_none())
    }

    /// The newest first.
    pub(super) fn holds(&self, limit: u32) -> Vec<KeptHold> {
        self.holds.values().rev().take(limit as usize).map(|told| told.kept.clone()).collect()
    }

    pub(super) fn prune(&mut self, cutoff: Timestamp) {
        let over = |kept: &KeptHold| kept.ended_at.or(kept.hold.until);
        self.holds.retain(|_, told| over(&told.kept).is_none_or(|at| at >= cutoff));
        self.votes.retain(|vote| vote.at >= cutoff);
    }
}
