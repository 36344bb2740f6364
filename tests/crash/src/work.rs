//! What is killed: work that a process does in one folder, and how to tell afterwards whether that recovered.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What is wrong, for people.
pub(crate) type Problem = String;

/// What a kill, or worse, took from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: `kill -9`.
    Nothing,
    /// All that was not synced: the power went.
    Power,
}

/// What may become of an act beside what must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Once acknowledged it stays, and before it is there whole or not at all.
    None,
    /// Power loss may take it back.
    PowerTakesItBack,
    /// It is many small acts, of which some may be done: doing it again does the rest.
    HalfDone,
}

/// Work on one folder. What lies outside of it belongs to others, who saw what they saw: it is never taken back.
pub(crate) trait Work: Sync {
    /// One word.
    fn name(&self) -> &'static str;

    /// Makes what is there before the process starts: nothing, most of the time.
    fn prepare(&self, _folder: &Path) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether it matters that what is written there stays.
    fn must_last(&self, _path: &Path) -> bool {
        true
    }

    /// What a path is called where points are counted.
    fn kind(&self, path: &Path) -> String {
        path.file_name().map_or("the folder".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Starts again on what is there, looks whether everything is there that was acknowledged, does what is left to do,
    /// and looks whether all ends as if nothing had been.
    fn recover(&self, folder: &Path, outside: &Path, loss: Loss) -> Result<(), Problem>;
}

/// What was acknowledged, as whoever waited for it remembers it.
pub(crate) struct Acks(PathBuf);

impl Acks {
    pub(crate) fn at(outside: &Path) -> Self {
        Self(outside.join("acknowledged"))
    }

    pub(crate) fn acknowledge(&self, number: usize) {
        let file = OpenOptions::new().append(true).create(true).open(&self.0);
        file.and_then(|mut file| file.write_all(format!("{number}\n").as_bytes()))
            .expect("there is room for a number");
    }

    pub(crate) fn count(&self) -> usize {
        fs::read_to_string(&self.0).map_or(0, |text| text.lines().count())
    }
}

/// An error with its causes.
pub(crate) fn told(error: impl std::error::Error) -> Problem {
    gitops_agent::agent::chain(&error)
}

/// Waits for it, on one thread: everything happens in one order.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for a runtime").block_on(future)
}

/// In memory where there is such a place: what is synced is known here, and need not be waited for.
pub(crate) fn new_folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() { copy(&from, &to)? } else { _ = fs::copy(&from, &to)? }
    }
    Ok(())
}
