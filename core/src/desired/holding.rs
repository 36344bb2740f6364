//! What every instance holds of its node, whether or not anything could run out there.
//!
//! Placement looks only at what is in play. Quotas, costs and `gitops capacity` count everything, and find out what the
//! other instances take when they first ask: the answer stays with the instance for as long as that stands.

use super::{Desired, Instance, placing};
use crate::name::NodeName;
use crate::place::{Demand, Held, Placed, demand};

impl Instance {
    /// What it takes of its node.
    pub fn takes(&self) -> &Demand {
        self.takes.get_or_init(|| {
            let resources = &self.deployment().service.resources;
            demand::of(resources, &self.ensure.model, Vec::new())
        })
    }

    /// What it holds of a node that nothing was reserved on for it.
    fn holds(&self) -> Held {
        let Demand { cpu, memory, disk, gpus, .. } = self.takes();
        let count = gpus.as_ref().map(|gpus| (0, gpus.count.unwrap_or(1)));
        Held { cpu: *cpu, memory: *memory, disk: *disk, gpus: count.into_iter().collect(), slot: None }
    }
}

impl Desired {
    /// What an instance holds of its node.
    pub fn held(&self, node: &NodeName, instance: &Instance) -> Held {
        let id = placing::id(&instance.entry, instance.deployment());
        let reserved = self.placing.placed.chosen.get(&id).and_then(|nodes| nodes.get(node));
        reserved.cloned().unwrap_or_else(|| instance.holds())
    }

    /// What everything on these nodes holds.
    pub fn held_on<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeName>) -> Placed {
        let mut all = Placed::default();
        for node in nodes {
            for instance in self.nodes.get(node).into_iter().flat_map(|instances| instances.iter()) {
                let id = placing::id(&instance.entry, instance.deployment());
                let held = self.held(node, instance);
                all.reserved.entry(node.clone()).or_default().add(&id, &held);
                all.chosen.entry(id).or_default().insert(node.clone(), held);
            }
        }
        all
    }
}
