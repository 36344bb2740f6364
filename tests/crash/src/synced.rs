//! What is left on a disk that lost its power: only what was synced.
//!
//! The content of a file is what it was when the file was last synced, and nothing where it never was; a name is in a folder,
//! or not, as it was when the folder was last synced. A real disk may keep more than that, and does not have to. The other
//! end, that everything is kept, is what `kill -9` leaves.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::hash::{Hash as _, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file, whatever its name: its number, and when it was made, because numbers are used again.
type Identity = (u64, Option<SystemTime>);

/// What is safe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Synced {
    root: PathBuf,
    contents: BTreeMap<Identity, (u32, Vec<u8>)>,
    folders: BTreeMap<PathBuf, BTreeMap<OsString, Entry>>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Entry {
    File(Identity),
    Folder,
}

impl Synced {
    /// All that is there now.
    pub(crate) fn all_of(root: &Path) -> io::Result<Self> {
        let mut synced = Self { root: root.to_owned(), ..Self::default() };
        synced.take_all(root)?;
        Ok(synced)
    }

    fn take_all(&mut self, path: &Path) -> io::Result<()> {
        self.take(path)?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.take_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// This file or folder was synced.
    pub(crate) fn take(&mut self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() {
            self.contents.insert(identity(&found), (found.mode(), fs::read(path)?));
            return Ok(());
        }
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let found = entry.metadata()?;
            let is = if found.is_dir() { Entry::Folder } else { Entry::File(identity(&found)) };
            entries.insert(entry.file_name(), is);
        }
        self.folders.insert(path.to_owned(), entries);
        Ok(())
    }

    /// Feeds `hash` with everything that is safe: what gives the same is the same disk.
    pub(crate) fn hash(&self, hash: &mut impl Hasher) {
        for (folder, entries) in &self.folders {
            for (name, entry) in entries {
                (folder.strip_prefix(&self.root).ok(), name).hash(hash);
                if let Entry::File(identity) = entry {
                    self.contents.get(identity).hash(hash);
                }
            }
        }
    }

    /// Makes what is safe anew, in the empty folder `to`.
    pub(crate) fn write(&self, to: &Path) -> io::Result<()> {
        self.write_folder(&self.root, to)
    }

    fn write_folder(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for (name, entry) in self.folders.get(from).into_iter().flatten() {
            match entry {
                Entry::Folder => self.write_folder(&from.join(name), &to.join(name))?,
                Entry::File(identity) => self.write_file(identity, &to.join(name))?,
            }
        }
        Ok(())
    }

    fn write_file(&self, identity: &Identity, to: &Path) -> io::Result<()> {
        let (mode, content) =
            self.contents.get(identity).map_or((0o600, &[][..]), |(mode, content)| (*mode, content));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode & 0o777).open(to)?;
        io::Write::write_all(&mut file, content)
    }
}

fn identity(found: &Metadata) -> Identity {
    (found.ino(), found.created().ok())
}
