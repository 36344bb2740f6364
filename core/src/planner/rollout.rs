//! What of the pending changes may begin now, and what each of the others waits for.
//!
//! Nothing here remembers anything: the order of a release follows on every pass from what is pending, what is under way and
//! what failed. So a daemon that starts, a second one, and one that takes in a newer revision halfway all come to the same
//! end, and a newer revision waits for nothing but what is being changed right now.
//!
//! A pending change is held back for the first of these that applies: reasons of its own ([`own`]), a vote that is missing
//! ([`approval`]), a wave before its own, a part of its service before its own, too many of its service away ([`group`]),
//! and too many nodes of its environment at work ([`parallel`]). What fails is found first ([`failure`]): it decides what becomes of the rest.

mod approval;
mod failure;
mod group;
mod own;
mod parallel;
mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::{Situation, Unit, UnitState};
use crate::decision::Awaiting;
use crate::definition::{Offline, OnFailure, Rollout as Rules};
use crate::desired::Instance;
use crate::name::{NodeName, ServiceName};

pub use failure::Failure;

/// What may begin, as what may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    held: BTreeMap<NodeName, BTreeMap<ServiceName, String>>,
    /// What waits for approval.
    pub awaiting: Vec<Awaiting>,
    /// The release failed just now, and is to be undone.
    pub failure: Option<Failure>,
    /// The next time at which something may begin, or has failed, though nothing is heard.
    pub again_at: Option<Timestamp>,
    /// Whether something is pending, under way, failed or still to stand its time.
    pub is_open: bool,
}

impl Permits {
    /// Something may begin, or has failed, at this time.
    fn look_again(&mut self, at: Option<Timestamp>) {
        self.again_at = [self.again_at, at].into_iter().flatten().min();
    }

    /// What the change of a service on a node waits for; none where it may begin.
    pub fn held(&self, node: &NodeName, service: &ServiceName) -> Option<&String> {
        self.held.get(node)?.get(service)
    }
}

/// Says of every pending unit whether it may begin.
pub fn permits(situation: &Situation<'_>, units: &[Unit]) -> Permits {
    let mut rollout = Rollout::new(situation, units);
    rollout.find_failures();
    rollout.hold_for_own_reasons();
    rollout.hold_for_approval();
    rollout.hold_for_waves();
    rollout.hold_in_groups();
    rollout.hold_for_parallel();
    rollout.hold_removals();
    rollout.finish()
}

/// A pass over the units.
struct Rollout<'a> {
    situation: &'a Situation<'a>,
    entries: Vec<Entry<'a>>,
    soaks: Vec<Soak<'a>>,
    permits: Permits,
}

/// A unit, with what is said of it.
struct Entry<'a> {
    unit: &'a Unit,
    instance: Option<&'a Arc<Instance>>,
    rules: &'a Rules,
    /// Its place in the order of waves.
    wave: i32,
    /// The release changes it or is to change it. What an older one left unfinished is waited for by nobody.
    is_ours: bool,
    /// What comes after it waits for it.
    blocks: bool,
    /// Why it may not begin.
    held: Option<String>,
}

impl Entry<'_> {
    /// Whether it is pending and nothing holds it yet.
    fn is_open(&self) -> bool {
        self.unit.is_pending() && self.held.is_none()
    }

    fn hold(&mut self, reason: impl Into<String>) {
        self.held = Some(reason.into());
    }

    /// As people read it: `web` on edge-1.
    fn name(&self) -> String {
        format!("`{}` on {}", self.unit.service, self.unit.node)
    }

    /// What it keeps others waiting with.
    fn standing(&self) -> &'static str {
        match self.unit.state {
            UnitState::Pending { .. } => "is still to be changed",
            UnitState::UnderWay => "is not healthy in its new form yet",
            UnitState::Failed { .. } => "failed",
        }
    }

    /// Whether its service is away there by what is known, so that changing it takes nothing away.
    fn is_away(&self) -> bool {
        let is_passed_over = self.is_failed() && self.rules.on_failure() == OnFailure::Continue;
        let was_there = self.unit.from.is_some() || !self.unit.is_pending();
        self.unit.is_away() && was_there && !is_passed_over
    }

    fn is_failed(&self) -> bool {
        matches!(self.unit.state, UnitState::Failed { .. })
    }
}

/// An instance that is healthy and has not been so for long enough.
struct Soak<'a> {
    node: &'a NodeName,
    service: &'a ServiceName,
    wave: i32,
    until: Timestamp,
}

/// Of what is no longer defined.
static NO_RULES: LazyLock<Rules> = LazyLock::new(Rules::default);

impl<'a> Rollout<'a> {
    fn new(situation: &'a Situation<'a>, units: &'a [Unit]) -> Self {
        let entries = units.iter().map(|unit| entry(situation, unit)).collect();
        let mut rollout = Self { situation, entries, soaks: Vec::new(), permits: Permits::default() };
        rollout.soaks = rollout.find_soaks(units);
        for soak in &rollout.soaks {
            rollout.permits.look_again(Some(soak.until));
        }
        rollout
    }

    /// What the release brought, is healthy, and has not stood its time.
    fn find_soaks(&self, units: &[Unit]) -> Vec<Soak<'a>> {
        let situation = self.situation;
        let soak = |((node, service), brought): (&'a (NodeName, ServiceName), &'a super::Brought)| {
            let instance = situation.instance(node, service)?;
            let satisfied_at =
                brought.satisfied_at.filter(|_| brought.digest == Some(instance.ensure.digest))?;
            let until = satisfied_at.checked_add(instance.rollout().soak()).ok()?;
            let wave = instance.rollout().wave();
            (situation.now < until).then_some(Soak { node, service, wave, until })
        };
        let mut soaks: Vec<Soak<'a>> = situation.facts.underway.brought.iter().filter_map(soak).collect();
        if !soaks.is_empty() {
            let unsettled: BTreeSet<_> = units.iter().map(|unit| (&unit.node, &unit.service)).collect();
            soaks.retain(|soak| !unsettled.contains(&(soak.node, soak.service)));
        }
        soaks
    }

    /// A wave begins when those before it are done.
    fn hold_for_waves(&mut self) {
        if self.is_undone() {
            return;
        }
        let waits =
            self.entries.iter().filter(|entry| entry.unit.to.is_some() && entry.is_ours && entry.blocks);
        let waits = waits.map(|entry| (entry.wave, Blocker::Entry(entry)));
        let soaks = self.soaks.iter().map(|soak| (soak.wave, Blocker::Soak(soak)));
        let Some((first, blocker)) = first_blocker(waits.chain(soaks)) else { return };
        let open = self.entries.iter_mut().filter(|entry| entry.is_open() && entry.unit.to.is_some());
        for entry in open.filter(|entry| entry.wave > first) {
            let wave = entry.wave;
            entry.hold(format!("wave {wave} waits for wave {first}: {blocker}"));
        }
    }

    fn is_undone(&self) -> bool {
        self.situation.facts.underway.undo.is_some()
    }

    fn finish(mut self) -> Permits {
        self.permits.is_open = !self.soaks.is_empty() || self.entries.iter().any(|entry| entry.is_ours);
        for entry in self.entries {
            if let Some(reason) = entry.held {
                let held = self.permits.held.entry(entry.unit.node.clone()).or_default();
                held.insert(entry.unit.service.clone(), reason);
            }
        }
        self.permits
    }
}

/// What others wait for.
enum Blocker<'e, 'a> {
    Entry(&'e Entry<'a>),
    Soak(&'e Soak<'a>),
}

impl Blocker<'_, '_> {
    fn name(&self) -> (&ServiceName, &NodeName) {
        match self {
            Self::Entry(entry) => (&entry.unit.service, &entry.unit.node),
            Self::Soak(soak) => (soak.service, soak.node),
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Entry(entry) => format!("{} {}", entry.name(), entry.standing()),
            Self::Soak(soak) => soak.told(),
        }
    }
}

/// The first of what is waited for, and what it says. The others, which are many, need no words.
fn first_blocker<'e, 'a: 'e, N: Ord + Copy>(
    blockers: impl Iterator<Item = (N, Blocker<'e, 'a>)>,
) -> Option<(N, String)> {
    let is_before = |(number, one): &(N, Blocker<'_, '_>), (other_number, other): &(N, Blocker<'_, '_>)| {
        (number, one.name()).cmp(&(other_number, other.name()))
    };
    blockers.min_by(is_before).map(|(number, blocker)| (number, blocker.told()))
}

impl Soak<'_> {
    fn told(&self) -> String {
        format!("`{}` on {} must stay healthy until {}", self.service, self.node, self.until)
    }
}

fn entry<'a>(situation: &'a Situation<'a>, unit: &'a Unit) -> Entry<'a> {
    let instance = situation.instance(&unit.node, &unit.service);
    let rules = instance.map_or(&*NO_RULES, |instance| instance.rollout());
    let brought = situation.facts.underway.brought.get(&(unit.node.clone(), unit.service.clone()));
    let is_ours = unit.is_pending() || brought.is_some_and(|brought| brought.digest == unit.to);
    let is_silent = situation.is_silent(&unit.node);
    let passed_over = match (&unit.state, rules.on_failure()) {
        (UnitState::Failed { .. }, OnFailure::Continue) => true,
        _ => is_silent && rules.offline() == Offline::Skip,
    };
    let planned = || situation.plans.get(&unit.node)?.step(&unit.service)?.wave().into();
    let wave = instance.map(|_| rules.wave()).or_else(planned).unwrap_or_default();
    Entry { unit, instance, rules, wave, is_ours, blocks: !passed_over, held: None }
}

/// The first of so many, and how many more there are. The others need no name.
fn first_of(mut names: impl Iterator<Item = String>, number: usize) -> Option<String> {
    let first = names.next()?;
    let more = number.saturating_sub(1);
    Some(if more == 0 { first } else { format!("{first} and {more} more") })
}
