//! The seam between deciding and doing: observe the instances of a node, ensure one, remove one.
//!
//! `apply` walks a plan over this trait and nothing else, so that the walk runs in tests and in the simulator
//! without Docker. The real host is Docker Engine for reading and Docker Compose for changing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, Probe, Remove};
use gitops_core::status::{Container, HostInfo, Orphans};

use crate::attempt::Attempt;
use crate::checks::Answer;
use crate::drift::{Seen, Undo};
use crate::journal::{HookEnd, HookRun};

/// What the machine looks like now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The containers that carry this node's label, by their service label. One entry per service, sorted by
    /// Compose service and name.
    pub instances: BTreeMap<ServiceName, Vec<Container>>,
    /// Those of them whose folder is gone from the state folder of the agent. Docker shows their containers as if
    /// nothing were the matter, but what they mount from there is a folder that nobody can write to any more.
    pub lost: BTreeSet<ServiceName>,
    /// The pictures of all these containers.
    pub pictures: Seen,
}

/// Why the host did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine does not answer.
    #[error("cannot use Docker at {address}")]
    Engine {
        /// The socket.
        address: Arc<str>,
        /// What the client says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Compose ran and failed.
    #[error("docker compose {verb} failed with {status}: {output}")]
    Compose {
        /// `up`, `stop`, `down`.
        verb: &'static str,
        /// Exit code or signal, in words.
        status: String,
        /// The end of what it printed, at most ten lines in one string, the one that tells the error first.
        output: String,
    },
    /// The project belongs to someone else: another node on the same engine, or a person.
    #[error("{0}")]
    Foreign(String),
    /// A file could not be put in place.
    #[error("cannot write {path} of the instance")]
    File {
        /// Relative to the instance's folder.
        path: Arc<str>,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Content that the plan names is not in the agent's store.
    #[error("the content {0} is not here yet")]
    Content(Digest),
}

/// A hook that was written down as begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// The service whose hook it is.
    pub service: ServiceName,
    /// The name of its container.
    pub container: Arc<str>,
    /// What runs, and how long it may.
    pub run: HookRun,
    /// The step that it belongs to, where it is to be started if it was not; none where it is only looked for.
    pub start: Option<Box<Ensure>>,
}

/// Where blobs that were fetched before the plan was accepted lie, by digest.
pub trait Blobs: Send + Sync {
    /// The file with the content, if it was fetched.
    fn path(&self, digest: Digest) -> Option<Box<Path>>;
}

/// A machine that runs instances.
#[async_trait]
pub trait Host: Send + Sync {
    /// One cheap look: a single list call, never `docker compose`.
    async fn observe(&self) -> Result<Observation, HostError>;

    /// What the machine is and has. Slower, and asked rarely. Never fails: a problem is part of the answer.
    async fn info(&self) -> HostInfo;

    /// Makes the instance as the step says: files, then Compose. Returns when Compose returns; whether the
    /// containers become healthy is observed afterwards. `observed` is what runs of it now. What is done is logged
    /// in `attempt`.
    async fn ensure(&self, step: &Ensure, observed: &[Container], attempt: &Attempt)
    -> Result<(), HostError>;

    /// Undoes what others changed of an instance that is in place: what a call of the engine can undo on the living
    /// container is undone by that, and the rest by Compose. A host that knows no such call ensures the instance.
    async fn correct(&self, step: &Ensure, _undo: &[Undo], attempt: &Attempt) -> Result<(), HostError> {
        self.ensure(step, &[], attempt).await
    }

    /// What earlier looks told is not to be relied on in the next.
    fn forget(&self) {}

    /// The containers of nobody's plan. A second list, asked rarely. A host that cannot tell has none.
    async fn orphans(&self) -> Result<Orphans, HostError> {
        Ok(Orphans::default())
    }

    /// Removes the containers and networks of the instance. Volumes stay. What is done is logged in
    /// `attempt`.
    async fn remove(&self, step: &Remove, attempt: &Attempt) -> Result<(), HostError>;

    /// Runs a hook to its end, and keeps its container: one that is there is never started a second time. Gives how it
    /// ended; none where it never began, and is not to. What is done, and what it writes, is logged in `attempt`.
    async fn run_hook(&self, call: &HookCall, attempt: &Attempt) -> Result<Option<HookEnd>, HostError>;

    /// Takes the container of a hook away that has ended, if it is there.
    async fn forget_hook(&self, container: &str);

    /// Asks a container. Returns within `within`, and little more.
    async fn probe(&self, container_id: &str, probe: &Probe, within: Duration) -> Answer;

    /// The last lines that a container wrote, at most `lines`, bounded in bytes.
    async fn last_log_lines(&self, container_id: &str, lines: usize) -> Vec<String>;
}
