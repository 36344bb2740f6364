//! The loop: waits for what happens, asks [`State`] what to do, and has it done. It decides nothing.
//!
//! Requests, looks and steps run side by side as tasks, each of which ends in one [`Event`]; files of the state
//! folder are written in place, because what follows relies on them.

mod logs;
mod look;
mod pull;
mod report;
pub mod state;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::NodeStatus;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::state::{Cause, Effect, Event, Failed, State, Tell};
use crate::apply::Fault;
use crate::attempt::{Attempt, LogDir};
use crate::blobs::BlobDir;
use crate::client::{Daemon, DaemonError};
use crate::clock;
use crate::disk;
use crate::docker::Wake;
use crate::host::{HookCall, Host, HostError};
use crate::journal::HookEnd;
use crate::ledger::Ledger;
use crate::moment::Moment;

/// Lines of a container's log that a failure shows.
const LOG_LINES: usize = 10;

/// What the loop works with.
pub struct Parts {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The control side.
    pub daemon: Arc<dyn Daemon>,
    /// The accepted plan on disk.
    pub ledger: Ledger,
    /// The content of plans on disk.
    pub blobs: BlobDir,
    /// What is done for steps, on disk.
    pub logs: LogDir,
    /// Where the status is written for `gitops-agent status`.
    pub snapshot: PathBuf,
    /// What Docker tells of our containers as it happens.
    pub wakes: mpsc::Receiver<Wake>,
    /// How long a stop waits for steps that are under way.
    pub stop_within: Duration,
}

/// `status.json`: what the agent last knew.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it last changed.
    pub changed_at: Timestamp,
    /// What it was.
    pub status: NodeStatus,
}

/// Runs until `shutdown`; then begins nothing more and waits for what is under way, but not for ever: the next
/// start looks at Docker instead of assuming.
pub async fn run(mut state: State, mut parts: Parts, shutdown: impl Future<Output = ()>) {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut stop_at = None;
    let mut events = VecDeque::from([Event::Tick]);
    loop {
        while let Some(event) = events.pop_front() {
            for effect in state.step(event, moment(started)) {
                events.extend(perform(effect, &parts, &mut tasks));
            }
        }
        if state.is_done() {
            return;
        }
        let wake = state.wake_at().filter(|_| stop_at.is_none()).map(|at| started + at);
        let event = tokio::select! {
            () = &mut shutdown, if stop_at.is_none() => {
                stop_at = Some(Instant::now() + parts.stop_within);
                Event::Stop
            }
            () = until(stop_at) => {
                tracing::warn!("stopping while a step is under way; the next start looks at what became of it");
                return;
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(event) => event,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            Some(wake) = parts.wakes.recv() => woken(wake),
            () = parts.logs.wrote() => Event::Logged,
            () = until(wake) => Event::Tick,
        };
        events.push_back(event);
    }
}

fn woken(wake: Wake) -> Event {
    match wake {
        Wake::Everything => Event::Changed,
        Wake::Container { service, touch } => Event::Touched { service, touch },
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn moment(started: Instant) -> Moment {
    let dice = getrandom::u64().unwrap_or(0);
    Moment { elapsed: started.elapsed(), wall: clock::now(), dice }
}

/// Carries out one effect: at once, returning the event that answers it, or as a task that ends in one.
fn perform(effect: Effect, parts: &Parts, tasks: &mut JoinSet<Event>) -> Option<Event> {
    match effect {
        Effect::Poll { known } => {
            let daemon = parts.daemon.clone();
            tasks.spawn(
                async move { Event::Polled(daemon.plan(known).await.map_err(|error| error.failed())) },
            );
        }
        Effect::Fetch { plan } => {
            tasks.spawn(fetch(plan, parts.daemon.clone(), parts.blobs.clone()));
        }
        Effect::Save { plan } => {
            let result = parts.ledger.save(&plan);
            return Some(Event::Saved(
                result.map_err(|error| Failed { message: chain(&error), cause: Cause::Disk }),
            ));
        }
        Effect::SaveRecord(record) => {
            warn("cannot write down what is in place", parts.ledger.save_record(&record))
        }
        Effect::SavePictures(pictures) => {
            warn("cannot write down how containers are meant to stay", parts.ledger.save_pictures(&pictures))
        }
        Effect::Prune { keep } => warn("cannot delete old content", parts.blobs.keep_only(&keep).map(drop)),
        Effect::Observe { anew } => {
            let host = parts.host.clone();
            if anew {
                host.forget();
            }
            tasks.spawn(async move { Event::Observed(host.observe().await.map_err(away)) });
        }
        Effect::Orphans => {
            let host = parts.host.clone();
            tasks.spawn(async move { Event::Orphans(host.orphans().await.map_err(away)) });
        }
        Effect::Info => {
            let host = parts.host.clone();
            tasks.spawn(async move { Event::Informed(host.info().await) });
        }
        Effect::Begin { step, generation, observed, reason } => {
            let host = parts.host.clone();
            let attempt = parts.logs.begin(step.service(), generation, reason);
            tasks.spawn(async move {
                let result = match &step {
                    Step::Ensure(ensure) => host.ensure(ensure, &observed, &attempt).await,
                    Step::Remove(remove) => host.remove(remove, &attempt).await,
                };
                ended(step, result, &attempt)
            });
        }
        Effect::Correct { step, generation, undo, reason } => {
            let host = parts.host.clone();
            let attempt = parts.logs.begin(step.service(), generation, reason);
            tasks.spawn(async move {
                let result = match &step {
                    Step::Ensure(ensure) => host.correct(ensure, &undo, &attempt).await,
                    Step::Remove(remove) => host.remove(remove, &attempt).await,
                };
                ended(step, result, &attempt)
            });
        }
        Effect::SaveJournal(journal) => {
            let result = parts.ledger.save_journal(&journal);
            return Some(Event::Journaled(
                result.map_err(|error| Failed { message: chain(&error), cause: Cause::Disk }),
            ));
        }
        Effect::RunHook { call, generation, reason } => {
            let attempt = parts.logs.begin(&call.service, generation, reason);
            tasks.spawn(run_hook(parts.host.clone(), call, attempt));
        }
        Effect::ForgetHook { container } => {
            let host = parts.host.clone();
            // It ends by itself, and nobody waits for it.
            tokio::spawn(async move { host.forget_hook(&container).await });
        }
        Effect::Probe(ask) => {
            let host = parts.host.clone();
            tasks.spawn(async move {
                let answer = host.probe(&ask.container, &ask.probe, ask.within).await;
                Event::Probed { number: ask.number, answer }
            });
        }
        Effect::ReadLogs { service, container } => {
            let host = parts.host.clone();
            tasks.spawn(async move {
                let lines = host.last_log_lines(&container, LOG_LINES).await;
                Event::Logs { service, container, lines }
            });
        }
        Effect::Report(message) => {
            let daemon = parts.daemon.clone();
            tasks.spawn(async move {
                Event::Reported(daemon.report(message).await.map_err(|error| error.failed()))
            });
        }
        Effect::SendLogs => {
            tasks.spawn(send_logs(parts.daemon.clone(), parts.logs.clone()));
        }
        Effect::Snapshot(status) => {
            let snapshot = Snapshot { changed_at: clock::now(), status: *status };
            warn("cannot write the status", disk::write_json(&parts.snapshot, &snapshot));
        }
        Effect::Tell(Tell::Progress, text) => tracing::info!("{text}"),
        Effect::Tell(Tell::Problem, text) => tracing::warn!("{text}"),
        Effect::Tell(Tell::Alarm, text) => tracing::error!("{text}"),
    }
    None
}

async fn run_hook(host: Arc<dyn Host>, call: HookCall, attempt: Attempt) -> Event {
    let result = host.run_hook(&call, &attempt).await;
    let title = call.run.title();
    match &result {
        Ok(Some(HookEnd::Done)) => attempt.tell(&format!("{title} is done")),
        Ok(Some(HookEnd::Failed(how))) => attempt.tell(&format!("{title} failed: {how}")),
        Ok(None) => attempt.tell(&format!("{title} never began")),
        Err(error) => attempt.tell(&format!("failed: {}", chain(error))),
    }
    Event::HookEnded { call, result: result.map_err(fault) }
}

fn ended(step: Step, result: Result<(), HostError>, attempt: &Attempt) -> Event {
    match &result {
        Ok(()) => attempt.tell("done"),
        Err(error) => attempt.tell(&format!("failed: {}", chain(error))),
    }
    Event::Ended { step, result: result.map_err(fault) }
}

/// One blob after the other: a plan names few, and they are small.
async fn fetch(plan: Arc<NodePlan>, daemon: Arc<dyn Daemon>, blobs: BlobDir) -> Event {
    let all = async {
        for (digest, size) in blobs.missing(&plan) {
            let mut writer = blobs.writer(digest, size).map_err(DaemonError::from)?;
            daemon.blob(digest, &mut writer).await?;
            writer.finish()?;
        }
        Ok(())
    };
    let result = all.await.map_err(|error: DaemonError| error.failed());
    Event::Fetched { plan, result }
}

async fn send_logs(daemon: Arc<dyn Daemon>, logs: LogDir) -> Event {
    let reading = logs.clone();
    // It may read a hundred files, and everything else runs on this thread.
    let batch = match tokio::task::spawn_blocking(move || reading.unsent()).await {
        Ok(batch) => batch,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let more = batch.is_full;
    if !batch.lines.is_empty() {
        if let Err(error) = daemon.logs(&batch.lines).await {
            return Event::LogsSent(Err(error.failed()));
        }
        logs.acknowledged(batch);
    }
    Event::LogsSent(Ok(more))
}

fn away(error: HostError) -> Failed {
    Failed { message: chain(&error), cause: Cause::Away }
}

fn fault(error: HostError) -> Fault {
    Fault { message: chain(&error), lacks_content: matches!(error, HostError::Content(_)) }
}

fn warn<E: std::error::Error>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {}", chain(&error));
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
