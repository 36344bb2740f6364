//! A database that an older version left, and the first start of this one on it.

use std::path::Path;

use gitops::store::Store as _;
use gitops::store::sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::facts::{at, event};
use crate::store::{check_integrity, database, everything, first_difference, is_no_index, plans};
use crate::work::{Acks, Loss, Problem, Work, block_on, copy, new_folder, told};

/// What the older version had seen. They never change: see `src/store/sqlite/open.rs`.
const OLD: [&str; 3] = [
    include_str!("../../../src/store/migrations/0001_first.sql"),
    include_str!("../../../src/store/migrations/0002_logs.sql"),
    include_str!("../../../src/store/migrations/0003_previews.sql"),
];

/// The version of a schema, and how many things there are in it.
type Schema = (i64, i64);

async fn connect(path: &Path) -> Result<SqliteConnection, Problem> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.journal_mode(SqliteJournalMode::Wal).connect().await.map_err(told)
}

/// Makes the old database, with plans, content, events and tokens in it.
async fn make_old(path: &Path) -> Result<(), Problem> {
    let mut connection = connect(path).await?;
    for migration in OLD {
        sqlx::raw_sql(migration).execute(&mut connection).await.map_err(told)?;
    }
    sqlx::raw_sql("PRAGMA user_version = 3").execute(&mut connection).await.map_err(told)?;
    for plan in plans(1) {
        let insert =
            "INSERT INTO plans (node, generation, digest, published_at, document) VALUES (?1, 1, ?2, ?3, ?4)";
        let query = sqlx::query(insert).bind(plan.node.as_str()).bind(plan.digest.to_string());
        let document = serde_json::to_string(&**plan).map_err(told)?;
        query.bind(at(1).as_second()).bind(document).execute(&mut connection).await.map_err(told)?;
    }
    for number in 0..50 {
        let document = serde_json::to_string(&event(number, "published")).map_err(told)?;
        let query =
            sqlx::query("INSERT INTO events (at, document) VALUES (?1, ?2)").bind(number).bind(document);
        query.execute(&mut connection).await.map_err(told)?;
    }
    sqlx::raw_sql("INSERT INTO tokens (digest, created_at) SELECT digest, 5 FROM plans LIMIT 1")
        .execute(&mut connection)
        .await
        .map_err(told)?;
    connection.close().await.map_err(told)
}

async fn schema(path: &Path) -> Result<Schema, Problem> {
    let mut connection = connect(path).await?;
    let query = "SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version";
    let schema = sqlx::query_as(query).fetch_one(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    Ok(schema)
}

/// The work, in the process that may be killed.
pub(crate) fn carry_out(folder: &Path, outside: &Path) -> Result<(), Problem> {
    let acks = Acks::at(outside);
    block_on(async {
        let store = sqlite::open(&database(folder)).await.map_err(told)?;
        acks.acknowledge(0);
        store.append_events(vec![event(99, "started")]).await.map_err(told)?;
        acks.acknowledge(1);
        store.close().await;
        Ok(())
    })
}

/// The first start of this version.
pub(crate) struct Migration {
    old: tempfile::TempDir,
    schemas: [Schema; 2],
    /// What the store tells once it is open, and once an event was added.
    after: [String; 2],
}

impl Migration {
    pub(crate) fn new() -> Result<Self, Problem> {
        let (old, new) = (new_folder().map_err(told)?, new_folder().map_err(told)?);
        block_on(async {
            make_old(&database(old.path())).await?;
            copy(old.path(), new.path()).map_err(told)?;
            let store = sqlite::open(&database(new.path())).await.map_err(told)?;
            let open = everything(&store).await?;
            store.append_events(vec![event(99, "started")]).await.map_err(told)?;
            let added = everything(&store).await?;
            store.close().await;
            let schemas = [schema(&database(old.path())).await?, schema(&database(new.path())).await?];
            Ok(Self { old, schemas, after: [open, added] })
        })
    }

    async fn check(&self, folder: &Path, acknowledged: usize) -> Result<(), Problem> {
        let [old, new] = &self.schemas;
        let found = schema(&database(folder)).await?;
        if found != *new && (found != *old || acknowledged > 0) {
            return Err(format!("the schema is {found:?}, and should be {old:?} or {new:?}"));
        }
        let store = sqlite::open(&database(folder)).await.map_err(told)?;
        let text = everything(&store).await?;
        let [open, added] = &self.after;
        if !(text == *open && acknowledged < 2 || text == *added && acknowledged > 0) {
            return Err(format!("the store differs: {:?}", first_difference(open, &text)));
        }
        if text == *open {
            store.append_events(vec![event(99, "started")]).await.map_err(told)?;
        }
        let ends_well = everything(&store).await? == *added;
        store.close().await;
        if ends_well {
            check_integrity(&database(folder)).await
        } else {
            Err("it does not end as it should".to_owned())
        }
    }
}

impl Work for Migration {
    fn name(&self) -> &'static str {
        "migration"
    }

    fn prepare(&self, folder: &Path) -> Result<(), Problem> {
        copy(self.old.path(), folder).map_err(told)
    }

    fn must_last(&self, path: &Path) -> bool {
        is_no_index(path)
    }

    fn recover(&self, folder: &Path, outside: &Path, _: Loss) -> Result<(), Problem> {
        block_on(self.check(folder, Acks::at(outside).count()))
    }
}
