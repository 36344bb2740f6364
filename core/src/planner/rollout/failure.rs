//! When a release has failed, and what becomes of the rest of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Entry, Rollout, first_of};
use crate::definition::{Offline, OnFailure};
use crate::name::ServiceName;
use crate::planner::{Situation, UnitState};

/// A release failed, and every node that it touched is to get back what ran before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed, where, and what was said of it.
    pub reason: Arc<str>,
    /// The services.
    pub services: BTreeSet<ServiceName>,
}

impl Rollout<'_> {
    /// Looks at what the release itself brought. What an older one left behind is no failure of this one.
    pub(super) fn find_failures(&mut self) {
        if self.is_undone() {
            return;
        }
        let (mut undoing, mut holding) = (Vec::new(), Vec::new());
        for index in 0..self.entries.len() {
            let verdict = verdict(self.situation, &self.entries[index]);
            match verdict {
                Verdict::Fine { until } => self.permits.look_again(until),
                Verdict::Failed(reason) => match self.entries[index].rules.on_failure() {
                    OnFailure::Rollback => undoing.push((index, reason)),
                    OnFailure::Hold => holding.push(reason),
                    OnFailure::Continue => self.entries[index].blocks = false,
                },
            }
        }
        let services = undoing.iter().map(|(index, _)| self.entries[*index].unit.service.clone()).collect();
        let (undone, held) = (undoing.len(), holding.len());
        if let Some(reason) = first_of(undoing.into_iter().map(|(_, reason)| reason), undone) {
            self.hold_all(&format!("the release failed and is undone: {reason}"));
            self.permits.failure = Some(Failure { reason: reason.into(), services });
        } else if let Some(reason) = first_of(holding.into_iter(), held) {
            self.hold_all(&format!("the release stops where it is: {reason}"));
        }
    }

    fn hold_all(&mut self, reason: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.unit.is_pending()) {
            entry.hold(reason);
        }
    }
}

enum Verdict {
    /// Not yet, at least; by this time it would have.
    Fine {
        until: Option<Timestamp>,
    },
    Failed(String),
}

fn verdict(situation: &Situation<'_>, entry: &Entry<'_>) -> Verdict {
    let unit = entry.unit;
    let name = entry.name();
    match &unit.state {
        UnitState::Failed { message } if entry.is_ours => {
            Verdict::Failed(format!("{name} failed: {message}"))
        }
        UnitState::Pending { .. } if unit.from.is_some() && situation.is_silent(&unit.node) => {
            away(situation, entry, situation.facts.underway.began_at)
        }
        UnitState::UnderWay if entry.is_ours => {
            let key = (unit.node.clone(), unit.service.clone());
            let begun = situation.facts.underway.brought.get(&key).map(|brought| brought.at);
            if situation.is_silent(&unit.node) {
                away(situation, entry, begun)
            } else {
                late(situation, entry, begun)
            }
        }
        _ => Verdict::Fine { until: None },
    }
}

/// On a node that is not heard.
fn away(situation: &Situation<'_>, entry: &Entry<'_>, since: Option<Timestamp>) -> Verdict {
    let Offline::FailAfter(patience) = entry.rules.offline() else { return Verdict::Fine { until: None } };
    let heard_at = situation.reported.nodes.get(&entry.unit.node).map(|last| last.heard_at);
    let patience = jiff::SignedDuration::from_secs(patience.0.into());
    let text = || format!("{}: its node was not heard for {patience:#}", entry.name());
    over(situation, since.max(heard_at).and_then(|since| since.checked_add(patience).ok()), text)
}

/// On a node that is heard, and has had its time.
fn late(situation: &Situation<'_>, entry: &Entry<'_>, since: Option<Timestamp>) -> Verdict {
    let deadline = entry.rules.deadline();
    let text = || format!("{} was not done within {deadline:#}", entry.name());
    over(situation, since.and_then(|since| since.checked_add(deadline).ok()), text)
}

fn over(situation: &Situation<'_>, until: Option<Timestamp>, text: impl Fn() -> String) -> Verdict {
    match until {
        Some(until) if until <= situation.now => Verdict::Failed(text()),
        until => Verdict::Fine { until },
    }
}
