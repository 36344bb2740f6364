//! What every store does with the outbox.

use std::collections::BTreeMap;

use gitops_core::review::{State, Status};

use super::super::fixture::at;
use super::super::outbox::{Change, Errand, ErrandKey, Outbox, Task};
use super::{DAY, EVERYTHING, Shared};

fn review(number: u64, asked: i64) -> Errand {
    Errand { due_at: at(asked + 5), attempts: 3, ..Errand::new(Task::Review(number), at(asked)) }
}

fn status(message: &str) -> Errand {
    let revision = "a".repeat(40).parse().unwrap();
    let status =
        Status { description: message.to_owned(), ..Status::new(State::Failure, "gitops/deploy", "") };
    Errand::new(Task::Status { revision, status }, at(0))
}

fn put(errand: &Errand) -> (ErrandKey, Change) {
    (errand.task.key(), Change::Put(errand.clone()))
}

fn done(number: u64, asked: i64) -> (ErrandKey, Change) {
    (Task::Review(number).key(), Change::Done(at(asked)))
}

fn outbox(errands: &[&Errand]) -> Outbox {
    errands.iter().map(|&errand| (errand.task.key(), errand.clone())).collect()
}

/// After the changes, what is in the outbox.
async fn check(store: &Shared, changes: impl IntoIterator<Item = (ErrandKey, Change)>, expected: &[&Errand]) {
    store.change_outbox(changes.into_iter().collect()).await.unwrap();
    assert_eq!(store.load().await.unwrap().outbox, outbox(expected));
}

pub(super) async fn errands_come_back_as_they_were_until_they_are_done(store: Shared) {
    let (seven, nine) = (review(7, 0), review(9, 1));
    let said = status("\u{1f433} '; DROP TABLE outbox; --\n\"");
    check(&store, [put(&seven), put(&nine), put(&said)], &[&seven, &nine, &said]).await;
    check(&store, [done(7, 0)], &[&nine, &said]).await;
    check(&store, [done(7, 0), done(8, 0)], &[&nine, &said]).await;
    check(&store, [done(9, 1), put(&seven)], &[&seven, &said]).await;
    check(&store, BTreeMap::new(), &[&seven, &said]).await;
}

pub(super) async fn of_one_key_the_newest_errand_counts(store: Shared) {
    let (old, new) = (review(7, 5), review(7, 6));
    check(&store, [put(&old)], &[&old]).await;
    check(&store, [put(&new)], &[&new]).await;
    check(&store, [put(&old)], &[&new]).await;
    check(&store, [done(7, 5)], &[&new]).await;
    let again = Errand { attempts: 4, due_at: at(99), ..new };
    check(&store, [put(&again)], &[&again]).await;
    check(&store, [done(7, 6)], &[]).await;
}

pub(super) async fn prune_takes_errands_that_are_a_week_old(store: Shared) {
    let (old, young) = (review(7, 0), review(9, 2 * DAY));
    check(&store, [put(&old), put(&young)], &[&old, &young]).await;
    store.prune(EVERYTHING, at(7 * DAY)).await.unwrap();
    check(&store, [], &[&old, &young]).await;
    store.prune(EVERYTHING, at(8 * DAY)).await.unwrap();
    check(&store, [], &[&young]).await;
}
