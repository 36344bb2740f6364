//! The folder of an instance: the files that travel with it, and what the agent remembers of them.
//!
//! One stable folder per instance holds exactly the paths that the Compose file knows as `./…`. Files are replaced
//! one by one, each atomically, and only where they differ, so that a container that watches or mounts them sees
//! either the old content or the new. What containers make in there by themselves is never touched: only names in
//! the [`Record`] are ever deleted.
//!
//! ```text
//! <instances>/web/nginx.conf             what containers may mount
//! <instances>/.gitops/web/compose.yaml   what they can not: the Compose file, the record, the lock
//! ```
//!
//! No service can be called `.gitops`, so the two never meet.

mod folder;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::FileRef;

pub use self::folder::{Folder, Found, mode_of};
pub use self::record::{Applied, Record, WHOLE};
use crate::host::{Blobs, HostError};

const STATE: &str = ".gitops";
const COMPOSE_FILE: &str = "compose.yaml";
const LOCK: &str = "lock";

/// The folders of one instance, held open.
#[derive(Debug)]
pub struct InstanceFiles {
    root: Folder,
    service: ServiceName,
    /// What the Compose file knows as `.`.
    pub folder: Folder,
    state: Folder,
    /// What was done before.
    pub record: Record,
}

impl InstanceFiles {
    /// Opens the folders of `service` below `instances`, and makes what is missing of them.
    ///
    /// # Errors
    ///
    /// [`HostError::File`] where that cannot be done.
    pub fn open(instances: &Path, service: &ServiceName) -> Result<Self, HostError> {
        let open = || {
            let root = Folder::open_root(instances)?;
            let state = root.open_inside(STATE)?.open_inside(service.as_str())?;
            let mut record = Record::load(&state)?;
            // Noted before it is made: after a crash in between, nothing else could tell.
            if !root.has(service.as_str())? && record.renewed.insert(WHOLE.into()) {
                record.save(&state)?;
            }
            let folder = root.open_inside(service.as_str())?;
            Ok(Self { root, service: service.clone(), folder, state, record })
        };
        open().map_err(at("."))
    }

    /// Where the Compose file is.
    pub fn compose_file(&self) -> PathBuf {
        self.state.path().join(COMPOSE_FILE)
    }

    /// Puts the files in place and deletes those of former plans that are no longer named. Says whether anything
    /// was changed. All content is found and checked before the first file is touched.
    ///
    /// # Errors
    ///
    /// [`HostError::Content`] where a blob is missing, [`HostError::File`] where the system refuses.
    pub fn put(
        &mut self,
        wanted: &BTreeMap<Arc<str>, FileRef>,
        blobs: &dyn Blobs,
    ) -> Result<bool, HostError> {
        let stale: BTreeSet<_> =
            self.record.files.iter().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        // What stands where a folder, or a file in place of a folder, must come goes first; the rest goes last, so
        // that a container that re-reads its folder meanwhile finds too much rather than too little.
        let (blocking, stale): (Vec<_>, Vec<_>) =
            stale.into_iter().partition(|path| is_in_the_way(path, wanted));
        self.delete_blocking(&blocking, wanted)?;
        self.note_renewed(wanted)?;
        let replacements = self.replacements(wanted, blobs)?;
        let changed = !(blocking.is_empty() && stale.is_empty() && replacements.is_empty());
        if changed {
            self.record.pending = true;
            self.record.ran = None;
        }
        self.announce(wanted, changed)?;
        for Replacement { path, mode, content } in replacements {
            self.folder.replace(path, &content, mode).map_err(at(path))?;
        }
        for path in &stale {
            self.folder.delete_file(path).map_err(at(path))?;
        }
        self.record.files = wanted.keys().cloned().collect();
        if changed {
            self.save()?;
        }
        Ok(changed)
    }

    fn delete_blocking(
        &mut self,
        blocking: &[Arc<str>],
        wanted: &BTreeMap<Arc<str>, FileRef>,
    ) -> Result<(), HostError> {
        for path in blocking {
            self.folder.delete_file(path).map_err(at(path))?;
        }
        let gone: Vec<_> = self
            .record
            .folders
            .iter()
            .rev()
            .filter(|folder| is_under_a_file(folder, wanted))
            .cloned()
            .collect();
        for folder in gone {
            self.folder.delete_folder_if_empty(&folder).map_err(at(&folder))?;
            self.record.folders.remove(&folder);
        }
        Ok(())
    }

    /// Notes what the agent wrote once, is still wanted, and is gone. What a former call was about to write when it
    /// was stopped is not gone: it may never have been there.
    fn note_renewed(&mut self, wanted: &BTreeMap<Arc<str>, FileRef>) -> Result<(), HostError> {
        if self.record.pending {
            return Ok(());
        }
        let folders: BTreeSet<_> = wanted.keys().flat_map(|path| folders_of(path)).collect();
        let written = self.record.files.iter().filter(|path| wanted.contains_key(*path));
        for path in written.chain(self.record.folders.intersection(&folders)) {
            if !self.folder.has(path).map_err(at(path))? {
                self.record.renewed.insert(path.clone());
            }
        }
        Ok(())
    }

    fn replacements<'w>(
        &self,
        wanted: &'w BTreeMap<Arc<str>, FileRef>,
        blobs: &dyn Blobs,
    ) -> Result<Vec<Replacement<'w>>, HostError> {
        let mut replacements = Vec::new();
        for (path, file) in wanted {
            if self.folder.compare(path, file).map_err(at(path))? == Found::Different {
                let content = content(path, file, blobs)?;
                replacements.push(Replacement { path, mode: mode_of(file.executable).bits(), content });
            }
        }
        Ok(replacements)
    }

    /// Notes what is about to be done, so that a crash in between leaves no file that nobody deletes, and no
    /// container that nobody restarts.
    fn announce(&mut self, wanted: &BTreeMap<Arc<str>, FileRef>, changed: bool) -> Result<(), HostError> {
        let before = (self.record.files.len(), self.record.folders.len());
        self.record.files.extend(wanted.keys().cloned());
        self.record.folders.extend(wanted.keys().flat_map(|path| folders_of(path)));
        let after = (self.record.files.len(), self.record.folders.len());
        if changed || before != after { self.save() } else { Ok(()) }
    }

    /// Writes the Compose file where it differs. It may hold what must not be read by everyone.
    ///
    /// # Errors
    ///
    /// [`HostError::File`].
    pub fn put_compose_file(&self, text: &str) -> Result<(), HostError> {
        let put = || match self.state.read(COMPOSE_FILE, text.len() as u64) {
            Ok(Some(bytes)) if bytes == text.as_bytes() => Ok(()),
            _ => self.state.replace(COMPOSE_FILE, text.as_bytes(), 0o600),
        };
        put().map_err(at(COMPOSE_FILE))
    }

    /// Writes the record, durable when it returns.
    ///
    /// # Errors
    ///
    /// [`HostError::File`].
    pub fn save(&self) -> Result<(), HostError> {
        self.record.save(&self.state).map_err(at("record.json"))
    }

    /// Deletes what the agent wrote, and the folders where nothing else is in them. The data of containers stays.
    ///
    /// # Errors
    ///
    /// [`HostError::File`].
    pub fn delete(self) -> Result<(), HostError> {
        for path in &self.record.files {
            self.folder.delete_file(path).map_err(at(path))?;
        }
        // A folder sorts before what is in it.
        for path in self.record.folders.iter().rev() {
            self.folder.delete_folder_if_empty(path).map_err(at(path))?;
        }
        let name = self.service.as_str();
        let delete_rest = || {
            self.root.delete_folder_if_empty(name)?;
            self.state.delete_file(COMPOSE_FILE)?;
            Record::delete(&self.state)?;
            self.state.delete_file(LOCK)?;
            self.root.delete_folder_if_empty(&format!("{STATE}/{name}"))
        };
        delete_rest().map_err(at("."))
    }

    /// The lock of the instance, not taken yet. Whoever changes the instance holds it, and hands it to the
    /// programs it starts: see `compose`.
    ///
    /// # Errors
    ///
    /// [`HostError::File`].
    pub fn lock_file(&self) -> Result<File, HostError> {
        let path = self.state.path().join(LOCK);
        File::options().read(true).append(true).create(true).open(path).map_err(at(LOCK))
    }
}

/// Those of these services whose folders, or whose part of the agent's memory, are not there.
pub fn lost<'s>(
    instances: &Path,
    services: impl IntoIterator<Item = &'s ServiceName>,
) -> BTreeSet<ServiceName> {
    let state = instances.join(STATE);
    let is_there = |folder: &Path, service: &ServiceName| folder.join(service.as_str()).is_dir();
    let is_lost = |service: &&ServiceName| !(is_there(instances, service) && is_there(&state, service));
    services.into_iter().filter(is_lost).cloned().collect()
}

struct Replacement<'w> {
    path: &'w str,
    mode: u32,
    content: Vec<u8>,
}

/// The content of a file from the agent's store, checked against its digest.
fn content(path: &str, file: &FileRef, blobs: &dyn Blobs) -> Result<Vec<u8>, HostError> {
    let blob = blobs.path(file.digest).ok_or(HostError::Content(file.digest))?;
    let bytes = std::fs::read(blob).map_err(at(path))?;
    if Digest::of(&bytes) == file.digest {
        return Ok(bytes);
    }
    let message =
        format!("the content stored as {} is damaged; delete it and it is fetched again", file.digest);
    Err(at(path)(io::Error::new(io::ErrorKind::InvalidData, message)))
}

/// Every folder that `path` lies in: `a/b/c` lies in `a` and `a/b`.
fn folders_of(path: &str) -> impl Iterator<Item = Arc<str>> {
    path.match_indices('/').map(|(end, _)| Arc::from(&path[..end]))
}

/// Whether `inner` lies somewhere below `outer`.
fn is_below(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a former file stands where a wanted one needs a folder, or the other way round.
fn is_in_the_way(former: &str, wanted: &BTreeMap<Arc<str>, FileRef>) -> bool {
    wanted.keys().any(|path| is_below(path, former) || is_below(former, path))
}

fn is_under_a_file(folder: &str, wanted: &BTreeMap<Arc<str>, FileRef>) -> bool {
    wanted.keys().any(|path| &**path == folder || is_below(folder, path))
}

fn at(path: &str) -> impl FnOnce(io::Error) -> HostError {
    let path = Arc::from(path);
    move |source| HostError::File { path, source }
}

#[cfg(test)]
mod tests;
