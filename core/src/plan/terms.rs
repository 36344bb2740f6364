//! The terms of a step: how it is carried out, beside what should be true in the end.
//!
//! None of it is part of the instance digest: a step whose terms alone change is a new form of the step, for which the agent
//! touches no container. Everything here is fully specified by the planner, so that the agent makes no choice: what it asks
//! of an instance beside what Docker reports, what it runs around a change, when it may begin one, and what it does about
//! what others change.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::Digest;

/// How a step is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Terms {
    /// Which wave of a release it belongs to. What goes, goes in the order of these backwards.
    #[serde(skip_serializing_if = "is_zero")]
    pub wave: i32,
    /// What is asked of a running instance beside what Docker reports. All must pass for it to be healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
    /// What runs around a change.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// What is done about a container that others changed.
    #[serde(skip_serializing_if = "DriftTerms::is_default")]
    pub drift: DriftTerms,
    /// How often a change that the host refuses is tried again; none where its first failure is its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// A change may only begin within one of these, in order; none where it may at any time. Healing what is in place is
    /// no change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
}

impl Terms {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether both ask for the same of the agent, whichever attempt it is, and whenever it may begin.
    pub fn same_effect(&self, other: &Self) -> bool {
        let Self { wave: _, checks, hooks, drift, retries: _, spans: _ } = self;
        (checks, drift) == (&other.checks, &other.drift) && hooks.same_effect(&other.hooks)
    }
}

/// How often a change that the host refuses is tried again before it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retries {
    /// So often.
    pub number: u32,
    /// Seconds before the first; each next pause is twice as long, up to five minutes.
    pub pause: u32,
}

pub(super) fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// From a time on, and until just before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The first moment in it.
    #[schemars(with = "String")]
    pub from: Timestamp,
    /// The first moment after it.
    #[schemars(with = "String")]
    pub until: Timestamp,
}

impl Span {
    /// Whether a moment is in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// Whether what may only begin within one of `spans` may begin at `now`. Where there is none, it may at any time.
    pub fn allow(spans: &[Self], now: Timestamp) -> bool {
        spans.is_empty() || spans.iter().any(|span| span.contains(now))
    }

    /// Whether none of `spans` is left at `now`, so that what has not begun never will.
    pub fn are_over(spans: &[Self], now: Timestamp) -> bool {
        spans.last().is_some_and(|last| last.until <= now)
    }

    /// Whether both say the same of every moment from `now` on of which both say anything.
    pub fn agree(one: &[Self], other: &[Self], now: Timestamp) -> bool {
        let (Some(last), Some(other_last)) = (one.last(), other.last()) else {
            return one.is_empty() == other.is_empty();
        };
        let until = last.until.min(other_last.until);
        let cut = |span: &Self| Self { from: span.from.max(now), until: span.until.min(until) };
        let left = |spans: &[Self]| -> Vec<Self> {
            spans.iter().map(cut).filter(|span| span.from < span.until).collect()
        };
        left(one) == left(other)
    }

    /// When it may begin next: none where it may now, and where no span is left.
    pub fn next(spans: &[Self], now: Timestamp) -> Option<Timestamp> {
        let is_closed = !Self::allow(spans, now);
        spans.iter().map(|span| span.from).find(|from| is_closed && *from > now)
    }
}

/// A question that the agent asks a running instance again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthCheck {
    /// What it is called in messages; unique within the service.
    pub name: Arc<str>,
    /// The Compose service whose containers are asked, each of them.
    pub container: Arc<str>,
    /// What is asked.
    pub probe: Probe,
    /// Seconds from one answer to the next question.
    pub interval: u32,
    /// Seconds after which no answer is a bad one.
    pub timeout: u32,
    /// So many good answers in a row make it healthy.
    pub healthy_after: u32,
    /// So many bad ones in a row make it unhealthy.
    pub unhealthy_after: u32,
}

/// What is asked of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A `GET` over HTTP to the container.
    Http {
        /// The port in the container.
        port: u16,
        /// Path and query, from `/`.
        path: Arc<str>,
        /// The status that is a good answer, or its first digit as `2xx`; `2xx` and `3xx` where none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Arc<str>>,
        /// Text that must be in the first 64 KiB of the body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Arc<str>>,
    },
    /// A TCP connection to the container that is accepted.
    Tcp {
        /// The port in the container.
        port: u16,
    },
    /// A command in the container that ends with 0.
    Exec {
        /// The program and its arguments. No shell is in between.
        command: Vec<Arc<str>>,
    },
}

/// One-shot Compose services that run around a change of the instance, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Hooks {
    /// Before anything is touched. Where one fails, nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// Once it is healthy. Where one fails, the step has failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
    /// Once the step has failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Hook>,
    /// Of what their services are made from: they are part of the model, and of no instance digest. None where there is no
    /// hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Names the attempt that they belong to: each runs once for it on a node, however often the agent starts over. None
    /// where there is no hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Digest>,
}

impl Hooks {
    /// Whether there is no hook.
    pub fn is_empty(&self) -> bool {
        let Self { before, after, on_failure, content: _, attempt: _ } = self;
        before.is_empty() && after.is_empty() && on_failure.is_empty()
    }

    fn same_effect(&self, other: &Self) -> bool {
        let Self { before, after, on_failure, content, attempt: _ } = self;
        (before, after, on_failure, content)
            == (&other.before, &other.after, &other.on_failure, &other.content)
    }

    /// The Compose services that are hooks: they are no part of what runs.
    pub fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        let hooks = self.before.iter().chain(&self.after).chain(&self.on_failure);
        hooks.map(|hook| &hook.service)
    }
}

/// A one-shot Compose service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// The Compose service.
    pub service: Arc<str>,
    /// Seconds after which it is stopped and has failed.
    pub timeout: u32,
}

/// What is done about a container that others changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DriftTerms {
    /// What is done.
    pub action: DriftAction,
    /// Fields that do not count, as paths of the picture that the agent keeps: `resources.memory`, `labels.build`. A `*`
    /// stands for any one key, and a path that ends early for everything under it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Arc<str>>,
}

impl DriftTerms {
    /// Whether a field of a container does not count. The first part of its path is before the first dot, and the rest is
    /// one key: names of labels have dots in them.
    pub fn ignores(&self, field: &str) -> bool {
        let (section, key) = parts(field);
        self.ignore.iter().map(|path| parts(path)).any(|(ignored, within)| {
            (ignored == "*" || ignored == section) && (within.is_empty() || within == "*" || within == key)
        })
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn parts(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// What is done about drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftAction {
    /// It is told, and left.
    Report,
    /// It is told, and made as it was.
    #[default]
    Correct,
    /// It is told, and made as it was within the windows in which the service may be changed.
    CorrectInWindow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_begins_within_a_span_only_and_at_any_time_where_there_is_none() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let span = |from, until| Span { from: at(from), until: at(until) };
        let check = |spans: &[Span], now, may, opens: Option<i64>| {
            let found = (Span::allow(spans, at(now)), Span::next(spans, at(now)));
            assert_eq!(found, (may, opens.map(at)), "{now}");
        };
        check(&[], 5, true, None);
        let spans = [span(10, 20), span(30, 40)];
        check(&spans, 9, false, Some(10));
        check(&spans, 10, true, None);
        check(&spans, 20, false, Some(30));
        check(&spans, 39, true, None);
        check(&spans, 40, false, None);
    }

    #[test]
    fn a_path_that_is_ignored_covers_what_is_under_it_and_a_star_any_one_key() {
        let check = |path: &str, field: &str, expected: bool| {
            let terms = DriftTerms { ignore: vec![path.into()], ..DriftTerms::default() };
            assert_eq!(terms.ignores(field), expected, "{path} of {field}");
        };
        check("resources.memory", "resources.memory", true);
        check("resources.memory", "resources.memory_swap", false);
        check("resources", "resources.memory", true);
        check("labels.*", "labels.com.example.build", true);
        check("labels.com.example.build", "labels.com.example.build", true);
        check("labels.com", "labels.com.example.build", false);
        check("*.memory", "resources.memory", true);
        check("image", "image", true);
        check("image", "name", false);
        assert!(!DriftTerms::default().ignores("image"));
    }
}
