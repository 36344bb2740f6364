//! Other daemons over the same store: what they write is read from time to time.
//!
//! There is no leader, and daemons do not talk to each other. What one publishes reaches the agents that are connected to
//! another when that one reads it, and what a node says to one is planned from by all. Events are numbered in the store, so
//! a number that this daemon did not write tells of another one. The question is asked with each look at the source and
//! costs one row; everything is read only where the answer is yes.

use jiff::Timestamp;

use super::reports::Lease;
use super::state::{Effect, State};
use crate::store;

impl State {
    /// Takes over the number of the newest event. A gap before it was written by another daemon.
    pub(super) fn numbered(&mut self, events: &[store::Event]) {
        let first = events.first().map(|event| event.id);
        self.is_behind |= first.is_some_and(|first| first > self.last_event + 1);
        self.last_event = events.iter().map(|event| event.id).fold(self.last_event, u64::max);
    }

    /// Begins a look at the source, and asks what other daemons wrote meanwhile.
    pub(super) fn start_round(&mut self, now: Timestamp) -> Vec<Effect> {
        let Some(look) = self.start_reading(now) else { return Vec::new() };
        vec![look, Effect::Peek { after: self.last_event }]
    }

    /// Takes in the number of the newest event in the store. A store that does not answer is asked with the next look; and
    /// while this daemon writes itself, it may be its own, and a gap will tell.
    pub(super) fn peeked(&mut self, newest: Result<u64, String>) {
        let is_writing = self.publishing.is_some() || self.recording.running().is_some();
        self.is_behind |= !is_writing && newest.is_ok_and(|newest| newest > self.last_event);
    }

    /// Has everything read again.
    pub(super) fn reload(&mut self) -> Effect {
        self.is_behind = false;
        Effect::Reload
    }

    /// Reads everything, where another daemon wrote something and no pass is under way.
    pub(super) fn start_catching_up(&mut self) -> Option<Effect> {
        if !self.is_behind || self.reload_at.is_some() || self.passes.running().is_some() {
            return None;
        }
        self.want_pass("another daemon wrote something");
        self.passes.start();
        Some(self.reload())
    }

    /// Takes over who spoke to other daemons, where they know better.
    pub(super) fn take_over_leases(&mut self) {
        let stale_after = self.policy.stale_after();
        for (node, last) in &self.reported.nodes {
            let lease = Lease::of(last);
            if self.leases.get(node).is_none_or(|own| own.yields_to(&lease, stale_after)) {
                self.leases.insert(node.clone(), lease);
            }
        }
    }
}
