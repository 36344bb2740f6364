//! Reporting: the full state when it changed, else a heartbeat that names it by its digest.

use std::time::Duration;

use gitops_core::name::Digest;
use gitops_core::status::{Difference, NodeStatus, StepOutcome};

use super::state::{Answer, Effect, Failed, Message, Tell};
use crate::moment::{Moment, Pauses};

/// A daemon may ask for a rhythm between these.
const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u64> = 1..=300;

/// Where reporting stands.
#[derive(Clone, Debug)]
pub(super) struct Report {
    heartbeat: Duration,
    current: Option<(Digest, NodeStatus)>,
    /// What the daemon knows.
    known: Option<Digest>,
    /// The digest of what is on its way, and since when.
    sending: Option<(Digest, Duration)>,
    next_heartbeat: Duration,
    failures: u32,
    not_before: Duration,
}

impl Report {
    pub(super) fn new(heartbeat: Duration) -> Self {
        let (current, known, sending) = (None, None, None);
        let (next_heartbeat, not_before) = (Duration::ZERO, Duration::ZERO);
        Self { heartbeat, current, known, sending, next_heartbeat, failures: 0, not_before }
    }

    /// Takes the state as it is now. A new one also goes to the disk, for `gitops-agent status`.
    pub(super) fn update(&mut self, status: NodeStatus, effects: &mut Vec<Effect>) {
        if self.current.as_ref().is_some_and(|(_, old)| *old == status) {
            return;
        }
        announce(self.current.as_ref().map(|(_, old)| old), &status, effects);
        effects.push(Effect::Snapshot(Box::new(status.clone())));
        self.current = Some((status.digest(), status));
    }

    /// Sends, if there is something to say and nothing on its way.
    pub(super) fn go(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        if self.sending.is_some() || moment.elapsed < self.due_at() {
            return;
        }
        let Some((digest, status)) = &self.current else { return };
        let message = match self.known {
            Some(known) if known == *digest => Message::Heartbeat { digest: known },
            _ => Message::Full(Box::new(status.clone())),
        };
        self.sending = Some((*digest, moment.elapsed));
        effects.push(Effect::Report(message));
    }

    /// When it was sent what is on its way, if anything is.
    pub(super) fn sent_at(&self) -> Option<Duration> {
        self.sending.map(|(_, at)| at)
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        (self.sending.is_none() && self.current.is_some()).then(|| self.due_at())
    }

    fn due_at(&self) -> Duration {
        let current = self.current.as_ref().map(|(digest, _)| *digest);
        if current == self.known { self.next_heartbeat.max(self.not_before) } else { self.not_before }
    }

    pub(super) fn answered(
        &mut self,
        answer: Result<Answer, Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some((sent, _)) = self.sending.take() else { return };
        match answer {
            Ok(Answer { heartbeat_seconds, want_full }) => {
                let (least, most) = HEARTBEAT_SECONDS.into_inner();
                self.heartbeat = Duration::from_secs(heartbeat_seconds.clamp(least, most));
                // A daemon that always wants the full state gets it once each heartbeat, not in a circle.
                let asked_again = want_full && self.known != Some(sent);
                self.not_before =
                    if asked_again { moment.elapsed + Duration::from_secs(1) } else { Duration::ZERO };
                self.known = (!want_full).then_some(sent);
                self.failures = 0;
                self.next_heartbeat = moment.elapsed + self.heartbeat;
            }
            Err(failed) => {
                self.failures = self.failures.saturating_add(1);
                self.known = None;
                let pause = Pauses::DAEMON.jittered(self.failures, moment.dice);
                self.not_before = moment.elapsed + pause;
                let text = format!(
                    "cannot report: {}; trying again in {:.1} s",
                    failed.message,
                    pause.as_secs_f32()
                );
                effects.push(Effect::Tell(Tell::Problem, text));
            }
        }
    }
}

/// Says in the log what others changed, and what became of it.
fn announce_drift(old: Option<&NodeStatus>, new: &NodeStatus, effects: &mut Vec<Effect>) {
    for (service, differences) in &new.drift {
        let before = old.and_then(|old| old.drift.get(service)).map(Vec::as_slice).unwrap_or_default();
        let is_told = |new: &&Difference| {
            before
                .iter()
                .any(|old| old.is_about_same(new) && (old.since, old.outcome) == (new.since, new.outcome))
        };
        for difference in differences.iter().filter(|difference| !is_told(difference)) {
            let outcome =
                difference.outcome.map(|outcome| format!(": {}", outcome.words())).unwrap_or_default();
            let loud = if difference.is_standing() { Tell::Problem } else { Tell::Progress };
            effects.push(Effect::Tell(
                loud,
                format!("{service} was changed by others: {}{outcome}", difference.line()),
            ));
        }
    }
}

/// Says in the log which steps came to an end, good or bad.
fn announce(old: Option<&NodeStatus>, new: &NodeStatus, effects: &mut Vec<Effect>) {
    announce_drift(old, new, effects);
    for (service, result) in &new.steps {
        let before = old.and_then(|old| old.steps.get(service));
        if before.is_some_and(|before| before.outcome == result.outcome && before.digest == result.digest) {
            continue;
        }
        let message = result.message.as_deref().unwrap_or_default();
        effects.push(match result.outcome {
            StepOutcome::Satisfied => Effect::Tell(Tell::Progress, format!("{service} is as the plan says")),
            StepOutcome::Failed => Effect::Tell(Tell::Problem, format!("{service} failed: {message}")),
            StepOutcome::Waiting => Effect::Tell(Tell::Progress, format!("{service} {message}")),
            // Whoever begins the step says so with its reason.
            StepOutcome::Applying => continue,
        });
    }
}
