//! The log of what is done for a step: what the agent does and what Docker Compose says, line by line, as it happens.
//!
//! Each attempt has a file of its own in the state folder, one line of JSON for each line of log, written at once: what
//! was written survives `kill -9` and an absent daemon (power loss may take the last of it). Files are handed to the
//! daemon piece by piece and deleted when it has all of them. A log that cannot be written fails no step.
//!
//! **Invariant:** bounded. An attempt keeps [`LINES`] lines and [`BYTES`] bytes, then only its end; the folder keeps
//! [`ATTEMPTS`] attempts, and gives up the oldest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gitops_core::log::{LogLine, Speaker};
use gitops_core::name::{Generation, ServiceName};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock;
use crate::disk::DiskError;
use crate::text::plain;

/// Lines that an attempt keeps from its beginning.
const LINES: u32 = 480;
/// Bytes of text that it keeps from its beginning.
const BYTES: usize = 60 << 10;
/// Lines that it keeps of its end, where that is further on.
const LAST: usize = 20;
/// Bytes of a line that has no end yet. What is longer is cut anyway.
const PARTIAL: usize = 4096;
/// Attempts that wait for the daemon: with growing pauses between them, that is many hours of failing.
const ATTEMPTS: usize = 100;
/// Lines that are handed over at once.
const BATCH: usize = gitops_core::protocol::LOG_LINES;
/// Bytes of JSON that are handed over at once: half of what the daemon takes, which many lines of many bytes exceed.
const BATCH_BYTES: usize = 1 << 20;

/// The logs of attempts on disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogDir(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    wrote: Notify,
    books: Mutex<Books>,
}

/// What is known of the files beside what is in them.
#[derive(Debug, Default)]
struct Books {
    /// They are still written to.
    open: BTreeSet<PathBuf>,
    /// The last line of each that the daemon has. After a restart all of them are handed over again.
    handed_over: BTreeMap<PathBuf, u32>,
}

/// Lines for the daemon, and how far they reach in each file.
#[derive(Debug, Default)]
pub struct Batch {
    /// Oldest attempt first.
    pub lines: Vec<LogLine>,
    reach: BTreeMap<PathBuf, u32>,
    bytes: usize,
    /// There are more lines than these.
    pub is_full: bool,
}

impl Batch {
    /// Takes as many of these lines, each with its size as JSON, as there is room for.
    fn take(&mut self, path: &Path, lines: Vec<(LogLine, usize)>) {
        for (line, bytes) in lines {
            self.is_full = self.lines.len() == BATCH || self.bytes + bytes > BATCH_BYTES;
            if self.is_full {
                return;
            }
            self.bytes += bytes;
            self.reach.insert(path.to_owned(), line.seq);
            self.lines.push(line);
        }
    }
}

impl LogDir {
    /// Opens the folder, and makes it (mode 0700) where it is missing.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(folder: PathBuf) -> Result<Self, DiskError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(DiskError::io("make", &folder))?;
        Ok(Self(Arc::new(Shared { folder, wrote: Notify::new(), books: Mutex::default() })))
    }

    /// Returns when something was written since it last returned.
    pub async fn wrote(&self) {
        self.0.wrote.notified().await;
    }

    /// Begins the log of an attempt.
    pub fn begin(&self, service: &ServiceName, generation: Generation, reason: String) -> Attempt {
        self.make_room();
        let began = clock::now();
        let path = self.0.folder.join(format!("{:020}-{service}.jsonl", began.as_nanosecond()));
        // Before it is there: whoever looks in between must not take it for one that is over and handed over whole.
        self.books().open.insert(path.clone());
        let file = match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what is done for {service} is not logged");
                None
            }
        };
        let writer = Writer {
            line: LogLine {
                service: service.clone(),
                generation,
                attempt: began,
                seq: 0,
                at: began,
                from: Speaker::Agent,
                text: String::new(),
            },
            file,
            room: Room::default(),
            partial: Vec::new(),
        };
        let attempt = Attempt { log: Some((self.clone(), path, Mutex::new(writer))), reason };
        attempt.tell(&format!("begins: {}", attempt.reason));
        attempt
    }

    /// What the daemon does not have, as much of it as is handed over at once. Files of which it has everything go.
    pub fn unsent(&self) -> Batch {
        let mut batch = Batch::default();
        for path in self.files() {
            let (is_open, from) = {
                let books = self.books();
                (books.open.contains(&path), books.handed_over.get(&path).copied().unwrap_or(0))
            };
            let lines = match read(&path, from) {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the log of a step cannot be read now");
                    continue;
                }
            };
            if lines.is_empty() && !is_open {
                self.delete(&path);
            }
            batch.take(&path, lines);
            if batch.is_full {
                break;
            }
        }
        batch
    }

    /// The daemon has these lines.
    pub fn acknowledged(&self, batch: Batch) {
        self.books().handed_over.extend(batch.reach);
    }

    /// Oldest first: their names begin with when they began.
    fn files(&self) -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(&self.0.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
    }

    fn make_room(&self) {
        let files = self.files();
        let too_many = (files.len() + 1).saturating_sub(ATTEMPTS);
        for path in files.iter().filter(|path| !self.books().open.contains(*path)).take(too_many) {
            self.delete(path);
        }
    }

    fn delete(&self, path: &Path) {
        // A file that stays is found again.
        let _ = std::fs::remove_file(path);
        self.books().handed_over.remove(path);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines after number `from`, with their sizes. Whole lines only: the last one may have been cut by a crash, or be
/// on its way. What is damaged is left out; a file that is gone has none.
fn read(path: &Path, from: u32) -> io::Result<Vec<(LogLine, usize)>> {
    let content = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        content => content?,
    };
    let whole = content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines = whole.filter_map(|json| Some((serde_json::from_slice::<LogLine>(json).ok()?, json.len())));
    Ok(lines.filter(|(line, _)| line.seq > from).collect())
}

/// One try at one step: why it is made, and its log.
#[derive(Debug)]
pub struct Attempt {
    reason: String,
    log: Option<(LogDir, PathBuf, Mutex<Writer>)>,
}

impl Attempt {
    /// One that is not written down.
    pub fn unlogged(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), log: None }
    }

    /// Why it is made.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The agent says what it does.
    pub fn tell(&self, text: &str) {
        self.write(|writer| writer.tell(text));
    }

    /// Compose printed something, of which the last line may go on.
    pub fn output(&self, bytes: &[u8]) {
        self.write(|writer| writer.output(bytes));
    }

    fn write(&self, write: impl FnOnce(&mut Writer)) {
        if let Some((logs, _, writer)) = &self.log {
            write(&mut writer.lock().unwrap_or_else(PoisonError::into_inner));
            logs.0.wrote.notify_one();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some((logs, path, _)) = &self.log {
            logs.books().open.remove(path);
            // What is handed over whole can be deleted only now.
            logs.0.wrote.notify_one();
        }
    }
}

/// The file of an attempt.
#[derive(Debug)]
struct Writer {
    /// The line that was written last.
    line: LogLine,
    /// None where it cannot be written.
    file: Option<File>,
    room: Room,
    /// Of a line whose end was not printed yet.
    partial: Vec<u8>,
}

/// What an attempt has kept, and what it holds back.
#[derive(Debug, Default)]
struct Room {
    lines: u32,
    bytes: usize,
    left_out: u32,
    last: VecDeque<(Timestamp, String)>,
}

impl Writer {
    fn tell(&mut self, text: &str) {
        self.end_partial();
        self.write_last();
        for text in text.lines().map(plain).filter(|text| !text.is_empty()) {
            self.write(Speaker::Agent, clock::now(), text);
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let free = PARTIAL.saturating_sub(self.partial.len());
            self.partial.extend(piece.iter().take(free));
            if pieces.peek().is_some() {
                self.end_partial();
            }
        }
    }

    fn end_partial(&mut self) {
        let text = plain(&String::from_utf8_lossy(&std::mem::take(&mut self.partial)));
        if text.is_empty() {
            return;
        }
        let room = &mut self.room;
        room.lines += 1;
        room.bytes += text.len();
        if room.lines <= LINES && room.bytes <= BYTES {
            return self.write(Speaker::Compose, clock::now(), text);
        }
        room.last.push_back((clock::now(), text));
        if room.last.len() > LAST {
            room.last.pop_front();
            room.left_out += 1;
        }
    }

    /// What was held back, with a word on what is missing before it.
    fn write_last(&mut self) {
        let (left_out, last) = (std::mem::take(&mut self.room.left_out), std::mem::take(&mut self.room.last));
        if left_out > 0 {
            self.write(Speaker::Agent, clock::now(), format!("{left_out} lines of output are left out here"));
        }
        for (at, text) in last {
            self.write(Speaker::Compose, at, text);
        }
    }

    fn write(&mut self, from: Speaker, at: Timestamp, text: String) {
        let Some(file) = &mut self.file else { return };
        let line = LogLine { seq: self.line.seq + 1, at, from, text, ..self.line.clone() };
        let mut json = serde_json::to_vec(&line).expect("a line has no map with keys that are not strings");
        json.push(b'\n');
        match file.write_all(&json) {
            Ok(()) => self.line = line,
            Err(error) => {
                tracing::warn!(service = %line.service, %error, "the log of a step ends here: it cannot be written");
                self.file = None;
            }
        }
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
