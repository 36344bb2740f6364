//! The outbox: rows that are replaced as a set.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{Connection as _, SqliteConnection};

use super::super::outbox::{Change, Errand, ErrandKey, Outbox};
use super::StoreError;
use super::error::{Doing as _, unreadable};
use super::prepare::nanoseconds;

/// Changes as rows to be. A row without a document goes.
#[derive(Debug)]
pub(super) struct Prepared(String);

#[derive(Serialize)]
struct Row {
    key: ErrandKey,
    asked_at: i64,
    document: Option<String>,
}

impl Prepared {
    pub(super) fn new(changes: BTreeMap<ErrandKey, Change>) -> Self {
        let document = |errand: Errand| serde_json::to_string(&errand).expect("an errand is JSON");
        let row = |(key, change): (ErrandKey, Change)| {
            let asked_at = nanoseconds(change.asked_at());
            let document = match change {
                Change::Put(errand) => Some(document(errand)),
                Change::Done(_) => None,
            };
            Row { key, asked_at, document }
        };
        let rows: Vec<Row> = changes.into_iter().map(row).collect();
        Self(serde_json::to_string(&rows).expect("rows are texts and numbers"))
    }
}

/// Makes the rows what the changes say, but for those that are newer.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    Prepared(rows): Prepared,
) -> Result<(), StoreError> {
    let doing = "changing the outbox";
    let gone = "DELETE FROM outbox WHERE EXISTS (
                    SELECT 1 FROM json_each(?1)
                    WHERE value->>'key' = outbox.key AND outbox.asked_at <= value->>'asked_at'
                )";
    // What is left of the same key is newer, and stays.
    let put = "INSERT OR IGNORE INTO outbox (key, asked_at, document)
               SELECT value->>'key', value->>'asked_at', value->>'document' FROM json_each(?1)
               WHERE value->>'document' IS NOT NULL";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    for statement in [gone, put] {
        sqlx::query(statement).bind(&rows).execute(&mut *transaction).await.doing(doing)?;
    }
    transaction.commit().await.doing(doing)
}

/// All of it.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Outbox, StoreError> {
    let rows = sqlx::query_as("SELECT key, document FROM outbox").fetch_all(connection).await;
    let rows: Vec<(String, String)> = rows.doing("reading the outbox")?;
    let errand = |(key, document): (String, String)| {
        let errand = serde_json::from_str(&document).map_err(|error| unreadable("errand", error))?;
        Ok((key.into(), errand))
    };
    rows.into_iter().map(errand).collect()
}
