//! The state folder: files that are whole or not there, and a lock that keeps it to one process.
//!
//! A file is written beside its place, synced, renamed over it, and the folder is synced: after `kill -9` or power
//! loss either the old content is there or the new, and what was reported as written is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gitops_core::status::Start;
use serde::Serialize;

/// Why a file of the state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// `read`, `write`, `make`, `sync`.
        doing: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "another gitops-agent already works in {}: stop it first, or give this one its own folder with --state-dir",
        path.display()
    )]
    Locked {
        /// The state folder.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("cannot draw a random number: {0}")]
    Random(getrandom::Error),
}

impl DiskError {
    /// Maker of the error for one action on one path.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// The agent's own folder, locked for this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the folder where it is missing (mode 0700: plans may name secrets) and locks it.
    ///
    /// # Errors
    ///
    /// [`DiskError::Locked`] where another process has it; else what the system says.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        make_folder(path)?;
        let lock = lock_file(path)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DiskError::Locked { path: path.to_owned() }),
            Err(error) => Err(DiskError::io("lock", path)(error.into())),
        }
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The agent's id: made at the first start, 128 random bits in hexadecimal.
    ///
    /// # Errors
    ///
    /// Where it can neither be read nor made.
    pub fn agent_id(&self) -> Result<String, DiskError> {
        let path = self.join("agent-id");
        match fs::read_to_string(&path) {
            Ok(text) if is_agent_id(text.trim()) => return Ok(text.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DiskError::io("read", &path)(error)),
        }
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(DiskError::Random)?;
        let id = format!("{:032x}", u128::from_be_bytes(bytes));
        write_atomically(&path, id.as_bytes())?;
        Ok(id)
    }

    /// The start that this one is: one more than the last that was counted.
    ///
    /// # Errors
    ///
    /// Where the count cannot be read, or nothing can be drawn.
    pub fn next_start(&self) -> Result<Start, DiskError> {
        let path = self.starts();
        let counted = match fs::read_to_string(&path) {
            // What cannot be understood counts nothing: such an agent waits for the end of its own lease, once.
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(DiskError::io("read", &path)(error)),
        };
        let nonce = getrandom::u64().map_err(DiskError::Random)?;
        Ok(Start { count: u64::saturating_add(counted, 1), nonce })
    }

    /// Counts a start, before anybody hears of it.
    ///
    /// # Errors
    ///
    /// What the system says; the next start then has the same count, and waits for the end of the lease of this one.
    pub fn count_start(&self, start: Start) -> Result<(), DiskError> {
        write_atomically(&self.starts(), start.count.to_string().as_bytes())
    }

    fn starts(&self) -> PathBuf {
        self.join("agent-starts")
    }
}

/// Makes a folder, closed to others, where it is missing, and what is missing above it. A folder whose own name was not synced
/// would be gone after power loss, with everything that was synced in it.
fn make_folder(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = above(path);
    make_folder(above)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Somebody else was faster.
        Err(_) if path.is_dir() => {}
        made => made.map_err(DiskError::io("make", path))?,
    }
    sync_folder(above)
}

/// Whether some process works in the state folder now.
pub fn is_locked(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join("lock")) else { return false };
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

fn lock_file(folder: &Path) -> Result<File, DiskError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(&path).map_err(DiskError::io("make", &path))
}

fn is_agent_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Puts `content` at `path`, whole and durable.
///
/// # Errors
///
/// What the system says; the old content is then still there.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let beside = beside(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside).map_err(DiskError::io("make", &beside))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(DiskError::io("write", &beside))?;
    rename_durably(&beside, path)
}

/// The same for a value as JSON.
///
/// # Errors
///
/// What the system says; the old content is then still there.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DiskError> {
    let mut text = serde_json::to_vec(value).map_err(|error| DiskError::io("write", path)(error.into()))?;
    text.push(b'\n');
    write_atomically(path, &text)
}

/// Renames a synced file over `to` and makes the rename durable.
///
/// # Errors
///
/// What the system says.
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), DiskError> {
    fs::rename(from, to).map_err(DiskError::io("write", to))?;
    sync_folder(above(to))
}

fn sync_folder(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(DiskError::io("sync", path))
}

/// The folder that something lies in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Moves a file that cannot be understood out of the way, and says where to. Older ones are kept too.
///
/// # Errors
///
/// What the system says.
pub fn set_aside(path: &Path) -> Result<PathBuf, DiskError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1..).map(|n| path.with_file_name(format!("{name}.corrupt-{n}"))).find(|path| !path.exists());
    let aside = free.expect("the numbers do not end before the disk does");
    rename_durably(path, &aside)?;
    Ok(aside)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_the_folder_is_refused_and_told_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let first = StateDir::open(temp.path()).unwrap();
        assert!(is_locked(temp.path()));
        let error = StateDir::open(temp.path()).unwrap_err();
        assert!(matches!(error, DiskError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("--state-dir"));
        drop(first);
        assert!(!is_locked(temp.path()));
        StateDir::open(temp.path()).unwrap();
    }

    #[test]
    fn folders_that_are_missing_are_made_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        StateDir::open(&path).unwrap();
        for made in [path.as_path(), above(&path)] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
        }
        fs::write(temp.path().join("file"), "").unwrap();
        let error = StateDir::open(&temp.path().join("file/b")).unwrap_err();
        assert!(matches!(error, DiskError::Io { doing: "make", .. }), "{error}");
    }

    #[test]
    fn the_agent_id_is_made_once() {
        let temp = tempfile::tempdir().unwrap();
        let id = StateDir::open(temp.path()).unwrap().agent_id().unwrap();
        assert!(is_agent_id(&id));
        assert_eq!(StateDir::open(temp.path()).unwrap().agent_id().unwrap(), id);
    }

    #[test]
    fn each_start_that_was_counted_has_a_number_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let starts = || {
            let folder = StateDir::open(temp.path()).unwrap();
            let (one, other) = (folder.next_start().unwrap(), folder.next_start().unwrap());
            assert!(one.count == other.count && one.nonce != other.nonce, "{one} {other}");
            folder.count_start(one).unwrap();
            one.count
        };
        assert_eq!([starts(), starts(), starts()], [1, 2, 3]);
        fs::write(temp.path().join("agent-starts"), "many").unwrap();
        assert_eq!([starts(), starts()], [1, 2]);
        fs::write(temp.path().join("agent-starts"), u64::MAX.to_string()).unwrap();
        assert_eq!(starts(), u64::MAX);
    }

    #[test]
    fn files_are_replaced_whole_and_what_is_set_aside_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        for content in ["one", "two"] {
            write_atomically(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::read_to_string(set_aside(&path).unwrap()).unwrap(), content);
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "two set aside, nothing left beside them");
    }
}
