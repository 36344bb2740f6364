//! Log lines: written as a set, read by service.

use gitops_core::log::{LogEntry, LogLine, LogQuery};
use gitops_core::name::{NodeName, ServiceName};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use super::StoreError;
use super::error::{Doing as _, unreadable};
use super::prepare::nanoseconds;

/// Lines of one node as rows. The document travels inside the array: it is short, and its parsing is cheap.
#[derive(Debug)]
pub(super) struct Prepared {
    node: String,
    heard_at: i64,
    rows: String,
}

#[derive(Serialize)]
struct Row {
    service: ServiceName,
    attempt: i64,
    seq: u32,
    document: String,
}

const JSON: &str = "a line has no map with keys that are not strings";

impl Prepared {
    pub(super) fn new(node: &NodeName, lines: &[LogLine], heard_at: Timestamp) -> Self {
        let row = |line: &LogLine| {
            let (attempt, seq) = (nanoseconds(line.attempt), line.seq);
            Row {
                service: line.service.clone(),
                attempt,
                seq,
                document: serde_json::to_string(line).expect(JSON),
            }
        };
        let rows: Vec<Row> = lines.iter().map(row).collect();
        let rows = serde_json::to_string(&rows).expect(JSON);
        Self { node: node.as_str().to_owned(), heard_at: nanoseconds(heard_at), rows }
    }
}

/// Writes those that are not here yet.
pub(super) async fn append(connection: &mut SqliteConnection, lines: Prepared) -> Result<(), StoreError> {
    let statement = "INSERT OR IGNORE INTO logs (node, service, attempt, seq, heard_at, document)
                     SELECT ?1, value->>'service', value->>'attempt', value->>'seq', ?2, value->>'document'
                     FROM json_each(?3) ORDER BY key";
    let query = sqlx::query(statement).bind(lines.node).bind(lines.heard_at).bind(lines.rows);
    query.execute(connection).await.doing("appending log lines")?;
    Ok(())
}

/// Without `after` the newest, else the oldest after it; in both cases oldest first.
pub(super) async fn read(readers: &SqlitePool, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
    let LogQuery { service, node, after, limit } = query;
    let newest =
        "SELECT id, node, document FROM logs WHERE service = ?1 AND (?2 IS NULL OR node = ?2) AND id > ?3
                  ORDER BY id DESC LIMIT ?4";
    let next =
        "SELECT id, node, document FROM logs WHERE service = ?1 AND (?2 IS NULL OR node = ?2) AND id > ?3
                ORDER BY id LIMIT ?4";
    let statement = if *after == 0 { newest } else { next };
    let statement =
        sqlx::query_as(statement).bind(service.as_str()).bind(node.as_ref().map(NodeName::as_str));
    let after = i64::try_from(*after).unwrap_or(i64::MAX);
    let rows = statement.bind(after).bind(limit).fetch_all(readers).await;
    let rows: Vec<(i64, String, String)> = rows.doing("reading log lines")?;
    let mut entries = rows.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.id);
    Ok(entries)
}

fn entry((id, node, document): (i64, String, String)) -> Result<LogEntry, StoreError> {
    Ok(LogEntry {
        id: id.unsigned_abs(),
        node: node.parse().map_err(|error| unreadable("log line", error))?,
        line: serde_json::from_str(&document).map_err(|error| unreadable("log line", error))?,
    })
}
