//! In which order things go: later waves first, and not before what takes their place is there.

use std::collections::BTreeMap;

use super::{Entry, Rollout};
use crate::name::ServiceName;

impl Rollout<'_> {
    pub(super) fn hold_removals(&mut self) {
        let reasons: Vec<(usize, String)> = {
            let last = self.last_to_go();
            let mut coming: BTreeMap<&ServiceName, Vec<&Entry<'_>>> = BTreeMap::new();
            for entry in self.entries.iter().filter(|entry| entry.unit.to.is_some()) {
                coming.entry(&entry.unit.service).or_default().push(entry);
            }
            let going = self.entries.iter().enumerate();
            let going = going.filter(|(_, entry)| entry.is_open() && entry.unit.to.is_none());
            // A node that is not heard serves nobody: when it is back, it must not keep what went elsewhere meanwhile.
            let going = going.filter(|(_, entry)| !self.situation.is_silent(&entry.unit.node));
            let reason = |entry: &Entry<'_>| {
                let next = coming.get(&entry.unit.service).map_or(&[][..], Vec::as_slice);
                self.later(entry, last.as_ref()).or_else(|| self.successor(entry, next))
            };
            going.filter_map(|(index, entry)| Some((index, reason(entry)?))).collect()
        };
        for (index, reason) in reasons {
            self.entries[index].hold(reason);
        }
    }

    /// The last wave of which something is still to go.
    fn last_to_go(&self) -> Option<(i32, String)> {
        let going =
            self.entries.iter().filter(|entry| entry.unit.to.is_none() && entry.is_ours && entry.blocks);
        going.map(|entry| (entry.wave, entry.name())).max()
    }

    /// What came last goes first.
    fn later(&self, entry: &Entry<'_>, last: Option<&(i32, String)>) -> Option<String> {
        let (wave, name) = last.filter(|(wave, _)| *wave > entry.wave && !self.is_undone())?;
        Some(format!("wave {} goes after wave {wave}: {name} is still there", entry.wave))
    }

    /// Where a service moves, the old instance goes when the new one is healthy: make before break.
    fn successor(&self, going: &Entry<'_>, coming: &[&Entry<'_>]) -> Option<String> {
        let home = self.situation.catalog.environment_of(&going.unit.node);
        let is_next = |other: &&&Entry<'_>| self.situation.catalog.environment_of(&other.unit.node) == home;
        let next = coming.iter().find(is_next)?;
        Some(format!("it moves: {} {}", next.name(), next.standing()))
    }
}
