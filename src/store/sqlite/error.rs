//! What went wrong with the database, and what to do about it.

use std::error::Error;
use std::sync::Arc;

use super::super::StoreError;

/// The driver's words after ours.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct Failure {
    advice: &'static str,
    source: sqlx::Error,
}

/// Says what was being done when the driver failed.
pub(super) trait Doing<T> {
    /// `what` is a participle: `reading the plans`.
    fn doing(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| match advice(&source) {
            Some(advice) => failed(what, Failure { advice, source }),
            None => failed(what, source),
        })
    }
}

/// The same failure for each of those whom one transaction failed.
pub(super) fn copies(error: StoreError) -> impl Fn() -> StoreError {
    let (doing, source): (_, Arc<dyn Error + Send + Sync>) = match error {
        StoreError::Database { doing, source } => (doing, source.into()),
        other => ("writing", Arc::new(other)),
    };
    move || StoreError::Database { doing, source: Box::new(Arc::clone(&source)) }
}

/// A failure of something else than the driver.
pub(super) fn failed(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Database { doing, source: source.into() }
}

/// A row that does not parse.
pub(super) fn unreadable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Unreadable { what, source: source.into() }
}

/// A call after [`SqliteStore::close`](super::SqliteStore::close).
pub(super) fn closed() -> StoreError {
    failed("handing over a write", "the database is closed")
}

/// Whether another connection held a lock that this one needed.
pub(super) fn is_locked(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    let failure = source.downcast_ref::<Failure>();
    failure.is_some_and(|failure| matches!(primary_code(&failure.source), Some(5 | 6)))
}

/// SQLite's primary result code: <https://sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let extended: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn advice(error: &sqlx::Error) -> Option<&'static str> {
    Some(match primary_code(error)? {
        5 | 6 => {
            "another process has kept the database locked for 5 seconds: end it, or wait until it is done \
             (a backup must use `sqlite3 … .backup`, which does not lock)"
        }
        8 => {
            "the database cannot be written: check who owns the file and its folder, and how the disk is mounted"
        }
        10 => {
            "the disk failed to read or write the database: check the disk, then restore a backup where needed"
        }
        11 => "the database file is damaged: restore a backup",
        13 => "the disk is full: free some space on it; nothing of this write was kept",
        14 => "the database cannot be opened: check that its folder exists and can be written",
        26 => "the file is not an SQLite database: choose another path, or restore a backup",
        _ => return None,
    })
}
