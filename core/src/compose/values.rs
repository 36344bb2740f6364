//! Values that Compose or Docker would refuse on the node, said where they are written.
//!
//! Only what is surely wrong: a value that some version of either takes is left to them.

use std::collections::BTreeSet;

use serde_yaml::{Mapping, Value};

use super::known::misspells;
use super::reference::is_reference;
use super::resolve::Pass;
use super::scalar::text_of;
use super::short::{is_long_range, range};
use crate::yaml::{closest, suggestion};

/// What a field accepts: whether a value is that, and how to write it.
struct Rule {
    accepts: fn(&str) -> bool,
    /// Behind "write".
    form: &'static str,
    /// Words to choose from, if it takes no more than those.
    words: &'static [&'static str],
}

const fn one_of(words: &'static [&'static str]) -> Rule {
    Rule { accepts: |_| false, form: "", words }
}

const NUMBER: Rule =
    Rule { accepts: |text| text.parse::<f64>().is_ok(), form: "a number, such as `2` or `0.5`", words: &[] };
const SIZE: Rule = Rule { accepts: is_size, form: "a size, such as `512m` or `2gb`", words: &[] };
const SPAN: Rule =
    Rule { accepts: is_span, form: "a span of time, such as `90s`, `1m30s` or `500ms`", words: &[] };
const IMAGE: Rule = Rule {
    accepts: is_reference,
    form: "`NAME`, `NAME:TAG` or `NAME@sha256:DIGEST`, the name in lower case",
    words: &[],
};
const CONTAINER: Rule = Rule {
    accepts: is_container_name,
    form: "two or more letters, digits, `_`, `.` and `-`, starting with a letter or digit",
    words: &[],
};
const RESTART: Rule = Rule {
    accepts: |text| {
        let most = text.strip_prefix("on-failure:");
        text.is_empty() || most.is_some_and(|most| most.parse::<u32>().is_ok())
    },
    form: "`on-failure:3` with a number",
    words: &["no", "always", "unless-stopped", "on-failure"],
};
const PULL: Rule = Rule {
    accepts: |text| text.strip_prefix("every_").is_some_and(is_span),
    form: "`every_12h`",
    words: &["always", "never", "missing", "if_not_present", "build", "refresh", "daily", "weekly"],
};

/// When a container that ended is started again.
const CONDITIONS: Rule = Rule {
    accepts: str::is_empty,
    form: "",
    words: &["none", "on-failure", "any", "always", "no", "unless-stopped"],
};

/// Fields of a service, sorted.
const FIELDS: &[(&str, Rule)] = &[
    ("cgroup", one_of(&["host", "private"])),
    ("container_name", CONTAINER),
    ("cpu_count", NUMBER),
    ("cpu_percent", NUMBER),
    ("cpu_period", NUMBER),
    ("cpu_quota", NUMBER),
    ("cpu_rt_period", NUMBER),
    ("cpu_rt_runtime", NUMBER),
    ("cpu_shares", NUMBER),
    ("cpus", NUMBER),
    ("image", IMAGE),
    ("mem_limit", SIZE),
    ("mem_reservation", SIZE),
    ("mem_swappiness", NUMBER),
    ("memswap_limit", SIZE),
    ("oom_score_adj", NUMBER),
    ("pids_limit", NUMBER),
    ("pull_policy", PULL),
    ("restart", RESTART),
    ("scale", NUMBER),
    ("shm_size", SIZE),
    ("stop_grace_period", SPAN),
];

/// Fields further down.
const DEEPER: &[(&[&str], Rule)] = &[
    (&["healthcheck", "interval"], SPAN),
    (&["healthcheck", "timeout"], SPAN),
    (&["healthcheck", "start_period"], SPAN),
    (&["healthcheck", "start_interval"], SPAN),
    (&["healthcheck", "retries"], NUMBER),
    (&["deploy", "replicas"], NUMBER),
    (&["deploy", "restart_policy", "delay"], SPAN),
    (&["deploy", "restart_policy", "window"], SPAN),
    (&["deploy", "restart_policy", "max_attempts"], NUMBER),
    (&["deploy", "restart_policy", "condition"], CONDITIONS),
    (&["deploy", "resources", "limits", "cpus"], NUMBER),
    (&["deploy", "resources", "limits", "memory"], SIZE),
    (&["deploy", "resources", "limits", "pids"], NUMBER),
    (&["deploy", "resources", "reservations", "cpus"], NUMBER),
    (&["deploy", "resources", "reservations", "memory"], SIZE),
];

const CONDITION: Rule = one_of(&["service_started", "service_healthy", "service_completed_successfully"]);
const MOUNT: Rule = one_of(&["bind", "volume", "tmpfs", "image", "npipe", "cluster"]);
const PROTOCOL: Rule = one_of(&["tcp", "udp", "sctp"]);
const MODE: Rule = one_of(&["host", "ingress"]);
const PORTS: Rule =
    Rule { accepts: is_ports, form: "a port from 1 to 65535, or a range such as `8000-8010`", words: &[] };

impl Rule {
    fn is_met(&self, value: &Value) -> bool {
        let text = text_of(value);
        match value {
            Value::String(_) | Value::Number(_) => self.words.contains(&&*text) || (self.accepts)(&text),
            Value::Null => true,
            _ => false,
        }
    }

    fn help(&self, value: &str) -> String {
        if let Some(meant) = closest(value, self.words.iter().copied()) {
            return format!("did you mean `{meant}`?");
        }
        let words = self.words.iter().map(|word| format!("`{word}`"));
        let forms: Vec<String> =
            words.chain(Some(self.form.to_owned()).filter(|form| !form.is_empty())).collect();
        match forms.split_last() {
            Some((last, [])) => format!("write {last}"),
            Some((last, others)) => format!("write {} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl Pass<'_, '_, '_> {
    /// Every value of the services that is surely wrong.
    pub(super) fn values(&mut self, services: &Mapping) {
        let names: BTreeSet<&str> = services.keys().filter_map(Value::as_str).collect();
        for (name, service) in services {
            if let (Some(name), Value::Mapping(service)) = (name.as_str(), service) {
                self.fields(name, service);
                self.services_named(name, service, &names);
                self.ports(name, service);
                self.things(name, service);
                self.health_test(name, service);
                self.environment_names(name, service);
            }
        }
    }

    fn fields(&mut self, name: &str, service: &Mapping) {
        for (field, value) in service.iter().filter_map(|(field, value)| Some((field.as_str()?, value))) {
            if let Ok(at) = FIELDS.binary_search_by_key(&field, |(known, _)| known) {
                self.rule(&["services", name, field], value, &FIELDS[at].1);
            }
        }
        for (path, rule) in DEEPER {
            let Some((first, rest)) = path.split_first() else { continue };
            let start = service.get(*first);
            if let Some(value) = rest.iter().try_fold(start, |value, key| Some(value?.get(*key))).flatten() {
                let full: Vec<&str> = ["services", name].into_iter().chain(path.iter().copied()).collect();
                self.rule(&full, value, rule);
            }
        }
    }

    /// Whether a variable could not be replaced here, which was told already.
    fn is_unreplaced(&self, value: &Value) -> bool {
        !self.found.is_empty() && value.as_str().is_some_and(|text| text.contains('$'))
    }

    fn rule(&mut self, path: &[&str], value: &Value, rule: &Rule) {
        if !self.is_unreplaced(value) && !rule.is_met(value) && !self.found.skips() {
            let shown = shown(value);
            let help = rule.help(&shown);
            let is = if shown.is_empty() { "empty".to_owned() } else { format!("`{shown}`") };
            self.say(path, "invalid-value", format!("`{}` cannot be {is}", path.join(".")), help);
        }
    }

    /// `service:NAME` and its kin must name a service of the model.
    fn services_named(&mut self, name: &str, service: &Mapping, names: &BTreeSet<&str>) {
        let mut used: Vec<(&str, &str)> = Vec::new();
        for field in ["network_mode", "ipc", "pid"] {
            let value = service.get(field).and_then(Value::as_str);
            used.extend(value.and_then(|value| value.strip_prefix("service:")).map(|target| (field, target)));
        }
        for field in ["links", "volumes_from"] {
            let items = service.get(field).and_then(Value::as_sequence).into_iter().flatten();
            let targets = items.filter_map(Value::as_str).filter(|item| !item.starts_with("container:"));
            used.extend(targets.map(|item| (field, item.split(':').next().unwrap_or(item))));
        }
        for (field, target) in used.into_iter().filter(|(_, target)| !names.contains(target)) {
            if self.found.skips() {
                continue;
            }
            let shown: String = target.chars().take(80).collect();
            let help = suggestion(target, names.iter().copied(), "name a service of this Compose file");
            let message = format!("`{field}` of `{name}` names the service `{shown}`, which is not there");
            self.say(&["services", name, field], "unknown-service", message, help);
        }
    }

    fn ports(&mut self, name: &str, service: &Mapping) {
        for (number, port) in items(service, "ports").enumerate() {
            let item = number.to_string();
            let place = ["services", name, "ports", port.as_str().unwrap_or(&item)];
            if let Value::String(text) = port {
                if !is_long_range(text) && !self.is_unreplaced(port) && !self.found.skips() {
                    let shown = shown(port);
                    let help = "write `[[HOST:]PUBLISHED:]TARGET[/PROTOCOL]`, such as `127.0.0.1:8080:80/tcp`, with ports from 1 to 65535";
                    self.say(&place, "invalid-value", format!("`{shown}` is not a port"), help);
                }
                continue;
            }
            if lacks(port, "target") {
                self.say(
                    &place,
                    "missing-field",
                    "a port needs a `target`",
                    "add `target:`, the port in the container",
                );
            }
            for (field, rule) in
                [("target", PORTS), ("published", PORTS), ("protocol", PROTOCOL), ("mode", MODE)]
            {
                if let Some(value) = port.get(field) {
                    self.rule(&["services", name, "ports", &item, field], value, &rule);
                }
            }
        }
    }

    /// Dependencies and mounts.
    fn things(&mut self, name: &str, service: &Mapping) {
        for (target, how) in service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten() {
            if let (Some(target), Some(condition)) = (target.as_str(), how.get("condition")) {
                self.rule(&["services", name, "depends_on", target, "condition"], condition, &CONDITION);
            }
        }
        for (number, mount) in items(service, "volumes").enumerate() {
            let item = number.to_string();
            let path = ["services", name, "volumes", &item];
            if lacks(mount, "type") {
                self.say(
                    &path,
                    "missing-field",
                    "a mount needs a `type`",
                    "add `type: bind` or `type: volume`",
                );
            }
            if let Some(kind) = mount.get("type") {
                self.rule(&["services", name, "volumes", &item, "type"], kind, &MOUNT);
            }
            if lacks(mount, "target") {
                self.say(
                    &path,
                    "missing-field",
                    "a mount needs a `target`",
                    "add `target:`, the path in the container",
                );
            }
            if let Some(size) = mount.get("tmpfs").and_then(|tmpfs| tmpfs.get("size")) {
                self.rule(&["services", name, "volumes", &item, "tmpfs", "size"], size, &SIZE);
            }
        }
    }

    fn health_test(&mut self, name: &str, service: &Mapping) {
        let test = service.get("healthcheck").and_then(|health| health.get("test"));
        let first = test.and_then(Value::as_sequence).and_then(|test| test.first());
        if let Some(first) =
            first.filter(|first| !matches!(first.as_str(), Some("NONE" | "CMD" | "CMD-SHELL")))
        {
            let message = format!("a health check cannot begin with `{}`", shown(first));
            let help = "begin the list with `CMD`, `CMD-SHELL` or `NONE`, or write the command as one text";
            self.say(&["services", name, "healthcheck", "test"], "invalid-value", message, help);
        }
    }

    fn environment_names(&mut self, name: &str, service: &Mapping) {
        let environment = service.get("environment").and_then(Value::as_mapping);
        for variable in environment.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str) {
            if variable.is_empty() || variable.contains('=') {
                let shown: String = variable.chars().take(80).collect();
                let message = format!("`{shown}` cannot be the name of an environment variable");
                self.say(
                    &["services", name, "environment", variable],
                    "invalid-value",
                    message,
                    "write `NAME: value`",
                );
            }
        }
    }

    /// Docker ends a text at the character NUL, or refuses it.
    pub(super) fn no_nul<'m>(&mut self, value: &'m Value, path: &mut Vec<&'m str>) {
        match value {
            Value::String(text) if text.contains('\0') => {
                let message = format!("`{}` has the character NUL in it", path.join("."));
                self.say(path, "invalid-value", message, "take it out: no program can be given it");
            }
            Value::Mapping(fields) => {
                for (key, field) in fields {
                    path.push(key.as_str().unwrap_or_default());
                    self.no_nul(field, path);
                    path.pop();
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.no_nul(item, path)),
            _ => {}
        }
    }
}

fn items<'a>(service: &'a Mapping, field: &str) -> impl Iterator<Item = &'a Value> {
    service.get(field).and_then(Value::as_sequence).into_iter().flatten()
}

fn lacks(value: &Value, field: &str) -> bool {
    value.as_mapping().is_some_and(|fields| !fields.contains_key(field) && !misspells(fields, field))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        scalar => text_of(scalar).chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

/// `512m`, `1.5 GiB`, `1024`, as <https://pkg.go.dev/github.com/docker/go-units#RAMInBytes> reads them; `-1` is no limit.
fn is_size(text: &str) -> bool {
    let (number, unit) = match text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ')) {
        Some(at) => (text[..=at].strip_suffix(' ').unwrap_or(&text[..=at]), &text[at + 1..]),
        None => return false,
    };
    let unit = unit.to_ascii_lowercase();
    let units = ["", "b"].contains(&&*unit)
        || (unit.starts_with(['k', 'm', 'g', 't', 'p']) && ["", "b", "i", "ib"].contains(&&unit[1..]));
    units && (number == "-1" || number.parse::<f64>().is_ok_and(|number| number >= 0.0))
}

/// `1h30m`, `1.5s`, as <https://pkg.go.dev/time#ParseDuration> reads them; newer versions of Compose know days and weeks.
fn is_span(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - after.len()];
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "w"]
            .into_iter()
            .filter(|unit| after.starts_with(unit))
            .max_by_key(|unit| unit.len());
        let (Some(unit), Ok(_)) = (unit, number.parse::<f64>()) else { return false };
        rest = &after[unit.len()..];
    }
    !text.is_empty()
}

/// Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn is_container_name(text: &str) -> bool {
    // An empty one is none.
    text.is_empty()
        || text.len() > 1
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_ports(text: &str) -> bool {
    range(text).is_some() || matches!(text, "" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_searched_are_sorted() {
        assert!(FIELDS.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn values_are_told_apart() {
        let check = |accepts: fn(&str) -> bool, right: &[&str], wrong: &[&str]| {
            right.iter().for_each(|text| assert!(accepts(text), "{text}"));
            wrong.iter().for_each(|text| assert!(!accepts(text), "{text}"));
        };
        check(
            is_size,
            &["1", "512m", "5 m", "5mib", "5MiB", "1.5g", "2GB", "10b", "0", "-1", "5mi"],
            &["5 apples", "", "m", "lots", "1.5.5", "-5m", "5mbb", "5x", "é", "5 é"],
        );
        check(
            is_span,
            &["90s", "1m30s", "1.5h", "0", "-1s", "500ms", "1us", "2d"],
            &["", "10", "10 minutes", "1h 30m", "s", "1x", "1.2.3s", "é"],
        );
        check(is_container_name, &["ab", "a-b.c_d", "0a"], &["a", "-ab", "a b", "é1", "a/b"]);
        check(is_ports, &["80", "8000-8010", "0", ""], &["abc", "65536", "81-80", "-1"]);
    }
}
