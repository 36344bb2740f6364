//! Hooks: one-shot containers that run around a change.
//!
//! Compose makes and starts the container under a name that was written down before, and returns; waiting is done here. So a
//! hook goes on when the agent is killed, and the next agent finds it by its name: one that was made and not started is
//! started, one that runs is waited for, and of one that has ended the exit code is taken. While Compose is at work it holds
//! the instance's lock, whoever started it: where nothing of that name is there, nothing is on its way either.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerState as State, ContainerStateStatusEnum as Status,
};
use bollard::query_parameters::{
    InspectContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use gitops_core::plan::Ensure;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{DockerHost, Prepared, chain, rows};
use crate::attempt::Attempt;
use crate::clock;
use crate::compose::{Lock, OneShot, Project, ProjectFiles, Verb};
use crate::files::InstanceFiles;
use crate::host::{HookCall, HostError};
use crate::journal::{HookEnd, When};
use crate::text::Tail;

/// Lines of a hook that failed that are shown with how it ended.
const LINES: usize = 10;
/// How long a hook that was told to stop may take before it is killed, in seconds.
const STOPPING: i32 = 10;
/// For the last lines of a hook that has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// Between questions to an engine that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of starting a hook.
pub(super) enum Begun {
    /// It runs, or has ended.
    Runs,
    /// It was not to be started, and had not been.
    Never,
    /// It cannot be started, for this reason.
    Refused(String),
}

/// How the container of a hook stands.
enum Stands {
    /// Made, and never started.
    Created,
    /// Started then, and running.
    Runs(Option<Timestamp>),
    /// It has ended.
    Ended { code: i64, oom_killed: bool },
}

impl DockerHost {
    /// Sees to it that the hook was started once.
    pub(super) async fn begin_hook(&self, call: &HookCall, attempt: &Attempt) -> Result<Begun, HostError> {
        let (files, lock) = self.take(&call.service).await?;
        match (self.hook(&call.container).await?, &call.start) {
            (None, None) => Ok(Begun::Never),
            (None, Some(step)) => self.start_hook(step, call, files, &lock, attempt).await,
            (Some(Stands::Created), None) => {
                self.remove_hook(&call.container).await?;
                Ok(Begun::Never)
            }
            (Some(Stands::Created), Some(_)) => {
                attempt.tell("its container was made before, and is started now");
                self.start_container(&call.container).await
            }
            (Some(_), _) => {
                attempt.tell("its container was started before");
                Ok(Begun::Runs)
            }
        }
    }

    async fn start_hook(
        &self,
        step: &Ensure,
        call: &HookCall,
        files: InstanceFiles,
        lock: &Lock,
        attempt: &Attempt,
    ) -> Result<Begun, HostError> {
        let rows = self.finished(step, attempt).await?;
        let Prepared { files, .. } = self.prepare(files, step, &rows, &BTreeSet::new(), attempt).await?;
        let paths = ProjectFiles { folder: files.folder.path().to_owned(), compose: files.compose_file() };
        let project = Project { name: &step.project, files: Some(paths) };
        if call.run.when == When::Before {
            self.call(&project, &Verb::Pull, lock, attempt).await?;
        }
        let labels = vec![
            (rows::NODE, self.node.to_string()),
            (rows::SERVICE, call.service.to_string()),
            (rows::HOOK, call.container.to_string()),
        ];
        let (service, container) = (call.run.service.clone(), call.container.clone());
        let run = Verb::Run(OneShot { service, container, labels });
        match self.call(&project, &run, lock, attempt).await {
            Err(HostError::Compose { status, output, .. }) => {
                // What was started before Compose failed is a run of the hook.
                let stands = self.hook(&call.container).await?;
                let began = stands.is_some_and(|stands| !matches!(stands, Stands::Created));
                let refused = || Begun::Refused(format!("docker compose run failed with {status}: {output}"));
                Ok(if began { Begun::Runs } else { refused() })
            }
            done => done.map(|()| Begun::Runs),
        }
    }

    async fn start_container(&self, container: &str) -> Result<Begun, HostError> {
        let engine = self.engine()?;
        match engine.start_container(container, None::<StartContainerOptions>).await {
            Ok(()) => Ok(Begun::Runs),
            Err(Error::DockerResponseServerError { message, .. }) => {
                Ok(Begun::Refused(format!("its container cannot be started: {message}")))
            }
            Err(error) => Err(self.no_answer(error)),
        }
    }

    /// Waits for the end of a hook that was started. An engine that is away for a while does not end the waiting: the
    /// container may outlive it.
    pub(super) async fn end_of_hook(&self, call: &HookCall, attempt: &Attempt) -> HookEnd {
        let mut tail = Tail::default();
        let how = {
            let mut take = |bytes: &[u8]| {
                tail.push(bytes);
                attempt.output(bytes);
            };
            let mut follow = pin!(self.follow(&call.container, &mut take));
            let mut end = pin!(self.wait_for_hook(call));
            tokio::select! {
                how = &mut end => {
                    // What is missing of its last words fails nothing.
                    let _ = timeout(DRAIN, follow).await;
                    how
                }
                () = &mut follow => end.await,
            }
        };
        match how {
            Ok(()) => HookEnd::Done,
            Err(how) => match tail.last_lines(LINES) {
                lines if lines.is_empty() => HookEnd::Failed(how),
                lines => HookEnd::Failed(format!("{how}\nits last lines:\n{lines}")),
            },
        }
    }

    async fn wait_for_hook(&self, call: &HookCall) -> Result<(), String> {
        let whole = Duration::from_secs(call.run.timeout.into());
        let mut give_up = Instant::now() + whole;
        loop {
            match self.hook(&call.container).await {
                Ok(None) => return Err("its container was removed before it ended".to_owned()),
                Ok(Some(Stands::Ended { code: 0, oom_killed: false })) => return Ok(()),
                Ok(Some(Stands::Ended { oom_killed: true, .. })) => {
                    return Err("was killed for want of memory".to_owned());
                }
                Ok(Some(Stands::Ended { code, .. })) => return Err(format!("ended with exit code {code}")),
                Ok(Some(Stands::Runs(since))) => give_up = give_up.min(Instant::now() + left(whole, since)),
                Ok(Some(Stands::Created)) | Err(_) => sleep(PAUSE).await,
            }
            tokio::select! {
                () = self.until_it_ends(&call.container) => {}
                () = sleep_until(give_up) => return Err(self.stop_hook(call).await),
            }
        }
    }

    /// Returns when the container has ended, or when that cannot be told; then after a pause.
    async fn until_it_ends(&self, container: &str) {
        let Ok(engine) = self.engine() else { return sleep(PAUSE).await };
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        match engine.wait_container(container, Some(options)).next().await {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => {}
            _ => sleep(PAUSE).await,
        }
    }

    async fn stop_hook(&self, call: &HookCall) -> String {
        let options = StopContainerOptionsBuilder::default().t(STOPPING).build();
        let stopped =
            self.ask(async |engine| engine.stop_container(&call.container, Some(options)).await).await;
        let how = format!("did not end within {} s and was stopped", call.run.timeout);
        match stopped {
            Ok(()) => how,
            Err(error) => format!("{how}, which failed: {}", chain(&error)),
        }
    }

    /// Hands on what the container writes, from its beginning to its end. A log that cannot be read has none.
    async fn follow(&self, container: &str, take: &mut impl FnMut(&[u8])) {
        let Ok(engine) = self.engine() else { return };
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
        let mut output = engine.logs(container, Some(options));
        while let Ok(Some(chunk)) = output.try_next().await {
            take(&LogOutput::into_bytes(chunk));
        }
    }

    /// Takes the container of a hook away, with the volumes that nobody named.
    pub(super) async fn remove_hook(&self, container: &str) -> Result<(), HostError> {
        if self.hook(container).await?.is_none() {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed =
            self.ask(async |engine| match engine.remove_container(container, Some(options)).await {
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
                removed => removed,
            });
        removed.await
    }

    /// How the container of a hook stands; none where there is none.
    async fn hook(&self, container: &str) -> Result<Option<Stands>, HostError> {
        let inspected = self.ask(async |engine| {
            match engine.inspect_container(container, None::<InspectContainerOptions>).await {
                Ok(inspected) => Ok(Some(inspected)),
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        match inspected.await? {
            None => Ok(None),
            Some(inspected) if self.is_own_hook(&inspected, container) => {
                Ok(Some(stands(inspected.state.unwrap_or_default())))
            }
            Some(_) => Err(HostError::Foreign(format!(
                "a container that gitops did not make has the name of a hook's, `{container}`: remove or rename it"
            ))),
        }
    }

    fn is_own_hook(&self, inspected: &ContainerInspectResponse, container: &str) -> bool {
        let labels = inspected.config.as_ref().and_then(|config| config.labels.as_ref());
        let labels: BTreeMap<_, _> = labels.into_iter().flatten().collect();
        let says =
            |label: &str, text: &str| labels.get(&label.to_owned()).is_some_and(|found| *found == text);
        says(rows::HOOK, container) && says(rows::NODE, self.node.as_str())
    }
}

fn stands(state: State) -> Stands {
    let since = state.started_at.as_deref().and_then(rows::started_at);
    match state.status {
        Some(Status::EXITED | Status::DEAD) => Stands::Ended {
            code: state.exit_code.unwrap_or(-1),
            oom_killed: state.oom_killed.unwrap_or(false),
        },
        Some(Status::CREATED) => Stands::Created,
        _ => Stands::Runs(since),
    }
}

/// What is left of its time. A clock that was set back gives it no more than the whole.
fn left(whole: Duration, since: Option<Timestamp>) -> Duration {
    let age = since.map_or(Duration::ZERO, |since| {
        Duration::try_from(clock::now().duration_since(since)).unwrap_or_default()
    });
    whole.saturating_sub(age)
}
