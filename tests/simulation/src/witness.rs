//! What must hold, whatever happens: the witness is told each fact at the moment in which it becomes one, and says which
//! rule it breaks.
//!
//! The witness sees the world from outside: what the store holds, what agents write down and do, what Docker becomes. It
//! shares no code with those who decide. A rule of its own is a line of [`RULES`] and a check in `witness/`.

mod acts;
mod away;
mod plans;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::decision::GuardedChange;
use gitops_core::name::{Digest, Generation, NodeName, Revision, ServiceName};
use gitops_core::plan::{NodePlan, Step};
use gitops_core::status::{NodeStatus, PlanId};
use jiff::Timestamp;

use crate::clock::Millis;
use crate::docker::Change;
use crate::repository::Shape;
use acts::Speaker;
use away::Taken;

/// What must hold, by number.
pub const RULES: [(u8, &str); 15] = [
    (1, "the generation that a node applies never falls"),
    (
        2,
        "nothing is stopped or removed without a step of a stored plan that says so, and nothing that is wanted",
    ),
    (3, "every plan that is applied was once the plan of the node"),
    (4, "the plans of a node are one chain"),
    (5, "a status that was acknowledged is not lost"),
    (6, "no two daemons publish over one parent"),
    (7, "a second agent of a node is fenced within one exchange"),
    (8, "when nothing goes wrong any more, every node comes to what is wanted"),
    (9, "a newer revision waits for no more than the step that is under way"),
    (10, "a release takes no more away at once than it may, and removes no more than was agreed to"),
    (11, "no change begins while a window is shut"),
    (12, "where nothing changes, nothing is done"),
    (13, "an agent does what its accepted plan says, and nothing else"),
    (14, "what waits and what is under way is bounded"),
    (15, "a release that failed ends with what ran well before, or names who is not heard"),
];

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the rule.
    pub rule: u8,
    /// When.
    pub at: Millis,
    /// By what.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, at, what } = self;
        let sentence = RULES.iter().find(|(number, _)| number == rule).map_or("", |(_, sentence)| sentence);
        let seconds = at / 1000;
        write!(f, "rule {rule} ({sentence}) is broken after {seconds} s: {what}")
    }
}

/// Something that became a fact.
#[derive(Debug)]
pub(crate) enum Fact<'a> {
    /// A daemon wrote plans, or was told so.
    Published {
        /// Which daemon.
        daemon: usize,
        /// The plans.
        plans: &'a [Arc<NodePlan>],
        /// The revision that is deployed with them.
        deployed: Option<&'a Revision>,
        /// The release of what is deployed failed.
        is_failure: bool,
    },
    /// A daemon sees the newest revision, and could deploy it.
    Fetched(usize, &'a Revision),
    /// Something went wrong at a daemon: it need not be done with what it saw.
    Hindered(usize),
    /// An operator has the release tried again that failed.
    Retried,
    /// An operator agrees to these changes.
    Approved(&'a BTreeSet<GuardedChange>),
    /// An agent says how its node stands.
    Claimed {
        /// On which machine.
        machine: usize,
        /// What it says.
        status: &'a Arc<NodeStatus>,
    },
    /// The store is as it was before; its plans are these, and this is deployed.
    Restored(&'a BTreeMap<NodeName, Arc<NodePlan>>, Option<&'a Revision>),
    /// Reports were written.
    Recorded {
        /// Whose.
        node: &'a NodeName,
        /// What it said; none for a heartbeat.
        status: Option<&'a Arc<NodeStatus>>,
    },
    /// A daemon says to an agent that its status is durable. The store holds `stored`.
    Acknowledged {
        /// Which daemon.
        daemon: usize,
        /// Whose.
        node: &'a NodeName,
        /// What was acknowledged.
        said: &'a Arc<NodeStatus>,
        /// What the store holds of the node.
        stored: Option<&'a Arc<NodeStatus>>,
    },
    /// An agent wrote a plan to its ledger.
    Saved {
        /// On which machine.
        machine: usize,
        /// The plan.
        plan: &'a Arc<NodePlan>,
    },
    /// The disk of a machine is empty.
    Wiped(usize),
    /// Another machine has a copy of the disk of one.
    Copied {
        /// Which was copied.
        machine: usize,
        /// The other one.
        copy: usize,
    },
    /// An agent begins a step.
    Begun {
        /// On which machine.
        machine: usize,
        /// What it begins.
        step: &'a Step,
        /// Of which plan.
        generation: Generation,
        /// What is in its ledger.
        ledger: Option<&'a Arc<NodePlan>>,
        /// By its clock.
        at: Timestamp,
        /// The instance stands and is well.
        is_up: bool,
    },
    /// The container of a hook is started.
    Hooked {
        /// On which machine.
        machine: usize,
        /// Its name, which is another for each attempt.
        container: &'a Arc<str>,
        /// The step that it belongs to.
        step: &'a Step,
        /// What is in the ledger.
        ledger: Option<&'a Arc<NodePlan>>,
        /// By the clock of the agent.
        at: Timestamp,
    },
    /// Compose did its work for a step.
    Changed {
        /// On which machine.
        machine: usize,
        /// For which step.
        step: &'a Step,
        /// Of which plan.
        generation: Generation,
        /// What became of the containers.
        change: &'a Change,
    },
    /// A daemon let an agent speak for its node.
    Heard {
        /// Which daemon.
        daemon: usize,
        /// When it was asked, by its clock.
        at: Timestamp,
        /// The same in the time of the world.
        asked: Millis,
        /// For which node.
        node: &'a NodeName,
        /// Which machine spoke.
        machine: usize,
        /// As which agent.
        agent: &'a Arc<str>,
        /// Which start of it.
        start: u64,
    },
    /// An agent got its answer: it may speak for its node, or not.
    Told {
        /// On which machine.
        machine: usize,
        /// Another one does.
        is_refused: bool,
    },
    /// A daemon knows otherwise than by its own ears who spoke last: it started, it read what others wrote, or its clock was
    /// set.
    Informed(usize),
    /// A daemon begins to plan, from what it knows now.
    Planning(usize),
}

/// What the witness remembers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Now, for what is said.
    pub(crate) now: Millis,
    /// The first rule that was broken.
    pub(crate) broken: Option<Violation>,
    /// Some release has failed.
    pub(crate) has_failed: bool,
    /// Nobody can say which nodes a daemon takes to be silent: its clock was set, or there are several.
    pub(crate) is_vague: bool,
    /// What each commit says.
    pub(crate) shapes: BTreeMap<Revision, Arc<Shape>>,
    /// Nothing may be changed from now on.
    pub(crate) is_quiet: bool,
    /// How often something was changed: plans, containers.
    pub(crate) mutations: u64,
    /// By machine: which node it is.
    pub(crate) nodes: Vec<NodeName>,
    /// Every plan that was ever the plan of its node.
    plans: BTreeMap<(NodeName, Digest), Arc<NodePlan>>,
    heads: BTreeMap<NodeName, PlanId>,
    /// Whose parents were published over, with by whom.
    parents: BTreeMap<(NodeName, Option<Digest>), usize>,
    /// By machine: the greatest generation that was applied, and what is in the ledger.
    applied: BTreeMap<usize, Generation>,
    saved: BTreeMap<usize, Generation>,
    /// Who spoke last for a node, to which daemon, and when.
    heard: BTreeMap<(usize, NodeName), Speaker>,
    /// Hooks that ran.
    hooks: BTreeSet<(usize, Arc<str>)>,
    /// Machines whose agent was refused last.
    refused: BTreeSet<usize>,
    /// When somebody was last let in who speaks for a node.
    spoke_at: BTreeMap<NodeName, Millis>,
    /// Nodes for which two machines spoke.
    pub(crate) doubled: BTreeSet<NodeName>,
    /// What agents said last.
    claimed: BTreeMap<NodeName, Arc<NodeStatus>>,
    /// What is stored of that.
    stored: BTreeMap<NodeName, Arc<NodeStatus>>,
    /// What each daemon knows of that.
    known: BTreeMap<(usize, NodeName), Arc<NodeStatus>>,
    /// What each daemon knew of that when it began to plan.
    planned_from: BTreeMap<usize, BTreeMap<NodeName, Arc<NodeStatus>>>,
    /// What is changed and was not well since.
    taken: BTreeMap<(ServiceName, NodeName), Taken>,
    /// What each release removes of which nobody was asked.
    removed: BTreeMap<Revision, BTreeSet<(NodeName, ServiceName)>>,
    /// What somebody agreed to.
    approved: BTreeSet<(NodeName, ServiceName)>,
    /// What is deployed.
    deployed: Option<Revision>,
    /// What each daemon sees and has not deployed, and since when.
    newest: BTreeMap<usize, (Revision, Millis)>,
    /// Releases that failed.
    failed: BTreeSet<Revision>,
    /// What ran well.
    ran: BTreeMap<(NodeName, ServiceName), BTreeSet<Digest>>,
    /// What each machine began last.
    begun: BTreeMap<(usize, ServiceName), Option<Digest>>,
}

impl Witness {
    /// Takes in a fact.
    pub(crate) fn tell(&mut self, fact: &Fact<'_>) {
        match *fact {
            Fact::Published { daemon, plans, deployed, is_failure } => {
                self.releases(daemon, plans, deployed);
                plans.iter().for_each(|plan| self.published(daemon, plan));
                self.failed.extend(self.deployed.clone().filter(|_| is_failure));
            }
            Fact::Fetched(daemon, revision) => self.fetched(daemon, revision),
            Fact::Planning(daemon) => {
                let of = |((other, node), status): (&(usize, NodeName), &Arc<NodeStatus>)| {
                    (*other == daemon).then(|| (node.clone(), status.clone()))
                };
                self.planned_from.insert(daemon, self.known.iter().filter_map(of).collect());
            }
            Fact::Hindered(daemon) => _ = self.newest.remove(&daemon),
            Fact::Retried => self.retried(),
            Fact::Approved(changes) => {
                let names = changes.iter().map(|change| (change.node.clone(), change.service.clone()));
                self.approved.extend(names);
            }
            Fact::Claimed { machine, status } => {
                let node = self.nodes[machine].clone();
                self.claims(&node, status);
            }
            Fact::Restored(plans, deployed) => self.restored(plans, deployed),
            Fact::Recorded { node, status } => {
                if let Some(status) = status {
                    self.runs(node, status);
                    self.stored.insert(node.clone(), status.clone());
                }
            }
            Fact::Acknowledged { daemon, node, said, stored } => {
                self.acknowledged(node, said, stored);
                let known = self.stored.get(node).filter(|status| *status == said);
                let known = known.map(|status| ((daemon, node.clone()), status.clone()));
                self.known.extend(known);
            }
            Fact::Saved { machine, plan } => self.saved(machine, plan),
            Fact::Wiped(machine) => {
                self.hooks.retain(|(other, _)| *other != machine);
                self.refused.remove(&machine);
                self.applied.remove(&machine);
                self.saved.remove(&machine);
            }
            Fact::Copied { machine, copy } => self.copied(machine, copy),
            Fact::Begun { machine, step, generation, ledger, at, is_up } => {
                self.begun(machine, step, generation, ledger, at);
                if let Some(plan) = ledger {
                    self.begins(machine, step, plan, at);
                }
                if let Some(ensure) = step.as_ensure().filter(|_| is_up) {
                    let node = self.nodes[machine].clone();
                    self.takes_away(&node, ensure);
                }
            }
            Fact::Hooked { machine, container, step, ledger, at } => {
                ledger.into_iter().for_each(|plan| self.begins(machine, step, plan, at));
                let is_first = self.hooks.insert((machine, container.clone()));
                self.require(13, is_first, || format!("{container} runs twice on machine {machine}"));
            }
            Fact::Changed { machine, step, generation, change } => {
                self.changed(machine, step, generation, change)
            }
            Fact::Heard { daemon, at, asked, node, machine, agent, start } => {
                let speaker = Speaker { machine, agent: agent.clone(), start, at, asked };
                self.heard(daemon, node, speaker);
            }
            Fact::Told { machine, is_refused: true } => _ = self.refused.insert(machine),
            Fact::Told { machine, is_refused: false } => _ = self.refused.remove(&machine),
            Fact::Informed(daemon) => {
                self.heard.retain(|(other, _), _| *other != daemon);
                self.newest.remove(&daemon);
                self.known.retain(|(other, _), _| *other != daemon);
                let read = self.stored.iter().map(|(node, status)| ((daemon, node.clone()), status.clone()));
                self.known.extend(read);
            }
        }
    }

    /// What follows belongs to a new attempt.
    fn retried(&mut self) {
        if let Some(deployed) = &self.deployed {
            self.failed.remove(deployed);
        }
    }

    /// Notes that a rule is broken where it is.
    pub(crate) fn require(&mut self, rule: u8, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(Violation { rule, at: self.now, what: what() });
        }
    }

    /// Something was changed.
    fn mutated(&mut self, what: impl FnOnce() -> String) {
        self.mutations += 1;
        self.require(12, !self.is_quiet, what);
    }
}
