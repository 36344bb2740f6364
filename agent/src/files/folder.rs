//! A folder in which nothing is ever written, read or deleted through a symbolic link, or outside of it.
//!
//! Containers may write into what they mount from an instance's folder, so every component below its root is taken
//! for hostile: each is opened relative to the one before it, without following links, and only then used. That is
//! what `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` does in one call; going step by step needs no
//! second way for kernels and sandboxes without it, and has to be done anyway where folders are made.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use gitops_core::plan::FileRef;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, fsync, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

/// The name under which new content lies until it is renamed. One per folder, so that a crash leaves at most one,
/// and the next replacement there takes it over.
const TEMPORARY: &str = ".gitops-new";

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// How what lies at a path compares with what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Content and mode are right.
    Same,
    /// Nothing, a link, or a file with other content or mode.
    Different,
}

impl Folder {
    /// Opens a folder that the operator named, links in its path included, and makes what is missing of it,
    /// closed to other users.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let path = path.canonicalize()?;
        let fd = openat(CWD, &path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path })
    }

    /// Opens a folder directly inside this one, and makes it where it is missing.
    ///
    /// # Errors
    ///
    /// What the system says; a link or a file in its place is an error.
    pub fn open_inside(&self, name: &str) -> io::Result<Self> {
        Ok(Self { fd: enter(self.fd.try_clone()?, name, Missing::Make)?, path: self.path.join(name) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything is at `path`, be it a link.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn has(&self, path: &str) -> io::Result<bool> {
        let found = self
            .parent(path, Missing::Fail)
            .and_then(|(folder, name)| Ok(rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a file, or none where there is no such file. Longer than `limit` is an error.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {limit} bytes"),
            ));
        }
        Ok(Some(bytes))
    }

    /// Compares what lies at `path` with `wanted`. It is read only where its size is right, so the cost is bounded
    /// by what should be there, whatever a container put in its place.
    ///
    /// # Errors
    ///
    /// What the system says; a folder in the way is an error.
    pub fn compare(&self, path: &str, wanted: &FileRef) -> io::Result<Found> {
        let Some(file) = self.open_file(path)? else { return Ok(Found::Different) };
        let stat = fstat(&file)?;
        let same_shape = u64::try_from(stat.st_size) == Ok(wanted.size)
            && Mode::from_raw_mode(stat.st_mode) == mode_of(wanted.executable);
        if !same_shape {
            return Ok(Found::Different);
        }
        let mut bytes = Vec::new();
        file.take(wanted.size + 1).read_to_end(&mut bytes)?;
        Ok(if gitops_core::name::Digest::of(&bytes) == wanted.digest {
            Found::Same
        } else {
            Found::Different
        })
    }

    /// Puts `content` at `path`, whole or not at all: written beside it, synced, renamed over it.
    ///
    /// # Errors
    ///
    /// What the system says. Then `path` is as it was.
    pub fn replace(&self, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        if path.split('/').any(|component| component == TEMPORARY) {
            let message = "the name `.gitops-new` is kept for the agent; use another";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (folder, name) = self.parent(path, Missing::Make)?;
        ignore_missing(unlinkat(&folder, TEMPORARY, AtFlags::empty()))?;
        let result =
            write_new(&folder, content, mode).and_then(|()| Ok(renameat(&folder, TEMPORARY, &folder, name)?));
        if result.is_err() {
            ignore_missing(unlinkat(&folder, TEMPORARY, AtFlags::empty()))?;
        }
        result?;
        Ok(fsync(&folder)?)
    }

    /// Deletes the file, or the link, at `path`, for good: power loss does not bring it back. What is not there, or is a
    /// folder by now, is left as it is.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn delete_file(&self, path: &str) -> io::Result<()> {
        self.delete(path, AtFlags::empty())
    }

    /// Deletes the folder at `path` if it is empty. A left-over of ours in it does not count.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn delete_folder_if_empty(&self, path: &str) -> io::Result<()> {
        self.delete_file(&format!("{path}/{TEMPORARY}"))?;
        self.delete(path, AtFlags::REMOVEDIR)
    }

    fn delete(&self, path: &str, flags: AtFlags) -> io::Result<()> {
        let (folder, name) = match self.parent(path, Missing::Fail) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        match unlinkat(&folder, name, flags) {
            // Unlinking a folder is EISDIR on Linux and EPERM in POSIX; EBUSY is a mount point.
            Err(
                Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::PERM | Errno::NOTDIR | Errno::BUSY,
            ) => return Ok(()),
            result => ignore_missing(result)?,
        }
        // Also of what is gone already: whoever deleted it may have been killed before this.
        Ok(fsync(&folder)?)
    }

    /// A file for reading; none where nothing or a link is there.
    fn open_file(&self, path: &str) -> io::Result<Option<File>> {
        let (folder, name) = match self.parent(path, Missing::Fail) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // NONBLOCK: opening a pipe that a container put there must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&folder, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(Some(fd.into())),
            FileType::Directory => Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "a folder is in its place: Docker makes one where a mounted file is missing; move it away",
            )),
            _ => Ok(None),
        }
    }

    /// The open folder that holds `path`, and the last component.
    fn parent<'p>(&self, path: &'p str, missing: Missing) -> io::Result<(OwnedFd, &'p str)> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = self.fd.try_clone()?;
        check_component(name)?;
        for component in folders.split('/').filter(|_| !folders.is_empty()) {
            check_component(component)?;
            at = enter(at, component, missing)?;
        }
        Ok((at, name))
    }
}

/// What to do about a folder that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Fail,
}

fn enter(at: OwnedFd, name: &str, missing: Missing) -> io::Result<OwnedFd> {
    let open = || openat(&at, name, FOLDER, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) if missing == Missing::Make => {
            // Who may enter is decided at the root; inside, containers of any user must be able to read.
            match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let fd = open()?;
            fchmod(&fd, Mode::from_raw_mode(0o755))?;
            fsync(&at)?;
            Ok(fd)
        }
        result => result,
    };
    opened.map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("`{name}` on the way is a symbolic link or a file, not a folder; move it away"),
        ),
        errno => errno.into(),
    })
}

fn write_new(folder: &OwnedFd, content: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, TEMPORARY, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(content)?;
    fchmod(file.as_fd(), Mode::from_raw_mode(mode))?;
    file.sync_all()
}

/// The mode of a file that travels.
pub fn mode_of(executable: bool) -> Mode {
    Mode::from_raw_mode(if executable { 0o755 } else { 0o644 })
}

fn check_component(name: &str) -> io::Result<()> {
    let problem = match name {
        "" => "it has an empty component",
        "." | ".." => "it leaves the folder or says `.`",
        _ if name.contains('\0') => "it has a NUL in it",
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn ignore_missing(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
