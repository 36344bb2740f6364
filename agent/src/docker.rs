//! The real host: Docker Engine for reading, Docker Compose for changing.
//!
//! **Invariant:** only containers that carry this node's label are looked at or touched, so that two agents can
//! share one engine; a Compose project with any other container in it is refused. Changes go
//! through [`Compose`](crate::compose::Compose), each logged with its reason; the engine's API is only read, but to
//! end what a Compose that was killed left half done, and to undo what others did to a container over the same API.

mod decide;
mod events;
mod hooks;
mod info;
mod look;
mod mounts;
mod offers;
mod picture;
mod probe;
mod rows;
mod undo;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{StreamExt as _, TryStreamExt as _};
use gitops_core::compose::labelled;
use gitops_core::name::{Digest, NodeName, ServiceName};
use gitops_core::plan::{Ensure, Probe, Remove};
use gitops_core::status::{Container, ContainerState, HostInfo, Orphans};
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use self::events::Wake;
use self::rows::Row;
use crate::attempt::Attempt;
use crate::checks::Answer;
use crate::compose::{Compose, Lock, Project, ProjectFiles, Verb};
use crate::drift::{Seen, Undo};
use crate::files::{self, InstanceFiles, Record};
use crate::host::{Blobs, HookCall, Host, HostError, Observation};
use crate::journal::HookEnd;
use crate::text::Tail;

/// How long the engine may take to answer. It answers in milliseconds; minutes of silence are a hung engine.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of a container's log that are read to find its last lines.
const LOG_BYTES: usize = 256 << 10;

/// Where the engine is, and what the agent may use.
#[derive(Clone)]
pub struct DockerConfig {
    /// The node that this agent is.
    pub node: NodeName,
    /// The engine's socket.
    pub socket: PathBuf,
    /// Where the folders of instances are. Made, closed to other users, where it is missing.
    pub instances: PathBuf,
    /// Content that plans name.
    pub blobs: Arc<dyn Blobs>,
    /// The `docker` program, by path or by name in `path`.
    pub program: PathBuf,
    /// `PATH` for that program.
    pub path: OsString,
    /// `HOME` for that program: Compose plugin and registry credentials lie in `.docker` there.
    pub home: PathBuf,
    /// `DOCKER_CONFIG`, where those lie elsewhere.
    pub docker_config: Option<PathBuf>,
    /// How long one call of Compose may take, pulls and `depends_on` conditions included.
    pub compose_within: Duration,
}

/// A machine with Docker.
pub struct DockerHost {
    node: NodeName,
    socket: Arc<str>,
    instances: PathBuf,
    blobs: Arc<dyn Blobs>,
    compose: Compose,
    compose_version: Mutex<Option<Arc<str>>>,
    memory: look::Memory,
    questions: probe::Questions,
}

impl DockerHost {
    /// Prepares to use the engine. It need not run yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Engine`] where the socket cannot be one.
    pub fn connect(config: DockerConfig) -> Result<Self, HostError> {
        let DockerConfig {
            node,
            socket,
            instances,
            blobs,
            program,
            path,
            home,
            docker_config,
            compose_within,
        } = config;
        let Some(socket) = socket.to_str().filter(|path| path.starts_with('/')) else {
            let address = socket.to_string_lossy().into();
            return Err(HostError::Engine {
                address,
                source: "a socket is an absolute path in UTF-8".into(),
            });
        };
        let mut environment = vec![
            ("PATH".into(), path),
            ("HOME".into(), home.into()),
            ("DOCKER_HOST".into(), format!("unix://{socket}").into()),
        ];
        environment.extend(docker_config.map(|folder| ("DOCKER_CONFIG".into(), folder.into())));
        Ok(Self {
            node,
            socket: socket.into(),
            instances,
            blobs,
            compose: Compose { program, environment, within: compose_within },
            compose_version: Mutex::default(),
            memory: look::Memory::default(),
            questions: probe::Questions::default(),
        })
    }

    /// Sends a [`Wake`] for everything that happens to containers of this node, until the receiver is gone.
    ///
    /// It connects again for ever, with growing pauses, and asks to look at everything when it was connected and
    /// when it lost the connection.
    pub async fn watch(&self, wake: mpsc::Sender<Wake>) {
        let (shortest, longest) = events::PAUSES;
        let mut pause = shortest;
        while !wake.is_closed() {
            match self.watch_once(&wake).await {
                Ok(()) => {
                    tracing::info!(
                        socket = &*self.socket,
                        "the event stream of Docker ended; connecting again"
                    );
                    pause = shortest;
                    let _ = wake.send(Wake::Everything).await;
                }
                Err(error) => tracing::debug!(socket = &*self.socket, %error, "no event stream from Docker"),
            }
            let _ = tokio::time::timeout(pause, wake.closed()).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Ends with an error where it could not connect.
    async fn watch_once(&self, wake: &mpsc::Sender<Wake>) -> Result<(), HostError> {
        let engine = self.engine()?;
        let mut events = pin!(events::events(&engine, &self.node));
        engine.ping().await.map_err(|error| self.no_answer(error))?;
        let _watched = self.memory.watched();
        let _ = wake.send(Wake::Everything).await;
        while let Some(Ok(event)) = tokio::select! {
            event = events.next() => event,
            () = wake.closed() => None,
        } {
            if event.is_of_network && !self.memory.knows(&event.container) {
                continue;
            }
            self.memory.heard(&event);
            let _ = wake.send(event.wake).await;
        }
        Ok(())
    }

    /// A client. Making one opens nothing: the connection comes with each request.
    fn engine(&self) -> Result<Docker, HostError> {
        Docker::connect_with_unix(&self.socket, ANSWER_WITHIN.as_secs(), bollard::API_DEFAULT_VERSION)
            .map_err(|error| self.no_answer(error))
    }

    fn no_answer(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HostError {
        HostError::Engine { address: format!("unix://{}", self.socket).into(), source: source.into() }
    }

    /// One question to the engine, in bounded time.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, HostError> {
        let engine = self.engine()?;
        match tokio::time::timeout(ANSWER_WITHIN, question(&engine)).await {
            Ok(answer) => answer.map_err(|error| self.no_answer(error)),
            Err(elapsed) => Err(self.no_answer(elapsed)),
        }
    }

    /// Every container of the Compose project, if the agent may touch it.
    async fn project(&self, service: &ServiceName, project: &str) -> Result<Vec<Row>, HostError> {
        let rows = self.ask(async |engine| look::list(engine, rows::PROJECT, project).await).await?;
        match decide::foreign(&self.node, service, project, &rows) {
            Some(why) => Err(HostError::Foreign(why)),
            None => Ok(rows),
        }
    }

    /// The containers of the project, after replacements that were broken off have been ended. The caller has the lock.
    async fn finished(&self, step: &Ensure, attempt: &Attempt) -> Result<Vec<Row>, HostError> {
        let rows = self.project(&step.service, &step.project).await?;
        let endings = unfinished::endings(&rows);
        if endings.is_empty() {
            return Ok(rows);
        }
        for ending in &endings {
            let reason = attempt.reason();
            tracing::info!(project = &*step.project, ?ending, reason, "ending what a killed Compose began");
            attempt.tell(&format!("ends what a killed Compose began: {ending:?}"));
            self.ask(async |engine| unfinished::end(engine, ending).await).await?;
        }
        self.project(&step.service, &step.project).await
    }

    /// The instance's folders, and the right to change it.
    async fn take(&self, service: &ServiceName) -> Result<(InstanceFiles, Lock), HostError> {
        let (instances, name) = (self.instances.clone(), service.clone());
        let files = blocking(move || InstanceFiles::open(&instances, &name)).await?;
        let lock = Lock::take(files.lock_file()?, self.compose.within).await?;
        // What an earlier owner of the lock did is in the record by now.
        let (instances, name) = (self.instances.clone(), service.clone());
        drop(files);
        Ok((blocking(move || InstanceFiles::open(&instances, &name)).await?, lock))
    }

    async fn prepare(
        &self,
        mut files: InstanceFiles,
        step: &Ensure,
        rows: &[Row],
        anew: &BTreeSet<Arc<str>>,
        attempt: &Attempt,
    ) -> Result<Prepared, HostError> {
        let (wanted, blobs) = (step.files.clone(), self.blobs.clone());
        let (files, changed) =
            blocking(move || files.put(&wanted, &*blobs).map(|changed| (files, changed))).await?;
        if changed {
            attempt.tell("replaced files of the instance");
        }
        let mut files = self.note_running(step, files).await?;
        if mounts::note_outlived(&mut files.record, rows) {
            files = blocking(move || files.save().map(|()| files)).await?;
        }
        let labels = decide::labels(&self.node, step, rows, &files.record);
        let text = labelled(&step.model, &labels);
        let fingerprint = decide::fingerprint(step, &text);
        let gone = mounts::held(step, rows, &files.record);
        if !gone.is_empty() {
            attempt.tell("what some containers mount was gone from their folder");
        }
        let anew = gone.union(anew).cloned().collect();
        let others = decide::calls(step, &labels, rows, files.record.applied == Some(fingerprint));
        let calls = decide::made_anew(&anew).into_iter().chain(others).collect();
        let files = blocking(move || files.put_compose_file(&text).map(|()| files)).await?;
        Ok(Prepared { files, fingerprint, calls })
    }

    async fn call(
        &self,
        project: &Project<'_>,
        verb: &Verb,
        lock: &Lock,
        attempt: &Attempt,
    ) -> Result<(), HostError> {
        let reason = attempt.reason();
        tracing::info!(project = project.name, verb = verb.name(), reason, "calling docker compose");
        attempt.tell(&format!("docker compose {}", verb.name()));
        self.compose.run(project, verb, lock, attempt).await
    }

    /// Puts the instance in place, with new containers for some of its Compose services.
    async fn put(
        &self,
        step: &Ensure,
        attempt: &Attempt,
        files: InstanceFiles,
        lock: &Lock,
        anew: &BTreeSet<Arc<str>>,
    ) -> Result<(), HostError> {
        // Not what was observed: that lists only our own containers, and may be seconds old.
        let rows = self.finished(step, attempt).await?;
        let Prepared { mut files, fingerprint, calls } =
            self.prepare(files, step, &rows, anew, attempt).await?;
        let paths = ProjectFiles { folder: files.folder.path().to_owned(), compose: files.compose_file() };
        let project = Project { name: &step.project, files: Some(paths) };
        for verb in &calls {
            self.call(&project, verb, lock, attempt).await?;
        }
        let old = self.running_on_old_files(step, &files.record).await?;
        if !old.is_empty() {
            self.call(&project, &Verb::Restart(old.into_iter().collect()), lock, attempt).await?;
        }
        let record = Record {
            pending: false,
            ran: None,
            outlived: BTreeMap::new(),
            applied: Some(fingerprint),
            services: decide::applied(step),
            ..files.record.clone()
        };
        if files.record != record {
            files.record = record;
            blocking(move || files.save()).await?;
        }
        Ok(())
    }

    /// Makes the calls that undo what others did. Returns the Compose services that need new containers.
    async fn undo(&self, undo: &[Undo], attempt: &Attempt) -> Result<BTreeSet<Arc<str>>, HostError> {
        let mut anew = BTreeSet::new();
        for one in undo::ordered(undo) {
            match one {
                Undo::Call { container, service, call } => {
                    attempt.tell(&undo::words(call));
                    match self.ask(async |engine| undo::call(engine, container, call).await).await {
                        Ok(true) => {}
                        Ok(false) => drop(anew.insert(service.clone())),
                        Err(error) => {
                            attempt.tell(&format!("{}: a new container is made instead", chain(&error)));
                            anew.insert(service.clone());
                        }
                    }
                }
                Undo::Recreate(service) => drop(anew.insert(service.clone())),
                Undo::Up => {}
            }
        }
        Ok(anew)
    }

    /// Notes which of the containers that are due for a restart run now that the files are in place.
    async fn note_running(
        &self,
        step: &Ensure,
        mut files: InstanceFiles,
    ) -> Result<InstanceFiles, HostError> {
        let due = decide::due_for_restart(step, &files.record);
        if !files.record.pending || files.record.ran.is_some() || due.is_empty() {
            return Ok(files);
        }
        let running = self.running(step, &due).await?;
        files.record.ran = Some(running.into_iter().map(|run| (run.id, run.started_at)).collect());
        blocking(move || files.save().map(|()| files)).await
    }

    /// The Compose services that run since before their files were replaced.
    async fn running_on_old_files(
        &self,
        step: &Ensure,
        record: &Record,
    ) -> Result<BTreeSet<Arc<str>>, HostError> {
        let Some(ran) = record.ran.as_ref().filter(|ran| !ran.is_empty()) else { return Ok(BTreeSet::new()) };
        let due = decide::due_for_restart(step, record);
        let running = self.running(step, &due).await?.into_iter();
        let same = running.filter(|run| ran.get(&run.id) == Some(&run.started_at));
        Ok(same.map(|run| run.service).collect())
    }

    /// The containers of these Compose services that run.
    async fn running(&self, step: &Ensure, services: &BTreeSet<Arc<str>>) -> Result<Vec<Run>, HostError> {
        let mut running = Vec::new();
        for row in self.project(&step.service, &step.project).await? {
            let Row { container, one_off: false, .. } = row else { continue };
            if container.state == ContainerState::Running && services.contains(&container.service) {
                let details = self.ask(async |engine| look::inspect(engine, &container.id).await).await?;
                let Some(started_at) = details.and_then(|details| details.started_at) else { continue };
                running.push(Run { service: container.service, id: container.id, started_at });
            }
        }
        Ok(running)
    }

    async fn compose_version(&self) -> Result<Arc<str>, String> {
        let known = self.compose_version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(version) = known {
            return Ok(version);
        }
        let version = self.compose.version().await?;
        *self.compose_version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.clone());
        Ok(version)
    }
}

/// One run of a container.
struct Run {
    service: Arc<str>,
    id: Arc<str>,
    started_at: Timestamp,
}

/// An instance whose files are in place.
struct Prepared {
    files: InstanceFiles,
    fingerprint: Digest,
    calls: Vec<Verb>,
}

#[async_trait]
impl Host for DockerHost {
    async fn observe(&self) -> Result<Observation, HostError> {
        let node = self.node.as_str();
        let containers = self.ask(async |engine| look::look(engine, &self.memory, node).await).await?;
        let mut instances = BTreeMap::<ServiceName, Vec<Container>>::new();
        let mut pictures = Seen::new();
        for (row, container, picture) in containers {
            if let Some(service) = row.service.filter(|_| !row.one_off) {
                pictures.extend(picture.map(|picture| (container.id.clone(), picture)));
                instances.entry(service).or_default().push(container);
            }
        }
        for containers in instances.values_mut() {
            containers.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        }
        let folder = self.instances.clone();
        blocking(move || {
            let lost = files::lost(&folder, instances.keys());
            Ok(Observation { instances, lost, pictures })
        })
        .await
    }

    async fn info(&self) -> HostInfo {
        let (engine, compose) =
            tokio::join!(self.ask(async |engine| engine.info().await), self.compose_version());
        let mut problems = Vec::new();
        let mut host = match engine {
            Ok(info) => info::machine(&info),
            Err(error) => {
                problems.push(format!("Docker does not answer at unix://{}: {}", self.socket, chain(&error)));
                HostInfo::default()
            }
        };
        match compose {
            Ok(version) => {
                host.capabilities.extend(offers::of_version("compose", &version));
                host.compose = version;
            }
            Err(problem) => problems.push(problem),
        }
        host.problem = (!problems.is_empty()).then(|| problems.join("; "));
        host
    }

    async fn ensure(
        &self,
        step: &Ensure,
        _observed: &[Container],
        attempt: &Attempt,
    ) -> Result<(), HostError> {
        let (files, lock) = self.take(&step.service).await?;
        self.put(step, attempt, files, &lock, &BTreeSet::new()).await
    }

    async fn correct(&self, step: &Ensure, undo: &[Undo], attempt: &Attempt) -> Result<(), HostError> {
        let (files, lock) = self.take(&step.service).await?;
        self.project(&step.service, &step.project).await?;
        let anew = self.undo(undo, attempt).await?;
        // Compose is not called to learn that everything is as it was.
        if anew.is_empty() && !undo.contains(&Undo::Up) {
            return Ok(());
        }
        self.put(step, attempt, files, &lock, &anew).await
    }

    fn forget(&self) {
        self.memory.forget_all();
    }

    async fn orphans(&self) -> Result<Orphans, HostError> {
        self.ask(async |engine| look::orphans(engine).await).await
    }

    async fn remove(&self, step: &Remove, attempt: &Attempt) -> Result<(), HostError> {
        let (files, lock) = self.take(&step.service).await?;
        // Compose leaves containers of services that a profile keeps out, and then the networks that they are in.
        for row in self.project(&step.service, &step.project).await?.iter().filter(|row| row.is_hook) {
            self.forget_hook(&row.container.name).await;
        }
        // By name alone: everything that carries the project's label goes, whatever the last file said.
        self.call(&Project { name: &step.project, files: None }, &Verb::Down, &lock, attempt).await?;
        blocking(move || files.delete()).await
    }

    async fn run_hook(&self, call: &HookCall, attempt: &Attempt) -> Result<Option<HookEnd>, HostError> {
        match self.begin_hook(call, attempt).await? {
            hooks::Begun::Runs => Ok(Some(self.end_of_hook(call, attempt).await)),
            hooks::Begun::Never => Ok(None),
            hooks::Begun::Refused(how) => Ok(Some(HookEnd::Failed(how))),
        }
    }

    async fn forget_hook(&self, container: &str) {
        if let Err(error) = self.remove_hook(container).await {
            tracing::warn!(container, error = chain(&error), "the container of a hook cannot be removed now");
        }
    }

    async fn probe(&self, container_id: &str, probe: &Probe, within: Duration) -> Answer {
        self.answer(container_id, probe, within).await
    }

    async fn last_log_lines(&self, container_id: &str, lines: usize) -> Vec<String> {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let tail = self.ask(async |engine| {
            let mut tail = Tail::default();
            let mut read = 0;
            let mut output = engine.logs(container_id, Some(options));
            while let Some(chunk) = output.try_next().await? {
                let bytes = LogOutput::into_bytes(chunk);
                read += bytes.len();
                tail.push(&bytes);
                if read > LOG_BYTES {
                    break;
                }
            }
            Ok(tail)
        });
        // A log is shown beside a failure that is already reported; without it that report is still worth having.
        tail.await.map(|tail| tail.lines(lines)).unwrap_or_default()
    }
}

/// Runs what waits for the disk where waiting harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(HostError::File { path: ".".into(), source: std::io::Error::other(error) }),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .skip(1)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Filters in the form that the client takes.
#[expect(
    clippy::disallowed_types,
    reason = "the client takes nothing else, and the engine does not look at the order"
)]
fn filters<const N: usize>(
    filters: [(&str, Vec<String>); N],
) -> std::collections::HashMap<String, Vec<String>> {
    filters.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
}
