//! The one task that writes.
//!
//! Callers queue up while a commit is being synced; the reports among them then go into one transaction, and all are
//! answered when it is durable (group commit). A caller that goes away half-way leaves no transaction open behind it,
//! because the task is not part of any request.

use gitops_core::decision::Decision;
use gitops_core::name::Revision;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::decisions;
use super::error::{self, Doing as _};
use super::logs;
use super::outbox;
use super::prepare::{PreparedPublication, PreparedReport};
use super::previews;
use super::prune::{self, History};
use super::releases;
use super::write;
use super::{Decided, Event, Identity, NewEvent, Published, StoreError, StoredToken};

/// How many commands are taken out of the queue at once.
const BATCH: usize = 256;

/// Pages that gather in the log before it is folded into the file. Readers look through them, so not too many.
const LOG_PAGES: i64 = 1000;

/// Where the outcome goes. A caller that has gone does not want it.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What can be asked of the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// In one transaction with the other reports that wait.
    Record(Vec<PreparedReport>, Answer<()>),
    /// In a transaction of its own.
    Alone(Work),
    /// Do what was asked for before, and end.
    Close(oneshot::Sender<()>),
}

/// What takes a transaction of its own.
#[derive(Debug)]
pub(super) enum Work {
    Publish(Box<PreparedPublication>, Answer<Published>),
    Append(Vec<NewEvent>, Answer<Vec<Event>>),
    AppendLogs(logs::Prepared, Answer<()>),
    FinishRelease(Revision, i64, Answer<()>),
    Decide(Box<(Decision, NewEvent)>, Answer<Option<Decided>>),
    ChangeOutbox(outbox::Prepared, Answer<()>),
    KeepPreview(previews::Prepared, Answer<()>),
    AddToken(StoredToken, Answer<()>),
    RevokeTokens(Identity, Answer<u64>),
    Delete(History, Vec<i64>, Answer<()>),
}

/// What a commit withstands. Both withstand `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Power loss may take it back. Good enough for a heartbeat, which the next one makes good: a sync for each would
    /// wear out the disk of a large fleet for nothing.
    Written,
    /// The disk has been synced.
    Synced,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// None after a failure: what state that left the connection in is not worth finding out.
    connection: Option<SqliteConnection>,
    /// What the connection is set to.
    durability: Durability,
}

/// The reports among the commands that were taken out of the queue together, and who waits for them.
#[derive(Debug, Default)]
struct Group {
    reports: Vec<PreparedReport>,
    waiting: Vec<Answer<()>>,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        let options = options.synchronous(SqliteSynchronous::Full);
        Self { options, connection: None, durability: Durability::Synced }
    }

    /// Works until it is told to close, or until the store is dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut commands = Vec::new();
        let mut closing = None;
        while closing.is_none() && queue.recv_many(&mut commands, BATCH).await > 0 {
            let mut group = Group::default();
            for command in commands.drain(..) {
                match command {
                    Command::Record(reports, answer) => {
                        group.reports.extend(reports);
                        group.waiting.push(answer);
                    }
                    Command::Alone(work) => self.carry_out(work).await,
                    Command::Close(answer) => closing = Some(answer),
                }
            }
            self.record(group).await;
            self.fold_log().await;
        }
        if let Some(connection) = self.connection {
            // Nobody is left to be told; the log is folded into the file at the next start instead.
            connection.close().await.ok();
        }
        if let Some(answer) = closing {
            answer.send(()).ok();
        }
    }

    async fn record(&mut self, Group { reports, waiting }: Group) {
        if waiting.is_empty() {
            return;
        }
        let heartbeats = reports.iter().all(PreparedReport::is_heartbeat);
        let durability = if heartbeats { Durability::Written } else { Durability::Synced };
        match self.with(durability, async |db| write::record(db, reports).await).await {
            Ok(()) => waiting.into_iter().for_each(|answer| reply(answer, Ok(()))),
            Err(error) => {
                let error = error::copies(error);
                waiting.into_iter().for_each(|answer| reply(answer, Err(error())));
            }
        }
    }

    /// Copies what has gathered in the log into the file. Done here and not by SQLite itself, which would do it within
    /// a commit: those who waited for that have their answers now.
    async fn fold_log(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let size = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(&mut *connection).await;
        let (_busy, pages, folded): (i64, i64, i64) = size.unwrap_or_default();
        if pages - folded > LOG_PAGES {
            // A failure is no one's loss: the log keeps what it holds, and the next commit says what is the matter.
            sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.ok();
        }
    }

    async fn carry_out(&mut self, work: Work) {
        const SYNCED: Durability = Durability::Synced;
        match work {
            Work::Publish(publication, answer) => {
                reply(answer, self.with(SYNCED, async |db| write::publish(db, *publication).await).await);
            }
            Work::Append(events, answer) => {
                reply(answer, self.with(SYNCED, async |db| write::append(db, events).await).await);
            }
            Work::AppendLogs(lines, answer) => {
                reply(answer, self.with(SYNCED, async |db| logs::append(db, lines).await).await);
            }
            Work::FinishRelease(revision, at, answer) => {
                reply(answer, self.with(SYNCED, async |db| releases::finish(db, &revision, at).await).await);
            }
            Work::Decide(decided, answer) => {
                let (decision, event) = *decided;
                reply(
                    answer,
                    self.with(SYNCED, async |db| decisions::decide(db, decision, event).await).await,
                );
            }
            Work::ChangeOutbox(changes, answer) => {
                reply(answer, self.with(SYNCED, async |db| outbox::change(db, changes).await).await);
            }
            Work::KeepPreview(preview, answer) => {
                reply(answer, self.with(SYNCED, async |db| previews::keep(db, preview).await).await);
            }
            Work::AddToken(token, answer) => {
                reply(answer, self.with(SYNCED, async |db| write::add_token(db, &token).await).await);
            }
            Work::RevokeTokens(identity, answer) => {
                reply(answer, self.with(SYNCED, async |db| write::revoke_tokens(db, &identity).await).await);
            }
            Work::Delete(history, victims, answer) => {
                reply(answer, self.with(SYNCED, async |db| prune::delete(db, history, &victims).await).await);
            }
        }
    }

    /// Runs `operation` on the connection, and gives that up where it fails.
    async fn with<T>(
        &mut self,
        durability: Durability,
        operation: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let outcome = operation(self.connection(durability).await?).await;
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    /// The connection, set to `durability`; opened again where the last operation failed.
    pub(super) async fn connection(
        &mut self,
        durability: Durability,
    ) -> Result<&mut SqliteConnection, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.durability = Durability::Synced;
                self.options.connect().await.doing("opening it")?
            }
        };
        if self.durability != durability {
            let statement = match durability {
                Durability::Written => "PRAGMA synchronous = NORMAL",
                Durability::Synced => "PRAGMA synchronous = FULL",
            };
            sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .doing("setting what a commit withstands")?;
            self.durability = durability;
        }
        Ok(self.connection.insert(connection))
    }
}

/// A caller that has gone does not want to know.
fn reply<T>(answer: Answer<T>, outcome: Result<T, StoreError>) {
    answer.send(outcome).ok();
}

#[cfg(test)]
mod tests {
    use super::super::error::failed;
    use super::*;

    /// SQLite's own word for what the writer's connection does at a commit.
    async fn check(writer: &mut Writer, durability: Durability, expected: i64) {
        let connection = writer.connection(durability).await.unwrap();
        let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await.unwrap();
        assert_eq!(level, expected, "{durability:?}");
    }

    #[tokio::test]
    async fn only_heartbeats_are_not_synced_also_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("test.db")).create_if_missing(true);
        let mut writer = Writer::new(options);
        let (normal, full) = ((Durability::Written, 1), (Durability::Synced, 2));
        for (durability, expected) in [full, normal, normal, full, normal] {
            check(&mut writer, durability, expected).await;
        }
        let failure =
            writer.with(Durability::Written, async |_| Err::<(), _>(failed("testing", "failed"))).await;
        assert!(failure.is_err());
        assert!(writer.connection.is_none(), "a connection that failed is not used again");
        check(&mut writer, full.0, full.1).await;
    }
}
