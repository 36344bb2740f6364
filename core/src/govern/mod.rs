//! What features, controls, capabilities and policy have to say about each service, and about all of them together.
//!
//! [`check_ground`] looks at settings, nodes, features and controls themselves; [`judge`] at one service, as it is
//! rendered for its nodes; [`together`] at what services take from each other. What is said of a service stands for as
//! long as the service does, so it is asked again only where something changed ([`Judgements`]).

mod budget;
mod claims;
mod collisions;
mod capabilities;
mod controls;
mod environments;
mod features;
mod grants;
mod policy;
mod quota;
mod rollouts;
pub mod standing;
mod used;

pub(crate) use budget::CURRENCY;
pub(crate) use quota::PROJECT;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::align::differing;
use crate::catalog::{Catalog, ServiceEntry};
use crate::desired::{Desired, Instance, ServiceInstances};
use crate::diagnostic::Diagnostic;
use crate::name::{NodeName, ServiceName};
use crate::spread::spread;
use crate::usage;

pub use controls::{Answer, Compliance};

/// The instances of a service, by node.
pub type Instances = BTreeMap<NodeName, Arc<Instance>>;

/// One service, to be judged.
#[derive(Debug)]
pub struct Subject<'a> {
    /// All definitions.
    pub catalog: &'a Catalog,
    /// The service.
    pub entry: &'a ServiceEntry,
    /// It on its nodes; none where it could not be rendered.
    pub instances: &'a Instances,
    /// When it is judged.
    pub now: Timestamp,
    before: Option<&'a Instances>,
    looked_back: Cell<bool>,
}

impl<'a> Subject<'a> {
    /// It on its nodes before the change; none where nothing is known of before. Who asks is asked again when nothing
    /// changes any more.
    pub fn before(&self) -> Option<&'a Instances> {
        self.looked_back.set(true);
        self.before
    }
}

/// Everything that is said of one service alone.
fn judge(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let Subject { catalog, entry, .. } = *subject;
    let mut found = Vec::new();
    if catalog.knows_features(entry) {
        found.extend(features::findings(subject));
        found.extend(controls::findings(subject));
    }
    found.extend(environments::findings(subject));
    found.extend(policy::findings(subject));
    found.extend(capabilities::findings(subject));
    found.extend(rollouts::findings(subject));
    found
}

/// How every service that is meant stands to every control that it must meet, by service. Rules that look at what was
/// before see nothing there.
pub fn compliance(
    catalog: &Catalog,
    desired: &Desired,
    now: Timestamp,
    is_meant: impl Fn(&ServiceName) -> bool,
) -> Vec<Compliance> {
    let nothing = Instances::new();
    let of = |(name, entry): (&ServiceName, &Arc<ServiceEntry>)| {
        let instances = desired.services.get(name).map_or(&nothing, |of| &of.instances);
        let looked_back = Cell::new(false);
        controls::compliance(&Subject { catalog, entry, instances, now, before: None, looked_back })
    };
    catalog.services.iter().filter(|(name, _)| is_meant(name)).flat_map(of).collect()
}

/// What is said of services that share something: nodes, a quota, a budget.
fn together(catalog: &Catalog, desired: &Desired, previous: Option<&Desired>) -> Vec<Diagnostic> {
    let mut found = collisions::findings(catalog, desired, previous);
    found.extend(quota::findings(catalog, desired));
    found
}

/// Mistakes in settings, nodes, features and controls that need no service to be seen.
fn check_ground(catalog: &Catalog, now: Timestamp) -> Vec<Diagnostic> {
    let mut found = usage::check_ground(catalog);
    found.extend(controls::check_ground(catalog, now));
    found.extend(grants::check(catalog, now));
    found.extend(budget::check_ground(catalog));
    found
}

/// What was said of each service.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    /// Grants and approvals end with a day, so what is said on one day may be different on the next.
    day: Date,
    services: BTreeMap<ServiceName, Arc<Judged>>,
}

/// A service by its name.
type Entry<'c> = (&'c ServiceName, &'c Arc<ServiceEntry>);

/// What was said of one service.
#[derive(Debug)]
struct Judged {
    /// Of these instances.
    of: Option<Arc<ServiceInstances>>,
    found: Vec<Diagnostic>,
    /// It was looked at what the service was before, and that was different.
    is_passing: bool,
}

/// The definitions before: what was said of them may still stand.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// All definitions.
    pub catalog: &'a Catalog,
    /// What they came to.
    pub desired: &'a Desired,
    /// What was said of them.
    pub judgements: &'a Judgements,
    /// Nothing that was said of them is an error. Where something is, all is judged anew.
    pub is_right: bool,
}

impl Judgements {
    /// Judges every service, and all of them together.
    pub fn new(
        catalog: &Catalog,
        desired: &Desired,
        before: Option<Before<'_>>,
        now: Timestamp,
    ) -> (Self, Vec<Diagnostic>) {
        let day = now.to_zoned(TimeZone::UTC).date();
        let standing = before.filter(|before| {
            before.is_right && before.judgements.day == day && before.catalog.same_ground(catalog)
        });
        let (mut services, open) = match standing {
            Some(before) => before.judgements.standing(catalog, before.catalog, desired, before.desired),
            None => (BTreeMap::new(), catalog.services.iter().collect()),
        };
        let judged = spread(&open, |(name, entry)| judge_one(catalog, desired, before, now, (name, entry)));
        services.extend(open.iter().map(|(name, _)| (*name).clone()).zip(judged));
        let mut found = check_ground(catalog, now);
        found.extend(services.values().flat_map(|judged| judged.found.iter().cloned()));
        found.extend(together(
            catalog,
            desired,
            before.filter(|before| before.is_right).map(|before| before.desired),
        ));
        (Self { day, services }, found)
    }

    /// What still stands of it, and the services that are to be judged anew.
    fn standing<'c>(
        &self,
        catalog: &'c Catalog,
        catalog_before: &Catalog,
        desired: &Desired,
        desired_before: &Desired,
    ) -> (BTreeMap<ServiceName, Arc<Judged>>, Vec<Entry<'c>>) {
        let entries = differing(&catalog_before.services, &catalog.services).map(|(name, ..)| name);
        let instances = differing(&desired_before.services, &desired.services).map(|(name, ..)| name);
        let passing = self.services.iter().filter(|(_, judged)| judged.is_passing || judged.of.is_none());
        let open: BTreeSet<&ServiceName> =
            entries.chain(instances).chain(passing.map(|(name, _)| name)).collect();
        let mut services = self.services.clone();
        services.retain(|name, _| !open.contains(name));
        let open = open.into_iter().filter_map(|name| catalog.services.get_key_value(name));
        (services, open.collect())
    }
}

fn judge_one(
    catalog: &Catalog,
    desired: &Desired,
    before: Option<Before<'_>>,
    now: Timestamp,
    (name, entry): (&ServiceName, &ServiceEntry),
) -> Arc<Judged> {
    let of = desired.services.get(name).cloned();
    let old = before.and_then(|before| before.desired.services.get(name));
    let is_same = of.as_ref().zip(old).is_some_and(|(new, old)| Arc::ptr_eq(new, old));
    let nothing = Instances::new();
    let subject = Subject {
        catalog,
        entry,
        instances: of.as_ref().map_or(&nothing, |of| &of.instances),
        now,
        before: before.map(|_| old.map_or(&nothing, |old| &old.instances)),
        looked_back: Cell::new(false),
    };
    let found = judge(&subject);
    let is_passing = subject.looked_back.get() && !is_same;
    Arc::new(Judged { of, found, is_passing })
}
