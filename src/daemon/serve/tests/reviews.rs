//! A daemon that reviews pull requests by itself: a real repository, a real database, and a forge on loopback.

use gitops_core::plan::NodePlan;
use gitops_core::protocol::{Hello, SPOKEN};
use gitops_core::status::{AgentInfo, HostInfo, NodeStatus, PlanId, StepOutcome, StepResult};
use hmac::{Hmac, Mac as _};
use reqwest::StatusCode;
use sha2::Sha256;

use super::forge::{FakeForge, TOKEN};
use super::*;

const SECRET: &str = "canary-of-the-hook";

/// A repository with one service, its forge, and the folder of its daemon.
struct Estate {
    origin: Origin,
    forge: FakeForge,
    folder: tempfile::TempDir,
    main: Revision,
}

fn compose(image: &str, password: &str) -> String {
    format!("services:\n  app:\n    image: {image}\n    environment:\n      DB_PASSWORD: {password}\n")
}

impl Estate {
    async fn new() -> Self {
        let (origin, folder) = (Origin::new(), tempfile::tempdir().expect("a folder"));
        origin.write("gitops.toml", "format = 1\nname = \"shop\"\n");
        origin.write("nodes/edge-1.yaml", "node: edge-1\n");
        origin.write("services/web/service.yaml", "service: web\nplace: {nodes: [edge-1]}\n");
        let main = origin.push_file("services/web/compose.yaml", compose("web:1", "canary-of-a-password"));
        for (name, secret) in [("token", TOKEN), ("hook", SECRET)] {
            std::fs::write(folder.path().join(name), secret).expect("written");
        }
        Self { origin, forge: FakeForge::start().await, folder, main }
    }

    async fn serve(&self) -> Served {
        let path = |name: &str| Some(self.folder.path().join(name));
        let settings = ControlSettings {
            source: Some(self.origin.bare().display().to_string()),
            state_dir: path("state"),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            poll_interval: "1h".parse().ok(),
            hook_secret_file: path("hook"),
            forge: Some(crate::forge::Kind::Gitea),
            forge_url: Some(self.forge.url.clone()),
            forge_repository: Some("acme/estate".to_owned()),
            forge_token_file: path("token"),
            ..ControlSettings::default()
        };
        let served = Served::start(&Config::resolve(&settings, &|_| None, None).expect("fits")).await;
        served.until(|status| status["source"]["deployed"] == json!(self.main)).await;
        served
    }

    /// Offers what is written as the head of a pull request that starts from the main branch, and goes back to that.
    fn offer(&self, number: u64, path: &str, content: &str) -> Revision {
        self.origin.write(path, content);
        let head = self.origin.commit("topic");
        self.origin.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/pull/{number}/head")]);
        self.origin.git(&["reset", "--quiet", "--hard", self.main.as_str()]);
        head
    }
}

impl Served {
    /// As Gitea tells of a pull request.
    async fn hint(&self, number: u64, delivery: &str, secret: &str) -> StatusCode {
        let body = json!({ "action": "opened", "number": number, "pull_request": { "number": number } });
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
        let mac = mac.chain_update(body.to_string()).finalize().into_bytes();
        let signature: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let call = self.client.post(format!("{}/v1/hooks/source", self.base)).body(body.to_string());
        let call = call.header("x-gitea-signature", signature).header("x-gitea-delivery", delivery);
        call.send().await.expect("an answer").status()
    }

    /// All that operators see of it, once an event of this kind is there.
    async fn events(&self, kind: &str) -> String {
        let has =
            |all: &Value| all["events"].as_array().expect("a list").iter().any(|one| one["kind"] == kind);
        let events = self.until_at("/v1/events?limit=1000", has).await;
        format!("{events} {}", self.ask(Method::GET, "/v1/status").await)
    }
}

const TAKEN: StatusCode = StatusCode::ACCEPTED;

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_compared_with_the_fleet_and_says_so_once() {
    let estate = Estate::new().await;
    let (served, forge) = (estate.serve().await, &estate.forge);
    let head = estate.offer(7, "services/web/compose.yaml", &compose("web:2", "canary-of-another-password"));
    forge.open(7, &head, 1);
    assert_eq!(served.hint(7, "forged", "guessed").await, StatusCode::UNAUTHORIZED);
    assert_eq!(served.hint(7, "one", SECRET).await, TAKEN);
    forge.until(|kept| !kept.comments.is_empty()).await;
    let comment = forge.kept().comments[0].1.clone();
    assert!(comment.contains("web:1") && comment.contains("web:2"), "{comment}");
    assert!(comment.contains("DB_PASSWORD") || comment.contains("environment"), "{comment}");
    forge.until(|kept| kept.statuses.iter().any(|(_, status)| status[0] == "gitops/shop")).await;
    assert_eq!(forge.status(&head, "gitops/shop").expect("set").0, "success");
    let events = served.events("review.written").await;

    assert_eq!(served.hint(7, "one", SECRET).await, StatusCode::CONFLICT, "a replay");
    assert_eq!(served.hint(7, "two", SECRET).await, TAKEN);
    let better =
        estate.offer(7, "services/web/compose.yaml", &compose("web:3", "canary-of-another-password"));
    forge.open(7, &better, 1);
    assert_eq!(served.hint(7, "three", SECRET).await, TAKEN);
    forge.until(|kept| kept.comments[0].1.contains("web:3")).await;
    forge.until(|kept| kept.statuses.iter().any(|(of, _)| of == better.as_str())).await;
    assert_eq!(forge.kept().comments.len(), 1, "in place");
    let heard = forge.kept().heard.clone();
    assert!(!format!("{events}{heard}").contains("canary"), "{events}\n{heard}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_and_of_a_fork_nothing_else() {
    let estate = Estate::new().await;
    let (served, forge) = (estate.serve().await, &estate.forge);
    let wrong = estate.offer(8, "services/web/service.yaml", "service: web\nplaice: {nodes: [edge-1]}\n");
    let fork = estate.offer(9, "services/web/compose.yaml", &compose("web:2", "x"));
    let loosened = "format = 1\nname = \"other\"\n[review]\ncomment = \"never\"\n";
    let tricky = estate.offer(10, "gitops.toml", loosened);
    forge.open(8, &wrong, 1);
    forge.open(9, &fork, 2);
    forge.open(10, &tricky, 1);
    forge.open(11, &fork, 1);
    forge.kept().pulls.get_mut(&11).expect("open")["state"] = json!("closed");
    forge.open(12, &fork, 1);
    forge.kept().pulls.get_mut(&12).expect("open")["base"]["ref"] = json!("next");
    for (number, delivery) in [(11, "a"), (12, "b"), (13, "c"), (8, "d"), (9, "e"), (10, "f")] {
        assert_eq!(served.hint(number, delivery, SECRET).await, TAKEN, "{number}");
    }
    forge.until(|kept| kept.comments.len() == 3).await;
    forge.until(|kept| kept.statuses.iter().any(|(of, _)| of == tricky.as_str())).await;
    let comments = forge.kept().comments.clone();
    let of = |number: u64| comments.iter().find(|(of, _)| *of == number).expect("said").1.clone();
    assert!(of(8).contains("plaice") && of(8).contains("1 mistake"), "{}", of(8));
    assert_eq!(forge.status(&wrong, "gitops/shop").expect("set").0, "failure");
    assert!(of(9).contains("fork") && !of(9).contains("web:"), "{}", of(9));
    assert_eq!(forge.status(&fork, "gitops/shop").expect("set").0, "success");
    assert!(of(10).contains("shop"), "the main branch says how it is reviewed: {}", of(10));
    let events = served.events("forge.dropped").await;
    assert!(events.contains("review/13"), "there is none: {events}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_that_starts_from_an_older_commit_is_compared_with_that() {
    let estate = Estate::new().await;
    let (served, forge) = (estate.serve().await, &estate.forge);
    let head = estate.offer(7, "nodes/edge-2.yaml", "node: edge-2\n");
    let newer = estate.origin.push_file("services/web/compose.yaml", compose("web:9", "x"));
    served.until(|status| status["source"]["deployed"] == json!(newer)).await;
    forge.open(7, &head, 1);
    assert_eq!(served.hint(7, "one", SECRET).await, TAKEN);
    forge.until(|kept| !kept.comments.is_empty()).await;
    let comment = forge.kept().comments[0].1.clone();
    assert!(!comment.contains("web:9"), "it does not take back what others did: {comment}");
    assert!(comment.contains(estate.main.short()), "{comment}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_holds_nothing_and_what_waited_is_told_after_a_restart() {
    let estate = Estate::new().await;
    let forge = &estate.forge;
    forge.kept().out_of_order = Some((503, ""));
    let served = estate.serve().await;
    let head = estate.offer(7, "services/web/compose.yaml", &compose("web:2", "x"));
    forge.open(7, &head, 1);
    assert_eq!(served.hint(7, "one", SECRET).await, TAKEN);
    let text = served.events("forge.failed").await;
    assert!(text.contains("out of order (503)") && !text.contains("canary"), "{text}");
    let newer = estate.origin.push_file("nodes/edge-2.yaml", "node: edge-2\n");
    served.until(|status| status["source"]["deployed"] == json!(newer)).await;
    served.stop().await;

    let database = std::fs::read(estate.folder.path().join("state/gitops.db")).expect("there");
    let database = String::from_utf8_lossy(&database).into_owned();
    assert!(database.contains("review/7") && !database.contains(TOKEN) && !database.contains(SECRET));
    forge.kept().out_of_order = None;
    let estate = Estate { main: newer.clone(), ..estate };
    let served = estate.serve().await;
    estate.forge.until(|kept| !kept.comments.is_empty()).await;
    estate.forge.until(|kept| kept.statuses.iter().any(|(of, _)| of == newer.as_str())).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_out() {
    let estate = Estate::new().await;
    let (served, forge) = (estate.serve().await, &estate.forge);
    forge.until(|kept| !kept.statuses.is_empty()).await;
    let head = estate.offer(7, "services/web/compose.yaml", &compose("web:2", "x"));
    forge.open(7, &head, 1);
    forge.kept().out_of_order = Some((429, "1"));
    let before = forge.kept().asked;
    assert_eq!(served.hint(7, "one", SECRET).await, TAKEN);
    served.events("forge.failed").await;
    assert_eq!(forge.kept().asked, before + 1, "it is left alone");
    forge.kept().out_of_order = None;
    forge.until(|kept| !kept.comments.is_empty()).await;
    served.events("forge.recovered").await;
    served.stop().await;
}

/// The agent of the one node.
struct Agent<'a> {
    served: &'a Served,
    token: String,
}

impl Agent<'_> {
    async fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        let hello = Hello {
            protocols: SPOKEN,
            agent: "a".into(),
            version: "0".into(),
            host: "a".into(),
            node: None,
            start: None,
        };
        let request = self.served.client.request(method, format!("{}{path}", self.served.base));
        let request = request.bearer_auth(&self.token).json(body);
        let with = |request: reqwest::RequestBuilder, (name, value)| request.header(name, value);
        let response = hello.to_headers().into_iter().fold(request, with).send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.expect("JSON")
    }

    /// Reports that every step of the newest plan came to this.
    async fn report(&self, outcome: StepOutcome) {
        let plan: NodePlan =
            serde_json::from_value(self.send(Method::GET, "/v1/agent/plan", &Value::Null).await)
                .expect("a plan");
        let result = |step: &gitops_core::plan::Step| {
            let digest = step.as_ensure().map(|ensure| ensure.digest);
            let message = Some("canary-of-a-log".to_owned());
            (step.service().clone(), StepResult { digest, outcome, message })
        };
        let status = NodeStatus {
            schema: 1,
            node: plan.node.clone(),
            agent: AgentInfo { id: "a".into(), version: "0".into(), start: None },
            host: HostInfo::default(),
            accepted: Some(PlanId::of(&plan)),
            refused: None,
            steps: plan.steps.iter().map(result).collect(),
            instances: Default::default(),
            drift: Default::default(),
            orphans: Default::default(),
        };
        self.send(Method::PUT, "/v1/agent/status", &json!({ "status": status })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_how_its_release_goes() {
    let estate = Estate::new().await;
    let (served, forge) = (estate.serve().await, &estate.forge);
    let until = async |sha: &Revision, state: &str| {
        let is_told = |(of, status): &(String, [String; 3])| {
            of == sha.as_str() && status[0] == "gitops/deploy" && status[1] == state
        };
        forge.until(|kept| kept.statuses.iter().any(is_told)).await;
        forge.status(sha, "gitops/deploy").expect("told").1
    };
    assert_eq!(until(&estate.main, "pending").await, "waits for node edge-1, which is not heard");
    let token = served.ask(Method::POST, "/v1/nodes/edge-1/token").await;
    let token = token["token"].as_str().expect("a token").to_owned();
    let agent = Agent { served: &served, token };
    agent.report(StepOutcome::Failed).await;
    // Told at once, and again when it is undone.
    let failed = until(&estate.main, "failure").await;
    assert!(failed == "web failed on node edge-1" || failed.starts_with("failed and is undone"), "{failed}");
    let compose = "services:\n  app:\n    image: busybox:1.37\n";
    let mended = estate.origin.push_file("services/web/compose.yaml", compose);
    until(&mended, "pending").await;
    agent.report(StepOutcome::Satisfied).await;
    assert_eq!(until(&mended, "success").await, "in force on 1 node");
    let broken = estate.origin.push_file("services/web/service.yaml", "service: web\nplaice: {}\n");
    let why = until(&broken, "failure").await;
    assert!(why.contains("mistake") && why.contains("the last good plans stand"), "{why}");
    assert!(!forge.kept().heard.contains("canary"), "{}", forge.kept().heard);
    served.stop().await;
}
