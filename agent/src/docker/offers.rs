//! What this machine can do, as `kind@version`: what node definitions promise and services ask for.
//!
//! All of it is read from the one answer in which the engine describes itself and from the version of Compose, both of
//! which are known anyway. What has no version of its own is at 1.

use std::collections::BTreeSet;
use std::sync::Arc;

use bollard::models::{DeviceInfo, SystemInfo, SystemInfoCgroupVersionEnum};
use gitops_core::definition::Offer;

/// What the engine says that it can do.
pub(super) fn of_engine(info: &SystemInfo) -> BTreeSet<Arc<str>> {
    let engine = info.server_version.as_deref().and_then(|version| of_version("docker", version));
    let cgroup = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_1) => offer("cgroup", 1),
        Some(SystemInfoCgroupVersionEnum::_2) => offer("cgroup", 2),
        Some(SystemInfoCgroupVersionEnum::EMPTY) | None => None,
    };
    let architecture = info.architecture.as_deref().and_then(architecture);
    let gpu = has_gpu(info).then(|| offer("gpu", 1)).flatten();
    let security = info.security_options.iter().flatten().filter_map(|option| security(option));
    let found = [engine, cgroup, architecture, gpu].into_iter().flatten();
    found.chain(security).chain(runtimes(info)).collect()
}

/// `compose@2` of the version 2.26.1.
pub(super) fn of_version(kind: &str, version: &str) -> Option<Arc<str>> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?;
    offer(kind, major.parse().ok()?)
}

/// None where no definition could name it: words are of lower-case letters, digits, `-`, `:` and `.`.
fn offer(kind: &str, version: u32) -> Option<Arc<str>> {
    let text = format!("{kind}@{version}");
    text.parse::<Offer>().is_ok().then(|| text.into())
}

/// By the names that images have for it: `x86_64` is `amd64` there.
fn architecture(engine: &str) -> Option<Arc<str>> {
    let name = match engine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other if other.starts_with("armv") => "arm",
        other => other,
    };
    offer(&format!("arch:{name}"), 1)
}

/// A runtime of NVIDIA's, or a device of kind `gpu` that the engine found by itself: `nvidia.com/gpu=0`.
fn has_gpu(info: &SystemInfo) -> bool {
    let is_gpu = |device: &DeviceInfo| {
        let kind = device.id.as_deref().and_then(|id| id.split('=').next()).unwrap_or_default();
        kind.ends_with("/gpu")
    };
    info.runtimes.as_ref().is_some_and(|runtimes| runtimes.contains_key("nvidia"))
        || info.discovered_devices.iter().flatten().any(is_gpu)
}

/// `seccomp@1` of `name=seccomp,profile=default`.
fn security(option: &str) -> Option<Arc<str>> {
    let name = option.split(',').find_map(|part| part.strip_prefix("name="))?;
    offer(name, 1)
}

/// `runtime:runsc@1`. The engine names its own also by `io.containerd.runc.v2`, which nobody asks for.
fn runtimes(info: &SystemInfo) -> impl Iterator<Item = Arc<str>> {
    let names = info.runtimes.iter().flat_map(|runtimes| runtimes.keys());
    let asked_for = names.filter(|name| !name.starts_with("io.containerd."));
    asked_for.filter_map(|name| offer(&format!("runtime:{name}"), 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(info: serde_json::Value, expected: &[&str]) {
        let info: SystemInfo = serde_json::from_value(info).expect("an answer of the engine");
        let found = of_engine(&info);
        assert_eq!(found.iter().map(|offer| &**offer).collect::<Vec<_>>(), expected, "{info:?}");
    }

    #[test]
    fn an_engine_offers_what_it_says_of_itself() {
        check(json!({}), &[]);
        check(json!({"ServerVersion": "20.10.24+dfsg1", "CgroupVersion": "1"}), &["cgroup@1", "docker@20"]);
        check(
            json!({
                "ServerVersion": "28.2.2",
                "CgroupVersion": "2",
                "Architecture": "x86_64",
                "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns", "rootless"],
                "Runtimes": {"runc": {"path": "runc"}, "runsc": {"path": "runsc"}, "io.containerd.runc.v2": {}},
            }),
            &[
                "arch:amd64@1",
                "cgroup@2",
                "cgroupns@1",
                "docker@28",
                "runtime:runc@1",
                "runtime:runsc@1",
                "seccomp@1",
            ],
        );
        check(json!({"Architecture": "aarch64"}), &["arch:arm64@1"]);
        check(json!({"Architecture": "armv7l"}), &["arch:arm@1"]);
    }

    #[test]
    fn a_gpu_is_known_by_its_runtime_or_as_a_device() {
        check(json!({"Runtimes": {"nvidia": {}}}), &["gpu@1", "runtime:nvidia@1"]);
        check(json!({"DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}), &["gpu@1"]);
        check(json!({"DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.com/net=gpu"}, {}]}), &[]);
    }

    #[test]
    fn what_no_definition_could_name_is_left_out() {
        check(
            json!({"ServerVersion": "dev", "Architecture": "odd arch", "Runtimes": {"My_Runtime": {}}}),
            &[],
        );
        check(json!({"ServerVersion": "99999999999.1", "SecurityOptions": ["name=", "name=@9"]}), &[]);
    }

    #[test]
    fn a_version_is_at_its_first_number() {
        let check = |version: &str, expected: Option<&str>| {
            assert_eq!(of_version("compose", version).as_deref(), expected, "{version}");
        };
        check("2.26.1-4", Some("compose@2"));
        check("v5.0.0", Some("compose@5"));
        check("", None);
        check("unknown", None);
        check("0.9", None);
    }
}
