//! What every store does with what people decided.

use gitops_core::decision::{Decision, Held, Hold, KeptHold, MAX_VOTES, Vote};
use gitops_core::name::Digest;

use super::super::fixture::{at, event, first_plan, publication, revision};
use super::super::{Decided, Publication, Published, Retention};
use super::{DAY, EVERYTHING, Shared, ids};

fn hold(number: u64, until: Option<i64>) -> Hold {
    Hold {
        number,
        what: Held::Drain { node: "edge-1".parse().unwrap(), stop: true },
        reason: "\u{1f433} '; DROP TABLE holds; --\n\"".into(),
        owner: "ada".into(),
        since: at(0),
        until: until.map(at),
    }
}

fn vote(number: usize, day: i64) -> Vote {
    Vote {
        plan: Digest::of("plan"),
        revision: revision(1),
        changes: Default::default(),
        by: format!("ada-{number}").into(),
        roles: ["dba".into()].into(),
        approves: number.is_multiple_of(2),
        reason: Some("it is time".into()),
        at: at(day * DAY),
    }
}

fn end(number: u64, day: i64) -> Decision {
    Decision::End { number, by: "grace".into(), at: at(day * DAY) }
}

/// The hold that the decision was about, and how many there were with it; none where there was nothing to decide.
async fn decide(store: &Shared, decision: Decision) -> Option<(Option<Hold>, u64)> {
    let decided = store.decide(decision, event(0, "decided")).await.unwrap();
    decided.map(|Decided { hold, version, .. }| (hold, version))
}

async fn open(store: &Shared) -> Vec<u64> {
    store.load().await.unwrap().decisions.holds.iter().map(|hold| hold.number).collect()
}

pub(super) async fn holds_are_numbered_and_kept_until_somebody_ends_them(store: Shared) {
    assert_eq!(decide(&store, Decision::Begin(hold(0, None))).await, Some((Some(hold(1, None)), 1)));
    assert_eq!(decide(&store, Decision::Begin(hold(9, Some(5)))).await, Some((Some(hold(2, Some(5))), 2)));
    let snapshot = store.load().await.unwrap();
    assert_eq!((snapshot.decisions.holds, snapshot.version), (vec![hold(1, None), hold(2, Some(5))], 2));
    assert_eq!(decide(&store, end(1, 1)).await, Some((Some(hold(1, None)), 3)));
    for gone in [0, 1, 3, u64::MAX] {
        assert_eq!(decide(&store, end(gone, 2)).await, None, "{gone}");
    }
    assert_eq!(open(&store).await, [2]);
    let ended = KeptHold { hold: hold(1, None), ended_at: Some(at(DAY)), ended_by: Some("grace".into()) };
    let kept = KeptHold { hold: hold(2, Some(5)), ended_at: None, ended_by: None };
    assert_eq!(store.holds(9).await.unwrap(), [kept.clone(), ended]);
    assert_eq!(store.holds(1).await.unwrap(), [kept]);
}

pub(super) async fn a_decision_is_told_with_it_and_only_if_there_was_one(store: Shared) {
    let told = store.decide(Decision::Begin(hold(0, None)), event(1, "one")).await.unwrap().unwrap();
    assert_eq!((told.event.id, told.event.event), (1, event(1, "one")));
    assert_eq!(decide(&store, end(7, 0)).await, None);
    assert_eq!(ids(&store).await, [1]);
    assert_eq!(decide(&store, Decision::Vote(vote(0, 0))).await, Some((None, 2)));
    assert_eq!((ids(&store).await, store.load().await.unwrap().last_event), (vec![1, 2], 2));
}

pub(super) async fn that_a_hold_is_over_is_told_once(store: Shared) {
    decide(&store, Decision::Begin(hold(0, Some(5)))).await;
    assert_eq!(decide(&store, Decision::Expire(1)).await, Some((Some(hold(1, Some(5))), 2)));
    assert_eq!(decide(&store, Decision::Expire(1)).await, None);
    assert_eq!(open(&store).await, [1], "it is shown until somebody ends it");
    assert_eq!(decide(&store, end(1, 0)).await, Some((Some(hold(1, Some(5))), 3)));
    decide(&store, Decision::Begin(hold(0, Some(5)))).await;
    decide(&store, end(2, 0)).await;
    assert_eq!(decide(&store, Decision::Expire(2)).await, None, "somebody ended it");
}

pub(super) async fn the_newest_votes_are_kept_in_their_order(store: Shared) {
    for number in 0..MAX_VOTES + 2 {
        decide(&store, Decision::Vote(vote(number, 0))).await;
    }
    let votes = store.load().await.unwrap().decisions.votes;
    assert_eq!(votes, (2..MAX_VOTES + 2).map(|number| vote(number, 0)).collect::<Vec<_>>());
}

pub(super) async fn a_pass_that_does_not_know_what_was_written_publishes_nothing(store: Shared) {
    let publish = |node: &str, version| {
        let publication = Publication { version, ..publication(&[&first_plan(node, &[])], &[]) };
        let store = store.clone();
        async move { store.publish(publication).await.unwrap() }
    };
    let version = || async { store.load().await.unwrap().version };
    decide(&store, Decision::Begin(hold(0, None))).await;
    for unaware in [0, 2] {
        assert_eq!(publish("edge-1", Some(unaware)).await, Published::Unaware);
    }
    assert_eq!((version().await, store.load().await.unwrap().plans.len()), (1, 0));
    assert_eq!(publish("edge-1", Some(1)).await, Published::Done(Vec::new()));
    assert_eq!(publish("edge-2", Some(1)).await, Published::Unaware, "a publication counts, too");
    assert_eq!(publish("edge-2", None).await, Published::Done(Vec::new()));
    assert_eq!((version().await, store.load().await.unwrap().plans.len()), (3, 2));
}

pub(super) async fn prune_takes_holds_that_ended_and_votes_by_age(store: Shared) {
    for until in [None, Some(DAY), Some(5 * DAY), None, None] {
        decide(&store, Decision::Begin(hold(0, until))).await;
    }
    decide(&store, end(4, 1)).await;
    decide(&store, end(5, 5)).await;
    for day in [1, 5] {
        decide(&store, Decision::Vote(vote(0, day))).await;
    }
    let kept = async || {
        let holds: Vec<u64> = store.holds(9).await.unwrap().iter().map(|kept| kept.hold.number).collect();
        (holds, store.load().await.unwrap().decisions.votes.len())
    };
    store.prune(EVERYTHING, at(99 * DAY)).await.unwrap();
    assert_eq!(kept().await, (vec![5, 4, 3, 2, 1], 2));
    store.prune(Retention { days: 3, ..EVERYTHING }, at(5 * DAY)).await.unwrap();
    assert_eq!(kept().await, (vec![5, 3, 1], 1), "one without an end stays");
    store.prune(Retention { days: 0, ..EVERYTHING }, at(99 * DAY)).await.unwrap();
    assert_eq!((kept().await, store.load().await.unwrap().version), ((vec![1], 0), 9));
    assert_eq!(decide(&store, Decision::Begin(hold(0, None))).await, Some((Some(hold(6, None)), 10)));
}
