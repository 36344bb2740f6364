//! A release that fails, when all was well: every node that it touched comes back to what ran before, or is named as one that
//! is not heard.

use std::sync::Arc;

use gitops::store::Snapshot;
use gitops_core::name::{NodeName, Revision};
use gitops_core::plan::NodePlan;
use gitops_core::release::{Release, Standing, standing};

use crate::clock::Millis;
use crate::ending::well;
use crate::network::Line;
use crate::plot::Trouble;
use crate::world::{Happening, World};

/// The release that fails.
#[derive(Clone, Debug)]
pub(crate) struct Spoiling {
    /// When it was committed.
    pub(crate) since: Millis,
    /// What ran before it.
    before: Revision,
    /// The machine that is cut off meanwhile.
    away: Option<usize>,
}

impl World {
    /// Somebody commits what cannot become well. Returns whether anybody does in this story.
    pub(crate) fn spoil(&mut self) -> bool {
        if !self.plot.is_spoiled || self.spoiling.is_some() {
            return false;
        }
        let before = self.git.head().revision.clone();
        let Some((shape, bad)) = self.git.head().shape.spoiled(&mut self.people) else { return false };
        self.note(|| format!("a release comes that fails: {bad}"));
        let machines = self.plot.nodes;
        let others: Vec<usize> = (0..machines).filter(|node| !shape.is_on(&bad, *node)).collect();
        let away = (!others.is_empty() && self.dice.chance(400)).then(|| self.dice.pick(&others));
        if let Some(machine) = away {
            let pause = self.dice.between(0, 20_000);
            let line = Line { lost: 1_000, ..Line::GOOD };
            self.after(pause, Happening::Befall(Trouble::Line(machine, line, Millis::from(u32::MAX))));
        }
        self.commit(shape);
        if self.dice.chance(400) {
            let (daemon, effects) = (self.dice.below(self.daemons.len()), self.dice.between(0, 40));
            self.befall(Trouble::DoomDaemon(daemon, effects as u32));
        }
        if self.dice.chance(300) {
            let (machine, effects) = (self.dice.below(machines), self.dice.between(0, 30));
            self.befall(Trouble::DoomAgent(machine, effects as u32));
        }
        self.spoiling = Some(Spoiling { since: self.now, before, away });
        true
    }

    /// Whether the release failed, and everything runs as before.
    pub(crate) fn undone(&mut self) -> Result<(), String> {
        let Some(Spoiling { before, away, .. }) = self.spoiling.clone() else { return Ok(()) };
        let facts = self.storage.facts();
        let head = self.git.head().revision.clone();
        let release = facts.release.as_deref().filter(|release| release.release.revision == head);
        let Some(release) = release else { return Err(format!("no release of {head:?} has begun")) };
        if release.failed.is_none() {
            return Err(format!("the release of {head:?} has not failed"));
        }
        let definitions = self.definitions_at(&before);
        let well = well(&definitions);
        for number in (0..self.plot.nodes).filter(|number| Some(*number) != away) {
            self.has_converged(number, &facts, &definitions, &well)?;
        }
        away.map_or(Ok(()), |machine| self.is_named(machine, release, &facts))
    }

    /// A node that is cut off and that the release touched is named.
    fn is_named(&self, machine: usize, release: &Release, facts: &Snapshot) -> Result<(), String> {
        let node = &self.machines[machine].node;
        let is_touched = |plan: &Arc<NodePlan>| plan.revision == release.release.revision;
        if !facts.plans.get(node).is_some_and(is_touched) {
            return Ok(());
        }
        let records = self.storage.plan_records(release.number);
        let told = |number| {
            let views = self.fleet(number).map(|fleet| fleet.nodes).unwrap_or_default();
            match standing(release, release.number, &records, &views) {
                Standing::Undone { unreachable } => names(&unreachable, node),
                other => Err(format!("{node} is cut off, and the release stands as {other:?}")),
            }
        };
        (0..self.daemons.len()).try_for_each(told)
    }
}

fn names(unreachable: &std::collections::BTreeSet<NodeName>, node: &NodeName) -> Result<(), String> {
    match unreachable.contains(node) {
        true => Ok(()),
        false => Err(format!("{node} is cut off, and only {unreachable:?} are named")),
    }
}
