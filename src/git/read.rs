//! The [`Tree`] of a revision, read straight from objects.
//!
//! Two revisions mostly hold the same folders. A folder whose tree id did not change is taken whole from what was read
//! last, and in a folder that did change only the entries that did are read: the cost of a commit is the cost of what
//! it touches. What was read last is also all that is kept, so that memory is bounded by two trees.
//!
//! A commit is input from outside. Names that could leave a folder are refused, and the work is bounded by the limits
//! however often one small tree object is nested into itself.

use std::iter::Peekable;
use std::slice::Iter;
use std::sync::Arc;

use gitops_core::name::Revision;
use gitops_core::tree::{BlobId, Entry, EntryKind, Limits, Part, ROOTS, Tree, part_key};
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::{EntryKind as Mode, name_order};

use super::objects::Objects;
use super::{GitError, objects};

/// Deepest folder that is entered. Definitions are 3 deep; what they mount seldom more than 10.
pub(super) const MAX_DEPTH: usize = 100;

/// Which part of a repository holds the definitions, and how much of it is read.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The folder of the definitions, from the repository's root; the root itself where it is empty.
    pub folder: String,
    /// How much is read.
    pub limits: Limits,
}

impl Scope {
    /// The names of the folders on the way to the definitions.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.folder.split('/').filter(|name| !matches!(*name, "" | "."))
    }
}

/// The folders that the last two trees were made of. It never changes what is read, only how fast.
#[derive(Debug, Default)]
pub struct TreeCache {
    recent: Vec<(Limits, Arc<Folder>)>,
}

impl TreeCache {
    /// The folder to compare with: the same one, or the one read last under the same limits.
    fn base(&self, id: gix::ObjectId, limits: Limits) -> Option<Arc<Folder>> {
        let same_limits = |of: &Limits| {
            (of.file_bytes, of.total_bytes, of.files) == (limits.file_bytes, limits.total_bytes, limits.files)
        };
        let fit = || self.recent.iter().rev().filter(|(of, _)| same_limits(of)).map(|(_, folder)| folder);
        fit().find(|folder| folder.id == id).or_else(|| fit().next()).cloned()
    }

    fn keep(&mut self, limits: Limits, folder: Arc<Folder>) {
        self.recent.retain(|(_, kept)| kept.id != folder.id);
        self.recent.push((limits, folder));
        let excess = self.recent.len().saturating_sub(2);
        self.recent.drain(..excess);
    }
}

/// One folder as it was read.
#[derive(Debug)]
struct Folder {
    id: gix::ObjectId,
    /// In Git's order.
    children: Vec<(BString, Node)>,
    /// Files at any depth.
    files: usize,
    /// Bytes of content at any depth.
    bytes: u64,
    /// Folders at any depth, itself included.
    folders: usize,
    /// Whether nothing was left out for want of room, so that it would be read just so again.
    whole: bool,
    /// Its files as a part of the tree, with what names it, where they are one.
    part: Option<(Arc<str>, Arc<Part>)>,
}

#[derive(Debug)]
enum Node {
    Folder(Arc<Folder>),
    File(Arc<str>, Entry),
}

/// The tree of `revision`.
pub(super) fn tree(
    objects: Objects<'_>,
    revision: &Revision,
    scope: &Scope,
    cache: &mut TreeCache,
) -> Result<Tree, GitError> {
    let mut reader = Reader { objects, budget: Budget::new(scope.limits), folders: 0 };
    let root = root(objects, revision, scope).map_err(|failure| failure.of(revision, scope))?;
    let base = cache.base(root, scope.limits);
    let folder = reader.folder(root, "", 0, base.as_ref()).map_err(|failure| failure.of(revision, scope))?;
    let mut parts = Vec::with_capacity(folder.folders);
    list_parts(&folder, &mut parts);
    cache.keep(scope.limits, folder);
    Ok(Tree::of_parts(parts, scope.limits))
}

/// The parts of a tree, each with its key. Git's order is theirs.
fn list_parts(folder: &Folder, parts: &mut Vec<(Arc<str>, Arc<Part>)>) {
    match &folder.part {
        Some((_, part)) if part.entries().is_empty() => {}
        Some(part) => parts.push(part.clone()),
        None => folder.children.iter().for_each(|(_, node)| match node {
            Node::Folder(folder) => list_parts(folder, parts),
            Node::File(path, entry) => {
                let alone = [(path.clone(), entry.clone())].into_iter().collect();
                parts.push((path.clone(), Arc::new(alone)));
            }
        }),
    }
}

/// Every file below a folder, by path.
fn list(folder: &Folder, entries: &mut Vec<(Arc<str>, Entry)>) {
    for (_, node) in &folder.children {
        match node {
            Node::Folder(folder) => list(folder, entries),
            Node::File(path, entry) => entries.push((Arc::clone(path), entry.clone())),
        }
    }
}

/// Why a tree cannot be read, before it is said of which revision.
pub(super) enum Failure {
    Absent,
    NoFolder,
    Hostile(String),
    Git(gix::Error),
}

impl From<gix::Error> for Failure {
    fn from(error: gix::Error) -> Self {
        Self::Git(error)
    }
}

impl Failure {
    pub(super) fn of(self, revision: &Revision, scope: &Scope) -> GitError {
        let revision = revision.clone();
        match self {
            Self::Absent => GitError::NoSuchCommit(revision),
            Self::NoFolder => GitError::NoSuchFolder { folder: scope.folder.clone(), revision },
            Self::Hostile(problem) => GitError::Hostile { revision, problem },
            Self::Git(source) => GitError::Read { revision, source: Box::new(source) },
        }
    }
}

/// What was read so far against the limits. Files are counted in the order of their paths, so that the same ones are
/// left out however they are come by.
pub(super) struct Budget {
    limits: Limits,
    files: usize,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, files: 0, bytes: 0 }
    }

    /// Counts a file that is listed, and says whether its content is read too.
    pub(super) fn admit(&mut self, size: u64) -> bool {
        self.files += 1;
        let bytes = self.bytes.saturating_add(size);
        let admitted = size <= self.limits.file_bytes
            && bytes <= self.limits.total_bytes
            && self.files <= self.limits.files;
        if admitted {
            self.bytes = bytes;
        }
        admitted
    }

    /// Whether enough is listed: one file more than the limit, by which its overrun is seen.
    pub(super) fn is_over(&self) -> bool {
        self.files > self.limits.files
    }
}

/// Reads folders, and counts what it read.
struct Reader<'a> {
    objects: Objects<'a>,
    budget: Budget,
    folders: usize,
}

/// The tree object of the folder that holds the definitions.
pub(super) fn root(
    objects: Objects<'_>,
    revision: &Revision,
    scope: &Scope,
) -> Result<gix::ObjectId, Failure> {
    let id = objects::object_id(revision);
    if !objects.has(id) {
        return Err(Failure::Absent);
    }
    let id = objects.holding(id).find_commit(id)?.tree_id()?.detach();
    let mut tree = objects.holding(id).find_tree(id)?;
    for name in scope.segments() {
        let entry = tree.find_entry(name).filter(|entry| entry.mode().is_tree()).ok_or(Failure::NoFolder)?;
        let id = entry.object_id();
        tree = objects.holding(id).find_tree(id)?;
    }
    Ok(tree.id)
}

impl Reader<'_> {
    /// The folder with tree id `id` at `path`, taking what it can from `base`, which was read at the same path.
    fn folder(
        &mut self,
        id: gix::ObjectId,
        path: &str,
        depth: usize,
        base: Option<&Arc<Folder>>,
    ) -> Result<Arc<Folder>, Failure> {
        if let Some(same) = base.and_then(|base| self.reuse(id, base)) {
            return Ok(same);
        }
        self.enter(path, depth)?;
        let data = self.objects.holding(id).find_tree(id)?.detach().data;
        let mut folder =
            Folder { id, children: Vec::new(), files: 0, bytes: 0, folders: 1, whole: true, part: None };
        let mut known = Known(base.map(|base| base.children.iter().peekable()));
        for entry in gix::objs::TreeRefIter::from_bytes(&data, id.kind()) {
            let entry = entry?;
            if self.budget.is_over() {
                folder.whole = false;
                break;
            }
            let wanted = depth > 0 || is_root(entry.filename, entry.mode.is_tree());
            if wanted {
                let node =
                    self.node(&entry, path, depth, known.find(entry.filename, entry.mode.is_tree()))?;
                folder.add(entry.filename, node, self.budget.limits.file_bytes);
            }
        }
        folder.become_part(path);
        Ok(Arc::new(folder))
    }

    /// `folder` as it was read before, if it is the same one and all of it would be read again just so.
    fn reuse(&mut self, id: gix::ObjectId, folder: &Arc<Folder>) -> Option<Arc<Folder>> {
        let files = self.budget.files + folder.files;
        let bytes = self.budget.bytes + folder.bytes;
        let folders = self.folders + folder.folders;
        let has_room = files <= self.budget.limits.files
            && bytes <= self.budget.limits.total_bytes
            && folders <= self.max_folders();
        if folder.id != id || !folder.whole || !has_room {
            return None;
        }
        (self.budget.files, self.budget.bytes, self.folders) = (files, bytes, folders);
        Some(Arc::clone(folder))
    }

    /// Four to a file: a folder that Git tracks has a file somewhere, and a path is seldom longer than that.
    fn max_folders(&self) -> usize {
        self.budget.limits.files.saturating_mul(4).saturating_add(100)
    }

    /// Counts a folder, so that folders without files cannot be nested without end.
    fn enter(&mut self, path: &str, depth: usize) -> Result<(), Failure> {
        self.folders += 1;
        if depth > MAX_DEPTH {
            let shown: String = path.chars().take(80).collect();
            return Err(Failure::Hostile(format!("`{shown}…` is over {MAX_DEPTH} folders deep")));
        }
        match self.max_folders() {
            max if self.folders > max => Err(Failure::Hostile(format!("it has over {max} folders"))),
            _ => Ok(()),
        }
    }

    fn node(
        &mut self,
        entry: &gix::objs::tree::EntryRef<'_>,
        parent: &str,
        depth: usize,
        known: Option<&Node>,
    ) -> Result<Node, Failure> {
        let id = entry.oid.to_owned();
        let base = match known {
            Some(Node::Folder(folder)) if entry.mode.is_tree() => match self.reuse(id, folder) {
                Some(same) => return Ok(Node::Folder(same)),
                None => Some(folder),
            },
            Some(Node::File(path, old)) if !entry.mode.is_tree() && old.id == blob_id(id) => {
                let file = self.file(id, kind(entry.mode.kind()), Some(old))?;
                return Ok(Node::File(Arc::clone(path), file));
            }
            _ => None,
        };
        check_name(entry.filename, parent)?;
        let name = entry.filename.to_str_lossy();
        let path = if parent.is_empty() { name.into_owned() } else { format!("{parent}/{name}") };
        match entry.mode.kind() {
            Mode::Tree => self.folder(id, &path, depth + 1, base).map(Node::Folder),
            mode => Ok(Node::File(path.into(), self.file(id, kind(mode), None)?)),
        }
    }

    /// One file, link or submodule; `old` is the same object as it was read before.
    fn file(&mut self, id: gix::ObjectId, kind: EntryKind, old: Option<&Entry>) -> Result<Entry, Failure> {
        let size = match old {
            _ if kind == EntryKind::Submodule => 0,
            Some(old) if old.kind != EntryKind::Submodule => old.size,
            _ => self.objects.holding(id).find_header(id)?.size(),
        };
        let content = match self.budget.admit(size) {
            true if kind != EntryKind::Submodule => Some(match old.and_then(|old| old.content.clone()) {
                Some(content) => content,
                None => self.objects.holding(id).find_blob(id)?.data.as_slice().into(),
            }),
            _ => None,
        };
        Ok(Entry { id: blob_id(id), kind, size, content })
    }
}

impl Folder {
    fn add(&mut self, name: &BStr, node: Node, file_bytes: u64) {
        match &node {
            Node::Folder(folder) => {
                self.files += folder.files;
                self.bytes += folder.bytes;
                self.folders += folder.folders;
                self.whole &= folder.whole;
            }
            Node::File(_, entry) => {
                self.files += 1;
                self.bytes += entry.content.as_ref().map_or(0, |content| content.len() as u64);
                // A file over its own limit is left out wherever it stands.
                let by_rule = entry.kind == EntryKind::Submodule || entry.size > file_bytes;
                self.whole &= entry.content.is_some() || by_rule;
            }
        }
        self.children.push((name.to_owned(), node));
    }

    /// Lists its files where all of them, and no others, are one part of the tree.
    fn become_part(&mut self, path: &str) {
        let key = format!("{path}/");
        if !path.is_empty() && part_key(&format!("{key}file")) == key {
            let mut entries = Vec::with_capacity(self.files);
            list(self, &mut entries);
            self.part = Some((key.into(), Arc::new(entries.into_iter().collect())));
        }
    }
}

/// The children of a folder that was read before, walked along in Git's order.
struct Known<'a>(Option<Peekable<Iter<'a, (BString, Node)>>>);

impl<'a> Known<'a> {
    /// The child of this name, if there was one. Names are asked for in Git's order; a tree that breaks the order
    /// only finds less.
    fn find(&mut self, name: &BStr, is_tree: bool) -> Option<&'a Node> {
        let children = self.0.as_mut()?;
        let before = |(old, node): &&(BString, Node)| {
            name_order(old, matches!(node, Node::Folder(_)), name, is_tree).is_lt()
        };
        while children.next_if(before).is_some() {}
        children.next_if(|(old, _)| old == name).map(|(_, node)| node)
    }
}

/// Whether an entry of the definitions' folder is one of [`ROOTS`]. What should be a folder and is a file or a link is
/// listed by its bare name, so that it is seen to be wrong and not taken for empty.
pub(super) fn is_root(name: &BStr, is_tree: bool) -> bool {
    ROOTS.iter().any(|root| match root.strip_suffix('/') {
        Some(folder) => name == folder,
        None => name == *root && !is_tree,
    })
}

/// Refuses names that Git itself refuses to check out: they would leave their folder or enter `.git`.
pub(super) fn check_name(name: &BStr, parent: &str) -> Result<(), Failure> {
    let bad = matches!(name.as_bytes(), b"" | b"." | b"..")
        || name.eq_ignore_ascii_case(b".git")
        || name.find_byteset(b"/\0").is_some();
    if !bad {
        return Ok(());
    }
    let shown = name.to_str_lossy().escape_debug().take(80).collect::<String>();
    Err(Failure::Hostile(format!("folder `{parent}` has an entry named `{shown}`, which Git does not allow")))
}

pub(super) fn kind(mode: Mode) -> EntryKind {
    match mode {
        Mode::Blob | Mode::Tree => EntryKind::File { executable: false },
        Mode::BlobExecutable => EntryKind::File { executable: true },
        Mode::Link => EntryKind::Link,
        Mode::Commit => EntryKind::Submodule,
    }
}

pub(super) fn blob_id(id: gix::ObjectId) -> BlobId {
    BlobId::from_object_id(id.as_slice())
}

#[cfg(test)]
mod tests;
