//! What every instance holds of its node, whether or not anything could run out there.
//!
//! Placement looks only at what is in play. Quotas, costs and `gitops capacity` count everything, and find out what the
//! other instances take when they first ask: the answer stays with the instance for as long as that stands.

use std::collections::BTreeMap;

use super::{Desired, Instance, ServiceInstances, placing};
use crate::name::NodeName;
use crate::place::{Demand, Held, Id, Placed, demand};

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
    /// What an instance of a service holds of its node.
    pub fn held(&self, service: &ServiceInstances, node: &NodeName, instance: &Instance) -> Held {
        let id = placing::id(&service.entry, instance.deployment());
        let reserved = self.placing.placed.chosen.get(&id).and_then(|nodes| nodes.get(node));
        reserved.cloned().unwrap_or_else(|| instance.holds())
    }

    /// What everything holds.
    pub fn all_held(&self) -> Placed {
        let mut all = (*self.placing.placed).clone();
        for service in self.services.values() {
            let mut missing: BTreeMap<Id, BTreeMap<NodeName, Held>> = BTreeMap::new();
            for (node, instance) in &service.instances {
                let id = placing::id(&service.entry, instance.deployment());
                let is_known = self.placing.placed.chosen.get(&id).is_some_and(|nodes| nodes.contains_key(node));
                if !is_known {
                    let held = instance.holds();
                    all.reserved.entry(node.clone()).or_default().add(&id, &held);
                    missing.entry(id).or_default().insert(node.clone(), held);
                }
            }
            for (id, nodes) in missing {
                all.chosen.entry(id).or_default().extend(nodes);
            }
        }
        all
    }
}
