//! How the steps of a service are carried out, as its definition says it: checks, hooks, and what is done about drift.
//!
//! The definition names Compose services, which are known once the files are rendered; so this is where a name that leads
//! nowhere is found, and where everything that is not said gets its value. A plan says all of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Catalog, Deployment, ServiceEntry};
use crate::compose::Rendered;
use crate::definition::{self, Check, Health, Seconds};
use crate::diagnostic::{Diagnostic, Place};
use crate::plan::{DriftTerms, HealthCheck, Hook, Hooks, Probe, Terms};
use crate::yaml::{Step, suggestion};

/// Seconds from one answer to the next question.
const INTERVAL: u32 = 10;
/// Seconds in which an answer must come.
const TIMEOUT: u32 = 3;
/// So many bad answers make an instance unhealthy.
const UNHEALTHY_AFTER: u32 = 3;
/// Seconds in which a hook must end.
const HOOK_TIMEOUT: u32 = 5 * 60;

/// The terms of a deployment, less those that a node or a time decides.
///
/// # Errors
///
/// Every name that leads nowhere, and every check that asks nothing.
pub(super) fn terms(
    catalog: &Catalog,
    entry: &ServiceEntry,
    deployment: &Deployment,
    rendered: &Rendered,
) -> Result<Terms, Vec<Diagnostic>> {
    let mut reading = Reading { catalog, entry, deployment, rendered, found: Vec::new() };
    let drift = deployment.service.drift.clone().or(&catalog.settings.defaults.drift);
    let paths = drift.ignore.into_iter().flatten().map(|ignored| ignored.path.0);
    let drift = DriftTerms { action: drift.action.unwrap_or_default(), ignore: paths.collect() };
    let terms = Terms { checks: reading.checks(), hooks: reading.hooks(), drift, ..Terms::default() };
    if reading.found.is_empty() { Ok(terms) } else { Err(reading.found) }
}

/// A definition being read beside its rendered files.
struct Reading<'a> {
    catalog: &'a Catalog,
    entry: &'a ServiceEntry,
    deployment: &'a Deployment,
    rendered: &'a Rendered,
    found: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn checks(&mut self) -> Vec<HealthCheck> {
        let own = self.deployment.service.health.checks.as_ref();
        let given = own.or(self.catalog.settings.defaults.health.checks.as_ref());
        let given = given.map(Vec::as_slice).unwrap_or_default();
        if given.len() > Health::MAX_CHECKS {
            let message =
                format!("there are {} checks, and at most {} are asked", given.len(), Health::MAX_CHECKS);
            let place = self.check_place(Health::MAX_CHECKS, None);
            self.found.push(Diagnostic::error("too-many-checks", place, message).help("remove some"));
        }
        let mut names = BTreeSet::new();
        let given = given.iter().enumerate().take(Health::MAX_CHECKS);
        given.filter_map(|(number, check)| self.check(number, check, &mut names)).collect()
    }

    fn check(&mut self, number: usize, check: &Check, names: &mut BTreeSet<Arc<str>>) -> Option<HealthCheck> {
        let probe = self.probe(number, check);
        let container = self.container(number, check);
        let (probe, container) = (probe?, container?);
        let name = match &check.name {
            Some(name) => name.0.clone(),
            None => free_name(&probe, names),
        };
        if !names.insert(name.clone()) {
            let message = format!("there are two checks `{name}`");
            let diagnostic =
                Diagnostic::error("named-twice", self.check_place(number, Some("name")), message);
            self.found.push(diagnostic.help("give each its own name, or none"));
        }
        let seconds = |given: Option<Seconds>, default| given.map_or(default, |given| given.0);
        Some(HealthCheck {
            name,
            container,
            probe,
            interval: seconds(check.interval, INTERVAL),
            timeout: seconds(check.timeout, TIMEOUT),
            healthy_after: check.healthy_after.map_or(1, |times| times.0),
            unhealthy_after: check.unhealthy_after.map_or(UNHEALTHY_AFTER, |times| times.0),
        })
    }

    /// What is asked: one thing.
    fn probe(&mut self, number: usize, check: &Check) -> Option<Probe> {
        let http = check.http.as_ref().map(|http| Probe::Http {
            port: http.port.0,
            path: http.path.as_ref().map_or_else(|| "/".into(), |path| path.0.clone()),
            status: http.status.as_ref().map(|status| status.0.clone()),
            body: http.body.clone(),
        });
        let tcp = check.tcp.as_ref().map(|tcp| Probe::Tcp { port: tcp.port.0 });
        let exec = check.exec.as_ref().map(|command| Probe::Exec { command: command.clone() });
        let mut probes = [http, tcp, exec].into_iter().flatten();
        let message = match (probes.next(), probes.next()) {
            (Some(Probe::Exec { command }), None) if command.first().is_none_or(|first| first.is_empty()) => {
                let diagnostic = Diagnostic::error(
                    "health-check",
                    self.check_place(number, Some("exec")),
                    "the check runs no program",
                );
                self.found
                    .push(diagnostic.help("name the program and its arguments: `exec: [pg_isready, -q]`"));
                return None;
            }
            (Some(probe), None) => return Some(probe),
            (Some(_), Some(_)) => "the check asks more than one thing",
            // What was left out for being wrong may be what it asked.
            (None, _) if ["health", "environments"].iter().any(|field| self.is_broken(field)) => return None,
            (None, _) => "the check asks nothing",
        };
        let help = "give it one of `http`, `tcp` and `exec`";
        let place = self.check_place(number, None);
        self.found.push(Diagnostic::error("health-check", place, message).help(help));
        None
    }

    fn is_broken(&self, field: &str) -> bool {
        self.entry.definition.broken.contains(field)
    }

    /// The Compose service that is asked.
    fn container(&mut self, number: usize, check: &Check) -> Option<Arc<str>> {
        let mut known = self.rendered.containers.keys();
        let (message, place) = match &check.service {
            Some(name) if self.rendered.containers.contains_key(name) => return Some(name.clone()),
            Some(name) if self.rendered.hooks.contains_key(name) => (
                format!("`{name}` is a hook, and no part of what runs"),
                self.check_place(number, Some("service")),
            ),
            Some(name) => {
                let name: String = name.chars().take(80).collect();
                (format!("there is no Compose service `{name}`"), self.check_place(number, Some("service")))
            }
            None => match (known.next(), known.next()) {
                (Some(only), None) => return Some(only.clone()),
                _ => (
                    "the check does not say which Compose service it asks, and there are several".to_owned(),
                    self.check_place(number, None),
                ),
            },
        };
        let help = self.meant(check.service.as_deref().unwrap_or_default());
        self.found.push(Diagnostic::error("unknown-compose-service", place, message).help(help));
        None
    }

    /// Which Compose services there are.
    fn meant(&self, name: &str) -> String {
        let containers = &self.rendered.containers;
        let names: Vec<String> = containers.keys().take(10).map(|name| format!("`{name}`")).collect();
        let otherwise = format!("name one of the Compose file: {}", names.join(", "));
        suggestion(name, containers.keys().map(|name| &**name), &otherwise)
    }

    /// The place of a check: in the service, or in the defaults.
    fn check_place(&self, number: usize, field: Option<&'static str>) -> Place {
        let own = self.deployment.service.health.checks.is_some();
        let way = [Step::Key("health"), Step::Key("checks"), Step::Item(number)];
        let way = way.into_iter().chain(field.map(Step::Key));
        match own {
            true => self.place(&way.collect::<Vec<_>>()),
            false => {
                let way: Vec<Step<'_>> = [Step::Key("defaults")].into_iter().chain(way).collect();
                self.catalog.settings_place(&way)
            }
        }
    }

    fn place(&self, field: &[Step<'_>]) -> Place {
        self.catalog.deployment_place(self.entry, self.deployment, field)
    }

    fn hooks(&mut self) -> Hooks {
        let service = self.deployment.service.clone();
        let [before, after, on_failure] = service.hooks.lists().map(|(list, hooks)| self.list(list, hooks));
        Hooks { before, after, on_failure, content: self.rendered.hooks_digest(), attempt: None }
    }

    fn list(&mut self, list: &'static str, hooks: &[definition::Hook]) -> Vec<Hook> {
        let mut names = BTreeSet::new();
        for (item, hook) in hooks.iter().enumerate().take(MAX_HOOKS + 1) {
            let place = || self.place(&[Step::Key("hooks"), Step::Key(list), Step::Item(item)]);
            let name: String = hook.service.chars().take(80).collect();
            let diagnostic = if item == MAX_HOOKS {
                Diagnostic::error(
                    "too-many-hooks",
                    place(),
                    format!("more than {MAX_HOOKS} hooks are in `{list}`"),
                )
                .help("let one hook do more")
            } else if !self.rendered.hooks.contains_key(&hook.service) {
                let known = self.rendered.containers.keys().map(|name| &**name);
                let help = suggestion(&name, known, "name a service of the Compose file that runs once");
                let message = format!("there is no Compose service `{name}` to run as a hook");
                Diagnostic::error("unknown-compose-service", place(), message).help(help)
            } else if !names.insert(&hook.service) {
                Diagnostic::error("named-twice", place(), format!("`{name}` is named twice"))
                    .help("name it once")
            } else {
                continue;
            };
            self.found.push(diagnostic);
        }
        let timeout = |hook: &definition::Hook| hook.timeout.map_or(HOOK_TIMEOUT, |timeout| timeout.0);
        hooks.iter().map(|hook| Hook { service: hook.service.clone(), timeout: timeout(hook) }).collect()
    }
}

/// More in one list are refused: each holds up every change.
const MAX_HOOKS: usize = 20;

/// A name that says what is asked, and is not taken.
fn free_name(probe: &Probe, taken: &BTreeSet<Arc<str>>) -> Arc<str> {
    let name = match probe {
        Probe::Http { port, .. } => format!("http-{port}"),
        Probe::Tcp { port } => format!("tcp-{port}"),
        Probe::Exec { command } => {
            let program = command.first().map(|first| first.rsplit('/').next().unwrap_or_default());
            let is_good = |c: &char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(c);
            let program: String = program.into_iter().flat_map(str::chars).filter(is_good).take(40).collect();
            format!("exec-{}", program.to_ascii_lowercase())
        }
    };
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = [name.clone()].into_iter().chain(numbered);
    names.find(|name| !taken.contains(name.as_str())).expect("numbers do not end").into()
}
