//! A tree told by how it differs from another: what travels where both ends have the other one.
//!
//! A patch comes from outside and is believed nothing: paths that could leave the folders of definitions are refused,
//! and so is an entry that lies under a file. What it holds is never executed, and never written to a disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BlobId, Entry, EntryKind, Tree, is_definition_path};
use crate::align::{aligned, differing};

/// The longest path that is taken, in bytes: what Linux takes.
const MAX_PATH: usize = 4096;
/// The most folders that a path may go down: what is read from Git at most.
const MAX_DEPTH: usize = 100;

/// What becomes of each path that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Patch(pub BTreeMap<Arc<str>, Becomes>);

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Becomes {
    /// Nothing is there.
    Gone,
    /// A file.
    File(Content),
    /// A file that can be executed.
    Executable(Content),
    /// A symbolic link, by where it leads.
    Link(Content),
    /// A commit of another repository.
    Submodule,
    /// A file of so many bytes, which is larger than its sender reads.
    Unread(u64),
}

/// Bytes, as text where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// UTF-8.
    Text(String),
    /// Anything, as Base64 with padding.
    Base64(String),
}

/// Why a patch is no tree of definitions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The path.
    #[error(
        "`{0}` is no path of a definition: those are gitops.toml and what lies in controls/, features/, nodes/ and services/"
    )]
    Path(String),
    /// Something lies under what is no folder.
    #[error("`{0}` lies under a file")]
    UnderFile(String),
    /// The content.
    #[error("the content of `{0}` is no Base64")]
    Base64(String),
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }

    fn bytes(&self, path: &str) -> Result<Arc<[u8]>, PatchError> {
        match self {
            Self::Text(text) => Ok(text.as_bytes().into()),
            Self::Base64(text) => {
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| PatchError::Base64(shown(path)))?;
                Ok(bytes.into())
            }
        }
    }
}

impl Becomes {
    /// What stands for an entry.
    pub fn of(entry: &Entry) -> Self {
        let content = entry.content.as_deref();
        match (entry.kind, content) {
            (EntryKind::Submodule, _) => Self::Submodule,
            (_, None) => Self::Unread(entry.size),
            (EntryKind::Link, Some(target)) => Self::Link(Content::of(target)),
            (EntryKind::File { executable: true }, Some(bytes)) => Self::Executable(Content::of(bytes)),
            (EntryKind::File { executable: false }, Some(bytes)) => Self::File(Content::of(bytes)),
        }
    }

    /// The entry that it makes; none where nothing is there.
    fn entry(&self, path: &str, file_bytes: u64) -> Result<Option<Entry>, PatchError> {
        let (kind, content) = match self {
            Self::Gone => return Ok(None),
            Self::File(content) => (EntryKind::File { executable: false }, content),
            Self::Executable(content) => (EntryKind::File { executable: true }, content),
            Self::Link(target) => (EntryKind::Link, target),
            Self::Submodule => {
                return Ok(Some(Entry { kind: EntryKind::Submodule, content: None, ..Entry::default() }));
            }
            Self::Unread(size) => {
                let size = (*size).max(file_bytes.saturating_add(1));
                let id = BlobId::of(format!("{size} bytes at {path}").as_bytes());
                return Ok(Some(Entry { id, size, content: None, ..Entry::default() }));
            }
        };
        let bytes = content.bytes(path)?;
        let size = bytes.len() as u64;
        let content = (size <= file_bytes).then(|| bytes.clone());
        Ok(Some(Entry { id: BlobId::of(&bytes), kind, size, content }))
    }
}

impl Patch {
    /// What makes `head` of `base`.
    pub fn between(base: &Tree, head: &Tree) -> Self {
        let mut patch = Self::default();
        let nothing = BTreeMap::new();
        for (_, old, new) in differing(&base.parts, &head.parts) {
            let [old, new] = [old, new].map(|part| part.map_or(&nothing, |part| &part.entries));
            for (path, before, after) in aligned(old, new) {
                match (before, after) {
                    (Some(before), Some(after)) if (before.id, before.kind) == (after.id, after.kind) => {}
                    (_, Some(after)) => _ = patch.0.insert(path.clone(), Becomes::of(after)),
                    (_, None) => _ = patch.0.insert(path.clone(), Becomes::Gone),
                }
            }
        }
        patch
    }

    /// The tree that it makes of `base`. What it does not touch is shared. A file over the limit of `base` is listed
    /// without its content, as whoever reads a repository does.
    ///
    /// # Errors
    ///
    /// If it is no tree of definitions.
    pub fn applied(&self, base: &Tree) -> Result<Tree, PatchError> {
        let mut tree = base.clone();
        for path in self.0.keys() {
            check(path)?;
            tree.remove(path);
        }
        for (path, becomes) in &self.0 {
            if let Some(entry) = becomes.entry(path, tree.limits.file_bytes)? {
                tree.insert(path.clone(), entry);
            }
        }
        for path in self.0.keys().filter(|path| tree.get(path).is_some()) {
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            if above.any(|folder| tree.get(folder).is_some()) || tree.is_folder(path) {
                return Err(PatchError::UnderFile(shown(path)));
            }
        }
        Ok(tree)
    }
}

/// That a path stays within the folders of definitions, and that Git would take it.
fn check(path: &str) -> Result<(), PatchError> {
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..") && !name.eq_ignore_ascii_case(".git") && !name.contains('\0')
    };
    let fits = path.len() <= MAX_PATH && path.split('/').count() <= MAX_DEPTH;
    let is_one = fits && is_definition_path(path) && path.split('/').all(is_name);
    if is_one { Ok(()) } else { Err(PatchError::Path(shown(path))) }
}

/// As much of a path as an error shows.
fn shown(path: &str) -> String {
    path.chars().take(120).map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(changes: impl IntoIterator<Item = (&'static str, Becomes)>) -> Patch {
        Patch(changes.into_iter().map(|(path, becomes)| (path.into(), becomes)).collect())
    }

    fn file(text: &str) -> Becomes {
        Becomes::File(Content::Text(text.into()))
    }

    fn listed(tree: &Tree) -> Vec<(String, EntryKind, u64, Option<Vec<u8>>)> {
        let entry = |(path, entry): (&Arc<str>, &Entry)| {
            (path.to_string(), entry.kind, entry.size, entry.content.as_deref().map(<[u8]>::to_vec))
        };
        tree.entries().map(entry).collect()
    }

    #[test]
    fn what_could_leave_the_folders_of_definitions_is_refused() {
        let base = Tree::from_files([("services/web/compose.yaml", "a")]);
        let check = |path: &'static str| {
            let error = patch([(path, file("x"))]).applied(&base).map(|_| ());
            assert!(matches!(error, Err(PatchError::Path(_))), "{path}: {error:?}");
            let gone = patch([(path, Becomes::Gone)]).applied(&base).map(|_| ());
            assert!(matches!(gone, Err(PatchError::Path(_))), "{path}: {gone:?}");
        };
        for path in [
            "",
            "/etc/passwd",
            "README.md",
            "services",
            "services/",
            "services/../x",
            "services/./x",
            "services//x",
            "services/web/..",
            "../services/x",
            "services/a/.GIT/config",
            "nodes/a\0b",
        ] {
            check(path);
        }
        let deep: Arc<str> = format!("services/{}x", "a/".repeat(MAX_DEPTH)).into();
        let long: Arc<str> = format!("services/{}", "a".repeat(MAX_PATH)).into();
        for path in [deep, long] {
            let error = Patch([(path, file("x"))].into()).applied(&base).map(|_| ());
            assert!(matches!(&error, Err(PatchError::Path(told)) if told.len() <= 120), "{error:?}");
        }
    }

    #[test]
    fn nothing_lies_under_a_file() {
        let base = Tree::from_files([("services/web/conf", "a"), ("services/db/conf/a", "a")]);
        let check = |changes: Vec<(&'static str, Becomes)>, is_one: bool| {
            let applied = patch(changes.clone()).applied(&base).map(|_| ());
            assert_eq!(applied.is_ok(), is_one, "{changes:?}: {applied:?}");
        };
        check(vec![("services/web/conf/a", file("x"))], false);
        check(vec![("services/web/conf/a", file("x")), ("services/web/conf", Becomes::Gone)], true);
        check(vec![("services/db/conf", file("x"))], false);
        check(vec![("services/db/conf", file("x")), ("services/db/conf/a", Becomes::Gone)], true);
        check(vec![("services/db", Becomes::Link(Content::Text("..".into())))], false);
    }

    #[test]
    fn what_is_too_large_or_no_text_comes_through_as_what_it_is() {
        let limits = super::super::Limits { file_bytes: 3, ..super::super::Limits::default() };
        let base = Tree { limits, ..Tree::default() };
        let changes = [
            ("services/a/binary", Becomes::Executable(Content::Base64("//79".into()))),
            ("services/a/link", Becomes::Link(Content::Text("..".into()))),
            ("services/a/large", file("four")),
            ("services/a/module", Becomes::Submodule),
            ("services/a/unread", Becomes::Unread(1)),
        ];
        let tree = patch(changes).applied(&base).expect("paths of definitions");
        let plain = EntryKind::File { executable: false };
        assert_eq!(
            listed(&tree),
            [
                (
                    "services/a/binary".into(),
                    EntryKind::File { executable: true },
                    3,
                    Some(vec![255, 254, 253])
                ),
                ("services/a/large".into(), plain, 4, None),
                ("services/a/link".into(), EntryKind::Link, 2, Some(b"..".to_vec())),
                ("services/a/module".into(), EntryKind::Submodule, 0, None),
                ("services/a/unread".into(), plain, 4, None),
            ]
        );
        let broken = patch([("services/a/b", Becomes::File(Content::Base64("?".into())))]);
        assert_eq!(broken.applied(&base).map(|_| ()), Err(PatchError::Base64("services/a/b".into())));
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let kinds =
            [EntryKind::File { executable: false }, EntryKind::File { executable: true }, EntryKind::Link];
        let content = proptest::collection::vec(any::<u8>(), 0..4);
        (content, 0..3usize).prop_map(move |(content, kind)| Entry {
            id: BlobId::of(&content),
            kind: kinds[kind],
            size: content.len() as u64,
            content: Some(content.into()),
        })
    }

    fn tree() -> impl Strategy<Value = Tree> {
        const PATHS: [&str; 5] = ["gitops.toml", "nodes/a", "services/a/x", "services/a/y/z", "services/b/x"];
        proptest::collection::vec(proptest::option::of(entry()), PATHS.len()).prop_map(|entries| {
            let files = PATHS.into_iter().zip(entries);
            files.filter_map(|(path, entry)| Some((Arc::from(path), entry?))).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_patch_makes_the_one_tree_of_the_other_also_after_a_journey_as_json(old in tree(), new in tree()) {
            let patch = Patch::between(&old, &new);
            let json = serde_json::to_vec(&patch).expect("JSON");
            let patch: Patch = serde_json::from_slice(&json).expect("as it was written");
            let applied = patch.applied(&old).expect("paths of definitions");
            prop_assert_eq!(listed(&applied), listed(&new));
            prop_assert!(Patch::between(&applied, &new).0.is_empty());
        }
    }
}
