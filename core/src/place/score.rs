//! How well a node suits a deployment, among those that fit.

use std::cmp::Ordering;

use serde::Serialize;

use super::{Held, Request, Reserved, Site, Sites};
use crate::definition::{Capacity, TaintEffect};

/// What speaks for a node, by part; more is better. The first three go before all others, in this order: an instance
/// stays where it is, comes to a node that would rather not have it only where nothing else fits, and is spread. The
/// others are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Score {
    /// 1 where an instance stands here that stays while it fits.
    pub sticky: i64,
    /// Less 1 for each taint `PreferNoSchedule` that the service does not tolerate.
    pub prefer_no_schedule: i64,
    /// Less 1 for each other instance on nodes with the same value of the label that `spread` names.
    pub spread: i64,
    /// 0 to 1000: the weight of the preferences that fit, as a share of all.
    pub preference: i64,
    /// 50 where the node runs one of its images already.
    pub image: i64,
    /// Less 1 for each per cent that would be in use of what the node has least left of, and for each instance on it.
    pub load: i64,
    /// Less up to 100: the price of the node as a share of the dearest.
    pub cost: i64,
}

impl Score {
    /// The sum of the parts that are added up.
    pub fn points(&self) -> i64 {
        self.preference + self.image + self.load + self.cost
    }

    /// Each part with its name, in the order in which they count.
    pub fn parts(&self) -> [(&'static str, i64); 7] {
        [
            ("sticky", self.sticky),
            ("prefer-no-schedule", self.prefer_no_schedule),
            ("spread", self.spread),
            ("preference", self.preference),
            ("image", self.image),
            ("load", self.load),
            ("cost", self.cost),
        ]
    }

    fn rank(&self) -> [i64; 4] {
        [self.sticky, self.prefer_no_schedule, self.spread, self.points()]
    }
}

/// The better one is the greater.
impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.parts().cmp(&other.parts()))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What scoring looks at beside the request and the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// What is reserved on the node by others.
    pub reserved: &'a Reserved,
    /// What the instance would hold.
    pub held: &'a Held,
    /// It stands there.
    pub stands: bool,
    /// The node runs one of its images.
    pub has_image: bool,
    /// The highest price of any node.
    pub dearest: u64,
}

/// The score without `spread`, which depends on what else is chosen.
pub(super) fn score(request: &Request, site: &Site<'_>, facts: &Facts<'_>) -> Score {
    Score {
        sticky: i64::from(facts.stands && request.is_sticky()),
        prefer_no_schedule: -unwelcome(request, site),
        spread: 0,
        preference: preference(request, site),
        image: if facts.has_image { 50 } else { 0 },
        load: -load(&site.node.capacity, facts.reserved, facts.held) - crowd(request, site, facts.reserved),
        cost: -permyriad(site.node.price.unwrap_or_default().0, facts.dearest) / 100,
    }
}

/// The highest price of any node.
pub(super) fn dearest(sites: &Sites<'_>) -> u64 {
    sites.values().filter_map(|site| site.node.price).max().unwrap_or_default().0
}

fn unwelcome(request: &Request, site: &Site<'_>) -> i64 {
    let tolerated = |taint| request.place.tolerate.iter().any(|one| one.covers(taint));
    let unwelcome = site
        .node
        .taints
        .iter()
        .filter(|taint| taint.effect == TaintEffect::PreferNoSchedule && !tolerated(taint));
    count(unwelcome.count())
}

fn preference(request: &Request, site: &Site<'_>) -> i64 {
    let weight = |preference: &crate::definition::Preference| u64::from(preference.weight.unwrap_or(50));
    let prefer = request.place.prefer.iter();
    let fits = |one: &&crate::definition::Preference| one.select.matches(|label| site.node.label(label));
    let all: u64 = prefer.clone().map(weight).sum();
    permyriad(prefer.filter(fits).map(weight).sum(), all) / 10
}

/// The instances that are there, up to 100. One that moves by its score looks only at those that reserve something:
/// the others come and go without a word to it.
fn crowd(request: &Request, site: &Site<'_>, reserved: &Reserved) -> i64 {
    let others = if request.is_sticky() { site.others } else { 0 };
    count(reserved.instances.saturating_add(others)).min(100)
}

/// Per cent in use of what is used most, once the instance is there.
fn load(capacity: &Capacity, reserved: &Reserved, held: &Held) -> i64 {
    let used = [
        (capacity.cpu.map(|cpu| cpu.0), reserved.cpu.0, held.cpu.0),
        (capacity.memory.map(|memory| memory.0), reserved.memory.0, held.memory.0),
        (capacity.disk.map(|disk| disk.0), reserved.disk.0, held.disk.0),
    ];
    let share = |(capacity, reserved, held): (Option<u64>, u64, u64)| {
        capacity.map(|capacity| permyriad(reserved.saturating_add(held).min(capacity), capacity) / 100)
    };
    used.into_iter().filter_map(share).max().unwrap_or_default()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A share in ten-thousandths, 0 of nothing.
fn permyriad(part: u64, whole: u64) -> i64 {
    let share = u128::from(part) * 10_000 / u128::from(whole.max(1));
    i64::try_from(share).unwrap_or(i64::MAX)
}
