//! The store of a story: the real code, in memory or in a SQLite file, with calls that fail, and with backups.
//!
//! The trait is `async`; what is asked of memory is there when it is asked, and a SQLite file is waited for on a runtime of
//! one thread, so that a call is over when it returns.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gitops::store::memory::MemoryStore;
use gitops::store::outbox::{Change, ErrandKey};
use gitops::store::sqlite::{self, SqliteStore};
use gitops::store::{
    Decided, Event, NewEvent, Publication, Published, Retention, Snapshot, StatusReport, Store, StoreError,
};
use gitops_core::decision::Decision;
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::release::PlanRecord;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::defects::Defect;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Nothing is written, and that is said: a sync failed, the disk is full.
    Fails,
    /// It is written, and an error is said.
    Unknown,
    /// Nothing is written, and a conflict is said.
    Conflict,
    /// Of several things that belong to one record, the first are written, and then comes the error.
    Half,
}

/// Where the facts are.
enum Backend {
    Memory(Box<MemoryStore>),
    Sqlite(SqliteFile),
}

/// A database, and the runtime that its connections live on.
struct SqliteFile {
    /// Dropped before its runtime.
    store: Option<SqliteStore>,
    folder: TempDir,
    runtime: Runtime,
}

/// What a daemon wants recorded at once.
#[derive(Debug)]
pub(crate) struct Record {
    /// What nodes said.
    pub(crate) reports: Vec<StatusReport>,
    /// What happened.
    pub(crate) events: Vec<NewEvent>,
    /// A release that is done.
    pub(crate) finished: Option<(Revision, Timestamp)>,
    /// Errands.
    pub(crate) outbox: BTreeMap<ErrandKey, Change>,
}

/// What a call came to: what the caller is told, and whether it was written.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    /// For the caller.
    pub(crate) said: Result<T, String>,
    /// For the witness.
    pub(crate) is_written: bool,
}

/// The store of a story.
pub(crate) struct Storage {
    backend: Backend,
    /// What the next calls come to.
    pub(crate) faults: VecDeque<StoreFault>,
    /// What is wrong with it on purpose.
    pub(crate) defect: Option<Defect>,
    backup: Option<Backend>,
}

impl Storage {
    /// An empty one.
    pub(crate) fn new(is_file: bool, defect: Option<Defect>) -> Self {
        let backend =
            if is_file { Backend::Sqlite(SqliteFile::new()) } else { Backend::Memory(Box::default()) };
        Self { backend, faults: VecDeque::new(), defect, backup: None }
    }

    /// Everything, for a daemon that starts.
    pub(crate) fn load(&mut self) -> Result<Snapshot, String> {
        match self.faults.pop_front() {
            Some(_) => Err("the disk does not answer".to_owned()),
            None => Ok(self.facts()),
        }
    }

    /// The number of the newest event.
    pub(crate) fn peek(&mut self, after: u64) -> Result<u64, String> {
        let later = self.wait(|store| store.events(after, 1)).map_err(chain)?;
        Ok(later.first().map_or(after, |event| event.id))
    }

    /// Everything, for the witness.
    pub(crate) fn facts(&self) -> Snapshot {
        self.wait(|store| store.load()).expect("the store can be read")
    }

    /// Writes the outcome of a pass.
    pub(crate) fn publish(&mut self, publication: Publication) -> Outcome<Published> {
        let first = publication.plans.first().map(|plan| plan.node.clone());
        match (self.faults.pop_front(), first) {
            (None, _) => {
                let said = self.write(publication);
                let is_written = matches!(said, Ok(Published::Done(_)));
                Outcome { said, is_written }
            }
            (Some(StoreFault::Unknown | StoreFault::Half), _) => {
                let is_written = matches!(self.write(publication), Ok(Published::Done(_)));
                Outcome { said: Err("the connection broke".to_owned()), is_written }
            }
            (Some(StoreFault::Conflict), Some(node)) => {
                Outcome { said: Ok(Published::Conflict(node)), is_written: false }
            }
            (Some(_), _) => Outcome { said: Err("the disk is full".to_owned()), is_written: false },
        }
    }

    fn write(&self, publication: Publication) -> Result<Published, String> {
        let publish = |publication| self.wait(|store| store.publish(publication)).map_err(chain);
        match self.defect {
            Some(defect) => defect.publish(publication, &self.facts(), publish),
            None => publish(publication),
        }
    }

    /// Writes what happened and what nodes said, in the order in which a daemon does.
    pub(crate) fn record(&mut self, record: Record) -> Outcome<Vec<Event>> {
        let fault = self.faults.pop_front();
        if matches!(fault, Some(StoreFault::Fails | StoreFault::Conflict)) {
            return Outcome { said: Err("the disk is full".to_owned()), is_written: false };
        }
        let mut record = record;
        let is_written = fault != Some(StoreFault::Half);
        if !is_written || self.defect == Some(Defect::StatusesAreNotStored) {
            record.reports.clear();
        }
        let said = self.write_record(record).map_err(chain);
        match fault {
            None => Outcome { said, is_written },
            Some(_) => Outcome { said: Err("the connection broke".to_owned()), is_written },
        }
    }

    fn write_record(&self, record: Record) -> Result<Vec<Event>, StoreError> {
        let Record { reports, events, finished, outbox } = record;
        let mut numbered = Vec::new();
        if !outbox.is_empty() {
            self.wait(|store| store.change_outbox(outbox))?;
        }
        if !events.is_empty() {
            numbered = self.wait(|store| store.append_events(events))?;
        }
        if let Some((revision, at)) = finished {
            self.wait(|store| store.finish_release(&revision, at))?;
        }
        if !reports.is_empty() {
            self.wait(|store| store.record_statuses(reports))?;
        }
        Ok(numbered)
    }

    /// Writes down what somebody decided.
    pub(crate) fn decide(&mut self, decision: Decision, event: NewEvent) -> Result<Option<Decided>, String> {
        match self.faults.pop_front() {
            None => self.wait(|store| store.decide(decision, event)).map_err(chain),
            Some(StoreFault::Unknown | StoreFault::Half) => {
                self.wait(|store| store.decide(decision, event)).map_err(chain)?;
                Err("the connection broke".to_owned())
            }
            Some(_) => Err("the disk is full".to_owned()),
        }
    }

    /// Lets go of old history.
    pub(crate) fn prune(&mut self, keep: Retention, now: Timestamp) {
        self.wait(|store| store.prune(keep, now)).expect("nothing keeps it from pruning");
    }

    /// A plan by its digest.
    pub(crate) fn plan(&self, node: &NodeName, digest: Digest) -> Option<Arc<NodePlan>> {
        self.wait(|store| store.plan(node, Some(digest))).expect("the store can be read")
    }

    /// The newest plan of each node that belongs to a release.
    pub(crate) fn plan_records(&self, release: u64) -> Vec<PlanRecord> {
        self.wait(|store| store.plan_records(Some(release))).expect("the store can be read")
    }

    /// Whether it has this content.
    pub(crate) fn has_blob(&self, digest: Digest) -> bool {
        self.wait(|store| store.blob(digest)).expect("the store can be read").is_some()
    }

    /// Keeps a copy of everything.
    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.backend.copy());
    }

    /// Everything is as it was when it was backed up last. Returns whether there is a backup.
    pub(crate) fn restore(&mut self) -> bool {
        let Some(backup) = &self.backup else { return false };
        self.backend = backup.copy();
        true
    }

    fn wait<'a, T, F: Future<Output = T>>(&'a self, call: impl FnOnce(&'a dyn Store) -> F) -> T {
        match &self.backend {
            Backend::Memory(store) => at_once(call(&**store)),
            Backend::Sqlite(file) => file.runtime.block_on(call(file.store.as_ref().expect("it is open"))),
        }
    }
}

impl Backend {
    fn copy(&self) -> Self {
        match self {
            Self::Memory(store) => Self::Memory(Box::new(store.backup())),
            Self::Sqlite(file) => Self::Sqlite(file.copy()),
        }
    }
}

impl SqliteFile {
    fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder can be made"))
    }

    fn open(folder: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let store =
            runtime.block_on(sqlite::open(&folder.path().join("facts.db"))).expect("it can be opened");
        Self { store: Some(store), folder, runtime }
    }

    /// As an operator makes one: by SQLite itself, into one file.
    fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for name in ["facts.db", "facts.db-wal"] {
            let from = self.folder.path().join(name);
            if from.exists() {
                std::fs::copy(&from, folder.path().join(name)).expect("it can be copied");
            }
        }
        Self::open(folder)
    }
}

impl Drop for SqliteFile {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close());
        }
    }
}

/// The result of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory does not wait"),
    }
}

fn chain(error: StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
