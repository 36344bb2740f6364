//! The same pure work on many things, spread over a few threads.
//!
//! The order of the results is that of the things, so threads make no difference to what comes out.

use std::thread;

/// From this many things on; below it a thread costs more than it saves.
const PARALLEL_FROM: usize = 64;
/// More than most machines that run a daemon have cores; the pieces are small enough to even out.
const THREADS: usize = 4;

/// `work` of each of `things`, in their order. A panic in `work` is a panic here.
pub fn spread<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if things.len() < PARALLEL_FROM {
        return things.iter().map(work).collect();
    }
    let work = &work;
    let pieces = things.chunks(things.len().div_ceil(THREADS));
    thread::scope(|scope| {
        let start = |piece| {
            scope.spawn(move || {
                let piece: &[T] = piece;
                piece.iter().map(work).collect::<Vec<R>>()
            })
        };
        let running: Vec<_> = pieces.map(start).collect();
        let finish = |thread: thread::ScopedJoinHandle<'_, Vec<R>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().flat_map(finish).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_things() {
        for size in [0, 1, 63, 64, 65, 1_000] {
            let things: Vec<usize> = (0..size).collect();
            let expected: Vec<usize> = things.iter().map(|thing| thing * 2).collect();
            assert_eq!(spread(&things, |thing| thing * 2), expected);
        }
    }
}
