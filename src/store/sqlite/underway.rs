//! How far the newest release is: the steps that it brought, and, where it failed, what was there and well before.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{NodeName, ServiceName};
use gitops_core::plan::NodePlan;
use gitops_core::planner::Underway;
use gitops_core::release::{Good, Release, underway};
use sqlx::SqliteConnection;

use super::StoreError;
use super::error::{Doing as _, unreadable};
use super::releases;

/// What is known of a release.
pub(super) async fn of(connection: &mut SqliteConnection, release: &Release) -> Result<Underway, StoreError> {
    let steps = releases::brought(&mut *connection, release.number).await?;
    let good = match release.failed {
        Some(_) => good(connection, release.number).await?,
        None => Vec::new(),
    };
    Ok(underway(release, &steps, good))
}

type GoodRow = (String, String, i64, Option<String>, Option<String>);

/// The last form in which each step that the release touched was satisfied before it. The plan of one that was removed
/// is not asked for; one whose plan is gone is left out.
async fn good(connection: &mut SqliteConnection, release: u64) -> Result<Vec<Good>, StoreError> {
    let statement = "SELECT node, service, good.generation, good.digest, document FROM (
                         SELECT node, service, generation, digest,
                                row_number() OVER (PARTITION BY service, node ORDER BY generation DESC) AS rank
                         FROM steps
                         WHERE satisfied_at IS NOT NULL AND (release IS NULL OR release < ?1)
                           AND (service, node) IN (SELECT service, node FROM steps WHERE release = ?1)
                     ) AS good LEFT JOIN plans USING (node, generation) WHERE rank = 1";
    let rows = sqlx::query_as(statement).bind(i64::try_from(release).unwrap_or(i64::MAX));
    let rows: Vec<GoodRow> =
        rows.fetch_all(connection).await.doing("reading what was well before a release")?;
    let mut plans: BTreeMap<(NodeName, i64), Option<Arc<NodePlan>>> = BTreeMap::new();
    let mut good = Vec::new();
    for (node, service, generation, digest, document) in rows {
        let (node, service): (NodeName, ServiceName) = (parse(&node)?, parse(&service)?);
        if digest.is_none() {
            good.push(Good { node, service, ensure: None });
            continue;
        }
        let plan = match plans.entry((node.clone(), generation)) {
            std::collections::btree_map::Entry::Occupied(known) => known.get().clone(),
            std::collections::btree_map::Entry::Vacant(empty) => empty.insert(plan(document)?).clone(),
        };
        let ensure = plan.and_then(|plan| Some(Arc::new(plan.step(&service)?.as_ensure()?.clone())));
        good.extend(ensure.map(|ensure| Good { node, service, ensure: Some(ensure) }));
    }
    Ok(good)
}

fn plan(document: Option<String>) -> Result<Option<Arc<NodePlan>>, StoreError> {
    let parse = |text: String| serde_json::from_str(&text).map_err(|error| unreadable("plan", error));
    document.map(parse).transpose()
}

fn parse<T: std::str::FromStr<Err = gitops_core::name::NameError>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| unreadable("step", error))
}
