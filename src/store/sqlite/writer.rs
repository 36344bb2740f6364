//! The one task that writes.
//!
//! Callers queue up while a commit is being synced; the reports among them then go into one transaction, and all are
//! answered when it is durable (group commit). A caller that goes away half-way leaves no transaction open behind it,
//! because the task is not part of any request.

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::error::{self, Doing as _};
use super::prepare::{PreparedPublication, PreparedReport};
use super::prune::{self, History};
use super::write;
use super::{Event, Identity, NewEvent, Published, StoreError, StoredToken};

/// How many commands are taken out of the queue at once.
const BATCH: usize = 256;

/// Where the outcome goes. A caller that has gone does not want it.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What can be asked of the writer.
#[derive(Debug)]
pub(super) enum Command {
    Record(Vec<PreparedReport>, Answer<()>),
    Publish(Box<PreparedPublication>, Answer<Published>),
    Append(Vec<NewEvent>, Answer<Vec<Event>>),
    AddToken(StoredToken, Answer<()>),
    RevokeTokens(Identity, Answer<u64>),
    Delete(History, Vec<i64>, Answer<()>),
    Close(oneshot::Sender<()>),
}

/// How hard a commit is: a heartbeat that power loss takes back is made good by the next one, and syncing the disk
/// for each would wear it out for nothing. Either survives `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Written to the log.
    Normal,
    /// Written to the log and synced.
    Full,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// None after a failure: what state that left the connection in is not worth finding out.
    connection: Option<SqliteConnection>,
    /// What the connection is set to.
    sync: Sync,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        let options = options.synchronous(SqliteSynchronous::Full);
        Self { options, connection: None, sync: Sync::Full }
    }

    /// Works until it is told to close, or until the store is dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut commands = Vec::new();
        let mut closing = None;
        while closing.is_none() && queue.recv_many(&mut commands, BATCH).await > 0 {
            let mut reports = Vec::new();
            let mut waiting = Vec::new();
            for command in commands.drain(..) {
                match command {
                    Command::Record(said, answer) => {
                        reports.extend(said);
                        waiting.push(answer);
                    }
                    Command::Close(answer) => closing = Some(answer),
                    other => self.carry_out(other).await,
                }
            }
            self.record(reports, waiting).await;
        }
        if let Some(connection) = self.connection {
            // Nobody is left to be told; the log is folded into the file at the next start instead.
            connection.close().await.ok();
        }
        closing.map(|answer| answer.send(()));
    }

    /// Reports of many callers in one transaction.
    async fn record(&mut self, reports: Vec<PreparedReport>, waiting: Vec<Answer<()>>) {
        if waiting.is_empty() {
            return;
        }
        let sync = if reports.iter().all(PreparedReport::is_heartbeat) { Sync::Normal } else { Sync::Full };
        match self.with(sync, async |db| write::record(db, reports).await).await {
            Ok(()) => waiting.into_iter().for_each(|answer| reply(answer, Ok(()))),
            Err(error) => {
                let error = error::copies(error);
                waiting.into_iter().for_each(|answer| reply(answer, Err(error())));
            }
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Publish(publication, answer) => {
                reply(answer, self.with(Sync::Full, async |db| write::publish(db, *publication).await).await);
            }
            Command::Append(events, answer) => {
                reply(answer, self.with(Sync::Full, async |db| write::append(db, events).await).await);
            }
            Command::AddToken(token, answer) => {
                reply(answer, self.with(Sync::Full, async |db| write::add_token(db, &token).await).await);
            }
            Command::RevokeTokens(identity, answer) => {
                reply(
                    answer,
                    self.with(Sync::Full, async |db| write::revoke_tokens(db, &identity).await).await,
                );
            }
            Command::Delete(history, victims, answer) => {
                reply(
                    answer,
                    self.with(Sync::Full, async |db| prune::delete(db, history, &victims).await).await,
                );
            }
            Command::Record(..) | Command::Close(_) => unreachable!("`run` sorts these out"),
        }
    }

    /// Runs `operation` on the connection, and gives that up where it fails.
    async fn with<T>(
        &mut self,
        sync: Sync,
        operation: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let outcome = operation(self.connection(sync).await?).await;
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    /// The connection, set to `sync`; opened again where the last command failed.
    pub(super) async fn connection(&mut self, sync: Sync) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.sync = Sync::Full;
                self.options.connect().await.doing("opening it")?
            }
        };
        let connection = self.connection.insert(connection);
        if self.sync != sync {
            let statement = match sync {
                Sync::Normal => "PRAGMA synchronous = NORMAL",
                Sync::Full => "PRAGMA synchronous = FULL",
            };
            sqlx::raw_sql(statement).execute(&mut *connection).await.doing("setting how hard a commit is")?;
            self.sync = sync;
        }
        Ok(connection)
    }
}

/// A caller that has gone does not want to know.
fn reply<T>(answer: Answer<T>, outcome: Result<T, StoreError>) {
    answer.send(outcome).ok();
}
