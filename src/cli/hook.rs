//! `gitops hook`: what Git runs by itself.
//!
//! `pre-receive` is run in the repository that is pushed to, before anything in it has moved. It shows whoever pushes what
//! the push does, and refuses a push after which the definitions could not be deployed. It reads; nothing is written.
//! Whatever it cannot make out is refused, for a commit that gets past it is deployed.

use std::collections::BTreeSet;
use std::io::{Read as _, stdin};
use std::path::Path;
use std::sync::Arc;

use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff::{Diff, Gate, Scope as Whole, compare};
use gitops_core::name::Revision;
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::render::{self, count, diagnostics};
use gitops_core::review::{Outcome, Verdict};
use jiff::Timestamp;

use super::diff::{gate, stopped};
use super::error::{CliError, Exit};
use super::output::print;
use crate::clock;
use crate::config::layer::process_env;
use crate::git::{
    GitError, MAX_UPDATES, Repository, Scope, Side, TreeCache, Update, object_folders, updates,
};

/// So many columns are left of 80 behind the `remote: ` that Git writes before each line.
const WIDTH: usize = 72;

/// So many lines of a diff are shown. A push that changes more is looked at elsewhere.
const MAX_LINES: usize = 400;

/// So many other branches of one push are checked: each takes as long as `gitops validate`.
const MAX_BRANCHES: usize = 100;

/// Check a push before it is accepted, as a hook of the repository that is pushed to
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, as `hooks/pre-receive` of the repository that is pushed to:\n  \
                        #!/bin/sh\n  exec gitops hook pre-receive\n\n\
                        Tried by hand, for the last commit of a clone:\n  \
                        $ gitops hook pre-receive <<< \"$(git rev-parse HEAD~ HEAD | xargs) refs/heads/main\"")]
pub(super) struct Args {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, clap::Subcommand)]
enum Hook {
    PreReceive(PreReceive),
}

/// Show whoever pushes what the push changes, and refuse it where the definitions have mistakes
#[derive(Debug, clap::Args)]
#[command(after_help = "Git runs it, as `hooks/pre-receive` of the repository that is pushed to:\n  \
                        #!/bin/sh\n  exec gitops hook pre-receive --fail-on remove\n\n\
                        It ends with 1, and the push is refused as a whole, if\n  \
                        - the branch that is deployed would have mistakes, or be deleted, or lose commits;\n  \
                        - `--fail-on` names something that the push does.")]
struct PreReceive {
    /// The branch that is deployed [default: the one that the repository's HEAD names]
    #[arg(long)]
    branch: Option<String>,
    /// Folder of the repository that holds the definitions [default: its root]
    #[arg(long, default_value = "", hide_default_value = true)]
    folder: String,
    /// Refuse mistakes on every other branch too
    #[arg(long)]
    all_branches: bool,
    /// Let a push take commits back from the branch that is deployed
    #[arg(long)]
    allow_rewind: bool,
    /// Refuse a push that does one of these
    #[arg(long, value_parser = gate(), value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<Gate>,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let Hook::PreReceive(args) = &args.hook;
    let failed = |error| CliError::because("cannot read the repository that is pushed to", error);
    let updates = read_updates()?;
    let [quarantine, alternates] =
        ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"].map(process_env);
    let folders = object_folders(quarantine.as_deref(), alternates.as_deref());
    // Git runs it there, also where that is the `.git` of a repository with files, which only a full path shows.
    let here = Path::new(".").canonicalize();
    let here = here.map_err(|error| CliError::because("cannot tell where this is run", error))?;
    let repository = Repository::discover(&here).map_err(failed)?.with_incoming(folders);
    let branch = match &args.branch {
        Some(branch) => branch.clone(),
        None => repository.head_branch().map_err(failed)?.ok_or_else(no_branch)?,
    };
    let scope = Scope { folder: args.folder.clone(), ..Scope::default() };
    let mut push = Push { args, branch, repository, scope, cache: TreeCache::default(), now: clock::now() };
    push.check(&updates)?;
    Ok(Exit::Done)
}

fn read_updates() -> Result<Vec<Update>, CliError> {
    let failed = "cannot read what is pushed from standard input";
    let mut input = Vec::new();
    let read = stdin().lock().take(MAX_UPDATES + 1).read_to_end(&mut input);
    read.map_err(|error| CliError::because(failed, error))?;
    updates(&input).map_err(|error| CliError::because(failed, error))
}

fn no_branch() -> CliError {
    CliError::new("cannot tell which branch is deployed: the repository's HEAD names none")
        .hint("name it in the hook: `gitops hook pre-receive --branch main`")
}

/// A push, and what it is checked against.
struct Push<'a> {
    args: &'a PreReceive,
    /// The branch that is deployed.
    branch: String,
    repository: Repository,
    scope: Scope,
    cache: TreeCache,
    now: Timestamp,
}

impl Push<'_> {
    fn check(&mut self, updates: &[Update]) -> Result<(), CliError> {
        let of_branches = updates.iter().filter_map(|update| Some((update.branch()?, update)));
        let (deployed, others): (Vec<_>, Vec<_>) = of_branches.partition(|(name, _)| *name == self.branch);
        for (_, update) in deployed {
            self.deployed(update)?;
        }
        if self.args.all_branches {
            self.others(&others)?;
        }
        Ok(())
    }

    /// The branch that is deployed: what it changes is shown.
    fn deployed(&mut self, update: &Update) -> Result<(), CliError> {
        let new = update.new.as_ref().ok_or_else(|| self.deletion())?;
        self.refuse_rewind(update.old.as_ref(), new)?;
        let branch = self.branch.clone();
        let before = self.before(update.old.as_ref());
        let after = self.valid(&branch, new, before.as_ref())?;
        let (base, head) = (called(update.old.as_ref(), &branch), called(Some(new), "this push"));
        match before {
            Some(before) => self.show(&compare(&before.side(base), &after.side(head), &Whole::at(self.now))),
            None => print(&format!("What changes is not shown: {base} has mistakes, or cannot be read.\n")),
        }
    }

    fn deletion(&self) -> CliError {
        let branch = &self.branch;
        CliError::new(format!("`{branch}` is what is deployed, and cannot be deleted"))
            .hint("let the repository's HEAD, or `--branch` in the hook, name another branch first")
    }

    /// A push that does not go on from what is deployed would take back what others pushed, which is seldom meant.
    fn refuse_rewind(&self, old: Option<&Revision>, new: &Revision) -> Result<(), CliError> {
        let Some(old) = old.filter(|_| !self.args.allow_rewind) else { return Ok(()) };
        let branch = &self.branch;
        if self.repository.is_ancestor(old, new).map_err(|error| self.unreadable(error))? {
            return Ok(());
        }
        let (old, new) = (old.short(), new.short());
        let message = format!(
            "`{branch}` is what is deployed, and would lose commits: {new} does not go on from {old}"
        );
        Err(CliError::new(message).hint(
            "take in what others pushed with `git pull --rebase` and push again; to undo a commit, `git revert` it",
        ))
    }

    /// What was, where it can be told. It is there already, so no mistake in it keeps anyone from mending it.
    fn before(&mut self, old: Option<&Revision>) -> Option<Definitions> {
        let Some(old) = old else { return Some(Definitions::nothing(self.now)) };
        self.definitions(old, None).ok().filter(|definitions| definitions.is_whole)
    }

    /// The definitions at `revision`, without mistakes. All of them are shown where there are any.
    fn valid(
        &mut self,
        branch: &str,
        revision: &Revision,
        old: Option<&Definitions>,
    ) -> Result<Definitions, CliError> {
        let definitions = self.definitions(revision, old).map_err(|error| self.unreadable(error))?;
        if !definitions.has_errors() {
            return Ok(definitions);
        }
        let number = definitions.findings.iter().filter(|finding| finding.is_error()).count();
        anstream::eprint!("{}", diagnostics::text(&discreet(definitions), diagnostics::Form::Pictures));
        let (mistakes, revision) = (count(number, "mistake"), revision.short());
        Err(CliError::new(format!("`{branch}` stays as it is: {revision} has {mistakes}"))
            .hint("mend them and push again; `gitops validate` shows them before a push"))
    }

    fn definitions(
        &mut self,
        revision: &Revision,
        old: Option<&Definitions>,
    ) -> Result<Definitions, GitError> {
        let tree = Arc::new(self.repository.tree(revision, &self.scope, &mut self.cache)?);
        let previous = old.filter(|old| !old.has_errors());
        Ok(Definitions::examine(revision.clone(), &tree, &Known { previous, holders: None, now: self.now }))
    }

    /// What is refused does not depend on whether anyone reads what is shown.
    fn show(&self, diff: &Diff) -> Result<(), CliError> {
        print(&cut(&render::diff::text(diff, Some(WIDTH)), MAX_LINES))?;
        stopped(diff, &self.args.fail_on)
    }

    fn others(&mut self, others: &[(&str, &Update)]) -> Result<(), CliError> {
        if others.len() > MAX_BRANCHES {
            let message =
                format!("the push moves {} branches, and {MAX_BRANCHES} are checked at most", others.len());
            return Err(CliError::new(message).hint("push fewer of them at once"));
        }
        for (branch, update) in others {
            if let Some(new) = &update.new {
                self.valid(branch, new, None)?;
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: GitError) -> CliError {
        CliError::because("cannot read what is pushed", error)
    }
}

/// What is wrong, without the lines that look like they set a secret.
fn discreet(definitions: Definitions) -> Vec<Diagnostic> {
    let Definitions { revision, desired, findings, .. } = definitions;
    let verdict = Verdict::new(revision, None, Outcome::Invalid(findings), Vec::new(), &BTreeSet::new());
    verdict.hiding((*desired.sensitive).clone()).findings()
}

/// What one side is called in what is shown.
fn called(revision: Option<&Revision>, name: &str) -> String {
    let commit = |revision: &Revision| Side::Commit { revision: revision.clone(), name: name.to_owned() };
    revision.map_or(Side::Nothing, commit).to_string()
}

/// The first lines of a text, with a line that says how many are left out.
fn cut(text: &str, lines: usize) -> String {
    let rest = text.lines().count().saturating_sub(lines);
    if rest == 0 {
        return text.to_owned();
    }
    let shown: String = text.split_inclusive('\n').take(lines).collect();
    format!("{shown}… and {} more; `gitops diff` shows them all before a push\n", count(rest, "line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_with_a_word_about_it() {
        let check = |text, expected: &str| assert_eq!(cut(text, 2), expected);
        check("", "");
        check("a\nb\n", "a\nb\n");
        check("a\nb\nc\n", "a\nb\n… and 1 line more; `gitops diff` shows them all before a push\n");
    }
}
