//! Doing the same again and again: how often without a pause, and with which pauses then.
//!
//! What ends is healed and what others change is corrected, at once; but who does so for ever only fights. A streak counts
//! what is done shortly after it was done before. Its first few times cost nothing, then pauses grow; it ends when nothing
//! was to be done for a while.

use std::time::Duration;

use crate::moment::Pauses;

/// What counts as again and again, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// What comes within this time of the last goes on with its streak.
    pub within: Duration,
    /// So many in a streak without a pause.
    pub free: u32,
    /// Before those after them.
    pub pauses: Pauses,
}

impl Patience {
    /// For an instance that ends after it was well.
    pub const ENDING: Self = Self { within: Duration::from_secs(60), free: 3, pauses: Pauses::STEP };
    /// For what others change of a container: with pauses up to an hour, it is left to them for most of the time.
    pub const DRIFT: Self = Self {
        within: Duration::from_secs(600),
        free: 3,
        pauses: Pauses { base: Duration::from_secs(60), cap: Duration::from_secs(3600) },
    };
}

/// How often the same was done in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    count: u32,
    /// When the last of them was done, or will be.
    last: Option<Duration>,
}

impl Streak {
    /// It has to be done once more. Returns when it may be.
    pub fn add(&mut self, patience: &Patience, now: Duration) -> Duration {
        let again = self.last.is_some_and(|last| now.saturating_sub(last) < patience.within);
        self.count = if again { self.count.saturating_add(1) } else { 1 };
        let at = now + patience.pauses.after(self.count.saturating_sub(patience.free));
        self.last = Some(at);
        at
    }

    /// Whether it was done more often than what costs nothing.
    pub fn is_long(&self, patience: &Patience) -> bool {
        self.count > patience.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds at once whenever it may be done.
    fn eager(patience: &Patience, times: usize) -> Vec<u64> {
        let (mut streak, mut now) = (Streak::default(), Duration::ZERO);
        let mut add = || {
            let at = streak.add(patience, now);
            let pause = at - now;
            now = at + Duration::from_secs(1);
            pause.as_secs()
        };
        (0..times).map(|_| add()).collect()
    }

    #[test]
    fn the_first_few_cost_nothing_and_then_pauses_grow_to_their_cap() {
        assert_eq!(eager(&Patience::ENDING, 6), [0, 0, 0, 5, 10, 20]);
        assert_eq!(eager(&Patience::DRIFT, 12), [0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    }

    #[test]
    fn after_quiet_it_starts_over() {
        let mut streak = Streak::default();
        for second in 0..10 {
            streak.add(&Patience::DRIFT, Duration::from_secs(second));
        }
        assert!(streak.is_long(&Patience::DRIFT));
        let later = Duration::from_secs(100_000);
        assert_eq!(streak.add(&Patience::DRIFT, later), later);
        assert!(!streak.is_long(&Patience::DRIFT));
    }
}
