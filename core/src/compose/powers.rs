//! What a model lets its containers do to the host or to other projects: its dangerous powers, each by name and with
//! the field that uses it.
//!
//! The list is made from the canonical form, so that no short form, anchor, merge or variable hides anything, and it is
//! made for the rule and not for known examples: of fields with a few harmless values everything else counts, and so
//! does a field that is not known at all. What a power means, and whether it was granted, is not asked here.

mod capability;
mod host_path;
mod resource;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::files::Files;
pub use capability::{Capability, CapabilityPattern, KINDS, Kind, PatternError};
use host_path::Reach;

/// One use of a capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Power {
    /// What is used.
    pub capability: Capability,
    /// The field of the model that uses it.
    pub path: Vec<Arc<str>>,
}

/// The powers of a model. Of ports, which are harmless from some number on, all that are published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    named: BTreeSet<Power>,
    /// First and last port, with the field.
    ports: BTreeSet<(u32, u32, Vec<Arc<str>>)>,
}

impl Powers {
    /// Every use of a capability, where ports of the host below `floor` need one.
    pub fn below(&self, floor: u16) -> impl Iterator<Item = Power> + '_ {
        self.named.iter().cloned().chain(self.ports_below(floor))
    }

    /// The fields that use one capability.
    pub fn fields_of<'a>(
        &'a self,
        capability: &'a Capability,
        floor: u16,
    ) -> impl Iterator<Item = Vec<Arc<str>>> + 'a {
        let named = self.named.iter().filter(|power| power.capability == *capability);
        let ports = self.ports_below(floor).filter(|power| power.capability == *capability);
        named.map(|power| power.path.clone()).chain(ports.map(|power| power.path))
    }

    fn ports_below(&self, floor: u16) -> impl Iterator<Item = Power> + '_ {
        let last_kept = u32::from(floor).saturating_sub(1);
        let kept = self.ports.iter().filter(move |(first, ..)| *first <= last_kept);
        kept.map(move |(first, last, path)| {
            let last = (*last).min(last_kept);
            let range = if *first == last { first.to_string() } else { format!("{first}-{last}") };
            Power { capability: Capability::new("host-port", &range), path: path.clone() }
        })
    }

    /// Whether there is nothing that any floor makes a capability.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.ports.is_empty()
    }
}

/// Lists the powers of a model in canonical form. `own` are the names that its service has or had, `unknown` the fields that Compose may not know.
pub(super) fn powers<'a>(
    model: &Mapping,
    own: impl IntoIterator<Item = &'a str>,
    project: &str,
    files: &Files,
    unknown: &[Vec<String>],
) -> Powers {
    let mut list = List { project, files, path: Vec::new(), powers: Powers::default() };
    if !own.into_iter().any(|service| is_own_project(service, project)) {
        list.at("name", |list| list.add("foreign-project", project));
    }
    for path in unknown {
        list.unknown(path);
    }
    for (section, value) in named(model) {
        match section {
            "services" => list.each(section, value, List::service),
            "networks" => list.each(section, value, List::network),
            "volumes" => list.each(section, value, List::volume),
            "configs" => {
                list.each(section, value, |list, name, config| list.source("external-config", name, config))
            }
            "secrets" => {
                list.each(section, value, |list, name, secret| list.source("external-secret", name, secret))
            }
            "models" => list.at(section, |list| list.add("models", "")),
            _ => {}
        }
    }
    list.powers
}

/// A project of the name of the service, or of that with something behind it: whatever else has the name may hold the
/// volumes of another.
fn is_own_project(service: &str, project: &str) -> bool {
    let rest = project.strip_prefix(service);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// The list as it grows, and the way to where it is.
struct List<'m> {
    project: &'m str,
    files: &'m Files,
    path: Vec<&'m str>,
    powers: Powers,
}

impl<'m> List<'m> {
    /// The field here uses this capability.
    fn add(&mut self, word: &'static str, what: &str) {
        let path = self.path.iter().map(|&key| key.into()).collect();
        self.powers.named.insert(Power { capability: Capability::new(word, what), path });
    }

    /// Does something one step further down.
    fn at(&mut self, key: &'m str, go: impl FnOnce(&mut Self)) {
        self.path.push(key);
        go(self);
        self.path.pop();
    }

    /// The things of a section, by name.
    fn each(
        &mut self,
        section: &'m str,
        value: &'m Value,
        mut go: impl FnMut(&mut Self, &'m str, &'m Mapping),
    ) {
        self.at(section, |list| {
            for (name, thing) in value.as_mapping().into_iter().flat_map(named) {
                if let Value::Mapping(thing) = thing {
                    list.at(name, |list| go(list, name, thing));
                }
            }
        });
    }

    fn unknown(&mut self, path: &[String]) {
        let name = path.last().map(String::as_str).unwrap_or_default();
        let path = path.iter().map(|key| key.as_str().into()).collect();
        self.powers.named.insert(Power { capability: Capability::new("field", name), path });
    }

    /// A path of the host gets into a container.
    fn host_path(&mut self, path: &str) {
        let shown = host_path::shown(path);
        let reach = host_path::reach(&shown);
        if reach != Reach::Files {
            self.add("docker-socket", "");
        }
        // Through a folder there is more than the socket.
        if reach != Reach::Socket {
            self.add("bind", &shown);
        }
    }

    /// A path of a field that reads a file: one of the service's folder, or of the host.
    fn file(&mut self, value: &'m Value) {
        if let Some(path) = value.as_str().filter(|path| !path.starts_with("./")) {
            self.host_path(path);
        }
    }

    /// Labels that only gitops and Compose set.
    fn labels(&mut self, labels: Option<&'m Value>) {
        let Some(Value::Mapping(labels)) = labels else { return };
        self.at("labels", |list| {
            for (label, _) in named(labels).filter(|(label, _)| is_foreign_label(label)) {
                list.at(label, |list| list.add("foreign-label", ""));
            }
        });
    }
}

/// Whether gitops or Compose tell their own by this label.
fn is_foreign_label(label: &str) -> bool {
    let is_below =
        |space: &str| label.strip_prefix(space).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_below("gitops") || is_below("com.docker.compose")
}

fn named(fields: &Mapping) -> impl Iterator<Item = (&str, &Value)> {
    fields.iter().filter_map(|(key, value)| Some((key.as_str()?, value)))
}

/// The items of a list; of a single value, that value.
fn items(value: Option<&Value>) -> std::slice::Iter<'_, Value> {
    let list = value.and_then(Value::as_sequence).map(Vec::as_slice);
    list.or(value.map(std::slice::from_ref)).unwrap_or_default().iter()
}

/// Whether a switch is on. What is surely off is off.
fn is_on(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => {
            !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "no" | "off" | "n")
        }
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests;
