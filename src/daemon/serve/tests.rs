//! A whole daemon, from settings: a real repository, a real database, a real listener.

mod forge;
mod reviews;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::config::ControlSettings;
use crate::git::testing::Origin;

const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    base: String,
    client: reqwest::Client,
    operator: String,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ServeError>>,
}

fn config(origin: &Origin, state_dir: &Path) -> Config {
    let settings = ControlSettings {
        source: Some(origin.bare().display().to_string()),
        state_dir: Some(state_dir.to_owned()),
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        // No poll comes while a test runs.
        poll_interval: "1h".parse().ok(),
        ..ControlSettings::default()
    };
    Config::resolve(&settings, &|_| None, None).expect("fits")
}

impl Served {
    async fn start(config: &Config) -> Self {
        let listener = listen(config).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let (stop, config) = (CancellationToken::new(), config.clone());
        let (stopped, path) = (stop.clone(), config.state_dir.join(operator_token::FILE));
        let ended = tokio::spawn(async move { serve(&config, listener, stopped).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        // The first answer comes after the token was made.
        let ready = client.get(format!("{base}/readyz")).send().await.expect("an answer");
        assert_eq!(ready.status(), 204);
        let operator = std::fs::read_to_string(path).expect("made").trim().to_owned();
        Self { base, client, operator, stop, ended }
    }

    async fn ask(&self, method: Method, path: &str) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.operator);
        let response = request.send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.expect("JSON")
    }

    /// Waits until the status shows what is wanted.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_at("/v1/status", wanted).await
    }

    async fn until_at(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let answer = self.ask(Method::GET, path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("it comes to that")
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(6), self.ended).await;
        ended.expect("stopped in time").expect("no panic").expect("no error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_noticed_deployed_and_outlives_a_restart() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().expect("a folder"));
    let state_dir = state.path().join("state");
    let config = config(&origin, &state_dir);
    origin.write("nodes/edge-1.yaml", "node: edge-1\n");
    let first = origin.push_file("gitops.toml", "format = 1\nname = \"test\"\n");

    let served = Served::start(&config).await;
    assert_eq!(std::fs::metadata(&state_dir).expect("made").permissions().mode() & 0o777, 0o700);
    served.until(|status| status["source"]["deployed"] == json!(first)).await;
    let second = origin.push_file("gitops.toml", "format = 1\nname = \"renamed\"\n");
    // Nobody asked: the ref is watched.
    served.until(|status| status["source"]["deployed"] == json!(second)).await;
    let broken = origin.push_file("gitops.toml", "format = 1\nname = \"test\"\ncolour = \"red\"\n");
    let status = served
        .until(|status| status["source"]["newest"] == json!(broken) && status["source"]["state"] == "invalid")
        .await;
    assert_eq!(status["source"]["deployed"], json!(second));
    assert!(!status["diagnostics"].as_array().expect("a list").is_empty(), "{status}");
    let third = origin.push_file("gitops.toml", "format = 1\nname = \"mended\"\n");
    served.until(|status| status["source"]["deployed"] == json!(third)).await;
    // That it was mended is recorded on its own, after or before it is deployed, and that it is done some time after that.
    let is_settled = |all: &Value| {
        let has = |kind: &str, revision: &Value| {
            let events = all["events"].as_array().expect("a list").iter();
            let mut events = events.filter(|event| event["kind"] == kind);
            events.any(|event| revision.is_null() || event["revision"] == *revision)
        };
        has("source.recovered", &Value::Null) && has("release.finished", &json!(third))
    };
    let events = served.until_at("/v1/events", is_settled).await;
    let token = served.operator.clone();
    served.stop().await;

    let served = Served::start(&config).await;
    assert_eq!(served.operator, token, "the token is made once");
    let synced = served.ask(Method::POST, "/v1/sync").await;
    assert_eq!((&synced["source"]["state"], &synced["source"]["deployed"]), (&json!("ok"), &json!(third)));
    assert_eq!(served.ask(Method::GET, "/v1/events").await, events, "nothing happened");
    served.stop().await;
}

#[tokio::test]
async fn an_address_that_is_given_up_in_time_is_taken() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().expect("a folder"));
    let mut config = config(&origin, state.path());
    let last_owner = listen(&config).await.expect("a port");
    config.listen = last_owner.local_addr().expect("bound");
    let (taken, ()) = tokio::join!(listen(&config), async {
        tokio::task::yield_now().await;
        drop(last_owner);
    });
    assert_eq!(taken.expect("it was given up").local_addr().expect("bound"), config.listen);
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().expect("a folder"));
    let good = config(&origin, state.path());
    let occupied = listen(&good).await.expect("a port");
    let [mut taken, mut no_cert, mut no_folder] = [good.clone(), good.clone(), good.clone()];
    taken.listen = occupied.local_addr().expect("bound");
    no_cert.tls = Some(("/nowhere/cert".into(), "/nowhere/key".into()));
    no_folder.state_dir = "/dev/null/state".into();
    let error = listen(&taken).await.expect_err("taken").to_string();
    assert!(error.contains("is another daemon running there?"), "{error}");
    for (config, expected) in [(no_cert, "/nowhere/cert"), (no_folder, "/dev/null/state")] {
        let listener = listen(&good).await.expect("a port");
        let error =
            serve(&config, listener, CancellationToken::new()).await.expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
