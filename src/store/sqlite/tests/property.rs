//! Whatever is done to a store, the one in memory and the one on disk answer alike and end alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec as several;
use proptest::prelude::*;

use super::super::super::fixture::{
    at, event, first_plan, heartbeat, next_plan, node, plan, publication, report,
};
use super::super::super::memory::MemoryStore;
use super::super::super::outbox::{Change, Errand, Task};
use super::super::super::{Identity, Publication, Retention, StatusReport, Store, StoredToken};
use super::Folder;
use crate::name::{Digest, NodeName};
use crate::plan::NodePlan;

const NODES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
const CONTENTS: [&str; 4] = ["a", "b", "c", "d"];

/// One call. Numbers choose among the constants above.
#[derive(Clone, Debug)]
enum Call {
    Publish {
        plans: Vec<Next>,
        contents: Vec<usize>,
        deployed: Option<u8>,
        events: Vec<i64>,
    },
    Record(Vec<(usize, i64, Option<u8>)>),
    Append(Vec<i64>),
    Events {
        after: u64,
        limit: u32,
    },
    /// Which pull request, when it was asked for, and how often it was tried: none when it is done.
    Outbox(Vec<(u64, i64, Option<u32>)>),
    AddToken {
        secret: u8,
        node: Option<usize>,
    },
    Revoke(Option<usize>),
    Prune {
        plans_per_node: u32,
        events: u64,
        days: u32,
        now: i64,
    },
    /// Close the store on disk and open it again.
    Reopen,
}

/// A plan to be.
#[derive(Clone, Debug)]
struct Next {
    node: usize,
    /// On top of which of the node's plans so far, counted from the newest; usually that.
    back: usize,
    /// How much its generation rises; usually 1.
    rise: u64,
    contents: Vec<usize>,
}

const DAY: i64 = 24 * 60 * 60;

fn time() -> impl Strategy<Value = i64> {
    (0..8i64).prop_map(|day| day * DAY)
}

fn next() -> impl Strategy<Value = Next> {
    let back = prop_oneof![9 => Just(0), 1 => 1..3usize];
    let rise = prop_oneof![9 => Just(1), 1 => 0..3u64];
    (0..3usize, back, rise, several(0..4usize, 0..3)).prop_map(|(node, back, rise, contents)| Next {
        node,
        back,
        rise,
        contents,
    })
}

fn call() -> impl Strategy<Value = Call> {
    let contents = prop_oneof![4 => Just(vec![0, 1, 2, 3]), 1 => several(0..4usize, 0..4)];
    let publish = (several(next(), 0..4), contents, proptest::option::of(0..3u8), several(time(), 0..3));
    let report = (0..3usize, time(), proptest::option::of(0..4u8));
    let errand = (0..3u64, time(), proptest::option::of(0..3u32));
    let days = prop_oneof![0..8u32, Just(u32::MAX)];
    prop_oneof![
        6 => publish.prop_map(|(plans, contents, deployed, events)| Call::Publish { plans, contents, deployed, events }),
        4 => several(report, 0..4).prop_map(Call::Record),
        1 => several(time(), 0..3).prop_map(Call::Append),
        1 => (0..8u64, 0..4u32).prop_map(|(after, limit)| Call::Events { after, limit }),
        2 => several(errand, 0..4).prop_map(Call::Outbox),
        1 => (0..4u8, proptest::option::of(0..3usize)).prop_map(|(secret, node)| Call::AddToken { secret, node }),
        1 => proptest::option::of(0..3usize).prop_map(Call::Revoke),
        2 => (0..4u32, 0..6u64, days, time())
            .prop_map(|(plans_per_node, events, days, now)| Call::Prune { plans_per_node, events, days, now }),
        1 => Just(Call::Reopen),
    ]
}

/// The plans that were published, by node and oldest first: parents of later ones.
type Chains = BTreeMap<NodeName, Vec<Arc<NodePlan>>>;

fn identity(name: Option<usize>) -> Identity {
    name.map_or(Identity::Operator, |name| Identity::Node(node(NODES[name])))
}

fn make(next: &Next, chains: &mut Chains) -> Arc<NodePlan> {
    let name = NODES[next.node];
    let contents: Vec<&str> = next.contents.iter().map(|&content| CONTENTS[content]).collect();
    let before = chains.entry(node(name)).or_default();
    let parent = before.len().checked_sub(1 + next.back).map(|index| before[index].clone());
    let made = match (parent, next.rise) {
        (None, _) => first_plan(name, &contents),
        (Some(parent), 1) => next_plan(&parent, &contents),
        (Some(parent), rise) => plan(name, parent.generation.0 + rise, Some(parent.digest), &contents),
    };
    before.push(made.clone());
    made
}

fn make_publication(call: &Call, chains: &mut Chains) -> Option<Publication> {
    let Call::Publish { plans, contents, deployed, events } = call else { return None };
    let plans: Vec<Arc<NodePlan>> = plans.iter().map(|next| make(next, chains)).collect();
    let contents: Vec<&str> = contents.iter().map(|&content| CONTENTS[content]).collect();
    Some(Publication {
        deployed: deployed.map(|digit| digit.to_string().repeat(40).parse().unwrap()),
        events: events.iter().map(|&seconds| event(seconds, "published")).collect(),
        ..publication(&plans.iter().collect::<Vec<_>>(), &contents)
    })
}

fn make_report(&(name, seconds, words): &(usize, i64, Option<u8>)) -> StatusReport {
    match words {
        Some(words) => report(NODES[name], seconds, &words.to_string()),
        None => heartbeat(NODES[name], seconds),
    }
}

fn make_change(&(number, seconds, attempts): &(u64, i64, Option<u32>)) -> (Arc<str>, Change) {
    let (task, asked_at) = (Task::Review(number), at(seconds));
    let put = |attempts| Change::Put(Errand { attempts, ..Errand::new(task.clone(), asked_at) });
    (task.key(), attempts.map_or(Change::Done(asked_at), put))
}

/// What the store answers, in a form that can be compared.
async fn carry_out(store: &dyn Store, call: &Call, publication: Option<Publication>) -> String {
    match call {
        Call::Publish { .. } => format!("{:?}", store.publish(publication.unwrap()).await),
        Call::Record(reports) => {
            format!("{:?}", store.record_statuses(reports.iter().map(make_report).collect()).await)
        }
        Call::Append(events) => {
            format!(
                "{:?}",
                store.append_events(events.iter().map(|&at| event(at, "appended")).collect()).await
            )
        }
        Call::Events { after, limit } => format!("{:?}", store.events(*after, *limit).await),
        Call::Outbox(changes) => {
            format!("{:?}", store.change_outbox(changes.iter().map(make_change).collect()).await)
        }
        Call::AddToken { secret, node } => {
            let digest = Digest::of([*secret]);
            format!(
                "{:?}",
                store.add_token(StoredToken { digest, identity: identity(*node), created_at: at(0) }).await
            )
        }
        Call::Revoke(node) => format!("{:?}", store.revoke_tokens(&identity(*node)).await),
        &Call::Prune { plans_per_node, events, days, now } => {
            format!(
                "{:?}",
                store
                    .prune(Retention { plans_per_node, events, log_lines_per_node: events, days }, at(now))
                    .await
            )
        }
        Call::Reopen => String::new(),
    }
}

/// All that a store holds.
async fn everything(store: &dyn Store, chains: &Chains) -> String {
    let mut text = format!("{:?}\n", store.load().await.unwrap());
    text += &format!("{:?}\n", store.events(0, u32::MAX).await.unwrap());
    text += &format!("{:?}\n", store.tokens().await.unwrap());
    for plan in chains.values().flatten() {
        text += &format!("{:?}\n", store.plan(&plan.node, Some(plan.digest)).await.unwrap());
    }
    for content in CONTENTS {
        text += &format!("{:?}\n", store.blob(Digest::of(content)).await.unwrap());
    }
    text
}

async fn check(calls: Vec<Call>) {
    let folder = Folder::new();
    let memory = MemoryStore::default();
    let mut disk = folder.open().await;
    let mut chains = Chains::new();
    for call in calls {
        if matches!(call, Call::Reopen) {
            disk.close().await;
            disk = folder.open().await;
        }
        let before = chains.clone();
        let publication = make_publication(&call, &mut chains);
        let expected = carry_out(&memory, &call, publication.clone()).await;
        assert_eq!(carry_out(&disk, &call, publication).await, expected, "{call:?}");
        if matches!(call, Call::Publish { .. }) && !expected.starts_with("Ok(Done") {
            chains = before;
        }
    }
    assert_eq!(everything(&disk, &chains).await, everything(&memory, &chains).await);
    disk.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_alike_and_end_alike(calls in several(call(), 0..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(calls));
    }
}
