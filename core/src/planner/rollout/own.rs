//! Why a change may not begin for reasons of its own, whatever else goes on.

use jiff::Timestamp;

use super::{Entry, Rollout};
use crate::decision::{Held, Hold, Part};
use crate::definition::{Offline, WindowKind};
use crate::diff;
use crate::planner::{Situation, ensure};

/// A reason, and whether what comes after it in the release waits as well.
struct Reason {
    text: String,
    blocks: bool,
}

impl Reason {
    /// What comes after it waits, too.
    fn blocking(text: impl Into<String>) -> Self {
        Self { text: text.into(), blocks: true }
    }

    /// It is left out, and the release goes on.
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), blocks: false }
    }
}

impl Rollout<'_> {
    pub(super) fn hold_for_own_reasons(&mut self) {
        let situation = self.situation;
        for entry in &mut self.entries {
            if entry.unit.is_pending() && !entry.is_open() {
                continue;
            }
            let closed = closed(situation, entry);
            self.permits.look_again(closed.as_ref().and_then(|closed| closed.until));
            let reason = || reason(situation, entry, closed);
            if let Some(reason) = entry.is_open().then(reason).flatten() {
                entry.blocks &= reason.blocks;
                entry.hold(reason.text);
            }
        }
        let ends = situation.facts.decisions.holds.iter().filter_map(|hold| hold.until);
        self.permits.look_again(ends.filter(|end| *end > situation.now).min());
    }
}

fn reason(situation: &Situation<'_>, entry: &Entry<'_>, closed: Option<Closed>) -> Option<Reason> {
    let unit = entry.unit;
    let holds = || situation.facts.decisions.holds.iter().find_map(|hold| held(situation, entry, hold));
    let shut = || closed.map(|closed| Reason::blocking(closed.why));
    if let Some(undo) = &situation.facts.underway.undo {
        let is_undone = undo.of(&unit.node, &unit.service).is_some();
        let text = || format!("its release failed: {}; `gitops retry` begins it again", undo.reason);
        return match is_undone {
            true => holds().or_else(|| silent(situation, entry)).or_else(shut),
            false => Some(Reason::passing(text())),
        };
    }
    let granted = || {
        let instance = entry.instance?;
        ensure::ended_grant(situation, instance).map(Reason::passing)
    };
    let depends = || {
        let gate = ensure::gate(situation, &unit.node, entry.instance?)?;
        // What it depends on comes first, also where that is of a later wave: then its own does not wait for it.
        Some(Reason { blocks: gate.wave <= entry.wave, text: gate.text })
    };
    let own = || granted().or_else(|| recreation(situation, entry)).or_else(|| silent(situation, entry));
    holds().or_else(own).or_else(shut).or_else(depends)
}

/// Containers would be made anew that must not be.
fn recreation(situation: &Situation<'_>, entry: &Entry<'_>) -> Option<Reason> {
    let old = situation.plans.get(&entry.unit.node)?.step(&entry.unit.service)?.as_ensure()?;
    let container = diff::forbidden(old, entry.instance?).into_iter().next()?;
    Some(Reason::passing(format!(
        "`recreate: never` of its roll-out: container `{container}` would be made anew"
    )))
}

/// No window is open in which something may change.
struct Closed {
    why: String,
    until: Option<Timestamp>,
}

fn closed(situation: &Situation<'_>, entry: &Entry<'_>) -> Option<Closed> {
    let unit = entry.unit;
    let (by, until) = situation.shut(&unit.node, &unit.service)?;
    let opens = until.map_or(String::new(), |until| format!(" until {until}"));
    let why = match by.kind {
        WindowKind::Deny => format!("window `{}` denies changes{opens}: {}", by.name, by.reason),
        WindowKind::Allow => format!("window `{}` is closed{opens}: {}", by.name, by.reason),
    };
    Some(Closed { why, until })
}

/// A person decided it.
fn held(situation: &Situation<'_>, entry: &Entry<'_>, hold: &Hold) -> Option<Reason> {
    let unit = entry.unit;
    let applies = match &hold.what {
        Held::Lock => true,
        Held::Suspend { on: Part::Service(service) } => *service == unit.service,
        Held::Suspend { on: Part::Node(node) } => *node == unit.node,
        Held::Suspend { on: Part::Environment(environment) } => {
            situation.catalog.environment_of(&unit.node) == Some(environment)
        }
        Held::Pin { .. } | Held::Cordon { .. } | Held::Drain { .. } => false,
    };
    let is_held = applies && hold.is_in_force(situation.now);
    is_held.then(|| match &hold.what {
        Held::Lock => Reason::blocking(format!("locked by {}: {}", hold.owner, hold.reason)),
        _ => Reason::passing(format!("suspended by {}: {}", hold.owner, hold.reason)),
    })
}

/// What runs on a node that is not heard is left alone until it is back: when it comes, it would be one more that is away.
/// What is new there may be planned, and what goes.
fn silent(situation: &Situation<'_>, entry: &Entry<'_>) -> Option<Reason> {
    entry.unit.from.and(entry.unit.to).filter(|_| situation.is_silent(&entry.unit.node))?;
    let node = &entry.unit.node;
    Some(match entry.rules.offline() {
        Offline::Skip => Reason::passing(format!("node {node} is not heard: it follows when it is back")),
        Offline::Wait | Offline::FailAfter(_) => {
            Reason::blocking(format!("node {node} is not heard, and the release waits for it"))
        }
    })
}
