//! Real repositories for tests, made by the real `git` without the configuration of whoever runs them.

#![expect(clippy::disallowed_methods, reason = "tests start `git`, and look for other programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use gitops_core::name::Revision;

/// A work tree with a bare repository that it pushes to.
pub(crate) struct Origin {
    folder: tempfile::TempDir,
}

/// `git` with these arguments, in this folder, hermetic.
pub(crate) fn git_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"),
    ] {
        command.env(name, value);
    }
    command
}

/// Runs `git`, and gives what it printed.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = git_command(folder, arguments).output().expect("git is installed: apt-get install git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether whoever runs the tests told Git to trust everyone's repositories, as build machines often do.
pub(crate) fn trusts_every_folder() -> bool {
    let output = Command::new("git").args(["config", "--get-all", "safe.directory"]).output().unwrap();
    output.stdout.contains(&b'*')
}

impl Origin {
    /// An empty work tree on branch `main`, and an empty bare repository.
    pub(crate) fn new() -> Self {
        Self::with_format("sha1")
    }

    pub(crate) fn with_format(format: &str) -> Self {
        let origin = Self { folder: tempfile::tempdir().unwrap() };
        let format = format!("--object-format={format}");
        git(origin.folder.path(), &["init", "--quiet", "--bare", "-b", "main", &format, "estate.git"]);
        git(origin.folder.path(), &["init", "--quiet", "-b", "main", &format, "work"]);
        git(&origin.work(), &["remote", "add", "origin", "../estate.git"]);
        origin
    }

    /// The folder of everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.path().join("estate.git")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.work(), arguments)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits everything in the work tree.
    pub(crate) fn commit(&self, message: &str) -> Revision {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.head()
    }

    pub(crate) fn head(&self) -> Revision {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub(crate) fn push(&self) {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    }

    /// Writes one file, commits and pushes.
    pub(crate) fn push_file(&self, path: &str, content: impl AsRef<[u8]>) -> Revision {
        self.write(path, content);
        let revision = self.commit(path);
        self.push();
        revision
    }
}
