//! How often webhooks may call, and which deliveries were taken already.
//!
//! A forge gives each delivery an id and repeats it where it sends the same one again: because our answer got lost,
//! or because a person pressed "redeliver". What was not taken (too many calls, a store that failed) may come again
//! under its id and is taken then; what was taken is refused, whoever sends it: it has had its effect, and the refusal
//! says so to the person. Most forges do not sign the id, so this keeps honest callers from doing things twice; what
//! keeps others from doing harm is that a hint carries nothing.
//!
//! The ids of the last thousand are kept, in memory: after a restart, an old delivery costs one look that finds
//! nothing new.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gitops_core::name::Digest;
use jiff::{SignedDuration, Timestamp};

use crate::api::problem::ApiError;

/// How many deliveries are remembered: 100 kB of them.
const REMEMBERED: usize = 1000;
/// How long each call takes to come back.
const REFILL: SignedDuration = SignedDuration::from_secs(1);

/// The deliveries that were taken, as digests of their ids, which may be of any length.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    known: BTreeSet<Digest>,
    oldest_first: VecDeque<Digest>,
}

impl Deliveries {
    /// Takes a delivery, unless it was taken before. Dropping what this gives lets it come again.
    pub(super) fn take(&self, id: &str) -> Result<Taken<'_>, ApiError> {
        let digest = Digest::of(id);
        let mut seen = self.seen();
        if !seen.known.insert(digest) {
            return Err(ApiError::Replayed);
        }
        seen.oldest_first.push_back(digest);
        if seen.oldest_first.len() > REMEMBERED {
            let oldest = seen.oldest_first.pop_front();
            oldest.map(|oldest| seen.known.remove(&oldest));
        }
        drop(seen);
        Ok(Taken { deliveries: self, digest, is_kept: false })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic cannot come between two writes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that is being acted on.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    deliveries: &'a Deliveries,
    digest: Digest,
    is_kept: bool,
}

impl Taken<'_> {
    /// It had its effect.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let mut seen = self.deliveries.seen();
            seen.known.remove(&self.digest);
            seen.oldest_first.retain(|known| *known != self.digest);
        }
    }
}

/// A token bucket.
#[derive(Debug)]
pub(super) struct Rate {
    burst: u32,
    bucket: Mutex<Option<(u32, Timestamp)>>,
}

impl Rate {
    /// A full bucket of so many calls.
    pub(super) fn new(burst: u32) -> Self {
        Self { burst, bucket: Mutex::default() }
    }

    /// Lets a call through, or says how many seconds to wait.
    pub(super) fn take(&self, now: Timestamp) -> Result<(), u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = bucket.unwrap_or((self.burst, now));
        let passed = now.duration_since(since).max(SignedDuration::ZERO);
        let back = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(self.burst);
        let left = left.saturating_add(back).min(self.burst);
        let since = if back == 0 { since } else { now };
        *bucket = Some((left.saturating_sub(1), since));
        if left == 0 { Err(REFILL.as_secs().unsigned_abs()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_beyond_the_burst_wait_for_the_refill() {
        let (rate, start) = (Rate::new(10), Timestamp::UNIX_EPOCH);
        for _ in 0..10 {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(1));
        assert_eq!(rate.take(start + REFILL), Ok(()));
        assert_eq!(rate.take(start + REFILL), Err(1));
        assert_eq!(rate.take(start + REFILL * 1000), Ok(()));
    }

    #[test]
    fn a_delivery_is_taken_once_unless_it_had_no_effect() {
        let deliveries = Deliveries::default();
        drop(deliveries.take("a").expect("new"));
        let first = deliveries.take("a").expect("it had no effect");
        assert!(deliveries.take("a").is_err(), "it is being acted on");
        first.keep();
        assert!(matches!(deliveries.take("a"), Err(ApiError::Replayed)));
        deliveries.take("b").expect("another").keep();
    }

    #[test]
    fn the_last_thousand_are_remembered_whatever_their_length() {
        let deliveries = Deliveries::default();
        let id = |n: usize| format!("{n}{}", "x".repeat(10_000));
        for n in 0..=REMEMBERED {
            deliveries.take(&id(n)).expect("new").keep();
        }
        assert!(deliveries.take(&id(1)).is_err());
        assert!(deliveries.take(&id(REMEMBERED)).is_err());
        deliveries.take(&id(0)).expect("forgotten").keep();
        let seen = deliveries.seen();
        assert_eq!((seen.known.len(), seen.oldest_first.len()), (REMEMBERED, REMEMBERED));
    }
}
