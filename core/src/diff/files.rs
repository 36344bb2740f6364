//! What becomes of the files that a service mounts or reads: as unified diffs, without the secrets in them.
//!
//! Lines are compared as they are and shown redacted, so that two secrets that differ show as a change of a line that
//! reads the same. Whole files are hidden where their name or use says that they are secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use similar::{Algorithm, ChangeTag, DiffOp, capture_diff_slices, group_diff_ops};

use super::document::{FileChange, FileChangeKind};
use super::fields::bounded;
use super::state::{Opened, secrets};
use crate::align::aligned;
use crate::compose::File;
use crate::plan::FileRef;
use crate::sensitive::Sensitive;

/// Larger files are not read for their lines: comparing costs time that grows faster than they do.
const MAX_BYTES: u64 = 256 << 10;
/// More lines than anybody reviews; the rest is counted.
const MAX_LINES: usize = 400;
/// More lines between the first and the last that differ are not compared: that costs the square of their number.
const MAX_BETWEEN: usize = 6_000;
/// Longer lines are cut.
const MAX_WIDTH: usize = 400;
/// Lines around those that differ.
const CONTEXT: usize = 3;

/// Where the files are that rendering makes of variables.
pub(super) const MADE: &str = ".gitops/";

/// The files that differ between two instances.
pub(super) fn changed(old: Option<&Opened<'_>>, new: &Opened<'_>, sensitive: &Sensitive) -> Vec<FileChange> {
    let nothing = BTreeMap::new();
    let before = old.map_or(&nothing, |old| &old.ensure.files);
    // To learn what is secret costs reading the models.
    if *before == new.ensure.files {
        return Vec::new();
    }
    let sensitive = secrets(sensitive, [old, Some(new)]);
    let secret = Secret::of([old, Some(new)], &sensitive);
    let differing = aligned(before, &new.ensure.files).filter(|(_, old, new)| old != new);
    differing
        .map(|(path, before, after)| {
            let side = |stand: Option<&Opened<'_>>, reference: Option<&FileRef>| Side {
                reference: reference.copied(),
                content: stand.and_then(|stand| content(stand, path)),
            };
            change(path, new, &secret, [side(old, before), side(Some(new), after)])
        })
        .collect()
}

/// One side of a file: what a plan says of it, and what is in it, if that is known.
struct Side {
    reference: Option<FileRef>,
    content: Option<Arc<[u8]>>,
}

fn content(stand: &Opened<'_>, path: &Arc<str>) -> Option<Arc<[u8]>> {
    let file: &File = stand.instance?.rendered.files.get(path)?;
    Some(file.content.clone())
}

/// What of an instance's files must not be shown.
struct Secret<'a> {
    sensitive: &'a Sensitive,
    /// Those that are given to containers as secrets.
    given: BTreeSet<Arc<str>>,
}

/// The files that an instance gives to its containers as secrets.
pub(super) fn given_as_secrets(opened: &Opened<'_>) -> BTreeSet<Arc<str>> {
    let secrets = opened.model().get("secrets").and_then(|secrets| secrets.as_object()).into_iter().flatten();
    let files = secrets.filter_map(|(_, secret)| secret.get("file")?.as_str());
    files.map(|path| path.strip_prefix("./").unwrap_or(path).into()).collect()
}

impl<'a> Secret<'a> {
    /// What was a secret is one, however it is used now.
    fn of(stands: [Option<&Opened<'_>>; 2], sensitive: &'a Sensitive) -> Self {
        let given = stands.into_iter().flatten().flat_map(given_as_secrets).collect();
        Self { sensitive, given }
    }

    fn hides(&self, path: &str, contents: [&str; 2]) -> Option<&'static str> {
        if self.given.contains(path) {
            return Some("it is a secret of the Compose file");
        }
        contents.into_iter().find_map(|content| self.sensitive.hides_file(path, content))
    }
}

fn change(path: &Arc<str>, stand: &Opened<'_>, secret: &Secret<'_>, sides: [Side; 2]) -> FileChange {
    let [old, new] = sides.each_ref().map(|side| side.reference);
    let kind = match (old, new) {
        (None, _) => FileChangeKind::Added,
        (_, None) => FileChangeKind::Removed,
        (Some(old), Some(new)) if old.digest == new.digest => FileChangeKind::Mode,
        _ => FileChangeKind::Changed,
    };
    let folder = stand.instance.map_or_else(
        || format!("services/{}", stand.ensure.service),
        |instance| instance.entry.folder().to_owned(),
    );
    let is_secret = secret.given.contains(path);
    let (lines, hidden) = match kind {
        FileChangeKind::Mode => (None, None),
        _ => lines(path, secret, &sides),
    };
    // One that is made from a variable is in no folder.
    let source = match stand.instance.filter(|_| path.starts_with(MADE)) {
        Some(instance) => instance.entry.path().clone(),
        None => format!("{folder}/{path}").into(),
    };
    FileChange {
        path: path.clone(),
        source,
        kind,
        executable: old
            .zip(new)
            .filter(|(old, new)| old.executable != new.executable)
            .map(|(_, new)| new.executable),
        old_size: old.map(|file| file.size).filter(|_| !is_secret),
        new_size: new.map(|file| file.size).filter(|_| !is_secret),
        lines,
        hidden,
    }
}

/// The lines that differ, and why they are not all shown.
fn lines(path: &str, secret: &Secret<'_>, sides: &[Side; 2]) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let hidden = |why: &str| (None, Some(why.into()));
    let is_large = |side: &Side| side.reference.is_some_and(|file| file.size > MAX_BYTES);
    if sides.iter().any(is_large) {
        return hidden("it is larger than 256 KiB");
    }
    if sides.iter().any(|side| side.reference.is_some() && side.content.is_none()) {
        return hidden("what was in it is not known here");
    }
    let text = |side: &'_ Side| String::from_utf8(side.content.as_deref().unwrap_or_default().to_vec()).ok();
    let [old, new] = sides.each_ref().map(text);
    let Some((old, new)) = old.zip(new).filter(|(old, new)| !old.contains('\0') && !new.contains('\0'))
    else {
        return hidden("it is no text");
    };
    match secret.hides(path, [&old, &new]) {
        Some(why) => hidden(why),
        None => unified(&old, &new, secret.sensitive),
    }
}

fn unified(old: &str, new: &str, sensitive: &Sensitive) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let [before, after]: [Vec<&str>; 2] = [old, new].map(|text| text.lines().collect());
    if between(&before, &after) > MAX_BETWEEN {
        return (None, Some("too many lines differ".into()));
    }
    let [shown_before, shown_after] = [old, new].map(|text| sensitive.lines(text));
    let ops = capture_diff_slices(Algorithm::Myers, &before, &after);
    let mut lines = Vec::new();
    for hunk in group_diff_ops(ops, CONTEXT) {
        lines.push(head(&hunk));
        for op in &hunk {
            lines.extend(op.iter_changes(&shown_before, &shown_after).map(|change| {
                let sign = match change.tag() {
                    ChangeTag::Equal => ' ',
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                };
                format!("{sign}{}", bounded(change.value().chars(), MAX_WIDTH))
            }));
        }
    }
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    let hidden = (more > 0).then(|| format!("{more} more lines differ or stand beside them").into());
    (
        Some(lines.join("\n").into()),
        hidden.or_else(|| only_endings(before == after && old != new && !old.is_empty() && !new.is_empty())),
    )
}

/// How many lines of both there are between the first and the last that differ.
fn between(old: &[&str], new: &[&str]) -> usize {
    let same = |(old, new): &(&&str, &&str)| old == new;
    let start = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    old.len() + new.len() - 2 * end
}

fn only_endings(is_same: bool) -> Option<Arc<str>> {
    is_same.then(|| "only the ends of its lines differ".into())
}

/// `@@ -1,4 +1,5 @@`
fn head(hunk: &[DiffOp]) -> String {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return String::new() };
    // As in every unified diff: the first line from 1, and the line before where there are none.
    let range = |start: usize, end: usize| match end - start {
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    };
    let (old, new) =
        (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
    format!("@@ -{} +{} @@", range(old.start, old.end), range(new.start, new.end))
}
