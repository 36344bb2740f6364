//! What somebody saw before it was deployed.

use gitops_core::name::Digest;
use gitops_core::reconcile::preview::Preview;
use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use super::super::{KeptPreview, PREVIEW_BYTES, PREVIEWS};
use super::StoreError;
use super::error::{Doing as _, unreadable};
use super::prepare::{nanoseconds, timestamp};

/// A row.
#[derive(Debug)]
pub(super) struct Prepared {
    id: String,
    made_at: i64,
    document: String,
}

impl Prepared {
    /// None for a preview that has no id.
    pub(super) fn new(preview: &Preview, made_at: Timestamp) -> Option<Self> {
        let id = preview.diff.plan?.to_string();
        let document =
            serde_json::to_string(preview).expect("a preview has no map with keys that are not strings");
        Some(Self { id, made_at: nanoseconds(made_at), document })
    }
}

/// Keeps it unless it is kept, and forgets the oldest of too many.
pub(super) async fn keep(connection: &mut SqliteConnection, preview: Prepared) -> Result<(), StoreError> {
    let doing = "keeping a preview";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let statement = "INSERT OR IGNORE INTO previews (id, made_at, document) VALUES (?1, ?2, ?3)";
    let query = sqlx::query(statement).bind(preview.id).bind(preview.made_at).bind(preview.document);
    query.execute(&mut *transaction).await.doing(doing)?;
    let statement = "DELETE FROM previews WHERE id IN (
                         SELECT id FROM (SELECT id, row_number() OVER newest AS rank,
                                                sum(octet_length(document)) OVER newest AS bytes
                                         FROM previews WINDOW newest AS (ORDER BY made_at DESC, id
                                                                        ROWS UNBOUNDED PRECEDING))
                         WHERE rank > 1 AND (rank > ?1 OR bytes > ?2))";
    let [count, bytes] = [PREVIEWS, PREVIEW_BYTES].map(|most| i64::try_from(most).unwrap_or(i64::MAX));
    sqlx::query(statement).bind(count).bind(bytes).execute(&mut *transaction).await.doing(doing)?;
    transaction.commit().await.doing(doing)
}

/// Notes that what it shows was published.
pub(super) async fn deployed(
    connection: &mut SqliteConnection,
    id: Digest,
    at: Option<i64>,
) -> Result<(), sqlx::Error> {
    let statement = "UPDATE previews SET deployed_at = coalesce(deployed_at, ?2) WHERE id = ?1";
    sqlx::query(statement).bind(id.to_string()).bind(at).execute(connection).await?;
    Ok(())
}

/// The one with this id.
pub(super) async fn read(readers: &SqlitePool, id: Digest) -> Result<Option<KeptPreview>, StoreError> {
    let query = "SELECT made_at, deployed_at, document FROM previews WHERE id = ?1";
    let row = sqlx::query_as(query).bind(id.to_string()).fetch_optional(readers).await;
    let row: Option<(i64, Option<i64>, String)> = row.doing("reading a preview")?;
    let kept = |(made_at, deployed_at, document): (i64, Option<i64>, String)| {
        let preview = serde_json::from_str(&document).map_err(|error| unreadable("preview", error))?;
        Ok(KeptPreview { preview, made_at: timestamp(made_at), deployed_at: deployed_at.map(timestamp) })
    };
    row.map(kept).transpose()
}
