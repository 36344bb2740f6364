//! How many nodes of an environment have something changed at once: what many hosts pull, start and check at the same time
//! is felt by what they share.

use std::collections::{BTreeMap, BTreeSet};

use super::Rollout;
use crate::definition::Amount;
use crate::name::{EnvironmentName, NodeName};
use crate::planner::UnitState;

/// Where nothing is said.
const NODES: Amount = Amount::Count(100);

impl<'a> Rollout<'a> {
    pub(super) fn hold_for_parallel(&mut self) {
        let mut busy = self.busy();
        let mut most: BTreeMap<Option<&EnvironmentName>, usize> = BTreeMap::new();
        let catalog = self.situation.catalog;
        for entry in self.entries.iter_mut().filter(|entry| entry.is_open()) {
            let environment = catalog.environment_of(&entry.unit.node);
            let most = *most.entry(environment).or_insert_with(|| {
                let nodes = catalog.nodes.keys().filter(|node| catalog.environment_of(node) == environment);
                catalog.max_parallel(environment).unwrap_or(NODES).of(nodes.count())
            });
            let busy = busy.entry(environment).or_default();
            if busy.contains(&entry.unit.node) || busy.len() < most {
                busy.insert(&entry.unit.node);
            } else {
                let whose = environment.map_or(String::new(), |name| format!(" of environment `{name}`"));
                entry.hold(format!(
                    "at most {most} nodes{whose} are changed at once: those before it come first"
                ));
            }
        }
    }

    /// The nodes on which something is being changed. One that is not heard does no work, nor one that waits for a window;
    /// and what failed slows only itself.
    fn busy(&self) -> BTreeMap<Option<&'a EnvironmentName>, BTreeSet<&'a NodeName>> {
        let situation = self.situation;
        let mut busy: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for unit in
            self.entries.iter().map(|entry| entry.unit).filter(|unit| unit.state == UnitState::UnderWay)
        {
            let is_shut = || situation.shut(&unit.node, &unit.service).is_some();
            if !situation.is_silent(&unit.node) && !is_shut() {
                let environment = situation.catalog.environment_of(&unit.node);
                busy.entry(environment).or_default().insert(&unit.node);
            }
        }
        busy
    }
}
