//! The fields that Compose knows, and what is said of one that it does not.
//!
//! Compose refuses a file with a field that it does not know. So does this where the name is close to a known one: that
//! is a slip, and the setting that was meant would be missing. Any other name may be of a newer Compose than this list,
//! so it is kept and only warned of.

use serde_yaml::{Mapping, Value};

use super::mistakes::Mistakes;
use super::resolve::Pass;
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::closest;

/// The fields of a mapping.
struct Known {
    names: &'static [&'static str],
    /// What stands below some of them.
    below: &'static [(&'static str, Below)],
}

/// What stands below a field.
enum Below {
    /// One mapping.
    One(&'static Known),
    /// A mapping for each name that people choose, or for each item of a list.
    Each(&'static Known),
}

use Below::{Each, One};

const fn plain(names: &'static [&'static str]) -> Known {
    Known { names, below: &[] }
}

const SECTIONS: Known = Known {
    names: &["configs", "models", "name", "networks", "secrets", "services", "volumes"],
    below: &[
        ("networks", Each(&NETWORK)),
        ("volumes", Each(&plain(&["driver", "driver_opts", "external", "labels", "name"]))),
        ("configs", Each(&plain(SOURCE))),
        ("secrets", Each(&plain(SOURCE))),
    ],
};

const SOURCE: &[&str] = &[
    "content",
    "driver",
    "driver_opts",
    "environment",
    "external",
    "file",
    "labels",
    "name",
    "template_driver",
];

#[rustfmt::skip]
const NETWORK: Known = Known {
    names: &[
        "attachable", "driver", "driver_opts", "enable_ipv4", "enable_ipv6", "external", "internal", "ipam", "labels",
        "name",
    ],
    below: &[("ipam", One(&Known {
        names: &["config", "driver", "options"],
        below: &[("config", Each(&plain(&["aux_addresses", "gateway", "ip_range", "subnet"])))],
    }))],
};

/// Of the Compose specification; `build` and `develop` are dealt with before.
#[rustfmt::skip]
const SERVICE: Known = Known {
    names: &[
        "annotations", "attach", "blkio_config", "build", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "command",
        "configs", "container_name", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period",
        "cpu_rt_runtime", "cpu_shares", "cpus", "cpuset", "credential_spec", "depends_on", "deploy",
        "device_cgroup_rules", "devices", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "env_file",
        "environment", "expose", "external_links", "extra_hosts", "gpus", "group_add", "healthcheck", "hostname",
        "image", "init", "ipc", "isolation", "label_file", "labels", "links", "logging", "mac_address",
        "mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "models", "network_mode", "networks",
        "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "ports", "post_start", "pre_start",
        "pre_stop", "privileged", "profiles", "provider", "pull_policy", "pull_refresh_after", "read_only", "restart",
        "runtime", "scale", "secrets", "security_opt", "shm_size", "stdin_open", "stop_grace_period", "stop_signal",
        "storage_opt", "sysctls", "tmpfs", "tty", "ulimits", "use_api_socket", "user", "userns_mode", "uts",
        "volumes", "volumes_from", "working_dir",
    ],
    below: &[
        ("configs", Each(&GRANT)),
        ("depends_on", Each(&plain(&["condition", "required", "restart"]))),
        ("deploy", One(&DEPLOY)),
        ("env_file", Each(&plain(&["format", "path", "required"]))),
        ("healthcheck", One(&plain(&[
            "disable", "interval", "retries", "start_interval", "start_period", "test", "timeout",
        ]))),
        ("logging", One(&plain(&["driver", "options"]))),
        ("networks", Each(&plain(&[
            "aliases", "driver_opts", "gw_priority", "interface_name", "ipv4_address", "ipv6_address",
            "link_local_ips", "mac_address", "priority",
        ]))),
        ("ports", Each(&plain(&["app_protocol", "host_ip", "mode", "name", "protocol", "published", "target"]))),
        ("secrets", Each(&GRANT)),
        ("ulimits", Each(&plain(&["hard", "soft"]))),
        ("volumes", Each(&MOUNT)),
    ],
};

const GRANT: Known = plain(&["gid", "mode", "source", "target", "uid"]);

#[rustfmt::skip]
const MOUNT: Known = Known {
    names: &["bind", "consistency", "image", "read_only", "source", "target", "tmpfs", "type", "volume"],
    below: &[
        ("bind", One(&plain(&["create_host_path", "propagation", "recursive", "selinux"]))),
        ("image", One(&plain(&["subpath"]))),
        ("tmpfs", One(&plain(&["mode", "size"]))),
        ("volume", One(&plain(&["labels", "nocopy", "subpath"]))),
    ],
};

#[rustfmt::skip]
const DEPLOY: Known = Known {
    names: &[
        "endpoint_mode", "labels", "mode", "placement", "replicas", "resources", "restart_policy", "rollback_config",
        "update_config",
    ],
    below: &[
        ("resources", One(&Known {
            names: &["limits", "reservations"],
            below: &[
                ("limits", One(&plain(&["cpus", "memory", "pids"]))),
                ("reservations", One(&plain(&["cpus", "devices", "generic_resources", "memory"]))),
            ],
        })),
        ("restart_policy", One(&plain(&["condition", "delay", "max_attempts", "window"]))),
        ("rollback_config", One(&plain(UPDATE))),
        ("update_config", One(&plain(UPDATE))),
    ],
};

const UPDATE: &[&str] = &["delay", "failure_action", "max_failure_ratio", "monitor", "order", "parallelism"];

impl Pass<'_, '_, '_> {
    /// Every field of the model that Compose does not know: says so, and returns the ways to them.
    /// `services` stands apart from `model`.
    pub(super) fn unknown_fields(
        &mut self,
        model: &Mapping,
        services: &Mapping,
        warnings: &mut Mistakes,
    ) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        let mut unknown = |path: &[&str], known: &'static Known| {
            self.unknown_field(path, known, warnings);
            all.push(path.iter().map(|&key| key.to_owned()).collect());
        };
        in_mapping(model, &SECTIONS, &mut Vec::new(), &mut unknown);
        for (name, service) in services {
            if let (Some(name), Value::Mapping(service)) = (name.as_str(), service) {
                in_mapping(service, &SERVICE, &mut vec!["services", name], &mut unknown);
            }
        }
        all
    }

    fn unknown_field(&mut self, path: &[&str], known: &'static Known, warnings: &mut Mistakes) {
        let name: String = path.last().copied().unwrap_or_default().chars().take(80).collect();
        let meant = closest(&name, known.names.iter().copied());
        let place = || {
            self.places.of_key(&self.origins, path).unwrap_or_else(|| Place::file(self.source.folder.clone()))
        };
        match meant {
            Some(meant) => self.found.add(|| {
                Diagnostic::error("unknown-field", place(), format!("Compose has no field `{name}` here"))
                    .help(format!("did you mean `{meant}`?"))
            }),
            None => warnings.add(|| {
                let message = format!("Compose may not know the field `{name}`");
                Diagnostic::warning("unknown-field", place(), message)
            }),
        }
    }
}

/// Calls `unknown` with the way to each field that is not known.
fn in_mapping<'m>(
    fields: &'m Mapping,
    known: &'static Known,
    path: &mut Vec<&'m str>,
    unknown: &mut impl FnMut(&[&str], &'static Known),
) {
    for (name, value) in fields.iter().filter_map(|(name, value)| Some((name.as_str()?, value))) {
        path.push(name);
        if known.names.binary_search(&name).is_ok() {
            match known.below.iter().find(|(field, _)| *field == name) {
                Some((_, One(known))) => in_value(value, known, path, unknown),
                Some((_, Each(known))) => in_each(value, known, path, unknown),
                None => {}
            }
        } else if !name.starts_with("x-") {
            unknown(path, known);
        }
        path.pop();
    }
}

fn in_value<'m>(
    value: &'m Value,
    known: &'static Known,
    path: &mut Vec<&'m str>,
    unknown: &mut impl FnMut(&[&str], &'static Known),
) {
    if let Value::Mapping(fields) = value {
        in_mapping(fields, known, path, unknown);
    }
}

fn in_each<'m>(
    value: &'m Value,
    known: &'static Known,
    path: &mut Vec<&'m str>,
    unknown: &mut impl FnMut(&[&str], &'static Known),
) {
    match value {
        Value::Mapping(things) => {
            for (name, thing) in things.iter().filter_map(|(name, thing)| Some((name.as_str()?, thing))) {
                path.push(name);
                in_value(thing, known, path, unknown);
                path.pop();
            }
        }
        Value::Sequence(items) => {
            for item in items {
                let name = ["source", "target", "path"].iter().find_map(|key| item.get(key)?.as_str());
                path.push(name.unwrap_or("0"));
                in_value(item, known, path, unknown);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Whether a mapping that lacks `field` has one that was probably meant to be it, which is told already.
pub(super) fn misspells(fields: &Mapping, field: &str) -> bool {
    fields.keys().filter_map(Value::as_str).any(|name| name != field && closest(name, [field]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_sorted(known: &Known) {
        assert!(known.names.is_sorted(), "{:?}", known.names);
        for (name, below) in known.below {
            assert!(known.names.contains(name), "{name}");
            let (One(below) | Each(below)) = below;
            assert_sorted(below);
        }
    }

    #[test]
    fn names_that_are_searched_are_sorted() {
        assert_sorted(&SECTIONS);
        assert_sorted(&SERVICE);
    }
}
