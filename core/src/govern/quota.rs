//! `[quota]`: what the services of one project may take together.
//!
//! A service is of the project that its label `project` names. What counts is what its instances hold of the nodes that
//! they are placed on, in all environments together. A service without the label is of no project and counts nowhere: a
//! control can ask for the label.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::catalog::{Catalog, MAX_OF_A_KIND};
use crate::definition::{Bytes, Cpu, Quota};
use crate::desired::{Desired, ServiceInstances};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::ServiceName;
use crate::yaml::{Step, suggestion};

use super::budget::LARGEST;

/// The label of services that names their project.
pub(crate) const PROJECT: &str = "project";

/// The quota of every project that is not named.
const OTHERS: &str = "*";

/// What a service takes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    cpu: u64,
    memory: u64,
    gpus: u64,
}

impl Taken {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

/// By project, what each of its services takes.
type Projects<'a> = BTreeMap<&'a str, BTreeMap<&'a ServiceName, Taken>>;

/// What is to be said of quotas.
pub(super) fn findings(catalog: &Catalog, desired: &Desired) -> Vec<Diagnostic> {
    let quotas = &catalog.settings.quota;
    if quotas.is_empty() {
        return Vec::new();
    }
    let projects = projects(catalog, desired);
    let over = projects.iter().flat_map(|(project, services)| {
        let quota = quotas.get_key_value(*project).or_else(|| quotas.get_key_value(OTHERS));
        quota.into_iter().flat_map(|(key, quota)| exceeded((key, quota), project, services))
    });
    let over: Vec<Exceeded<'_>> = over.take(MAX_OF_A_KIND).collect();
    let places = catalog.settings_places(&over.iter().map(Exceeded::steps).collect::<Vec<_>>());
    let mut found: Vec<Diagnostic> = over.iter().zip(places).map(|(one, place)| told(one, place)).collect();
    let unused = quotas.keys().filter(|key| &***key != OTHERS && !projects.contains_key(&***key));
    let unused: Vec<&str> = unused.take(MAX_OF_A_KIND).map(|key| &**key).collect();
    if !unused.is_empty() && all_read(catalog) {
        let fields = unused.iter().map(|key| vec![Step::Key("quota"), Step::Key(key)]);
        let places = catalog.settings_places(&fields.collect::<Vec<_>>());
        found.extend(
            unused.iter().zip(places).map(|(key, place)| nobody(key, place, projects.keys().copied())),
        );
    }
    found
}

/// Whether every service could be read: of one that could not, nobody knows the project.
fn all_read(catalog: &Catalog) -> bool {
    let files = catalog.tree.under("services").filter(|(path, _)| path.ends_with("/service.yaml"));
    files.count() == catalog.services.len()
}

fn projects<'a>(catalog: &'a Catalog, desired: &Desired) -> Projects<'a> {
    let mut projects = Projects::new();
    for (name, entry) in &catalog.services {
        if let Some(project) = entry.service().labels.get(PROJECT) {
            let taken = desired.services.get(name).map(|service| taken(desired, service)).unwrap_or_default();
            projects.entry(&project.0).or_default().insert(name, taken);
        }
    }
    projects
}

fn taken(desired: &Desired, service: &ServiceInstances) -> Taken {
    service.instances.iter().fold(Taken::default(), |sum, (node, instance)| {
        let held = desired.held(node, instance);
        let gpus = held.gpus.values().fold(0_u64, |sum, count| sum.saturating_add((*count).into()));
        sum.plus(Taken { cpu: held.cpu.0, memory: held.memory.0, gpus })
    })
}

/// What is limited, in the words of the field.
#[derive(Clone, Copy)]
enum Limit {
    Services,
    Cpu,
    Memory,
    Gpus,
}

impl Limit {
    fn field(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Gpus => "gpus",
        }
    }

    fn of(self, taken: Taken) -> u64 {
        match self {
            Self::Services => 1,
            Self::Cpu => taken.cpu,
            Self::Memory => taken.memory,
            Self::Gpus => taken.gpus,
        }
    }

    fn amount(self, amount: u64) -> String {
        let some = |noun: &str| format!("{amount} {noun}{}", if amount == 1 { "" } else { "s" });
        match self {
            Self::Services => some("service"),
            Self::Cpu => format!("{} core{}", Cpu(amount), if amount == 1000 { "" } else { "s" }),
            Self::Memory => format!("{} of memory", Bytes(amount)),
            Self::Gpus => some("GPU"),
        }
    }
}

/// A limit that the services of a project go beyond.
struct Exceeded<'a> {
    /// Of the quota.
    key: &'a str,
    project: &'a str,
    limit: Limit,
    sum: u64,
    allowed: u64,
    services: &'a BTreeMap<&'a ServiceName, Taken>,
}

impl<'a> Exceeded<'a> {
    /// Where the limit stands in `gitops.toml`.
    fn steps(&self) -> Vec<Step<'a>> {
        vec![Step::Key("quota"), Step::Key(self.key), Step::Key(self.limit.field())]
    }
}

fn exceeded<'a>(
    (key, quota): (&'a str, &Quota),
    project: &'a str,
    services: &'a BTreeMap<&'a ServiceName, Taken>,
) -> impl Iterator<Item = Exceeded<'a>> + use<'a> {
    let limits = [
        (Limit::Services, quota.services.map(u64::from)),
        (Limit::Cpu, quota.cpu.map(|cpu| cpu.0)),
        (Limit::Memory, quota.memory.map(|memory| memory.0)),
        (Limit::Gpus, quota.gpus.map(u64::from)),
    ];
    limits.into_iter().filter_map(move |(limit, allowed)| {
        let allowed = allowed?;
        let sum = services.values().fold(0_u64, |sum, taken| sum.saturating_add(limit.of(*taken)));
        (sum > allowed).then_some(Exceeded { key, project, limit, sum, allowed, services })
    })
}

fn told(exceeded: &Exceeded<'_>, place: Place) -> Diagnostic {
    let Exceeded { key, project, limit, sum, allowed, services } = *exceeded;
    let (field, has, may) = (limit.field(), limit.amount(sum), limit.amount(allowed));
    let (message, less) = match limit {
        Limit::Services => (format!("project `{project}` has {has}, and may have {may}"), "take one out"),
        _ => (
            format!("the services of project `{project}` take {has} together, and may take {may}"),
            "let them take less (`resources:`)",
        ),
    };
    let mut largest: Vec<(&ServiceName, u64)> = services
        .iter()
        .map(|(name, taken)| (*name, limit.of(*taken)))
        .filter(|(_, taken)| *taken > 0)
        .collect();
    largest.sort_by_key(|(name, taken)| (Reverse(*taken), *name));
    let header = if key == OTHERS { "[quota.\"*\"]".to_owned() } else { format!("[quota.{key}]") };
    let diagnostic = Diagnostic::error("quota-exceeded", place, message)
        .help(format!("{less}, or raise `{field}` of `{header}` in gitops.toml"));
    let named = largest.iter().take(LARGEST).map(|(name, taken)| match limit {
        Limit::Services => format!("`{name}`"),
        _ => format!("{} by `{name}`", limit.amount(*taken)),
    });
    let noted = named.fold(diagnostic, Diagnostic::note);
    match largest.len().saturating_sub(LARGEST) {
        0 => noted,
        more => noted.note(format!("and {more} more")),
    }
}

/// A quota that holds for no service is probably misspelt.
fn nobody<'a>(key: &str, place: Place, projects: impl Iterator<Item = &'a str>) -> Diagnostic {
    let message = format!("no service has the label `{PROJECT}: {key}`, so this quota holds for nothing");
    let help = suggestion(key, projects, "give a service that label, or remove the quota");
    Diagnostic::warning("unused-quota", place, message).help(help)
}
