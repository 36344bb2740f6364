//! The merged document as the model of an instance: what profiles leave out is gone, what comes from variables is in,
//! and every name that is used is defined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::interpolate::Scope;
use super::known::misspells;
use super::mistakes::Mistakes;
use super::resolve::Pass;
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::suggestion;

/// A file whose content is a variable's value, by path from the service's folder.
pub(super) type Made = BTreeMap<Arc<str>, Arc<[u8]>>;

/// What [`Pass::finish`] gives besides the model.
#[derive(Default)]
pub(super) struct Finished {
    pub(super) warnings: Mistakes,
    pub(super) made: Made,
    /// The ways to the fields that Compose may not know.
    pub(super) unknown: Vec<Vec<String>>,
}

impl Pass<'_, '_, '_> {
    /// Turns the merged document into the model, in place.
    pub(super) fn finish(&mut self, model: &mut Mapping) -> Finished {
        let mut finished = Finished::default();
        let Some(Value::Mapping(mut services)) = model.shift_remove("services") else {
            self.no_services();
            return finished;
        };
        finished.unknown = self.unknown_fields(model, &services, &mut finished.warnings);
        let dropped = self.drop_inactive(&mut services);
        if services.keys().all(|name| self.is_hook(name)) {
            self.no_services();
        }
        for (name, service) in services.iter_mut() {
            let (Some(name), Value::Mapping(service)) = (name.as_str(), service) else { continue };
            self.service(name, service);
        }
        self.dependencies(&mut services, &dropped);
        self.hooks(&mut services, &mut finished.warnings);
        for section in ["networks", "volumes", "configs", "secrets"] {
            if let Some(Value::Mapping(things)) = model.get_mut(section) {
                things.values_mut().filter_map(Value::as_mapping_mut).for_each(drop_nulls);
                for (name, thing) in things.iter_mut() {
                    if let (Some(name), Value::Mapping(thing)) = (name.as_str(), thing) {
                        self.take_variable(section, name, thing, &mut finished.made);
                    }
                }
            }
        }
        self.references(&services, model);
        self.values(&services);
        model.retain(|_, section| section.as_mapping().is_none_or(|section| !section.is_empty()));
        model.insert("services".into(), Value::Mapping(services));
        for (section, value) in model.iter() {
            self.no_nul(value, &mut vec![section.as_str().unwrap_or_default()]);
        }
        finished
    }

    pub(super) fn say(
        &mut self,
        path: &[&str],
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.at(path);
        self.found.add(|| Diagnostic::error(code, place, message).help(help));
    }

    fn no_services(&mut self) {
        // A mistake that took the services away was reported where it stands.
        if self.found.is_empty() {
            self.say(
                &["services"],
                "no-services",
                match self.source.hooks.is_empty() {
                    true => "the Compose file has no service to run",
                    false => "the Compose file has no service to run but hooks, which do not stay",
                },
                "add one under `services:`",
            );
        }
    }

    fn is_hook(&self, service: &Value) -> bool {
        service.as_str().is_some_and(|name| self.source.hooks.contains(name))
    }

    /// Takes out the services whose profiles are all inactive, and says which.
    fn drop_inactive(&self, services: &mut Mapping) -> BTreeSet<String> {
        let active = |profile: &Value| {
            let is = |known: &Arc<str>| Some(&**known) == profile.as_str();
            profile.as_str() == Some("*")
                || self.source.profiles.iter().any(|known| is(known) || &**known == "*")
        };
        let mut dropped = BTreeSet::new();
        services.retain(|name, service| {
            let profiles = service.get("profiles").and_then(Value::as_sequence);
            let inactive = |profiles: &Vec<Value>| !profiles.is_empty() && !profiles.iter().any(active);
            let keep = self.is_hook(name) || !profiles.is_some_and(inactive);
            if !keep {
                dropped.extend(name.as_str().map(str::to_owned));
            }
            keep
        });
        dropped
    }

    fn service(&mut self, name: &str, service: &mut Mapping) {
        let path = ["services", name];
        if !is_service_name(name) {
            let message = format!(
                "`{}` cannot be the name of a Compose service",
                name.chars().take(80).collect::<String>()
            );
            self.say(&path, "invalid-value", message, "use letters, digits, `.`, `_` and `-`");
        }
        service.shift_remove("profiles");
        drop_nulls(service);
        if service.shift_remove("build").is_some() {
            self.say(
                &["services", name, "build"],
                "build-unsupported",
                format!("`{name}` would be built on the node"),
                "build the image in CI, push it, and name it in `image:` by tag or digest",
            );
        } else if !["image", "provider"]
            .iter()
            .any(|field| service.contains_key(field) || misspells(service, field))
        {
            let help = format!("add `image:` to `services.{name}`");
            // What is missing is missing where the service begins, not in the last file that adds to it.
            self.found.add(|| {
                let place = self.places.of_first_key(&self.origins, &path);
                let place = place.unwrap_or_else(|| Place::file(self.source.folder.clone()));
                Diagnostic::error("missing-image", place, format!("the service `{name}` has no image"))
                    .help(help)
            });
        }
        for field in ["labels", "annotations", "sysctls"] {
            let Some(Value::Mapping(pairs)) = service.get_mut(field) else { continue };
            pairs
                .values_mut()
                .filter(|value| value.is_null())
                .for_each(|value| *value = Value::String(String::new()));
        }
        if let Some(Value::Mapping(environment)) = service.get_mut("environment") {
            self.bare_variables(name, environment);
        }
    }

    /// `FOO` without a value takes that of the variable.
    fn bare_variables(&mut self, service: &str, environment: &mut Mapping) {
        for (name, value) in environment.iter_mut().filter(|(_, value)| value.is_null()) {
            let name = name.as_str().unwrap_or_default();
            match self.scope.look_up(name) {
                Some(known) => *value = Value::String(known.as_ref().to_owned()),
                None => self.unknown_variable(&["services", service, "environment", name], name),
            }
        }
    }

    fn unknown_variable(&mut self, path: &[&str], name: &str) {
        if self.found.skips() {
            return;
        }
        let name: String = name.chars().take(80).collect();
        let help = suggestion(
            &name,
            self.scope_names(),
            "define it under `variables:` of the service or the node, or in `[defaults]`",
        );
        self.say(
            path,
            "unknown-variable",
            format!("there is no variable `{name}` to take the value from"),
            help,
        );
    }

    fn scope_names(&self) -> impl Iterator<Item = &str> {
        Scope::names(&self.scope)
    }

    /// A config or secret whose content is a variable's value: on the node there is no such variable, so the value
    /// travels. Configs have a field for it; a secret becomes a file.
    fn take_variable(&mut self, section: &str, name: &str, thing: &mut Mapping, made: &mut Made) {
        if !matches!(section, "configs" | "secrets") {
            return;
        }
        let Some(variable) = thing.get("environment").and_then(Value::as_str).map(str::to_owned) else {
            return;
        };
        let Some(value) = self.scope.look_up(&variable) else {
            return self.unknown_variable(&[section, name, "environment"], &variable);
        };
        thing.shift_remove("environment");
        if section == "configs" {
            thing.insert("content".into(), Value::String(value.as_ref().to_owned()));
        } else {
            // Compose lets these names be used in paths: `[a-zA-Z0-9._-]+`.
            let path = format!(".gitops/secrets/{name}");
            thing.insert("file".into(), Value::String(format!("./{path}")));
            made.insert(path.into(), value.as_bytes().into());
        }
    }

    /// Every `depends_on` must lead to a service of the model, and none back to itself.
    fn dependencies(&mut self, services: &mut Mapping, dropped: &BTreeSet<String>) {
        let names: BTreeSet<String> = services.keys().filter_map(Value::as_str).map(str::to_owned).collect();
        for (name, service) in services.iter_mut() {
            let name = name.as_str().unwrap_or_default();
            let Some(Value::Mapping(dependencies)) = service.get_mut("depends_on") else { continue };
            dependencies.retain(|target, how| {
                let target = target.as_str().unwrap_or_default();
                let optional = how.get("required") == Some(&Value::Bool(false));
                if names.contains(target) {
                    return true;
                }
                let is_optional = optional && dropped.contains(target);
                if !is_optional && !self.found.skips() {
                    let known = names.iter().map(String::as_str);
                    let (message, help) = missing_dependency(name, target, dropped, known);
                    self.say(&["services", name, "depends_on", target], "unknown-service", message, help);
                }
                false
            });
            if dependencies.is_empty() {
                service.as_mapping_mut().map(|fields| fields.shift_remove("depends_on"));
            }
        }
        if let Some(cycle) = cycle(services) {
            let message = format!("services depend on each other: {}", cycle.join(" → "));
            self.say(
                &["services", cycle[0], "depends_on"],
                "dependency-cycle",
                message,
                "take one `depends_on` out",
            );
        }
    }

    /// What a service uses must be declared.
    fn references(&mut self, services: &Mapping, model: &Mapping) {
        for (name, service) in services {
            let name = name.as_str().unwrap_or_default();
            for (section, used) in used_names(service) {
                let declared = model.get(section).and_then(Value::as_mapping);
                let implied = section == "networks" && used == "default";
                // A variable that could not be replaced was told already.
                let unreplaced = used.contains('$') && !self.found.is_empty();
                if implied || unreplaced || declared.is_some_and(|declared| declared.contains_key(used)) {
                    continue;
                }
                if self.found.skips() {
                    continue;
                }
                let kind = &section[..section.len() - 1];
                let known = declared.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
                let help =
                    suggestion(used, known, &format!("declare it under `{section}:` of the Compose file"));
                let message = format!("`{name}` uses the {kind} `{used}`, which is not declared");
                self.say(&["services", name, section, used], "unknown-reference", message, help);
            }
        }
    }
}

fn missing_dependency<'a>(
    name: &str,
    target: &str,
    dropped: &BTreeSet<String>,
    known: impl Iterator<Item = &'a str>,
) -> (String, String) {
    let target: String = target.chars().take(80).collect();
    if dropped.contains(&target) {
        let message = format!("`{name}` depends on `{target}`, which no active profile has");
        return (message, "activate a profile of it, or add `required: false` to the dependency".to_owned());
    }
    let help = suggestion(&target, known, "name a service of this Compose file");
    (format!("`{name}` depends on `{target}`, which is not there"), help)
}

fn drop_nulls(fields: &mut Mapping) {
    fields.retain(|_, value| !value.is_null());
}

/// The rule of the Compose schema: `^[a-zA-Z0-9._-]+$`.
fn is_service_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Networks, volumes, configs and secrets that a service names, each with its section.
pub(super) fn used_names(service: &Value) -> Vec<(&'static str, &str)> {
    let mut used = Vec::new();
    if let Some(networks) = service.get("networks").and_then(Value::as_mapping) {
        used.extend(networks.keys().filter_map(Value::as_str).map(|name| ("networks", name)));
    }
    for section in ["volumes", "configs", "secrets"] {
        for item in service.get(section).and_then(Value::as_sequence).into_iter().flatten() {
            let named = section != "volumes" || item.get("type").and_then(Value::as_str) == Some("volume");
            used.extend(
                item.get("source").and_then(Value::as_str).filter(|_| named).map(|name| (section, name)),
            );
        }
    }
    used
}

/// A way from a service back to itself, if there is one.
fn cycle(services: &Mapping) -> Option<Vec<&str>> {
    let targets = |name: &str| -> Vec<&str> {
        let dependencies = services.get(name).and_then(|service| service.get("depends_on"));
        dependencies
            .and_then(Value::as_mapping)
            .into_iter()
            .flat_map(Mapping::keys)
            .filter_map(Value::as_str)
            .collect()
    };
    let mut done = BTreeSet::new();
    for start in services.keys().filter_map(Value::as_str) {
        // Depth first, without recursion: what is open, and what each of it has still to visit.
        let mut open: Vec<(&str, Vec<&str>)> = vec![(start, targets(start))];
        while let Some((name, waiting)) = open.last_mut() {
            let name = *name;
            let Some(next) = waiting.pop() else {
                done.insert(name);
                open.pop();
                continue;
            };
            if let Some(at) = open.iter().position(|(name, _)| *name == next) {
                return Some(open[at..].iter().map(|(name, _)| *name).chain([next]).collect());
            }
            if !done.contains(next) {
                open.push((next, targets(next)));
            }
        }
    }
    None
}
