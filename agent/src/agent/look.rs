//! Looking at Docker: one look at a time, numbered by when it began, soon after whatever may have changed it.

use std::time::Duration;

use crate::moment::{Moment, Pauses};

use super::state::Effect;

/// The machine itself is asked this often; free disk is what changes.
const INFO_EVERY: Duration = Duration::from_secs(300);
/// Every container is asked anew this often, in case an event got lost. In between only what an event names is.
const ANEW_EVERY: Duration = Duration::from_secs(600);
/// What no plan made is listed this often: nothing is done about it.
const ORPHANS_EVERY: Duration = Duration::from_secs(60);

/// When to look.
#[derive(Clone, Debug)]
pub(super) struct Look {
    every: Duration,
    begun: u64,
    looking: bool,
    at: Duration,
    failures: u32,
    asking_info: bool,
    info_at: Duration,
    anew_at: Duration,
    asking_orphans: bool,
    orphans_at: Duration,
}

impl Look {
    pub(super) fn new(every: Duration) -> Self {
        let (at, info_at, orphans_at) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Self {
            every,
            begun: 0,
            looking: false,
            at,
            failures: 0,
            asking_info: false,
            info_at,
            anew_at: ANEW_EVERY,
            asking_orphans: false,
            orphans_at,
        }
    }

    /// Something changed: look as soon as the look that is under way is over.
    pub(super) fn soon(&mut self, moment: Moment) {
        self.by(moment.elapsed);
    }

    /// Look at this time at the latest, but not before a Docker that does not answer has had its pause.
    pub(super) fn by(&mut self, at: Duration) {
        if self.failures == 0 {
            self.at = self.at.min(at);
        }
    }

    /// The number of the next look to begin.
    pub(super) fn next_number(&self) -> u64 {
        self.begun + 1
    }

    pub(super) fn go(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        if !self.looking && self.at <= moment.elapsed {
            self.begun += 1;
            self.looking = true;
            self.at = moment.elapsed + self.every;
            let anew = self.anew_at <= moment.elapsed;
            if anew {
                self.anew_at = moment.elapsed + ANEW_EVERY;
            }
            effects.push(Effect::Observe { anew });
        }
        if !self.asking_info && self.info_at <= moment.elapsed {
            self.asking_info = true;
            self.info_at = moment.elapsed + INFO_EVERY;
            effects.push(Effect::Info);
        }
        if !self.asking_orphans && self.orphans_at <= moment.elapsed {
            self.asking_orphans = true;
            self.orphans_at = moment.elapsed + ORPHANS_EVERY;
            effects.push(Effect::Orphans);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        let info = (!self.asking_info).then_some(self.info_at);
        let look = (!self.looking).then_some(self.at);
        let orphans = (!self.asking_orphans).then_some(self.orphans_at);
        info.into_iter().chain(look).chain(orphans).min()
    }

    /// A look is over. Returns its number if Docker answered. Where Docker stops or begins to answer, the machine
    /// is asked what is the matter.
    pub(super) fn over(&mut self, answered: bool, moment: Moment) -> Option<u64> {
        self.looking = false;
        if answered != (self.failures == 0) {
            self.info_at = moment.elapsed;
        }
        if answered {
            self.failures = 0;
            return Some(self.begun);
        }
        self.failures = self.failures.saturating_add(1);
        self.at = moment.elapsed + Pauses::ENGINE.jittered(self.failures, moment.dice);
        None
    }

    pub(super) fn informed(&mut self) {
        self.asking_info = false;
    }

    pub(super) fn listed_orphans(&mut self) {
        self.asking_orphans = false;
    }
}
