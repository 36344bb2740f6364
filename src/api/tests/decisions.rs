//! Who decides, and what is passed on of it.

use gitops_core::decision::Held;
use serde_json::json;

use super::super::control::Ballot;
use super::*;

async fn named(api: &Api, name: &str, roles: &[&str]) -> String {
    let body = json!({ "roles": roles });
    let make = api.request(Method::POST, &format!("/v1/operators/{name}/token"), &api.operator).json(&body);
    let made = check(make, 201, None).await;
    assert_eq!((&made["operator"], &made["roles"]), (&json!(name), &json!(roles)));
    assert!(matches!(api.asked().await, Some(Request::Note(event)) if &*event.kind == "token.created"));
    made["token"].as_str().expect("shown").to_owned()
}

#[tokio::test]
async fn operators_have_names_that_only_the_first_one_gives() {
    let api = Api::start().await;
    let ada = named(&api, "ada@example.org", &["dba", "security"]).await;
    let listed = check(api.get("/v1/operators", &ada), 200, None).await;
    assert_eq!(listed[0]["operator"], "ada@example.org");
    assert_eq!((&listed[1]["operator"], &listed[1]["tokens"]), (&json!("operator"), &json!(1)));

    let make =
        |name: &str, token: &str| api.request(Method::POST, &format!("/v1/operators/{name}/token"), token);
    check(make("grace", &ada), 403, Some("not-first")).await;
    check(make("ada@example.org", &ada).json(&json!({ "roles": ["admin"] })), 403, Some("not-first")).await;
    check(make("grace%20h", &api.operator), 400, Some("malformed")).await;
    check(make("grace", &api.operator).json(&json!({ "roles": ["a b"] })), 400, Some("malformed")).await;
    let revoke = |token: &str| api.request(Method::DELETE, "/v1/operators/ada@example.org/token", token);
    check(revoke(&ada), 403, Some("not-first")).await;
    assert_eq!(check(revoke(&api.operator), 200, None).await["revoked"], 1);
    check(api.get("/v1/operators", &ada), 401, Some("unknown-token")).await;
}

#[tokio::test]
async fn a_hold_is_that_of_the_token_that_asks_for_it() {
    let api = Api::start().await;
    let ada = named(&api, "ada", &[]).await;
    let hold = |body: Value| api.request(Method::POST, "/v1/holds", &ada).json(&body);
    let lock =
        json!({ "kind": "lock", "reason": " move to PASSWORD=hunter2 ", "seconds": 60, "owner": "grace" });
    let held = check(hold(lock), 201, None).await;
    assert_eq!((&held["number"], &held["owner"]), (&json!(7), &json!("ada")));
    let Some(Request::Hold(asked)) = api.asked().await else { panic!("a hold is asked for") };
    assert_eq!((&asked.what, &*asked.owner), (&Held::Lock, "ada"));
    assert_eq!(&*asked.reason, "move to PASSWORD=(hidden)");
    assert_eq!(asked.until.map(|until| until.duration_since(asked.since).as_secs()), Some(60));

    let part = json!({ "kind": "suspend", "on": { "service": "web" }, "reason": "it flaps" });
    check(hold(part), 201, None).await;
    for bad in [
        json!({ "kind": "lock" }),
        json!({ "kind": "lock", "reason": " " }),
        json!({ "kind": "lock", "reason": "x".repeat(501) }),
        json!({ "kind": "lock", "reason": "x", "seconds": 1, "until": "2030-01-01T00:00:00Z" }),
        json!({ "kind": "suspend", "on": { "service": "Web" }, "reason": "x" }),
        json!({ "kind": "unlock", "reason": "x" }),
    ] {
        check(hold(bad), 400, Some("malformed")).await;
    }
    check(api.request(Method::DELETE, "/v1/holds/8", &ada), 404, Some("not-found")).await;
    check(api.request(Method::DELETE, "/v1/holds/eight", &ada), 400, Some("malformed")).await;
    check(api.get("/v1/holds", &api.edge_1), 403, Some("wrong-identity")).await;
}

#[tokio::test]
async fn a_vote_counts_for_the_name_and_the_roles_of_the_token() {
    let api = Api::start().await;
    let ada = named(&api, "ada", &["dba"]).await;
    let vote = json!({ "plan": "abcdef", "approves": true, "by": "grace", "roles": ["security"] });
    check(api.request(Method::POST, "/v1/approvals", &ada).json(&vote), 409, Some("not-awaited")).await;
    let expected = Ballot {
        plan: "abcdef".into(),
        by: "ada".parse().expect("a name"),
        roles: ["dba".parse().expect("a name")].into(),
        approves: true,
        reason: None,
    };
    assert_eq!(api.asked().await, Some(Request::Vote(Box::new(expected))));
    assert_eq!(check(api.get("/v1/approvals", &ada), 200, None).await, json!({ "awaiting": [] }));
    check(api.request(Method::POST, "/v1/retry", &ada), 202, None).await;
}
