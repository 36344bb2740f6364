//! Both sides of a pull request, read from the clone, and what is thought of them.

use std::collections::BTreeSet;

use gitops_core::definition::{Gate, Saying};
use gitops_core::diagnostic::Diagnostic;
use gitops_core::diff;
use gitops_core::name::Revision;
use gitops_core::reconcile::Definitions;
use gitops_core::review::{Outcome, Unsaid, Verdict, new_findings};

use super::ci::Ci;
use super::{Args, FIRST};
use crate::cli::error::CliError;
use crate::cli::load::{Reader, folder, opened};
use crate::clock;
use crate::forge::Pull;
use crate::git::{GitError, Repository};

/// A pull request, looked at.
pub(super) struct Examined {
    pub(super) verdict: Verdict,
    /// What the definitions are called.
    pub(super) name: String,
    /// Where they are in the repository.
    pub(super) folder: String,
    /// When a comment is made.
    pub(super) comment: Saying,
    pub(super) is_fork: bool,
}

/// Compares the merge base with the commit under review. How that is judged, the branch it goes to says.
pub(super) fn examine(args: &Args, ci: &Ci, pull: Option<&Pull>) -> Result<Examined, CliError> {
    let dir = opened(&args.path)?;
    let repository = Repository::discover(&dir).map_err(unread)?;
    let head = head(&repository, args, ci, pull)?;
    let tip = tip(&repository, args, ci, pull)?;
    let start = repository.merge_base(&tip, &head).map_err(unread)?;
    let start = start.ok_or_else(|| apart(&tip, &head))?;
    let is_fork = ci.is_fork || pull.is_some_and(|pull| pull.is_fork);

    let mut reader = Reader::default();
    let settings = reader.settings(&dir, &tip)?;
    let old = reader.before(&dir, &start)?;
    let new = reader.examined(&dir, &head)?;
    let mut fail_on: BTreeSet<Gate> = args.fail_on.iter().copied().collect();
    fail_on.extend(settings.iter().flat_map(|settings| &settings.review.fail_on));
    let base = old.map(|_| start);
    let (outcome, warnings) = outcome(old, new, is_fork);
    let before = old.map(|old| old.desired.sensitive.clone()).unwrap_or_default();
    let sensitive = before.and(&new.desired.sensitive);
    Ok(Examined {
        verdict: Verdict::new(head, base, outcome, warnings, &fail_on).hiding(sensitive),
        name: settings
            .as_ref()
            .map_or_else(|| new.catalog.settings.name.clone(), |settings| settings.name.clone()),
        folder: folder(&repository, &dir),
        comment: settings.as_ref().map_or(FIRST, |settings| settings.review.comment),
        is_fork,
    })
}

fn outcome(
    old: Option<&'static Definitions>,
    new: &Definitions,
    is_fork: bool,
) -> (Outcome, Vec<Diagnostic>) {
    if new.has_errors() {
        return (Outcome::Invalid(new.findings.clone()), Vec::new());
    }
    let warnings = new_findings(old.map(|old| &*old.findings).unwrap_or_default(), &new.findings);
    let outcome = match old {
        _ if is_fork => Outcome::Valid(Unsaid::Fork),
        Some(old) if !old.is_whole => Outcome::Valid(Unsaid::BaseInvalid),
        _ => {
            let now = clock::now();
            let nothing = Definitions::nothing(now);
            let old = old.map_or_else(|| nothing.side("nothing"), |old| old.side(old.revision.as_str()));
            let new = new.side(new.revision.as_str());
            Outcome::Compared(Box::new(diff::compare(&old, &new, &diff::Scope::at(now))))
        }
    };
    (outcome, warnings)
}

/// The commit under review.
fn head(repository: &Repository, args: &Args, ci: &Ci, pull: Option<&Pull>) -> Result<Revision, CliError> {
    let spec =
        args.head.clone().or_else(|| ci.head.clone()).or_else(|| pull.map(|pull| pull.head.to_string()));
    let variable = "the variables of the CI";
    let spec = spec.ok_or_else(|| ci.missing("commit", "--head", variable))?;
    repository.resolve(&spec).map_err(unread)
}

/// The newest commit of the branch that it goes to, as the clone has it.
fn tip(repository: &Repository, args: &Args, ci: &Ci, pull: Option<&Pull>) -> Result<Revision, CliError> {
    let known = || {
        let forge = pull.iter().flat_map(|pull| {
            [
                pull.base.as_ref().map(ToString::to_string),
                Some(format!("refs/remotes/origin/{}", pull.base_branch)),
            ]
        });
        ci.bases.iter().cloned().chain(forge.flatten()).collect()
    };
    let specs: Vec<String> = args.base.clone().map_or_else(known, |base| vec![base]);
    let mut last = None;
    for spec in &specs {
        match repository.resolve(spec) {
            Ok(revision) => return Ok(revision),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| ci.missing("branch it goes to", "--base", "the variables of the CI"), unread))
}

fn unread(error: GitError) -> CliError {
    CliError::because("cannot read the commits of the pull request", error).hint(DEEP)
}

fn apart(tip: &Revision, head: &Revision) -> CliError {
    let message = format!("{} and {} have no commit in common in this clone", tip.short(), head.short());
    CliError::new(message).hint(DEEP)
}

/// What a job that has cloned too little must say.
const DEEP: &str = "fetch the whole history of both branches: `fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` in GitLab CI";
