//! What is answered about releases, and how questions about what is not there are refused.

use gitops_core::diff::{Change, ChangeKind, Diff, Summary};
use gitops_core::name::{Generation, Revision};
use gitops_core::plan::{Reason, Remove, Step};
use gitops_core::release::{Commit, Opened, Reached, StepChange, StepEffect, changes};
use gitops_core::status::PlanId;

use super::*;
use crate::store::{NewEvent, Publication, Retention, StatusReport};

fn revision(digit: u8) -> Revision {
    digit.to_string().repeat(40).parse().expect("a revision")
}

fn at(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_780_000_000 + seconds).expect("a time")
}

/// A plan with one step, about `web`.
fn plan(node: &str, generation: u64, parent: Option<&NodePlan>, digit: u8) -> Arc<NodePlan> {
    let field = format!("field-{generation}").into();
    let because =
        vec![Reason { field, old: None, new: None, source: Some("services/web/compose.yaml:4".into()) }];
    let project = format!("web-{generation}").into();
    let service = "web".parse().expect("a name");
    let step = Step::Remove(Remove {
        service,
        project,
        volumes_kept: Vec::new(),
        after: Vec::new(),
        wave: 0,
        spans: Vec::new(),
        because,
    });
    let parent = parent.map(|plan| plan.digest);
    Arc::new(NodePlan::new(super::node(node), Generation(generation), parent, revision(digit), vec![step]))
}

fn change(service: &str) -> Change {
    Change {
        environment: None,
        nodes: vec![node("edge-1")],
        service: service.parse().expect("a name"),
        kind: ChangeKind::Create,
        from: None,
        because: Vec::new(),
        files: Vec::new(),
        effects: BTreeMap::new(),
        capabilities: Vec::new(),
        volumes_kept: Vec::new(),
    }
}

/// Publishes `plans` as the release of this revision, which changes these services.
async fn deploy(api: &Api, digit: u8, plans: &[Arc<NodePlan>], services: &[&str]) {
    let commit = Commit {
        author: "Ada".into(),
        email: "ada@example.org".into(),
        committer: "Ada".into(),
        subject: format!("commit {digit}: PASSWORD=canary-{digit}"),
        time: at(0),
        signature: None,
    };
    let changes_made: Vec<Change> = services.iter().copied().map(change).collect();
    let summary = Summary { create: changes_made.len(), ..Summary::default() };
    let diff = Diff { summary, changes: changes_made, ..Diff::default() };
    let before = digit.checked_sub(1).filter(|digit| *digit > 0).map(revision);
    let opened = Opened::new(revision(digit), before, Some(commit), diff, at(digit.into()));
    let event = NewEvent {
        at: at(digit.into()),
        kind: "source.deployed".into(),
        revision: None,
        node: None,
        service: None,
        message: String::new(),
    };
    let publication = Publication {
        plans: plans.to_vec(),
        deployed: Some(revision(digit)),
        release: Some(Box::new(opened)),
        steps: changes(&BTreeMap::new(), plans),
        events: vec![event],
        ..Publication::default()
    };
    api.store.publish(publication).await.expect("memory");
    let mut known = BTreeMap::clone(&api.plans.borrow());
    known.extend(plans.iter().map(|plan| (plan.node.clone(), plan.clone())));
    api.plans.send_replace(Arc::new(known));
}

fn numbers(page: &Value) -> Vec<u64> {
    let releases = page["releases"].as_array().expect("a list");
    releases.iter().filter_map(|release| release["number"].as_u64()).collect()
}

#[tokio::test]
async fn before_the_first_release_everything_says_so() {
    let api = Api::start().await;
    let page = check(api.get("/v1/releases", &api.operator), 200, None).await;
    assert_eq!(numbers(&page), [0_u64; 0]);
    for path in
        ["/v1/releases/latest", "/v1/applied", "/v1/releases/1", "/v1/why/web", "/v1/releases?service=web"]
    {
        let problem = check(api.get(path, &api.operator), 404, Some("not-found")).await;
        let detail = problem["detail"].as_str().expect("words");
        assert!(detail.contains("nothing was deployed yet"), "{path}: {detail}");
    }
}

#[tokio::test]
async fn releases_come_in_pages_and_by_service_with_what_changed() {
    let api = Api::start().await;
    let first = plan("edge-1", 1, None, 1);
    deploy(&api, 1, &[first], &["web"]).await;
    for digit in 2..=5 {
        deploy(&api, digit, &[], if digit % 2 == 0 { &["web", "api"] } else { &["api"] }).await;
    }
    let get =
        async |query: &str| check(api.get(&format!("/v1/releases{query}"), &api.operator), 200, None).await;
    for (query, expected) in [
        ("", &[5, 4, 3, 2, 1][..]),
        ("?limit=2", &[5, 4]),
        ("?limit=2&before=4", &[3, 2]),
        ("?limit=0", &[]),
        ("?limit=4000000", &[5, 4, 3, 2, 1]),
        ("?before=1", &[]),
        ("?service=web", &[4, 2, 1]),
        ("?service=web&before=4&limit=1", &[2]),
    ] {
        assert_eq!(numbers(&get(query).await), expected, "{query}");
    }
    let of_web = get("?service=web&limit=1").await;
    let release = &of_web["releases"][0];
    assert_eq!(
        (&release["changes"][0]["service"], release["changes"].as_array().map(Vec::len)),
        (&"web".into(), Some(1))
    );
    assert_eq!(release["standing"], serde_json::json!({ "state": "superseded", "by": 5, "on": [] }));
    assert_eq!(get("").await["releases"][0].get("changes"), None);
    check(api.get("/v1/releases?limit=x", &api.operator), 400, Some("malformed")).await;
    check(api.get("/v1/releases?service=Web", &api.operator), 400, Some("malformed")).await;
    let unknown = check(api.get("/v1/releases?service=wbe", &api.operator), 404, None).await;
    assert!(unknown["detail"].as_str().expect("words").contains("did you mean `web`?"), "{unknown}");
}

#[tokio::test]
async fn a_release_is_shown_whole_with_who_has_acknowledged_it() {
    let api = Api::start().await;
    let plans = [plan("edge-1", 1, None, 1), plan("edge-2", 1, None, 1)];
    deploy(&api, 1, &plans, &["web"]).await;
    let reached = Reached { plan: PlanId::of(&plans[0]), is_acked: true, services: Vec::new() };
    let report = StatusReport { node: node("edge-1"), status: None, heard_at: at(9), reached: Some(reached) };
    api.store.record_statuses(vec![report]).await.expect("memory");
    let latest = check(api.get("/v1/releases/latest", &api.operator), 200, None).await;
    // What that put where is asked of the daemon, with the release as it is kept.
    check(api.get("/v1/applied", &api.operator), 503, Some("not-ready")).await;
    let asked = loop {
        match api.asked().await {
            Some(Request::Fleet) => {}
            other => break other,
        }
    };
    assert!(matches!(&asked, Some(Request::Applied(view)) if view.release.number == 1), "{asked:?}");
    assert_eq!(latest, check(api.get("/v1/releases/1", &api.operator), 200, None).await);
    assert_eq!(
        (&latest["nodes"][0]["acked_at"], &latest["nodes"][1]["acked_at"]),
        (&at(9).to_string().into(), &Value::Null)
    );
    assert_eq!(latest["standing"], serde_json::json!({ "state": "in-progress", "on": ["edge-2"] }));
    assert_eq!(latest["diff"]["changes"][0]["service"], "web");
    assert_eq!(latest["commit"]["subject"], "commit 1: PASSWORD=(hidden)");
    assert!(!latest.to_string().contains("canary"), "{latest}");
}

#[tokio::test]
async fn a_release_that_is_not_there_is_refused_with_those_that_are() {
    let api = Api::start().await;
    for digit in 1..=4 {
        deploy(&api, digit, &[], &[]).await;
    }
    let keep = Retention { plans_per_node: 9, releases: 2, events: 9, log_lines_per_node: 9, days: u32::MAX };
    api.store.prune(keep, at(0)).await.expect("memory");
    for (number, status, said) in [
        ("9", 404, "there is no release 9: the newest is 4"),
        ("0", 404, "there is no release 0"),
        ("2", 404, "release 2 is no longer kept: 3 and newer are"),
        ("18446744073709551615", 404, "there is no release"),
        ("-1", 400, "use a number, or `latest`"),
        ("newest", 400, "use a number, or `latest`"),
    ] {
        let problem = check(api.get(&format!("/v1/releases/{number}"), &api.operator), status, None).await;
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(said)),
            "{number}: {problem}"
        );
    }
}

#[tokio::test]
async fn why_leads_from_a_service_to_the_release_that_changed_it_last() {
    let api = Api::start().await;
    let first = plan("edge-1", 1, None, 1);
    deploy(&api, 1, &[first.clone(), plan("edge-2", 1, None, 1)], &["web"]).await;
    deploy(&api, 2, &[plan("edge-1", 2, Some(&first), 2)], &["web"]).await;
    deploy(&api, 3, &[], &[]).await;
    let why = check(api.get("/v1/why/web", &api.operator), 200, None).await;
    let release = |index: usize| why["nodes"][index]["release"]["number"].as_u64();
    assert_eq!((release(0), release(1)), (Some(2), Some(1)));
    assert_eq!(why["nodes"][0]["because"][0]["field"], "field-2");
    assert_eq!(why["nodes"][0]["plan"]["generation"], 2);
    let one = check(api.get("/v1/why/web?node=edge-2", &api.operator), 200, None).await;
    assert_eq!((&one["nodes"][0], one["nodes"].as_array().map(Vec::len)), (&why["nodes"][1], Some(1)));
    assert!(!why.to_string().contains("canary"), "{why}");

    for (path, said) in [
        ("wbe", "no node has a service `wbe`: did you mean `web`?"),
        ("unlike-any", "`gitops status` lists the services"),
        ("web?node=edge-9", "there is no node `edge-9`: it is on edge-1, edge-2"),
    ] {
        let problem = check(api.get(&format!("/v1/why/{path}"), &api.operator), 404, Some("not-found")).await;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_change_whose_release_is_no_longer_kept_still_says_when_it_was() {
    let api = Api::start().await;
    deploy(&api, 1, &[plan("edge-1", 1, None, 1)], &["web"]).await;
    deploy(&api, 2, &[], &[]).await;
    let keep = Retention { plans_per_node: 9, releases: 1, events: 9, log_lines_per_node: 9, days: u32::MAX };
    api.store.prune(keep, at(0)).await.expect("memory");
    let why = check(api.get("/v1/why/web", &api.operator), 200, None).await;
    let node = &why["nodes"][0];
    assert_eq!((&node["changed"]["release"], node.get("release")), (&1.into(), None));
    assert_eq!(node["changed"]["published_at"], at(1).to_string());
    let expected = StepChange {
        wave: 0,
        node: super::node("edge-1"),
        service: "web".parse().expect("a name"),
        generation: Generation(1),
        digest: None,
        effect: StepEffect::Remove,
    };
    let changed = serde_json::to_value(expected).expect("JSON");
    for (field, value) in changed.as_object().expect("an object") {
        assert_eq!(&node["changed"][field], value);
    }
}
