//! How many stories are played in a second, on all processors: `cargo bench --bench seeds`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock, and its arguments")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gitops_simulation::{Plot, play};

fn main() {
    // `cargo test --benches` asks whether it builds and runs at all.
    let seeds = if std::env::args().any(|argument| argument == "--bench") { 1_000 } else { 4 };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (took, happenings) = played(seeds, threads);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each_second = |number: u64| number as f64 / took.as_secs_f64();
    println!("| what | seeds | threads | each second |\n|---|---|---|---|");
    println!("| stories played | {seeds} | {threads} | {:.1} |", each_second(seeds));
    println!("| … and what happened in them | {seeds} | {threads} | {:.0} |", each_second(happenings));
}

/// How long the stories of so many seeds take, and how much happens in them.
fn played(seeds: u64, threads: usize) -> (Duration, u64) {
    let (next, happenings) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let played = play(Plot::new(seed), false);
                    assert_eq!(played.broken.map(|broken| broken.to_string()), None, "seed {seed}");
                    happenings.fetch_add(played.happenings, Ordering::Relaxed);
                }
            });
        }
    });
    (started.elapsed(), happenings.into_inner())
}
