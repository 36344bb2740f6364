//! What operators see, and that every route is guarded and documented.

use futures_util::StreamExt as _;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::*;
use crate::store::NewEvent;

async fn happen(api: &Api, message: &str) -> u64 {
    let (revision, node, service) = (None, None, None);
    let (kind, message) = ("test.happened".into(), message.to_owned());
    let event = NewEvent { at: clock::now(), kind, revision, node, service, message };
    let id = api.store.append_events(vec![event]).await.expect("memory")[0].id;
    api.last_event.send_replace(id);
    id
}

/// Reads a stream until it holds `count` events, and returns their ids.
async fn ids(response: Response, count: usize) -> Vec<u64> {
    let (mut text, mut stream) = (String::new(), response.bytes_stream());
    let read = async {
        loop {
            let ids: Vec<u64> =
                text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
            if ids.len() >= count && text.ends_with("\n\n") {
                return ids;
            }
            let bytes = stream.next().await.expect("the stream goes on").expect("bytes");
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("events come")
}

#[tokio::test]
async fn every_documented_route_is_there_and_guarded_as_documented() {
    let api = Api::start().await;
    let document = check(api.get("/v1/openapi.json", &api.operator), 200, None).await;
    let paths = document["paths"].as_object().expect("paths");
    let mut count = 0;
    for (path, operations) in paths {
        let address = path.replace("{node}", "edge-9").replace("{digest}", "sha256:0");
        for (method, operation) in operations.as_object().expect("operations") {
            count += 1;
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let url = format!("{}{address}", api.base);
            if operation.get("security").is_none() {
                check(api.client.request(method, url), 204, None).await;
                continue;
            }
            check(api.client.request(method.clone(), &url), 401, Some("no-token")).await;
            check(api.request(method.clone(), &address, "gitops_op_0"), 401, Some("unknown-token")).await;
            check_identities(&api, &method, &address, operation).await;
        }
    }
    assert_eq!(count, super::super::routes::table().len());
}

/// The token of the wrong kind is refused, and the right one comes through to the handler.
async fn check_identities(api: &Api, method: &Method, address: &str, operation: &Value) {
    let description = operation["description"].as_str().expect("who may call");
    let (right, wrong) = if description.contains("token of a node") {
        (&api.edge_1, Some(&api.operator))
    } else if description.contains("operator's token") {
        (&api.operator, Some(&api.edge_1))
    } else {
        (&api.edge_1, None)
    };
    if let Some(wrong) = wrong {
        check(api.request(method.clone(), address, wrong), 403, Some("wrong-identity")).await;
    }
    let status = send(api.request(method.clone(), address, right)).await.status().as_u16();
    assert!(!matches!(status, 401 | 403 | 405 | 500..), "{method} {address}: {status}");
}

#[tokio::test]
async fn the_document_refers_to_nothing_that_is_not_in_it() {
    let api = Api::start().await;
    let document = check(api.get("/v1/openapi.json", &api.operator), 200, None).await;
    let text = document.to_string();
    let references: Vec<&str> =
        text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let parameters = document.pointer("/paths/~1v1~1agent~1plan/get/parameters/0/name");
    assert_eq!(parameters, Some(&Value::from("wait")));
}

#[tokio::test]
async fn what_is_not_in_the_table_is_refused_in_the_same_form() {
    let api = Api::start().await;
    check(api.get("/v2/status", &api.operator), 404, Some("not-found")).await;
    check(api.request(Method::DELETE, "/v1/status", &api.operator), 405, Some("method-not-allowed")).await;
    check(api.get("/v1/plans/Edge", &api.operator), 400, Some("malformed")).await;
    check(api.get("/v1/plans/edge-1", &api.operator), 404, Some("not-found")).await;
    check(api.get("/v1/events?limit=many", &api.operator), 400, Some("malformed")).await;
    let large = api.request(Method::POST, "/v1/sync", &api.operator).body("x".repeat(5000));
    check(large, 413, Some("too-large")).await;
    let basic = api.client.get(format!("{}/v1/status", api.base)).basic_auth("operator", Some(&api.operator));
    check(basic, 401, Some("no-token")).await;
}

#[tokio::test]
async fn a_token_is_shown_once_works_and_can_be_taken_back() {
    let api = Api::start().await;
    let response = send(api.request(Method::POST, "/v1/nodes/edge-9/token", &api.operator)).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (201, &"no-store".parse().expect(""))
    );
    let made: Value = response.json().await.expect("JSON");
    let token = made["token"].as_str().expect("shown");
    assert_eq!((&made["node"], token.starts_with("gitops_node_")), (&Value::from("edge-9"), true));
    check(api.get("/v1/agent/plan", token), 204, None).await;
    let revoked =
        check(api.request(Method::DELETE, "/v1/nodes/edge-9/token", &api.operator), 200, None).await;
    assert_eq!(revoked["revoked"], 1);
    check(api.get("/v1/agent/plan", token), 401, Some("unknown-token")).await;
    check(api.get("/v1/agent/plan", &api.edge_1), 204, None).await;

    let mut kinds = Vec::new();
    while let Ok(request) = api.asked.lock().await.try_recv() {
        kinds.extend(if let Request::Note(event) = request { Some(event.kind) } else { None });
    }
    assert_eq!(kinds, ["token.created".into(), "token.revoked".into()]);
}

#[tokio::test]
async fn events_come_in_pages() {
    let api = Api::start().await;
    for message in ["one", "two", "three"] {
        happen(&api, message).await;
    }
    let page = check(api.get("/v1/events?after=1&limit=1", &api.operator), 200, None).await;
    assert_eq!(page["events"][0]["id"], 2);
    assert_eq!(
        (&page["events"][0]["message"], page["events"].as_array().map(Vec::len)),
        (&"two".into(), Some(1))
    );
}

#[tokio::test]
async fn a_stream_resumes_where_it_broke_off_and_goes_on() {
    let api = Api::start().await;
    for message in ["one", "two", "three"] {
        happen(&api, message).await;
    }
    let stream = api.get("/v1/events/stream", &api.operator);
    let resumed = send(stream.try_clone().expect("no body").header("last-event-id", "1")).await;
    assert_eq!(resumed.headers()["content-type"], "text/event-stream");
    let from_now = send(stream.try_clone().expect("no body")).await;
    let after = send(api.get("/v1/events/stream?after=2", &api.operator)).await;
    happen(&api, "four").await;
    assert_eq!(ids(resumed, 3).await, [2, 3, 4]);
    assert_eq!(ids(from_now, 1).await, [4]);
    assert_eq!(ids(after, 2).await, [3, 4]);
    check(stream.header("last-event-id", "x"), 400, Some("malformed")).await;
}

#[tokio::test]
async fn a_webhook_wakes_the_daemon_if_it_knows_the_secret_and_does_not_come_too_often() {
    let api = Api::start().await;
    let url = format!("{}/v1/hooks/source", api.base);
    let call = || api.client.post(&url).body("{}");
    check(call(), 401, Some("no-token")).await;
    check(call().header("x-gitlab-token", "wrong"), 401, Some("bad-signature")).await;
    check(call().header("x-gitlab-token", "hush"), 202, None).await;
    check(call().bearer_auth(&api.operator), 202, None).await;
    assert_eq!(api.asked().await, Some(Request::Wake));
    let calls = std::iter::repeat_with(|| send(call().header("x-gitlab-token", "hush"))).take(30);
    let statuses: Vec<u16> =
        futures_util::future::join_all(calls).await.iter().map(|r| r.status().as_u16()).collect();
    assert!(statuses.contains(&202) && statuses.contains(&429), "{statuses:?}");
}

/// A call as GitHub signs it, under the secret of the tests.
fn github(api: &Api, body: &str, delivery: &str) -> RequestBuilder {
    let mac = Hmac::<Sha256>::new_from_slice(b"hush").expect("a key of any length").chain_update(body);
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let call = api.client.post(format!("{}/v1/hooks/source", api.base)).body(body.to_owned());
    call.header("x-hub-signature-256", format!("sha256={signature}")).header("x-github-delivery", delivery)
}

#[tokio::test]
async fn a_webhook_of_a_pull_request_has_it_reviewed_and_is_heard_once() {
    let api = Api::start().await;
    let body = include_str!("../hook/payloads/github-pull-request.json");
    check(github(&api, body, "one"), 202, None).await;
    assert_eq!(api.asked().await, Some(Request::Review(17)));
    check(github(&api, body, "one"), 409, Some("replayed")).await;
    check(github(&api, body, "two"), 202, None).await;
    assert_eq!(api.asked().await, Some(Request::Review(17)), "a redelivery under an id of its own is heard");

    let forged = github(&api, body, "three").body(body.replace("17", "18"));
    check(forged, 401, Some("bad-signature")).await;
    check(github(&api, "payload=%7B%7D", "four"), 400, Some("malformed")).await;
    let large = format!("{}{}", " ".repeat((1 << 20) - body.len()), body);
    check(github(&api, &large, "five"), 202, None).await;
    assert_eq!(api.asked().await, Some(Request::Review(17)));
    check(github(&api, &format!(" {large}"), "six"), 413, Some("too-large")).await;
    check(github(&api, body, "four"), 202, None).await;
    assert_eq!(api.asked().await, Some(Request::Review(17)), "what was refused may come again");
}

#[tokio::test]
async fn a_sync_passes_on_whether_a_rewind_is_accepted() {
    let api = Api::start().await;
    let sync = || api.request(Method::POST, "/v1/sync", &api.operator);
    check(sync(), 200, None).await;
    assert_eq!(api.asked().await, Some(Request::Sync { accept_rewind: false, plan: None }));
    check(sync().body(r#"{"accept_rewind": true}"#), 200, None).await;
    assert_eq!(api.asked().await, Some(Request::Sync { accept_rewind: true, plan: None }));
    check(sync().body(r#"{"accept_rewind": "yes"}"#), 400, Some("malformed")).await;
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_states_by_word() {
    let api = Api::start().await;
    check(api.get("/v1/plans/edge-1", &api.operator), 404, None).await;
    let text = send(api.get("/metrics", &api.operator)).await.text().await.expect("text");
    for line in [
        "gitops_http_requests_total{route=\"/v1/plans/{node}\",status=\"404\"} 1",
        "gitops_source_state{state=\"ok\"} 1",
        "gitops_connections 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn the_status_names_the_daemon_that_answers() {
    let api = Api::start().await;
    let status = check(api.get("/v1/status", &api.operator), 200, None).await;
    let daemon =
        serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "started_at": "2026-01-01T00:00:00Z" });
    assert_eq!(status["daemon"], daemon);
    assert_eq!(status["source"]["state"], "ok");
}

/// Another daemon over the same store writes to it, and tells this one nothing.
#[tokio::test]
async fn what_another_daemon_writes_is_seen_soon() {
    let api = Api::start().await;
    let stream = api.get("/v1/events/stream", &api.operator).send().await.expect("a stream");
    let (revision, service) = (None, None);
    let (kind, message) = ("test.happened".into(), "elsewhere".to_owned());
    let event = NewEvent { at: clock::now(), kind, revision, node: None, service, message };
    let id = api.store.append_events(vec![event]).await.expect("memory")[0].id;
    assert_eq!(ids(stream, 1).await, [id]);

    let edge_7 = Identity::Node(node("edge-7"));
    let theirs = token(&api.store, edge_7.clone()).await;
    let until = async |expected: u16| {
        while api.get("/v1/version", &theirs).send().await.expect("an answer").status() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until(200)).await.expect("a new token is known");
    api.store.revoke_tokens(&edge_7).await.expect("memory");
    tokio::time::timeout(PATIENCE, until(401)).await.expect("a revoked token is refused");
}
