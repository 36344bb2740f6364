//! Who touched a container last: the one thing that only Docker's events tell.
//!
//! Of each container the last act of somebody on each part of it is kept, with its time. What Docker does by itself (it dies, it is restarted by
//! its policy) is no act. A container that dies soon after somebody asked it to end was ended; one that dies otherwise ended
//! by itself, and what was done to it before is no longer what explains its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A container that was asked to end and dies within this time ended for that reason: what it takes a grace period to do.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_secs(90);
/// Containers whose last touch is kept, should events name very many.
const MAX_TOUCHES: usize = 1000;

/// What somebody did to a container, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "Docker's own words")]
pub enum Act {
    Update,
    Connect,
    Disconnect,
    Rename,
    Stop,
    Kill,
    Restart,
    Pause,
    Unpause,
    Create,
    Remove,
    /// It runs: by a person's `docker start` or by its restart policy.
    Start,
    /// It ended, whoever wanted that.
    Die,
}

impl Act {
    /// The command that does this.
    pub fn words(self) -> &'static str {
        match self {
            Self::Update => "docker update",
            Self::Connect => "docker network connect",
            Self::Disconnect => "docker network disconnect",
            Self::Rename => "docker rename",
            Self::Stop => "docker stop",
            Self::Kill => "docker kill",
            Self::Restart => "docker restart",
            Self::Pause => "docker pause",
            Self::Unpause => "docker unpause",
            Self::Create => "docker create",
            Self::Remove => "docker rm",
            Self::Start => "docker start",
            Self::Die => "its own end",
        }
    }

    /// Whether a container that does not run any more was asked to.
    pub fn ends(self) -> bool {
        matches!(self, Self::Stop | Self::Kill)
    }

    fn part(self) -> Part {
        match self {
            Self::Update => Part::Limits,
            Self::Connect | Self::Disconnect => Part::Networks,
            Self::Rename => Part::Name,
            Self::Create | Self::Remove => Part::Existence,
            Self::Stop
            | Self::Kill
            | Self::Restart
            | Self::Pause
            | Self::Unpause
            | Self::Start
            | Self::Die => Part::State,
        }
    }
}

/// What of a container an act changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    Limits,
    Networks,
    Name,
    Existence,
    State,
}

impl Part {
    /// The part that a field belongs to; none where no act on a living container changes it.
    fn of(field: &str) -> Option<Self> {
        Some(match field.split_once('.').map_or(field, |(section, _)| section) {
            "resources" | "restart" => Self::Limits,
            "networks" => Self::Networks,
            "name" => Self::Name,
            "container" => Self::Existence,
            "state" => Self::State,
            _ => return None,
        })
    }
}

/// An act on one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Docker's id.
    pub container: Arc<str>,
    /// What.
    pub act: Act,
    /// When, as the engine says.
    pub at: Timestamp,
}

/// The last act on each part of each container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Touches(BTreeMap<Arc<str>, BTreeMap<Part, Last>>);

/// An act and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// What.
    pub act: Act,
    /// When.
    pub at: Timestamp,
}

impl Touches {
    /// The last act on what a field of a container belongs to.
    pub fn of(&self, container: &str, field: &str) -> Option<Last> {
        self.0.get(container)?.get(&Part::of(field)?).copied()
    }

    /// Takes in what happened. Returns whether the last act is another one now.
    pub(super) fn add(&mut self, touch: Touch) -> bool {
        let Touch { container, act, at } = touch;
        let parts = self.0.entry(container).or_default();
        let before = parts.get(&act.part()).copied();
        let is_explained = before.is_some_and(|last| at.duration_since(last.at) <= ENDS_WITHIN);
        let is_new = match (before.map(|last| last.act), act) {
            (Some(Act::Stop | Act::Kill), Act::Die) if is_explained => false,
            // It runs again, or ended by itself: whoever ended or paused it before explains nothing any more.
            (Some(Act::Stop | Act::Kill | Act::Pause), Act::Start | Act::Unpause | Act::Die) => {
                parts.remove(&act.part()).is_some()
            }
            (_, Act::Die | Act::Start | Act::Unpause) => false,
            _ => parts.insert(act.part(), Last { act, at }) != Some(Last { act, at }),
        };
        self.0.retain(|_, parts| !parts.is_empty());
        while self.0.len() > MAX_TOUCHES {
            self.0.pop_first();
        }
        is_new
    }

    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|container, _| is_known(container));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_act_explains_what_is_there_now() {
        let check_of = |field: &str, acts: &[(Act, i64)], expected: Option<Act>| {
            let mut touches = Touches::default();
            for (act, second) in acts {
                let at = Timestamp::from_second(*second).unwrap();
                touches.add(Touch { container: "c".into(), act: *act, at });
            }
            assert_eq!(touches.of("c", field).map(|last| last.act), expected, "{acts:?}");
        };
        let check = |acts: &[(Act, i64)], expected| check_of("state", acts, expected);
        check(&[(Act::Die, 0)], None);
        check(&[(Act::Kill, 0), (Act::Die, 0)], Some(Act::Kill));
        check(&[(Act::Stop, 0), (Act::Die, 10), (Act::Stop, 10)], Some(Act::Stop));
        // A signal that it did not heed, and hours later its own end.
        check(&[(Act::Stop, 0), (Act::Die, 7200)], None);
        check(&[(Act::Stop, 0), (Act::Die, 0), (Act::Start, 5)], None);
        check(&[(Act::Kill, 0), (Act::Die, 0), (Act::Start, 1), (Act::Restart, 1)], Some(Act::Restart));
        check(&[(Act::Pause, 0), (Act::Unpause, 5)], None);
        check_of("container", &[(Act::Kill, 0), (Act::Die, 0), (Act::Remove, 0)], Some(Act::Remove));
        check(&[(Act::Stop, 0), (Act::Die, 0), (Act::Update, 1), (Act::Disconnect, 2)], Some(Act::Stop));
        check_of("resources.memory", &[(Act::Update, 0), (Act::Die, 5), (Act::Start, 6)], Some(Act::Update));
        check_of("labels.team", &[(Act::Update, 0)], None);
    }

    #[test]
    fn touches_are_bounded() {
        let mut touches = Touches::default();
        for number in 0..3000 {
            let container = format!("c{number:05}").into();
            touches.add(Touch { container, act: Act::Update, at: Timestamp::UNIX_EPOCH });
        }
        assert_eq!(touches.0.len(), MAX_TOUCHES);
    }
}
