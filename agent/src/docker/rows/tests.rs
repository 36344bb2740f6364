use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// Answers of Docker Engine 20.10 to `GET /containers/json?all=1` and `GET /containers/{id}/json`, shortened.
const LIST: &str = include_str!("list-20.10.json");
const INSPECTED: &str = include_str!("inspect-20.10.json");

fn rows() -> BTreeMap<String, Row> {
    let list: Vec<ContainerSummary> = serde_json::from_str(LIST).unwrap();
    list.into_iter().filter_map(row).map(|row| (row.container.name.to_string(), row)).collect()
}

#[test]
fn a_list_tells_state_health_and_exit_code() {
    use ContainerState::{Created, Exited, Paused, Restarting, Running};
    let rows = rows();
    let check = |name: &str, state: ContainerState, health: Health, exit_code: Option<i64>| {
        let Container { state: found, health: found_health, exit_code: found_code, .. } =
            rows[name].container;
        assert_eq!((found, found_health, found_code), (state, health, exit_code), "{name}");
    };
    check("rec-a-1", Running, Health::Healthy, None);
    check("rec-b-1", Exited, Health::None, Some(3));
    check("rec-l-1", Restarting, Health::None, Some(4));
    check("rec-p-1", Paused, Health::None, None);
    check("rec-s-1", Running, Health::Starting, None);
    check("rec-u-1", Running, Health::Unhealthy, None);
    check("byhand", Created, Health::None, None);
}

#[test]
fn a_list_tells_whose_a_container_is() {
    let rows = rows();
    let digest = format!("sha256:{}", "a".repeat(64));
    let Row { container, node, service, one_off, .. } = &rows["rec-a-1"];
    assert_eq!((node.as_deref(), service.as_ref().map(ServiceName::as_str)), (Some("n1"), Some("web")));
    assert_eq!((&*container.service, *one_off), ("a", false));
    assert_eq!(container.config.map(|config| config.to_string()), Some(format!("1:{digest}")));
    assert_eq!(container.files.map(|files| files.to_string()), Some(digest));
    assert!(rows["rec-run"].one_off);
    let Row { container, service, .. } = &rows["byhand"];
    assert_eq!((service, &*container.service, container.config), (&None, "", None));
}

#[test]
fn an_answer_may_lack_every_field() {
    assert_eq!(row(ContainerSummary::default()), None);
    let bare = row(ContainerSummary { id: Some("x".to_owned()), ..ContainerSummary::default() }).unwrap();
    assert_eq!((&*bare.container.id, bare.container.state), ("x", ContainerState::Created));
    assert_eq!(details(ContainerInspectResponse::default()), Details::default());
}

#[test]
fn an_inspection_tells_restarts_and_when_it_was_started() {
    let mut inspected: BTreeMap<String, ContainerInspectResponse> = serde_json::from_str(INSPECTED).unwrap();
    let mut rows = rows();
    let mut container =
        |name: &str| rows.remove(name).unwrap().with(&details(inspected.remove(name).unwrap()));
    let looping = container("rec-l-1");
    assert!(looping.restarts > 3 && looping.started_at.is_some());
    assert_eq!(looping.exit_code, Some(4));
    let created = container("byhand");
    assert_eq!((created.restarts, created.started_at, created.exit_code), (0, None, None));
    assert_eq!(container("rec-b-1").exit_code, Some(3));
}

#[test]
fn an_inspection_knows_of_an_end_before_the_list_does() {
    let row = rows().remove("rec-a-1").unwrap();
    assert_eq!(row.container.state, ContainerState::Running);
    let state = json!({"Status": "exited", "ExitCode": 137, "StartedAt": "2026-01-02T03:04:05Z"});
    let inspected: ContainerInspectResponse = serde_json::from_value(json!({"State": state})).unwrap();
    let container = row.with(&details(inspected));
    assert_eq!((container.state, container.exit_code), (ContainerState::Exited, Some(137)));
}

#[test]
fn words_for_a_time_that_passes_are_no_change() {
    let row = |status: &str| Row { status: status.to_owned(), ..rows().remove("rec-b-1").unwrap() };
    let same = |a: &str, b: &str| assert_eq!(row(a).class(), row(b).class());
    let differ = |a: &str, b: &str| assert_ne!(row(a).class(), row(b).class());
    same("Exited (3) 2 seconds ago", "Exited (3) 2 hours ago");
    differ("Exited (3) 2 seconds ago", "Exited (4) 2 seconds ago");
    same("Up 2 seconds (healthy)", "Up 3 hours (healthy)");
    let check = |status: &str, young: bool| assert_eq!(row(status).is_young(), young, "{status}");
    check("Up Less than a second", true);
    check("Up 59 seconds (healthy)", true);
    check("Up About a minute", false);
    check("Exited (1) 1 second ago", true);
    check("Exited (1) 2 days ago", false);
    check("Created", false);
}
