//! One document in canonical form: every short form written out, lists of `KEY=value` as mappings, text where Compose
//! means text, and every path seen from the service's folder.
//!
//! Done before documents are merged, so that two spellings of one thing merge and digest alike. What is not known here
//! stays as it is: Compose has more fields than this needs to understand.

use serde_yaml::{Mapping, Value};

use super::merge::{is_reset, keep_last_of_each};
use super::paths::{self, Target};
use super::places::Report;
use super::scalar::{number, octal, text_of};
use super::short;
use crate::yaml::Trail;

/// Fields of a service that hold one text; numbers and truths there are taken as they stand.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "cgroup", "cgroup_parent", "container_name", "cpuset", "domainname", "hostname", "image", "ipc",
    "isolation", "mac_address", "mem_limit", "mem_reservation", "memswap_limit", "network_mode", "pid",
    "platform", "pull_policy", "restart", "runtime", "shm_size", "stop_grace_period", "stop_signal", "user",
    "userns_mode", "uts", "working_dir",
];
/// Fields of a service that hold a number: `"3"`, as a variable gives it, is 3.
#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
    "cpus", "mem_swappiness", "oom_score_adj", "pids_limit", "scale",
];
const TRUTHS: &[&str] =
    &["attach", "init", "oom_kill_disable", "privileged", "read_only", "stdin_open", "tty"];
/// Lists of texts, of which a single one may stand alone.
#[rustfmt::skip]
const LISTS: &[&str] = &[
    "cap_add", "cap_drop", "command", "device_cgroup_rules", "dns", "dns_opt", "dns_search", "entrypoint",
    "expose", "external_links", "group_add", "links", "profiles", "security_opt", "tmpfs", "volumes_from",
];

/// Brings documents into canonical form.
pub(super) struct Normal<'a, 'r, 't> {
    /// The folder that paths are relative to, from the service's folder.
    pub(super) base: &'a str,
    pub(super) report: Report<'r, 't>,
    /// Values that short forms were written out to.
    pub(super) grown: usize,
}

type Step<'n, 'a, 'r, 't> = fn(&mut Normal<'a, 'r, 't>, &mut Value, &Trail<'_>);

/// What a tag is about: `!override` stands in front of a value that is like any other.
pub(super) fn untagged(mut value: &mut Value) -> &mut Value {
    while let Value::Tagged(tagged) = value {
        value = &mut tagged.value;
    }
    value
}

impl<'a, 'r, 't> Normal<'a, 'r, 't> {
    /// A whole document.
    pub(super) fn document(&mut self, document: &mut Mapping) {
        let sections: [(&str, Step<'_, 'a, 'r, 't>); 5] = [
            ("services", Self::service),
            ("networks", Self::network),
            ("volumes", Self::volume),
            ("configs", Self::source),
            ("secrets", Self::source),
        ];
        if let Some(name) = document.get_mut("name") {
            self.text(name, &Trail::ROOT.to("name"));
        }
        for (section, each) in sections {
            if let Some(value) = document.get_mut(section) {
                self.each_field(value, &Trail::ROOT.to(section), |normal, _, value, trail| {
                    each(normal, value, trail)
                });
            }
        }
    }

    /// Walks a mapping; what is no mapping is reported.
    pub(super) fn each_field(
        &mut self,
        value: &mut Value,
        trail: &Trail<'_>,
        mut each: impl FnMut(&mut Self, &str, &mut Value, &Trail<'_>),
    ) {
        match untagged(value) {
            Value::Mapping(fields) => {
                for (key, field) in fields.iter_mut().filter(|(_, field)| !is_reset(field)) {
                    let key = key.as_str().unwrap_or_default();
                    each(self, key, untagged(field), &trail.to(key));
                }
            }
            Value::Null => {}
            _ => self.wrong(trail, "a mapping"),
        }
    }

    fn each_item(
        &mut self,
        value: &mut Value,
        trail: &Trail<'_>,
        mut each: impl FnMut(&mut Self, &mut Value, &Trail<'_>),
    ) {
        match value {
            Value::Sequence(items) => {
                for (number, item) in items.iter_mut().enumerate().filter(|(_, item)| !is_reset(item)) {
                    each(self, untagged(item), &trail.to(number));
                }
            }
            Value::Null => {}
            _ => self.wrong(trail, "a list"),
        }
    }

    fn wrong(&mut self, trail: &Trail<'_>, expected: &str) {
        self.report.error(trail, "wrong-type", format!("`{trail}` must be {expected}"));
    }

    fn service(&mut self, value: &mut Value, trail: &Trail<'_>) {
        if value.is_null() {
            return self.wrong(trail, "a mapping");
        }
        self.each_field(value, trail, Self::service_field);
    }

    fn service_field(&mut self, key: &str, value: &mut Value, trail: &Trail<'_>) {
        match key {
            "environment" => self.pairs(value, trail, Value::Null),
            "labels" | "annotations" | "sysctls" => self.pairs(value, trail, Value::String(String::new())),
            "storage_opt" => self.texts(value, trail),
            "env_file" | "label_file" => self.env_files(value, trail),
            "command" | "entrypoint" if value.is_string() => {}
            "healthcheck" => self.each_field(value, trail, Self::healthcheck_field),
            "depends_on" => self.depends_on(value, trail),
            "networks" => self.service_networks(value, trail),
            "volumes" => self.mounts(value, trail),
            "ports" => self.ports(value, trail),
            "configs" | "secrets" => self.grants(value, trail),
            "extra_hosts" => self.extra_hosts(value, trail),
            "ulimits" => self.each_field(value, trail, |normal, _, value, trail| normal.ulimit(value, trail)),
            "logging" => self.each_field(value, trail, |normal, key, value, trail| {
                if key == "options" {
                    normal.texts(value, trail);
                }
            }),
            "deploy" => self.each_field(value, trail, Self::deploy_field),
            "extends" if value.is_string() => {
                let service = std::mem::take(value);
                *value = Value::Mapping(short::mapping([("service", service)]));
            }
            // "No limit": the one size that Compose takes as a number only.
            "mem_limit" | "mem_reservation" | "memswap_limit" | "shm_size" if text_of(value) == "-1" => {
                *value = Value::Number((-1).into());
            }
            _ if TEXTS.binary_search(&key).is_ok() => self.text(value, trail),
            _ if NUMBERS.binary_search(&key).is_ok() => number(value),
            _ if TRUTHS.binary_search(&key).is_ok() => self.truth(value, trail),
            _ if LISTS.binary_search(&key).is_ok() => self.list(value, trail),
            _ => {}
        }
        if let Value::Sequence(items) = value {
            keep_last_of_each(key, items);
        }
    }

    fn healthcheck_field(&mut self, key: &str, value: &mut Value, trail: &Trail<'_>) {
        match (key, &mut *value) {
            ("test", Value::String(command)) => {
                let command = std::mem::take(command);
                *value = Value::Sequence(vec!["CMD-SHELL".into(), command.into()]);
            }
            ("test", _) => self.list(value, trail),
            ("retries", _) => number(value),
            ("disable", _) => self.truth(value, trail),
            _ => {}
        }
    }

    fn deploy_field(&mut self, key: &str, value: &mut Value, trail: &Trail<'_>) {
        match key {
            "labels" => self.pairs(value, trail, Value::String(String::new())),
            "replicas" => number(value),
            "resources" => self.each_field(value, trail, |normal, _, value, trail| {
                normal.each_field(value, trail, |normal, key, value, trail| match key {
                    "cpus" | "memory" => normal.text(value, trail),
                    "pids" => number(value),
                    _ => {}
                });
            }),
            "restart_policy" => self.each_field(value, trail, |_, key, value, _| {
                if key == "max_attempts" {
                    number(value);
                }
            }),
            _ => {}
        }
    }

    /// Number or text, as text.
    pub(super) fn text(&mut self, value: &mut Value, trail: &Trail<'_>) {
        match value {
            Value::Number(_) | Value::Bool(_) => *value = Value::String(text_of(value)),
            Value::String(_) | Value::Null => {}
            _ => self.wrong(trail, "text"),
        }
    }

    /// `yes` and its kin are accepted where only a truth can stand, as Compose does.
    pub(super) fn truth(&mut self, value: &mut Value, trail: &Trail<'_>) {
        match value {
            Value::Bool(_) | Value::Null => {}
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => *value = Value::Bool(true),
                "false" | "n" | "no" | "off" => *value = Value::Bool(false),
                _ => self.wrong(trail, "`true` or `false`"),
            },
            _ => self.wrong(trail, "`true` or `false`"),
        }
    }

    /// A list of texts; a single text is a list of one.
    fn list(&mut self, value: &mut Value, trail: &Trail<'_>) {
        if matches!(value, Value::String(_) | Value::Number(_)) {
            *value = Value::Sequence(vec![Value::String(text_of(value))]);
        }
        self.each_item(value, trail, |normal, item, trail| normal.text(item, trail));
    }

    /// A mapping to texts.
    pub(super) fn texts(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.each_field(value, trail, |normal, _, value, trail| normal.text(value, trail));
    }

    /// A mapping, or a list of `KEY=value`; `bare` is what a key without `=` means.
    pub(super) fn pairs(&mut self, value: &mut Value, trail: &Trail<'_>, bare: Value) {
        let Value::Sequence(items) = value else { return self.texts(value, trail) };
        let mut fields = Mapping::with_capacity(items.len());
        for (number, item) in items.iter_mut().enumerate() {
            match untagged(item) {
                Value::String(pair) => {
                    let (key, value) = match pair.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Value::String(value.to_owned())),
                        None => (std::mem::take(pair), bare.clone()),
                    };
                    fields.insert(Value::String(key), value);
                }
                _ => self.wrong(&trail.to(number), "text of the form `KEY=value`"),
            }
        }
        *value = Value::Mapping(fields);
    }

    fn env_files(&mut self, value: &mut Value, trail: &Trail<'_>) {
        if value.is_string() {
            *value = Value::Sequence(vec![std::mem::take(value)]);
        }
        self.each_item(value, trail, |normal, item, trail| match item {
            Value::String(_) => normal.path(item, trail),
            Value::Mapping(file) => {
                let Some(path) = file.get_mut("path") else {
                    return normal.wrong(trail, "a path, or have a `path`");
                };
                normal.path(untagged(path), &trail.to("path"));
                if let Some(required) = file.get_mut("required") {
                    normal.truth(required, &trail.to("required"));
                }
                if file.get("required") == Some(&Value::Bool(true)) {
                    file.shift_remove("required");
                }
                // The short form says the same where there is nothing more to say.
                if let (1, Some(path)) = (file.len(), file.get_mut("path")) {
                    *item = std::mem::take(path);
                }
            }
            _ => normal.wrong(trail, "a path, or have a `path`"),
        });
    }

    fn depends_on(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.names_to_fields(value, trail);
        self.each_field(value, trail, |normal, _, value, trail| {
            if value.is_null() {
                *value = Value::Mapping(Mapping::new());
            }
            match value {
                Value::Mapping(fields) => {
                    fields.entry("condition".into()).or_insert_with(|| "service_started".into());
                    let required = fields.entry("required".into()).or_insert(Value::Bool(true));
                    normal.truth(untagged(required), &trail.to("required"));
                    if let Some(restart) = fields.get_mut("restart") {
                        normal.truth(untagged(restart), &trail.to("restart"));
                    }
                }
                _ => normal.wrong(trail, "a mapping"),
            }
        });
    }

    fn service_networks(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.names_to_fields(value, trail);
        self.each_field(value, trail, |normal, _, value, trail| {
            if value.is_null() {
                *value = Value::Mapping(Mapping::new());
            }
            normal.each_field(value, trail, |normal, key, value, trail| match key {
                "aliases" | "link_local_ips" => normal.list(value, trail),
                "driver_opts" => normal.texts(value, trail),
                "priority" => number(value),
                _ => {}
            });
        });
    }

    /// `[a, b]` as `{a: null, b: null}`.
    fn names_to_fields(&mut self, value: &mut Value, trail: &Trail<'_>) {
        let Value::Sequence(items) = value else { return };
        let mut fields = Mapping::with_capacity(items.len());
        for (number, item) in items.iter_mut().enumerate() {
            match untagged(item) {
                Value::String(name) => drop(fields.insert(Value::String(std::mem::take(name)), Value::Null)),
                _ => self.wrong(&trail.to(number), "a name"),
            }
        }
        *value = Value::Mapping(fields);
    }

    fn mounts(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.each_item(value, trail, |normal, item, trail| {
            if let Value::String(text) = item {
                let Some(volume) = short::volume(text) else {
                    return normal.report.error_with_help(
                        trail,
                        "invalid-value",
                        format!("`{}` is not a volume", text.chars().take(200).collect::<String>()),
                        "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`, or the long form",
                    );
                };
                normal.grown += volume.len();
                *item = Value::Mapping(volume);
            }
            let Value::Mapping(volume) = item else { return normal.wrong(trail, "text or a mapping") };
            if let Some(Value::String(target)) = volume.get_mut("target") {
                *target = short::clean(target);
            }
            if let Some(read_only) = volume.get_mut("read_only") {
                normal.truth(read_only, &trail.to("read_only"));
            }
            volume.retain(|key, value| match key.as_str() {
                Some("read_only") => value != &Value::Bool(false),
                Some("bind" | "volume" | "tmpfs") => {
                    value.as_mapping().is_none_or(|fields| !fields.is_empty())
                }
                _ => true,
            });
            if let Some(Value::Mapping(tmpfs)) = volume.get_mut("tmpfs") {
                tmpfs.get_mut("mode").map(octal).unwrap_or_default();
            }
            if volume.get("type").and_then(Value::as_str) == Some("bind") {
                match volume.get_mut("source") {
                    Some(source) => normal.path(untagged(source), &trail.to("source")),
                    None => normal.wrong(&trail.to("source"), "a path"),
                }
            }
        });
    }

    fn ports(&mut self, value: &mut Value, trail: &Trail<'_>) {
        let Value::Sequence(items) = value else {
            return self.each_item(value, trail, |_, _, _| {});
        };
        let mut ports = Vec::with_capacity(items.len());
        for (number, item) in std::mem::take(items).into_iter().enumerate() {
            let trail = trail.to(number);
            match item {
                Value::Mapping(mut port) => {
                    self.long_port(&mut port, &trail);
                    ports.push(Value::Mapping(port));
                }
                // Over the budget already: nothing more is written out, and the render fails.
                Value::String(_) | Value::Number(_) if self.grown > crate::yaml::MAX_NODES => {}
                Value::String(_) | Value::Number(_) => match short::ports(&text_of(&item)) {
                    Some(all) => {
                        self.grown += all.len() * 5;
                        ports.extend(all.into_iter().map(Value::Mapping));
                    }
                    None => ports.push(Value::String(text_of(&item))),
                },
                _ => self.wrong(&trail, "text or a mapping"),
            }
        }
        *items = ports;
    }

    fn long_port(&mut self, port: &mut Mapping, trail: &Trail<'_>) {
        if let Some(published) = port.get_mut("published") {
            self.text(published, &trail.to("published"));
        }
        if let Some(target) = port.get_mut("target") {
            number(target);
        }
        port.entry("mode".into()).or_insert_with(|| "ingress".into());
        port.entry("protocol".into()).or_insert_with(|| "tcp".into());
    }

    /// Configs and secrets as a service names them.
    fn grants(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.each_item(value, trail, |normal, item, trail| {
            if item.is_string() {
                *item = Value::Mapping(short::mapping([("source", std::mem::take(item))]));
            }
            let Value::Mapping(grant) = item else { return normal.wrong(trail, "a name or a mapping") };
            for key in ["uid", "gid"] {
                if let Some(id) = grant.get_mut(key) {
                    normal.text(id, &trail.to(key));
                }
            }
            grant.get_mut("mode").map(octal).unwrap_or_default();
        });
    }

    /// A mapping of host to address, or a list of `host:address` or `host=address`.
    fn extra_hosts(&mut self, value: &mut Value, trail: &Trail<'_>) {
        let mut hosts = Vec::new();
        match value {
            Value::Mapping(fields) => {
                for (host, addresses) in fields.iter() {
                    let host = host.as_str().unwrap_or_default();
                    let address = |address: &Value| Value::String(format!("{host}={}", text_of(address)));
                    match addresses {
                        Value::Sequence(addresses) => hosts.extend(addresses.iter().map(address)),
                        one => hosts.push(address(one)),
                    }
                }
            }
            Value::Sequence(items) => {
                for item in items.iter() {
                    let text = text_of(item);
                    let split = text.split_once('=').or_else(|| text.split_once(':'));
                    let pair =
                        split.map_or_else(|| text.clone(), |(host, address)| format!("{host}={address}"));
                    hosts.push(Value::String(pair));
                }
            }
            Value::Null => return,
            _ => return self.wrong(trail, "a list or a mapping"),
        }
        hosts.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        hosts.dedup();
        *value = Value::Sequence(hosts);
    }

    fn ulimit(&mut self, value: &mut Value, trail: &Trail<'_>) {
        match value {
            Value::Mapping(_) => self.each_field(value, trail, |_, _, value, _| number(value)),
            _ => number(value),
        }
    }

    /// Makes a path one from the service's folder: `./conf/nginx.conf`.
    pub(super) fn path(&mut self, value: &mut Value, trail: &Trail<'_>) {
        let Value::String(text) = value else { return self.wrong(trail, "a path") };
        match paths::target(self.base, text) {
            Ok(Target::Host) => {}
            Ok(Target::Inside(path)) => *text = format!("./{path}"),
            Err(fault) => {
                self.report.error_with_help(trail, fault.code(), fault.message(text), fault.help());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_searched_are_sorted() {
        assert!([TEXTS, NUMBERS, TRUTHS, LISTS].iter().all(|list| list.is_sorted()));
    }
}
