//! What every store does with releases, and with what became of their plans and steps.

use gitops_core::release::{Release, ReleaseQuery, StepEffect, StepQuery};

use super::super::fixture::{
    at, event, first_plan, heartbeat, next_plan, node, opened, plan, publication, publish, reaching, report,
    revision, step_change,
};
use super::super::{Publication, Published};
use super::{DAY, EVERYTHING, Retention, Shared, StoreError};

/// Deploys the revision of this digit on this day.
async fn release(store: &Shared, digit: u8, day: i64, services: &[&str]) {
    let (release, deployed) = (Some(opened(digit, day * DAY, services)), Some(revision(digit)));
    publish(&**store, Publication { release, deployed, ..Publication::default() }).await;
}

async fn page(store: &Shared, query: ReleaseQuery) -> Vec<Release> {
    store.releases(&query).await.unwrap()
}

/// Number and revision's digit of all releases, the newest first.
async fn all(store: &Shared) -> Vec<(u64, String)> {
    let releases = page(store, ReleaseQuery { limit: 100, ..ReleaseQuery::default() }).await;
    releases.iter().map(|it| (it.number, it.release.revision.as_str()[..1].to_owned())).collect()
}

fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(number, digit)| (*number, (*digit).to_owned())).collect()
}

pub(super) async fn a_release_begins_with_the_revision_that_is_deployed(store: Shared) {
    assert_eq!(store.load().await.unwrap().release, None);
    for digit in [1, 2, 1] {
        release(&store, digit, 0, &[]).await;
    }
    assert_eq!(all(&store).await, numbered(&[(3, "1"), (2, "2"), (1, "1")]), "what comes again is a new one");
    let newest = store.load().await.unwrap().release.unwrap();
    assert_eq!((newest.number, &newest.release), (3, &opened(1, 0, &[]).release));
    for (number, expected) in [(2, Some(2)), (3, Some(1)), (0, None), (4, None), (u64::MAX, None)] {
        let diff = store.release_diff(number).await.unwrap();
        assert_eq!(diff.map(|kept| kept.diff.summary.unchanged), expected, "{number}");
    }
}

pub(super) async fn a_release_of_what_is_deployed_already_is_not_begun_again(store: Shared) {
    release(&store, 1, 0, &[]).await;
    release(&store, 1, 1, &["web"]).await;
    assert_eq!(all(&store).await, numbered(&[(1, "1")]));
    // Deployed without a release in between, as by an older program.
    publish(&*store, Publication { deployed: Some(revision(2)), ..Publication::default() }).await;
    release(&store, 1, 2, &[]).await;
    assert_eq!(all(&store).await, numbered(&[(2, "1"), (1, "1")]));
    let conflict = publication(&[&plan("edge-1", 2, Some(gitops_core::name::Digest::of("?")), &[])], &[]);
    let conflict = Publication { release: Some(opened(3, 0, &[])), deployed: Some(revision(3)), ..conflict };
    assert_eq!(store.publish(conflict).await.unwrap(), Published::Conflict(node("edge-1")));
    assert_eq!(all(&store).await.len(), 2, "a conflict begins none");
}

pub(super) async fn a_release_of_another_revision_than_is_deployed_is_refused(store: Shared) {
    for deployed in [None, Some(revision(2))] {
        let unfit = Publication { release: Some(opened(1, 0, &[])), deployed, ..Publication::default() };
        assert!(matches!(store.publish(unfit).await, Err(StoreError::Refused(_))));
    }
    assert_eq!(all(&store).await, []);
}

pub(super) async fn plans_and_steps_belong_to_the_newest_release(store: Shared) {
    let before = first_plan("edge-1", &[]);
    publish(&*store, publication(&[&before], &[])).await;
    let records = store.plan_records(None).await.unwrap();
    assert_eq!((records[0].release, records[0].published_at), (None, None));
    let second = next_plan(&before, &[]);
    let first = Publication {
        release: Some(opened(1, 0, &[])),
        deployed: Some(revision(1)),
        steps: vec![step_change(&second, StepEffect::Create)],
        events: vec![event(5, "published")],
        ..publication(&[&second], &[])
    };
    publish(&*store, first).await;
    let later = first_plan("edge-2", &[]);
    let steps = vec![step_change(&later, StepEffect::Recreate)];
    publish(&*store, Publication { steps, ..publication(&[&later], &[]) }).await;

    let of = |records: &[gitops_core::release::PlanRecord]| {
        let short =
            |it: &gitops_core::release::PlanRecord| (it.node.to_string(), it.plan.generation.0, it.release);
        records.iter().map(short).collect::<Vec<_>>()
    };
    let expected = [("edge-1".to_owned(), 2, Some(1)), ("edge-2".to_owned(), 1, Some(1))];
    assert_eq!(of(&store.plan_records(Some(1)).await.unwrap()), expected);
    assert_eq!(of(&store.plan_records(None).await.unwrap()), expected);
    assert_eq!(store.plan_records(Some(2)).await.unwrap(), []);
    let steps = store.steps(&web(9)).await.unwrap();
    assert_eq!(steps[0].change, step_change(&second, StepEffect::Create));
    assert_eq!(
        (steps[0].release, steps[0].published_at, steps[0].satisfied_at),
        (Some(1), Some(at(5)), None)
    );
    assert_eq!(steps[1].change, step_change(&later, StepEffect::Recreate));
    let changed = ReleaseQuery { service: "web".parse().ok(), limit: 9, ..ReleaseQuery::default() };
    assert_eq!(page(&store, changed).await.len(), 1, "its steps change `web`, whatever its diff says");
}

fn web(limit: u32) -> StepQuery {
    StepQuery { services: ["web".parse().unwrap()].into(), node: None, limit }
}

pub(super) async fn the_first_ack_of_a_plan_and_the_first_success_of_a_step_are_kept(store: Shared) {
    let before = first_plan("edge-1", &["before"]);
    publish(&*store, publication(&[&before], &["before"])).await;
    let first = next_plan(&before, &[]);
    let steps = vec![step_change(&first, StepEffect::Create)];
    let release = Some(opened(1, 0, &[]));
    let first_release =
        Publication { release, deployed: Some(revision(1)), steps, ..publication(&[&first], &[]) };
    publish(&*store, first_release).await;
    let second = next_plan(&first, &[]);
    publish(&*store, publication(&[&second], &[])).await;

    let acked = async || store.plan_records(None).await.unwrap()[0].acked_at;
    let satisfied = async || store.steps(&web(1)).await.unwrap()[0].satisfied_at;
    // The plan before releases were kept is not dated, and no step stood in it.
    store.record_statuses(vec![reaching(report("edge-1", 1, "a"), &before, true)]).await.unwrap();
    assert_eq!((acked().await, satisfied().await), (None, None));
    let other = first_plan("edge-2", &[]);
    store.record_statuses(vec![reaching(report("edge-2", 1, "a"), &other, true)]).await.unwrap();
    assert_eq!((acked().await, satisfied().await), (None, None), "another node");
    // The step took its form in the plan before, and is done under this one.
    store.record_statuses(vec![reaching(report("edge-1", 2, "b"), &second, false)]).await.unwrap();
    assert_eq!((acked().await, satisfied().await), (None, Some(at(2))));
    let again = vec![
        reaching(report("edge-1", 3, "c"), &second, true),
        reaching(heartbeat("edge-1", 4), &second, true),
    ];
    store.record_statuses(again).await.unwrap();
    assert_eq!((acked().await, satisfied().await), (Some(at(3)), Some(at(2))));
}

pub(super) async fn a_release_is_finished_once_and_only_while_it_is_the_newest(store: Shared) {
    let finished = async || {
        let releases = page(&store, ReleaseQuery { limit: 9, ..ReleaseQuery::default() }).await;
        releases.iter().map(|release| release.finished_at).collect::<Vec<_>>()
    };
    store.finish_release(&revision(1), at(0)).await.unwrap();
    release(&store, 1, 0, &[]).await;
    store.finish_release(&revision(2), at(1)).await.unwrap();
    assert_eq!(finished().await, [None]);
    store.finish_release(&revision(1), at(2)).await.unwrap();
    store.finish_release(&revision(1), at(3)).await.unwrap();
    assert_eq!(finished().await, [Some(at(2))]);
    assert_eq!(store.load().await.unwrap().release.unwrap().finished_at, Some(at(2)));
    release(&store, 2, 0, &[]).await;
    release(&store, 3, 0, &[]).await;
    store.finish_release(&revision(2), at(4)).await.unwrap();
    assert_eq!(finished().await, [None, None, Some(at(2))]);
}

pub(super) async fn releases_are_read_page_by_page_and_by_service(store: Shared) {
    for digit in 1..=6 {
        release(&store, digit, 0, if digit % 2 == 0 { &["web", "api"] } else { &["db"] }).await;
    }
    let check = async |before, service: Option<&str>, limit, expected: &[u64]| {
        let service = service.map(|name| name.parse().unwrap());
        let found = page(&store, ReleaseQuery { before, service, limit }).await;
        let found: Vec<u64> = found.iter().map(|release| release.number).collect();
        assert_eq!(found, expected);
    };
    check(None, None, 2, &[6, 5]).await;
    check(Some(5), None, 2, &[4, 3]).await;
    check(Some(2), None, 9, &[1]).await;
    check(Some(1), None, 9, &[]).await;
    check(Some(u64::MAX), None, 1, &[6]).await;
    check(None, None, 0, &[]).await;
    check(None, Some("web"), 9, &[6, 4, 2]).await;
    check(Some(6), Some("api"), 1, &[4]).await;
    check(None, Some("unknown"), 9, &[]).await;
}

pub(super) async fn prune_takes_releases_by_count_and_by_age_and_never_the_newest(store: Shared) {
    for digit in 1..=6 {
        release(&store, digit, digit.into(), &["web"]).await;
    }
    let numbers = async || all(&store).await.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    store.prune(EVERYTHING, at(0)).await.unwrap();
    assert_eq!(numbers().await, [6, 5, 4, 3, 2, 1]);
    store.prune(Retention { releases: 4, ..EVERYTHING }, at(0)).await.unwrap();
    assert_eq!(numbers().await, [6, 5, 4, 3]);
    store.prune(Retention { days: 2, ..EVERYTHING }, at(7 * DAY)).await.unwrap();
    assert_eq!(numbers().await, [6, 5]);
    store.prune(Retention { releases: 0, days: 0, ..EVERYTHING }, at(99 * DAY)).await.unwrap();
    assert_eq!(numbers().await, [6]);
    assert_eq!(store.release_diff(5).await.unwrap(), None);
    let changed = ReleaseQuery { service: "web".parse().ok(), limit: 9, ..ReleaseQuery::default() };
    assert_eq!(page(&store, changed).await.len(), 1);
    release(&store, 7, 0, &[]).await;
    assert_eq!(numbers().await, [7, 6], "a number is never given again");
}

pub(super) async fn prune_keeps_when_a_step_that_stands_took_its_form(store: Shared) {
    let mut plans = vec![first_plan("edge-1", &[])];
    for _ in 0..3 {
        plans.push(next_plan(plans.last().unwrap(), &[]));
    }
    for (day, plan) in (0..).zip(&plans) {
        let steps = vec![step_change(plan, StepEffect::Recreate)];
        let events = vec![event(day * DAY, "published")];
        publish(&*store, Publication { steps, events, ..publication(&[plan], &[]) }).await;
    }
    let kept = async || {
        let steps = store.steps(&web(9)).await.unwrap();
        steps.iter().map(|step| step.change.generation.0).collect::<Vec<_>>()
    };
    store.prune(Retention { plans_per_node: 3, ..EVERYTHING }, at(0)).await.unwrap();
    assert_eq!(kept().await, [4, 3, 2]);
    store.prune(Retention { days: 1, ..EVERYTHING }, at(3 * DAY)).await.unwrap();
    assert_eq!(kept().await, [4, 3]);
    store.prune(Retention { plans_per_node: 0, days: 0, ..EVERYTHING }, at(99 * DAY)).await.unwrap();
    assert_eq!(kept().await, [4]);
    let gone = next_plan(&plans[3], &[]);
    let steps = vec![step_change(&gone, StepEffect::Remove)];
    let events = vec![event(100 * DAY, "removed")];
    publish(&*store, Publication { steps, events, ..publication(&[&gone], &[]) }).await;
    store.prune(Retention { days: 0, ..EVERYTHING }, at(101 * DAY)).await.unwrap();
    assert_eq!(kept().await, [0_u64; 0], "of what is gone nothing stands");
}
