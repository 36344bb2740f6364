//! The powers of a Compose service.

use serde_yaml::{Mapping, Value};

use super::super::dotenv;
use super::super::scalar::text_of;
use super::super::short::range;
use super::{List, is_foreign_label, is_on, items, named};

/// What Docker gives to every container that does not ask. To ask for it, mostly after `cap_drop: [ALL]`, is no power.
const GIVEN_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Fields that share a part of another namespace: what says nothing of the host, and the capability that all else is.
const NAMESPACES: &[(&str, &[&str], &str)] = &[
    ("cgroup", &["", "private"], "host-cgroup"),
    ("ipc", &["", "none", "private", "shareable"], "host-ipc"),
    ("pid", &["", "private"], "host-pid"),
    ("userns_mode", &["", "private"], "userns-host"),
    ("uts", &["", "private"], "host-uts"),
];

/// Fields that are a power as they stand, whatever they say.
const FIELDS: &[(&str, &str)] = &[
    ("cgroup_parent", "cgroup-parent"),
    ("container_name", "container-name"),
    ("cpu_rt_period", "realtime"),
    ("cpu_rt_runtime", "realtime"),
    ("credential_spec", "credential-spec"),
    ("gpus", "gpu"),
    ("models", "models"),
    ("post_start", "hooks"),
    ("pre_start", "hooks"),
    ("pre_stop", "hooks"),
    ("provider", "provider"),
];

/// Switches that are a power when they are on.
const SWITCHES: &[(&str, &str)] = &[
    ("oom_kill_disable", "oom-kill-disable"),
    ("privileged", "privileged"),
    ("use_api_socket", "docker-socket"),
];

impl<'m> List<'m> {
    pub(super) fn service(&mut self, _: &'m str, service: &'m Mapping) {
        for &(field, word) in FIELDS {
            if service.get(field).is_some_and(says_something) {
                self.at(field, |list| list.add(word, ""));
            }
        }
        for &(field, word) in SWITCHES {
            if is_on(service.get(field)) {
                self.at(field, |list| list.add(word, ""));
            }
        }
        self.namespaces(service);
        self.lists(service);
        self.devices(service);
        self.others(service);
        self.mounts(service);
        self.ports(service);
        self.labels_of_service(service);
    }

    fn namespaces(&mut self, service: &'m Mapping) {
        for &(field, harmless, word) in NAMESPACES {
            let value = service.get(field).map(text_of).unwrap_or_default();
            if !self.of_container(field, &value) && !harmless.contains(&&*value) {
                self.at(field, |list| list.add(word, ""));
            }
        }
        let network = service.get("network_mode").map(text_of).unwrap_or_default();
        if !self.of_container("network_mode", &network) {
            self.at("network_mode", |list| match &*network {
                "" | "none" => {}
                "host" => list.add("host-network", ""),
                "default" => list.add("external-network", "bridge"),
                name => list.add("external-network", name),
            });
        }
    }

    /// Whether it is the namespace of another container: one of the model, or a foreign one.
    fn of_container(&mut self, field: &'m str, value: &str) -> bool {
        if let Some(name) = value.strip_prefix("container:") {
            self.at(field, |list| list.add("foreign-container", name));
        }
        value.starts_with("container:") || value.starts_with("service:")
    }

    /// Fields that list powers, one an item.
    fn lists(&mut self, service: &'m Mapping) {
        self.each_text(service, "cap_add", |list, text| {
            let upper = text.trim().to_ascii_uppercase();
            if !GIVEN_CAPABILITIES.contains(&upper.strip_prefix("CAP_").unwrap_or(&upper)) {
                list.add("cap-add", &upper);
            }
        });
        self.each_text(service, "security_opt", |list, text| {
            let hardens = matches!(
                text.replacen('=', ":", 1).as_str(),
                "no-new-privileges" | "no-new-privileges:true" | "apparmor:docker-default"
            );
            if !hardens {
                list.add("security-opt", text);
            }
        });
        self.each_text(service, "device_cgroup_rules", |list, text| list.add("device", text));
        self.each_text(service, "external_links", |list, text| {
            list.add("foreign-container", text.split(':').next().unwrap_or(text));
        });
        self.each_text(service, "volumes_from", |list, text| {
            if let Some(rest) = text.strip_prefix("container:") {
                list.add("foreign-container", rest.split(':').next().unwrap_or(rest));
            }
        });
        for (field, word) in [("sysctls", "sysctl"), ("annotations", "annotation")] {
            let Some(Value::Mapping(pairs)) = service.get(field) else { continue };
            self.at(field, |list| {
                for (key, _) in named(pairs) {
                    list.at(key, |list| list.add(word, key));
                }
            });
        }
    }

    fn each_text(&mut self, service: &'m Mapping, field: &'m str, mut go: impl FnMut(&mut Self, &'m str)) {
        self.at(field, |list| {
            for text in items(service.get(field)).filter_map(Value::as_str) {
                list.at(text, |list| go(list, text));
            }
        });
    }

    /// Devices, in all fields that know of any.
    fn devices(&mut self, service: &'m Mapping) {
        self.at("devices", |list| {
            for device in items(service.get("devices")) {
                let source = device.get("source").unwrap_or(device).as_str().unwrap_or_default();
                list.at(source, |list| list.add("device", device_of(source)));
            }
        });
        let reserved = ["deploy", "resources", "reservations", "devices"];
        let devices =
            reserved[1..].iter().try_fold(service.get(reserved[0]), |value, key| Some(value?.get(*key)));
        let devices = devices.flatten();
        if items(devices).next().is_some() {
            self.path.extend(reserved);
            items(devices).for_each(|device| self.reserved_device(device));
            self.path.truncate(self.path.len() - reserved.len());
        }
        match service.get("runtime").map(text_of).unwrap_or_default().as_str() {
            "" | "runc" | "io.containerd.runc.v2" => {}
            runtime if runtime.starts_with("nvidia") => self.at("runtime", |list| list.add("gpu", "")),
            runtime => self.at("runtime", |list| list.add("runtime", runtime)),
        }
    }

    /// A device by driver and what it must be able to do.
    fn reserved_device(&mut self, device: &'m Value) {
        let driver = device.get("driver").and_then(Value::as_str).unwrap_or_default();
        let mut abilities = items(device.get("capabilities")).filter_map(Value::as_str);
        let ids: Vec<&str> = items(device.get("device_ids")).filter_map(Value::as_str).collect();
        if driver == "nvidia" || abilities.clone().any(|ability| ability == "gpu") {
            self.add("gpu", "");
        } else if driver == "cdi" && !ids.is_empty() {
            ids.into_iter().for_each(|id| self.add("device", id));
        } else {
            let name = Some(driver).filter(|driver| !driver.is_empty()).or_else(|| abilities.next());
            self.add("device", name.unwrap_or("any"));
        }
    }

    /// Fields with a rule of their own.
    fn others(&mut self, service: &'m Mapping) {
        let driver = service.get("logging").and_then(|logging| logging.get("driver")).map(text_of);
        if let Some(driver) =
            driver.filter(|driver| !matches!(&**driver, "" | "json-file" | "local" | "none"))
        {
            self.at("logging", |list| list.at("driver", |list| list.add("logging-driver", &driver)));
        }
        if service.get("oom_score_adj").is_some_and(|score| text_of(score).starts_with('-')) {
            self.at("oom_score_adj", |list| list.add("oom-score", ""));
        }
        for hooks in ["post_start", "pre_start", "pre_stop"] {
            if items(service.get(hooks)).any(|hook| is_on(hook.get("privileged"))) {
                self.at(hooks, |list| list.add("privileged", ""));
            }
        }
        self.at("networks", |list| {
            let networks = service.get("networks").and_then(Value::as_mapping);
            for (name, network) in networks.into_iter().flat_map(named) {
                list.at(name, |list| list.network_options(network.get("driver_opts")));
            }
        });
    }

    fn mounts(&mut self, service: &'m Mapping) {
        self.at("volumes", |list| {
            for mount in items(service.get("volumes")) {
                let text = |field: &str| mount.get(field).and_then(Value::as_str);
                let (kind, source) = (text("type").unwrap_or_default(), text("source").unwrap_or_default());
                let name = if source.is_empty() { text("target").unwrap_or_default() } else { source };
                list.at(name, |list| list.mount(kind, source, mount));
            }
        });
        for field in ["env_file", "label_file"] {
            self.at(field, |list| {
                for item in items(service.get(field)) {
                    let file = item.get("path").unwrap_or(item);
                    list.at(file.as_str().unwrap_or_default(), |list| list.file(file));
                }
            });
        }
    }

    fn mount(&mut self, kind: &str, source: &'m str, mount: &'m Value) {
        match kind {
            "volume" | "tmpfs" | "image" => {}
            "cluster" => self.add("external-volume", source),
            _ if source.starts_with("./") => {}
            _ => self.host_path(source),
        }
        let propagation = mount.get("bind").and_then(|bind| bind.get("propagation")).and_then(Value::as_str);
        if let Some(propagation) = propagation.filter(|one| matches!(*one, "shared" | "rshared")) {
            self.add("propagation", propagation);
        }
        self.at("volume", |list| list.labels(mount.get("volume").and_then(|volume| volume.get("labels"))));
    }

    fn ports(&mut self, service: &'m Mapping) {
        for port in items(service.get("ports")) {
            let published = match port {
                // Too many to write out: they stand as they were written.
                Value::String(text) => published_of(text).unwrap_or_default().to_owned(),
                port => port.get("published").map(text_of).unwrap_or_default(),
            };
            let Some((first, last)) = range(&published) else { continue };
            let name = port.as_str().unwrap_or(&published);
            let keys = self.path.iter().copied().chain(["ports", name, "published"]);
            let path = keys.map(Into::into).collect();
            self.powers.ports.insert((first, last, path));
        }
    }

    fn labels_of_service(&mut self, service: &'m Mapping) {
        self.labels(service.get("labels"));
        self.at("deploy", |list| list.labels(service.get("deploy").and_then(|deploy| deploy.get("labels"))));
        self.at("label_file", |list| {
            for item in items(service.get("label_file")) {
                let written = item.get("path").unwrap_or(item).as_str().unwrap_or_default();
                let Some(file) = written.strip_prefix("./").and_then(|path| list.files.get(path)) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&file.content);
                if dotenv::names(&text).any(is_foreign_label) {
                    list.at(written, |list| list.add("foreign-label", ""));
                }
            }
        });
    }
}

/// Whether a field is there and not empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Bool(true) | Value::Tagged(_) => true,
    }
}

/// `/dev/x` of `/dev/x:/dev/y:rwm`; the name of a CDI device as it stands.
fn device_of(text: &str) -> &str {
    if text.starts_with('/') { text.split(':').next().unwrap_or(text) } else { text }
}

/// What stands before the last `:` and behind the one before it.
fn published_of(port: &str) -> Option<&str> {
    let (front, _) = port.rsplit_once(':')?;
    Some(front.rsplit_once(':').map_or(front, |(_, published)| published))
}
