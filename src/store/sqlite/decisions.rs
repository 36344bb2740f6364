//! What people decided: each decision is one transaction with what is told of it.

use gitops_core::decision::{Decision, Decisions, Hold, KeptHold, MAX_VOTES, Vote};
use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use super::error::Doing as _;
use super::prepare::{nanoseconds, timestamp};
use super::read::json;
use super::releases;
use super::write::{insert_events, next_version};
use super::{Decided, NewEvent, StoreError};

/// Writes it down, unless there is nothing to decide any more.
pub(super) async fn decide(
    connection: &mut SqliteConnection,
    decision: Decision,
    event: NewEvent,
) -> Result<Option<Decided>, StoreError> {
    let doing = "writing down a decision";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let done = match decision {
        Decision::Begin(hold) => Some(Some(begin(&mut transaction, hold).await?)),
        Decision::End { number, by, at } => end(&mut transaction, number, &by, at).await?.map(Some),
        Decision::Expire(number) => expire(&mut transaction, number).await?.map(Some),
        Decision::Retry(revision) => releases::retry(&mut transaction, &revision).await?.then_some(None),
        Decision::Vote(vote) => Some(cast(&mut transaction, &vote).await.doing(doing).map(|()| None)?),
    };
    let Some(hold) = done else { return Ok(None) };
    let version = next_version(&mut transaction).await?;
    let event = insert_events(&mut transaction, vec![event]).await?.remove(0);
    transaction.commit().await.doing(doing)?;
    Ok(Some(Decided { hold, version, event }))
}

async fn begin(connection: &mut SqliteConnection, hold: Hold) -> Result<Hold, StoreError> {
    let statement = "INSERT INTO holds (until, document) VALUES (?1, ?2) RETURNING number";
    let document = serde_json::to_string(&hold).expect("a hold is JSON");
    let query = sqlx::query_scalar(statement).bind(hold.until.map(nanoseconds)).bind(document);
    let number: i64 = query.fetch_one(connection).await.doing("writing down a hold")?;
    Ok(Hold { number: number.unsigned_abs(), ..hold })
}

/// None where there is no such hold, or somebody ended it.
async fn end(
    connection: &mut SqliteConnection,
    number: u64,
    by: &str,
    at: Timestamp,
) -> Result<Option<Hold>, StoreError> {
    let statement = "UPDATE holds SET ended_at = ?2, ended_by = ?3
                     WHERE number = ?1 AND ended_at IS NULL RETURNING document";
    let query = sqlx::query_scalar(statement).bind(id(number)).bind(nanoseconds(at)).bind(by);
    let document: Option<String> = query.fetch_optional(connection).await.doing("ending a hold")?;
    document.map(|document| numbered(number, &document)).transpose()
}

/// None where there is no such hold, somebody ended it, or it was told before that its time is over.
async fn expire(connection: &mut SqliteConnection, number: u64) -> Result<Option<Hold>, StoreError> {
    let statement = "UPDATE holds SET is_told = 1
                     WHERE number = ?1 AND ended_at IS NULL AND is_told = 0 RETURNING document";
    let query = sqlx::query_scalar(statement).bind(id(number));
    let document: Option<String> = query.fetch_optional(connection).await.doing("telling of a hold")?;
    document.map(|document| numbered(number, &document)).transpose()
}

/// A document was written before its row had a number.
fn numbered(number: u64, document: &str) -> Result<Hold, StoreError> {
    Ok(Hold { number, ..json("hold", document)? })
}

/// The newest votes stay.
async fn cast(connection: &mut SqliteConnection, vote: &Vote) -> Result<(), sqlx::Error> {
    let document = serde_json::to_string(vote).expect("a vote is JSON");
    let query = sqlx::query("INSERT INTO votes (at, document) VALUES (?1, ?2)").bind(nanoseconds(vote.at));
    query.bind(document).execute(&mut *connection).await?;
    let statement = "DELETE FROM votes WHERE id NOT IN (SELECT id FROM votes ORDER BY id DESC LIMIT ?1)";
    let most = i64::try_from(MAX_VOTES).unwrap_or(i64::MAX);
    sqlx::query(statement).bind(most).execute(connection).await.map(drop)
}

/// What counts, and what is shown.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Decisions, StoreError> {
    let query = "SELECT number, document FROM holds WHERE ended_at IS NULL ORDER BY number";
    let rows = sqlx::query_as(query).fetch_all(&mut *connection).await;
    let rows: Vec<(i64, String)> = rows.doing("reading the holds")?;
    let hold = |(number, document): (i64, String)| numbered(number.unsigned_abs(), &document);
    let holds = rows.into_iter().map(hold).collect::<Result<_, _>>()?;
    let query = sqlx::query_scalar("SELECT document FROM votes ORDER BY id");
    let rows: Vec<String> = query.fetch_all(connection).await.doing("reading the votes")?;
    let votes = rows.iter().map(|document| json("vote", document)).collect::<Result<_, _>>()?;
    Ok(Decisions { holds, votes })
}

/// The newest holds, the newest first.
pub(super) async fn holds(readers: &SqlitePool, limit: u32) -> Result<Vec<KeptHold>, StoreError> {
    type Row = (i64, String, Option<i64>, Option<String>);
    let query = "SELECT number, document, ended_at, ended_by FROM holds ORDER BY number DESC LIMIT ?1";
    let rows: Vec<Row> =
        sqlx::query_as(query).bind(limit).fetch_all(readers).await.doing("reading the holds")?;
    let kept = |(number, document, ended_at, ended_by): Row| {
        let hold = numbered(number.unsigned_abs(), &document)?;
        let ended_at: Option<Timestamp> = ended_at.map(timestamp);
        Ok(KeptHold { hold, ended_at, ended_by: ended_by.map(Into::into) })
    };
    rows.into_iter().map(kept).collect()
}

/// Numbers are counted from one; one that no row can have finds none.
fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
