//! The picture of a container from an inspection of it. Pure, so that recorded answers test it.
//!
//! Docker's field names are those of its API (`HostConfig` of `ContainerInspectResponse`). What an engine leaves out and
//! what another writes as `null`, `0`, `false` or empty is the same.

use bollard::models::{ContainerInspectResponse, ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use gitops_core::name::Digest;
use serde_json::{Map, Value, json};

use super::rows::COMPOSE_SERVICE;
use crate::picture::Picture;

/// What `docker update` can change, by path.
const UPDATABLE: [(&str, &str); 11] = [
    ("resources.blkio_weight", "BlkioWeight"),
    ("resources.cpu_period", "CpuPeriod"),
    ("resources.cpu_quota", "CpuQuota"),
    ("resources.cpu_shares", "CpuShares"),
    ("resources.cpus", "NanoCpus"),
    ("resources.cpuset", "CpusetCpus"),
    ("resources.cpuset_mems", "CpusetMems"),
    ("resources.memory", "Memory"),
    ("resources.memory_reservation", "MemoryReservation"),
    ("resources.memory_swap", "MemorySwap"),
    ("resources.pids", "PidsLimit"),
];

/// What only a new container can have otherwise, by path.
const FIXED: [(&str, &str); 20] = [
    ("resources.memory_swappiness", "MemorySwappiness"),
    ("resources.shm_size", "ShmSize"),
    ("resources.ulimits", "Ulimits"),
    ("security.cap_add", "CapAdd"),
    ("security.cap_drop", "CapDrop"),
    ("security.cgroup", "CgroupnsMode"),
    ("security.cgroup_parent", "CgroupParent"),
    ("security.device_cgroup_rules", "DeviceCgroupRules"),
    ("security.device_requests", "DeviceRequests"),
    ("security.devices", "Devices"),
    ("security.groups", "GroupAdd"),
    ("security.ipc", "IpcMode"),
    ("security.options", "SecurityOpt"),
    ("security.pid", "PidMode"),
    ("security.privileged", "Privileged"),
    ("security.read_only", "ReadonlyRootfs"),
    ("security.runtime", "Runtime"),
    ("security.sysctls", "Sysctls"),
    ("security.userns", "UsernsMode"),
    ("security.uts", "UTSMode"),
];

/// What of a connection to a network was asked for. The rest is given by the engine each time.
const ENDPOINT: [&str; 4] = ["Aliases", "IPAMConfig", "DriverOpts", "GwPriority"];

/// The picture of a container; none for an answer without a name.
pub(super) fn picture(inspected: &ContainerInspectResponse) -> Option<Picture> {
    let labels = inspected.config.as_ref().and_then(|config| config.labels.as_ref());
    let service = labels.and_then(|labels| labels.get(COMPOSE_SERVICE)).map_or("", String::as_str);
    let name = inspected.name.as_deref()?.trim_start_matches('/');
    let whole = serde_json::to_value(inspected).ok()?;
    let id = inspected.id.as_deref().unwrap_or_default();
    let host = config(&whole["Config"]).chain(host(&whole["HostConfig"]));
    let fields = host.chain(mounts(&whole)).chain(networks(&whole["NetworkSettings"]["Networks"], id));
    Some(Picture::new(service, name, fields))
}

type Field = (String, Value);

fn config(config: &Value) -> impl Iterator<Item = Field> {
    let plain = [
        ("command", "Cmd"),
        ("entrypoint", "Entrypoint"),
        ("image", "Image"),
        ("user", "User"),
        ("workdir", "WorkingDir"),
    ];
    let plain = plain.into_iter().filter_map(|(field, name)| Some((field.to_owned(), set(&config[name])?)));
    let variables = config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let variables = variables.map(|variable| variable.split_once('=').unwrap_or((variable, "")));
    let env = variables.map(|(name, value)| (format!("env.{name}"), json!(Digest::of(value).to_string())));
    let labels = config["Labels"].as_object().into_iter().flatten();
    // Of Compose's labels and ours, others decide what they mean.
    let ours = |name: &str| name.starts_with("com.docker.compose.") || name.starts_with("gitops.");
    let labels = labels.filter(move |(name, _)| !ours(name));
    plain.chain(env).chain(labels.map(|(name, value)| (format!("labels.{name}"), value.clone())))
}

fn host(host: &Value) -> impl Iterator<Item = Field> {
    let field = |(field, name): (&str, &str)| Some((field.to_owned(), sorted(set(&host[name])?)));
    let plain = UPDATABLE.into_iter().chain(FIXED).filter_map(field);
    let ports = host["PortBindings"].as_object().into_iter().flatten();
    let ports = ports.filter_map(|(port, bindings)| Some((format!("ports.{port}"), published(bindings)?)));
    let restart = restart(&host["RestartPolicy"]).map(|policy| ("restart".to_owned(), json!(policy)));
    let tmpfs = host["Tmpfs"].as_object().into_iter().flatten();
    let tmpfs =
        tmpfs.map(|(path, options)| (format!("mounts.{path}"), json!(format!("tmpfs {}", text(options)))));
    plain.chain(ports).chain(restart).chain(tmpfs)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value that is set, in its one form.
fn set(value: &Value) -> Option<Value> {
    let value = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::Number(number) if number.as_f64().is_some_and(|number| number == 0.0 || number == -1.0) => {
            return None;
        }
        // The other container has another id each time it is made.
        Value::String(text) if text.starts_with("container:") => json!("container"),
        other => other.clone(),
    };
    let is_empty = match &value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    (!is_empty).then_some(value)
}

/// Nothing in `HostConfig` has a meaning by its place.
fn sorted(mut value: Value) -> Value {
    if let Value::Array(items) = &mut value {
        items.sort_by_cached_key(Value::to_string);
    }
    value
}

/// `on-failure:3`; none for no policy.
fn restart(policy: &Value) -> Option<String> {
    let name = text(&policy["Name"]);
    match policy["MaximumRetryCount"].as_i64() {
        _ if name.is_empty() || name == "no" => None,
        Some(count) if count > 0 => Some(format!("{name}:{count}")),
        _ => Some(name.to_owned()),
    }
}

/// `0.0.0.0:8080 [::]:8080`
fn published(bindings: &Value) -> Option<Value> {
    let bindings = bindings.as_array()?.iter();
    let binding = |binding: &Value| {
        let (address, port) = (text(&binding["HostIp"]), text(&binding["HostPort"]));
        format!("{}:{port}", if address.is_empty() { "*" } else { address })
    };
    let mut bindings: Vec<String> = bindings.map(binding).collect();
    bindings.sort();
    Some(json!(bindings.join(" ")))
}

fn mounts(whole: &Value) -> impl Iterator<Item = Field> {
    let mounts = whole["Mounts"].as_array().into_iter().flatten();
    mounts.map(|mount| {
        let (kind, name, source) = (text(&mount["Type"]), text(&mount["Name"]), text(&mount["Source"]));
        let is_anonymous = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let what = match name {
            "" => source,
            _ if is_anonymous => "anonymous",
            _ => name,
        };
        let mode = if mount["RW"] == json!(false) { "read-only" } else { "writable" };
        (format!("mounts.{}", text(&mount["Destination"])), json!(format!("{kind} {what} {mode}")))
    })
}

fn networks(networks: &Value, id: &str) -> impl Iterator<Item = Field> {
    let short = id.get(..12).unwrap_or(id).to_owned();
    let networks = networks.as_object().into_iter().flatten();
    networks.map(move |(name, endpoint)| (format!("networks.{name}"), connection(endpoint, &short)))
}

/// In Docker's own names, so that it can be asked for again.
fn connection(endpoint: &Value, id: &str) -> Value {
    let mut kept = Map::new();
    for name in ENDPOINT {
        let mut value = endpoint[name].clone();
        if let Value::Array(aliases) = &mut value {
            // Engines before 25 add the id of the container.
            aliases.retain(|alias| text(alias) != id);
            aliases.sort_by(|a, b| text(a).cmp(text(b)));
            aliases.dedup();
        }
        if let Value::Object(fields) = &mut value {
            fields.retain(|_, value| set(value).is_some());
        }
        kept.extend(set(&value).map(|value| (name.to_owned(), value)));
    }
    Value::Object(kept)
}

/// What `docker update` has to say for a container to have this field back, a limit or its restart policy; none where no
/// update can bring that about, as where there was no limit.
pub(super) fn update(picture: &Picture, field: &str) -> Option<ContainerUpdateBody> {
    let is_limit = UPDATABLE.iter().any(|(path, _)| *path == field);
    if field != "restart" && !(is_limit && picture.fields.contains_key(field)) {
        return None;
    }
    // All of them, because they are checked against each other: memory must not exceed memory with swap.
    let limits = UPDATABLE
        .iter()
        .filter_map(|(field, name)| Some(((*name).to_owned(), picture.fields.get(*field)?.clone())));
    let body: ContainerUpdateBody = serde_json::from_value(Value::Object(limits.collect())).ok()?;
    let policy = picture.fields.get("restart").map(text).unwrap_or("no");
    Some(ContainerUpdateBody { restart_policy: Some(policy_of(policy)), ..body })
}

fn policy_of(text: &str) -> RestartPolicy {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    let name = name.parse().unwrap_or(RestartPolicyNameEnum::NO);
    RestartPolicy { name: Some(name), maximum_retry_count: count.parse().ok() }
}

#[cfg(test)]
mod tests;
