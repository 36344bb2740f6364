//! The routes that tell what a change would do to the fleet as it is, and how the fleet stands to its plans.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use gitops_core::fleet::SourceStatus;
use gitops_core::fleet::drift::Drift;
use gitops_core::name::{Digest, Revision};
use gitops_core::reconcile::preview::Preview;
use gitops_core::reconcile::preview::difference::difference;

use super::control::{Answer, Control, Request};
use super::problem::ApiError;
use super::read::json;
use super::wire::{DiffAnswer, DiffRequest, Only, Synced};

/// What deploying a tree would do now.
pub(super) async fn diff(State(control): State<Control>, body: Bytes) -> Result<Json<DiffAnswer>, ApiError> {
    let request: DiffRequest = json(&body)?;
    if request.changes.is_none() && request.revision.is_none() {
        let why =
            "name a `revision` that the daemon has, or send the `changes` that make it of the deployed one";
        return Err(ApiError::Malformed(why.to_owned()));
    }
    match control.ask(Request::Diff(Box::new(request))).await? {
        Answer::Previewed(Ok(previewed)) => Ok(Json(DiffAnswer::Diff(Box::new(previewed.diff)))),
        Answer::Previewed(Err(findings)) => Ok(Json(DiffAnswer::Invalid(findings))),
        _ => Err(ApiError::Stopping),
    }
}

/// What nodes report against what their plans ask for.
pub(super) async fn drift(
    State(control): State<Control>,
    Query(only): Query<Only>,
) -> Result<Json<Drift>, ApiError> {
    match control.ask(Request::Drift(only)).await? {
        Answer::Drift(drift) => Ok(Json(*drift)),
        _ => Err(ApiError::Stopping),
    }
}

/// How the source stands.
pub(super) async fn source(State(control): State<Control>) -> Result<Json<SourceStatus>, ApiError> {
    Ok(Json(control.source().await?))
}

/// Deploys the newest revision if that is the plan that was asked for. A plan that was deployed already is, so that who
/// did not hear the answer may ask again.
pub(super) async fn sync_plan(
    control: &Control,
    accept_rewind: bool,
    plan: Digest,
) -> Result<Synced, ApiError> {
    if let Some(synced) = deployed_already(control, plan).await? {
        return Ok(synced);
    }
    match control.ask(Request::Sync { accept_rewind, plan: Some(plan) }).await? {
        Answer::Synced(synced) => Ok(*synced),
        Answer::PlanMoved { revision } => match deployed_already(control, plan).await? {
            // Somebody else was faster.
            Some(synced) => Ok(synced),
            None => Err(moved(control, plan, revision).await?),
        },
        _ => Err(ApiError::Stopping),
    }
}

async fn deployed_already(control: &Control, plan: Digest) -> Result<Option<Synced>, ApiError> {
    let kept = control.store.preview(plan).await?;
    let Some((kept, at)) = kept.and_then(|kept| kept.deployed_at.map(|at| (kept, at))) else {
        return Ok(None);
    };
    let source = control.source().await?;
    Ok(Some(Synced { revision: kept.preview.revision, source, already_at: Some(at) }))
}

/// The refusal, with what differs between the plan that was asked for and the one of now.
async fn moved(control: &Control, plan: Digest, revision: Revision) -> Result<ApiError, ApiError> {
    let shown = control.store.preview(plan).await?.map(|kept| kept.preview);
    if let Some(asked) =
        shown.as_ref().and_then(|shown| shown.revision.clone()).filter(|asked| *asked != revision)
    {
        let request = DiffRequest { revision: Some(asked.clone()), ..DiffRequest::default() };
        if let Err(ApiError::NotFound(_)) = control.ask(Request::Diff(Box::new(request))).await {
            return Ok(ApiError::NotPushed(asked));
        }
    }
    let request = DiffRequest { revision: Some(revision), ..DiffRequest::default() };
    let now: Preview = match control.ask(Request::Diff(Box::new(request))).await? {
        Answer::Previewed(Ok(previewed)) => previewed.preview,
        // It was valid a moment ago: a grant has ended, or it is not the newest any more.
        _ => return Ok(ApiError::NotReady),
    };
    Ok(ApiError::PlanMoved(Box::new(difference(plan, shown.as_ref(), &now))))
}
