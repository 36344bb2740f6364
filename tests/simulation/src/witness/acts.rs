//! Rules about what agents do, and who may speak for a node.

use std::sync::Arc;

use gitops_core::name::{Digest, Generation, NodeName, ServiceName};
use gitops_core::plan::{NodePlan, RunState, Span, Step};
use jiff::{SignedDuration, Timestamp};

use super::Witness;
use crate::clock::Millis;
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
    /// When it asked, by the clock of the daemon.
    pub(super) at: Timestamp,
    /// The same in the time of the world, which goes on also where that clock does not.
    pub(super) asked: Millis,
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
        at: Timestamp,
    ) {
        let node = self.nodes[machine].clone();
        let service = step.service();
        let before = self.applied.insert(machine, generation).unwrap_or_default();
        self.require(1, before <= generation, || {
            format!("{node} applies generation {generation} after {before}")
        });
        let accepted = ledger.filter(|plan| plan.generation == generation);
        let wanted = accepted.and_then(|plan| plan.step(service));
        let is_meant =
            wanted.is_some_and(|wanted| wanted == step || self.stands_in(machine, step, wanted, at));
        self.require(13, is_meant, || {
            format!("{node} begins a step for {service} of generation {generation} that is not in its ledger")
        });
        self.require(7, !self.refused.contains(&machine), || {
            format!("the agent on machine {machine} was refused for {node} and begins a step for {service}")
        });
    }

    /// Whether a step heals what was begun last, while the window of another form of it is shut.
    fn stands_in(&self, machine: usize, step: &Step, wanted: &Step, at: Timestamp) -> bool {
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        let last = self.begun.get(&(machine, step.service().clone())).copied();
        digest.is_some() && last == Some(digest) && !Span::allow(wanted.spans(), at)
    }

    pub(super) fn changed(&mut self, machine: usize, step: &Step, generation: Generation, change: &Change) {
        if *change == Change::Nothing {
            return;
        }
        let node = self.nodes[machine].clone();
        let service = step.service();
        self.mutated(|| format!("{service} on {node}: {change:?}"));
        let digest = step.as_ensure().map(|ensure| ensure.digest);
        let asks = |plan: &NodePlan| match plan.generation == generation {
            true => plan.step(service) == Some(step),
            // What an older plan put in place is healed while a newer one waits for a window.
            false => {
                let older = plan.step(service).and_then(Step::as_ensure).map(|ensure| ensure.digest);
                plan.generation < generation && older.is_some() && older == digest
            }
        };
        let is_stored = self.plans.iter().any(|((other, _), plan)| *other == node && asks(plan));
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
        let key = (daemon, node.clone());
        // An answer may come after that to what was asked later: they are judged in the order in which they asked.
        let (last, next) = match self.heard.remove(&key) {
            None => return drop(self.heard.insert(key, speaker)),
            Some(heard) if speaker.asked < heard.asked => (speaker, heard),
            Some(heard) => (heard, speaker),
        };
        let is_free = last.machine == next.machine
            || (last.agent == next.agent && last.start < next.start)
            || next.at.duration_since(last.at) >= lease;
        let (one, other) = (last.machine, next.machine);
        self.heard.insert(key, next);
        self.require(7, is_free, || {
            format!("daemon {daemon} lets machines {one} and {other} both speak for {node}")
        });
    }
}
