//! The store in one SQLite file.
//!
//! One connection writes, owned by a task ([`writer`]); a few read-only ones read, beside it and without waiting for
//! it (write-ahead log). Plans and statuses are kept as the JSON they are, and everything that comes in numbers is
//! written by one set-based statement ([`rows`]), because a round trip for each row costs ten times as much.
//!
//! Any number of processes on one machine may have the file open: who writes holds SQLite's own lock, and publishing
//! compares before it swaps.

mod decisions;
mod error;
mod logs;
mod open;
mod outbox;
mod prepare;
mod previews;
mod prune;
mod read;
mod releases;
mod rows;
mod underway;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use gitops_core::decision::{Decision, KeptHold};
use gitops_core::log::{LogEntry, LogLine, LogQuery};
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::reconcile::preview::Preview;
use gitops_core::release::{KeptDiff, PlanRecord, Release, ReleaseQuery, StepQuery, StepRecord};
use jiff::Timestamp;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::outbox::{Change, ErrandKey};
use super::{
    Decided, Event, Identity, KeptPreview, NewEvent, Publication, Published, Retention, Snapshot,
    StatusReport, Store, StoreError, StoredToken,
};
pub use open::open;
use prepare::{PreparedPublication, PreparedReport};
use prune::History;
use writer::{Answer, Command, Work};

/// How many writes may wait. Whoever comes later waits for a place among them.
const QUEUE: usize = 1024;

/// An open database. Share it behind an `Arc`.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: mpsc::Sender<Command>,
}

impl SqliteStore {
    /// Finishes the writes that were asked for, folds the write-ahead log into the file and closes it. Calls that
    /// come later fail.
    pub async fn close(&self) {
        // The last connection to close is the one that folds the log, and a read-only one cannot.
        self.readers.close().await;
        let (answer, closed) = oneshot::channel();
        if self.writer.send(Command::Close(answer)).await.is_ok() {
            // An error says that the writer is gone, which is what was wanted.
            closed.await.ok();
        }
    }

    /// Has the writer do something, and waits until it is durable.
    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(command(answer)).await.map_err(|_| error::closed())?;
        answered.await.map_err(|_| error::closed())?
    }

    /// The same for what takes a transaction of its own.
    async fn ask_alone<T>(&self, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, StoreError> {
        self.ask(|answer| Command::Alone(work(answer))).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        read::snapshot(&self.readers).await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, StoreError> {
        let publication = Box::new(PreparedPublication::new(publication)?);
        self.ask_alone(|answer| Work::Publish(publication, answer)).await
    }

    async fn record_statuses(&self, reports: Vec<StatusReport>) -> Result<(), StoreError> {
        let reports = reports.iter().map(PreparedReport::new).collect();
        self.ask(|answer| Command::Record(reports, answer)).await
    }

    async fn append_events(&self, events: Vec<NewEvent>) -> Result<Vec<Event>, StoreError> {
        self.ask_alone(|answer| Work::Append(events, answer)).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        read::events(&self.readers, after, limit).await
    }

    async fn change_outbox(&self, changes: BTreeMap<ErrandKey, Change>) -> Result<(), StoreError> {
        let changes = outbox::Prepared::new(changes);
        self.ask_alone(|answer| Work::ChangeOutbox(changes, answer)).await
    }

    async fn decide(&self, decision: Decision, event: NewEvent) -> Result<Option<Decided>, StoreError> {
        self.ask_alone(|answer| Work::Decide(Box::new((decision, event)), answer)).await
    }

    async fn holds(&self, limit: u32) -> Result<Vec<KeptHold>, StoreError> {
        decisions::holds(&self.readers, limit).await
    }

    async fn append_logs(
        &self,
        node: &NodeName,
        lines: Vec<LogLine>,
        heard_at: Timestamp,
    ) -> Result<(), StoreError> {
        let lines = logs::Prepared::new(node, &lines, heard_at);
        self.ask_alone(|answer| Work::AppendLogs(lines, answer)).await
    }

    async fn logs(&self, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        logs::read(&self.readers, query).await
    }

    async fn releases(&self, query: &ReleaseQuery) -> Result<Vec<Release>, StoreError> {
        releases::page(&self.readers, query).await
    }

    async fn release_diff(&self, number: u64) -> Result<Option<KeptDiff>, StoreError> {
        releases::diff(&self.readers, number).await
    }

    async fn finish_release(&self, revision: &Revision, at: Timestamp) -> Result<(), StoreError> {
        let revision = revision.clone();
        self.ask_alone(|answer| Work::FinishRelease(revision, prepare::nanoseconds(at), answer)).await
    }

    async fn plan_records(&self, release: Option<u64>) -> Result<Vec<PlanRecord>, StoreError> {
        releases::plan_records(&self.readers, release).await
    }

    async fn brought(&self, release: u64) -> Result<Vec<StepRecord>, StoreError> {
        releases::brought(&self.readers, release).await
    }

    async fn steps(&self, query: &StepQuery) -> Result<Vec<StepRecord>, StoreError> {
        releases::steps(&self.readers, query).await
    }

    async fn keep_preview(&self, preview: &Preview, made_at: Timestamp) -> Result<(), StoreError> {
        match previews::Prepared::new(preview, made_at) {
            Some(preview) => self.ask_alone(|answer| Work::KeepPreview(preview, answer)).await,
            None => Ok(()),
        }
    }

    async fn preview(&self, id: Digest) -> Result<Option<KeptPreview>, StoreError> {
        previews::read(&self.readers, id).await
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Arc<[u8]>>, StoreError> {
        read::blob(&self.readers, digest).await
    }

    async fn plan(
        &self,
        node: &NodeName,
        digest: Option<Digest>,
    ) -> Result<Option<Arc<NodePlan>>, StoreError> {
        read::plan(&self.readers, node, digest).await
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        read::tokens(&self.readers).await
    }

    async fn add_token(&self, token: StoredToken) -> Result<(), StoreError> {
        self.ask_alone(|answer| Work::AddToken(token, answer)).await
    }

    async fn revoke_tokens(&self, identity: &Identity) -> Result<u64, StoreError> {
        let identity = identity.clone();
        self.ask_alone(|answer| Work::RevokeTokens(identity, answer)).await
    }

    /// Looks for what may go beside the writer, and has it deleted in chunks, between which others get their turn.
    async fn prune(&self, keep: Retention, now: Timestamp) -> Result<(), StoreError> {
        for history in History::ALL {
            let victims = prune::victims(&self.readers, history, keep, now).await?;
            for chunk in victims.chunks(history.chunk()) {
                let chunk = chunk.to_vec();
                self.ask_alone(|answer| Work::Delete(history, chunk, answer)).await?;
            }
        }
        Ok(())
    }
}
