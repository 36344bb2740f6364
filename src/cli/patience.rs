//! Commands that go on until interrupted outlive the daemon: they say once that it is away, and try again.

use std::time::Duration;

use super::error::CliError;

/// Between tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the daemon answers, as far as the user was told.
#[derive(Debug, Default)]
pub(super) struct Patience {
    has_answered: bool,
    is_away: bool,
}

impl Patience {
    /// The daemon answered.
    pub(super) fn answered(&mut self) {
        if self.is_away {
            anstream::eprintln!("the daemon answers again");
        }
        (self.has_answered, self.is_away) = (true, false);
    }

    /// The daemon ended a stream that has no end, which it does when it stops.
    pub(super) async fn ended(&mut self) {
        self.tell("the daemon went away");
        tokio::time::sleep(PAUSE).await;
    }

    /// A request failed. Returns after a pause where it can be tried again.
    ///
    /// # Errors
    ///
    /// The failure itself where time does not mend it, or where the daemon has never answered: then its address is
    /// more likely wrong than the daemon away.
    pub(super) async fn failed(&mut self, error: CliError) -> Result<(), CliError> {
        match &error {
            CliError::Unreachable { .. } | CliError::Later { .. } if self.has_answered => {
                self.tell(&error.to_string());
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn tell(&mut self, what: &str) {
        if !self.is_away {
            anstream::eprintln!("{what}; trying again until it answers");
        }
        self.is_away = true;
    }
}
