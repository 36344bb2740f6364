//! The same [`Tree`] from files on disk: what a commit of everything that is there would hold.
//!
//! Ids are Git's own, so that a clean checkout equals its commit. What `.gitignore` ignores is left out unless it is
//! tracked; files that are not yet tracked are in. Symbolic links are recorded and never followed. Filters that change
//! content on checkout (`autocrlf`, LFS) are not applied: the bytes on disk are what would be deployed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gitops_core::spread::spread;
use gitops_core::tree::{BlobId, Entry, EntryKind, Limits, ROOTS, Tree, is_definition_path};
use gix::bstr::ByteSlice as _;
use gix::hash::Kind as HashKind;
use gix::index::entry::Mode;

use super::GitError;
use super::read::Budget;

/// Reads the definitions in `root`, which may be a work tree, a folder in one, or just a folder.
///
/// # Errors
///
/// Where `root` or something that is not ignored in it cannot be read.
pub fn tree(root: &Path, limits: Limits) -> Result<Tree, GitError> {
    let tracked = Tracked::around(root);
    let mut found = walk(root, limits)?;
    tracked.add_what_the_walk_left_out(root, limits, &mut found);
    let mut budget = Budget::new(limits);
    let found: Vec<_> = found
        .into_iter()
        .map(|(path, found)| {
            let admitted = budget.admit(found.size);
            (path, found, admitted)
        })
        .collect();
    let entries = spread(&found, |(path, found, admitted)| {
        entry(found, tracked.submodules.get(path), tracked.hash, *admitted)
    });
    let mut tree = Tree::of_parts([], limits);
    for ((path, ..), entry) in found.into_iter().zip(entries) {
        tree.insert(path.into(), entry?);
    }
    Ok(tree)
}

/// Something on disk, before it is read.
struct Found {
    path: PathBuf,
    kind: EntryKind,
    size: u64,
}

type FoundByPath = BTreeMap<String, Found>;

/// Everything that is not ignored, up to one file more than the limit.
fn walk(root: &Path, limits: Limits) -> Result<FoundByPath, GitError> {
    let submodules = Arc::new(Mutex::new(Vec::new()));
    let mut builder = ignore::WalkBuilder::new(root);
    builder.hidden(false).ignore(false).require_git(false).sort_by_file_name(Ord::cmp);
    builder.filter_entry({
        let submodules = Arc::clone(&submodules);
        move |entry| is_entered(entry, &submodules)
    });
    let mut found = FoundByPath::new();
    for entry in builder.build() {
        let entry = entry.map_err(|error| walk_failure(root, error))?;
        if entry.depth() == 0 {
            continue;
        }
        let metadata = entry.metadata().map_err(|error| walk_failure(entry.path(), error))?;
        if let Some(file) = Found::new(entry.into_path(), &metadata) {
            found.insert(relative(root, &file.path), file);
        }
        if found.len() > limits.files {
            break;
        }
    }
    let submodules =
        std::mem::take(&mut *submodules.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    found.extend(submodules.into_iter().map(|path| (relative(root, &path), Found::submodule(path))));
    Ok(found)
}

/// Whether the walk looks at an entry: at the top only the roots of definitions, below them all but other repositories,
/// which are noted in `submodules`.
fn is_entered(entry: &ignore::DirEntry, submodules: &Mutex<Vec<PathBuf>>) -> bool {
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    if entry.depth() == 1 {
        return is_root(entry.file_name().as_bytes(), is_folder);
    }
    let is_submodule = entry.depth() > 1 && is_folder && entry.path().join(".git").symlink_metadata().is_ok();
    if is_submodule {
        let mut submodules = submodules.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        submodules.push(entry.path().to_owned());
    }
    !is_submodule
}

fn is_root(name: &[u8], is_folder: bool) -> bool {
    ROOTS.iter().any(|root| match root.strip_suffix('/') {
        Some(folder) => name == folder.as_bytes(),
        None => name == root.as_bytes() && !is_folder,
    })
}

fn walk_failure(path: &Path, error: ignore::Error) -> GitError {
    let text = error.to_string();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other(text));
    GitError::WorkTree { path: path.to_owned(), source }
}

/// With `/`, as Git writes it. Only made for paths below `root`.
fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

impl Found {
    /// What Git would make of it: nothing of folders, sockets, pipes and devices.
    fn new(path: PathBuf, metadata: &Metadata) -> Option<Self> {
        let kind = match metadata.file_type() {
            kind if kind.is_symlink() => EntryKind::Link,
            // Git looks at the owner's bit alone.
            kind if kind.is_file() => {
                EntryKind::File { executable: metadata.permissions().mode() & 0o100 != 0 }
            }
            _ => return None,
        };
        Some(Self { path, kind, size: metadata.len() })
    }

    fn submodule(path: PathBuf) -> Self {
        Self { path, kind: EntryKind::Submodule, size: 0 }
    }
}

/// What the repository around a folder tracks in it: nothing where there is no repository.
struct Tracked {
    hash: HashKind,
    files: Vec<String>,
    submodules: BTreeMap<String, BlobId>,
}

impl Tracked {
    fn around(root: &Path) -> Self {
        let mut tracked = Self { hash: HashKind::Sha1, files: Vec::new(), submodules: BTreeMap::new() };
        let Ok(repo) = gix::ThreadSafeRepository::discover(root) else { return tracked };
        let repo = repo.to_thread_local();
        tracked.hash = repo.object_hash();
        let (Some(prefix), Ok(Some(index))) = (prefix(&repo, root), repo.try_index()) else { return tracked };
        for entry in index.entries() {
            let Some(path) = entry.path(&index).strip_prefix(prefix.as_bytes()) else { continue };
            let path = path.to_str_lossy().into_owned();
            if !is_definition_path(&path) {
                continue;
            }
            if entry.mode == Mode::COMMIT {
                tracked.submodules.insert(path, BlobId::from_object_id(entry.id.as_slice()));
            } else {
                tracked.files.push(path);
            }
        }
        tracked
    }

    /// Adds what is tracked although it is ignored, and submodules that were never initialised, as far as they are
    /// there.
    fn add_what_the_walk_left_out(&self, root: &Path, limits: Limits, found: &mut FoundByPath) {
        for relative in self.files.iter().filter(|_| found.len() <= limits.files).collect::<Vec<_>>() {
            if found.contains_key(relative) || found.len() > limits.files {
                continue;
            }
            let file = on_disk(root, relative).and_then(|(path, metadata)| Found::new(path, &metadata));
            if let Some(file) = file {
                found.insert(relative.clone(), file);
            }
        }
        for relative in self.submodules.keys() {
            if let Some((path, _)) = on_disk(root, relative).filter(|(_, metadata)| metadata.is_dir()) {
                found.entry(relative.clone()).or_insert_with(|| Found::submodule(path));
            }
        }
    }
}

/// The path of `root` in the work tree, with `/` at its end unless it is the root of that.
fn prefix(repo: &gix::Repository, root: &Path) -> Option<String> {
    let work_tree = repo.workdir()?.canonicalize().ok()?;
    let below = root.canonicalize().ok()?.strip_prefix(work_tree).ok()?.to_str()?.to_owned();
    Some(if below.is_empty() { below } else { below + "/" })
}

/// A tracked path as it is on disk, unless a link stands where one of its folders was.
fn on_disk(root: &Path, relative: &str) -> Option<(PathBuf, Metadata)> {
    let mut path = root.to_owned();
    let mut metadata = None;
    for name in relative.split('/') {
        if metadata.as_ref().is_some_and(|parent: &Metadata| !parent.is_dir()) {
            return None;
        }
        path.push(name);
        metadata = Some(path.symlink_metadata().ok()?);
    }
    metadata.map(|metadata| (path, metadata))
}

/// Reads one entry. The id of a file that is not read names just its size: it is reported, never compared.
fn entry(
    found: &Found,
    submodule: Option<&BlobId>,
    hash: HashKind,
    admitted: bool,
) -> Result<Entry, GitError> {
    let Found { path, kind, size } = found;
    let (kind, size) = (*kind, *size);
    if kind == EntryKind::Submodule {
        let id = submodule.copied().unwrap_or_else(|| BlobId::from_object_id(&[]));
        return Ok(Entry { id, kind, size: 0, content: None });
    }
    if !admitted {
        return Ok(Entry { id: BlobId::of(&size.to_le_bytes()), kind, size, content: None });
    }
    let failure = |source| GitError::WorkTree { path: path.clone(), source };
    let content = if kind == EntryKind::Link { link_target(path) } else { file_content(path, size) };
    let content = content.map_err(failure)?;
    let id = gix::objs::compute_hash(hash, gix::objs::Kind::Blob, &content)
        .map_err(|error| failure(io::Error::other(error.to_string())))?;
    let id = BlobId::from_object_id(id.as_slice());
    Ok(Entry { id, kind, size: content.len() as u64, content: Some(content.into()) })
}

fn link_target(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec())
}

/// The content of a file that had `size` bytes when it was listed. Should it have become a link or a pipe since, it is
/// an error; should it be growing, it is cut where it was.
fn file_content(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut content = Vec::new();
    file.take(size).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests;
