//! A definitions repository at one revision, in memory: path → blob id and bytes.
//!
//! Everything downstream reads a [`Tree`] and nothing else, so a commit in a bare mirror, a work tree and a test
//! fixture are the same thing to it. A tree is made of parts, one for the folder of each service and one for each
//! other root, and the tree of the next revision shares every part that did not change: what a commit left alone is
//! known by identity, without a look at it.

pub mod patch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::Digest;

/// The folders and files that definitions live in. Nothing else of a repository is read.
pub const ROOTS: [&str; 5] = ["controls/", "features/", "gitops.toml", "nodes/", "services/"];

/// Whether a path of the repository belongs to its definitions.
pub fn is_definition_path(path: &str) -> bool {
    ROOTS.iter().any(|root| if root.ends_with('/') { path.starts_with(root) } else { path == *root })
}

/// Identifies content: Git's object id, left-aligned in 32 bytes. Equal ids mean equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// From the raw bytes of an object id (20 or 32 of them; what is beyond 32 is ignored).
    pub fn from_object_id(id: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let len = id.len().min(32);
        bytes[..len].copy_from_slice(&id[..len]);
        Self(bytes)
    }

    /// For content that has no Git object: fixtures.
    pub fn of(content: &[u8]) -> Self {
        use sha2::{Digest as _, Sha256};
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// What Git says an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with or without the executable bit.
    File {
        /// Mode 100755.
        executable: bool,
    },
    /// A symbolic link: never followed.
    Link,
    /// A commit of another repository: never entered.
    Submodule,
}

/// One entry of a tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Identifies the content.
    pub id: BlobId,
    /// File, link or submodule.
    pub kind: EntryKind,
    /// Size of the content in bytes, known even where the content was not read.
    pub size: u64,
    /// The content. `None` where it was not read because the file, or the repository before it, is over its limit.
    pub content: Option<Arc<[u8]>>,
}

/// How much of a repository is read. Over them a file is listed without content and the loader reports it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// How many files.
    pub files: usize,
}

impl Default for Limits {
    /// 1 MiB a file; 256 MiB and 200,000 files in all: twenty times the reference workload of 10,000 services.
    fn default() -> Self {
        Self { file_bytes: 1 << 20, total_bytes: 256 << 20, files: 200_000 }
    }
}

/// A repository at one revision: the entries under [`ROOTS`], by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// By key, see [`part_key`]. Its entries all start with its key and no key starts with another, so that one part
    /// after the other is the order of all paths.
    parts: BTreeMap<Arc<str>, Arc<Part>>,
    /// The limits it was read under, so that what reports an overrun can name the number.
    pub limits: Limits,
}

/// The entries of one service's folder, or of everything else below one root.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// By path from the root, with `/`. Paths that are not UTF-8 are kept lossily and never match a reference.
    entries: BTreeMap<Arc<str>, Entry>,
    bytes: u64,
}

impl Part {
    /// By path from the root of the repository.
    pub fn entries(&self) -> &BTreeMap<Arc<str>, Entry> {
        &self.entries
    }

    /// Bytes of all of them, read or not.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl FromIterator<(Arc<str>, Entry)> for Part {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Entry)>>(entries: I) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        let bytes = entries.values().map(|entry| entry.size).sum();
        Self { entries, bytes }
    }
}

/// What names the part that a path belongs to: `services/web/` of `services/web/compose.yaml`, `nodes/` of
/// `nodes/edge.yaml`, and the path itself of a file in no such folder.
pub fn part_key(path: &str) -> &str {
    let root = path.find('/').map_or(path.len(), |at| at + 1);
    if &path[..root] != "services/" {
        return &path[..root];
    }
    path[root..].find('/').map_or(path, |at| &path[..root + at + 1])
}

impl Default for Entry {
    fn default() -> Self {
        let content: Arc<[u8]> = Arc::from(&b""[..]);
        Self {
            id: BlobId::of(b""),
            kind: EntryKind::File { executable: false },
            size: 0,
            content: Some(content),
        }
    }
}

impl FromIterator<(Arc<str>, Entry)> for Tree {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Entry)>>(entries: I) -> Self {
        let mut tree = Self::default();
        entries.into_iter().for_each(|(path, entry)| tree.insert(path, entry));
        tree
    }
}

impl Tree {
    /// A tree of plain files: fixtures and `gitops init`.
    pub fn from_files<P: AsRef<str>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let entries = files.into_iter().map(|(path, content)| {
            let content = content.as_ref();
            let entry = Entry {
                id: BlobId::of(content),
                size: content.len() as u64,
                content: Some(content.into()),
                ..Entry::default()
            };
            (Arc::from(path.as_ref()), entry)
        });
        entries.collect()
    }

    /// A tree of parts, each with its key.
    pub fn of_parts(parts: impl IntoIterator<Item = (Arc<str>, Arc<Part>)>, limits: Limits) -> Self {
        let parts: BTreeMap<_, _> = parts.into_iter().collect();
        let is_under =
            |(key, part): (&Arc<str>, &Arc<Part>)| part.entries.keys().all(|path| part_key(path) == &**key);
        debug_assert!(parts.iter().all(is_under), "every entry is in the part that its path names");
        Self { parts, limits }
    }

    /// Adds an entry, or replaces the one at its path.
    pub fn insert(&mut self, path: Arc<str>, entry: Entry) {
        let key = part_key(&path);
        if !self.parts.contains_key(key) {
            self.parts.insert(key.into(), Arc::default());
        }
        let part = self.parts.get_mut(key).expect("it is there or was just made");
        let part = Arc::make_mut(part);
        part.bytes += entry.size;
        let replaced = part.entries.insert(path, entry);
        part.bytes -= replaced.map_or(0, |entry| entry.size);
    }

    /// Takes away the entry at this path, if there is one.
    pub fn remove(&mut self, path: &str) {
        let key = part_key(path);
        let Some(part) = self.parts.get_mut(key).filter(|part| part.entries.contains_key(path)) else {
            return;
        };
        let part = Arc::make_mut(part);
        part.bytes -= part.entries.remove(path).map_or(0, |entry| entry.size);
        if part.entries.is_empty() {
            self.parts.remove(key);
        }
    }

    /// The parts, by what names them.
    pub fn parts(&self) -> &BTreeMap<Arc<str>, Arc<Part>> {
        &self.parts
    }

    /// Every entry, in the order of the paths.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.parts.values().flat_map(|part| &part.entries)
    }

    /// The entry at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.parts.get(part_key(path))?.entries.get(path)
    }

    /// Every entry below a folder, in order; `folder` without a trailing `/`.
    pub fn under<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> + use<'a> {
        let prefix: Arc<str> = format!("{folder}/").into();
        let key: Arc<str> = part_key(&prefix).into();
        let parts = self.parts.range(key.clone()..).take_while(move |(of, _)| of.starts_with(&*key));
        parts.flat_map(move |(_, part)| {
            let prefix = prefix.clone();
            part.entries.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&*prefix))
        })
    }

    /// Whether some entry lies below this path, that is, whether it is a folder.
    pub fn is_folder(&self, path: &str) -> bool {
        self.under(path).next().is_some()
    }

    /// The content digest of a file that was read.
    pub fn digest(&self, path: &str) -> Option<Digest> {
        self.get(path)?.content.as_deref().map(Digest::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_part() {
        let check = |path: &str, expected: &str| assert_eq!(part_key(path), expected, "{path}");
        check("gitops.toml", "gitops.toml");
        check("nodes/edge.yaml", "nodes/");
        check("nodes/old/edge.yaml", "nodes/");
        check("services", "services");
        check("services/web", "services/web");
        check("services/web/compose.yaml", "services/web/");
        check("services/web/conf/a", "services/web/");
    }

    #[test]
    fn paths_come_in_order_whatever_their_parts() {
        let paths = [
            "nodes/b",
            "services/web/a",
            "services/web-2/a",
            "services/web.old",
            "services/we/z",
            "gitops.toml",
        ];
        let tree = Tree::from_files(paths.map(|path| (path, "")));
        let listed: Vec<&str> = tree.entries().map(|(path, _)| &**path).collect();
        let mut sorted = paths;
        sorted.sort_unstable();
        assert_eq!(listed, sorted);
    }

    #[test]
    fn a_folder_has_what_lies_below_it_and_nothing_beside_it() {
        let paths = [
            "nodes/a",
            "services/web/a",
            "services/web/conf/b",
            "services/web/conf.d",
            "services/web2/a",
            "services/x",
        ];
        let tree = Tree::from_files(paths.map(|path| (path, "")));
        let check = |folder: &str, expected: &[&str]| {
            let found: Vec<&str> = tree.under(folder).map(|(path, _)| &**path).collect();
            assert_eq!(found, expected, "{folder}");
            assert_eq!(tree.is_folder(folder), !expected.is_empty(), "{folder}");
        };
        check("nodes", &["nodes/a"]);
        check("node", &[]);
        check(
            "services",
            &[
                "services/web/a",
                "services/web/conf.d",
                "services/web/conf/b",
                "services/web2/a",
                "services/x",
            ],
        );
        check("services/web", &["services/web/a", "services/web/conf.d", "services/web/conf/b"]);
        check("services/web/conf", &["services/web/conf/b"]);
        check("services/x", &[]);
    }

    #[test]
    fn a_copy_shares_what_is_not_changed_in_it() {
        let old = Tree::from_files([("services/a/x", "1"), ("services/b/x", "1")]);
        let mut new = old.clone();
        new.insert("services/b/x".into(), Entry::default());
        let shared = |key: &str| Arc::ptr_eq(&old.parts[key], &new.parts[key]);
        assert!(shared("services/a/") && !shared("services/b/"));
        assert_eq!(old.get("services/b/x").map(|entry| entry.size), Some(1));
    }
}
