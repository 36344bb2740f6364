//! The clocks and the dice of one decision, and the pauses that grow.
//!
//! Whoever drives the agent's decisions brings these in: the tokio loop reads them from the machine, a simulator
//! makes them up. Timers live on `elapsed`, which never goes back; `wall` only judges what Docker dated itself.

use std::time::Duration;

use jiff::Timestamp;

/// When a decision is made, and its share of randomness.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the agent started; never goes back.
    pub elapsed: Duration,
    /// What the clock on the wall says; it may jump.
    pub wall: Timestamp,
    /// A fresh random number: spreads agents that lost the same daemon.
    pub dice: u64,
}

/// Exponential pauses between tries: doubling from `base` to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure.
    pub base: Duration,
    /// Never longer than this.
    pub cap: Duration,
}

impl Pauses {
    /// Between tries to reach the daemon.
    pub const DAEMON: Self = Self { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
    /// Between tries of a failed step.
    pub const STEP: Self = Self { base: Duration::from_secs(5), cap: Duration::from_secs(300) };
    /// Between looks at a Docker that does not answer.
    pub const ENGINE: Self = Self { base: Duration::from_secs(1), cap: Duration::from_secs(10) };

    /// The pause after `failures` failures in a row, without jitter; none after none.
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        self.base.saturating_mul(2_u32.saturating_pow(doublings)).min(self.cap)
    }

    /// The same with jitter: between half of it and all of it.
    pub fn jittered(&self, failures: u32, dice: u64) -> Duration {
        let whole = self.after(failures);
        let half = whole / 2;
        let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_millis(dice % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_cap() {
        let seconds = |failures| Pauses::STEP.after(failures).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 6, 7, 8, u32::MAX].map(seconds), [0, 5, 10, 20, 40, 160, 300, 300, 300]);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        for dice in [0, 1, 499, 500, 501, 12_345, u64::MAX] {
            for failures in [1, 3, 40] {
                let (whole, pause) =
                    (Pauses::DAEMON.after(failures), Pauses::DAEMON.jittered(failures, dice));
                assert!(pause >= whole / 2 && pause <= whole, "{failures} {dice}: {pause:?} of {whole:?}");
            }
        }
        let all: std::collections::BTreeSet<_> =
            (0..501).map(|dice| Pauses::DAEMON.jittered(1, dice)).collect();
        assert_eq!(all.len(), 501, "every millisecond can be met");
    }
}
