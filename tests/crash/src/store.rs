//! The store: everything that is ever written to it, one act after the other, each acknowledged before the next begins.
//!
//! What a store must hold after so many acts is told by the one in memory, which never was on a disk.

mod acts;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops::store::Store;
use gitops::store::memory::MemoryStore;
use gitops::store::sqlite::{self, SqliteStore};
use gitops_core::log::LogQuery;
use gitops_core::name::{Digest, ServiceName};
use gitops_core::release::{ReleaseQuery, StepQuery};

pub(crate) use self::acts::plans;
use self::acts::{ACTS, Act, ROUNDS, act_on};
use crate::facts::name;
use crate::work::{Acks, Doubt, Loss, Problem, Work, block_on, copy, new_folder, told};

/// The acts are tried in parts, each on the database that the parts before it left: whoever dies late in a long story costs
/// more than one who dies early.
const PARTS: [(&str, Range<usize>); 4] = [
    ("store-new", 0..5),
    ("store-decides", 5..10),
    ("store-releases", 10..16),
    ("store-prunes", 16..ACTS.len()),
];

/// All that a store tells, as text that can be compared.
pub(crate) async fn everything(store: &dyn Store) -> Result<String, Problem> {
    let services: BTreeSet<ServiceName> = BTreeSet::from([name("web")]);
    let mut text = format!("{:#?}\n", store.load().await.map_err(told)?);
    let mut add = |what: &str, answer: Result<String, Problem>| {
        text.push_str(&format!("{what}: {}\n", answer?));
        Ok::<_, Problem>(())
    };
    add("events", shown(store.events(0, 1_000).await))?;
    add("holds", shown(store.holds(1_000).await))?;
    let query = LogQuery { service: name("web"), node: None, after: 0, limit: 1_000 };
    add("logs", shown(store.logs(&query).await))?;
    add("releases", shown(store.releases(&ReleaseQuery { before: None, service: None, limit: 100 }).await))?;
    let query = StepQuery { services, node: None, limit: 100 };
    add("steps", shown(store.steps(&query).await))?;
    add("plans", shown(store.plan_records(None).await))?;
    add("tokens", shown(store.tokens().await))?;
    add("preview", shown(store.preview(Digest::of("preview")).await))?;
    add("brought", shown(store.brought(2).await))?;
    for (number, round) in (1..).zip(&*ROUNDS) {
        add("diff", shown(store.release_diff(number).await))?;
        let digest =
            round.plans.iter().filter_map(|plan| plan.steps.first()?.as_ensure()?.files.values().next());
        let digest = digest.map(|file| file.digest).next().expect("the plans name content");
        add(
            "content",
            shown(store.blob(digest).await.map(|blob| blob.map(|blob| *blob == *round.content.as_bytes()))),
        )?;
        for plan in &round.plans {
            let kept = store.plan(&plan.node, Some(plan.digest)).await;
            add("plan", shown(kept.map(|kept| kept.as_ref() == Some(plan))))?;
        }
    }
    Ok(text)
}

fn shown<T: std::fmt::Debug, E: std::error::Error>(answer: Result<T, E>) -> Result<String, Problem> {
    answer.map(|answer| format!("{answer:#?}")).map_err(told)
}

/// The index of the log is made anew by whoever opens the database.
pub(crate) fn is_no_index(path: &Path) -> bool {
    !path.to_string_lossy().ends_with("-shm")
}

pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("gitops.db")
}

async fn open(folder: &Path) -> Result<SqliteStore, Problem> {
    sqlite::open(&database(folder)).await.map_err(told)
}

/// The acts of `part`, of which `acks` hears, on an open store.
async fn carry_on(
    mut store: SqliteStore,
    folder: &Path,
    part: Range<usize>,
    acks: Option<&Acks>,
) -> Result<SqliteStore, Problem> {
    for (number, act) in ACTS.into_iter().enumerate().take(part.end).skip(part.start) {
        act_on(act, &store).await?;
        if let Act::Restart = act {
            store.close().await;
            store = open(folder).await?;
        }
        acks.iter().for_each(|acks| acks.acknowledge(number));
    }
    Ok(store)
}

/// The work, in the process that may be killed.
pub(crate) fn carry_out(part: &str, folder: &Path, outside: &Path) -> Result<(), Problem> {
    let part = PARTS.into_iter().find(|(name, _)| *name == part).map(|(_, acts)| acts);
    let acts = part.ok_or("there is no such part")?;
    block_on(async {
        let store = carry_on(open(folder).await?, folder, acts, Some(&Acks::at(outside))).await?;
        store.close().await;
        Ok(())
    })
}

/// What the file itself says about its state.
pub(crate) async fn check_integrity(path: &Path) -> Result<(), Problem> {
    use sqlx::{ConnectOptions as _, Connection as _};
    let mut connection =
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.map_err(told)?;
    let found: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.map_err(told)?;
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    if found == "ok" && broken.is_empty() { Ok(()) } else { Err(format!("the database is damaged: {found}")) }
}

/// A part of the life of a daemon's store.
pub(crate) struct Daemon {
    name: &'static str,
    acts: Range<usize>,
    /// What the parts before it left.
    before: tempfile::TempDir,
    /// What a store tells after so many acts.
    after: Arc<[String]>,
}

impl Daemon {
    /// All parts.
    pub(crate) fn parts() -> Result<Vec<Self>, Problem> {
        block_on(async {
            let after = Self::after().await?;
            let mut parts = Vec::new();
            for (name, acts) in PARTS {
                let before = new_folder().map_err(told)?;
                if acts.start > 0 {
                    carry_on(open(before.path()).await?, before.path(), 0..acts.start, None)
                        .await?
                        .close()
                        .await;
                }
                parts.push(Self { name, acts, before, after: after.clone() });
            }
            Ok(parts)
        })
    }

    async fn after() -> Result<Arc<[String]>, Problem> {
        let store = MemoryStore::default();
        let mut after = vec![everything(&store).await?];
        for act in ACTS {
            act_on(act, &store).await?;
            after.push(everything(&store).await?);
        }
        Ok(after.into())
    }

    /// How many acts a store knows that tells this, of those that it can know after so many acknowledgements.
    fn acts_known(&self, found: &str, acknowledged: usize, loss: Loss) -> Result<usize, Problem> {
        let taken_back = |act: &&Act| loss == Loss::Power && act.doubt() == Doubt::PowerTakesItBack;
        let soft = ACTS[self.acts.start..acknowledged].iter().rev().take_while(taken_back).count();
        let most = self.acts.end.min(acknowledged + 1);
        let known = (acknowledged - soft..=most).find(|known| self.after[*known] == found);
        let is_half = ACTS.get(acknowledged).is_some_and(|act| act.doubt() == Doubt::HalfDone);
        known.or(is_half.then_some(acknowledged)).ok_or_else(|| {
            let (wanted, found) = first_difference(&self.after[acknowledged], found);
            format!("after {acknowledged} acts it should hold\n    {wanted}\n  and holds\n    {found}")
        })
    }

    async fn check(&self, folder: &Path, acknowledged: usize, loss: Loss) -> Result<(), Problem> {
        let store = open(folder).await?;
        let known = self.acts_known(&everything(&store).await?, acknowledged, loss)?;
        let store = carry_on(store, folder, known..self.acts.end, None).await?;
        let found = everything(&store).await?;
        store.close().await;
        let wanted = &self.after[self.acts.end];
        match found == *wanted {
            true => check_integrity(&database(folder)).await,
            false => Err(format!("it does not end as it should: {:?}", first_difference(wanted, &found))),
        }
    }
}

/// The first lines that differ.
pub(crate) fn first_difference<'t>(wanted: &'t str, found: &'t str) -> (&'t str, &'t str) {
    let mut pairs = wanted.lines().zip(found.lines());
    pairs.find(|(wanted, found)| wanted != found).unwrap_or(("more, or less", "as much as both have"))
}

impl Work for Daemon {
    fn name(&self) -> &'static str {
        self.name
    }

    fn prepare(&self, folder: &Path) -> Result<(), Problem> {
        copy(self.before.path(), folder).map_err(told)
    }

    fn must_last(&self, path: &Path) -> bool {
        is_no_index(path)
    }

    fn recover(&self, folder: &Path, outside: &Path, loss: Loss) -> Result<(), Problem> {
        block_on(self.check(folder, self.acts.start + Acks::at(outside).count(), loss))
    }
}
