//! Stories by the thousand, none of which may break a rule; those that once did; and defects that must be found.

#![allow(clippy::disallowed_methods, reason = "which seeds are played is asked of the environment")]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use gitops_simulation::{DEFECTS, Plot, play};

/// How many seeds are played where nobody says otherwise: what two processors play in some five minutes.
const SEEDS: u64 = 10_000;
/// Within so many seeds each defect must be found.
const FINDS_WITHIN: u64 = 2_000;
/// After so many broken stories no more are played.
const ENOUGH: usize = 20;

/// Long stories that found something that was mended since, each with what it was.
const REGRESSIONS: [(u64, &str); 6] = [
    (4, "changes that wait for approval for two reasons had one id twice, and no vote could name it"),
    (
        6,
        "a step that had not begun and was held back kept its old windows, and began while a new one was shut",
    ),
    (129, "what a node had not reported on yet counted as away, and was changed beyond `max_unavailable`"),
    (195, "after a restart with a clock that was set back, the lease of an agent that was gone lasted on"),
    (
        318,
        "after a release failed, a pass ran beside the reading of the store, and plans were shown that were never stored",
    ),
    (476, "a node that fell silent in the very moment of a pass kept the others from being undone"),
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The rule that a story breaks, in words. Where the product's own checks stop it, that is what they say.
fn broken_by(plot: Plot) -> Option<String> {
    match catch_unwind(|| play(plot, false)) {
        Ok(played) => played.broken.map(|violation| violation.to_string()),
        Err(panic) => Some(panic.downcast::<String>().map_or("it panics".to_owned(), |text| *text)),
    }
}

/// Plays the stories of `seeds` on all processors, until enough of them broke a rule.
fn broken(
    seeds: impl Iterator<Item = u64>,
    enough: usize,
    plot: impl Fn(u64) -> Plot + Sync,
) -> Vec<(u64, String)> {
    let seeds: Vec<u64> = seeds.collect();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let play_some = || {
        let mut broken = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("a small number");
            let Some(seed) = seeds.get(place) else { break };
            broken.extend(broken_by(plot(*seed)).map(|violation| (*seed, violation)));
            if broken.len() >= enough {
                stop.store(true, Ordering::Relaxed);
            }
        }
        broken
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut broken: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("no story panics")).collect()
    });
    broken.sort_by_key(|(seed, _)| *seed);
    broken
}

fn none_is_broken(seeds: impl Iterator<Item = u64>, plot: impl Fn(u64) -> Plot + Sync) {
    let broken = broken(seeds, ENOUGH, plot);
    let told = |(seed, violation): &(u64, String)| {
        format!(
            "seed {seed}: {violation}\n  GITOPS_SEED={seed} cargo test -p gitops-simulation one -- --nocapture\n"
        )
    };
    assert!(broken.is_empty(), "stories break rules:\n{}", broken.iter().map(told).collect::<String>());
}

#[test]
fn no_story_breaks_a_rule() {
    let first = number("GITOPS_FIRST_SEED").unwrap_or(0);
    none_is_broken(first..first + number("GITOPS_SEEDS").unwrap_or(SEEDS), Plot::new);
}

#[test]
fn what_was_found_stays_mended() {
    none_is_broken(REGRESSIONS.iter().map(|(seed, _)| *seed), Plot::long);
}

/// The story of `GITOPS_SEED`, line by line; without it, that of some seed, which says nothing.
#[test]
fn one_story_is_told() {
    let seed = number("GITOPS_SEED");
    let played = play(Plot::new(seed.unwrap_or(1)), seed.is_some());
    played.trace.iter().for_each(|line| println!("{line}"));
    assert_eq!(played.broken.map(|violation| violation.to_string()), None, "seed {seed:?}");
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in [0, 3, 25, 99] {
        let (one, other) = (play(Plot::new(seed), true), play(Plot::new(seed), true));
        assert!(one.trace.len() > 50, "seed {seed} tells a story");
        assert_eq!((one.trace, one.happenings), (other.trace, other.happenings), "seed {seed}");
    }
    assert_ne!(play(Plot::new(1), true).trace, play(Plot::new(2), true).trace);
}

#[test]
fn each_defect_is_found() {
    let mut missed = Vec::new();
    for (defect, place, what) in DEFECTS {
        let found = broken(0..FINDS_WITHIN, 1, |seed| Plot::new(seed).with(defect));
        let is_due_to_it = |(seed, _): &&(u64, String)| broken_by(Plot::new(*seed)).is_none();
        match found.iter().find(is_due_to_it) {
            Some((seed, violation)) => println!("{place}: {what}: seed {seed}: {violation}"),
            None => missed.push(format!("{place}: {what}")),
        }
    }
    assert!(missed.is_empty(), "nothing finds:\n{}", missed.join("\n"));
}
