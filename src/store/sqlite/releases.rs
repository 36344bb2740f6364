//! Releases, the plans and steps that belong to them, and what became of those.

use std::collections::BTreeSet;

use gitops_core::name::{Generation, NodeName, Revision, ServiceName};
use gitops_core::release::{
    Failed, KeptDiff, NewRelease, Opened, PlanRecord, Reached, Release, ReleaseQuery, StepChange, StepQuery,
    StepRecord,
};
use gitops_core::status::PlanId;
use serde_json::json;
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::super::chain;
use super::StoreError;
use super::error::{Doing as _, unreadable};
use super::prepare::{nanoseconds, timestamp};

const JSON: &str = "a release has no map with keys that are not strings";

/// A release as a row to be.
#[derive(Debug)]
pub(super) struct PreparedRelease {
    revision: Revision,
    began_at: i64,
    document: String,
    diff: String,
    services: String,
}

impl PreparedRelease {
    pub(super) fn new(opened: &Opened) -> Self {
        let Opened { release, diff, services } = opened;
        Self {
            revision: release.revision.clone(),
            began_at: nanoseconds(release.began_at),
            document: serde_json::to_string(release).expect(JSON),
            diff: serde_json::to_string(diff).expect(JSON),
            services: serde_json::to_string(services).expect(JSON),
        }
    }
}

/// Begins a release, unless the newest one is the same, and says which is the newest now.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    prepared: Option<PreparedRelease>,
) -> Result<Option<i64>, StoreError> {
    let doing = "beginning a release";
    let newest =
        "SELECT number, revision, (SELECT revision FROM deployed) FROM releases ORDER BY number DESC LIMIT 1";
    let newest: Option<(i64, String, Option<String>)> =
        sqlx::query_as(newest).fetch_optional(&mut *connection).await.doing(doing)?;
    let number = newest.as_ref().map(|(number, ..)| *number);
    let Some(PreparedRelease { revision, began_at, document, diff, services }) = prepared else {
        return Ok(number);
    };
    let parse = |text: &str| text.parse::<Revision>().map_err(|error| unreadable("release", error));
    let of = newest.as_ref().map(|(_, of, _)| parse(of)).transpose()?;
    let deployed = newest.and_then(|(.., deployed)| deployed).as_deref().map(parse).transpose()?;
    if !chain::begins(&revision, deployed.as_ref(), of.as_ref()) {
        return Ok(number);
    }
    let statement = "INSERT INTO releases (revision, began_at, document, diff) VALUES (?1, ?2, ?3, ?4)";
    let query = sqlx::query(statement).bind(revision.as_str()).bind(began_at).bind(document).bind(diff);
    let number = query.execute(&mut *connection).await.doing(doing)?.last_insert_rowid();
    name_services(connection, number, services).await?;
    Ok(Some(number))
}

/// The release changes these services, given as a JSON array.
async fn name_services(
    connection: &mut SqliteConnection,
    release: i64,
    services: String,
) -> Result<(), StoreError> {
    let statement = "INSERT OR IGNORE INTO release_services (service, release)
                     SELECT value, ?2 FROM json_each(?1)";
    let query = sqlx::query(statement).bind(services).bind(release);
    query.execute(connection).await.doing("naming the services of a release")?;
    Ok(())
}

/// Step changes as rows to be.
#[derive(Debug)]
pub(super) struct PreparedSteps {
    rows: String,
    services: String,
}

impl PreparedSteps {
    pub(super) fn new(changes: &[StepChange]) -> Option<Self> {
        let services: BTreeSet<&ServiceName> = changes.iter().map(|change| &change.service).collect();
        (!changes.is_empty()).then(|| Self {
            rows: serde_json::to_string(changes).expect(JSON),
            services: serde_json::to_string(&services).expect(JSON),
        })
    }
}

/// Steps take a new form.
pub(super) async fn change_steps(
    connection: &mut SqliteConnection,
    prepared: Option<PreparedSteps>,
    release: Option<i64>,
    published_at: Option<i64>,
) -> Result<(), StoreError> {
    let Some(PreparedSteps { rows, services }) = prepared else { return Ok(()) };
    let statement =
        "INSERT INTO steps (service, node, generation, wave, digest, effect, release, published_at)
                     SELECT value->>'service', value->>'node', value->>'generation', value->>'wave',
                            value->>'digest', value->>'effect', ?2, ?3
                     FROM json_each(?1)";
    let query = sqlx::query(statement).bind(rows).bind(release).bind(published_at);
    query.execute(&mut *connection).await.doing("recording which steps change")?;
    match release {
        Some(release) => name_services(connection, release, services).await,
        None => Ok(()),
    }
}

/// What nodes have reached, as rows to be: the first report of a fact counts.
#[derive(Debug, Default)]
pub(super) struct PreparedReached {
    acks: Vec<(NodeName, PlanId, i64)>,
    steps: Vec<(NodeName, ServiceName, Generation, i64)>,
}

impl PreparedReached {
    pub(super) fn add(&mut self, node: &NodeName, reached: &Reached, at: i64) {
        if reached.is_acked {
            self.acks.push((node.clone(), reached.plan, at));
        }
        let step = |service: &ServiceName| (node.clone(), service.clone(), reached.plan.generation, at);
        self.steps.extend(reached.services.iter().map(step));
    }
}

/// Writes down when plans were acknowledged and steps satisfied, where that was not known.
pub(super) async fn reach(
    connection: &mut SqliteConnection,
    reached: PreparedReached,
) -> Result<(), StoreError> {
    let doing = "recording what nodes have done";
    let PreparedReached { acks, steps } = reached;
    // One after the other, because the first report of a fact counts.
    let statement = "UPDATE plans SET acked_at = ?3
                     WHERE node = ?1 AND generation = ?2 AND digest = ?4 AND acked_at IS NULL AND release IS NOT NULL";
    for (node, plan, at) in acks {
        let query = sqlx::query(statement).bind(node.as_str().to_owned()).bind(column(plan.generation));
        let query = query.bind(at).bind(plan.digest.to_string());
        query.execute(&mut *connection).await.doing(doing)?;
    }
    let statement = "UPDATE steps SET satisfied_at = ?4
                     WHERE id = (SELECT id FROM steps WHERE service = ?1 AND node = ?2 AND generation <= ?3
                                 ORDER BY generation DESC LIMIT 1)
                       AND satisfied_at IS NULL";
    for (node, service, generation, at) in steps {
        let query = sqlx::query(statement).bind(service.as_str().to_owned()).bind(node.as_str().to_owned());
        let query = query.bind(column(generation)).bind(at);
        query.execute(&mut *connection).await.doing(doing)?;
    }
    Ok(())
}

fn column(generation: Generation) -> i64 {
    i64::try_from(generation.0).expect("a generation is at most 2^53")
}

/// The newest release is done, if it is of this revision.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    revision: &Revision,
    at: i64,
) -> Result<(), StoreError> {
    let statement = "UPDATE releases SET finished_at = ?2
                     WHERE number = (SELECT max(number) FROM releases) AND revision = ?1 AND finished_at IS NULL";
    let query = sqlx::query(statement).bind(revision.as_str()).bind(at);
    query.execute(connection).await.doing("finishing a release")?;
    Ok(())
}

/// The newest release has failed, if it is of what is deployed and had not.
pub(super) async fn fail(connection: &mut SqliteConnection, failed: &Failed) -> Result<(), StoreError> {
    let statement = "UPDATE releases SET failed = ?1
                     WHERE number = (SELECT max(number) FROM releases) AND failed IS NULL
                       AND revision = (SELECT revision FROM deployed)";
    let query = sqlx::query(statement).bind(serde_json::to_string(failed).expect(JSON));
    query.execute(connection).await.doing("recording that a release failed")?;
    Ok(())
}

/// The newest release is begun again, if it is of this revision and had failed.
pub(super) async fn retry(
    connection: &mut SqliteConnection,
    revision: &Revision,
) -> Result<bool, StoreError> {
    let statement = "UPDATE releases SET failed = NULL, attempts = attempts + 1
                     WHERE number = (SELECT max(number) FROM releases) AND failed IS NOT NULL AND revision = ?1";
    let query = sqlx::query(statement).bind(revision.as_str());
    let done = query.execute(connection).await.doing("beginning a release again")?;
    Ok(done.rows_affected() > 0)
}

type ReleaseRow = (i64, Option<i64>, Option<String>, i64, String);

fn release((number, finished_at, failed, attempts, document): ReleaseRow) -> Result<Release, StoreError> {
    let unreadable = |error| unreadable("release", error);
    let release: NewRelease = serde_json::from_str(&document).map_err(unreadable)?;
    let failed = failed.map(|failed| serde_json::from_str(&failed)).transpose().map_err(unreadable)?;
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    let finished_at = finished_at.map(timestamp);
    Ok(Release { number: number.unsigned_abs(), release, finished_at, failed, attempts })
}

/// The newest.
pub(super) async fn newest(connection: &mut SqliteConnection) -> Result<Option<Release>, StoreError> {
    let query =
        "SELECT number, finished_at, failed, attempts, document FROM releases ORDER BY number DESC LIMIT 1";
    let row: Option<ReleaseRow> =
        sqlx::query_as(query).fetch_optional(connection).await.doing("reading the newest release")?;
    row.map(release).transpose()
}

/// The newest first.
pub(super) async fn page(readers: &SqlitePool, query: &ReleaseQuery) -> Result<Vec<Release>, StoreError> {
    let ReleaseQuery { before, service, limit } = query;
    let statement = "SELECT number, finished_at, failed, attempts, document FROM releases
                     WHERE number < ?1
                       AND (?2 IS NULL OR number IN (SELECT release FROM release_services WHERE service = ?2))
                     ORDER BY number DESC LIMIT ?3";
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let service = service.as_ref().map(|service| service.as_str().to_owned());
    let rows = sqlx::query_as(statement).bind(before).bind(service).bind(limit).fetch_all(readers).await;
    let rows: Vec<ReleaseRow> = rows.doing("reading releases")?;
    rows.into_iter().map(release).collect()
}

/// What a release did.
pub(super) async fn diff(readers: &SqlitePool, number: u64) -> Result<Option<KeptDiff>, StoreError> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let query = sqlx::query_scalar("SELECT diff FROM releases WHERE number = ?1").bind(number);
    let diff: Option<String> = query.fetch_optional(readers).await.doing("reading what a release did")?;
    diff.map(|diff| serde_json::from_str(&diff).map_err(|error| unreadable("release", error))).transpose()
}

type PlanRow = (String, i64, String, Option<i64>, Option<i64>, Option<i64>);

/// The newest plan of each node.
pub(super) async fn plan_records(
    readers: &SqlitePool,
    release: Option<u64>,
) -> Result<Vec<PlanRecord>, StoreError> {
    let every = "SELECT node, max(generation), digest, release, published_at, acked_at FROM plans
                 GROUP BY node ORDER BY node";
    let of_release = "SELECT node, max(generation), digest, release, published_at, acked_at FROM plans
                      WHERE release = ?1 GROUP BY node ORDER BY node";
    let query = sqlx::query_as(if release.is_some() { of_release } else { every });
    let query = match release {
        Some(release) => query.bind(i64::try_from(release).unwrap_or(i64::MAX)),
        None => query,
    };
    let rows: Vec<PlanRow> = query.fetch_all(readers).await.doing("reading when plans were acknowledged")?;
    rows.into_iter().map(plan_record).collect()
}

fn plan_record(row: PlanRow) -> Result<PlanRecord, StoreError> {
    let (node, generation, digest, release, published_at, acked_at) = row;
    let unreadable = |error| unreadable("plan", error);
    let digest = digest.parse().map_err(unreadable)?;
    Ok(PlanRecord {
        node: node.parse().map_err(unreadable)?,
        plan: PlanId { generation: Generation(generation.unsigned_abs()), digest },
        release: release.map(i64::unsigned_abs),
        published_at: published_at.map(timestamp),
        acked_at: acked_at.map(timestamp),
    })
}

type StepRow = (String, Option<i64>, Option<i64>, Option<i64>);

/// The columns of a [`StepRow`].
macro_rules! step_columns {
    () => {
        "json_object('service', service, 'node', node, 'generation', generation, 'wave', wave, 'effect', effect,
                     'digest', digest),
         release, published_at, satisfied_at"
    };
}

/// What a release brought, the oldest first.
pub(super) async fn brought(
    executor: impl SqliteExecutor<'_>,
    release: u64,
) -> Result<Vec<StepRecord>, StoreError> {
    let statement = concat!("SELECT ", step_columns!(), " FROM steps WHERE release = ?1 ORDER BY id");
    let rows = sqlx::query_as(statement).bind(i64::try_from(release).unwrap_or(i64::MAX));
    let rows: Vec<StepRow> = rows.fetch_all(executor).await.doing("reading what a release brought")?;
    rows.into_iter().map(step_record).collect()
}

/// By service and node, the newest first.
pub(super) async fn steps(readers: &SqlitePool, query: &StepQuery) -> Result<Vec<StepRecord>, StoreError> {
    let StepQuery { services, node, limit } = query;
    let statement = concat!(
        "SELECT ",
        step_columns!(),
        " FROM (SELECT *, row_number() OVER (PARTITION BY service, node ORDER BY generation DESC) AS rank
               FROM steps WHERE service IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR node = ?2))
         WHERE rank <= ?3 ORDER BY service, node, generation DESC"
    );
    let node = node.as_ref().map(|node| node.as_str().to_owned());
    let rows = sqlx::query_as(statement).bind(json!(services).to_string()).bind(node).bind(limit);
    let rows: Vec<StepRow> = rows.fetch_all(readers).await.doing("reading when steps changed")?;
    rows.into_iter().map(step_record).collect()
}

fn step_record((change, release, published_at, satisfied_at): StepRow) -> Result<StepRecord, StoreError> {
    Ok(StepRecord {
        change: serde_json::from_str(&change).map_err(|error| unreadable("step", error))?,
        release: release.map(i64::unsigned_abs),
        published_at: published_at.map(timestamp),
        satisfied_at: satisfied_at.map(timestamp),
    })
}
