//! The powers of networks, volumes, configs and secrets.
//!
//! What is not of the project is foreign, however it is written: `external: true`, or a `name:` that Compose would not
//! have given to it. And a volume of the local driver is whatever its options have the host mount.

use serde_yaml::{Mapping, Value};

use super::{List, is_on};

/// Options of networks that change nothing for the host or for other projects.
const HARMLESS_OPTIONS: &[&str] = &[
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.driver.mtu",
    "com.docker.network.endpoint.ifname",
    "encrypted",
];

/// The option of an endpoint that holds settings of the kernel: `net.ipv4.conf.IFNAME.forwarding=1,…`.
const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

impl<'m> List<'m> {
    pub(super) fn network(&mut self, name: &'m str, network: &'m Mapping) {
        let driver = network.get("driver").and_then(Value::as_str).unwrap_or_default();
        match (self.foreign(name, network), driver) {
            (Some((_, "host")), _) | (_, "host") => self.add("host-network", ""),
            (Some((field, foreign)), _) => self.at(field, |list| list.add("external-network", foreign)),
            (None, _) => {}
        }
        if !matches!(driver, "" | "default" | "bridge" | "overlay" | "none" | "null" | "host") {
            self.at("driver", |list| list.add("network-driver", driver));
        }
        let addresses = network.get("ipam").and_then(|ipam| ipam.get("driver")).and_then(Value::as_str);
        if let Some(driver) = addresses.filter(|driver| !matches!(*driver, "" | "default" | "null")) {
            self.at("ipam", |list| list.at("driver", |list| list.add("network-driver", driver)));
        }
        self.network_options(network.get("driver_opts"));
        self.labels(network.get("labels"));
    }

    /// Options of a network, or of a service in it.
    pub(super) fn network_options(&mut self, options: Option<&'m Value>) {
        let Some(Value::Mapping(options)) = options else { return };
        self.at("driver_opts", |list| {
            for (option, value) in super::named(options) {
                list.at(option, |list| match option {
                    ENDPOINT_SYSCTLS => list.endpoint_sysctls(value.as_str().unwrap_or_default()),
                    _ if HARMLESS_OPTIONS.contains(&option) => {}
                    _ => list.add("network-option", option),
                });
            }
        });
    }

    fn endpoint_sysctls(&mut self, settings: &str) {
        for setting in settings.split(',') {
            self.add("sysctl", setting.split('=').next().unwrap_or_default());
        }
    }

    /// The name of what is not of this project, with the field that says so.
    fn foreign(&self, key: &'m str, thing: &'m Mapping) -> Option<(&'static str, &'m str)> {
        let name = thing.get("name").and_then(Value::as_str);
        if is_on(thing.get("external")) {
            return Some(("external", name.unwrap_or(key)));
        }
        let own = |name: &&str| name.strip_prefix(self.project).is_some_and(|rest| rest.starts_with('_'));
        name.filter(|name| !own(name)).map(|name| ("name", name))
    }

    pub(super) fn volume(&mut self, name: &'m str, volume: &'m Mapping) {
        if let Some((field, foreign)) = self.foreign(name, volume) {
            self.at(field, |list| {
                list.add("external-volume", foreign);
                // The engine takes a name that is a path for one.
                if foreign.contains(['/', '\\']) {
                    list.host_path(foreign);
                }
            });
        }
        let driver = volume.get("driver").and_then(Value::as_str).unwrap_or_default();
        if !matches!(driver, "" | "default" | "local") {
            self.at("driver", |list| list.add("volume-driver", driver));
        } else if let Some(Value::Mapping(options)) = volume.get("driver_opts") {
            self.at("driver_opts", |list| list.local_volume(driver, options));
        }
        self.labels(volume.get("labels"));
    }

    /// What the local driver has the host mount, which is what `mount -t TYPE -o O DEVICE` would.
    fn local_volume(&mut self, driver: &str, options: &'m Mapping) {
        let option = |name: &str| {
            let mut all = super::named(options).filter(|(option, _)| option.eq_ignore_ascii_case(name));
            all.find_map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let (kind, flags, device) = (option("type"), option("o"), option("device"));
        // This one way Compose takes it for a folder of the service; otherwise the engine does for one of the host.
        if driver == "local" && flags == "bind" && device.starts_with("./") {
            return;
        }
        let mut settings = flags.split(',').map(str::trim);
        let is_bind = settings.clone().any(|flag| matches!(flag, "bind" | "rbind"));
        let is_plain = matches!(kind, "" | "none") && !device.is_empty();
        self.at("device", |list| match kind {
            _ if is_bind || is_plain => list.host_path(device),
            "" | "none" | "tmpfs" => {}
            _ => list.add("mount", &mounted(kind, device, flags)),
        });
        self.at("o", |list| settings.by_ref().for_each(|setting| list.paths_in(setting)));
    }

    /// The host reads the paths in `lowerdir=/a:/b` and `credentials=/a`.
    fn paths_in(&mut self, setting: &str) {
        let Some((_, value)) = setting.split_once('=') else { return };
        for path in value.split(':').filter(|path| path.starts_with('/') && !path.starts_with("//")) {
            self.host_path(path);
        }
    }

    /// A config or a secret.
    pub(super) fn source(&mut self, external: &'static str, name: &'m str, source: &'m Mapping) {
        if is_on(source.get("external")) {
            let name = source.get("name").and_then(Value::as_str).unwrap_or(name);
            self.at("external", |list| list.add(external, name));
        }
        if let Some(file) = source.get("file") {
            self.at("file", |list| list.file(file));
        }
        self.labels(source.get("labels"));
    }
}

/// `nfs:10.0.0.1:/export`: the kind and what is mounted. Nothing else of the options, which may hold passwords.
fn mounted(kind: &str, device: &str, flags: &str) -> String {
    let address = flags.split(',').find_map(|flag| flag.trim().strip_prefix("addr="));
    match address.filter(|_| device.starts_with(':')) {
        Some(address) => format!("{kind}:{address}{device}"),
        None => format!("{kind}:{device}"),
    }
}
