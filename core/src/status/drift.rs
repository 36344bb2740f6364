//! What others changed on a node, as its agent tells it: fields of containers that are no longer as they were put in place,
//! and containers that no plan made.
//!
//! Everything here reaches terminals, databases and pull requests. So it is bounded, and a value that looks like a secret
//! is replaced before it becomes one; of the environment not even the values are known here.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ContainerState;
use crate::sensitive::{HIDDEN, Sensitive};

/// Differences that are told of one service. What is more is corrected with the others, and not spelled out.
pub const MAX_DIFFERENCES: usize = 50;
/// Orphans that are told by name. All of them are counted.
pub const MAX_ORPHANS: usize = 200;
/// Bytes of a value that are told.
const MAX_VALUE: usize = 256;

/// The first parts of the paths that a field of a container can have: what `drift.ignore` may name.
pub const SECTIONS: [&str; 15] = [
    "command",
    "container",
    "entrypoint",
    "env",
    "image",
    "labels",
    "mounts",
    "name",
    "networks",
    "ports",
    "resources",
    "restart",
    "security",
    "state",
    "user",
];

/// One thing that is not as it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The container by its name, or the Compose service where it is about all of its containers.
    pub container: Arc<str>,
    /// What of it: `containers`, `container`, `image`, `gitops.config`, `gitops.files`, `state`, `health`, or a path such as
    /// `resources.memory`.
    pub field: Arc<str>,
    /// What it should be; none where there should be no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Arc<str>>,
    /// What it is; none where there is no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Arc<str>>,
    /// What changed it, where Docker tells: `docker update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// Since when it has been so, as the node's clock says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// What the agent does about it; none where it is not the agent who found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<DriftOutcome>,
}

/// What is done about what others changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftOutcome {
    /// It is left: the service says `report`.
    Reported,
    /// It is being made as it was.
    Correcting,
    /// It is made as it was once a window of the service opens.
    WaitingForWindow,
    /// Somebody or something changes it again and again: it is corrected with pauses that grow up to an hour.
    BackingOff,
    /// It was made as it was. Told for an hour.
    Corrected,
    /// It was changed back by others, or there is nothing to undo, as after a restart. Told for an hour.
    Passed,
}

impl DriftOutcome {
    /// Whether it still is as others made it.
    pub fn is_standing(self) -> bool {
        !matches!(self, Self::Corrected | Self::Passed)
    }

    /// In a few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reported => "reported and left",
            Self::Correcting => "being corrected",
            Self::WaitingForWindow => "to be corrected when its window opens",
            Self::BackingOff => {
                "somebody or something changes it again and again; corrected with growing pauses"
            }
            Self::Corrected => "corrected",
            Self::Passed => "passed by itself",
        }
    }
}

impl Difference {
    /// A difference between what is wanted and what is found, with values of bounded length.
    pub fn new(
        container: &str,
        field: &str,
        wanted: Option<impl ToString>,
        found: Option<impl ToString>,
    ) -> Self {
        let [wanted, found] = [wanted.map(|value| value.to_string()), found.map(|value| value.to_string())];
        Self {
            container: container.into(),
            field: field.into(),
            wanted: wanted.map(bounded),
            found: found.map(bounded),
            ..Self::default()
        }
    }

    /// Whether it still is as others made it. What no agent found is.
    pub fn is_standing(&self) -> bool {
        self.outcome.is_none_or(DriftOutcome::is_standing)
    }

    /// In one line: `web-app-1 resources.memory 128 MiB → 64 MiB (docker update)`.
    pub fn line(&self) -> String {
        let side = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("none").to_owned();
        let by = self.by.as_deref().map(|by| format!(" ({by})")).unwrap_or_default();
        let [wanted, found] = [&self.wanted, &self.found].map(side);
        format!("{} {} {wanted} → {found}{by}", self.container, self.field)
    }

    /// Whether both are about the same field of the same container.
    pub fn is_about_same(&self, other: &Self) -> bool {
        (&self.container, &self.field) == (&other.container, &other.field)
    }

    /// Hides values that look like a secret, or stand under a name that says so.
    pub fn redact(&mut self, sensitive: &Sensitive) {
        let (section, key) = self.field.split_once('.').unwrap_or((&self.field, ""));
        let path = [Arc::from(section), Arc::from(key)];
        for value in [&mut self.wanted, &mut self.found].into_iter().flatten() {
            let text = serde_json::Value::String(value.to_string());
            // Of the environment there are no values here, only words.
            if section != "env" && sensitive.hides(&path, &text) {
                *value = HIDDEN.into();
            }
        }
    }
}

/// The first of them, in one line, and how many more there are; none where there is none.
pub fn first_line<'d>(differences: impl IntoIterator<Item = &'d Difference>) -> Option<String> {
    let mut differences = differences.into_iter();
    let first = differences.next()?;
    let outcome = first.outcome.map(|outcome| format!(": {}", outcome.words())).unwrap_or_default();
    let more = match differences.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(first.line() + &outcome + &more)
}

fn bounded(mut text: String) -> Arc<str> {
    if text.len() > MAX_VALUE {
        text.truncate(text.floor_char_boundary(MAX_VALUE));
        text.push('…');
    }
    text.into()
}

/// Containers on a managed node that do not carry a node's label: nobody planned them. They are listed and never touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Orphans {
    /// How many there are.
    pub count: u64,
    /// The first [`MAX_ORPHANS`] of them by name.
    pub containers: Vec<Orphan>,
}

impl Orphans {
    /// Of all these.
    pub fn of(mut containers: Vec<Orphan>) -> Self {
        containers.sort();
        let count = containers.len() as u64;
        containers.truncate(MAX_ORPHANS);
        Self { count, containers }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A container that no plan made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Orphan {
    /// Its name.
    pub name: Arc<str>,
    /// The image reference as Docker lists it.
    pub image: Arc<str>,
    /// What it is doing.
    pub state: ContainerState,
    /// The Compose project that it is of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_like_secrets_are_hidden_and_long_ones_are_cut() {
        let check = |field: &str, value: &str, expected: &str| {
            let mut difference = Difference::new("web", field, Some(value), None::<&str>);
            difference.redact(&Sensitive::default());
            assert_eq!(difference.wanted.as_deref(), Some(expected), "{field}");
        };
        check("labels.build", "7", "7");
        check("labels.api-token", "hunter2", HIDDEN);
        check("command", "serve --password hunter2", HIDDEN);
        check("resources.memory", "128 MiB", "128 MiB");
        check("env.API_TOKEN", "set", "set");
        check("image", &"é".repeat(200), &("é".repeat(128) + "…"));
    }

    #[test]
    fn orphans_are_counted_beyond_those_that_are_named() {
        let orphan = |number| Orphan {
            name: format!("c{number:03}").into(),
            image: "busybox".into(),
            state: ContainerState::Running,
            project: None,
        };
        let orphans = Orphans::of((0..300).rev().map(orphan).collect());
        assert_eq!((orphans.count, orphans.containers.len()), (300, MAX_ORPHANS));
        assert_eq!(&*orphans.containers[0].name, "c000");
    }
}
