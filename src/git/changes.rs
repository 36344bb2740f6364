//! What of the definitions differs between two revisions, without reading what does not.
//!
//! Folders with one tree id are the same and are not entered, so that the cost is that of the change: a commit that
//! touches one service of ten thousand is a few objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::Revision;
use gitops_core::tree::patch::{Becomes, Patch};
use gitops_core::tree::{Entry, EntryKind, Limits};
use gix::bstr::BString;
use gix::objs::tree::EntryKind as Mode;

use super::objects::Objects;
use super::read::{Failure, MAX_DEPTH, blob_id, check_name, is_root, kind, root};
use super::{GitError, Scope};

/// What makes the definitions of `head` of those of `base`.
pub(super) fn changes(
    objects: Objects<'_>,
    base: &Revision,
    head: &Revision,
    scope: &Scope,
) -> Result<Patch, GitError> {
    let old = root(objects, base, scope).map_err(|failure| failure.of(base, scope))?;
    let new = root(objects, head, scope).map_err(|failure| failure.of(head, scope))?;
    let mut walk = Walk { objects, limits: scope.limits, entered: 0, patch: Patch::default() };
    walk.folder([Some(old), Some(new)], "", 0).map_err(|failure| failure.of(head, scope))?;
    Ok(walk.patch)
}

struct Walk<'a> {
    objects: Objects<'a>,
    limits: Limits,
    entered: usize,
    patch: Patch,
}

type Id = gix::ObjectId;

/// What a folder holds under one name: a folder and what else there is are never the same thing.
type Children = BTreeMap<(BString, bool), (Mode, Id)>;

impl Walk<'_> {
    /// Compares the folders at `path`: in the base, and in the head.
    fn folder(&mut self, [old, new]: [Option<Id>; 2], path: &str, depth: usize) -> Result<(), Failure> {
        self.enter(path, depth)?;
        let (old, mut new) = (self.children(old, depth)?, self.children(new, depth)?);
        for (key, before) in old {
            let after = new.remove(&key);
            if after != Some(before) {
                self.differs(&key, Some(before), after, path, depth)?;
            }
        }
        new.into_iter().try_for_each(|(key, after)| self.differs(&key, None, Some(after), path, depth))
    }

    /// Counts a folder: trees can be nested into each other without end.
    fn enter(&mut self, path: &str, depth: usize) -> Result<(), Failure> {
        self.entered += 1;
        let most = self.limits.files.saturating_mul(8).saturating_add(200);
        if depth > MAX_DEPTH || self.entered > most {
            let shown: String = path.chars().take(80).collect();
            return Err(Failure::Hostile(format!("`{shown}…` has too many folders in it")));
        }
        Ok(())
    }

    fn children(&self, folder: Option<Id>, depth: usize) -> Result<Children, Failure> {
        let Some(id) = folder else { return Ok(Children::new()) };
        let data = self.objects.holding(id).find_tree(id)?.detach().data;
        let mut children = Children::new();
        for entry in gix::objs::TreeRefIter::from_bytes(&data, id.kind()) {
            let entry = entry?;
            let is_folder = entry.mode.is_tree();
            if depth > 0 || is_root(entry.filename, is_folder) {
                children.insert(
                    (entry.filename.to_owned(), is_folder),
                    (entry.mode.kind(), entry.oid.to_owned()),
                );
            }
        }
        Ok(children)
    }

    fn differs(
        &mut self,
        (name, is_folder): &(BString, bool),
        before: Option<(Mode, Id)>,
        after: Option<(Mode, Id)>,
        parent: &str,
        depth: usize,
    ) -> Result<(), Failure> {
        check_name(name.as_ref(), parent)?;
        let path = if parent.is_empty() { name.to_string() } else { format!("{parent}/{name}") };
        if *is_folder {
            let [before, after] = [before, after].map(|child| child.map(|(_, id)| id));
            return self.folder([before, after], &path, depth + 1);
        }
        let path: Arc<str> = path.into();
        match after {
            Some((mode, id)) => _ = self.patch.0.insert(path, self.file(mode, id)?),
            // What is a folder now says so by what is in it.
            None => _ = self.patch.0.entry(path).or_insert(Becomes::Gone),
        }
        Ok(())
    }

    /// A file as it is in the head. One over the limit is told by its size.
    fn file(&self, mode: Mode, id: Id) -> Result<Becomes, Failure> {
        let kind = kind(mode);
        if kind == EntryKind::Submodule {
            return Ok(Becomes::Submodule);
        }
        let size = self.objects.holding(id).find_header(id)?.size();
        let content = match size <= self.limits.file_bytes {
            true => Some(self.objects.holding(id).find_blob(id)?.data.as_slice().into()),
            false => None,
        };
        Ok(Becomes::of(&Entry { id: blob_id(id), kind, size, content }))
    }
}

#[cfg(test)]
mod tests;
