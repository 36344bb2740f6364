//! `[quota]`: what the services of one project may take together.
//!
//! A service is of the project that its label `project` names. What counts is what its instances hold of the nodes that
//! they are placed on, in all environments together. A service without the label is of no project and counts nowhere: a
//! control can ask for the label.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::catalog::Catalog;
use crate::definition::{Bytes, Cpu, Quota};
use crate::desired::{Desired, ServiceInstances};
use crate::diagnostic::Diagnostic;
use crate::name::ServiceName;
use crate::yaml::{Step, suggestion};

use super::budget::{LARGEST, place};

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
    let mut found = Vec::new();
    for (project, services) in &projects {
        let named = quotas.get_key_value(*project).or_else(|| quotas.get_key_value(OTHERS));
        if let Some((key, quota)) = named {
            found.extend(exceeded(catalog, (key, quota), project, services));
        }
    }
    let unused: Vec<_> =
        quotas.keys().filter(|key| &***key != OTHERS && !projects.contains_key(&***key)).collect();
    if !unused.is_empty() && all_read(catalog) {
        found.extend(unused.into_iter().map(|key| nobody(catalog, key, projects.keys().copied())));
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

fn exceeded(
    catalog: &Catalog,
    (key, quota): (&str, &Quota),
    project: &str,
    services: &BTreeMap<&ServiceName, Taken>,
) -> Vec<Diagnostic> {
    let limits = [
        (Limit::Services, quota.services.map(u64::from)),
        (Limit::Cpu, quota.cpu.map(|cpu| cpu.0)),
        (Limit::Memory, quota.memory.map(|memory| memory.0)),
        (Limit::Gpus, quota.gpus.map(u64::from)),
    ];
    let over = |(limit, allowed): (Limit, Option<u64>)| {
        let allowed = allowed?;
        let sum = services.values().fold(0_u64, |sum, taken| sum.saturating_add(limit.of(*taken)));
        (sum > allowed).then(|| told(catalog, (key, project), limit, (sum, allowed), services))
    };
    limits.into_iter().filter_map(over).collect()
}

fn told(
    catalog: &Catalog,
    (key, project): (&str, &str),
    limit: Limit,
    (sum, allowed): (u64, u64),
    services: &BTreeMap<&ServiceName, Taken>,
) -> Diagnostic {
    let field = limit.field();
    let place = place(catalog, &[Step::Key("quota"), Step::Key(key), Step::Key(field)]);
    let (has, may) = (limit.amount(sum), limit.amount(allowed));
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
fn nobody<'a>(catalog: &Catalog, key: &str, projects: impl Iterator<Item = &'a str>) -> Diagnostic {
    let place = place(catalog, &[Step::Key("quota"), Step::Key(key)]);
    let message = format!("no service has the label `{PROJECT}: {key}`, so this quota holds for nothing");
    let help = suggestion(key, projects, "give a service that label, or remove the quota");
    Diagnostic::warning("unused-quota", place, message).help(help)
}
