use gitops_core::status::Start;

use super::*;
use crate::testing::{ensure, plan};

#[test]
fn plain_http_goes_to_this_machine_only() {
    for good in ["https://control.example", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
        assert!(check_address(&good.parse().unwrap()).is_ok(), "{good}");
    }
    for bad in ["http://control.example", "http://10.0.0.1", "ftp://localhost", "http://localhost.example"] {
        assert!(check_address(&bad.parse().unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn a_plan_that_cannot_be_understood_is_named() {
    let mut text = serde_json::to_value(plan(7, vec![ensure("web", "1").step()])).unwrap();
    assert!(matches!(offer(text.to_string().as_bytes()), Ok(Offer::Plan(_))));
    text["schema"] = 2.into();
    text["steps"] = "in some other form".into();
    let refused = |text: &serde_json::Value| match offer(text.to_string().as_bytes()) {
        Ok(Offer::Unusable { plan, refused }) => (plan.generation, refused),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&text), (Generation(7), Refused::NewerSchema { found: 2 }));
    text["schema"] = 1.into();
    assert!(matches!(refused(&text), (Generation(7), Refused::Unreadable { .. })));
    let mut text = serde_json::to_value(plan(7, vec![ensure("web", "1").step()])).unwrap();
    text["steps"][0]["ensure"]["service"] = "../web".into();
    let (_, Refused::Unreadable { problem }) = refused(&text) else { panic!("read") };
    assert!(problem.contains("`../web` is not a valid service name"), "{problem}");
    text["generation"] = u64::MAX.into();
    assert!(offer(text.to_string().as_bytes()).is_err());
    assert!(offer(b"<html>").is_err());
}

/// Sends one request to a daemon that answers with `response`, and returns what it was asked beside the answer.
async fn exchange<T>(
    response: String,
    ask: impl AsyncFnOnce(&HttpDaemon) -> Result<T, DaemonError>,
) -> (String, Result<T, DaemonError>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let temp = tempfile::tempdir().unwrap();
    let token_file = temp.path().join("token");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let daemon = HttpDaemon::new(ClientConfig {
        server: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
        token_file,
        ca_file: None,
        node: crate::testing::node(),
        agent: AgentInfo {
            id: "a1".into(),
            version: "0.1.0".into(),
            start: Some(Start { count: 17, nonce: 1 }),
        },
        host: "edge 1 \u{e9}".into(),
    })
    .unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    tokio::join!(serve, ask(&daemon))
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_plan_is_asked_for_with_who_asks_and_what_is_known() {
    let offered = plan(7, vec![ensure("web", "1").step()]);
    let body = serde_json::to_string(&offered).unwrap();
    let known = Digest::of("known");
    let (request, answer) =
        exchange(http("200 OK", &body), async |daemon| daemon.plan(Some(known)).await).await;
    assert!(matches!(answer, Ok(Offer::Plan(plan)) if *plan == offered));
    assert!(request.starts_with("GET /v1/agent/plan?wait=55 HTTP/1.1\r\n"), "{request}");
    for header in [
        "authorization: Bearer s3cret",
        "gitops-protocol: 1",
        "gitops-agent: a1",
        "gitops-agent-node: edge-1",
        "gitops-agent-start: 17-0000000000000001",
        "gitops-agent-version: 0.1.0",
        "gitops-agent-host: edge 1 ?",
        &format!("if-none-match: \"{known}\""),
    ] {
        assert!(request.lines().any(|line| line == header), "{header} in {request}");
    }
    for (status, is_nothing) in [("304 Not Modified", true), ("204 No Content", true), ("200 OK", false)] {
        let (_, answer) = exchange(http(status, ""), async |daemon| daemon.plan(None).await).await;
        assert_eq!(matches!(answer, Ok(Offer::Nothing)), is_nothing, "{status}: {answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_a_second_agent_is_known_by_it() {
    let body = r#"{"code":"second-agent","status":409,"title":"t","detail":"stop one of the two"}"#;
    let (_, answer) = exchange(http("409 Conflict", body), async |daemon| daemon.plan(None).await).await;
    let failed = answer.unwrap_err().failed();
    assert!(
        failed.cause == Cause::SecondAgent && failed.message.contains("stop one of the two"),
        "{failed:?}"
    );
    let (_, answer) =
        exchange(http("502 Bad Gateway", "<html>"), async |daemon| daemon.plan(None).await).await;
    let failed = answer.unwrap_err().failed();
    assert!(failed.cause == Cause::Away && failed.message.contains("502 Bad Gateway"), "{failed:?}");
}

#[tokio::test]
async fn content_is_taken_only_as_large_as_announced() {
    let temp = tempfile::tempdir().unwrap();
    let blobs = crate::blobs::BlobDir::open(temp.path().join("blobs")).unwrap();
    let digest = Digest::of("hello");
    for (body, fits) in [("hello", true), ("hello, and much more", false)] {
        let mut writer = blobs.writer(digest, 5).unwrap();
        let (request, answer) =
            exchange(http("200 OK", body), async |daemon| daemon.blob(digest, &mut writer).await).await;
        assert!(request.starts_with(&format!("GET /v1/agent/blobs/{digest} ")), "{request}");
        assert_eq!(answer.is_ok(), fits, "{answer:?}");
    }
}

#[tokio::test]
async fn a_heartbeat_is_reported_and_its_receipt_read() {
    let receipt = http("200 OK", r#"{"want_status":true,"heartbeat_seconds":30}"#);
    let message = Message::Heartbeat { digest: Digest::of("state") };
    let (request, answer) = exchange(receipt, async |daemon| daemon.report(message).await).await;
    assert!(request.starts_with("PUT /v1/agent/status "), "{request}");
    let Answer { heartbeat_seconds, want_full } = answer.unwrap();
    assert_eq!((heartbeat_seconds, want_full), (30, true));
}
