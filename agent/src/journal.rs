//! What was begun and Docker does not tell: which change of each instance, and how the hooks around it ended.
//!
//! It is what makes a hook run once. That it begins is written here, durably, before it does; its container has a name that
//! follows from project, attempt and place, so that whoever comes after a `kill -9` finds it in Docker instead of starting
//! another; how it ended is written here before the container goes. It also tells that a change was begun and not made: going
//! back to what was in place then means to put its files back, too.
//!
//! **Invariant:** bounded. One change for each service of the plan, with the hooks of one attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, Hook};
use serde::{Deserialize, Serialize};

/// The newest change of each service.
pub type Journal = BTreeMap<ServiceName, Change>;

/// A change that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The instance digest that it is to have.
    pub form: Digest,
    /// The attempt that its hooks belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Digest>,
    /// It was healthy, and all that was to run after it ended well: what happens from here on is not part of the change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// Its hooks that were begun, by the name of their containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Arc<str>, HookRun>,
}

impl Change {
    /// The change to `step`, of which nothing was done yet.
    pub fn to(step: &Ensure) -> Self {
        Self { form: step.digest, attempt: step.terms.hooks.attempt, settled: false, hooks: BTreeMap::new() }
    }

    /// Whether it is the change to `step`.
    pub fn is_to(&self, step: &Ensure) -> bool {
        (self.form, self.attempt) == (step.digest, step.terms.hooks.attempt)
    }
}

/// One run of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Around what it runs.
    pub when: When,
    /// The Compose service.
    pub service: Arc<str>,
    /// Seconds after which it is stopped and has failed.
    pub timeout: u32,
    /// How it ended; none while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<HookEnd>,
}

impl HookRun {
    /// `hook migrate`, for people.
    pub fn title(&self) -> String {
        format!("hook {} ({})", self.service, self.when.as_str())
    }
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookEnd {
    /// With exit code 0.
    Done,
    /// Otherwise: in what way, and the last lines that it wrote.
    Failed(String),
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before a container is touched.
    Before,
    /// Once the instance is healthy.
    After,
    /// Once the step has failed.
    OnFailure,
}

impl When {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::OnFailure => "on_failure",
        }
    }

    /// The hooks of a step that run then, in order.
    pub fn hooks(self, step: &Ensure) -> &[Hook] {
        let hooks = &step.terms.hooks;
        match self {
            Self::Before => &hooks.before,
            Self::After => &hooks.after,
            Self::OnFailure => &hooks.on_failure,
        }
    }
}

/// The name of a hook's container: the same for whoever starts it, and another one for each attempt and place.
pub fn container_name(step: &Ensure, when: When, place: usize, hook: &Hook) -> Arc<str> {
    /// Of the attempt, in hexadecimal: 48 bits. It has to differ among the attempts of one project only.
    const DIGITS: usize = 12;
    let attempt = step.terms.hooks.attempt.unwrap_or(step.digest).hex();
    let when = when.as_str().replace('_', "-");
    let attempt = attempt.get(..DIGITS).unwrap_or(&attempt);
    format!("{}-{when}-{}-{}-{attempt}", step.project, place + 1, hook.service).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ensure;

    #[test]
    fn a_name_follows_from_project_attempt_and_place_and_from_nothing_else() {
        let hook = Hook { service: "migrate".into(), timeout: 60 };
        let step = |version: &str, attempt: &str| {
            ensure("web", version).with(|step| step.terms.hooks.attempt = Some(Digest::of(attempt))).0
        };
        let name = |step: &Ensure, when, place| container_name(step, when, place, &hook);
        let first = name(&step("1", "a"), When::Before, 0);
        assert!(first.starts_with("web-before-1-migrate-"), "{first}");
        assert_eq!(name(&step("2", "a"), When::Before, 0), first);
        for other in [
            name(&step("1", "b"), When::Before, 0),
            name(&step("1", "a"), When::OnFailure, 0),
            name(&step("1", "a"), When::Before, 1),
        ] {
            assert_ne!(other, first);
        }
    }
}
