//! Definitions for commands that work on a repository: from a revision, or from the files as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::definition::Settings;
use gitops_core::diagnostic::Diagnostic;
use gitops_core::holders::Holders;
use gitops_core::name::Revision;
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::render::count;
use gitops_core::tree::{BlobId, Entry, Limits, Tree};

use super::error::CliError;
use crate::clock;
use crate::git::{GitError, Repository, Scope, Side, TreeCache, worktree};

/// Without it, a folder has no definitions.
pub(super) const SETTINGS: &str = "gitops.toml";

/// Reads definitions. What two of them have in common is read once.
#[derive(Default)]
pub(super) struct Reader {
    cache: TreeCache,
    last: Option<&'static Definitions>,
}

impl Reader {
    /// The definitions in `dir`, at `revision` or as the files are. The inner error holds all their mistakes.
    pub(super) fn definitions(
        &mut self,
        dir: &Path,
        revision: Option<&str>,
    ) -> Result<Result<&'static Definitions, Vec<Diagnostic>>, CliError> {
        Ok(accepted(self.read(dir, revision)?))
    }

    /// The same for what was: that it would not be allowed today, because a grant has ended since or a rule is new, makes no
    /// difference to what changes.
    pub(super) fn past_definitions(
        &mut self,
        dir: &Path,
        revision: Option<&str>,
    ) -> Result<Result<&'static Definitions, Vec<Diagnostic>>, CliError> {
        let examined = self.read(dir, revision)?;
        Ok(if examined.is_whole { Ok(examined) } else { Err(examined.findings.clone()) })
    }

    /// The definitions of one side of a comparison.
    pub(super) fn side(
        &mut self,
        dir: &Path,
        side: &Side,
    ) -> Result<Result<&'static Definitions, Vec<Diagnostic>>, CliError> {
        match side {
            Side::Nothing => Ok(Ok(Box::leak(Box::new(Definitions::nothing(clock::now()))))),
            Side::WorkTree => self.definitions(dir, None),
            Side::Commit { revision, .. } => self.definitions(dir, Some(revision.as_str())),
        }
    }

    /// The same for what was: see [`Self::past_definitions`].
    pub(super) fn past_side(
        &mut self,
        dir: &Path,
        side: &Side,
    ) -> Result<Result<&'static Definitions, Vec<Diagnostic>>, CliError> {
        match side.revision() {
            Some(revision) => self.past_definitions(dir, Some(revision.as_str())),
            None => self.side(dir, side),
        }
    }

    fn read(&mut self, dir: &Path, revision: Option<&str>) -> Result<&'static Definitions, CliError> {
        let (revision, tree) = tree(dir, revision, &mut self.cache)?;
        Ok(self.load(revision, tree))
    }

    /// The definitions in `dir` at `revision` as far as they can be read, with all their mistakes.
    pub(super) fn examined(
        &mut self,
        dir: &Path,
        revision: &Revision,
    ) -> Result<&'static Definitions, CliError> {
        self.read(dir, Some(revision.as_str()))
    }

    /// The same for what was; none where there were none yet.
    pub(super) fn before(
        &mut self,
        dir: &Path,
        revision: &Revision,
    ) -> Result<Option<&'static Definitions>, CliError> {
        let tree = self.past_tree(dir, revision)?;
        Ok(tree.map(|tree| self.load(revision.clone(), tree)))
    }

    /// The settings that were in `dir`; none where there were none. That they cannot be read is said on standard error.
    pub(super) fn settings(&mut self, dir: &Path, revision: &Revision) -> Result<Option<Settings>, CliError> {
        let tree = self.past_tree(dir, revision)?;
        let content = tree.as_ref().and_then(|tree| tree.get(SETTINGS)?.content.clone());
        let settings = content.map(|content| Settings::parse(&SETTINGS.into(), &content));
        if matches!(settings, Some(Err(_))) {
            let at = revision.short();
            anstream::eprintln!("note: {SETTINGS} has mistakes at {at}, so it is not known what it asks");
        }
        Ok(settings.and_then(Result::ok))
    }

    fn past_tree(&mut self, dir: &Path, revision: &Revision) -> Result<Option<Tree>, CliError> {
        let path = opened(dir)?;
        match committed(&path, revision.as_str(), &mut self.cache) {
            Ok((_, tree)) => Ok(Some(tree).filter(|tree| tree.get(SETTINGS).is_some())),
            Err(GitError::NoSuchFolder { .. }) => Ok(None),
            Err(error) => Err(unread(dir, error)),
        }
    }

    /// The definitions of the last that were read with one file changed, as no commit has them yet.
    pub(super) fn changed(
        &mut self,
        before: &Definitions,
        path: &Arc<str>,
        content: &str,
    ) -> Result<&'static Definitions, Vec<Diagnostic>> {
        let mut tree = (*before.catalog.tree).clone();
        let old = tree.get(path).cloned().unwrap_or_default();
        let (id, size, bytes) = (BlobId::of(content.as_bytes()), content.len() as u64, content.as_bytes());
        tree.insert(path.clone(), Entry { id, size, content: Some(bytes.into()), ..old });
        accepted(self.load(Revision::uncommitted(), tree))
    }

    fn load(&mut self, revision: Revision, tree: Tree) -> &'static Definitions {
        let examined = examine(revision, tree, self.last, None);
        if !examined.has_errors() {
            self.last = Some(examined);
        }
        examined
    }
}

fn accepted(examined: &'static Definitions) -> Result<&'static Definitions, Vec<Diagnostic>> {
    if examined.has_errors() { Err(examined.findings.clone()) } else { Ok(examined) }
}

/// The definitions in `dir`, at `revision` or as the files are, as far as they can be read, with all their mistakes: for
/// commands that explain them.
pub(super) fn examined(
    dir: &Path,
    revision: Option<&str>,
    holders: Option<&Holders>,
) -> Result<&'static Definitions, CliError> {
    let (revision, tree) = tree(dir, revision, &mut TreeCache::default())?;
    Ok(examine(revision, tree, None, holders))
}

/// They stay until the process ends: to give back the memory of a large repository piece by piece would keep people
/// waiting after the last line.
fn examine(
    revision: Revision,
    tree: Tree,
    previous: Option<&Definitions>,
    holders: Option<&Holders>,
) -> &'static Definitions {
    let known = Known { previous, holders, now: clock::now() };
    Box::leak(Box::new(Definitions::examine(revision, &Arc::new(tree), &known)))
}

/// Says on standard error that what was examined has mistakes, which may be why it is as it is.
pub(super) fn tell_mistakes(definitions: &Definitions) {
    let errors = definitions.findings.iter().filter(|finding| finding.is_error()).count();
    if errors > 0 {
        let them = if errors == 1 { "it" } else { "them" };
        let mistakes = count(errors, "mistake");
        anstream::eprintln!("note: the definitions have {mistakes}; `gitops validate` shows {them}");
    }
}

fn tree(dir: &Path, revision: Option<&str>, cache: &mut TreeCache) -> Result<(Revision, Tree), CliError> {
    let path = opened(dir)?;
    let read = match revision {
        Some(spec) => committed(&path, spec, cache),
        None => worktree::tree(&path, Limits::default()).map(|tree| (Revision::uncommitted(), tree)),
    };
    read.map_err(|error| unread(dir, error))
}

/// A folder, by its path from the root of the machine.
pub(super) fn opened(dir: &Path) -> Result<PathBuf, CliError> {
    dir.canonicalize().map_err(|error| CliError::because(format!("cannot open {}", dir.display()), error))
}

fn unread(dir: &Path, error: GitError) -> CliError {
    CliError::because(format!("cannot read the definitions in {}", dir.display()), error)
}

fn committed(dir: &Path, spec: &str, cache: &mut TreeCache) -> Result<(Revision, Tree), GitError> {
    let repository = Repository::discover(dir)?;
    let revision = repository.resolve(spec)?;
    let scope = Scope { folder: folder(&repository, dir), limits: Limits::default() };
    let tree = repository.tree(&revision, &scope, cache)?;
    Ok((revision, tree))
}

/// Where `dir` is within its repository. A bare repository has no folders to be in.
pub(super) fn folder(repository: &Repository, dir: &Path) -> String {
    let root: Option<PathBuf> = repository.work_tree().and_then(|root| root.canonicalize().ok());
    let inside = root.and_then(|root| dir.strip_prefix(root).ok().map(Path::to_owned));
    inside.unwrap_or_default().to_string_lossy().into_owned()
}
