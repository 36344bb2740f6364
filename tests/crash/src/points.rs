//! Finding the points of some work by letting it run to its end once, and killing it at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::trace::{self, Point, Traced};
use crate::work::{Loss, Problem, Work, copy, new_folder, told};

/// How many processes are killed side by side.
const SIDE_BY_SIDE: usize = 2;

/// So many failures are told; the others look like them.
const TOLD: usize = 5;

/// What came of all points of some work.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// At so many points it was killed.
    pub(crate) points: usize,
    failures: Vec<Problem>,
    lines: Vec<String>,
    took: Duration,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: Self) {
        self.points += other.points;
        self.failures.extend(other.failures);
        self.lines.extend(other.lines);
        self.took += other.took;
    }

    /// # Errors
    ///
    /// What did not recover.
    pub(crate) fn verdict(&self) -> Result<(), Problem> {
        match self.failures.len() {
            0 => Ok(()),
            failures => {
                let told: Vec<&str> = self.failures.iter().take(TOLD).map(String::as_str).collect();
                Err(format!("{failures} of {} points did not recover\n{}", self.points, told.join("\n")))
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let Self { points, failures, took, .. } = self;
        let (recovered, seconds) = (points - failures.len(), took.as_secs_f32());
        write!(
            f,
            "killed at {points} points in {seconds:.1} s: {recovered} recovered, from all that was written and from all that was synced"
        )
    }
}

/// Whether processes can be traced at all: tries it with one that does nothing.
///
/// # Errors
///
/// They cannot.
pub(crate) fn can_trace() -> std::io::Result<()> {
    let folder = new_folder()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([crate::UNDER_TEST, "nothing"]).args([folder.path(), folder.path()]);
    trace::run(command, folder.path(), &|_| true, None).map(drop)
}

/// Kills the work at each of its points, once.
///
/// # Errors
///
/// It does not even work when it is left alone.
pub(crate) fn try_all(work: &dyn Work) -> Result<Outcome, Problem> {
    let began = Instant::now();
    let whole = Attempt::new(work, None)?;
    let points = whole.traced.points.clone();
    whole.recover(work, &Seen::default())?;
    let (next, killed, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let seen = Seen::default();
    let try_next = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let tried = try_one(work, number, &seen);
        killed.fetch_add(usize::from(!matches!(tried, Ok(false))), Ordering::Relaxed);
        // Where it took another turn than the first time, there may be some more points than there were then.
        let goes_on = number < points.len() || matches!(tried, Ok(true));
        if let Err(problem) = tried {
            failures.lock().expect("nobody panics with it").insert(number, tell(work, number, &problem));
        }
        goes_on
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| while try_next() {});
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it").into_values().collect();
    let line = format!("{}: {}", work.name(), by_kind(work, &points));
    Ok(Outcome { points: killed.into_inner(), failures, lines: vec![line], took: began.elapsed() })
}

/// Whether the work was killed, and did not end before.
fn try_one(work: &dyn Work, number: usize, seen: &Seen) -> Result<bool, Problem> {
    let attempt = Attempt::new(work, Some(number))?;
    let was_killed = attempt.traced.was_killed;
    attempt.recover(work, seen).map(|()| was_killed).map_err(|problem| match attempt.traced.points.last() {
        Some(point) if was_killed => {
            format!("killed before {} of {}\n  {problem}", point.call, point.path.display())
        }
        _ => problem,
    })
}

fn tell(work: &dyn Work, number: usize, problem: &str) -> Problem {
    let name = work.name();
    format!("{name}:{number}: {problem}\n  again: cargo test --workspace --test crash -- {name}:{number}")
}

/// Tries one point, and keeps what it left.
///
/// # Errors
///
/// It did not recover.
pub(crate) fn replay(work: &dyn Work, number: usize) -> Result<(), Problem> {
    let mut attempt = Attempt::new(work, Some(number))?;
    let calls = attempt.traced.points.iter().enumerate();
    calls.for_each(|(number, point)| println!("{number:5} {:9} {}", point.call, point.path.display()));
    attempt.folder.disable_cleanup(true);
    println!("what it left is in {}", attempt.folder.path().display());
    attempt.recover(work, &Seen::default()).map_err(|problem| tell(work, number, &problem))
}

/// The states after power loss from which the work did recover.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeSet<u64>>);

/// One run of the work in a folder of its own.
struct Attempt {
    folder: tempfile::TempDir,
    traced: Traced,
}

impl Attempt {
    fn new(work: &dyn Work, kill_before: Option<usize>) -> Result<Self, Problem> {
        let folder = new_folder().map_err(told)?;
        let [inside, outside] = ["disk", "outside"].map(|name| folder.path().join(name));
        [&inside, &outside].into_iter().try_for_each(std::fs::create_dir).map_err(told)?;
        work.prepare(&inside)?;
        let mut command = Command::new(std::env::current_exe().map_err(told)?);
        command.args([crate::UNDER_TEST, work.name()]).args([&inside, &outside]).stdout(Stdio::null());
        let traced = trace::run(command, &inside, &|path| work.must_last(path), kill_before).map_err(told)?;
        Ok(Self { folder, traced })
    }

    fn part(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Twice: from all that was written, and from what was synced of it, if just that was not `seen` before.
    fn recover(&self, work: &dyn Work, seen: &Seen) -> Result<(), Problem> {
        for outside in ["outside-1", "outside-2"] {
            copy(&self.part("outside"), &self.part(outside)).map_err(told)?;
        }
        recover(work, &self.part("disk"), &self.part("outside-1"), Loss::Nothing)?;
        let state = self.after_power_loss().map_err(told)?;
        if seen.0.lock().expect("nobody panics with it").contains(&state) {
            return Ok(());
        }
        self.traced.synced.write(&self.part("synced")).map_err(told)?;
        recover(work, &self.part("synced"), &self.part("outside-2"), Loss::Power)?;
        seen.0.lock().expect("nobody panics with it").insert(state);
        Ok(())
    }

    /// What there would be after power loss, inside and outside. Between two syncs it stays the same.
    fn after_power_loss(&self) -> std::io::Result<u64> {
        let mut hash = DefaultHasher::new();
        self.traced.synced.hash(&mut hash);
        for entry in std::fs::read_dir(self.part("outside"))? {
            std::fs::read(entry?.path())?.hash(&mut hash);
        }
        Ok(hash.finish())
    }
}

fn recover(work: &dyn Work, folder: &Path, outside: &Path, loss: Loss) -> Result<(), Problem> {
    let from = match loss {
        Loss::Nothing => "from all that was written",
        Loss::Power => "from what was synced",
    };
    work.recover(folder, outside, loss).map_err(|problem| format!("{from}: {problem}"))
}

/// How many calls change which kind of file, the most first.
fn by_kind(work: &dyn Work, points: &[Point]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for point in points {
        *counts.entry(work.kind(&point.path)).or_default() += 1;
    }
    let mut counts: Vec<(usize, String)> = counts.into_iter().map(|(kind, count)| (count, kind)).collect();
    counts.sort_by(|a, b| b.cmp(a));
    let words: Vec<String> = counts.iter().map(|(count, kind)| format!("{count} {kind}")).collect();
    format!("{} points: {}", points.len(), words.join(", "))
}
