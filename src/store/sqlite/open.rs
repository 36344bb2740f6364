//! Opening the file: its mode, its connections, and bringing its schema up to this program.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::error::{self, Doing as _, failed};
use super::writer::{Durability, Writer};
use super::{QUEUE, SqliteStore, StoreError};

/// In order; the schema version of a database is how many of them it has seen. One that was released never changes.
const MIGRATIONS: [&str; 8] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_logs.sql"),
    include_str!("../migrations/0003_previews.sql"),
    include_str!("../migrations/0004_releases.sql"),
    include_str!("../migrations/0005_outbox.sql"),
    include_str!("../migrations/0006_failed.sql"),
    include_str!("../migrations/0007_decisions.sql"),
    include_str!("../migrations/0008_waves.sql"),
];

/// What the first migration stamps the file with.
const APPLICATION_ID: i64 = 0x676f_7073;

/// How long a lock of another process is waited for. Ours are held for milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// How long to wait before a locked file is opened again.
const RETRY: Duration = Duration::from_millis(20);

/// Reads are short, and two processors keep no more than this busy.
const READERS: u32 = 4;

/// Bytes. Plans are six times SQLite's usual 4096, and each page costs a call to the system or two.
const PAGE: u32 = 8192;

/// Bytes to which the write-ahead log is cut down after a large publication has made it grow.
const LOG_LIMIT: &str = "16777216";

/// A file that cannot be made or opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}: check that its folder exists and that this user can write to both")]
struct CannotOpen {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Opens the database at `path`, makes it where there is none (mode 0600), and brings its schema up to date.
///
/// # Errors
///
/// The file cannot be made, read or written, is no database of this program, or is of a newer version of it.
pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    create(path)?;
    open_with(SqliteConnectOptions::new().filename(path).busy_timeout(BUSY)).await
}

/// Opens the file that is there.
///
/// SQLite does not wait where waiting could be for ever, as when two connections both want to turn a new file into
/// one with a write-ahead log: it calls the file locked at once (<https://sqlite.org/c3ref/busy_handler.html>). So
/// opening starts again from its beginning for as long as any other lock would be waited for.
pub(super) async fn open_with(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    let patience = Instant::now() + BUSY;
    loop {
        match open_once(options.clone()).await {
            Err(error) if error::is_locked(&error) && Instant::now() < patience => sleep(RETRY).await,
            opened => return opened,
        }
    }
}

async fn open_once(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    check(&options).await?;
    let writing = options.clone().page_size(PAGE).journal_mode(SqliteJournalMode::Wal).foreign_keys(true);
    let writing = writing.pragma("journal_size_limit", LOG_LIMIT).pragma("wal_autocheckpoint", "0");
    let mut writer = Writer::new(writing);
    migrate(writer.connection(Durability::Synced).await?).await?;
    // There is no network between that could break a connection, so none is tested before it is used.
    let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
    let readers = readers.connect_lazy_with(options.read_only(true));
    let (sender, queue) = mpsc::channel(QUEUE);
    tokio::spawn(writer.run(queue));
    Ok(SqliteStore { readers, writer: sender })
}

/// That the file is for this program, before anything in it is set.
async fn check(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await.doing("opening it")?;
    schema_version(&mut connection).await?;
    connection.close().await.doing("opening it")
}

/// SQLite itself would make it readable for everyone; its log and index files take over the mode of the database.
fn create(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let error = |source| failed("opening it", CannotOpen { path: path.to_owned(), source });
    file.map(drop).map_err(error)
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let doing = "bringing its schema up to date";
    // Two processes may start at once: the second finds nothing left to do.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let found = schema_version(&mut transaction).await?;
    for (version, migration) in (1..).zip(MIGRATIONS).skip(found) {
        sqlx::raw_sql(migration).execute(&mut *transaction).await.doing(doing)?;
        let stamp = AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::raw_sql(stamp).execute(&mut *transaction).await.doing(doing)?;
    }
    transaction.commit().await.doing(doing)
}

/// How many migrations the database has seen: at most those that there are.
async fn schema_version(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let query = "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
                 FROM pragma_user_version, pragma_application_id";
    let row = sqlx::query_as(query).fetch_one(connection).await;
    let (found, application, tables): (i64, i64, i64) = row.doing("reading its schema version")?;
    let empty = (found, application, tables) == (0, 0, 0);
    if !empty && application != APPLICATION_ID {
        return Err(failed("opening it", "the file is a database of another program: choose another path"));
    }
    match usize::try_from(found) {
        Ok(known) if known <= MIGRATIONS.len() => Ok(known),
        _ => Err(StoreError::TooNew { found, known: MIGRATIONS.len() as i64 }),
    }
}
