//! What is read, on connections that cannot write and do not wait for the one that does.

use std::str::FromStr;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use gitops_core::name::{Digest, NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::planner::Underway;
use gitops_core::status::{NodeStatus, Reported, ReportedNode};
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::decisions;
use super::error::{Doing as _, unreadable};
use super::prepare::timestamp;
use super::write::{self, LAST_EVENT};
use super::{Event, Identity, NewEvent, Snapshot, StoreError, StoredToken};
use super::{releases, underway};

/// The newest state of everything, as of one moment.
pub(super) async fn snapshot(readers: &SqlitePool) -> Result<Snapshot, StoreError> {
    let mut moment = readers.begin().await.doing("starting to read")?;
    let release = releases::newest(&mut moment).await?.map(Box::new);
    let underway = match &release {
        Some(release) => underway::of(&mut moment, release).await?,
        None => Underway::default(),
    };
    Ok(Snapshot {
        plans: newest_plans(&mut moment).await?.into_iter().map(|plan| (plan.node.clone(), plan)).collect(),
        reported: reported(&mut moment).await?,
        deployed: deployed(&mut moment).await?,
        release,
        underway,
        last_event: last_event(&mut moment).await?,
        outbox: super::outbox::read(&mut moment).await?,
        decisions: decisions::read(&mut moment).await?,
        version: write::version(&mut moment).await?,
    })
}

async fn newest_plans(connection: &mut SqliteConnection) -> Result<Vec<Arc<NodePlan>>, StoreError> {
    let query = "SELECT document FROM plans
                 WHERE (node, generation) IN (SELECT node, max(generation) FROM plans GROUP BY node)";
    let mut rows = sqlx::query(query).fetch(connection);
    let mut plans = Vec::new();
    // One row at a time: the documents of a large fleet are best not held all at once.
    while let Some(row) = rows.try_next().await.doing("reading the plans")? {
        plans.push(parse_plan(row.get_unchecked(0))?);
    }
    Ok(plans)
}

async fn reported(connection: &mut SqliteConnection) -> Result<Reported, StoreError> {
    let query = "SELECT node, heard.at, document FROM statuses JOIN heard USING (node)";
    let mut rows = sqlx::query(query).fetch(connection);
    let mut reported = Reported::default();
    while let Some(row) = rows.try_next().await.doing("reading the statuses")? {
        let status: NodeStatus = json("status", row.get_unchecked(2))?;
        let heard_at = timestamp(row.get_unchecked(1));
        reported.nodes.insert(
            parse("status", row.get_unchecked(0))?,
            ReportedNode { status: Arc::new(status), heard_at },
        );
    }
    Ok(reported)
}

async fn deployed(connection: &mut SqliteConnection) -> Result<Option<Revision>, StoreError> {
    let revision = sqlx::query_scalar("SELECT revision FROM deployed").fetch_optional(connection).await;
    let revision: Option<String> = revision.doing("reading the deployed revision")?;
    revision.map(|revision| parse("revision", &revision)).transpose()
}

async fn last_event(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let last: i64 =
        sqlx::query_scalar(LAST_EVENT).fetch_one(connection).await.doing("reading the last event")?;
    Ok(last.unsigned_abs())
}

/// Up to `limit` events after number `after`.
pub(super) async fn events(readers: &SqlitePool, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
    let query = "SELECT id, document FROM events WHERE id > ?1 ORDER BY id LIMIT ?2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query_as(query).bind(after).bind(limit).fetch_all(readers).await;
    let rows: Vec<(i64, String)> = rows.doing("reading events")?;
    let event = |(id, document): (i64, String)| -> Result<Event, StoreError> {
        let event: NewEvent = json("event", &document)?;
        Ok(Event { id: id.unsigned_abs(), event })
    };
    rows.into_iter().map(event).collect()
}

/// Content by digest.
pub(super) async fn blob(readers: &SqlitePool, digest: Digest) -> Result<Option<Arc<[u8]>>, StoreError> {
    let query = sqlx::query_scalar("SELECT content FROM blobs WHERE digest = ?1").bind(digest.to_string());
    let content: Option<Vec<u8>> = query.fetch_optional(readers).await.doing("reading content")?;
    Ok(content.map(Arc::from))
}

/// The plan of `node` with this digest, or its newest.
pub(super) async fn plan(
    readers: &SqlitePool,
    node: &NodeName,
    digest: Option<Digest>,
) -> Result<Option<Arc<NodePlan>>, StoreError> {
    let query = "SELECT document FROM plans WHERE node = ?1 AND (?2 IS NULL OR digest = ?2)
                 ORDER BY generation DESC LIMIT 1";
    let query = sqlx::query_scalar(query).bind(node.as_str()).bind(digest.map(|digest| digest.to_string()));
    let document: Option<String> = query.fetch_optional(readers).await.doing("reading a plan")?;
    document.as_deref().map(parse_plan).transpose()
}

/// All tokens, by digest.
pub(super) async fn tokens(readers: &SqlitePool) -> Result<Vec<StoredToken>, StoreError> {
    type Row = (String, Option<String>, String, String, i64);
    let query =
        sqlx::query_as("SELECT digest, node, operator, roles, created_at FROM tokens ORDER BY digest");
    let rows: Vec<Row> = query.fetch_all(readers).await.doing("reading the tokens")?;
    let token = |(digest, node, operator, roles, created_at): Row| {
        let identity = match node {
            None => Identity::Operator(parse("token", &operator)?),
            Some(node) => Identity::Node(parse("token", &node)?),
        };
        let (digest, roles) = (parse("token", &digest)?, json("token", &roles)?);
        Ok(StoredToken { digest, identity, roles, created_at: timestamp(created_at) })
    };
    rows.into_iter().map(token).collect()
}

fn parse_plan(document: &str) -> Result<Arc<NodePlan>, StoreError> {
    json("plan", document).map(Arc::new)
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    document: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(document).map_err(|error| unreadable(what, error))
}

/// A validated name, revision or digest.
fn parse<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: FromStr<Err = gitops_core::name::NameError>,
{
    text.parse().map_err(|error| unreadable(what, error))
}
