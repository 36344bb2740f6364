//! A clock that is set back: what was to come in ten seconds still comes in ten seconds.
//!
//! The daemon keeps times of the clock on the wall, and that may go back: an operator sets it, or a time server does. All
//! times that are kept then move along with it. Otherwise what was due in a minute would be due in a day, a lease would not
//! end, and a node that falls silent would not seem so.

use std::sync::Arc;

use gitops_core::status::Reported;
use jiff::{SignedDuration, Timestamp};

use super::state::State;

/// Reports as the store has them. What was heard after now was heard by a clock that was ahead, of this daemon before it was
/// started or of another one; how long ago that was nobody knows, so it counts from now.
pub(super) fn heard_until(mut reported: Reported, now: Timestamp) -> Reported {
    for last in reported.nodes.values_mut() {
        last.heard_at = last.heard_at.min(now);
    }
    reported
}

impl State {
    /// Notes the time of this step, and moves along with the clock where that was set back since the step before.
    pub(super) fn look_at_clock(&mut self, now: Timestamp) {
        let passed = now.duration_since(self.looked_at);
        self.looked_at = now;
        if passed.is_negative() {
            self.move_along(passed);
        }
    }

    fn move_along(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.saturating_add(by).expect("a signed duration has no calendar units");
        let move_time = |at: &mut Timestamp| *at = moved(*at);
        let Self { reload_at, record_again_at, prune_at, started_at, .. } = self;
        reload_at.iter_mut().chain(record_again_at).chain([prune_at, started_at]).for_each(move_time);
        self.leases.values_mut().for_each(|lease| lease.move_along(moved));
        let nodes = &mut Arc::make_mut(&mut self.reported).nodes;
        nodes.values_mut().for_each(|last| move_time(&mut last.heard_at));
        self.reading.move_along(moved);
        self.errands.move_along(moved);
    }
}
