//! A push that is not accepted yet, as Git hands it to a `pre-receive` hook: which branches it moves, and where its
//! objects are.
//!
//! Until the hook agrees, Git keeps the new objects in a folder of their own, the quarantine, and names it in the
//! environment. The references come on standard input, a line each. Whoever may push has chosen their names, and how many
//! there are.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use gitops_core::name::Revision;
use gix::bstr::ByteSlice as _;

use super::objects;

/// Most bytes of references in one push: about 100,000 of them.
pub const MAX_UPDATES: u64 = 16 << 20;

/// A reference as the push would move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Where it stands; `None` where it is new.
    pub old: Option<Revision>,
    /// Where it is to stand; `None` where it is to be deleted.
    pub new: Option<Revision>,
    /// Its full name, such as `refs/heads/main`.
    pub reference: String,
}

impl Update {
    /// The branch, where it is one.
    pub fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix("refs/heads/")
    }
}

/// Standard input that is not what Git gives a hook.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdatesError {
    /// A line that is not `OLD NEW REF`.
    #[error("line {0} is not `OLD NEW REF`, as Git gives it: run this as a `pre-receive` hook")]
    Line(usize),
    /// More than can be looked at.
    #[error("the push has too many references: push fewer at once")]
    TooMany,
}

/// Reads what a `pre-receive` hook gets: lines of `OLD NEW REF`, where zeros stand for nothing.
///
/// # Errors
///
/// Where it is something else, or more than [`MAX_UPDATES`].
pub fn updates(input: &[u8]) -> Result<Vec<Update>, UpdatesError> {
    if input.len() as u64 > MAX_UPDATES {
        return Err(UpdatesError::TooMany);
    }
    let line = |(at, line)| update(line).ok_or(UpdatesError::Line(at + 1));
    input.lines().enumerate().map(line).collect()
}

fn update(line: &[u8]) -> Option<Update> {
    // A name may have bytes that are no text. No branch that is deployed has, so it is only shown.
    let line = line.to_str_lossy();
    let mut parts = line.splitn(3, ' ');
    let (old, new, reference) = (parts.next()?, parts.next()?, parts.next()?);
    (!reference.is_empty()).then_some(())?;
    Some(Update { old: commit(old)?, new: commit(new)?, reference: reference.to_owned() })
}

fn commit(text: &str) -> Option<Option<Revision>> {
    let revision: Revision = text.parse().ok()?;
    Some(Some(revision).filter(|revision| !objects::object_id(revision).is_null()))
}

/// The folders of objects beside the repository's own, from the variables that Git sets: `GIT_OBJECT_DIRECTORY`, which is
/// the quarantine, and the list `GIT_ALTERNATE_OBJECT_DIRECTORIES`.
pub fn object_folders(quarantine: Option<&OsStr>, alternates: Option<&OsStr>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = quarantine.map(PathBuf::from).into_iter().collect();
    let mut rest = alternates.map_or(&[][..], OsStr::as_bytes);
    while !rest.is_empty() {
        let (folder, end) = first_of_list(rest);
        if !folder.is_empty() {
            folders.push(std::ffi::OsString::from_vec(folder).into());
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    folders
}

/// The first entry of a list separated by `:`, and where it ends. One that holds a `:` itself is quoted as in C.
fn first_of_list(list: &[u8]) -> (Vec<u8>, usize) {
    if list.starts_with(b"\"")
        && let Ok((folder, end)) = gix::quote::ansi_c::undo(list.into())
    {
        return (folder.into_owned().into(), end);
    }
    let end = list.find_byte(b':').unwrap_or(list.len());
    (list[..end].to_vec(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_git_are_read() {
        let (zeros, ones, twos) = ("0".repeat(40), "1".repeat(40), "2".repeat(64));
        let input = format!(
            "{zeros} {ones} refs/heads/main\n{ones} {zeros} refs/tags/a b\n{twos} {} refs/x\n",
            "0".repeat(64)
        );
        let revision = |text: &str| Some(text.parse().unwrap());
        let update = |old, new, reference: &str| Update { old, new, reference: reference.into() };
        assert_eq!(
            updates(input.as_bytes()),
            Ok(vec![
                update(None, revision(&ones), "refs/heads/main"),
                update(revision(&ones), None, "refs/tags/a b"),
                update(revision(&twos), None, "refs/x"),
            ])
        );
        assert_eq!(updates(b""), Ok(vec![]));
        let branches =
            [("refs/heads/main", Some("main")), ("refs/heads/a/b", Some("a/b")), ("refs/tags/main", None)];
        for (reference, branch) in branches {
            assert_eq!(update(None, None, reference).branch(), branch);
        }
    }

    #[test]
    fn what_git_does_not_write_is_refused() {
        let one = "1".repeat(40);
        let good = format!("{one} {one} refs/heads/main\n");
        for (bad, line) in [
            ("\n".to_owned(), 1),
            (format!("{good}main"), 2),
            (format!("{one} {one}"), 1),
            (format!("{one} {one} "), 1),
            (format!("{one} HEAD refs/heads/main"), 1),
            (format!("{} {one} refs/heads/main", "1".repeat(41)), 1),
            (format!("{good}{good}\0\u{1b}[31m"), 3),
        ] {
            assert_eq!(updates(bad.as_bytes()), Err(UpdatesError::Line(line)), "{bad:?}");
        }
        assert_eq!(updates(&vec![b'x'; MAX_UPDATES as usize + 1]), Err(UpdatesError::TooMany));
    }

    #[test]
    fn a_name_that_is_no_text_is_no_reason_to_fail() {
        let mut input = format!("{0} {0} refs/heads/", "1".repeat(40)).into_bytes();
        input.push(0xff);
        assert_eq!(updates(&input).unwrap()[0].branch(), Some("\u{fffd}"));
    }

    #[test]
    fn folders_of_objects_are_listed_as_git_writes_them() {
        let check = |quarantine: Option<&str>, alternates: Option<&str>, expected: &[&str]| {
            let folders = object_folders(quarantine.map(OsStr::new), alternates.map(OsStr::new));
            assert_eq!(folders, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{alternates:?}");
        };
        check(None, None, &[]);
        check(Some("./objects/incoming"), None, &["./objects/incoming"]);
        check(Some("/q"), Some("/a:/b c"), &["/q", "/a", "/b c"]);
        check(None, Some(r#"::"/a:\"b":/c:"#), &["/a:\"b", "/c"]);
        check(None, Some("\"never ended:/c"), &["\"never ended", "/c"]);
    }
}
