//! Times of one thing, many times over: p50, p99 and the slowest, printed as a row.

use std::time::{Duration, Instant};

/// The table that all rows go under.
pub(crate) fn head() {
    println!("| what | runs | p50 | p99 | max | to hold |");
    println!("|---|---|---|---|---|---|");
}

/// Runs `body` so often and prints its times. `prepare` is not timed.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn row<T, R>(
    what: &str,
    runs: usize,
    target: &str,
    mut prepare: impl FnMut(usize) -> T,
    mut body: impl FnMut(T) -> R,
) {
    let mut times: Vec<Duration> = Vec::with_capacity(runs);
    for run in 0..runs {
        let input = prepare(run);
        let start = Instant::now();
        let output = body(input);
        times.push(start.elapsed());
        drop(output);
    }
    print(what, &mut times, target);
}

/// Prints times that were taken elsewhere.
pub(crate) fn print(what: &str, times: &mut [Duration], target: &str) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let [p50, p99, max] = [at(50), at(99), at(100)].map(in_words);
    println!("| {what} | {} | {p50} | {p99} | {max} | {target} |", times.len());
}

fn in_words(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms @ ..1.0 => format!("{:.0} µs", ms * 1e3),
        ms @ 1.0..100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
