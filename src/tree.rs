//! A definitions repository at one revision, in memory: path → blob id and bytes.
//!
//! Everything downstream reads a [`Tree`] and nothing else, so a commit in a bare mirror, a work tree and a test
//! fixture are the same thing to it. Content is shared: a tree of the next revision re-uses the bytes of every
//! blob that did not change, and caches further down are keyed by [`BlobId`].

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
    /// By path from the root, with `/`. Paths that are not UTF-8 are kept lossily and never match a reference.
    pub entries: BTreeMap<Arc<str>, Entry>,
    /// The limits it was read under, so that what reports an overrun can name the number.
    pub limits: Limits,
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
        Self { entries: entries.collect(), limits: Limits::default() }
    }

    /// The entry at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Every entry below a folder, in order; `folder` without a trailing `/`.
    pub fn under<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> + use<'a> {
        let prefix: Arc<str> = format!("{folder}/").into();
        self.entries.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&*prefix))
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
