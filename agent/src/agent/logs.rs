//! Handing logs over: at once when something was written and nothing is on its way, but not more often than each
//! second; after a failure with growing pauses, for ever. What is handed over lies on the disk.

use std::time::Duration;

use super::state::{Effect, Failed, Tell};
use crate::moment::{Moment, Pauses};

/// Between two pieces: Compose prints a line for each container and state.
const EVERY: Duration = Duration::from_secs(1);

/// Where the handing over stands.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    /// There may be lines that the daemon does not have.
    unsent: bool,
    sending: bool,
    failures: u32,
    not_before: Duration,
}

impl Logs {
    /// An earlier process may have left some.
    pub(super) fn new() -> Self {
        Self { unsent: true, sending: false, failures: 0, not_before: Duration::ZERO }
    }

    /// Something was written.
    pub(super) fn wrote(&mut self) {
        self.unsent = true;
    }

    pub(super) fn go(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        if self.unsent && !self.sending && self.not_before <= moment.elapsed {
            (self.unsent, self.sending) = (false, true);
            effects.push(Effect::SendLogs);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        (self.unsent && !self.sending).then_some(self.not_before)
    }

    /// A piece is with the daemon, and there is more or not; or it could not be handed over.
    pub(super) fn answered(
        &mut self,
        answer: Result<bool, Failed>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.sending = false;
        match answer {
            Ok(more) => {
                self.unsent |= more;
                self.failures = 0;
                self.not_before = moment.elapsed + EVERY;
            }
            Err(failed) => {
                self.unsent = true;
                self.failures = self.failures.saturating_add(1);
                self.not_before = moment.elapsed + Pauses::DAEMON.jittered(self.failures, moment.dice);
                // That the daemon is away is said by others; once is enough where it is only this.
                if self.failures == 1 {
                    let text = format!("cannot hand over the log of what was done: {}", failed.message);
                    effects.push(Effect::Tell(Tell::Problem, text));
                }
            }
        }
    }
}
