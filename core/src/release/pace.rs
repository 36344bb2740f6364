//! How long it took in the past until a service was there again.
//!
//! Measured from publishing the plan to the report that the step is satisfied: so it covers the way to the node, the
//! pull of the image, and the time that the service takes to become healthy. It is what a reviewer can expect, not a
//! promise.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::steps::StepRecord;
use crate::name::ServiceName;

/// How many of the last changes of a service count: a service becomes faster or slower with its releases.
pub const SAMPLES: usize = 5;

/// The median time of each service over its last [`SAMPLES`] releases that restarted or recreated it, each release by
/// its slowest node. Services that were never measured are not in it.
pub fn durations<'a>(
    records: impl IntoIterator<Item = &'a StepRecord>,
) -> BTreeMap<ServiceName, SignedDuration> {
    let mut slowest: BTreeMap<&ServiceName, BTreeMap<u64, SignedDuration>> = BTreeMap::new();
    for (record, release, took) in records.into_iter().filter_map(measured) {
        let of_release = slowest.entry(&record.change.service).or_default().entry(release).or_default();
        *of_release = took.max(*of_release);
    }
    slowest.into_iter().filter_map(|(service, took)| Some((service.clone(), median(&took)?))).collect()
}

fn measured(record: &StepRecord) -> Option<(&StepRecord, u64, SignedDuration)> {
    let took = record.satisfied_at?.duration_since(record.published_at?);
    let counts = record.change.effect.interrupts() && !took.is_negative();
    counts.then_some((record, record.release?, took))
}

fn median(by_release: &BTreeMap<u64, SignedDuration>) -> Option<SignedDuration> {
    let mut last: Vec<SignedDuration> = by_release.values().rev().take(SAMPLES).copied().collect();
    last.sort_unstable();
    last.get(last.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{StepChange, StepEffect};
    use super::*;
    use crate::name::Generation;

    fn record(release: u64, node: &str, effect: StepEffect, took: Option<i64>) -> StepRecord {
        let at = |seconds| Timestamp::from_second(1_000_000 + seconds).expect("a time");
        let (node, service) = (node.parse().expect("a name"), "web".parse().expect("a name"));
        let change =
            StepChange { node, service, generation: Generation(release), wave: 0, digest: None, effect };
        let (published_at, satisfied_at) = (Some(at(0)), took.map(at));
        StepRecord { change, release: Some(release), published_at, satisfied_at }
    }

    fn check(records: &[StepRecord], expected: Option<i64>) {
        let service: ServiceName = "web".parse().expect("a name");
        let found = durations(records).get(&service).map(SignedDuration::as_secs);
        assert_eq!(found, expected, "{records:?}");
    }

    #[test]
    fn the_median_of_the_last_releases_counts_each_by_its_slowest_node() {
        use StepEffect::{Create, Nothing, Recreate, Restart};
        check(&[], None);
        check(&[record(1, "a", Create, Some(60))], None);
        check(&[record(1, "a", Nothing, Some(1))], None);
        check(&[record(1, "a", Recreate, None)], None);
        check(&[record(1, "a", Recreate, Some(-5))], None);
        check(&[record(1, "a", Recreate, Some(9)), record(1, "b", Recreate, Some(4))], Some(9));
        check(&[record(1, "a", Recreate, Some(9)), record(2, "a", Restart, Some(2))], Some(9));
        let times = [100, 1, 2, 3, 4, 5];
        let of_releases: Vec<StepRecord> =
            (1..).zip(times).map(|(release, took)| record(release, "a", Recreate, Some(took))).collect();
        check(&of_releases, Some(3));
    }
}
