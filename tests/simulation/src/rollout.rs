//! How releases go, as repositories of stories say it, and what follows from that.
//!
//! What people write is said here a second time, in small: the witness asks this, and never the planner.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::dice::Dice;

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// So many.
    Count(usize),
    /// So many in a hundred.
    Percent(usize),
}

impl Amount {
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.max(1),
            Self::Percent(percent) => (all * percent / 100).max(1),
        }
    }
}

/// What becomes of a release in which an instance fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// It is undone.
    Rollback,
    /// It stops where it is.
    Hold,
    /// It goes on.
    Continue,
}

/// How a release brings a service to its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    wave: u64,
    most: Option<Amount>,
    is_canary: bool,
    soak: u64,
    on_failure: Option<OnFailure>,
    needs_approval: bool,
}

impl Rollout {
    /// Any one, of the service with this number. What depends on others has a greater one, so that no wave is before one that
    /// it waits for.
    pub(crate) fn any(number: usize, dice: &mut Dice) -> Self {
        let amounts = [None, Some(Amount::Count(1)), Some(Amount::Count(2)), Some(Amount::Percent(50))];
        let ways = [OnFailure::Rollback, OnFailure::Rollback, OnFailure::Hold, OnFailure::Continue];
        Self {
            wave: number as u64 / 2,
            most: dice.pick(&amounts),
            is_canary: dice.chance(250),
            soak: dice.pick(&[0, 0, 3, 8]),
            on_failure: Some(dice.pick(&ways)),
            needs_approval: dice.chance(80),
        }
    }

    /// The same, where a failure is undone.
    #[must_use]
    pub(crate) fn undoing(&self) -> Self {
        Self { on_failure: None, needs_approval: false, ..self.clone() }
    }

    /// The same with no limit.
    #[must_use]
    pub(crate) fn limitless(&self) -> Self {
        Self { most: Some(Amount::Percent(100)), ..self.clone() }
    }

    /// How many of `all` instances a release may take away at once.
    pub(crate) fn most_away(&self, all: usize) -> usize {
        self.most.unwrap_or(Amount::Percent(25)).of(all)
    }

    /// Whether it goes on where an instance failed.
    pub(crate) fn goes_on(&self) -> bool {
        self.on_failure == Some(OnFailure::Continue)
    }

    /// As a line of `service.yaml`.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("rollout: {{wave: {}", self.wave);
        let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).expect("a String");
        match self.most {
            Some(Amount::Count(count)) => add(format_args!(", max_unavailable: {count}")),
            Some(Amount::Percent(percent)) => add(format_args!(", max_unavailable: {percent}%")),
            None => {}
        }
        match self.on_failure {
            Some(OnFailure::Rollback) => add(format_args!(", on_failure: rollback")),
            Some(OnFailure::Hold) => add(format_args!(", on_failure: hold")),
            Some(OnFailure::Continue) => add(format_args!(", on_failure: continue")),
            None => {}
        }
        if self.soak > 0 {
            add(format_args!(", soak: {}s", self.soak));
        }
        if self.is_canary {
            add(format_args!(", strategy: canary"));
        }
        if self.needs_approval {
            add(format_args!(", approval: true"));
        }
        line.push_str("}\n");
        line
    }
}

/// Times in which changes may begin, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Changes may not begin in it; else they may in it only.
    denies: bool,
    /// It opens first at this minute of each hour,
    first: u64,
    /// and again after so many minutes each,
    every: u64,
    /// for so many.
    minutes: u64,
    /// The number of the one service that it concerns; none where it concerns all.
    service: Option<usize>,
}

/// A window that opens more rarely is gone when all is to come to its end.
const OFTEN: u64 = 5;

impl Window {
    /// Any one.
    pub(crate) fn any(services: usize, dice: &mut Dice) -> Self {
        let every = dice.pick(&[OFTEN, OFTEN, 10, 60]);
        let denies = dice.chance(700);
        Self {
            denies,
            first: dice.below(every as usize) as u64,
            every,
            minutes: if denies { dice.between(1, 3) } else { dice.between(2, OFTEN - 1) },
            service: dice.chance(500).then(|| dice.below(services)),
        }
    }

    /// Whether it opens so often that nothing waits for long.
    pub(crate) fn is_frequent(&self) -> bool {
        self.every == OFTEN
    }

    /// The service that it names.
    pub(crate) fn service(&self) -> Option<usize> {
        self.service
    }

    /// Whether it keeps a change of a service from beginning at this time.
    pub(crate) fn shuts(&self, service: usize, at: Timestamp) -> bool {
        self.service.is_none_or(|own| own == service) && self.is_open(at) == self.denies
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let minute = u64::try_from(at.as_second()).expect("after 1970") / 60;
        (0..self.minutes).any(|back| ((minute - back) % 60) % self.every == self.first)
    }

    /// As a table of `gitops.toml`; `name` names the service.
    pub(crate) fn table(&self, number: usize, service: Option<String>) -> String {
        let kind = if self.denies { "deny" } else { "allow" };
        let opens = (self.first..60).step_by(self.every as usize).map(|minute| minute.to_string());
        let opens = opens.collect::<Vec<_>>().join(",");
        let services = service.map_or(String::new(), |name| format!("services = [\"{name}\"]\n"));
        format!(
            "\n[[window]]\nname = \"w{number}\"\nkind = \"{kind}\"\ncron = \"{opens} * * * *\"\nduration = \"{}m\"\n{services}reason = \"the story\"\n",
            self.minutes
        )
    }
}
