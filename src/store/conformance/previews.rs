//! What every store does with previews.

use std::sync::Arc;

use gitops_core::diff::Diff;
use gitops_core::name::Digest;
use gitops_core::reconcile::preview::{Preview, Touched};
use jiff::Timestamp;

use super::super::fixture::{at, event, first_plan, publication, publish};
use super::super::{PREVIEW_BYTES, PREVIEWS, Publication};
use super::{DAY, EVERYTHING, Retention, Shared};

/// Ids in the order of the numbers.
fn id(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn preview(number: usize, words: &str) -> Preview {
    let touched = Touched {
        from: None,
        gets: Some(id(7)),
        held: [("web".parse().unwrap(), None)].into(),
        accepted: None,
        undone: ["db".parse().unwrap()].into(),
    };
    Preview {
        revision: Some("3".repeat(40).parse().unwrap()),
        touched: [("edge-1".parse().unwrap(), touched)].into(),
        diff: Diff { head: Arc::from(words), plan: Some(id(number)), ..Diff::default() },
    }
}

async fn kept(store: &Shared, number: usize) -> Option<(Timestamp, Option<Timestamp>)> {
    store.preview(id(number)).await.unwrap().map(|kept| (kept.made_at, kept.deployed_at))
}

pub(super) async fn a_preview_comes_back_by_its_id_as_it_was_made_first(store: Shared) {
    let first = preview(1, "\u{1f433} \"quoted\"");
    store.keep_preview(&first, at(1)).await.unwrap();
    store.keep_preview(&preview(1, "again"), at(2)).await.unwrap();
    let found = store.preview(id(1)).await.unwrap().unwrap();
    assert_eq!((&found.preview, found.made_at, found.deployed_at), (&first, at(1), None));
    assert_eq!(kept(&store, 2).await, None);
}

pub(super) async fn a_preview_without_an_id_is_not_kept(store: Shared) {
    let mut nameless = preview(1, "work tree");
    nameless.diff.plan = None;
    store.keep_preview(&nameless, at(1)).await.unwrap();
    assert_eq!(kept(&store, 1).await, None);
}

pub(super) async fn a_publication_marks_the_preview_that_it_carries_out_once(store: Shared) {
    for number in 1..=2 {
        store.keep_preview(&preview(number, ""), at(1)).await.unwrap();
    }
    let carry_out = |seconds| Publication {
        plan_id: Some(id(1)),
        events: vec![event(seconds, "deployed")],
        ..Publication::default()
    };
    publish(&*store, carry_out(5)).await;
    publish(&*store, carry_out(9)).await;
    assert_eq!(kept(&store, 1).await, Some((at(1), Some(at(5)))));
    assert_eq!(kept(&store, 2).await, Some((at(1), None)));
    // What is not kept cannot be marked, and a conflict marks nothing.
    publish(&*store, Publication { plan_id: Some(id(3)), ..Publication::default() }).await;
    let plan = first_plan("edge-1", &[]);
    publish(&*store, publication(&[&plan], &[])).await;
    let late = Publication { plan_id: Some(id(2)), events: vec![event(9, "")], ..publication(&[&plan], &[]) };
    store.publish(late).await.unwrap();
    assert_eq!(kept(&store, 2).await, Some((at(1), None)));
}

pub(super) async fn previews_are_bounded_by_number_by_size_and_by_age(store: Shared) {
    for number in 0..PREVIEWS + 2 {
        store.keep_preview(&preview(number, ""), at(number as i64)).await.unwrap();
    }
    assert_eq!((kept(&store, 1).await, kept(&store, 2).await.is_some()), (None, true));
    let large = "x".repeat(PREVIEW_BYTES / 2);
    for number in 1000..1003 {
        store.keep_preview(&preview(number, &large), at(number as i64)).await.unwrap();
    }
    assert_eq!((kept(&store, 1001).await, kept(&store, 1002).await.is_some()), (None, true));
    assert_eq!(kept(&store, PREVIEWS + 1).await, None, "older ones go with it");
    store.keep_preview(&preview(1, ""), at(2000)).await.unwrap();
    store.prune(Retention { days: 1, ..EVERYTHING }, at(1500 + DAY)).await.unwrap();
    assert_eq!((kept(&store, 1002).await, kept(&store, 1).await.is_some()), (None, true));
}
