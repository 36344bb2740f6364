//! What can go wrong between us and a Git repository, each with what to do about it.
//!
//! A fetch fails in another program (`ssh`, `git upload-pack`) or on another machine, which say why in prose. Those
//! words are sorted here into the few causes that a person mends in different ways; what is not recognised keeps the
//! words themselves.

use std::path::PathBuf;

use gitops_core::name::Revision;

/// A failure to reach, fetch or read a repository.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The mirror's folder cannot be made, written or replaced.
    #[error(
        "cannot use the mirror {path}: check that the state folder can be written and its disk is not full"
    )]
    MirrorFolder {
        /// The mirror.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The mirror's content cannot be read although the mirror was made by us.
    #[error("the mirror {path} is damaged: it is fetched anew the next time")]
    Damaged {
        /// The mirror.
        path: PathBuf,
        /// What was found.
        source: Box<gix::Error>,
    },
    /// A branch name that Git does not allow.
    #[error("`{branch}` is not a valid branch name: give it as `git branch` shows it, such as `main`")]
    BranchName {
        /// As it was given.
        branch: String,
    },
    /// A branch that is to be made and is there.
    #[error("there is a branch `{branch}` already: name another, or delete it with `git branch -D {branch}`")]
    BranchExists {
        /// The branch.
        branch: String,
    },
    /// Git does not know whose commit it would be.
    #[error(
        "Git does not know who you are: run `git config user.name \"Your Name\"` and \
         `git config user.email you@example.org`"
    )]
    NoAuthor,
    /// A commit that cannot be made.
    #[error("cannot write the branch `{branch}`")]
    Write {
        /// The branch.
        branch: String,
        /// Why.
        source: Box<gix::Error>,
    },
    /// No repository at the address.
    #[error(
        "there is no Git repository at {url}{}: check the address, or make one with `git init --bare`",
        said(detail)
    )]
    NoRepository {
        /// The address.
        url: String,
        /// What the other side said, if anything.
        detail: String,
    },
    /// The account that we run as, or the key or token, may not read it.
    #[error("not allowed to read {url}{}: {}", said(detail), access_help(url))]
    Denied {
        /// The address.
        url: String,
        /// What the other side said.
        detail: String,
    },
    /// A local repository that belongs to another account.
    #[error(
        "{path} belongs to another account, and Git does not trust it: run as its owner, or run \
         `git config --global --add safe.directory {path}` as the account that reads it"
    )]
    Unsafe {
        /// The repository.
        path: String,
    },
    /// The SSH host's key is unknown, or not the one that is known.
    #[error(
        "the host key of {url} could not be verified{}: compare it with the host's own, then add it to the \
         known-hosts file (`ssh-keyscan HOST` prints it)",
        said(detail)
    )]
    HostKey {
        /// The address.
        url: String,
        /// What `ssh` said.
        detail: String,
    },
    /// The host does not answer, its name is unknown or its certificate is not trusted.
    #[error(
        "cannot reach {url}{}: check the address, the network and, for https, the certificate",
        said(detail)
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        detail: String,
    },
    /// A program that a fetch needs is not installed.
    #[error(
        "`{program}` is not installed, and {url} cannot be read without it: install the package `{package}`"
    )]
    ProgramMissing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
        /// The address.
        url: String,
    },
    /// A file named in the settings cannot be used.
    #[error("cannot use {path} as {what}: check the path, its permissions and its content")]
    Setting {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A token for an address that would carry it in the clear.
    #[error(
        "a token is only sent by https, and {url} is not: use the https:// address, or take the token out"
    )]
    TokenInClear {
        /// The address.
        url: String,
    },
    /// The fetch was told to stop.
    #[error("the fetch of {url} was cancelled")]
    Cancelled {
        /// The address.
        url: String,
    },
    /// A fetch that failed for another reason.
    #[error("cannot fetch {url}{}", said(detail))]
    Fetch {
        /// The address.
        url: String,
        /// What the other side said, if anything.
        detail: String,
        /// What we saw.
        source: Box<gix::Error>,
    },
    /// The folder is in no repository.
    #[error("{path} is not in a Git repository: run this inside one, or make one with `git init`")]
    NotInRepository {
        /// The folder.
        path: PathBuf,
    },
    /// A repository without files, where files are wanted.
    #[error("{path} is a bare repository and has no files: name a revision, or run this in a clone of it")]
    Bare {
        /// The repository.
        path: PathBuf,
    },
    /// The repository cannot be opened.
    #[error("cannot open the Git repository at {path}")]
    Open {
        /// The repository.
        path: PathBuf,
        /// Why.
        source: Box<gix::Error>,
    },
    /// More than two revisions.
    #[error("a range has two ends, `BASE..HEAD` or `BASE...HEAD`, and `{end}` is no end of one")]
    NoRange {
        /// What was given as one of the two, cut to 100 characters.
        end: String,
    },
    /// A revision that names no commit.
    #[error("`{spec}` names no commit in this repository: {}", spec_help(*shallow))]
    NoSuchRevision {
        /// As it was given, cut to 100 characters.
        spec: String,
        /// Whether the repository only holds recent history.
        shallow: bool,
    },
    /// Two commits that are to be compared from where they parted, and that never were one.
    #[error("`{one}` and `{two}` have no history in common{}", common_help(*shallow))]
    NoCommonHistory {
        /// The one, as it was given.
        one: String,
        /// The other.
        two: String,
        /// Whether the repository only holds recent history.
        shallow: bool,
    },
    /// Nothing was named to compare with, and no branch is known to be the main one.
    #[error(
        "cannot tell which branch is the main one: {}",
        main_help(*shallow)
    )]
    NoMainBranch {
        /// Whether the repository only holds recent history.
        shallow: bool,
    },
    /// A commit that is not in this repository.
    #[error("commit {} is not in this repository: fetch it first", .0.short())]
    NoSuchCommit(Revision),
    /// The folder of the definitions does not exist at this revision.
    #[error("there is no folder `{folder}` at revision {}: check the folder setting", revision.short())]
    NoSuchFolder {
        /// The folder, from the repository's root.
        folder: String,
        /// The revision.
        revision: Revision,
    },
    /// A tree that would take unbounded time or escape its folder.
    #[error("revision {} cannot be read: {problem}", revision.short())]
    Hostile {
        /// The revision.
        revision: Revision,
        /// What is wrong with it.
        problem: String,
    },
    /// Objects that cannot be read.
    #[error("cannot read revision {}: the repository may be damaged or incomplete; try `git fsck`", revision.short())]
    Read {
        /// The revision.
        revision: Revision,
        /// Why.
        source: Box<gix::Error>,
    },
    /// A file or folder of the work tree that cannot be read.
    #[error("cannot read {path}: check its permissions")]
    WorkTree {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn access_help(url: &str) -> &'static str {
    match url {
        _ if url.starts_with("ssh://") => "add the SSH key to the account, and check the key file setting",
        _ if url.starts_with("http") => {
            "give a token that may read the repository, and check that it has not expired"
        }
        _ => "give the account that runs this read access to the repository",
    }
}

fn common_help(shallow: bool) -> &'static str {
    if shallow {
        " in this clone, which only has recent history: run `git fetch --unshallow` (in CI: fetch depth 0)"
    } else {
        ": name two revisions as `BASE..HEAD`, which are compared as they are"
    }
}

fn main_help(shallow: bool) -> &'static str {
    if shallow {
        "this clone only has what was last pushed; fetch all branches (in CI: fetch depth 0), or name what to compare with"
    } else {
        "name what to compare with, or run `git remote set-head origin --auto`, which asks the remote"
    }
}

fn spec_help(shallow: bool) -> &'static str {
    if shallow {
        "this clone only has recent history; run `git fetch --unshallow` (in CI: fetch depth 0)"
    } else {
        "give a branch, a tag or a commit id, and `git fetch` it first"
    }
}

/// Sorts what a program or a server said about a failed fetch. `words` may be several lines; the detail that is
/// shown is the one that tells most.
pub(super) fn fetch_failure(url: &str, words: &str, source: gix::Error) -> GitError {
    let chain = chain(&source);
    let all = format!("{words}\n{chain}");
    let has = |needles: &[&str]| needles.iter().any(|needle| all.contains(needle));
    let url = url.to_owned();
    let detail = detail(words);
    if has(&["dubious ownership"]) {
        return GitError::Unsafe { path: url };
    }
    if has(&["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"]) {
        return GitError::HostKey { url, detail };
    }
    if has(&["does not appear to be a git repository", "Repository not found", "HTTP status 404"]) {
        return GitError::NoRepository { url, detail };
    }
    if has(&["ermission denied", "HTTP status 401", "HTTP status 403", "No credentials were returned"])
        || has(&["not accepted by the remote", "Access denied"])
    {
        return GitError::Denied { url, detail };
    }
    let network =
        ["Could not resolve hostname", "Connection refused", "Connection timed out", "No route to host"];
    if has(&network)
        || has(&["Connection closed by", "error sending request", "Network is unreachable", "timed out"])
    {
        let detail = if detail.is_empty() { last_line(&chain) } else { detail };
        return GitError::Unreachable { url, detail };
    }
    GitError::Fetch { url, detail, source: Box::new(source) }
}

fn chain(error: &gix::Error) -> String {
    error.iter_errors().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The line of a program's complaint that tells most: its first `fatal:` or `ERROR:`, else its last line; cut to 200
/// characters and without control characters, since another machine wrote it.
fn detail(words: &str) -> String {
    let telling = |line: &&str| line.starts_with("fatal:") || line.starts_with("ERROR:");
    let line = words.lines().find(telling).map_or_else(|| last_line(words), str::to_owned);
    line.chars().filter(|char| !char.is_control()).take(200).collect()
}

fn last_line(words: &str) -> String {
    words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(words: &str) -> &'static str {
        match fetch_failure("ssh://host/estate", words, gix::error::validation("broken pipe").into()) {
            GitError::Unsafe { .. } => "unsafe",
            GitError::HostKey { .. } => "host key",
            GitError::NoRepository { .. } => "no repository",
            GitError::Denied { .. } => "denied",
            GitError::Unreachable { .. } => "unreachable",
            GitError::Fetch { .. } => "other",
            other => panic!("not a fetch failure: {other}"),
        }
    }

    #[test]
    fn what_programs_say_is_sorted_by_what_to_do_about_it() {
        for (words, expected) in [
            ("fatal: detected dubious ownership in repository at '/srv/x'", "unsafe"),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
                "host key",
            ),
            ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "host key"),
            ("fatal: '/srv/x' does not appear to be a git repository", "no repository"),
            ("ERROR: Repository not found.", "no repository"),
            ("git@h: Permission denied (publickey).", "denied"),
            ("ssh: Could not resolve hostname nowhere: Name or service not known", "unreachable"),
            ("ssh: connect to host h port 22: Connection refused", "unreachable"),
            ("something new", "other"),
            ("", "other"),
        ] {
            assert_eq!(kind(words), expected, "{words}");
        }
    }

    #[test]
    fn the_telling_line_is_shown_without_control_characters() {
        assert_eq!(detail("warning: x\nfatal: no\x1b[31m\nhint: y"), "fatal: no[31m");
        assert_eq!(detail("one\ntwo \n\n"), "two");
        assert_eq!(detail(&"x".repeat(500)).len(), 200);
    }
}
