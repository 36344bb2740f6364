//! `kill -9` at random moments: whatever was acknowledged is there afterwards, and what was not is there whole or not
//! at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gitops_core::name::Digest;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use super::super::super::fixture::{
    at, event, first_plan, heartbeat, next_plan, node, publication, publish, report,
};
use super::super::super::{Publication, Store};
use super::super::open;

const ROUNDS: u64 = 20;
const NODES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];

/// Names the database to the child: this test run again as another process.
const DATABASE: &str = "GITOPS_TEST_CRASH_DATABASE";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the child must be a process of its own, and is told so in its environment"
)]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(path) = std::env::var_os(DATABASE) {
        return block_on(publish_for_ever(&PathBuf::from(path)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gitops.db");
    let mut random = Random(0x5eed);
    let mut survived = 0;
    for _ in 0..ROUNDS {
        let test = "store::sqlite::tests::crash::what_was_acknowledged_survives_kill_9";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(DATABASE, &path);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let acknowledged = kill_at_random(child, &mut random);
        assert!(acknowledged > survived, "each round gets somewhere");
        survived = block_on(check(&path, survived, acknowledged));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A plan for each node in one publication, a status, a heartbeat, and the number of the generation on stdout when all
/// are acknowledged; over and over.
async fn publish_for_ever(path: &Path) {
    let store = open(path).await.unwrap();
    let mut plans = store.load().await.unwrap().plans;
    for generation in plans.values().next().map_or(1, |plan| plan.generation.0 + 1).. {
        let (own, words) = (content(generation), generation.to_string());
        let next = NODES.map(|name| match plans.get(name) {
            Some(parent) => next_plan(parent, &[&own]),
            None => first_plan(name, &[&own]),
        });
        let events = vec![event(0, &words)];
        publish(&store, Publication { events, ..publication(&next.each_ref(), &[&own]) }).await;
        store.record_statuses(vec![report(NODES[0], generation as i64, &words)]).await.unwrap();
        store.record_statuses(vec![heartbeat(NODES[0], generation as i64 + 1)]).await.unwrap();
        plans = next.into_iter().map(|plan| (plan.node.clone(), plan)).collect();
        // Not `println!`, which the test runner may hold back.
        writeln!(std::io::stdout(), "acknowledged {generation}").unwrap();
    }
}

/// Enough that a commit is many pages.
fn content(generation: u64) -> String {
    format!("{generation} ").repeat(8_000)
}

/// The last generation that the child acknowledged. It is killed some microseconds after a random acknowledgement.
fn kill_at_random(mut child: Child, random: &mut Random) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = |line: String| line.strip_prefix("acknowledged ")?.parse().ok();
    let mut last = None;
    for _ in 0..=random.below(8) {
        last = lines.by_ref().find_map(acknowledged);
    }
    std::thread::sleep(Duration::from_micros(random.below(3000)));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(acknowledged).last().or(last).expect("the child acknowledged something before it died")
}

/// Everything up to `acknowledged` is there, and at most one more. Looks at what came after `survived`.
async fn check(path: &Path, survived: u64, acknowledged: u64) -> u64 {
    let store = open(path).await.unwrap();
    let snapshot = store.load().await.unwrap();
    let newest = snapshot.plans[NODES[0]].generation.0;
    assert!((acknowledged..=acknowledged + 1).contains(&newest), "{newest} after {acknowledged}");
    assert_eq!(snapshot.last_event, newest);
    let reported = &snapshot.reported.nodes[NODES[0]];
    let words: u64 = reported.status.host.problem.as_deref().unwrap().parse().unwrap();
    assert!((acknowledged..=newest).contains(&words));
    assert!(reported.heard_at >= at(acknowledged as i64 + 1), "a heartbeat survives, too");

    for name in NODES {
        let mut plan = snapshot.plans[name].clone();
        assert_eq!(plan.generation.0, newest, "a publication is whole");
        while plan.generation.0 > survived.max(1) {
            let parent = store.plan(&node(name), plan.parent).await.unwrap().expect("the chain is whole");
            assert_eq!(
                (parent.generation.0 + 1, parent.content_digest()),
                (plan.generation.0, parent.digest)
            );
            plan = parent;
        }
    }
    for generation in survived + 1..=newest {
        let content = content(generation);
        let stored = store.blob(Digest::of(&content)).await.unwrap().expect("a plan has its content");
        assert!(*stored == *content.as_bytes());
    }
    let events = store.events(survived, u32::MAX).await.unwrap();
    assert!(events.iter().map(|event| event.id).eq(survived + 1..=newest), "events have no gaps");
    store.close().await;
    check_integrity(path).await;
    newest
}

async fn check_integrity(path: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let found: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(found, "ok");
    let violations = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(violations.is_empty());
}

/// Marsaglia's xorshift: the same moments in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
