//! What the agent holds: the accepted plan, which instances it has put in place, and what it has begun, on disk.
//!
//! The ledger is why the agent can heal while the daemon is away and why it cannot be talked back into an older
//! plan. A plan is written here before any step of it is begun.
//!
//! **Invariant:** the generation in the ledger never falls, and one generation is one digest for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::name::{Digest, Generation, NodeName, ServiceName};
use gitops_core::plan::{Ensure, NodePlan, SCHEMA};
use gitops_core::status::{PlanId, Refusal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::disk::{self, DiskError};
use crate::drift::Pictures;
use crate::journal::Journal;

/// Why an offered plan is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was written by a newer program.
    #[error("the plan has schema {found}, this agent knows up to {SCHEMA}: upgrade the agent")]
    NewerSchema {
        /// In the plan.
        found: u32,
    },
    /// Its content is not what its digest says.
    #[error("the plan says its digest is {stated}, its content has {computed}: it was changed on the way")]
    BadDigest {
        /// In the plan.
        stated: Digest,
        /// Of its content.
        computed: Digest,
    },
    /// It is for someone else.
    #[error(
        "the plan is for node `{offered}`, this agent is `{here}`: check `node` and the token of this agent"
    )]
    WrongNode {
        /// In the plan.
        offered: NodeName,
        /// This agent's.
        here: NodeName,
    },
    /// The agent is further.
    #[error("the plan has generation {offered}, the ledger already holds {held}")]
    OlderGeneration {
        /// In the plan.
        offered: Generation,
        /// In the ledger.
        held: Generation,
    },
    /// Two plans claim one generation.
    #[error(
        "generation {generation} is {held} in the ledger and {offered} in the plan: a plan never changes"
    )]
    ChangedPlan {
        /// Of both.
        generation: Generation,
        /// In the ledger.
        held: Digest,
        /// In the plan.
        offered: Digest,
    },
    /// One service is named twice: which of the two is meant cannot be told.
    #[error("the plan has two steps for `{service}`: nothing of it is done")]
    TwoSteps {
        /// Named twice.
        service: ServiceName,
    },
    /// It is no plan, though it is called one.
    #[error("the plan cannot be read: {problem}")]
    Unreadable {
        /// Where and what.
        problem: String,
    },
    /// It, or its content, cannot be written down.
    #[error("the plan cannot be kept in the agent's state folder: {problem}; it is tried again")]
    NotStored {
        /// What the system says.
        problem: String,
    },
    /// Content that it names cannot be had.
    #[error("what the plan needs cannot be had: {problem}; it is tried again")]
    NoContent {
        /// What the daemon says, or what is wrong with what it sent.
        problem: String,
    },
}

impl Refused {
    /// The rule by name, as reports carry it.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NewerSchema { .. } => "newer-schema",
            Self::BadDigest { .. } => "bad-digest",
            Self::WrongNode { .. } => "wrong-node",
            Self::OlderGeneration { .. } => "older-generation",
            Self::ChangedPlan { .. } => "changed-plan",
            Self::TwoSteps { .. } => "two-steps",
            Self::Unreadable { .. } => "unreadable",
            Self::NotStored { .. } => "not-stored",
            Self::NoContent { .. } => "no-content",
        }
    }

    /// As the status reports it.
    pub fn report(&self, plan: PlanId) -> Refusal {
        Refusal { plan, rule: self.rule().into(), message: self.to_string() }
    }
}

/// What to do with a plan that follows the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is newer: take it.
    Accept,
    /// It is the one in the ledger.
    AlreadyHeld,
}

/// The accept rule: a greater generation is taken whatever its parent, because an agent may have missed any
/// number of plans; an equal one only with an equal digest; a smaller one never.
///
/// # Errors
///
/// The rule that the plan breaks.
pub fn judge(here: &NodeName, held: Option<PlanId>, plan: &NodePlan) -> Result<Verdict, Refused> {
    // The schema first: of a newer document the other fields may mean something else.
    if plan.schema > SCHEMA {
        return Err(Refused::NewerSchema { found: plan.schema });
    }
    let computed = plan.content_digest();
    if computed != plan.digest {
        return Err(Refused::BadDigest { stated: plan.digest, computed });
    }
    if plan.node != *here {
        return Err(Refused::WrongNode { offered: plan.node.clone(), here: here.clone() });
    }
    let mut named = BTreeSet::new();
    if let Some(step) = plan.steps.iter().find(|step| !named.insert(step.service())) {
        return Err(Refused::TwoSteps { service: step.service().clone() });
    }
    let offered = plan.generation;
    match held {
        Some(held) if offered < held.generation => {
            Err(Refused::OlderGeneration { offered, held: held.generation })
        }
        Some(held) if offered == held.generation && plan.digest != held.digest => {
            Err(Refused::ChangedPlan { generation: offered, held: held.digest, offered: plan.digest })
        }
        Some(held) if offered == held.generation => Ok(Verdict::AlreadyHeld),
        _ => Ok(Verdict::Accept),
    }
}

/// Version of the files of this module.
const VERSION: u32 = 1;

/// `ledger.json`.
#[derive(Serialize, Deserialize)]
struct LedgerFile {
    version: u32,
    plan: Arc<NodePlan>,
}

/// What an instance was last ensured as. It is written after Compose returned, so a crash in between only means
/// that Compose is asked once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The instance digest.
    pub digest: Digest,
    /// The step that asked for it, so that it can be healed while the change to another form may not begin. None as the first
    /// versions wrote it, until a plan asks for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Arc<Ensure>>,
}

/// All instances that were put in place, by service.
pub type Record = BTreeMap<ServiceName, Applied>;

/// `applied.json`.
#[derive(Serialize, Deserialize)]
struct RecordFile<R = Record> {
    version: u32,
    instances: R,
}

/// `journal.json`.
#[derive(Serialize, Deserialize)]
struct JournalFile<J = Journal> {
    version: u32,
    changes: J,
}

/// What a file of the state folder gave.
#[derive(Debug)]
pub enum Loaded<T> {
    /// Its content.
    Found(T),
    /// There is none yet.
    Missing,
    /// It cannot be understood and was moved there.
    Corrupt {
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The four files.
#[derive(Clone, Debug)]
pub struct Ledger {
    plan: PathBuf,
    record: PathBuf,
    pictures: PathBuf,
    journal: PathBuf,
}

impl Ledger {
    /// In this state folder.
    pub fn at(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self {
            plan: file("ledger.json"),
            record: file("applied.json"),
            journal: file("journal.json"),
            pictures: file("pictures.json"),
        }
    }

    /// The accepted plan. A damaged file is kept aside, and the agent goes on from what the daemon offers.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn load(&self, here: &NodeName) -> Result<Loaded<Arc<NodePlan>>, DiskError> {
        load_or_set_aside(&self.plan, |file: LedgerFile| {
            supported(file.version)?;
            judge(here, None, &file.plan).map_err(|refused| refused.to_string())?;
            Ok(file.plan)
        })
    }

    /// The accepted plan, for reading only: nothing is moved.
    ///
    /// # Errors
    ///
    /// What the system says, or what is wrong with the file.
    pub fn read(&self) -> Result<Option<Arc<NodePlan>>, DiskError> {
        match std::fs::read(&self.plan) {
            Ok(bytes) => {
                let file: LedgerFile = serde_json::from_slice(&bytes)
                    .map_err(|error| DiskError::io("understand", &self.plan)(error.into()))?;
                Ok(Some(file.plan))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io("read", &self.plan)(error)),
        }
    }

    /// Makes `plan` the accepted one, durably.
    ///
    /// # Errors
    ///
    /// What the system says; the old plan then stands.
    pub fn save(&self, plan: &Arc<NodePlan>) -> Result<(), DiskError> {
        disk::write_json(&self.plan, &LedgerFile { version: VERSION, plan: plan.clone() })
    }

    /// What was put in place. Where this is lost, every instance is ensured once more.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn load_record(&self) -> Result<Loaded<Record>, DiskError> {
        load_or_set_aside(&self.record, |file: RecordFile| {
            supported(file.version)?;
            Ok(file.instances)
        })
    }

    /// Writes what was put in place, durably.
    ///
    /// # Errors
    ///
    /// What the system says; the old record then stands.
    pub fn save_record(&self, record: &Record) -> Result<(), DiskError> {
        disk::write_json(&self.record, &RecordFile { version: VERSION, instances: record })
    }

    /// What was begun. Where this is lost, hooks before a change that was not made may run once more, and hooks after one that
    /// was made do not run.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn load_journal(&self) -> Result<Loaded<Journal>, DiskError> {
        load_or_set_aside(&self.journal, |file: JournalFile| {
            supported(file.version)?;
            Ok(file.changes)
        })
    }

    /// Writes what was begun, durably.
    ///
    /// # Errors
    ///
    /// What the system says; the old journal then stands.
    pub fn save_journal(&self, journal: &Journal) -> Result<(), DiskError> {
        disk::write_json(&self.journal, &JournalFile { version: VERSION, changes: journal })
    }
}

/// `pictures.json`. Its version is that of the rule by which pictures are taken.
#[derive(Debug, Serialize, Deserialize)]
struct PicturesFile<P> {
    version: u32,
    pictures: P,
}

/// Raised whenever an unchanged container would give another picture.
const PICTURES_VERSION: u32 = 1;

impl Ledger {
    /// How containers are meant to stay. Where this is lost, or was taken by another rule, the pictures are taken anew.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn load_pictures(&self) -> Result<Loaded<Pictures>, DiskError> {
        let loaded = load_or_set_aside(&self.pictures, |file: PicturesFile<serde_json::Value>| {
            let is_ours = file.version == PICTURES_VERSION;
            let pictures = is_ours.then(|| serde_json::from_value(file.pictures)).transpose();
            pictures.map_err(|error| error.to_string())
        })?;
        Ok(match loaded {
            Loaded::Found(Some(pictures)) => Loaded::Found(pictures),
            Loaded::Found(None) | Loaded::Missing => Loaded::Missing,
            Loaded::Corrupt { aside, problem } => Loaded::Corrupt { aside, problem },
        })
    }

    /// Writes how containers are meant to stay, durably.
    ///
    /// # Errors
    ///
    /// What the system says; what was written before then stands.
    pub fn save_pictures(&self, pictures: &Pictures) -> Result<(), DiskError> {
        disk::write_json(&self.pictures, &PicturesFile { version: PICTURES_VERSION, pictures })
    }
}

fn supported(version: u32) -> Result<(), String> {
    match version {
        VERSION => Ok(()),
        other => Err(format!("it has version {other}, this agent reads version {VERSION}")),
    }
}

fn load_or_set_aside<F: DeserializeOwned, T>(
    path: &Path,
    check: impl FnOnce(F) -> Result<T, String>,
) -> Result<Loaded<T>, DiskError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Loaded::Missing),
        Err(error) => return Err(DiskError::io("read", path)(error)),
    };
    match serde_json::from_slice(&bytes).map_err(|error| error.to_string()).and_then(check) {
        Ok(content) => Ok(Loaded::Found(content)),
        Err(problem) => Ok(Loaded::Corrupt { aside: disk::set_aside(path)?, problem }),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
