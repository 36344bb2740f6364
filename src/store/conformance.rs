//! What every store must do, case by case: the same cases run over each implementation.

mod decisions;
mod logs;
mod releases;
mod outbox;
mod previews;

use std::collections::BTreeSet;
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName};
use gitops_core::plan::NodePlan;

use super::fixture::{
    at, event, first_plan, heartbeat, next_plan, node, plan, publication, publish, report, status,
};
use super::memory::MemoryStore;
use super::{
    Event, Identity, Publication, Published, Retention, Snapshot, Store, StoreError, StoredToken, sqlite,
};

macro_rules! cases {
    ($($case:ident)*) => {
        mod in_memory {
            use std::sync::Arc;

            $(#[tokio::test]
            async fn $case() {
                super::$case(Arc::new(super::MemoryStore::default())).await;
            })*

        }

        mod in_sqlite {
            use std::sync::Arc;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let store = Arc::new(super::sqlite::open(&folder.path().join("gitops.db")).await.unwrap());
                super::$case(store.clone()).await;
                store.close().await;
            })*

        }
    };
}

cases! {
    a_new_store_is_empty
    a_published_plan_is_the_newest_and_the_one_before_it_is_kept
    several_plans_of_one_node_may_follow_each_other_in_one_publication
    a_plan_that_does_not_name_the_newest_as_its_parent_is_a_conflict
    a_conflict_writes_nothing_at_all
    of_many_who_succeed_one_plan_at_once_exactly_one_wins
    a_generation_must_rise
    a_plan_without_its_content_is_refused_and_nothing_is_written
    content_that_is_stored_need_not_be_published_again
    content_is_found_by_its_digest_and_may_be_empty_or_binary
    a_publication_without_a_revision_leaves_the_deployed_one
    text_of_every_kind_comes_back_as_it_was
    events_are_numbered_from_one_without_gaps
    events_are_read_page_by_page
    the_latest_status_counts
    what_is_written_last_counts_whatever_its_time
    a_heartbeat_makes_a_status_younger_and_leaves_it
    a_heartbeat_of_a_node_that_never_reported_leaves_nothing
    reports_in_one_call_count_in_their_order
    many_callers_who_report_at_once_are_all_heard
    tokens_are_added_and_revoked_by_identity
    prune_keeps_so_many_plans_of_each_node
    prune_never_takes_the_newest_plan_or_the_status
    prune_takes_plans_by_their_age
    prune_keeps_content_that_a_kept_plan_names
    prune_takes_events_by_count_and_by_age_and_their_numbers_stay_used
    log_lines_come_back_as_they_were_by_service_and_node
    a_log_line_that_is_sent_again_is_there_once
    logs_are_read_from_their_end_or_onwards
    prune_takes_log_lines_by_count_of_their_node_and_by_age
    a_release_begins_with_the_revision_that_is_deployed
    a_release_of_what_is_deployed_already_is_not_begun_again
    a_release_of_another_revision_than_is_deployed_is_refused
    plans_and_steps_belong_to_the_newest_release
    the_first_ack_of_a_plan_and_the_first_success_of_a_step_are_kept
    a_release_is_finished_once_and_only_while_it_is_the_newest
    releases_are_read_page_by_page_and_by_service
    prune_takes_releases_by_count_and_by_age_and_never_the_newest
    prune_keeps_when_a_step_that_stands_took_its_form
    holds_are_numbered_and_kept_until_somebody_ends_them
    a_decision_is_told_with_it_and_only_if_there_was_one
    that_a_hold_is_over_is_told_once
    the_newest_votes_are_kept_in_their_order
    a_pass_that_does_not_know_what_was_written_publishes_nothing
    prune_takes_holds_that_ended_and_votes_by_age
    errands_come_back_as_they_were_until_they_are_done
    of_one_key_the_newest_errand_counts
    prune_takes_errands_that_are_a_week_old
    a_preview_comes_back_by_its_id_as_it_was_made_first
    a_preview_without_an_id_is_not_kept
    a_publication_marks_the_preview_that_it_carries_out_once
    previews_are_bounded_by_number_by_size_and_by_age
}

use releases::{
    a_release_begins_with_the_revision_that_is_deployed,
    a_release_is_finished_once_and_only_while_it_is_the_newest,
    a_release_of_another_revision_than_is_deployed_is_refused,
    a_release_of_what_is_deployed_already_is_not_begun_again, plans_and_steps_belong_to_the_newest_release,
    prune_keeps_when_a_step_that_stands_took_its_form,
    prune_takes_releases_by_count_and_by_age_and_never_the_newest,
    releases_are_read_page_by_page_and_by_service,
    the_first_ack_of_a_plan_and_the_first_success_of_a_step_are_kept,
};

use logs::{
    a_log_line_that_is_sent_again_is_there_once, log_lines_come_back_as_they_were_by_service_and_node,
    logs_are_read_from_their_end_or_onwards, prune_takes_log_lines_by_count_of_their_node_and_by_age,
};

use decisions::{
    a_decision_is_told_with_it_and_only_if_there_was_one,
    a_pass_that_does_not_know_what_was_written_publishes_nothing,
    holds_are_numbered_and_kept_until_somebody_ends_them, prune_takes_holds_that_ended_and_votes_by_age,
    that_a_hold_is_over_is_told_once, the_newest_votes_are_kept_in_their_order,
};

use outbox::{
    errands_come_back_as_they_were_until_they_are_done, of_one_key_the_newest_errand_counts,
    prune_takes_errands_that_are_a_week_old,
};

use previews::{
    a_preview_comes_back_by_its_id_as_it_was_made_first, a_preview_without_an_id_is_not_kept,
    a_publication_marks_the_preview_that_it_carries_out_once,
    previews_are_bounded_by_number_by_size_and_by_age,
};

type Shared = Arc<dyn Store>;

async fn newest(store: &Shared, name: &str) -> Option<Arc<NodePlan>> {
    store.plan(&node(name), None).await.unwrap()
}

async fn kept(store: &Shared, plan: &NodePlan) -> bool {
    store.plan(&plan.node, Some(plan.digest)).await.unwrap().is_some()
}

async fn has(store: &Shared, content: &str) -> bool {
    store.blob(Digest::of(content)).await.unwrap().is_some()
}

async fn ids(store: &Shared) -> Vec<u64> {
    store.events(0, u32::MAX).await.unwrap().iter().map(|event| event.id).collect()
}

fn with_events(messages: &[&str]) -> Publication {
    Publication {
        events: messages.iter().map(|message| event(0, message)).collect(),
        ..Publication::default()
    }
}

async fn a_new_store_is_empty(store: Shared) {
    assert_eq!(store.load().await.unwrap(), Snapshot::default());
    assert_eq!(newest(&store, "edge-1").await, None);
    assert_eq!(store.events(0, 10).await.unwrap(), []);
    assert_eq!(store.tokens().await.unwrap(), []);
    assert_eq!(store.publish(Publication::default()).await.unwrap(), Published::Done(Vec::new()));
    assert_eq!(store.load().await.unwrap(), Snapshot { version: 1, ..Snapshot::default() });
}

async fn a_published_plan_is_the_newest_and_the_one_before_it_is_kept(store: Shared) {
    let first = first_plan("edge-1", &["a"]);
    let other = first_plan("edge-2", &[]);
    publish(&*store, publication(&[&first, &other], &["a"])).await;
    let second = next_plan(&first, &["b"]);
    publish(&*store, publication(&[&second], &["b"])).await;

    let plans = store.load().await.unwrap().plans;
    assert_eq!(plans, [(node("edge-1"), second.clone()), (node("edge-2"), other)].into());
    assert_eq!(newest(&store, "edge-1").await, Some(second.clone()));
    assert_eq!(store.plan(&node("edge-1"), Some(first.digest)).await.unwrap(), Some(first.clone()));
    assert_eq!(store.plan(&node("edge-2"), Some(first.digest)).await.unwrap(), None, "another node's plan");
    assert_eq!(store.plan(&node("edge-1"), Some(Digest::of("?"))).await.unwrap(), None);
}

async fn several_plans_of_one_node_may_follow_each_other_in_one_publication(store: Shared) {
    let first = first_plan("edge-1", &[]);
    let second = next_plan(&first, &[]);
    publish(&*store, publication(&[&first, &second], &[])).await;
    assert_eq!(newest(&store, "edge-1").await, Some(second));
}

async fn a_plan_that_does_not_name_the_newest_as_its_parent_is_a_conflict(store: Shared) {
    let first = first_plan("edge-1", &[]);
    publish(&*store, publication(&[&first], &[])).await;
    let second = next_plan(&first, &[]);
    publish(&*store, publication(&[&second], &[])).await;

    let unfit = [
        ("a second beginning", first_plan("edge-1", &[])),
        ("a branch", next_plan(&first, &[])),
        ("a plan without a parent", plan("edge-1", 3, None, &[])),
        ("a parent that never was", plan("edge-1", 3, Some(Digest::of("?")), &[])),
        ("a parent on a node without plans", plan("edge-2", 2, Some(first.digest), &[])),
    ];
    for (what, plan) in unfit {
        let published = store.publish(publication(&[&plan], &[])).await.unwrap();
        assert_eq!(published, Published::Conflict(plan.node.clone()), "{what}");
    }
}

async fn a_conflict_writes_nothing_at_all(store: Shared) {
    let first = first_plan("edge-2", &[]);
    publish(&*store, publication(&[&first], &[])).await;
    let before = store.load().await.unwrap();

    let good = first_plan("edge-1", &["a"]);
    let bad = first_plan("edge-2", &[]);
    let published = store.publish(Publication {
        deployed: Some("2".repeat(40).parse().unwrap()),
        events: vec![event(0, "lost")],
        ..publication(&[&good, &bad], &["a"])
    });
    assert_eq!(published.await.unwrap(), Published::Conflict(node("edge-2")));
    assert_eq!(store.load().await.unwrap(), before);
    assert!(!has(&store, "a").await);
    assert_eq!(store.append_events(vec![event(0, "kept")]).await.unwrap()[0].id, 1);
}

async fn of_many_who_succeed_one_plan_at_once_exactly_one_wins(store: Shared) {
    let mut parent = first_plan("edge-1", &[]);
    publish(&*store, publication(&[&parent], &[])).await;
    for round in 0..5 {
        let rivals: Vec<String> = (0..8).map(|rival| format!("{round}-{rival}")).collect();
        let tasks = rivals.iter().map(|rival| {
            let plan = next_plan(&parent, &[rival]);
            let (store, publication) = (store.clone(), publication(&[&plan], &[rival]));
            tokio::spawn(async move { (plan, store.publish(publication).await.unwrap()) })
        });
        let mut winners = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                (plan, Published::Done(_)) => winners.push(plan),
                (_, Published::Conflict(on)) => assert_eq!(on, node("edge-1")),
                (_, Published::Unaware) => panic!("no version was named"),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(newest(&store, "edge-1").await, winners.first().cloned());
        parent = winners.remove(0);
    }
}

async fn a_generation_must_rise(store: Shared) {
    let first = plan("edge-1", 7, None, &[]);
    publish(&*store, publication(&[&first], &[])).await;
    for generation in [0, 6, 7, u64::MAX] {
        let unfit = plan("edge-1", generation, Some(first.digest), &["other"]);
        let refused = store.publish(publication(&[&unfit], &["other"])).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{generation}: {refused:?}");
    }
    assert_eq!(newest(&store, "edge-1").await, Some(first.clone()));
    let jump = plan("edge-1", 1 << 40, Some(first.digest), &[]);
    publish(&*store, publication(&[&jump], &[])).await;
    assert_eq!(newest(&store, "edge-1").await, Some(jump));
}

async fn a_plan_without_its_content_is_refused_and_nothing_is_written(store: Shared) {
    let plan = first_plan("edge-1", &["a", "b"]);
    let refused = store.publish(publication(&[&plan], &["a"])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    assert_eq!(store.load().await.unwrap(), Snapshot::default());
    assert!(!has(&store, "a").await);
    publish(&*store, publication(&[&plan], &["a", "b"])).await;
}

async fn content_that_is_stored_need_not_be_published_again(store: Shared) {
    let first = first_plan("edge-1", &["a"]);
    publish(&*store, publication(&[&first], &["a"])).await;
    publish(&*store, publication(&[&next_plan(&first, &["a"])], &[])).await;
    publish(&*store, publication(&[&first_plan("edge-2", &["a"])], &["a"])).await;
    assert!(has(&store, "a").await);
}

async fn content_is_found_by_its_digest_and_may_be_empty_or_binary(store: Shared) {
    let contents: [Arc<[u8]>; 4] =
        [Arc::from([]), Arc::from([0, 255, 0]), Arc::from(*b"text"), Arc::from(vec![7; 3 << 20])];
    let blobs = contents.iter().map(|content| (Digest::of(content), content.clone())).collect();
    publish(&*store, Publication { blobs, ..Publication::default() }).await;
    for content in contents {
        assert!(store.blob(Digest::of(&content)).await.unwrap() == Some(content));
    }
    assert_eq!(store.blob(Digest::of("?")).await.unwrap(), None);
}

async fn a_publication_without_a_revision_leaves_the_deployed_one(store: Shared) {
    for (published, deployed) in [(Some("a"), "a"), (None, "a"), (Some("b"), "b"), (Some("a"), "a")] {
        let revision = |digit: &str| digit.repeat(40).parse().unwrap();
        publish(&*store, Publication { deployed: published.map(revision), ..Publication::default() }).await;
        assert_eq!(store.load().await.unwrap().deployed, Some(revision(deployed)));
    }
}

async fn text_of_every_kind_comes_back_as_it_was(store: Shared) {
    for text in ["", "\0", "\"\\\n\u{7f}", "é\u{1f680}\u{202e}", "'; DROP TABLE plans; --", "{\"a\":[1e400]}"]
    {
        let said = store.append_events(vec![event(0, text)]).await.unwrap();
        assert_eq!(store.events(said[0].id - 1, 10).await.unwrap(), said);
        store.record_statuses(vec![report("edge-1", 0, text)]).await.unwrap();
        assert_eq!(
            *store.load().await.unwrap().reported.nodes[&node("edge-1")].status,
            status("edge-1", text)
        );
    }
}

async fn events_are_numbered_from_one_without_gaps(store: Shared) {
    let numbers = |events: &[Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    let Published::Done(events) = store.publish(with_events(&["a", "b"])).await.unwrap() else { panic!() };
    assert_eq!(numbers(&events), [1, 2]);
    assert_eq!(store.append_events(Vec::new()).await.unwrap(), []);
    let more = store.append_events(vec![event(1, "c"), event(0, "d")]).await.unwrap();
    assert_eq!(numbers(&more), [3, 4]);
    assert_eq!(store.load().await.unwrap().last_event, 4);
    assert_eq!(store.events(0, 10).await.unwrap(), [events, more].concat());
}

async fn events_are_read_page_by_page(store: Shared) {
    store.append_events((0..10).map(|n| event(n, "e")).collect()).await.unwrap();
    for (after, limit, expected) in [
        (0, 3, vec![1, 2, 3]),
        (3, 3, vec![4, 5, 6]),
        (8, 3, vec![9, 10]),
        (10, 3, vec![]),
        (0, 0, vec![]),
        (u64::MAX, u32::MAX, vec![]),
    ] {
        let page = store.events(after, limit).await.unwrap();
        assert_eq!(page.iter().map(|event| event.id).collect::<Vec<_>>(), expected, "{limit} after {after}");
    }
}

/// After the reports, what is stored of `edge-1`: its words and when it was heard.
async fn check_reports(store: &Shared, reports: Vec<super::StatusReport>, expected: Option<(&str, i64)>) {
    store.record_statuses(reports).await.unwrap();
    let nodes = store.load().await.unwrap().reported.nodes;
    let stored = nodes.get(&node("edge-1")).map(|stored| ((*stored.status).clone(), stored.heard_at));
    assert_eq!(stored, expected.map(|(words, seconds)| (status("edge-1", words), at(seconds))));
}

async fn the_latest_status_counts(store: Shared) {
    check_reports(&store, vec![], None).await;
    check_reports(&store, vec![report("edge-2", 0, "other")], None).await;
    check_reports(&store, vec![report("edge-1", 1, "a")], Some(("a", 1))).await;
    check_reports(&store, vec![report("edge-1", 2, "b"), report("edge-3", 0, "c")], Some(("b", 2))).await;
    check_reports(&store, vec![report("edge-1", 2, "same time")], Some(("same time", 2))).await;
    let names: Vec<NodeName> = store.load().await.unwrap().reported.nodes.into_keys().collect();
    assert_eq!(names, [node("edge-1"), node("edge-2"), node("edge-3")]);
}

async fn what_is_written_last_counts_whatever_its_time(store: Shared) {
    check_reports(&store, vec![report("edge-1", 5, "a")], Some(("a", 5))).await;
    check_reports(&store, vec![report("edge-1", 4, "b")], Some(("b", 4))).await;
    check_reports(&store, vec![heartbeat("edge-1", 3)], Some(("b", 3))).await;
    check_reports(&store, vec![report("edge-1", -1_000_000_000, "1994")], Some(("1994", -1_000_000_000)))
        .await;
}

async fn a_heartbeat_makes_a_status_younger_and_leaves_it(store: Shared) {
    check_reports(&store, vec![report("edge-1", 1, "a")], Some(("a", 1))).await;
    check_reports(&store, vec![heartbeat("edge-1", 3)], Some(("a", 3))).await;
    check_reports(&store, vec![report("edge-1", 4, "b")], Some(("b", 4))).await;
}

async fn a_heartbeat_of_a_node_that_never_reported_leaves_nothing(store: Shared) {
    check_reports(&store, vec![heartbeat("edge-1", 9)], None).await;
    check_reports(&store, vec![heartbeat("edge-1", 8)], None).await;
    check_reports(&store, vec![report("edge-1", 1, "a")], Some(("a", 1))).await;
}

async fn reports_in_one_call_count_in_their_order(store: Shared) {
    let reports = vec![
        heartbeat("edge-1", 9),
        report("edge-1", 2, "a"),
        report("edge-1", 1, "b"),
        heartbeat("edge-1", 3),
        report("edge-1", 3, "c"),
        heartbeat("edge-1", 4),
    ];
    check_reports(&store, reports, Some(("c", 4))).await;
}

async fn many_callers_who_report_at_once_are_all_heard(store: Shared) {
    let names: Vec<String> = (0..300).map(|n| format!("node-{n}")).collect();
    let tasks = names.iter().map(|name| {
        let (store, reports) = (store.clone(), vec![report(name, 1, name), heartbeat(name, 2)]);
        tokio::spawn(async move { store.record_statuses(reports).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let nodes = store.load().await.unwrap().reported.nodes;
    assert_eq!(nodes.len(), names.len());
    for (name, stored) in nodes {
        assert_eq!((&*stored.status, stored.heard_at), (&status(name.as_str(), name.as_str()), at(2)));
    }
}

async fn tokens_are_added_and_revoked_by_identity(store: Shared) {
    let edge = |n| Identity::Node(node(&format!("edge-{n}")));
    let operator = |name: &str| Identity::Operator(name.parse().unwrap());
    let token = |secret: &str, identity| {
        let (digest, roles) = (Digest::of(secret), BTreeSet::new());
        StoredToken { digest, identity, roles, created_at: at(0) }
    };
    let roles = ["dba", "security"].map(|role| role.parse().unwrap()).into();
    let mut tokens = vec![
        token("a", operator("operator")),
        token("b", edge(1)),
        token("c", edge(1)),
        token("d", edge(2)),
        StoredToken { roles, ..token("e", operator("ada@example.org")) },
        token("f", operator("edge-1")),
    ];
    for token in &tokens {
        store.add_token(token.clone()).await.unwrap();
    }
    store.add_token(tokens[0].clone()).await.unwrap();
    tokens.sort_by_key(|token| token.digest);
    assert_eq!(store.tokens().await.unwrap(), tokens);

    for (identity, count) in
        [(edge(1), 2), (edge(1), 0), (edge(3), 0), (operator("operator"), 1), (operator("grace"), 0)]
    {
        assert_eq!(store.revoke_tokens(&identity).await.unwrap(), count, "{identity:?}");
    }
    tokens
        .retain(|token| [edge(2), operator("ada@example.org"), operator("edge-1")].contains(&token.identity));
    assert_eq!(store.tokens().await.unwrap(), tokens);
}

const EVERYTHING: Retention = Retention {
    plans_per_node: u32::MAX,
    releases: u32::MAX,
    events: u64::MAX,
    log_lines_per_node: u64::MAX,
    days: u32::MAX,
};
const DAY: i64 = 24 * 60 * 60;

/// Publishes `count` plans of a node, one each day, each with content of its own and some in common.
async fn history(store: &Shared, name: &str, count: usize) -> Vec<Arc<NodePlan>> {
    let mut plans: Vec<Arc<NodePlan>> = Vec::new();
    for day in 0..count {
        let own = format!("{name}-{day}");
        let contents = [own.as_str(), "common"];
        let plan =
            plans.last().map_or_else(|| first_plan(name, &contents), |last| next_plan(last, &contents));
        let events = vec![event(day as i64 * DAY, &own)];
        publish(&**store, Publication { events, ..publication(&[&plan], &contents) }).await;
        plans.push(plan);
    }
    plans
}

async fn check_kept(store: &Shared, plans: &[Arc<NodePlan>], expected: &[bool]) {
    for (plan, &expected) in plans.iter().zip(expected) {
        assert_eq!(kept(store, plan).await, expected, "{} {}", plan.node, plan.generation);
        let own = format!("{}-{}", plan.node, plan.generation.0 - 1);
        assert_eq!(has(store, &own).await, expected, "content of {} {}", plan.node, plan.generation);
    }
    assert!(has(store, "common").await);
}

async fn prune_keeps_so_many_plans_of_each_node(store: Shared) {
    let (one, two) = (history(&store, "edge-1", 4).await, history(&store, "edge-2", 1).await);
    store.prune(EVERYTHING, at(0)).await.unwrap();
    check_kept(&store, &one, &[true; 4]).await;
    store.prune(Retention { plans_per_node: 2, ..EVERYTHING }, at(0)).await.unwrap();
    check_kept(&store, &one, &[false, false, true, true]).await;
    check_kept(&store, &two, &[true]).await;
    publish(&*store, publication(&[&next_plan(&one[3], &["common"])], &[])).await;
}

async fn prune_never_takes_the_newest_plan_or_the_status(store: Shared) {
    let plans = history(&store, "edge-1", 3).await;
    store.record_statuses(vec![report("edge-1", 0, "a")]).await.unwrap();
    let before = store.load().await.unwrap();
    let nothing = Retention { plans_per_node: 0, releases: 0, events: 0, log_lines_per_node: 0, days: 0 };
    store.prune(nothing, at(1000 * DAY)).await.unwrap();
    check_kept(&store, &plans, &[false, false, true]).await;
    assert_eq!(store.load().await.unwrap(), before);
    assert!(ids(&store).await.is_empty());
}

async fn prune_takes_plans_by_their_age(store: Shared) {
    let plans = history(&store, "edge-1", 5).await;
    let unaged = next_plan(&plans[4], &["common"]);
    publish(&*store, publication(&[&unaged], &[])).await;
    publish(&*store, publication(&[&next_plan(&unaged, &["common"])], &[])).await;

    store.prune(Retention { days: 3, ..EVERYTHING }, at(5 * DAY)).await.unwrap();
    check_kept(&store, &plans, &[false, false, true, true, true]).await;
    store.prune(Retention { days: 3, ..EVERYTHING }, at(99 * DAY)).await.unwrap();
    check_kept(&store, &plans, &[false; 5]).await;
    assert!(kept(&store, &unaged).await, "a plan whose publication gave no time has no age");
}

async fn prune_keeps_content_that_a_kept_plan_names(store: Shared) {
    let first = first_plan("edge-1", &["a", "b"]);
    let second = next_plan(&first, &["b"]);
    publish(&*store, publication(&[&first, &second], &["a", "b", "unnamed"])).await;
    publish(&*store, publication(&[&first_plan("edge-2", &["c"])], &["c"])).await;
    store.prune(Retention { plans_per_node: 1, ..EVERYTHING }, at(0)).await.unwrap();
    for (content, expected) in [("a", false), ("b", true), ("c", true), ("unnamed", false)] {
        assert_eq!(has(&store, content).await, expected, "{content}");
    }
}

async fn prune_takes_events_by_count_and_by_age_and_their_numbers_stay_used(store: Shared) {
    store.append_events((1..=10).map(|day| event(day * DAY, "e")).collect()).await.unwrap();
    store.prune(EVERYTHING, at(0)).await.unwrap();
    assert_eq!(ids(&store).await, (1..=10).collect::<Vec<_>>());
    store.prune(Retention { events: 7, ..EVERYTHING }, at(0)).await.unwrap();
    assert_eq!(ids(&store).await, [4, 5, 6, 7, 8, 9, 10]);
    store.prune(Retention { days: 2, ..EVERYTHING }, at(10 * DAY)).await.unwrap();
    assert_eq!(ids(&store).await, [8, 9, 10]);
    store.prune(Retention { events: 0, ..EVERYTHING }, at(0)).await.unwrap();
    assert!(ids(&store).await.is_empty());
    assert_eq!(store.load().await.unwrap().last_event, 10);
    assert_eq!(store.append_events(vec![event(0, "e")]).await.unwrap()[0].id, 11);
}
