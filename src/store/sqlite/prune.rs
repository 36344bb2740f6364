//! Forgetting: what is beyond the retention is looked for beside the writer and deleted by it, a few rows at a time.
//!
//! That what was found may still go when its turn comes is sure: a plan that was superseded and an event that is old
//! stay so, what replaces an errand is another row, and content is looked at once more.

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::outbox;
use super::error::Doing as _;
use super::prepare::nanoseconds;
use super::{Retention, StoreError};

/// The changes that brought steps into the form in which they were last well: of all, and of those before the newest
/// release, which goes back to them where it fails.
macro_rules! good {
    () => {
        "WITH satisfied AS (SELECT id, service, node, generation, digest, release FROM steps
                            WHERE satisfied_at IS NOT NULL),
              good AS (SELECT id, node, generation FROM (
                           SELECT id, node, generation, digest,
                                  row_number() OVER (PARTITION BY service, node ORDER BY generation DESC) AS rank
                           FROM satisfied)
                       WHERE rank = 1 AND digest IS NOT NULL
                       UNION
                       SELECT id, node, generation FROM (
                           SELECT id, node, generation, digest,
                                  row_number() OVER (PARTITION BY service, node ORDER BY generation DESC) AS rank
                           FROM satisfied
                           WHERE release IS NULL OR release < (SELECT max(number) FROM releases))
                       WHERE rank = 1 AND digest IS NOT NULL) "
    };
}

/// What grows without end if nobody prunes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum History {
    /// Superseded plans.
    Plans,
    /// Content that no plan names.
    Blobs,
    /// Events.
    Events,
    /// Log lines.
    Logs,
    /// Releases, with the names of the services that they changed.
    Releases,
    /// Changes of steps.
    Steps,
    /// Errands that were never done.
    Outbox,
    /// Previews.
    Previews,
    /// Holds that ended, or whose time was over then.
    Holds,
    /// Votes.
    Votes,
}

impl History {
    /// In this order: content is free when the last plan that names it is gone.
    pub(super) const ALL: [Self; 10] = [
        Self::Plans,
        Self::Blobs,
        Self::Events,
        Self::Logs,
        Self::Releases,
        Self::Steps,
        Self::Outbox,
        Self::Previews,
        Self::Holds,
        Self::Votes,
    ];

    /// Finds row ids, given how many are kept (?1) and the time before which they go (?2).
    fn victims(self) -> &'static str {
        match self {
            Self::Plans => concat!(
                good!(),
                "SELECT id FROM (SELECT id, node, generation, published_at,
                                        row_number() OVER (PARTITION BY node ORDER BY generation DESC) AS rank
                                 FROM plans)
                 WHERE rank > 1 AND (rank > ?1 OR published_at < ?2)
                   AND (node, generation) NOT IN (SELECT node, generation FROM good)"
            ),
            Self::Blobs => {
                "SELECT rowid FROM blobs
                 WHERE NOT EXISTS (SELECT 1 FROM plan_blobs WHERE blob = digest) AND ?1 = ?1 AND ?2 = ?2"
            }
            Self::Events => {
                "SELECT id FROM events
                 WHERE id <= (SELECT seq FROM sqlite_sequence WHERE name = 'events') - ?1 OR at < ?2"
            }
            Self::Logs => {
                "SELECT id FROM (SELECT id, heard_at, row_number() OVER (PARTITION BY node ORDER BY id DESC) AS rank
                                 FROM logs)
                 WHERE rank > ?1 OR heard_at < ?2"
            }
            Self::Releases => {
                "SELECT number FROM (SELECT number, began_at, row_number() OVER (ORDER BY number DESC) AS rank
                                     FROM releases)
                 WHERE rank > 1 AND (rank > ?1 OR began_at < ?2)"
            }
            Self::Steps => concat!(
                good!(),
                "SELECT id FROM (SELECT id, digest, published_at,
                                        row_number() OVER (PARTITION BY service, node ORDER BY generation DESC) AS rank
                                 FROM steps)
                 WHERE (rank > 1 OR digest IS NULL) AND (rank > ?1 OR published_at < ?2)
                   AND id NOT IN (SELECT id FROM good)"
            ),
            Self::Outbox => "SELECT id FROM outbox WHERE asked_at < ?2 AND ?1 = ?1",
            Self::Previews => "SELECT rowid FROM previews WHERE made_at < ?2 AND ?1 = ?1",
            Self::Holds => "SELECT number FROM holds WHERE coalesce(ended_at, until) < ?2 AND ?1 = ?1",
            Self::Votes => "SELECT id FROM votes WHERE at < ?2 AND ?1 = ?1",
        }
    }

    /// Deletes the rows of which ?1 is the array of ids.
    fn deletion(self) -> &'static str {
        match self {
            Self::Plans => "DELETE FROM plans WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Blobs => {
                "DELETE FROM blobs WHERE rowid IN (SELECT value FROM json_each(?1))
                 AND NOT EXISTS (SELECT 1 FROM plan_blobs WHERE blob = digest)"
            }
            Self::Events => "DELETE FROM events WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Logs => "DELETE FROM logs WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Releases => "DELETE FROM releases WHERE number IN (SELECT value FROM json_each(?1))",
            Self::Steps => "DELETE FROM steps WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Outbox => "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Previews => "DELETE FROM previews WHERE rowid IN (SELECT value FROM json_each(?1))",
            Self::Holds => "DELETE FROM holds WHERE number IN (SELECT value FROM json_each(?1))",
            Self::Votes => "DELETE FROM votes WHERE id IN (SELECT value FROM json_each(?1))",
        }
    }

    /// How many rows one transaction deletes: some five milliseconds in which no other write gets its turn. A plan of
    /// usual size is six pages and ten names of content; an event is a small part of one.
    pub(super) fn chunk(self) -> usize {
        match self {
            Self::Plans | Self::Blobs | Self::Releases | Self::Previews => 50,
            Self::Events | Self::Logs | Self::Steps | Self::Outbox | Self::Holds | Self::Votes => 2000,
        }
    }

    fn kept(self, keep: Retention) -> i64 {
        match self {
            Self::Plans | Self::Steps => keep.plans_per_node.into(),
            Self::Releases => keep.releases.into(),
            Self::Blobs | Self::Outbox | Self::Previews | Self::Holds | Self::Votes => 0,
            Self::Events => i64::try_from(keep.events).unwrap_or(i64::MAX),
            Self::Logs => i64::try_from(keep.log_lines_per_node).unwrap_or(i64::MAX),
        }
    }

    fn cutoff(self, keep: Retention, now: Timestamp) -> Timestamp {
        match self {
            Self::Outbox => outbox::cutoff(now),
            _ => keep.cutoff(now),
        }
    }
}

/// The rows that may go.
pub(super) async fn victims(
    readers: &SqlitePool,
    history: History,
    keep: Retention,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let query = sqlx::query_scalar(history.victims())
        .bind(history.kept(keep))
        .bind(nanoseconds(history.cutoff(keep, now)));
    query.fetch_all(readers).await.doing("looking for old history")
}

/// Deletes them.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    history: History,
    victims: &[i64],
) -> Result<(), StoreError> {
    let victims = serde_json::to_string(victims).expect("numbers are JSON");
    sqlx::query(history.deletion()).bind(victims).execute(connection).await.doing("deleting old history")?;
    Ok(())
}
