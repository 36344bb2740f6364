//! What happened, and why something is as it is: releases in pages, one release whole, and the way back from a service to
//! its commit.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, Query, State};
use gitops_core::applied::Applied;
use gitops_core::fleet::NodeView;
use gitops_core::log::LogQuery;
use gitops_core::name::{NodeName, ServiceName};
use gitops_core::protocol::LOG_LINES;
use gitops_core::release::{
    Brought, Evidence, Release, ReleaseEntry, ReleasePage, ReleaseQuery, ReleaseView, StepQuery, Trace, Why,
    standing, trace, why,
};
use gitops_core::yaml::suggestion;
use schemars::JsonSchema;
use serde::Deserialize;

use super::control::{Answer, Control, Request};
use super::problem::ApiError;
use super::read::parse;

/// How many releases a page holds at most: each may take a document of some hundred kilobytes to be read.
const MAX_PAGE: u32 = 100;

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Page {
    /// Only releases with a smaller number.
    before: Option<u64>,
    /// How many at most: 20, or up to 100.
    limit: Option<u32>,
    /// Only those that changed this service.
    service: Option<String>,
}

/// Releases, the newest first.
pub(super) async fn page(
    State(control): State<Control>,
    Query(Page { before, limit, service }): Query<Page>,
) -> Result<Json<ReleasePage>, ApiError> {
    let service: Option<ServiceName> = service.as_deref().map(parse).transpose()?;
    let query = ReleaseQuery { before, service, limit: limit.unwrap_or(20).min(MAX_PAGE) };
    let found = control.store.releases(&query).await?;
    if let (true, None, Some(service)) = (found.is_empty(), before, &query.service) {
        is_known(&control, service).await?;
    }
    let newest = newest(&control).await?.map_or(0, |release| release.number);
    let mut releases = Vec::with_capacity(found.len());
    for release in found {
        releases.push(entry(&control, release, newest, query.service.as_ref()).await?);
    }
    Ok(Json(ReleasePage { releases }))
}

async fn entry(
    control: &Control,
    release: Release,
    newest: u64,
    service: Option<&ServiceName>,
) -> Result<ReleaseEntry, ApiError> {
    let mut changes = Vec::new();
    if let Some(service) = service {
        let kept = control.store.release_diff(release.number).await?;
        changes.extend(kept.iter().flat_map(|kept| kept.changes_of(service)).cloned());
    }
    let standing = if release.number == newest && release.finished_at.is_none() {
        let records = control.store.plan_records(Some(newest)).await?;
        standing(&release, newest, &records, &control.fleet().await?.nodes)
    } else {
        standing(&release, newest, &[], &[])
    };
    Ok(ReleaseEntry { release, standing, changes })
}

/// Everything about one release; `latest` is a number, too.
pub(super) async fn one(
    State(control): State<Control>,
    Path(number): Path<String>,
) -> Result<Json<ReleaseView>, ApiError> {
    let wanted = match number.as_str() {
        "latest" => None,
        number => Some(number.parse().map_err(|_| not_a_number(number))?),
    };
    let newest = newest(&control).await?.ok_or_else(nothing_deployed)?.number;
    let number = wanted.unwrap_or(newest);
    let release = release(&control, number).await?;
    let kept = control.store.release_diff(number).await?;
    let Some((release, kept)) = release.zip(kept) else { return Err(gone(&control, number, newest).await?) };
    let nodes = control.store.plan_records(Some(number)).await?;
    let steps = control.store.brought(number).await?;
    let views = if number == newest { control.fleet().await?.nodes } else { Vec::new() };
    let standing = standing(&release, newest, &nodes, &views);
    Ok(Json(ReleaseView { release, standing, nodes, steps, kept }))
}

/// What the newest release put where.
pub(super) async fn applied(State(control): State<Control>) -> Result<Json<Applied>, ApiError> {
    let Json(release) = one(State(control.clone()), Path("latest".to_owned())).await?;
    match control.ask(Request::Applied(Box::new(release))).await? {
        Answer::Applied(applied) => Ok(Json(*applied)),
        _ => Err(ApiError::Stopping),
    }
}

fn not_a_number(text: &str) -> ApiError {
    let text: String = text.chars().take(40).collect();
    ApiError::Malformed(format!("`{text}` is not the number of a release: use a number, or `latest`"))
}

fn nothing_deployed() -> ApiError {
    ApiError::NotFound(
        "nothing was deployed yet, so there is no release: `gitops status` says why".to_owned(),
    )
}

/// Why there is no release with this number.
async fn gone(control: &Control, number: u64, newest: u64) -> Result<ApiError, ApiError> {
    if number == 0 || number > newest {
        return Ok(ApiError::NotFound(format!("there is no release {number}: the newest is {newest}")));
    }
    Ok(ApiError::NotFound(format!(
        "release {number} is no longer kept: {} and newer are (`keep_releases` and `keep_days` of the daemon say how long)",
        oldest(control).await?.unwrap_or(newest)
    )))
}

/// The oldest that is kept.
async fn oldest(control: &Control) -> Result<Option<u64>, ApiError> {
    let all = ReleaseQuery { limit: u32::MAX, ..ReleaseQuery::default() };
    Ok(control.store.releases(&all).await?.last().map(|release| release.number))
}

async fn newest(control: &Control) -> Result<Option<Release>, ApiError> {
    Ok(control.store.releases(&ReleaseQuery { limit: 1, ..ReleaseQuery::default() }).await?.pop())
}

async fn release(control: &Control, number: u64) -> Result<Option<Release>, ApiError> {
    let query = ReleaseQuery { before: number.checked_add(1), limit: 1, service: None };
    let found = control.store.releases(&query).await?.pop();
    Ok(found.filter(|release| release.number == number))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Where {
    /// On this node only.
    node: Option<String>,
}

/// Why a service is as it is.
pub(super) async fn because(
    State(control): State<Control>,
    Path(service): Path<String>,
    Query(Where { node }): Query<Where>,
) -> Result<Json<Why>, ApiError> {
    let service: ServiceName = parse(&service)?;
    let node: Option<NodeName> = node.as_deref().map(parse).transpose()?;
    let fleet = control.fleet().await?;
    let plans = control.plans.borrow().clone();
    let query = StepQuery { services: [service.clone()].into(), node: node.clone(), limit: 1 };
    let steps = control.store.steps(&query).await?;
    let mut releases = BTreeMap::new();
    for number in steps.iter().filter_map(|step| step.release).collect::<BTreeSet<u64>>() {
        releases.extend(release(&control, number).await?.map(|release| (number, release)));
    }
    let records = control.store.plan_records(None).await?;
    let (plans, nodes, records) = (&*plans, &*fleet.nodes, &*records);
    let evidence = Evidence { plans, nodes, records, steps: &steps, releases: &releases };
    let mut answer = why(&service, &evidence);
    if answer.nodes.is_empty() {
        return Err(unknown_service(&service, &names(&control, &fleet.nodes)));
    }
    if let Some(node) = &node {
        let elsewhere = answer.nodes.iter().map(|why| why.node.to_string()).collect::<Vec<_>>();
        answer.nodes.retain(|why| why.node == *node);
        if answer.nodes.is_empty() {
            return Err(not_there(&service, node, &elsewhere, &fleet.nodes));
        }
    }
    Ok(Json(answer))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct HowMany {
    /// How many changes at most: 10, or up to 100.
    limit: Option<u32>,
}

/// What became of a service on a node.
pub(super) async fn journal(
    State(control): State<Control>,
    Path((service, node)): Path<(String, String)>,
    Query(HowMany { limit }): Query<HowMany>,
) -> Result<Json<Trace>, ApiError> {
    let (service, node): (ServiceName, NodeName) = (parse(&service)?, parse(&node)?);
    let limit = limit.unwrap_or(10).min(MAX_PAGE);
    let query = StepQuery { services: [service.clone()].into(), node: Some(node.clone()), limit };
    let steps = control.store.steps(&query).await?;
    if steps.is_empty() {
        is_known(&control, &service).await?;
        return Err(ApiError::NotFound(format!("nothing is kept of `{service}` on node `{node}`")));
    }
    let mut brought = Brought::new();
    for number in steps.iter().filter_map(|step| step.release).collect::<BTreeSet<u64>>() {
        let Some(release) = release(&control, number).await? else { continue };
        let kept = control.store.release_diff(number).await?;
        let changes = kept.iter().flat_map(|kept| kept.changes_of(&service)).cloned().collect();
        brought.insert(number, (release, changes));
    }
    let lines = LOG_LINES as u32;
    let query = LogQuery { service: service.clone(), node: Some(node.clone()), after: 0, limit: lines };
    let logs = control.store.logs(&query).await?;
    Ok(Json(trace(service, node, steps, &brought, &logs)))
}

/// All services that plans and nodes name.
fn names(control: &Control, nodes: &[NodeView]) -> BTreeSet<ServiceName> {
    let plans = control.plans.borrow().clone();
    let planned = plans.values().flat_map(|plan| &plan.steps).map(|step| step.service().clone());
    let seen = nodes.iter().flat_map(|view| view.instances.iter()).map(|instance| instance.service.clone());
    planned.chain(seen).collect()
}

fn unknown_service(service: &ServiceName, known: &BTreeSet<ServiceName>) -> ApiError {
    let names = known.iter().map(ServiceName::as_str);
    let otherwise = match known.is_empty() {
        true => "nothing was deployed yet: `gitops status` says why",
        false => "`gitops status` lists the services",
    };
    let help = suggestion(service.as_str(), names, otherwise);
    ApiError::NotFound(format!("no node has a service `{service}`: {help}"))
}

fn not_there(service: &ServiceName, node: &NodeName, elsewhere: &[String], nodes: &[NodeView]) -> ApiError {
    const MAX: usize = 5;
    let more = match elsewhere.len().saturating_sub(MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let on = format!("it is on {}{more}", elsewhere.iter().take(MAX).cloned().collect::<Vec<_>>().join(", "));
    if nodes.iter().any(|view| view.node == *node) {
        return ApiError::NotFound(format!("`{service}` is not on node `{node}`: {on}"));
    }
    let known = nodes.iter().map(|view| view.node.as_str());
    ApiError::NotFound(format!("there is no node `{node}`: {}", suggestion(node.as_str(), known, &on)))
}

/// That there is such a service, where no release is known that changed it.
async fn is_known(control: &Control, service: &ServiceName) -> Result<(), ApiError> {
    let known = names(control, &control.fleet().await?.nodes);
    if known.contains(service) { Ok(()) } else { Err(unknown_service(service, &known)) }
}
