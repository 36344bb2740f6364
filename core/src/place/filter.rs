//! Why a node is out for a deployment: each reason as data, with its code, its sentence, and what would take it away.

use std::sync::Arc;

use super::{Code, Exclusion, GpuDemand, Held, Need, Request, Reserved, Site, reserve};
use crate::definition::{Bytes, Cpu, Node, Offer, Pattern, Selector, Slot, Taint, TaintEffect};
use crate::name::{EnvironmentName, FeatureName, NodeName, ServiceName};

/// What a node has an amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Thousandths of cores.
    Cpu,
    /// Bytes.
    Memory,
    /// Bytes.
    Disk,
}

/// One reason against a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Misfit<'a> {
    /// The service names its nodes, and this is none of them.
    NotNamed,
    /// It is in another environment, or in none.
    Environment {
        /// That of the deployment.
        wanted: &'a EnvironmentName,
        /// That of the node.
        is: Option<&'a EnvironmentName>,
    },
    /// A label is missing or has another value.
    Label {
        /// The feature that needs it; none where the service selects it.
        by: Option<&'a FeatureName>,
        /// Which.
        label: &'a str,
        /// What it may be.
        wanted: &'a Pattern,
        /// What it is.
        is: Option<&'a str>,
    },
    /// The service forbids nodes with these labels.
    Forbidden(&'a Selector),
    /// A feature needs something that the node cannot do.
    Capability {
        /// The feature.
        by: &'a FeatureName,
        /// What it needs.
        wanted: &'a Offer,
        /// What the node has of that kind.
        is: Option<&'a Offer>,
    },
    /// A taint that the service does not tolerate.
    Taint(&'a Taint),
    /// Nothing new comes here.
    Cordoned,
    /// It is silent.
    Offline,
    /// There is no slot of that name.
    NoSlot {
        /// The name, or `any`.
        wanted: &'a str,
    },
    /// What would do is held by another.
    SlotTaken {
        /// The name, or `any`.
        wanted: &'a str,
        /// The service that holds it.
        by: ServiceName,
    },
    /// None is large enough.
    SlotTooSmall {
        /// The name, or `any`.
        wanted: &'a str,
        /// What the instance takes.
        cpu: Cpu,
        /// What the instance takes.
        memory: Bytes,
    },
    /// Too little is left.
    Short {
        /// Of what.
        resource: Resource,
        /// All that there is.
        capacity: u64,
        /// What is left of it.
        free: u64,
        /// What the instance takes.
        needed: u64,
    },
    /// Too few graphics processors that would do are left.
    Gpus {
        /// What the instance takes.
        wanted: GpuDemand,
        /// How many are left that would do.
        free: u32,
    },
}

/// All that is against a node whatever else runs there. Empty for most nodes of most requests, and lazy: whoever only
/// asks whether a node fits stops at the first.
pub(super) fn fixed_misfits<'a>(
    request: &'a Request,
    site: &Site<'a>,
) -> impl Iterator<Item = Misfit<'a>> + use<'a> {
    let Site { node, environment, .. } = *site;
    let place = &request.place;
    let named = (request.is_fixed() && !place.named().contains(&node.node)).then_some(Misfit::NotNamed);
    let wanted = request.id.environment.as_ref().filter(|wanted| environment != Some(*wanted));
    let elsewhere = wanted.map(|wanted| Misfit::Environment { wanted, is: environment });
    let selected = place.select.iter().flat_map(move |selector| labels(None, selector, node));
    let forbidden = place.forbid.iter().filter(|selector| selector.matches(|label| node.label(label)));
    let needs = request.demands.on(&node.node).needs.iter().flat_map(move |need| needs(need, node));
    let taints = node.taints.iter().filter(|taint| {
        taint.effect == TaintEffect::NoSchedule && !place.tolerate.iter().any(|one| one.covers(taint))
    });
    named
        .into_iter()
        .chain(elsewhere)
        .chain(selected)
        .chain(forbidden.map(Misfit::Forbidden))
        .chain(needs)
        .chain(taints.map(Misfit::Taint))
}

/// Whether nothing is against a node but, at most, what runs there.
pub fn may_fit(request: &Request, site: &Site<'_>) -> bool {
    fixed_misfits(request, site).next().is_none()
}

fn needs<'a>(need: &'a Need, node: &'a Node) -> impl Iterator<Item = Misfit<'a>> {
    let by = &need.feature;
    let missing = need.labels.iter().flat_map(move |selector| labels(Some(by), selector, node));
    let unable =
        need.capabilities.iter().filter(|wanted| !node.capabilities.iter().any(|has| has.serves(wanted)));
    let unable = unable.map(move |wanted| {
        let is = node.capabilities.iter().filter(|has| has.kind == wanted.kind).max();
        Misfit::Capability { by, wanted, is }
    });
    missing.chain(unable)
}

fn labels<'a>(
    by: Option<&'a FeatureName>,
    selector: &'a Selector,
    node: &'a crate::definition::Node,
) -> impl Iterator<Item = Misfit<'a>> {
    selector.0.iter().filter_map(move |(label, wanted)| {
        let is = node.label(label);
        (!is.is_some_and(|is| wanted.fits(is))).then_some(Misfit::Label { by, label, wanted, is })
    })
}

/// How a request stands to a node before it is placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand<'a> {
    /// An instance is there already, bound to these processors.
    pub bound: Option<&'a [String]>,
    /// That the node is silent does not count.
    pub is_patient: bool,
    /// Nothing is known of what stands: it may be there already.
    pub may_stand: bool,
}

/// What an instance would hold of a node, or everything that is against it.
pub(super) fn fit<'a>(
    request: &'a Request,
    site: &Site<'a>,
    reserved: &Reserved,
    stand: Stand<'_>,
) -> Result<Held, Vec<Misfit<'a>>> {
    let mut misfits: Vec<Misfit<'a>> = fixed_misfits(request, site).collect();
    let is_new = stand.bound.is_none() && !request.is_fixed();
    let is_closed = is_new && site.cordoned || site.drained && !request.is_fixed();
    misfits.extend((is_closed && !stand.may_stand).then_some(Misfit::Cordoned));
    let is_silent = request.lost.contains(&site.node.node) || is_new && site.offline;
    misfits.extend((is_silent && !stand.is_patient).then_some(Misfit::Offline));
    let slot = request.place.slot.as_deref();
    let demand = request.demands.on(&site.node.node);
    match reserve::fit(site.node, reserved, slot, demand, stand.bound.unwrap_or_default()) {
        Ok(held) if misfits.is_empty() => Ok(held),
        Ok(_) => Err(misfits),
        Err(missing) => {
            misfits.extend(missing);
            Err(misfits)
        }
    }
}

/// Labels that say where in the world a node is: a feature that needs one is about residency.
const PLACES: [&str; 6] = ["continent", "country", "jurisdiction", "region", "residency", "location"];

impl Misfit<'_> {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotNamed => Code::NotNamed,
            Self::Environment { .. } => Code::Environment,
            Self::Label { by: None, .. } => Code::Label,
            Self::Label { label, .. } if PLACES.contains(label) => Code::Residency,
            Self::Label { .. } => Code::FeatureUnavailable,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Capability { .. } => Code::NoCapability,
            Self::Taint(_) => Code::Taint,
            Self::Cordoned => Code::Cordoned,
            Self::Offline => Code::Offline,
            Self::NoSlot { .. } | Self::SlotTaken { .. } | Self::SlotTooSmall { .. } => Code::Slot,
            Self::Short { .. } | Self::Gpus { .. } => Code::Capacity,
        }
    }

    /// With its sentences.
    pub fn told(&self, node: &NodeName) -> Exclusion {
        Exclusion { code: self.code(), reason: self.reason(), change: self.change(node) }
    }

    fn reason(&self) -> String {
        match self {
            Self::NotNamed => "the service names its nodes, and this is none of them".into(),
            Self::Environment { wanted, is: Some(is) } => {
                format!("it is in environment `{is}`, and not in `{wanted}`")
            }
            Self::Environment { wanted, is: None } => {
                format!("it is in no environment, and the service is for `{wanted}`")
            }
            Self::Label { by, label, wanted, is } => label_reason(*by, label, wanted, *is),
            Self::Forbidden(selector) => format!("the service forbids nodes with `{selector}`"),
            Self::Capability { by, wanted, is: Some(is) } => {
                format!("feature `{by}` needs `{wanted}`, and it offers only `{is}`")
            }
            Self::Capability { by, wanted, is: None } => {
                format!("feature `{by}` needs `{wanted}`, which it does not offer")
            }
            Self::Taint(taint) => format!("it has the taint `{taint}`, which the service does not tolerate"),
            Self::Cordoned => "it is cordoned, so nothing new comes to it".into(),
            Self::Offline => "it has not been heard for too long".into(),
            Self::NoSlot { wanted: Slot::ANY } => "it has no slots".into(),
            Self::NoSlot { wanted } => format!("it has no slot `{wanted}`"),
            Self::SlotTaken { wanted: Slot::ANY, by } => {
                format!("every slot that is large enough is held, one of them by `{by}`")
            }
            Self::SlotTaken { wanted, by } => format!("its slot `{wanted}` is held by `{by}`"),
            Self::SlotTooSmall { wanted, cpu, memory } => {
                let small = match *wanted {
                    Slot::ANY => "its slots are too small".to_owned(),
                    wanted => format!("its slot `{wanted}` is too small"),
                };
                format!("{small} for {} and {memory} of memory", cores(cpu.0))
            }
            Self::Short { resource, capacity, free, needed } => {
                short_reason(*resource, *capacity, *free, *needed)
            }
            Self::Gpus { wanted, free } => {
                let left = if *free == 0 {
                    "none that would do is".into()
                } else {
                    format!("only {free} that would do are")
                };
                format!("{} needed, and {left} left", gpus(wanted))
            }
        }
    }

    /// What would take the reason away.
    fn change(&self, node: &NodeName) -> String {
        match self {
            Self::NotNamed => format!("`{node}` in `place.nodes`"),
            Self::Environment { wanted, .. } => format!("`{node}` in environment `{wanted}`"),
            Self::Label { label, wanted, .. } => format!("label `{label}: {}` on `{node}`", example(wanted)),
            Self::Forbidden(selector) => format!("no `forbid` of `{selector}`"),
            Self::Capability { wanted, .. } => format!("capability `{wanted}` on `{node}`"),
            Self::Taint(taint) => format!("`tolerate: [{}]`", toleration(taint)),
            Self::Cordoned => format!("`cordon: false` on `{node}`"),
            Self::Offline => format!("`{node}` back online"),
            Self::NoSlot { wanted: Slot::ANY } => format!("a slot on `{node}`"),
            Self::NoSlot { wanted } => format!("slot `{wanted}` on `{node}`"),
            Self::SlotTaken { wanted: Slot::ANY, .. } => format!("one more slot on `{node}`"),
            Self::SlotTaken { wanted, by } => format!("slot `{wanted}` of `{node}` without `{by}`"),
            Self::SlotTooSmall { cpu, memory, .. } => {
                format!("a slot of {} and {memory} on `{node}`", cores(cpu.0.max(1)))
            }
            Self::Short { resource, free, needed, .. } => {
                format!("{} on `{node}`", resource.more(needed.saturating_sub(*free)))
            }
            Self::Gpus { wanted, free } => {
                let more = wanted.count.unwrap_or(1).saturating_sub(*free).max(1);
                let wanted = GpuDemand { count: Some(more), ..wanted.clone() };
                format!("{} on `{node}`", gpu_words(&wanted, "more "))
            }
        }
    }

    /// How much it takes to take the reason away, the least first: an edit of the service, then a fact about a node,
    /// then what has to be bought, then what nobody should change for this.
    pub(super) fn effort(&self) -> u32 {
        match self {
            Self::Taint(_) => 1,
            Self::Cordoned => 2,
            Self::Label { .. } if self.code() != Code::Residency => 3,
            Self::Short { .. } => 4,
            Self::Gpus { .. } | Self::NoSlot { .. } | Self::SlotTaken { .. } | Self::SlotTooSmall { .. } => 5,
            Self::Capability { .. } => 6,
            Self::Forbidden(_) => 7,
            Self::Offline => 8,
            Self::Environment { .. } | Self::NotNamed => 9,
            Self::Label { .. } => 10,
        }
    }

    /// How far it is from fitting, in thousandths of what is needed.
    pub(super) fn shortage(&self) -> u64 {
        match self {
            Self::Short { free, needed, .. } => {
                let missing = u128::from(needed.saturating_sub(*free)) * 1000;
                u64::try_from(missing / u128::from((*needed).max(1))).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }
}

fn label_reason(by: Option<&FeatureName>, label: &str, wanted: &Pattern, is: Option<&str>) -> String {
    let is = match is {
        Some(is) => format!("its label `{label}` is `{is}`"),
        None => format!("it has no label `{label}`"),
    };
    match (by, wanted) {
        (Some(by), Pattern::Any) => format!("{is}, which feature `{by}` needs"),
        (Some(by), Pattern::OneOf(values)) => format!("{is}, and feature `{by}` needs {}", any_of(values)),
        (None, Pattern::Any) => format!("{is}, which the service selects"),
        (None, Pattern::OneOf(values)) => format!("{is}, and the service selects {}", any_of(values)),
    }
}

/// `` `a`, `b` or `c` ``.
fn any_of(values: &[Arc<str>]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// What is left of an amount, and what is needed.
fn short_reason(resource: Resource, capacity: u64, free: u64, needed: u64) -> String {
    let left = match free {
        0 => format!("all of its {} is reserved", resource.of(capacity)),
        free if free == capacity => format!("it has {}", resource.of(capacity)),
        free => format!("it has {} left of {}", resource.of(free), resource.amount(capacity)),
    };
    format!("{left}, and {} {} needed", resource.amount(needed), resource.are(needed))
}

/// A value that would do.
fn example(pattern: &Pattern) -> Arc<str> {
    match pattern {
        Pattern::OneOf(values) => values.first().cloned().unwrap_or_default(),
        Pattern::Any => "…".into(),
    }
}

fn toleration(taint: &Taint) -> String {
    let Taint { key, value, .. } = taint;
    if value.is_empty() { key.to_string() } else { format!("{key}={value}") }
}

fn cores(thousandths: u64) -> String {
    match thousandths {
        1000 => "1 core".into(),
        some => format!("{} cores", Cpu(some)),
    }
}

impl Resource {
    fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu => cores(amount),
            Self::Memory | Self::Disk => Bytes(amount).to_string(),
        }
    }

    /// `256 MiB of memory`.
    fn of(self, amount: u64) -> String {
        match self {
            Self::Cpu => cores(amount),
            Self::Memory => format!("{} of memory", Bytes(amount)),
            Self::Disk => format!("{} of disk", Bytes(amount)),
        }
    }

    /// `256 MiB more memory`.
    fn more(self, amount: u64) -> String {
        match self {
            Self::Cpu if amount == 1000 => "1 more core".into(),
            Self::Cpu => format!("{} more cores", Cpu(amount)),
            Self::Memory => format!("{} more memory", Bytes(amount)),
            Self::Disk => format!("{} more disk", Bytes(amount)),
        }
    }

    fn are(self, amount: u64) -> &'static str {
        if matches!(self, Self::Cpu) && amount == 1000 { "is" } else { "are" }
    }
}

/// `2 GPUs of model `l4` with 16 GiB`.
fn gpu_words(wanted: &GpuDemand, more: &str) -> String {
    let count = match wanted.count {
        None => "all GPUs".into(),
        Some(1) => format!("1 {more}GPU"),
        Some(count) => format!("{count} {more}GPUs"),
    };
    let model = wanted.model.as_ref().map(|model| format!(" of model `{model}`")).unwrap_or_default();
    let memory = wanted.memory.map(|memory| format!(" with {memory}")).unwrap_or_default();
    format!("{count}{model}{memory}")
}

fn gpus(wanted: &GpuDemand) -> String {
    let are = if wanted.count == Some(1) { "is" } else { "are" };
    format!("{} {are}", gpu_words(wanted, ""))
}
