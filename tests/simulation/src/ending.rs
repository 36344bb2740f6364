//! The end of a story: whether all came to what is wanted, and whether it then stays so.

use std::collections::BTreeSet;
use std::sync::Arc;

use gitops::api::control::{Ballot, Request};
use gitops::store::Snapshot;
use gitops_core::desired::Instance;
use gitops_core::fleet::SourceState;
use gitops_core::name::{NodeName, Revision, ServiceName};
use gitops_core::plan::{NodePlan, RunState, Span, Step};
use gitops_core::reconcile::{Definitions, Known};
use gitops_core::status::{ContainerState, PlanId};

use crate::clock::Millis;
use crate::repository::Temper;
use crate::witness::Fact;
use crate::world::{Happening, World};

/// The longest pause that anything takes between two tries.
const INTERVAL: Millis = 300_000;
/// How often it is looked whether all is as it should be.
const LOOK_EVERY: Millis = 5_000;
/// How long all must have been as it should be before nothing may be done any more.
const SETTLE: Millis = 30_000;

impl World {
    /// Looks whether all is as it should be; if so, the quiet time begins.
    pub(crate) fn look(&mut self) {
        self.accept_what_is_held();
        (0..self.daemons.len()).for_each(|number| self.approve_what_waits(number));
        self.retry_what_failed();
        let state = if self.spoiling.is_some() { self.undone() } else { self.converged() };
        match state {
            Ok(()) if self.settled.is_some_and(|since| self.now - since >= SETTLE) && self.spoil() => {
                self.settled = None;
                self.after(LOOK_EVERY, Happening::Look);
            }
            Ok(()) if self.settled.is_some_and(|since| self.now - since >= SETTLE) => {
                self.note(|| "all is as it should be".to_owned());
                self.witness.is_quiet = true;
                self.after(self.plot.quiet, Happening::End);
            }
            Ok(()) => {
                self.settled.get_or_insert(self.now);
                self.after(LOOK_EVERY, Happening::Look);
            }
            Err(what) => {
                self.settled = None;
                let (rule, since) = match &self.spoiling {
                    None => (8, self.plot.calm_at),
                    Some(spoiling) => (15, spoiling.since),
                };
                let is_late = self.now > since + 3 * INTERVAL;
                let told = if is_late { self.told() } else { String::new() };
                self.witness.require(rule, !is_late, || format!("{what}{told}"));
                self.after(LOOK_EVERY, Happening::Look);
            }
        }
    }

    /// An operator has a release tried again that failed for what was still going wrong when it began.
    fn retry_what_failed(&mut self) {
        let head = self.git.head().revision.clone();
        let release = self.storage.facts().release;
        let has_failed =
            release.is_some_and(|release| release.failed.is_some() && release.release.revision == head);
        if has_failed && self.spoiling.is_none() {
            self.witness.tell(&Fact::Retried);
            self.operate(0, Request::Retry { by: "somebody".parse().expect("a name") });
        }
    }

    /// What the daemons say that they wait for.
    fn told(&self) -> String {
        let mut told = String::new();
        for fleet in (0..self.daemons.len()).filter_map(|number| self.fleet(number)) {
            let instances =
                fleet.nodes.iter().flat_map(|view| view.instances.iter().map(move |one| (&view.node, one)));
            for (node, one) in instances.filter(|(_, one)| one.message.is_some()) {
                let message = one.message.as_deref().unwrap_or_default();
                told.push_str(&format!("; {} on {node}: {message}", one.service));
            }
            fleet
                .awaiting
                .iter()
                .for_each(|view| told.push_str(&format!("; {:?} waits for approval", view.awaiting.changes)));
        }
        told
    }

    /// An operator deploys what is held, since nothing else would.
    fn accept_what_is_held(&mut self) {
        for number in 0..self.daemons.len() {
            let is_held = self.fleet(number).is_some_and(|fleet| fleet.source.state == SourceState::Held);
            if is_held {
                self.operate(number, Request::Sync { accept_rewind: true, plan: None });
            }
        }
    }

    /// An operator agrees to what waits for that.
    pub(crate) fn approve_what_waits(&mut self, daemon: usize) {
        let awaiting = self.fleet(daemon).map(|fleet| fleet.awaiting).unwrap_or_default();
        for view in awaiting {
            let ballot = Ballot {
                plan: view.awaiting.plan.hex().into(),
                by: "somebody".parse().expect("a name"),
                roles: BTreeSet::new(),
                approves: true,
                reason: None,
            };
            self.witness.tell(&Fact::Approved(&view.awaiting.changes));
            self.operate(daemon, Request::Vote(Box::new(ballot)));
        }
    }

    fn converged(&mut self) -> Result<(), String> {
        let facts = self.storage.facts();
        let head = self.git.head().revision.clone();
        if facts.deployed.as_ref() != Some(&head) {
            return Err(format!("{:?} is deployed and not the newest commit {head:?}", facts.deployed));
        }
        let definitions = self.wanted();
        let well = well(&definitions);
        for number in 0..self.plot.nodes {
            self.has_converged(number, &facts, &definitions, &well)?;
        }
        Ok(())
    }

    /// The definitions at the newest commit.
    fn wanted(&mut self) -> Arc<Definitions> {
        let head = self.git.head().revision.clone();
        self.definitions_at(&head)
    }

    /// The definitions at a commit.
    pub(crate) fn definitions_at(&mut self, revision: &Revision) -> Arc<Definitions> {
        let head = self.git.commit(revision).expect("it is in the repository");
        let key = (head.revision.clone(), false);
        if let Some(known) = self.definitions.get(&key) {
            return known.clone();
        }
        let now = crate::clock::WallClock::default().now(self.now);
        let read = Definitions::load(head.revision.clone(), &head.tree, &Known::at(now));
        let read = Arc::new(read.expect("the last commit has no mistakes"));
        self.definitions.insert(key, read.clone());
        read
    }

    pub(crate) fn has_converged(
        &self,
        number: usize,
        facts: &Snapshot,
        definitions: &Definitions,
        well: &BTreeSet<ServiceName>,
    ) -> Result<(), String> {
        let machine = &self.machines[number];
        let node = &machine.node;
        let mut wanted =
            definitions.desired.nodes.get(node).into_iter().flat_map(|instances| instances.iter());
        let Some(plan) = facts.plans.get(node) else {
            let is_well = |instance: &&Arc<Instance>| well.contains(&instance.ensure.service);
            return match wanted.find(is_well) {
                Some(instance) => {
                    Err(format!("{node} has no plan, and is to have {}", instance.ensure.service))
                }
                None => Ok(()),
            };
        };
        let held = machine.disk.ledger().map(|plan| PlanId::of(plan));
        if held != Some(PlanId::of(plan)) {
            return Err(format!("{node} holds {held:?} and not its newest plan {:?}", PlanId::of(plan)));
        }
        let reported = facts.reported.nodes.get(node).and_then(|last| last.status.accepted);
        if reported != held {
            return Err(format!("the store knows that {node} accepted {reported:?}, and it holds {held:?}"));
        }
        // Also what cannot become well begins when its window opens.
        let now = machine.clock.now(self.now);
        let status = facts.reported.nodes.get(node).map(|last| &last.status);
        let is_done = |step: &Step| {
            let digest = step.as_ensure().map(|ensure| ensure.digest);
            status.is_some_and(|status| status.has_done(plan, step.service(), digest))
        };
        let waits = |step: &&Step| !Span::allow(step.spans(), now) && !is_done(step);
        if let Some(step) = plan.steps.iter().find(waits) {
            return Err(format!("{} on {node} waits for its window", step.service()));
        }
        for instance in wanted.filter(|instance| well.contains(&instance.ensure.service)) {
            self.stands(number, plan, facts, instance)?;
        }
        // Where another machine spoke for the node and said that it is gone, nobody plans for it: it is told, and left alone.
        if self.witness.doubled.contains(node) {
            return Ok(());
        }
        let is_wanted = |service: &ServiceName| definitions.desired.instance(node, service).is_some();
        match machine.docker.instances.keys().find(|service| !is_wanted(service)) {
            Some(service) => Err(format!("{service} still is on {node}")),
            None => Ok(()),
        }
    }

    fn stands(
        &self,
        number: usize,
        plan: &NodePlan,
        facts: &Snapshot,
        instance: &Instance,
    ) -> Result<(), String> {
        let node = &self.machines[number].node;
        let wanted = &instance.ensure;
        let service = &wanted.service;
        let step = plan.step(service).and_then(|step| step.as_ensure());
        if step.is_none_or(|step| step.digest != wanted.digest) {
            return Err(format!("the plan of {node} does not ensure {service} as it is wanted"));
        }
        let status = &facts.reported.nodes[node].status;
        if !status.has_done(plan, service, Some(wanted.digest)) {
            return Err(format!("{service} on {node} is not well: {:?}", status.steps.get(service)));
        }
        let containers = self.machines[number].docker.instances.get(service).map_or(&[][..], Vec::as_slice);
        let runs = |container: &gitops_core::status::Container| match wanted.state {
            RunState::Running => container.state == ContainerState::Running,
            RunState::Stopped => container.state != ContainerState::Running,
        };
        let specs = &wanted.containers;
        let is_made = |container: &gitops_core::status::Container| {
            specs.get(&container.service).is_some_and(|spec| Some(spec.config) == container.config)
        };
        let fine = containers.len() == specs.len()
            && containers.iter().all(|container| runs(container) && is_made(container));
        if fine { Ok(()) } else { Err(format!("the containers of {service} on {node} are {containers:?}")) }
    }

    /// What can only be told when all is over: the store still has the chain of each node.
    pub(crate) fn look_back(&mut self) {
        let facts = self.storage.facts();
        for (node, plan) in &facts.plans {
            let mut at = plan.clone();
            while let Some(parent) = at.parent.and_then(|parent| self.storage.plan(node, parent)) {
                let rises = parent.generation < at.generation;
                self.witness.require(4, rises, || {
                    format!("generation {} of {node} is not after its parent", at.generation)
                });
                at = parent;
            }
            self.is_known(node, plan);
        }
        for number in 0..self.daemons.len() {
            let waiting = self.waiting_at(number);
            let most = 10 * (self.machines.len() + 1);
            self.witness
                .require(14, waiting <= most, || format!("{waiting} requests wait at daemon {number}"));
        }
    }

    fn is_known(&mut self, node: &NodeName, plan: &Arc<NodePlan>) {
        let is_known = self.witness.plan(node, plan.digest).is_some();
        self.witness.require(4, is_known, || format!("the store has a plan of {node} that nobody published"));
    }
}

/// The services that can become well: they, and all that they depend on, everywhere.
pub(crate) fn well(definitions: &Definitions) -> BTreeSet<ServiceName> {
    let services = &definitions.desired.services;
    let mut well: BTreeSet<ServiceName> = services
        .iter()
        .filter(|(_, service)| service.instances.values().all(|one| Temper::of(&one.ensure).is_well()))
        .map(|(name, _)| name.clone())
        .collect();
    loop {
        let stands = |name: &ServiceName| {
            let mut instances = services[name].instances.values();
            instances.all(|one| one.entry.service().depends_on.iter().all(|other| well.contains(other)))
        };
        let left: BTreeSet<ServiceName> = well.iter().filter(|name| stands(name)).cloned().collect();
        if left.len() == well.len() {
            return well;
        }
        well = left;
    }
}
