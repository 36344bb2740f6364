//! Changing the engine: calls of `docker compose`, as pure argument lists, and the one place that runs them.
//!
//! **Invariant:** no shell, no environment but the few variables in [`Compose::environment`], no input, bounded
//! output, bounded time. A call runs in a process group of its own, and the whole group is ended when its time is
//! over or when the caller loses interest.
//!
//! The child's standard input is the instance's lock, an empty file on which the agent holds an exclusive `flock`.
//! A file lock belongs to the open file, which the child inherits; so when the agent is killed in the middle of a
//! call, the lock stays taken until Compose itself is done, and the next agent does not start a second call beside it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::attempt::Attempt;
use crate::host::HostError;
use crate::text::Tail;

/// How long a call that was asked to end may take before it is killed.
const ENDING: Duration = Duration::from_secs(10);

/// How long a question about the version may take.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// What failed calls show of their output.
const LINES: usize = 10;

/// What to do to a Compose project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Creates what is missing, recreates what changed, removes what is no longer named, starts everything.
    Up,
    /// The same for these Compose services and what they depend on. (With `--no-deps` Compose forgets
    /// `depends_on` before it hashes, and recreates what did not change.)
    UpOnly(Vec<Arc<str>>),
    /// New containers for these whether or not they changed. As `Create`, starts nothing: `up` starts what they depend
    /// on as well, jobs that had ended among it, and with `--no-deps` the next `up` takes them for changed (see
    /// `UpOnly`; Compose 2.26).
    Recreate(Vec<Arc<str>>),
    /// As `Up`, and starts nothing.
    Create,
    /// Stops everything.
    Stop,
    /// Stops, where they run, and starts the containers of these Compose services, and no others.
    Restart(Vec<Arc<str>>),
    /// Removes containers and networks. Volumes stay.
    Down,
    /// Gets the images that are not here yet, and touches no container. (`--policy` is there since Compose 2.22.)
    Pull,
    /// Creates and starts one container of a Compose service, whatever its profiles, and nothing that it depends on.
    Run(OneShot),
}

/// A container that runs once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneShot {
    /// The Compose service.
    pub service: Arc<str>,
    /// The name of the container. Where there is one of this name, Compose fails.
    pub container: Arc<str>,
    /// What it carries beside the labels of the Compose file.
    pub labels: Vec<(&'static str, String)>,
}

impl Verb {
    /// The command of Compose that it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Up | Self::UpOnly(_) => "up",
            Self::Recreate(_) => "up --no-start --force-recreate",
            Self::Create => "up --no-start",
            Self::Stop => "stop",
            Self::Restart(_) => "restart",
            Self::Down => "down",
            Self::Pull => "pull",
            Self::Run(_) => "run",
        }
    }
}

/// The project that a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its folder and Compose file; none where they are lost, which only `Down` can do without.
    pub files: Option<ProjectFiles>,
}

/// Where the files of a project are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFiles {
    /// What relative paths in the Compose file start from.
    pub folder: PathBuf,
    /// The Compose file.
    pub compose: PathBuf,
}

/// The arguments of one call of `docker`.
pub fn arguments(project: &Project<'_>, verb: &Verb) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["compose".into(), "--project-name".into(), project.name.into()];
    // Without it Compose reads `.env` from the project folder, or from where it runs: a `$` would mean what that file
    // says, and its `COMPOSE_…` would be settings of the call.
    arguments.extend(["--env-file".into(), "/dev/null".into()]);
    if let Some(files) = &project.files {
        arguments.extend(["--project-directory".into(), files.folder.clone().into()]);
        arguments.extend(["--file".into(), files.compose.clone().into()]);
    }
    arguments.extend(verb_arguments(verb));
    arguments
}

fn verb_arguments(verb: &Verb) -> Vec<OsString> {
    if let Verb::Run(one_shot) = verb {
        return run_arguments(one_shot);
    }
    /// `--no-build` and `--quiet-pull`: images come from registries, and progress bars help nobody in a log.
    const UP: [&str; 5] = ["up", "--detach", "--remove-orphans", "--no-build", "--quiet-pull"];
    let (fixed, services): (&[&str], &[Arc<str>]) = match verb {
        Verb::Up => (&[], &[]),
        Verb::UpOnly(services) => (&[], services),
        Verb::Recreate(services) => (&["--no-start", "--force-recreate"], services),
        Verb::Create => (&["--no-start"], &[]),
        Verb::Stop => (&["stop"], &[]),
        // Without `--no-deps` Compose restarts whoever says `depends_on: …: restart: true` as well.
        Verb::Restart(services) => (&["restart", "--no-deps"], services),
        Verb::Down => (&["down", "--remove-orphans"], &[]),
        Verb::Pull => (&["pull", "--policy", "missing", "--quiet"], &[]),
        Verb::Run(_) => (&[], &[]),
    };
    let up: &[&str] = match verb {
        Verb::Up | Verb::UpOnly(_) | Verb::Recreate(_) | Verb::Create => &UP,
        Verb::Stop | Verb::Restart(_) | Verb::Down | Verb::Pull | Verb::Run(_) => &[],
    };
    let separator = if services.is_empty() { &[][..] } else { &["--"] };
    let words = up.iter().chain(fixed).chain(separator).map(|word| OsString::from(*word));
    words.chain(services.iter().map(|service| OsString::from(&**service))).collect()
}

/// Without a terminal, and without an end to wait for: whoever started it may be gone by then.
fn run_arguments(one_shot: &OneShot) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["run", "--detach", "--no-deps", "-T", "--quiet-pull"].map(OsString::from).into();
    arguments.extend(["--name".into(), OsString::from(&*one_shot.container)]);
    for (name, value) in &one_shot.labels {
        arguments.extend(["--label".into(), format!("{name}={value}").into()]);
    }
    arguments.extend(["--".into(), OsString::from(&*one_shot.service)]);
    arguments
}

/// How Compose is called.
#[derive(Clone, Debug)]
pub struct Compose {
    /// The `docker` program.
    pub program: PathBuf,
    /// All that the program sees: `PATH`, `HOME` (plugins and credentials), `DOCKER_HOST`.
    pub environment: Vec<(OsString, OsString)>,
    /// How long one call may take, pulls and `depends_on` conditions included.
    pub within: Duration,
}

impl Compose {
    /// Runs one call to its end, holding `lock`; what it prints goes into the log of `attempt`.
    ///
    /// # Errors
    ///
    /// [`HostError::Compose`] where it cannot be started, fails, or takes too long.
    pub async fn run(
        &self,
        project: &Project<'_>,
        verb: &Verb,
        lock: &Lock,
        attempt: &Attempt,
    ) -> Result<(), HostError> {
        let arguments = arguments(project, verb);
        let started = tokio::time::Instant::now();
        let result = match lock.stdin() {
            Ok(stdin) => self.call(&arguments, stdin, self.within, Some(attempt)).await,
            Err(error) => Err(NoEnd::NotStarted(error)),
        };
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(project = project.name, verb = verb.name(), milliseconds, "docker compose returned");
        attempt.tell(&format!("docker compose {} returned after {milliseconds} ms", verb.name()));
        let failure = match result {
            Ok(Ended { status, .. }) if status.success() => return Ok(()),
            Ok(Ended { status, output }) => (in_words(status), output),
            Err(NoEnd::NotStarted(error)) => (cannot_start(&self.program, &error), String::new()),
            Err(NoEnd::TooLong(output)) => {
                (format!("no end after {} s, and was stopped", self.within.as_secs()), output)
            }
        };
        let (status, output) = failure;
        Err(self.explain(verb.name(), (status, error_first(&output))).await)
    }

    /// The version of the Compose plugin, or why there is none, with what to do about it.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub async fn version(&self) -> Result<Arc<str>, String> {
        let arguments = ["compose", "version", "--short"].map(OsString::from);
        let advice =
            "install Docker Compose v2 (package docker-compose-plugin, docker-compose-v2 or docker-compose)";
        match self.call(&arguments, Stdio::null(), VERSION_WITHIN, None).await {
            Ok(Ended { status, output }) if status.success() => Ok(output.trim().into()),
            Ok(Ended { output, .. }) => {
                Err(format!("docker compose does not answer: {advice}; it says: {output}"))
            }
            Err(NoEnd::NotStarted(error)) => {
                Err(format!("{}: {advice}", cannot_start(&self.program, &error)))
            }
            Err(NoEnd::TooLong(_)) => {
                Err(format!("docker compose does not tell its version within {} s", VERSION_WITHIN.as_secs()))
            }
        }
    }

    /// Without the plugin `docker` complains of an unknown flag; say what is really missing.
    async fn explain(&self, verb: &'static str, (status, output): (String, String)) -> HostError {
        match self.version().await {
            Ok(_) => HostError::Compose { verb, status, output },
            Err(missing) => HostError::Compose { verb, status, output: missing },
        }
    }

    async fn call(
        &self,
        arguments: &[OsString],
        stdin: Stdio,
        within: Duration,
        attempt: Option<&Attempt>,
    ) -> Result<Ended, NoEnd> {
        let (mut child, output) = self.spawn(arguments, stdin).map_err(NoEnd::NotStarted)?;
        let mut group = Group::of(&child);
        let mut tail = Tail::default();
        let ended = tokio::time::timeout(
            within,
            read_and_wait(&mut child, output, |bytes| {
                tail.push(bytes);
                attempt.iter().for_each(|attempt| attempt.output(bytes));
            }),
        )
        .await;
        let status = match ended {
            Ok(status) => status,
            Err(_) => {
                end(&mut child, &group).await;
                group.forget();
                return Err(NoEnd::TooLong(tail.last_lines(LINES)));
            }
        };
        group.forget();
        let status = status.map_err(NoEnd::NotStarted)?;
        Ok(Ended { status, output: tail.last_lines(LINES) })
    }

    fn spawn(&self, arguments: &[OsString], stdin: Stdio) -> io::Result<(Child, pipe::Receiver)> {
        // One pipe for both streams keeps their lines in order.
        let (reader, writer) = io::pipe()?;
        let child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            // Compose looks for a file in its working folder and upwards where none is named.
            .current_dir("/")
            .stdin(stdin)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
    }
}

struct Ended {
    status: ExitStatus,
    output: String,
}

enum NoEnd {
    NotStarted(io::Error),
    TooLong(String),
}

async fn read_and_wait(
    child: &mut Child,
    mut output: pipe::Receiver,
    mut take: impl FnMut(&[u8]),
) -> io::Result<ExitStatus> {
    let mut chunk = [0; 4096];
    loop {
        match output.read(&mut chunk).await? {
            0 => return child.wait().await,
            read => take(&chunk[..read]),
        }
    }
}

/// Asks the group to end, and kills it where it does not.
async fn end(child: &mut Child, group: &Group) {
    group.signal(Signal::TERM);
    if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
        group.signal(Signal::KILL);
        // Nothing survives that signal; the wait only collects the child.
        let _ = child.wait().await;
    }
}

/// The process group of a running call. Dropped before the call ended, it asks the group to end: Compose is two
/// processes, and dropping the child would reach one of them.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    /// From here on its number may belong to another.
    fn forget(&mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // It fails only where nobody is left to be signalled.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// The line that tells the error, then the others in their order: Compose goes on to tell of its progress, and whoever
/// reads only the first line must find what is wrong there. Where no line looks like an error, it is the last one.
fn error_first(output: &str) -> String {
    let tells = |line: &&str| {
        line.starts_with("Error") || line.starts_with("error") || line.contains("Error response from daemon")
    };
    let mut lines: Vec<_> = output.lines().collect();
    let last = lines.len().saturating_sub(1);
    let error = lines.iter().rposition(tells).unwrap_or(last);
    if let Some(first) = lines.get_mut(..=error) {
        first.rotate_right(1);
    }
    lines.join("\n")
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn cannot_start(program: &Path, error: &io::Error) -> String {
    format!("{} cannot be started ({error})", program.display())
}

/// The right to change one instance. Given back when it is dropped and no call that was given it is left.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock, and waits up to `within` for who has it.
    ///
    /// # Errors
    ///
    /// [`HostError::File`] where it is not free by then.
    pub async fn take(file: File, within: Duration) -> Result<Self, HostError> {
        let failed = |source| HostError::File { path: "lock".into(), source };
        let give_up = tokio::time::Instant::now() + within;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let message =
                        "a docker compose that an earlier agent started is still changing this instance";
                    return Err(failed(io::Error::new(io::ErrorKind::ResourceBusy, message)));
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    /// The lock as standard input. The file is empty, so it reads like `/dev/null`.
    fn stdin(&self) -> io::Result<Stdio> {
        self.0.try_clone().map(Stdio::from)
    }
}

#[cfg(test)]
mod tests;
