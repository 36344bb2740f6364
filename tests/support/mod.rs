//! What the tests of whole programs share: a folder of their own, and programs that see nothing of the user who runs
//! the tests: no settings, no git identity, no colours, no clock zone.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of it")]
#![allow(clippy::disallowed_methods, reason = "tests of whole programs start programs")]

pub mod script;
pub mod session;
pub mod sshd;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that is gone when it is dropped, and programs that run as if nothing else were there.
pub struct Sandbox {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir(folder.path().join("home")).expect("a folder can be made");
        Self { folder, variables: Vec::new() }
    }

    /// Gives every program that runs in it from now on a variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// A path in it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, relative: impl AsRef<Path>, content: &str) {
        write(&self.path(relative), content);
    }

    /// A program that runs in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.folder.path());
        command.env("PATH", path_with_programs()).env("HOME", self.path("home"));
        command.envs([("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("COLUMNS", "100")]);
        command.envs([
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ]);
        // A commit's id covers all of these, so they are fixed.
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Robin")
                .env(format!("GIT_{role}_EMAIL"), "robin@example.org");
            command.env(format!("GIT_{role}_DATE"), "2026-01-02T03:04:05Z");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs git in a folder of it, and returns what it printed.
    pub fn git(&self, folder: impl AsRef<Path>, arguments: &[&str]) -> String {
        let mut command = self.command("git");
        succeed(
            command.current_dir(self.path(folder)).args(["-c", "init.defaultBranch=main"]).args(arguments),
        )
    }
}

/// The folder of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test; a program of another member of the workspace lies beside it.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_gitops")).with_file_name(name);
    assert!(path.exists(), "{} is missing: `cargo build --workspace` makes it", path.display());
    path
}

/// Writes a file, with the folders above it.
pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("folders can be made");
    fs::write(path, content).expect("files can be written");
}

/// Copies a folder with all that is in it, modes included.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folders can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("files can be copied");
        }
    }
}

/// Runs a program to its end, and returns what it printed. It must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that a program printed.
pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn path_with_programs() -> String {
    let programs = program("gitops");
    let folder = programs.parent().expect("a program is in a folder");
    format!("{}:{}:/usr/sbin:/sbin", folder.display(), std::env::var("PATH").unwrap_or_default())
}
