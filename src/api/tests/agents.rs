//! What agents see: their plan, its content, and the answer to a report.

use gitops_core::name::{Digest, Generation};
use gitops_core::plan::{Ensure, FileRef, Model, OnFileChange, RunState, Step};
use gitops_core::protocol::Report;
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, Start};
use serde_json::json;

use super::*;
use crate::store::Publication;

/// A plan with one service that mounts one file.
fn plan(name: &str, generation: u64, parent: Option<&NodePlan>, content: &[u8]) -> NodePlan {
    let file = FileRef { digest: Digest::of(content), size: content.len() as u64, executable: false };
    let ensure = Ensure {
        service: "web".parse().expect("a label"),
        project: "web".into(),
        digest: Digest::of(content),
        state: RunState::Running,
        model: Model::from_canonical("{}"),
        files: BTreeMap::from([("index.html".into(), file)]),
        containers: BTreeMap::new(),
        after: Vec::new(),
        health_within: 60,
        on_file_change: OnFileChange::Recreate,
        terms: Default::default(),
        because: Vec::new(),
    };
    let revision = "a".repeat(40).parse().expect("hexadecimal");
    let parent = parent.map(|plan| plan.digest);
    NodePlan::new(node(name), Generation(generation), parent, revision, vec![Step::Ensure(ensure)])
}

fn etag(plan: &NodePlan) -> String {
    format!("\"{}\"", plan.digest)
}

fn status(name: &str, agent: &str) -> NodeStatus {
    NodeStatus {
        schema: 1,
        node: node(name),
        agent: AgentInfo { id: agent.into(), version: "0.1.0".into(), start: None },
        host: HostInfo::default(),
        accepted: None,
        refused: None,
        steps: BTreeMap::new(),
        instances: BTreeMap::new(),
        drift: Default::default(),
        orphans: Default::default(),
    }
}

async fn store(api: &Api, plan: &NodePlan, content: &[u8]) {
    let blobs = BTreeMap::from([(Digest::of(content), Arc::from(content))]);
    let publication = Publication { plans: vec![Arc::new(plan.clone())], blobs, ..Publication::default() };
    api.store.publish(publication).await.expect("published");
}

#[tokio::test]
async fn a_plan_is_answered_at_once_where_it_is_new_and_304_where_it_is_held() {
    let api = Api::start().await;
    check(api.get("/v1/agent/plan", &api.edge_1), 204, None).await;
    let first = plan("edge-1", 1, None, b"one");
    api.post(first.clone());
    let response = send(api.get("/v1/agent/plan?wait=55", &api.edge_1)).await;
    assert_eq!(response.headers()["etag"], etag(&first));
    assert_eq!(response.headers()["gitops-protocol"], "1");
    let answered: NodePlan = response.json().await.expect("a plan");
    assert_eq!((&answered, answered.content_digest()), (&first, first.digest));
    let held = |wait: u32| {
        api.get(&format!("/v1/agent/plan?wait={wait}"), &api.edge_1).header("if-none-match", etag(&first))
    };
    check(held(0), 304, None).await;
    check(held(1), 304, None).await;
    check(api.get("/v1/agent/plan", &api.edge_2), 204, None).await;
}

#[tokio::test]
async fn a_long_poll_is_answered_the_moment_a_plan_is_stored() {
    let api = Api::start().await;
    let first = plan("edge-1", 1, None, b"one");
    api.post(first.clone());
    let poll = api.get("/v1/agent/plan?wait=55", &api.edge_1).header("if-none-match", etag(&first));
    let poll = tokio::spawn(send(poll));
    assert!(matches!(api.asked().await, Some(Request::Pull { .. })));
    let second = plan("edge-1", 2, Some(&first), b"two");
    api.post(second.clone());
    let response =
        tokio::time::timeout(Duration::from_secs(5), poll).await.expect("at once").expect("joined");
    assert_eq!(response.headers()["etag"], etag(&second));
}

#[tokio::test]
async fn a_token_that_is_revoked_during_a_long_poll_gets_no_plan() {
    let api = Api::start().await;
    let poll = tokio::spawn(send(api.get("/v1/agent/plan?wait=55", &api.edge_1)));
    assert!(matches!(api.asked().await, Some(Request::Pull { .. })));
    check(api.request(Method::DELETE, "/v1/nodes/edge-1/token", &api.operator), 200, None).await;
    api.post(plan("edge-1", 1, None, b"one"));
    assert_eq!(poll.await.expect("joined").status(), 401);
}

#[tokio::test]
async fn an_agent_reads_the_content_of_its_own_plans_and_no_other() {
    let api = Api::start().await;
    let first = plan("edge-1", 1, None, b"one");
    store(&api, &first, b"one").await;
    api.post(first.clone());
    let one = format!("/v1/agent/blobs/{}", Digest::of("one"));
    let response = send(api.get(&one, &api.edge_1)).await;
    assert_eq!(response.bytes().await.expect("content"), "one");
    check(api.get(&one, &api.edge_2), 404, Some("not-found")).await;
    check(api.get("/v1/agent/blobs/one", &api.edge_1), 400, Some("malformed")).await;

    let second = plan("edge-1", 2, Some(&first), b"two");
    store(&api, &second, b"two").await;
    api.post(second.clone());
    check(api.get(&one, &api.edge_1), 200, None).await;
    let third = plan("edge-1", 3, Some(&second), b"three");
    store(&api, &third, b"three").await;
    api.post(third);
    check(api.get(&one, &api.edge_1), 404, Some("not-found")).await;
}

#[tokio::test]
async fn a_report_is_believed_only_of_the_caller() {
    let api = Api::start().await;
    let put = |token: &str, report: &Report| api.request(Method::PUT, "/v1/agent/status", token).json(report);
    let mine = Report::Status(Arc::new(status("edge-1", "a1")));
    let receipt = check(put(&api.edge_1, &mine), 200, None).await;
    assert_eq!(receipt, serde_json::json!({ "want_status": false, "heartbeat_seconds": 15 }));
    let Some(Request::Report { node: caller, report, .. }) = api.asked().await else { panic!("asked") };
    assert_eq!((caller, report), (node("edge-1"), mine.clone()));

    check(put(&api.edge_2, &mine), 400, Some("wrong-status")).await;
    let other_agent = Report::Status(Arc::new(status("edge-1", "a2")));
    check(put(&api.edge_1, &other_agent), 400, Some("wrong-status")).await;
    let start = Some(Start { count: 1, nonce: 1 });
    let mut other_start = status("edge-1", "a1");
    other_start.agent.start = start;
    let other_start = Report::Status(Arc::new(other_start));
    check(put(&api.edge_1, &other_start), 400, Some("wrong-status")).await;
    let newer = Report::Status(Arc::new(NodeStatus { schema: 2, ..status("edge-1", "a1") }));
    check(put(&api.edge_1, &newer), 400, Some("wrong-status")).await;
    let malformed = api.request(Method::PUT, "/v1/agent/status", &api.edge_1).body("{\"heartbeat\": 1}");
    check(malformed, 400, Some("malformed")).await;
    let mut beyond = serde_json::to_value(&mine).expect("JSON");
    beyond["status"]["accepted"] = serde_json::json!({"generation": u64::MAX, "digest": Digest::of("")});
    let beyond = api.request(Method::PUT, "/v1/agent/status", &api.edge_1).json(&beyond);
    check(beyond, 400, Some("malformed")).await;
}

#[tokio::test]
async fn an_agent_of_another_protocol_is_told_to_upgrade() {
    let api = Api::start().await;
    let url = format!("{}/v1/agent/plan", api.base);
    let plain = || api.client.get(&url).bearer_auth(&api.edge_1);
    check(plain(), 400, Some("bad-hello")).await;
    check(plain().header("gitops-protocol", "7-9"), 426, Some("no-common-protocol")).await;
    check(api.get("/v1/agent/plan?wait=soon", &api.edge_1), 400, Some("malformed")).await;
    check(api.get("/v1/agent/plan", &api.edge_1).header("if-none-match", "*"), 400, Some("malformed")).await;
}

#[tokio::test]
async fn an_agent_with_the_token_of_another_node_is_told_so_and_takes_nothing_over() {
    let api = Api::start().await;
    let as_edge_2 = |path: &str| api.get(path, &api.edge_1).header("gitops-agent-node", "edge-2");
    for path in ["/v1/agent/plan", &format!("/v1/agent/blobs/{}", Digest::of(""))] {
        let problem = check(as_edge_2(path), 403, Some("wrong-node")).await;
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("the token is that of node `edge-1`"), "{detail}");
    }
    let heartbeat = serde_json::json!({"heartbeat": {"digest": Digest::of("")}});
    let report = api.request(Method::PUT, "/v1/agent/status", &api.edge_1).json(&heartbeat);
    check(report.header("gitops-agent-node", "edge-2"), 403, Some("wrong-node")).await;
    check(api.get("/v1/agent/plan", &api.edge_1).header("gitops-agent-node", "edge-1"), 204, None).await;
    assert!(matches!(api.asked().await, Some(Request::Pull { .. })), "the daemon heard of the last one only");
}

#[tokio::test]
async fn a_stop_ends_a_long_poll() {
    let api = Api::start().await;
    let poll = tokio::spawn(send(api.get("/v1/agent/plan?wait=55", &api.edge_1)));
    assert!(matches!(api.asked().await, Some(Request::Pull { .. })));
    api.stop.cancel();
    assert_eq!(poll.await.expect("joined").status(), 204);
    tokio::time::timeout(Duration::from_secs(5), api.served).await.expect("stopped in time").expect("joined");
}

fn said(service: &str, seq: u32, text: &str) -> Value {
    json!({
        "service": service, "generation": 1, "attempt": "2026-01-01T00:00:00Z", "seq": seq,
        "at": "2026-01-01T00:00:01Z", "from": "compose", "text": text,
    })
}

#[tokio::test]
async fn what_agents_did_is_kept_once_under_their_own_names_and_shown() {
    let api = Api::start().await;
    let put = |token, lines: Value| {
        api.request(Method::PUT, "/v1/agent/logs", token).json(&json!({ "lines": lines }))
    };
    for _ in 0..2 {
        check(put(&api.edge_1, json!([said("web", 1, "a"), said("web", 2, "b")])), 204, None).await;
    }
    check(put(&api.edge_2, json!([said("web", 1, "c")])), 204, None).await;

    let get = |query: &str| api.get(&format!("/v1/logs?service=web{query}"), &api.operator);
    let texts = |page: &Value| -> Vec<String> {
        let lines = page["lines"].as_array().expect("lines");
        lines
            .iter()
            .map(|line| format!("{} {}", line["node"].as_str().expect("a node"), line["text"]))
            .collect()
    };
    let page = check(get(""), 200, None).await;
    assert_eq!(texts(&page), ["edge-1 \"a\"", "edge-1 \"b\"", "edge-2 \"c\""]);
    let first = page["lines"][0]["id"].as_u64().expect("an id");
    let page = check(get(&format!("&node=edge-1&after={first}")), 200, None).await;
    assert_eq!(texts(&page), ["edge-1 \"b\""]);
    check(get("&node=Edge"), 400, Some("malformed")).await;
    check(api.get("/v1/logs?service=web", &api.edge_1), 403, Some("wrong-identity")).await;

    let many: Vec<Value> = (1..=1001).map(|seq| said("web", seq, "x")).collect();
    check(put(&api.edge_1, json!(many)), 400, Some("malformed")).await;
    check(put(&api.edge_1, json!([said("web", 9, &"x".repeat(4097))])), 400, Some("malformed")).await;
}
