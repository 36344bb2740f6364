//! How a release brings a service to its nodes: in which order, how many at a time, and what happens when it fails.

use std::borrow::Cow;
use std::fmt;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::seconds::Seconds;
use super::selector::Selector;
use crate::plan::Retries;

/// How a release brings a service to its nodes. What a service does not give, its environment gives, then `[rollout]` of
/// `gitops.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// Its place in the order of a release over the whole fleet: a wave begins when those with a smaller number are done.
    /// Default: `0`.
    pub wave: Option<i32>,
    /// `rolling`: some instances at a time; or `canary`: first the first of `steps`, and the rest when that stood its
    /// time. Default: `canary` where there are `steps`, else `rolling`.
    pub strategy: Option<Strategy>,
    /// How many instances of the service may be away at once because of a release: a number, or a part such as `25%`, of
    /// which at least one may. Default: `25%`.
    pub max_unavailable: Option<Amount>,
    /// The instances in parts, one after the other; together they must be all. Default with `canary`: one instance, then
    /// all others.
    pub steps: Option<Vec<RolloutStep>>,
    /// How long instances must stay healthy before the next step begins, and before the release is done.
    pub soak: Option<Seconds>,
    /// What happens when an instance fails: `rollback`: every node that the release touched gets back what ran before;
    /// `hold`: the release stops where it is; `continue`: it goes on. Default: `rollback`.
    pub on_failure: Option<OnFailure>,
    /// `true`: each release that changes the service waits for `gitops approve`.
    pub approval: Option<bool>,
    /// The time in which a node must have done a change of it; later is a failure. Default: `30m`.
    pub deadline: Option<Seconds>,
    /// A node that is not heard: `skip`: the others go on without it, and it follows when it is back; `wait`: the release
    /// waits for it; or a time such as `10m`, after which the release fails. Default: `skip`.
    pub offline: Option<Offline>,
    /// Whether a change makes containers anew: `auto`: those that Docker cannot change as they are; `always`: all of the
    /// instance, whatever of it changed; `never`: a change that would is held back. Default: `auto`.
    pub recreate: Option<Recreate>,
    /// How often a change that Docker refuses is tried again before it has failed. Default: `0`.
    pub retries: Option<u32>,
    /// The pause before the first of `retries`; each next one is twice as long, up to five minutes. Default: `5s`.
    pub backoff: Option<Seconds>,
}

/// In which way instances are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Some at a time.
    Rolling,
    /// A few first.
    Canary,
}

/// What happens when an instance fails in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Everything that the release did is undone.
    Rollback,
    /// Nothing more is begun.
    Hold,
    /// It goes on.
    Continue,
}

/// Whether a change makes containers anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recreate {
    /// Those that Docker cannot change as they are.
    #[default]
    Auto,
    /// All of the instance.
    Always,
    /// None: the change waits.
    Never,
}

/// A part of the instances of a service. One of the two must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutStep {
    /// Those on nodes with these labels.
    pub nodes: Option<Selector>,
    /// So many of all, with those of the steps before: a number, or a part such as `25%`.
    pub instances: Option<Amount>,
}

/// A number of instances, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many in a hundred.
    Percent(u32),
}

impl Amount {
    /// How many of `all` that is, rounded down; at least one, where there is any.
    pub fn of(self, all: usize) -> usize {
        let wanted = match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => all.saturating_mul(percent as usize) / 100,
        };
        wanted.clamp(1, all.max(1))
    }
}

/// What a release does about a node that is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// It goes on without it.
    Skip,
    /// It waits for it.
    Wait,
    /// It fails when the node is away for so long.
    FailAfter(Seconds),
}

impl Rollout {
    /// What is given here, and else what `base` gives.
    #[must_use]
    pub fn or(self, base: &Self) -> Self {
        Self {
            wave: self.wave.or(base.wave),
            strategy: self.strategy.or(base.strategy),
            max_unavailable: self.max_unavailable.or(base.max_unavailable),
            steps: self.steps.or_else(|| base.steps.clone()),
            soak: self.soak.or(base.soak),
            on_failure: self.on_failure.or(base.on_failure),
            approval: self.approval.or(base.approval),
            deadline: self.deadline.or(base.deadline),
            offline: self.offline.or(base.offline),
            recreate: self.recreate.or(base.recreate),
            retries: self.retries.or(base.retries),
            backoff: self.backoff.or(base.backoff),
        }
    }

    /// Its place in the order of a release.
    pub fn wave(&self) -> i32 {
        self.wave.unwrap_or_default()
    }

    /// How many of `all` instances may be away at once.
    pub fn max_unavailable(&self, all: usize) -> usize {
        self.max_unavailable.unwrap_or(Amount::Percent(25)).of(all)
    }

    /// The parts of its instances, in order; none where all are one part.
    pub fn steps(&self) -> Vec<RolloutStep> {
        let part = |instances| RolloutStep { instances: Some(instances), nodes: None };
        match (&self.steps, self.strategy) {
            (Some(steps), None | Some(Strategy::Canary)) => steps.clone(),
            (None, Some(Strategy::Canary)) => vec![part(Amount::Count(1)), part(Amount::Percent(100))],
            (_, Some(Strategy::Rolling)) | (None, None) => Vec::new(),
        }
    }

    /// How long instances must stay healthy.
    pub fn soak(&self) -> SignedDuration {
        SignedDuration::from_secs(self.soak.map_or(0, |soak| soak.0.into()))
    }

    /// What happens when an instance fails.
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure.unwrap_or(OnFailure::Rollback)
    }

    /// The time in which a node must have done a change.
    pub fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.deadline.map_or(30 * 60, |deadline| deadline.0.into()))
    }

    /// Whether a change makes containers anew.
    pub fn recreate(&self) -> Recreate {
        self.recreate.unwrap_or_default()
    }

    /// How often a change is tried again; none where its first failure is its last.
    pub fn retries(&self) -> Option<Retries> {
        let number = self.retries.filter(|number| *number > 0)?;
        Some(Retries { number, pause: self.backoff.map_or(5, |backoff| backoff.0) })
    }

    /// What it does about a node that is not heard.
    pub fn offline(&self) -> Offline {
        self.offline.unwrap_or(Offline::Skip)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 1, or a part such as `25%`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Amount, E> {
                let count = u32::try_from(count).ok().filter(|count| *count > 0);
                let count =
                    count.ok_or_else(|| E::custom("at least one instance, or a part such as `25%`"))?;
                Ok(Amount::Count(count))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Amount, E> {
                self.visit_u64(u64::try_from(count).unwrap_or_default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                if let Ok(count) = text.parse() {
                    return self.visit_u64(count);
                }
                let percent = text.strip_suffix('%').and_then(|digits| digits.trim().parse().ok());
                let percent = percent.filter(|percent| (1..=100).contains(percent));
                let mistake = || E::custom(format_args!("`{text}` is no number and no part such as `25%`"));
                percent.map(Amount::Percent).ok_or_else(mistake)
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": [1, "25%"] })
    }
}

impl<'de> Deserialize<'de> for Offline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfflineVisitor;

        impl Visitor<'_> for OfflineVisitor {
            type Value = Offline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`skip`, `wait` or a time such as `10m`")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Offline, E> {
                Seconds::deserialize(de::value::U64Deserializer::new(seconds)).map(Offline::FailAfter)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Offline, E> {
                Seconds::deserialize(de::value::I64Deserializer::new(seconds)).map(Offline::FailAfter)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Offline, E> {
                match text {
                    "skip" => Ok(Offline::Skip),
                    "wait" => Ok(Offline::Wait),
                    _ => {
                        let time = Seconds::deserialize(de::value::StrDeserializer::<E>::new(text));
                        let mistake = |_| {
                            E::custom(format_args!("`{text}` is not `skip`, `wait` or a time such as `10m`"))
                        };
                        time.map(Offline::FailAfter).map_err(mistake)
                    }
                }
            }
        }

        deserializer.deserialize_any(OfflineVisitor)
    }
}

impl JsonSchema for Offline {
    fn schema_name() -> Cow<'static, str> {
        "Offline".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["skip", "wait", "10m"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_are_read_as_people_write_them() {
        let check = |yaml: &str, expected: Option<Rollout>| {
            assert_eq!(serde_yaml::from_str::<Rollout>(yaml).ok(), expected, "{yaml}");
        };
        let amount = |amount| Some(Rollout { max_unavailable: Some(amount), ..Rollout::default() });
        check("max_unavailable: 2", amount(Amount::Count(2)));
        check("max_unavailable: 25%", amount(Amount::Percent(25)));
        check("max_unavailable: 0", None);
        check("max_unavailable: -1", None);
        check("max_unavailable: 101%", None);
        check("max_unavailable: few", None);
        let offline = |offline| Some(Rollout { offline: Some(offline), ..Rollout::default() });
        check("offline: wait", offline(Offline::Wait));
        check("offline: skip", offline(Offline::Skip));
        check("offline: 10m", offline(Offline::FailAfter(Seconds(600))));
        check("offline: 90", offline(Offline::FailAfter(Seconds(90))));
        check("offline: maybe", None);
        check("recreate: sometimes", None);
        check("retries: -1", None);
        let retries = |retries, backoff| Some(Rollout { retries, backoff, ..Rollout::default() });
        check("{retries: 3, backoff: 1m}", retries(Some(3), Some(Seconds(60))));
    }

    #[test]
    fn what_is_tried_again_says_so() {
        let check = |yaml: &str, expected: Option<(u32, u32)>| {
            let rollout: Rollout = serde_yaml::from_str(yaml).expect("a roll-out");
            let retries = rollout.retries().map(|retries| (retries.number, retries.pause));
            assert_eq!(retries, expected, "{yaml}");
        };
        check("{}", None);
        check("retries: 0", None);
        check("backoff: 1m", None);
        check("retries: 2", Some((2, 5)));
        check("{retries: 2, backoff: 30s}", Some((2, 30)));
    }

    #[test]
    fn a_part_is_rounded_down_and_never_nothing() {
        let check =
            |amount: Amount, all, expected| assert_eq!(amount.of(all), expected, "{amount:?} of {all}");
        check(Amount::Percent(25), 3, 1);
        check(Amount::Percent(25), 8, 2);
        check(Amount::Percent(100), 7, 7);
        check(Amount::Count(3), 2, 2);
        check(Amount::Count(3), 0, 1);
    }
}
