//! What is true of the file: how it is opened, shared, damaged and closed. What every store must do is in
//! `store::conformance`.

mod crash;

mod property;

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gitops_core::name::Digest;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::super::fixture::{event, first_plan, heartbeat, next_plan, node, publication, publish, report};
use super::super::{Identity, Publication, Published, Retention, Store, StoreError, StoredToken};
use super::{SqliteStore, open, open::open_with};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("gitops.db")
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.database())
    }

    async fn open(&self) -> SqliteStore {
        open(&self.database()).await.unwrap()
    }

    /// A connection that knows nothing of the store.
    async fn raw(&self) -> SqliteConnection {
        self.options().create_if_missing(true).connect().await.unwrap()
    }

    async fn run(&self, sql: &'static str) {
        let mut connection = self.raw().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// An error and all its causes, as a person sees them.
fn chain(error: StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn check_open(path: &Path, expected: &str) {
    let text = chain(open(path).await.map(drop).unwrap_err());
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn a_store_that_is_opened_again_holds_what_it_held() {
    let folder = Folder::new();
    let store = folder.open().await;
    let first = first_plan("edge-1", &["a"]);
    let deployed = Some("2".repeat(40).parse().unwrap());
    let events = vec![event(1, "one"), event(2, "two")];
    publish(&store, Publication { deployed, events, ..publication(&[&first], &["a"]) }).await;
    publish(&store, publication(&[&next_plan(&first, &["a"])], &[])).await;
    store.record_statuses(vec![report("edge-1", 1, "a"), heartbeat("edge-1", 2)]).await.unwrap();
    let identity = Identity::Operator("ada".parse().unwrap());
    let roles = ["dba".parse().unwrap()].into();
    let token = StoredToken { digest: Digest::of("t"), identity, roles, created_at: event(0, "").at };
    store.add_token(token.clone()).await.unwrap();
    let (snapshot, events) = (store.load().await.unwrap(), store.events(0, 9).await.unwrap());
    assert_eq!((snapshot.plans.len(), snapshot.reported.nodes.len(), events.len()), (1, 1, 2));

    // Closed properly once, and once just dropped.
    store.close().await;
    for _ in 0..2 {
        let store = folder.open().await;
        assert_eq!(store.load().await.unwrap(), snapshot);
        assert_eq!(store.events(0, 9).await.unwrap(), events);
        assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append_events(vec![event(0, "e")]).await.unwrap();
    store.load().await.unwrap();
    let files: Vec<_> = folder.0.path().read_dir().unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 3, "the database, its log and its index: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn closing_folds_the_log_into_the_file_and_later_calls_fail() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append_events(vec![event(0, "e")]).await.unwrap();
    store.load().await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(folder.0.path().read_dir().unwrap().count(), 1, "only the database is left");
    let text = chain(store.append_events(vec![event(0, "e")]).await.unwrap_err());
    assert!(text.contains("the database is closed"), "{text}");
    assert!(store.load().await.is_err());
}

#[tokio::test]
async fn writes_that_were_asked_for_before_closing_are_done() {
    let folder = Folder::new();
    let store = Arc::new(folder.open().await);
    let asked: Vec<_> = (0..50).map(|n| store.append_events(vec![event(n, "e")])).collect();
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(asked), store.close());
    let acknowledged = outcomes.into_iter().filter(Result::is_ok).count();
    let store = folder.open().await;
    assert_eq!(store.events(0, 99).await.unwrap().len(), acknowledged);
    assert_eq!(acknowledged, 50);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_whole_store_behind() {
    let folder = Folder::new();
    let store = Arc::new(folder.open().await);
    for round in 0..20 {
        let name = format!("edge-{round}");
        let plan = first_plan(&name, &[&name]);
        let publication = publication(&[&plan], &[&name]);
        let caller = tokio::spawn({
            let store = store.clone();
            async move { store.publish(publication).await }
        });
        tokio::task::yield_now().await;
        caller.abort();
        caller.await.ok();
        // The queue is in order: when this is answered, the publication is written or was never asked for.
        store.append_events(vec![event(0, "after")]).await.unwrap();
        let stored = store.plan(&plan.node, None).await.unwrap();
        assert_eq!(store.blob(Digest::of(&name)).await.unwrap().is_some(), stored.is_some());
        assert!(stored.is_none_or(|stored| stored == plan));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_over_one_file_cannot_both_succeed_one_plan() {
    let folder = Folder::new();
    let daemons = [folder.open().await, folder.open().await];
    let mut parent = first_plan("edge-1", &[]);
    publish(&daemons[0], publication(&[&parent], &[])).await;
    for round in 0..20 {
        let plans = ["a", "b"].map(|daemon| next_plan(&parent, &[&format!("{round}{daemon}")]));
        let [a, b] = ["a", "b"].map(|daemon| format!("{round}{daemon}"));
        let outcomes = tokio::join!(
            daemons[0].publish(publication(&[&plans[0]], &[&a])),
            daemons[1].publish(publication(&[&plans[1]], &[&b])),
        );
        let won =
            [outcomes.0.unwrap(), outcomes.1.unwrap()].map(|outcome| matches!(outcome, Published::Done(_)));
        assert_eq!(won.iter().filter(|&&won| won).count(), 1);
        parent = plans[usize::from(won[1])].clone();
        for daemon in &daemons {
            assert_eq!(daemon.load().await.unwrap().plans[&node("edge-1")], parent);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_may_be_opened_by_many_at_once() {
    for _ in 0..5 {
        let folder = Arc::new(Folder::new());
        let opened = (0..6).map(|_| {
            tokio::spawn({
                let folder = folder.clone();
                async move { open(&folder.database()).await }
            })
        });
        for store in opened.collect::<Vec<_>>() {
            let store = store.await.unwrap().unwrap_or_else(|error| panic!("{}", chain(error)));
            store.append_events(vec![event(0, "opened")]).await.unwrap();
        }
        assert_eq!(folder.open().await.load().await.unwrap().last_event, 6);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let folder = Folder::new();
    folder.open().await.close().await;
    folder.run("PRAGMA user_version = 99").await;
    let before = std::fs::read(folder.database()).unwrap();
    let error = open(&folder.database()).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, known: 8 }), "{error:?}");
    assert_eq!(std::fs::read(folder.database()).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_left_alone() {
    let folder = Folder::new();
    folder.run("CREATE TABLE theirs (x)").await;
    let before = std::fs::read(folder.database()).unwrap();
    check_open(&folder.database(), "a database of another program").await;
    assert!(std::fs::read(folder.database()).unwrap() == before);

    let text = folder.0.path().join("notes.txt");
    std::fs::write(&text, "not a database, ".repeat(100)).unwrap();
    check_open(&text, "not an SQLite database").await;
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"));
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_is_named() {
    let folder = Folder::new();
    for path in [folder.0.path().join("missing/gitops.db"), folder.0.path().to_owned(), "/dev/null/x".into()]
    {
        check_open(&path, &format!("cannot open {}: check that", path.display())).await;
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_named_and_stop_only_what_needs_them() {
    let folder = Folder::new();
    let store = folder.open().await;
    publish(&store, publication(&[&first_plan("edge-1", &[])], &[])).await;
    store.record_statuses(vec![report("edge-1", 1, "a")]).await.unwrap();
    store.append_events(vec![event(0, "e")]).await.unwrap();
    store.close().await;
    folder.run("UPDATE events SET document = '{}'").await;

    let store = folder.open().await;
    assert!(matches!(store.events(0, 9).await, Err(StoreError::Unreadable { what: "event", .. })));
    assert_eq!(store.load().await.unwrap().last_event, 1);
    for (damage, what) in [
        ("UPDATE statuses SET document = '{\"schema\":1}'", "status"),
        ("UPDATE plans SET document = '[]'", "plan"),
    ] {
        folder.run(damage).await;
        let error = store.load().await.unwrap_err();
        assert!(matches!(&error, StoreError::Unreadable { what: named, .. } if *named == what), "{error:?}");
    }
    store.record_statuses(vec![report("edge-2", 1, "a")]).await.unwrap();
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_and_then_named() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let store = open_with(folder.options().busy_timeout(Duration::from_millis(50))).await.unwrap();
    let mut other = folder.raw().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let (reports, events) = tokio::join!(
        store.record_statuses(vec![report("edge-1", 1, "a")]),
        store.append_events(vec![event(0, "e")]),
    );
    for error in [reports.unwrap_err(), events.unwrap_err()] {
        let text = chain(error);
        assert!(text.contains("another process has kept the database locked"), "{text}");
    }
    store.load().await.expect("readers do not wait for writers");

    lock.rollback().await.unwrap();
    store.record_statuses(vec![report("edge-1", 1, "a")]).await.unwrap();
    assert_eq!(store.append_events(vec![event(0, "e")]).await.unwrap()[0].id, 1);
}

#[tokio::test]
async fn a_full_disk_fails_the_write_whole_and_the_store_lives_on() {
    let folder = Folder::new();
    folder.open().await.close().await;
    // As good as a full disk: the same code, from the same place.
    let store = open_with(folder.options().pragma("max_page_count", "40")).await.unwrap();
    let big = "x".repeat(1 << 20);
    let error = store.publish(publication(&[&first_plan("edge-1", &[&big])], &[&big])).await.unwrap_err();
    let text = chain(error);
    assert!(text.contains("the disk is full"), "{text}");

    assert!(store.load().await.unwrap().plans.is_empty());
    publish(&store, publication(&[&first_plan("edge-1", &["small"])], &["small"])).await;
    assert_eq!(store.load().await.unwrap().plans.len(), 1);
}

#[tokio::test]
async fn pruning_lets_others_write_in_between() {
    let folder = Folder::new();
    let store = folder.open().await;
    let chunks = 8;
    store
        .append_events(
            (0..(chunks * super::prune::History::Events.chunk()) as i64).map(|n| event(n, "e")).collect(),
        )
        .await
        .unwrap();
    let nothing = Retention { plans_per_node: 0, releases: 0, events: 0, log_lines_per_node: 0, days: 0 };
    let prune = async {
        store.prune(nothing, event(0, "").at).await.unwrap();
        store.events(0, 1).await.unwrap().len()
    };
    // Each write is asked for when the one before is answered, so it must wait behind at most one chunk.
    let others = async {
        let mut left = Vec::new();
        for n in 0..4 {
            store.record_statuses(vec![report("edge-1", n, "a")]).await.unwrap();
            left.push(store.events(0, u32::MAX).await.unwrap().len());
        }
        left
    };
    let (after, left) = tokio::join!(prune, others);
    assert_eq!(after, 0);
    assert!(left[0] > 0, "the first report waited for the whole prune: {left:?}");
}

#[tokio::test]
async fn the_log_does_not_grow_with_what_is_written() {
    let folder = Folder::new();
    let store = folder.open().await;
    let content: Arc<[u8]> = vec![7; 4 << 20].into();
    for n in 0..10_u8 {
        let blobs = [(Digest::of([n]), content.clone())].into();
        publish(&store, Publication { blobs, ..Publication::default() }).await;
    }
    let log = std::fs::metadata(folder.0.path().join("gitops.db-wal")).unwrap().len();
    assert!(log < 20 << 20, "{log} bytes of log after 40 MiB of content");
}

#[tokio::test]
async fn every_migration_is_counted_and_the_file_is_stamped() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let mut connection = folder.raw().await;
    let query = "SELECT user_version, application_id FROM pragma_user_version, pragma_application_id";
    let stamped: (i64, i64) = sqlx::query_as(query).fetch_one(&mut connection).await.unwrap();
    assert_eq!(stamped, (8, 0x676f_7073));
}
