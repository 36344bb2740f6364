//! Virtual time, and the clocks of machines, which may be wrong.

use gitops_agent::moment::Moment;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Milliseconds since the story began.
pub(crate) type Millis = u64;

/// A clock on a wall: it may be off, and it may stand still.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    off: SignedDuration,
    frozen_at: Option<Millis>,
}

impl WallClock {
    /// What it shows.
    pub(crate) fn now(&self, now: Millis) -> Timestamp {
        let since = i64::try_from(self.frozen_at.unwrap_or(now)).expect("a story is short");
        let begin = Timestamp::from_second(1_790_000_000).expect("a time in 2026");
        begin + SignedDuration::from_millis(since) + self.off
    }

    /// Somebody sets it.
    pub(crate) fn jump(&mut self, by: SignedDuration) {
        self.off += by;
    }

    /// It stands still.
    pub(crate) fn freeze(&mut self, now: Millis) {
        self.frozen_at.get_or_insert(now);
    }

    /// Whether it stands still.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen_at.is_some()
    }

    /// It shows the time again.
    pub(crate) fn mend(&mut self) {
        *self = Self::default();
    }

    /// It goes on from where it stood.
    pub(crate) fn thaw(&mut self, now: Millis) {
        if let Some(at) = self.frozen_at.take() {
            self.off -= SignedDuration::from_millis(i64::try_from(now - at).expect("a story is short"));
        }
    }
}

/// The moment of an agent that started at `started`.
pub(crate) fn moment(wall: &WallClock, started: Millis, now: Millis, dice: u64) -> Moment {
    Moment { elapsed: Duration::from_millis(now - started), wall: wall.now(now), dice }
}
