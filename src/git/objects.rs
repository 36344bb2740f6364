//! An object database: how it is opened, and what is asked of commits.
//!
//! The mirror and the repository around a folder answer the same questions, so they are functions of an open
//! repository here.

use std::path::{Path, PathBuf};

use gitops_core::name::Revision;
use gitops_core::release::Commit;
use jiff::Timestamp;

use super::{GitError, signature};

/// A delta base is decoded once instead of once per object built on it: reading 10,000 similar YAML files took 179 ms
/// with Git's default and 51 ms with this. The memory is only held while a tree is read.
pub(super) const DELTA_CACHE: &str = "core.deltaBaseCacheLimit=96m";

/// Where objects are looked for: first among those of a push that is not accepted yet, then in the repository.
#[derive(Clone, Copy)]
pub(super) struct Objects<'a> {
    own: &'a gix::Repository,
    incoming: &'a [gix::Repository],
}

impl<'a> Objects<'a> {
    /// Those of a repository.
    pub(super) fn of(own: &'a gix::Repository) -> Self {
        Self { own, incoming: &[] }
    }

    /// With others that are not in the repository yet: see [`incoming`].
    pub(super) fn and(self, incoming: &'a [gix::Repository]) -> Self {
        Self { incoming, ..self }
    }

    /// The one to ask for an object. It may not have it either.
    pub(super) fn holding(&self, id: gix::ObjectId) -> &'a gix::Repository {
        self.incoming.iter().find(|incoming| incoming.has_object(id)).unwrap_or(self.own)
    }

    /// Whether there is such an object.
    pub(super) fn has(&self, id: gix::ObjectId) -> bool {
        self.holding(id).has_object(id)
    }

    /// The newest commit in the history of both.
    pub(super) fn merge_base(
        &self,
        one: gix::ObjectId,
        two: gix::ObjectId,
    ) -> gix::Result<Option<gix::ObjectId>> {
        if self.incoming.is_empty() {
            return Ok(self.own.merge_base(one, two)?.map(gix::Id::detach));
        }
        let mut graph = gix::revwalk::Graph::new(*self, None);
        Ok(self.own.merge_base_with_graph(one, two, &mut graph)?.map(gix::Id::detach))
    }
}

impl gix::objs::Find for Objects<'_> {
    fn try_find<'b>(
        &self,
        id: &gix::oid,
        buffer: &'b mut Vec<u8>,
    ) -> gix::Result<Option<gix::objs::Data<'b>>> {
        self.holding(id.to_owned()).objects.try_find(id, buffer)
    }
}

/// A repository that has the objects in `folder` instead of its own.
pub(super) fn incoming(own: &gix::Repository, folder: PathBuf) -> std::io::Result<gix::Repository> {
    let mut objects = gix::odb::at(folder, own.object_hash())?;
    // What is not here is elsewhere, and no reason to look through the folder anew each time.
    objects.refresh_never();
    let mut repo = own.clone();
    repo.objects = objects.into();
    Ok(repo)
}

/// Opens exactly the repository at `path`, seeing neither the environment nor the configuration of the account.
pub(super) fn open_isolated(path: &Path) -> gix::Result<gix::ThreadSafeRepository> {
    isolated().open_path_as_is(true).open(path)
}

/// Options that see nothing but the repository itself.
pub(super) fn isolated() -> gix::open::Options {
    gix::open::Options::isolated()
        // Each fetch adds a pack, and a database that is open has a fixed number of places for them.
        .object_store_slots(gix::odb::store::init::Slots::Given(4096))
        .config_overrides([DELTA_CACHE])
}

/// The object id of a revision.
pub(super) fn object_id(revision: &Revision) -> gix::ObjectId {
    gix::ObjectId::from_hex(revision.as_str().as_bytes()).expect("a revision is 40 or 64 hexadecimal digits")
}

/// The revision of a commit's id.
pub(super) fn revision(id: impl AsRef<gix::oid>) -> Revision {
    id.as_ref().to_hex().to_string().parse().expect("an object id is 40 or 64 lower-case hexadecimal digits")
}

/// Whether `ancestor` is `descendant` or in its history. A commit that is not in the database is in no history,
/// since a history is always fetched whole.
pub(super) fn is_ancestor(
    objects: Objects<'_>,
    ancestor: &Revision,
    descendant: &Revision,
) -> gix::Result<bool> {
    let (one, two) = (object_id(ancestor), object_id(descendant));
    if one == two || !objects.has(one) {
        return Ok(one == two);
    }
    Ok(objects.merge_base(one, two)? == Some(one))
}

/// The newest commit that is in the history of both.
pub(super) fn merge_base(
    repo: &gix::Repository,
    one: &Revision,
    two: &Revision,
) -> Result<Option<Revision>, GitError> {
    for revision in [one, two] {
        if !repo.has_object(object_id(revision)) {
            return Err(GitError::NoSuchCommit(revision.clone()));
        }
    }
    let base = repo.merge_base(object_id(one), object_id(two));
    base.map(|base| base.map(self::revision))
        .map_err(|source| GitError::Read { revision: two.clone(), source: Box::new(source) })
}

/// What a commit says of itself.
pub(super) fn commit_info(objects: Objects<'_>, revision: &Revision) -> Result<Commit, GitError> {
    let id = object_id(revision);
    if !objects.has(id) {
        return Err(GitError::NoSuchCommit(revision.clone()));
    }
    let info = || -> gix::Result<Commit> {
        let commit = objects.holding(id).find_commit(id)?;
        let author = commit.author()?;
        let time = commit.time()?;
        let decoded = commit.decode()?;
        let signature = signature::HEADERS.iter().find_map(|header| decoded.extra_headers().find(header));
        Ok(Commit {
            author: printable(author.name),
            email: printable(author.email),
            committer: printable(commit.committer()?.name),
            subject: printable(&commit.message()?.summary()),
            // A commit may claim any time, also one that no calendar has.
            time: Timestamp::from_second(time.seconds).unwrap_or(Timestamp::UNIX_EPOCH),
            signature: signature.map(|text| signature::read(text)),
        })
    };
    info().map_err(|source| GitError::Read { revision: revision.clone(), source: Box::new(source) })
}

/// Text that anyone may have written, fit for a terminal and a log line: at most 500 characters, none of control, and none
/// that turns the direction of what follows.
fn printable(text: &[u8]) -> String {
    let turns = |char| matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |char: &char| !char.is_control() && !turns(*char);
    String::from_utf8_lossy(text).trim().chars().filter(shown).take(500).collect()
}
