//! Whatever is done to a store, the one in memory and the one on disk answer alike and end alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, NodeName, OperatorName};
use gitops_core::plan::NodePlan;
use gitops_core::release::{ReleaseQuery, StepEffect, StepQuery};
use proptest::collection::vec as several;
use proptest::prelude::*;

use super::super::super::fixture::{
    at, event, first_plan, heartbeat, next_plan, node, opened, plan, publication, reaching, report, revision,
    step_change,
};
use super::super::super::memory::MemoryStore;
use super::super::super::outbox::{Change, Errand, Task};
use super::super::super::{Identity, Publication, Retention, StatusReport, Store, StoredToken};
use super::Folder;

const NODES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
const CONTENTS: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["web", "api", "db"];

/// One call. Numbers choose among the constants above.
#[derive(Clone, Debug)]
enum Call {
    Publish {
        plans: Vec<Next>,
        contents: Vec<usize>,
        deployed: Option<u8>,
        release: bool,
        events: Vec<i64>,
    },
    Record(Vec<Said>),
    Finish(u8, i64),
    Releases {
        before: Option<u64>,
        limit: u32,
        service: usize,
    },
    Steps {
        service: usize,
        node: Option<usize>,
        limit: u32,
    },
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
        releases: u32,
        events: u64,
        days: u32,
        now: i64,
    },
    /// Close the store on disk and open it again.
    Reopen,
}

/// A report to be.
#[derive(Clone, Debug)]
struct Said {
    node: usize,
    seconds: i64,
    /// None for a heartbeat.
    words: Option<u8>,
    /// What it reaches: which of the node's plans so far, counted from the newest, and whether all of it.
    reached: Option<(usize, bool)>,
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
    /// What its step does; none where that stays as it was.
    effect: Option<StepEffect>,
}

const DAY: i64 = 24 * 60 * 60;

fn time() -> impl Strategy<Value = i64> {
    (0..8i64).prop_map(|day| day * DAY)
}

fn next() -> impl Strategy<Value = Next> {
    let back = prop_oneof![9 => Just(0), 1 => 1..3usize];
    let rise = prop_oneof![9 => Just(1), 1 => 0..3u64];
    let effects = prop_oneof![Just(StepEffect::Create), Just(StepEffect::Recreate), Just(StepEffect::Remove)];
    let next = (0..3usize, back, rise, several(0..4usize, 0..3), proptest::option::of(effects));
    next.prop_map(|(node, back, rise, contents, effect)| Next { node, back, rise, contents, effect })
}

fn call() -> impl Strategy<Value = Call> {
    let contents = prop_oneof![4 => Just(vec![0, 1, 2, 3]), 1 => several(0..4usize, 0..4)];
    let deployed = proptest::option::of(0..3u8);
    let publish = (several(next(), 0..4), contents, deployed, any::<bool>(), several(time(), 0..3));
    let reached = proptest::option::of((0..3usize, any::<bool>()));
    let report = (0..3usize, time(), proptest::option::of(0..4u8), reached);
    let report = report.prop_map(|(node, seconds, words, reached)| Said { node, seconds, words, reached });
    let errand = (0..3u64, time(), proptest::option::of(0..3u32));
    let days = prop_oneof![0..8u32, Just(u32::MAX)];
    prop_oneof![
        6 => publish.prop_map(|(plans, contents, deployed, release, events)| Call::Publish {
            plans, contents, deployed, release, events
        }),
        4 => several(report, 0..4).prop_map(Call::Record),
        2 => (0..3u8, time()).prop_map(|(digit, at)| Call::Finish(digit, at)),
        1 => (proptest::option::of(0..5u64), 0..4u32, 0..4usize)
            .prop_map(|(before, limit, service)| Call::Releases { before, limit, service }),
        1 => (0..2usize, proptest::option::of(0..3usize), 0..3u32)
            .prop_map(|(service, node, limit)| Call::Steps { service, node, limit }),
        1 => several(time(), 0..3).prop_map(Call::Append),
        1 => (0..8u64, 0..4u32).prop_map(|(after, limit)| Call::Events { after, limit }),
        2 => several(errand, 0..4).prop_map(Call::Outbox),
        1 => (0..4u8, proptest::option::of(0..3usize)).prop_map(|(secret, node)| Call::AddToken { secret, node }),
        1 => proptest::option::of(0..3usize).prop_map(Call::Revoke),
        2 => (0..4u32, 0..4u32, 0..6u64, days, time()).prop_map(|(plans_per_node, releases, events, days, now)| {
            Call::Prune { plans_per_node, releases, events, days, now }
        }),
        1 => Just(Call::Reopen),
    ]
}

/// The plans that were published, by node and oldest first: parents of later ones.
type Chains = BTreeMap<NodeName, Vec<Arc<NodePlan>>>;

fn identity(name: Option<usize>) -> Identity {
    name.map_or(Identity::Operator(OperatorName::first()), |name| Identity::Node(node(NODES[name])))
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
    let Call::Publish { plans, contents, deployed, release, events } = call else { return None };
    let effects: Vec<Option<StepEffect>> = plans.iter().map(|next| next.effect).collect();
    let plans: Vec<Arc<NodePlan>> = plans.iter().map(|next| make(next, chains)).collect();
    let steps = plans.iter().zip(effects).filter_map(|(plan, effect)| Some(step_change(plan, effect?)));
    let opened = |digit: u8| opened(digit, i64::from(digit) * DAY, &[SERVICES[usize::from(digit) % 3]]);
    let contents: Vec<&str> = contents.iter().map(|&content| CONTENTS[content]).collect();
    Some(Publication {
        deployed: deployed.map(revision),
        release: deployed.filter(|_| *release).map(opened),
        steps: steps.collect(),
        events: events.iter().map(|&seconds| event(seconds, "published")).collect(),
        ..publication(&plans.iter().collect::<Vec<_>>(), &contents)
    })
}

fn make_report(said: &Said, chains: &Chains) -> StatusReport {
    let Said { node: name, seconds, words, reached } = *said;
    let report = match words {
        Some(words) => report(NODES[name], seconds, &words.to_string()),
        None => heartbeat(NODES[name], seconds),
    };
    let plans = chains.get(&node(NODES[name])).map_or(&[][..], Vec::as_slice);
    match reached.and_then(|(back, acked)| Some((plans.iter().rev().nth(back)?, acked))) {
        Some((plan, acked)) => reaching(report, plan, acked),
        None => report,
    }
}

fn make_change(&(number, seconds, attempts): &(u64, i64, Option<u32>)) -> (Arc<str>, Change) {
    let (task, asked_at) = (Task::Review(number), at(seconds));
    let put = |attempts| Change::Put(Errand { attempts, ..Errand::new(task.clone(), asked_at) });
    (task.key(), attempts.map_or(Change::Done(asked_at), put))
}

/// What the store answers, in a form that can be compared.
async fn carry_out(
    store: &dyn Store,
    call: &Call,
    publication: Option<Publication>,
    chains: &Chains,
) -> String {
    match call {
        Call::Publish { .. } => format!("{:?}", store.publish(publication.unwrap()).await),
        Call::Record(reports) => {
            let reports = reports.iter().map(|said| make_report(said, chains)).collect();
            format!("{:?}", store.record_statuses(reports).await)
        }
        Call::Finish(digit, seconds) => {
            format!("{:?}", store.finish_release(&revision(*digit), at(*seconds)).await)
        }
        Call::Releases { before, limit, service } => {
            // One of them never changes: then all are asked for.
            let service = SERVICES.get(*service).map(|name| name.parse().unwrap());
            let query = ReleaseQuery { before: *before, service, limit: *limit };
            format!("{:?}", store.releases(&query).await)
        }
        Call::Steps { service, node: name, limit } => {
            let services = SERVICES[..=*service].iter().map(|name| name.parse().unwrap()).collect();
            let query = StepQuery { services, node: name.map(|name| node(NODES[name])), limit: *limit };
            format!("{:?}", store.steps(&query).await)
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
            let (identity, roles) = (identity(*node), Default::default());
            let token = StoredToken { digest, identity, roles, created_at: at(0) };
            format!("{:?}", store.add_token(token).await)
        }
        Call::Revoke(node) => format!("{:?}", store.revoke_tokens(&identity(*node)).await),
        &Call::Prune { plans_per_node, releases, events, days, now } => {
            let keep = Retention { plans_per_node, releases, events, log_lines_per_node: events, days };
            format!("{:?}", store.prune(keep, at(now)).await)
        }
        Call::Reopen => String::new(),
    }
}

/// All that a store holds.
async fn everything(store: &dyn Store, chains: &Chains) -> String {
    let mut text = format!("{:?}\n", store.load().await.unwrap());
    text += &format!("{:?}\n", store.events(0, u32::MAX).await.unwrap());
    text += &format!("{:?}\n", store.tokens().await.unwrap());
    let releases =
        store.releases(&ReleaseQuery { limit: u32::MAX, ..ReleaseQuery::default() }).await.unwrap();
    for release in &releases {
        text += &format!("{release:?} {:?}\n", store.release_diff(release.number).await.unwrap());
        text += &format!("{:?}\n", store.plan_records(Some(release.number)).await.unwrap());
    }
    for name in SERVICES {
        let service = Some(name.parse().unwrap());
        let query = ReleaseQuery { service, limit: u32::MAX, ..ReleaseQuery::default() };
        text += &format!("{name} {:?}\n", store.releases(&query).await.unwrap().len());
    }
    let services = SERVICES.iter().map(|name| name.parse().unwrap()).collect();
    let steps = StepQuery { services, node: None, limit: u32::MAX };
    text +=
        &format!("{:?}\n{:?}\n", store.plan_records(None).await.unwrap(), store.steps(&steps).await.unwrap());
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
        let expected = carry_out(&memory, &call, publication.clone(), &before).await;
        assert_eq!(carry_out(&disk, &call, publication, &before).await, expected, "{call:?}");
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
