//! Rules about what agents do, and who may speak for a node.

use std::sync::Arc;

use gitops::name::{Digest, Generation, NodeName, ServiceName};
use gitops::plan::{NodePlan, RunState, Step};
use jiff::{SignedDuration, Timestamp};

use super::Witness;
use crate::daemon::HEARTBEAT;
use crate::docker::Change;

/// Who spoke for a node.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    pub(super) machine: usize,
    /// As which agent.
    pub(super) agent: Arc<str>,
    /// Which start of it.
    pub(super) start: u64,
    /// When, by the clock of the daemon.
    pub(super) at: Timestamp,
}

impl Witness {
    pub(super) fn saved(&mut self, machine: usize, plan: &Arc<NodePlan>) {
        let node = self.nodes[machine].clone();
        self.require(3, self.was_stored(&node, plan.digest), || {
            format!("{node} accepted a plan {} that was never stored", plan.generation)
        });
        let before = self.saved.insert(machine, plan.generation).unwrap_or_default();
        self.require(1, before < plan.generation, || {
            format!("the ledger of {node} goes from generation {before} to {}", plan.generation)
        });
    }

    pub(super) fn begun(
        &mut self,
        machine: usize,
        step: &Step,
        generation: Generation,
        ledger: Option<&Arc<NodePlan>>,
    ) {
        let node = self.nodes[machine].clone();
        let service = step.service();
        let before = self.applied.insert(machine, generation).unwrap_or_default();
        self.require(1, before <= generation, || {
            format!("{node} applies generation {generation} after {before}")
        });
        let accepted = ledger.filter(|plan| plan.generation == generation);
        let is_accepted = accepted.is_some_and(|plan| plan.step(service) == Some(step));
        self.require(13, is_accepted, || {
            format!("{node} begins a step for {service} of generation {generation} that is not in its ledger")
        });
        self.require(7, !self.refused.contains(&machine), || {
            format!("the agent on machine {machine} was refused for {node} and begins a step for {service}")
        });
    }

    pub(super) fn changed(&mut self, machine: usize, step: &Step, generation: Generation, change: &Change) {
        if *change == Change::Nothing {
            return;
        }
        let node = self.nodes[machine].clone();
        let service = step.service();
        self.mutated(|| format!("{service} on {node}: {change:?}"));
        let of = |((other, _), plan): (&(NodeName, _), &Arc<NodePlan>)| {
            *other == node && plan.generation == generation && plan.step(service) == Some(step)
        };
        let is_stored = self.plans.iter().any(of);
        let says_so = match (change, step) {
            (Change::Removed, Step::Remove(remove)) => !remove.because.is_empty(),
            (Change::Stopped, Step::Ensure(ensure)) => ensure.state == RunState::Stopped,
            (Change::Replaced | Change::Made, Step::Ensure(_)) => true,
            _ => false,
        };
        self.require(2, is_stored && says_so, || {
            format!("{service} on {node}: {change:?}, which no stored plan says")
        });
    }

    /// What is known of a machine holds for its copy.
    pub(super) fn copied(&mut self, machine: usize, copy: usize) {
        self.applied.extend(self.applied.get(&machine).map(|generation| (copy, *generation)));
        self.saved.extend(self.saved.get(&machine).map(|generation| (copy, *generation)));
        let of = |((other, service), digest): (&(usize, ServiceName), &Option<Digest>)| {
            (*other == machine).then(|| ((copy, service.clone()), *digest))
        };
        let begun: Vec<_> = self.begun.iter().filter_map(of).collect();
        self.begun.extend(begun);
    }

    /// Two agents must not both be let in within one lease, as the daemon's clock has it; but of machines with copies of one
    /// disk that which was started last takes over from those that were started before.
    pub(super) fn heard(&mut self, daemon: usize, node: &NodeName, speaker: Speaker) {
        let lease = SignedDuration::from_millis(i64::try_from(HEARTBEAT * 3).expect("a small number"));
        self.spoke_at.insert(node.clone(), self.now);
        let Some(last) = self.heard.insert((daemon, node.clone()), speaker.clone()) else { return };
        let is_free = last.machine == speaker.machine
            || (last.agent == speaker.agent && last.start < speaker.start)
            || speaker.at.duration_since(last.at) >= lease;
        self.require(7, is_free, || {
            let (one, other) = (last.machine, speaker.machine);
            format!("daemon {daemon} lets machines {one} and {other} both speak for {node}")
        });
    }
}
