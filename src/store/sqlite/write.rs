//! What is written: each function is one transaction.

use std::collections::BTreeMap;

use gitops_core::name::{Generation, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::status::PlanId;
use serde::Serialize;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection as _, Sqlite, SqliteConnection};

use super::super::chain;
use super::error::{self, Doing as _};
use super::prepare::{
    BlobRow, NamedRow, PlanRow, PreparedPublication, PreparedReport, event_rows, nanoseconds, reached,
    report_rows,
};
use super::previews;
use super::releases;
use super::rows::{Batches, Rows};
use super::{Event, Identity, NewEvent, Published, StoreError, StoredToken};

/// Writes a publication, if every plan continues its chain.
pub(super) async fn publish(
    connection: &mut SqliteConnection,
    publication: PreparedPublication,
) -> Result<Published, StoreError> {
    let doing = "publishing the plans";
    let PreparedPublication {
        chain,
        published_at,
        plans,
        named,
        blobs,
        deployed,
        plan_id,
        release,
        steps,
        failure,
        version,
        events,
    } = publication;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let known = next_version(&mut transaction).await? - 1;
    if version.is_some_and(|version| version != known) {
        return Ok(Published::Unaware);
    }
    let heads = heads(&mut transaction, chain.iter().map(|plan| &**plan)).await?;
    if let Some(node) = chain::conflict(&chain, heads)? {
        return Ok(Published::Conflict(node));
    }
    insert_blobs(&mut transaction, blobs).await.doing(doing)?;
    let release = releases::open(&mut transaction, release).await?;
    let first = insert_plans(&mut transaction, plans, published_at, release).await.doing(doing)?;
    insert_named(&mut transaction, named, first).await?;
    releases::change_steps(&mut transaction, steps, release, published_at).await?;
    if let Some(revision) = &deployed {
        set_deployed(&mut transaction, revision).await.doing(doing)?;
    }
    if let Some(failure) = failure {
        releases::fail(&mut transaction, &failure).await?;
    }
    if let Some(id) = plan_id {
        previews::deployed(&mut transaction, id, published_at).await.doing(doing)?;
    }
    let events = insert_events(&mut transaction, events).await?;
    transaction.commit().await.doing(doing)?;
    Ok(Published::Done(events))
}

/// How many publications and decisions there were.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar("SELECT version FROM written");
    let version: i64 = query.fetch_one(connection).await.doing("reading how much was written")?;
    Ok(version.unsigned_abs())
}

/// Counts one more.
pub(super) async fn next_version(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar("UPDATE written SET version = version + 1 RETURNING version");
    let version: i64 = query.fetch_one(connection).await.doing("counting what is written")?;
    Ok(version.unsigned_abs())
}

/// Where the chains of these plans' nodes end.
async fn heads(
    connection: &mut SqliteConnection,
    plans: impl Iterator<Item = &NodePlan>,
) -> Result<BTreeMap<NodeName, PlanId>, StoreError> {
    let nodes = names(plans.map(|plan| &plan.node));
    let query = "SELECT node, generation, digest FROM plans
                 WHERE (node, generation) IN (
                     SELECT node, max(generation) FROM plans
                     WHERE node IN (SELECT value FROM json_each(?1)) GROUP BY node
                 )";
    let rows = sqlx::query_as(query).bind(nodes).fetch_all(connection).await;
    let rows: Vec<(String, i64, String)> = rows.doing("reading the newest plans")?;
    let head = |(node, generation, digest): (String, i64, String)| {
        let unreadable = |error| error::unreadable("plan", error);
        let generation = Generation(generation.unsigned_abs());
        let id = PlanId { generation, digest: digest.parse().map_err(unreadable)? };
        Ok((node.parse().map_err(unreadable)?, id))
    };
    rows.into_iter().map(head).collect()
}

async fn insert_blobs(connection: &mut SqliteConnection, blobs: Batches<BlobRow>) -> Result<(), sqlx::Error> {
    let statement = "INSERT OR IGNORE INTO blobs (digest, content)
                     SELECT value->>'digest', substr(?2, value->>'start', value->>'len') FROM json_each(?1)";
    for rows in blobs {
        bind(statement, rows).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The id of the first of them: the others follow in order.
async fn insert_plans(
    connection: &mut SqliteConnection,
    plans: Batches<PlanRow>,
    published_at: Option<i64>,
    release: Option<i64>,
) -> Result<i64, sqlx::Error> {
    // The greatest id is always of the newest plan of some node, which stays; so no id is ever given twice.
    let first: i64 =
        sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM plans").fetch_one(&mut *connection).await?;
    let statement = "INSERT INTO plans (id, node, generation, digest, published_at, release, document)
                     SELECT ?3 + (value->>'place'), value->>'node', value->>'generation', value->>'digest', ?4, ?5,
                            CAST(substr(?2, value->>'start', value->>'len') AS TEXT)
                     FROM json_each(?1)";
    for rows in plans {
        bind(statement, rows).bind(first).bind(published_at).bind(release).execute(&mut *connection).await?;
    }
    Ok(first)
}

async fn insert_named(
    connection: &mut SqliteConnection,
    named: Batches<NamedRow>,
    first: i64,
) -> Result<(), StoreError> {
    let statement = "INSERT INTO plan_blobs (plan, blob)
                     SELECT ?2 + (value->>'place'), value->>'blob' FROM json_each(?1)";
    for rows in named {
        let (columns, _) = rows.into_arguments();
        let outcome = sqlx::query(statement).bind(columns).bind(first).execute(&mut *connection).await;
        let missing = |error: &sqlx::Error| {
            error.as_database_error().is_some_and(|error| error.is_foreign_key_violation())
        };
        match outcome {
            Err(error) if missing(&error) => return Err(chain::content_missing()),
            other => other.doing("recording what the plans name")?,
        };
    }
    Ok(())
}

async fn set_deployed(connection: &mut SqliteConnection, revision: &Revision) -> Result<(), sqlx::Error> {
    let statement = "INSERT OR REPLACE INTO deployed (one, revision) VALUES (1, ?1)";
    sqlx::query(statement).bind(revision.as_str()).execute(connection).await?;
    Ok(())
}

/// Appends events.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    events: Vec<NewEvent>,
) -> Result<Vec<Event>, StoreError> {
    let doing = "appending events";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let events = insert_events(&mut transaction, events).await?;
    transaction.commit().await.doing(doing)?;
    Ok(events)
}

pub(super) async fn insert_events(
    connection: &mut SqliteConnection,
    events: Vec<NewEvent>,
) -> Result<Vec<Event>, StoreError> {
    let doing = "appending events";
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let last: i64 = sqlx::query_scalar(LAST_EVENT).fetch_one(&mut *connection).await.doing(doing)?;
    let events: Vec<Event> =
        (last.unsigned_abs() + 1..).zip(events).map(|(id, event)| Event { id, event }).collect();
    let statement = "INSERT INTO events (id, at, document)
                     SELECT value->>'id', value->>'at', CAST(substr(?2, value->>'start', value->>'len') AS TEXT)
                     FROM json_each(?1)";
    for rows in event_rows(&events) {
        bind(statement, rows).execute(&mut *connection).await.doing(doing)?;
    }
    Ok(events)
}

/// Number of the newest event, also where that one is long deleted.
pub(super) const LAST_EVENT: &str = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'";

/// Records what nodes said.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    reports: Vec<PreparedReport>,
) -> Result<(), StoreError> {
    let doing = "recording statuses";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    releases::reach(&mut transaction, reached(&reports)).await?;
    let heard = heard(&mut transaction, &reports).await?;
    let (statuses, heard) = report_rows(reports, heard);
    let statement = "INSERT OR REPLACE INTO statuses (node, document)
                     SELECT value->>'node', CAST(substr(?2, value->>'start', value->>'len') AS TEXT)
                     FROM json_each(?1)";
    for rows in statuses {
        bind(statement, rows).execute(&mut *transaction).await.doing(doing)?;
    }
    let statement = "INSERT OR REPLACE INTO heard (node, at)
                     SELECT value->>'node', value->>'at' FROM json_each(?1)";
    for rows in heard {
        let (columns, _) = rows.into_arguments();
        sqlx::query(statement).bind(columns).execute(&mut *transaction).await.doing(doing)?;
    }
    transaction.commit().await.doing(doing)
}

/// When the nodes that report now were heard before.
async fn heard(
    connection: &mut SqliteConnection,
    reports: &[PreparedReport],
) -> Result<BTreeMap<NodeName, i64>, StoreError> {
    let nodes = names(reports.iter().map(|report| &report.node));
    let query = "SELECT node, at FROM heard WHERE node IN (SELECT value FROM json_each(?1))";
    let rows = sqlx::query_as(query).bind(nodes).fetch_all(connection).await;
    let rows: Vec<(String, i64)> = rows.doing("reading when nodes were heard")?;
    let heard =
        |(node, at): (String, i64)| Ok((node.parse().map_err(|e| error::unreadable("status", e))?, at));
    rows.into_iter().map(heard).collect()
}

/// Adds a token, or replaces the one with its digest.
pub(super) async fn add_token(
    connection: &mut SqliteConnection,
    token: &StoredToken,
) -> Result<(), StoreError> {
    let statement = "INSERT OR REPLACE INTO tokens (digest, node, operator, roles, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)";
    let StoredToken { digest, identity, roles, created_at } = token;
    let (node, operator) = columns_of(identity);
    let roles = serde_json::to_string(roles).expect("names are strings");
    let query = sqlx::query(statement).bind(digest.to_string()).bind(node).bind(operator).bind(roles);
    query.bind(nanoseconds(*created_at)).execute(connection).await.doing("adding a token")?;
    Ok(())
}

/// Removes all tokens of an identity.
pub(super) async fn revoke_tokens(
    connection: &mut SqliteConnection,
    identity: &Identity,
) -> Result<u64, StoreError> {
    let (node, operator) = columns_of(identity);
    let query =
        sqlx::query("DELETE FROM tokens WHERE node IS ?1 AND operator = ?2").bind(node).bind(operator);
    Ok(query.execute(connection).await.doing("revoking tokens")?.rows_affected())
}

/// An array for `json_each`.
fn names<'a>(nodes: impl Iterator<Item = &'a NodeName>) -> String {
    serde_json::to_string(&nodes.collect::<Vec<_>>()).expect("names are strings")
}

/// The columns of an identity: the node, null for an operator; and the operator, empty for a node.
fn columns_of(identity: &Identity) -> (Option<&str>, &str) {
    match identity {
        Identity::Operator(name) => (None, name.as_str()),
        Identity::Node(node) => (Some(node.as_str()), ""),
    }
}

/// A statement whose first two arguments are `rows`.
fn bind<R: Serialize>(
    statement: &'static str,
    rows: Rows<R>,
) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let (columns, content) = rows.into_arguments();
    sqlx::query(statement).bind(columns).bind(content)
}
