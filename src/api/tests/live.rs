//! Previews, drift, and a sync of one plan only.

use gitops_core::name::Digest;
use gitops_core::reconcile::preview::Preview;

use super::*;
use crate::api::wire::{DiffRequest, Only};
use crate::store::{NewEvent, Publication};

fn revision(digit: char) -> gitops_core::name::Revision {
    digit.to_string().repeat(40).parse().expect("a revision")
}

async fn asked_for(api: &Api) -> DiffRequest {
    match api.asked().await {
        Some(Request::Diff(request)) => *request,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_preview_passes_on_what_is_to_be_deployed_and_what_of_it_is_told() {
    let api = Api::start().await;
    let diff = |body: &str| api.request(Method::POST, "/v1/diff", &api.operator).body(body.to_owned());
    let body = r#"{"base": "1111111111111111111111111111111111111111", "node": "edge-1",
        "changes": {"services/web/compose.yaml": {"file": {"text": "a"}}, "nodes/x.yaml": "gone"}}"#;
    let answer = check(diff(body), 200, None).await;
    assert_eq!(answer["diff"]["plan"], Value::from(Digest::of("plan").to_string()));
    let request = asked_for(&api).await;
    assert_eq!((request.base, request.revision), (Some(revision('1')), None));
    assert_eq!(request.only, Only { node: Some(node("edge-1")), ..Only::default() });
    assert_eq!(request.changes.map(|patch| patch.0.len()), Some(2));
}

#[tokio::test]
async fn what_is_no_request_of_a_preview_is_refused_with_what_to_do() {
    let api = Api::start().await;
    let diff = |body: &str| api.request(Method::POST, "/v1/diff", &api.operator).body(body.to_owned());
    for body in [
        "",
        "{}",
        r#"{"changes": {"a": {"text": "x"}}}"#,
        r#"{"revision": "main"}"#,
        r#"{"revision": "1111111111111111111111111111111111111111", "node": "../x"}"#,
        r#"{"changes": {"services/a": {"file": {"text": "\ud800"}}}}"#,
    ] {
        check(diff(body), 400, Some("malformed")).await;
    }
    let invalid = api.request(Method::POST, "/v1/diff", &api.operator).body(vec![b'"', 255, b'"']);
    check(invalid, 400, Some("malformed")).await;
    let large = api.request(Method::POST, "/v1/diff", &api.operator).body(vec![b' '; (32 << 20) + 1]);
    check(large, 413, Some("too-large")).await;
    check(api.request(Method::POST, "/v1/diff", &api.edge_1).body("{}"), 403, Some("wrong-identity")).await;
    // The daemon behind it knows only this base.
    let moved = r#"{"base": "9999999999999999999999999999999999999999", "changes": {}}"#;
    let problem = check(diff(moved), 409, Some("base-moved")).await;
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("fetch it")), "{problem}");
    let unknown = r#"{"revision": "9999999999999999999999999999999999999999"}"#;
    check(diff(unknown), 404, Some("not-found")).await;
}

#[tokio::test]
async fn drift_takes_what_is_looked_at_and_the_source_stands_alone() {
    let api = Api::start().await;
    let drift = check(api.get("/v1/drift?service=web&node=edge-1", &api.operator), 200, None).await;
    assert_eq!(drift["schema"], 1);
    let only = Only { service: "web".parse().ok(), node: Some(node("edge-1")), environment: None };
    assert_eq!(api.asked().await, Some(Request::Drift(only)));
    check(api.get("/v1/drift?node=a/b", &api.operator), 400, Some("malformed")).await;
    assert_eq!(check(api.get("/v1/source", &api.operator), 200, None).await["state"], "ok");
}

#[tokio::test]
async fn a_sync_of_a_plan_that_is_another_by_now_tells_what_differs() {
    let api = Api::start().await;
    let sync = |id: &Digest| {
        let body = format!(r#"{{"plan": "{id}"}}"#);
        api.request(Method::POST, "/v1/sync", &api.operator).body(body)
    };
    let plan = Digest::of("plan");
    let answer = check(sync(&plan), 200, None).await;
    assert_eq!(answer["already_at"], Value::Null);
    assert_eq!(api.asked().await, Some(Request::Sync { accept_rewind: false, plan: Some(plan) }));

    let old = Digest::of("old");
    let problem = check(sync(&old), 409, Some("plan-moved")).await;
    assert_eq!(problem["difference"]["asked"], Value::from(old.to_string()));
    assert_eq!(problem["difference"]["now"], Value::from(plan.to_string()));
    assert_eq!(problem["difference"]["is_remembered"], false);

    let mut preview = preview();
    (preview.revision, preview.diff.plan) = (Some(revision('3')), Some(old));
    api.store.keep_preview(&preview, clock::now()).await.expect("memory");
    let problem = check(sync(&old), 409, Some("plan-moved")).await;
    assert_eq!(problem["difference"]["revision"], Value::from(revision('3').to_string()));

    let unknown = Digest::of("unknown");
    (preview.revision, preview.diff.plan) = (Some(revision('9')), Some(unknown));
    api.store.keep_preview(&preview, clock::now()).await.expect("memory");
    let problem = check(sync(&unknown), 409, Some("not-pushed")).await;
    assert!(problem["detail"].as_str().is_some_and(|why| why.contains("not on the watched branch yet")));

    let (revision, node, service) = (None, None, None);
    let (kind, message, at) = ("test.happened".into(), String::new(), clock::now());
    let events = vec![NewEvent { at, kind, revision, node, service, message }];
    let publication = Publication { plan_id: Some(old), events, ..Publication::default() };
    api.store.publish(publication).await.expect("memory");
    let answer = check(sync(&old), 200, None).await;
    assert_eq!(answer["already_at"], Value::from(at.to_string()));
}

/// What the daemon of these tests answers.
pub(super) fn preview() -> Preview {
    let diff =
        gitops_core::diff::Diff { plan: Some(Digest::of("plan")), ..gitops_core::diff::Diff::default() };
    Preview { revision: Some(revision('1')), touched: BTreeMap::new(), diff }
}

pub(super) fn previewed(request: &DiffRequest) -> Answer {
    let nines = Some(revision('9'));
    if request.base == nines {
        return Answer::BaseMoved { deployed: Some(revision('1')) };
    }
    if request.revision == nines {
        return Answer::NoRevision("there is no such revision".to_owned());
    }
    let (preview, diff) = (preview(), preview().diff);
    Answer::Previewed(Ok(Box::new(crate::api::control::Previewed { preview, diff })))
}

pub(super) fn synced(plan: Option<Digest>) -> Answer {
    match plan.is_none_or(|plan| plan == Digest::of("plan")) {
        true => Answer::Synced(Box::new(Synced { revision: None, source: fleet().source, already_at: None })),
        false => Answer::PlanMoved { revision: revision('1') },
    }
}
