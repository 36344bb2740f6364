//! A program that runs beside the test, with what it says kept for when the test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any of our programs takes to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it. What it says is added to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log can be written");
        let copy = file.try_clone().expect("a file can be shared");
        let child = command.stdin(Stdio::null()).stdout(copy).stderr(file).spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")),
            log: log.to_owned(),
        }
    }

    /// Everything that it said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while self.is_running() {
            if begun.elapsed() > STOPS_WITHIN {
                self.kill();
                panic!("it was asked to stop {STOPS_WITHIN:?} ago and still runs");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be waited for");
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        // It may have ended by itself; then there is no one to tell.
        let _ = kill_process(id, signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("---- the end of {} ----\n{tail}", self.log.display());
        }
    }
}
