//! Paths that a Compose file names: where they lead, and whether that is inside the service's folder.

use super::Source;
use crate::tree::{Entry, EntryKind, Tree};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// On the host: it stays as it is.
    Host,
    /// In the service's folder, by path from there without `./`; empty for the folder itself.
    Inside(String),
}

/// Why a path cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathFault {
    /// `..` leads out of the service's folder.
    Outside,
    /// `~`: the home of whoever runs Compose.
    Home,
    /// Another repository or registry.
    Remote,
    /// No path at all.
    Empty,
}

impl PathFault {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Outside | Self::Home => "path-outside",
            Self::Remote => "remote-include",
            Self::Empty => "wrong-type",
        }
    }

    pub(super) fn message(self, path: &str) -> String {
        let path: String = path.chars().take(200).collect();
        match self {
            Self::Outside => format!("`{path}` leaves the folder of the service"),
            Self::Home => format!("`{path}` means the home folder of whoever runs Compose"),
            Self::Remote => format!("`{path}` is not a file of this repository"),
            Self::Empty => "the path is empty".to_owned(),
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Outside => {
                "copy the file into the folder of the service: only that folder travels to the node"
            }
            Self::Home => "write the path in full, or put the file into the folder of the service",
            Self::Remote => {
                "copy the file into the folder of the service, so that a commit says all there is"
            }
            Self::Empty => "name a file in the folder of the service",
        }
    }
}

/// Where `path` leads, as seen from `base`, a folder inside the service's folder.
pub(super) fn target(base: &str, path: &str) -> Result<Target, PathFault> {
    match path {
        "" => return Err(PathFault::Empty),
        _ if path.starts_with('/') || is_windows(path) => return Ok(Target::Host),
        _ if path.starts_with('~') => return Err(PathFault::Home),
        _ => {}
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(PathFault::Outside)?;
            }
            _ => parts.push(part),
        }
    }
    Ok(Target::Inside(parts.join("/")))
}

/// Like [`target`] for a Compose file that is included or extended: it must be a file of this repository.
pub(super) fn file_target(base: &str, path: &str) -> Result<String, PathFault> {
    let remote = ["://", "git@", "oci:", "github.com/"].iter().any(|sign| path.contains(sign));
    match target(base, path) {
        _ if remote => Err(PathFault::Remote),
        Ok(Target::Inside(path)) => Ok(path),
        Ok(Target::Host) => Err(PathFault::Outside),
        Err(fault) => Err(fault),
    }
}

/// `C:\…` and `\\…`.
fn is_windows(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with("\\\\") || (bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':')
}

/// The folder that a file is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Why something that is named is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absent {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: String,
}

impl Absent {
    fn new(code: &'static str, message: String, help: &str) -> Self {
        Self { code, message, help: help.to_owned() }
    }
}

impl Source {
    /// The path from the root of the repository.
    pub(super) fn full(&self, path: &str) -> String {
        if path.is_empty() { self.folder.to_string() } else { format!("{}/{path}", self.folder) }
    }

    /// The file at a path inside the service's folder.
    pub(super) fn entry<'t>(&self, tree: &'t Tree, path: &str) -> Result<&'t Entry, Absent> {
        self.no_links(tree, path)?;
        let full = self.full(path);
        match tree.get(&full) {
            Some(entry) => readable(path, entry),
            None if tree.is_folder(&full) => {
                Err(Absent::new("wrong-type", format!("`{path}` is a folder"), "name a file"))
            }
            None => Err(self.not_found(tree, path)),
        }
    }

    /// Neither the path nor a folder on the way may be a link or another repository.
    pub(super) fn no_links(&self, tree: &Tree, path: &str) -> Result<(), Absent> {
        let cuts = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for part in cuts.map(|end| &path[..end]) {
            let kind = tree.get(&self.full(part)).map(|entry| entry.kind);
            refuse_link(part, kind)?;
        }
        Ok(())
    }

    fn not_found(&self, tree: &Tree, path: &str) -> Absent {
        let names: Vec<_> =
            tree.under(&self.folder).map(|(name, _)| &name[self.folder.len() + 1..]).collect();
        let close = crate::yaml::closest(path, names.iter().copied());
        let same_name = || {
            let file = path.rsplit('/').next();
            names.iter().copied().find(|name| name.rsplit('/').next() == file)
        };
        let help = match close.or_else(same_name) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `{}` to the repository", self.full(path)),
        };
        Absent { code: "file-not-found", message: format!("there is no `{path}` in {}", self.folder), help }
    }
}

pub(super) fn readable<'t>(path: &str, entry: &'t Entry) -> Result<&'t Entry, Absent> {
    refuse_link(path, Some(entry.kind))?;
    if entry.content.is_none() {
        let message = format!("`{path}` has {} bytes, which is more than is read", entry.size);
        return Err(Absent::new("file-too-large", message, "put large data into a volume or an image"));
    }
    Ok(entry)
}

fn refuse_link(path: &str, kind: Option<EntryKind>) -> Result<(), Absent> {
    match kind {
        Some(EntryKind::Link) => Err(Absent::new(
            "symbolic-link",
            format!("`{path}` is a symbolic link, and those are never followed"),
            "put the file itself there",
        )),
        Some(EntryKind::Submodule) => Err(Absent::new(
            "submodule",
            format!("`{path}` is a Git submodule, and those are never entered"),
            "copy the files into the folder of the service",
        )),
        Some(EntryKind::File { .. }) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_or_are_refused() {
        let check = |base, path, expected| assert_eq!(target(base, path), expected, "{base} {path}");
        let inside = |path: &str| Ok(Target::Inside(path.to_owned()));
        check("", "./a", inside("a"));
        check("", "a//b/./c", inside("a/b/c"));
        check("", ".", inside(""));
        check("sub", "../a", inside("a"));
        check("sub", "./x/../y", inside("sub/y"));
        check("", "..", Err(PathFault::Outside));
        check("sub", "../../a", Err(PathFault::Outside));
        check("", "a/../../b", Err(PathFault::Outside));
        check("", "~/x", Err(PathFault::Home));
        check("", "", Err(PathFault::Empty));
        check("sub", "/etc/x", Ok(Target::Host));
        check("", "C:\\x", Ok(Target::Host));
    }

    #[test]
    fn compose_files_come_from_the_folder_alone() {
        let check = |path, expected| assert_eq!(file_target("", path), expected, "{path}");
        check("base.yaml", Ok("base.yaml".to_owned()));
        check("https://example.com/c.yaml", Err(PathFault::Remote));
        check("git@example.com:a/b.git", Err(PathFault::Remote));
        check("oci://example.com/x", Err(PathFault::Remote));
        check("/etc/c.yaml", Err(PathFault::Outside));
        check("../c.yaml", Err(PathFault::Outside));
    }
}
