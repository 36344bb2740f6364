//! Questions to real containers, and what an engine tells of one that lacked memory.

use std::time::Duration;

use gitops_agent::checks::Answer;
use gitops_agent::host::Host as _;
use gitops_core::plan::Probe;
use gitops_core::status::ContainerState;
use serde_json::json;
use tokio::sync::mpsc;

use super::bench::{Bench, sleeper};
use super::eventually;

fn bad(why: &str) -> Answer {
    Answer::Bad(why.to_owned())
}

#[tokio::test]
async fn a_container_is_asked_over_http_over_tcp_and_by_a_command() {
    let Some(bench) = Bench::new("probe") else { return };
    let server = json!({
        "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
        "volumes": ["./www:/www:ro"],
        "network_mode": "bridge",
    });
    // One without a network of its own is reached by that of the other.
    let beside = json!({"network_mode": "service:web", "depends_on": ["web"]});
    let services = json!({"web": sleeper(server), "beside": sleeper(beside), "alone": sleeper(json!({}))});
    bench.ensure(&bench.step(services, &[("www/health", "status: UP\n")])).await;
    let containers = bench.look().await;
    let ask = async |name: &str, probe: Probe| {
        bench.host.probe(&containers[name].id, &probe, Duration::from_secs(1)).await
    };
    let http = |path: &str, status: Option<&str>, body: Option<&str>| Probe::Http {
        port: 8080,
        path: path.into(),
        status: status.map(Into::into),
        body: body.map(Into::into),
    };
    eventually(
        async || ask("web", http("/health", None, None)).await == Answer::Good,
        || "the server does not answer".to_owned(),
    )
    .await;
    for (probe, expected) in [
        (http("/health", Some("200"), Some("status: UP")), Answer::Good),
        (http("/health", Some("204"), None), bad("GET /health on 8080 answered 200")),
        (
            http("/health", None, Some("DOWN")),
            bad("GET /health on 8080 answered 200 without the text that must be in it"),
        ),
        (http("/none?key=secret", None, None), bad("GET /none on 8080 answered 404")),
        (http("/none", Some("4xx"), None), Answer::Good),
        (Probe::Tcp { port: 8080 }, Answer::Good),
        (Probe::Tcp { port: 81 }, bad("TCP on 81 was refused")),
    ] {
        assert_eq!(ask("web", probe.clone()).await, expected, "{probe:?}");
        assert_eq!(ask("beside", probe.clone()).await, expected, "{probe:?}");
    }
    let nowhere = "TCP on 80 has no address to go to: the container is in no network";
    assert_eq!(ask("alone", Probe::Tcp { port: 80 }).await, bad(nowhere));

    let exec = |words: &[&str]| Probe::Exec { command: words.iter().map(|word| (*word).into()).collect() };
    assert_eq!(ask("alone", exec(&["true"])).await, Answer::Good);
    assert_eq!(ask("alone", exec(&["sh", "-c", "exit 3"])).await, bad("`sh` ended with exit code 3"));
    let Answer::Bad(_) = ask("alone", exec(&["no-such-program"])).await else { panic!("it cannot be run") };
    let long = exec(&["sleep", "3"]);
    assert_eq!(ask("alone", long.clone()).await, bad("`sleep` had no answer within 1 s"));
    assert_eq!(ask("alone", long.clone()).await, bad("`sleep` was asked before and has not ended yet"));

    bench.delete_container(&containers["web"].id).await;
    assert_eq!(ask("web", Probe::Tcp { port: 8080 }).await, Answer::NotAsked);
    bench.clean_up().await;
}

#[tokio::test]
async fn a_container_that_was_killed_for_want_of_memory_is_told_also_once_it_runs_again() {
    let Some(bench) = Bench::new("starved") else { return };
    // The first run wants more than there is, the ones after it do not.
    let command =
        "[ -e /tmp/again ] || { touch /tmp/again; sleep 1; x=a; while :; do x=$x$x; done; }; sleep 1000";
    let hungry =
        json!({"command": ["sh", "-c", command], "mem_limit": "16m", "restart": "always", "init": false});
    let step = bench.step(json!({"web": sleeper(hungry), "calm": sleeper(json!({}))}), &[]);
    let (wakes, mut woken) = mpsc::channel(64);
    let host = bench.host.clone();
    let watching = tokio::spawn(async move { host.watch(wakes).await });
    woken.recv().await.unwrap();
    bench.ensure(&step).await;
    let is_told = async || {
        let seen = bench.look().await;
        assert!(!seen["calm"].oom_killed);
        let web = &seen["web"];
        web.oom_killed && web.restarts == 1 && web.state == ContainerState::Running
    };
    eventually(is_told, || "it is not told".to_owned()).await;
    // Another end is another story.
    bench
        .engine
        .kill_container(
            &bench.look().await["web"].id,
            None::<bollard::query_parameters::KillContainerOptions>,
        )
        .await
        .unwrap();
    eventually(async || !bench.look().await["web"].oom_killed, || "it is told for ever".to_owned()).await;
    drop(woken);
    watching.abort();
    bench.clean_up().await;
}
