//! What an instance takes of its node: what `resources:` of the service says, and else what the Compose model says.
//!
//! A container reserves what `deploy.resources.reservations` names, or else its limits; an instance takes that of all
//! its containers, each as often as it is replicated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Demand, GpuDemand, Need};
use crate::compose::HOOKS_PROFILE;
use crate::definition::{Bytes, Cpu, GpuRequest, Resources};
use crate::plan::Model;

/// What one instance takes, by what its service says and by its rendered model.
pub fn of(resources: &Resources, model: &Model, needs: Vec<Need>) -> Demand {
    let model = read(model);
    let mut demand = Demand { needs, ..Demand::default() };
    for container in model.services.values().filter(|container| !container.is_hook()) {
        let times = container.replicas();
        demand.cpu.0 = demand.cpu.0.saturating_add(container.cpu().saturating_mul(times));
        demand.memory.0 = demand.memory.0.saturating_add(container.memory().saturating_mul(times));
        demand.gpus = both(demand.gpus.take(), container.gpus(times));
        demand.images.extend(container.image.as_deref().map(Arc::from));
    }
    demand.cpu = resources.cpu.unwrap_or(demand.cpu);
    demand.memory = resources.memory.unwrap_or(demand.memory);
    demand.disk = resources.disk.unwrap_or_default();
    demand.gpus = resources.gpus.as_ref().map(asked).or(demand.gpus);
    demand
}

fn asked(request: &GpuRequest) -> GpuDemand {
    GpuDemand {
        count: Some(request.count.unwrap_or(1)),
        model: request.model.clone(),
        memory: request.memory,
    }
}

/// The images that a model runs, and the processors that it is bound to.
pub(super) fn traits(model: &Model) -> (Vec<String>, Vec<String>) {
    let (mut images, mut cpusets) = (Vec::new(), Vec::new());
    for container in read(model).services.into_values() {
        images.extend(container.image);
        cpusets.extend(container.cpuset);
    }
    (images, cpusets)
}

/// Nothing of a model that is not as Compose writes it: whoever rendered it has told the mistake.
fn read(model: &Model) -> Read {
    serde_json::from_str(model.as_str()).unwrap_or_default()
}

#[derive(Default, Deserialize)]
struct Read {
    #[serde(default)]
    services: BTreeMap<String, Container>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Container {
    profiles: Vec<String>,
    image: Option<String>,
    cpuset: Option<String>,
    cpus: Value,
    mem_limit: Value,
    mem_reservation: Value,
    scale: Value,
    gpus: Value,
    deploy: Value,
}

impl Container {
    /// It runs once around a change, beside what takes its room for good.
    fn is_hook(&self) -> bool {
        self.profiles.iter().any(|profile| profile == HOOKS_PROFILE)
    }

    fn replicas(&self) -> u64 {
        let replicas = self.deploy.get("replicas").and_then(Value::as_u64);
        replicas.or(self.scale.as_u64()).unwrap_or(1)
    }

    /// The first that is given: reserved, then the limit.
    fn cpu(&self) -> u64 {
        let resources = &self.deploy["resources"];
        let given = [&resources["reservations"]["cpus"], &resources["limits"]["cpus"], &self.cpus];
        given.into_iter().find_map(thousandths).unwrap_or_default()
    }

    fn memory(&self) -> u64 {
        let resources = &self.deploy["resources"];
        let (reserved, limits) = (&resources["reservations"]["memory"], &resources["limits"]["memory"]);
        let given = [reserved, &self.mem_reservation, limits, &self.mem_limit];
        given.into_iter().find_map(bytes).unwrap_or_default()
    }

    fn gpus(&self, times: u64) -> Option<GpuDemand> {
        let devices = self.deploy["resources"]["reservations"]["devices"].as_array();
        let devices = devices.into_iter().flatten().filter(|device| is_gpu(device));
        let listed = self.gpus.as_array().into_iter().flatten();
        let all = (self.gpus == "all").then_some(GpuDemand { count: None, model: None, memory: None });
        devices
            .chain(listed)
            .map(|device| of_device(device, times))
            .fold(all, |sum, one| both(sum, Some(one)))
    }
}

/// A device that Compose reserves by what it can do.
fn is_gpu(device: &Value) -> bool {
    let capabilities = device["capabilities"].as_array().into_iter().flatten();
    capabilities.into_iter().any(|capability| capability == "gpu")
}

/// As many as `count` says, or as are named; all where neither is said.
fn of_device(device: &Value, times: u64) -> GpuDemand {
    let named = device["device_ids"].as_array().map(|ids| ids.len() as u64);
    let count = named.or(device["count"].as_u64()).map(|count| count.saturating_mul(times));
    GpuDemand {
        count: count.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        model: None,
        memory: None,
    }
}

fn both(one: Option<GpuDemand>, other: Option<GpuDemand>) -> Option<GpuDemand> {
    let (Some(one), Some(other)) = (&one, &other) else { return one.or(other) };
    let count = one.count.zip(other.count).map(|(one, other)| one.saturating_add(other));
    Some(GpuDemand { count, model: None, memory: None })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Compose takes any fraction of a core; what is finer than a thousandth is rounded up. Zero is no limit.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn thousandths(value: &Value) -> Option<u64> {
    let cores: f64 = text_of(value)?.parse().ok()?;
    let thousandths = (cores * 1000.0).ceil();
    (thousandths >= 1.0).then(|| thousandths.min(Cpu::MAX.0 as f64) as u64)
}

/// Sizes as Compose takes them, of any fineness: parts of a byte are rounded up. Zero and less are no limit.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn bytes(value: &Value) -> Option<u64> {
    let text = text_of(value)?;
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.bytes().next().map(|letter| letter.to_ascii_lowercase()) {
        None | Some(b'b') => 0,
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        Some(b'p') => 50,
        Some(_) => return None,
    };
    let bytes = (number.trim().parse::<f64>().ok()? * (1_u64 << shift) as f64).ceil();
    (bytes >= 1.0).then(|| bytes.min(Bytes::MAX.0 as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(resources: &str, services: &str) -> Demand {
        let model = serde_yaml::from_str::<Value>(&format!("services: {{{services}}}")).expect("YAML");
        let resources = serde_yaml::from_str(resources).expect("resources");
        of(&resources, &Model::from_canonical(model.to_string()), Vec::new())
    }

    #[test]
    fn reservations_go_before_limits_and_count_for_each_replica() {
        let check = |services: &str, cpu: &str, memory: &str| {
            let demand = demand("{}", services);
            assert_eq!((&*demand.cpu.to_string(), &*demand.memory.to_string()), (cpu, memory), "{services}");
        };
        check("a: {image: x}", "0", "0 B");
        check("a: {cpus: 0.5, mem_limit: 512m}", "0.5", "512 MiB");
        check("a: {cpus: 0.5, mem_limit: 512m, mem_reservation: 256m, scale: 2}", "1", "512 MiB");
        check("a: {cpus: 0.33333}, b: {cpus: '1'}", "1.334", "0 B");
        check("a: {cpus: 0, mem_limit: -1}", "0", "0 B");
        check(
            "a: {cpus: 4, deploy: {replicas: 3, resources: {limits: {cpus: '1', memory: 1g}}}}",
            "3",
            "3 GiB",
        );
        check(
            "a: {deploy: {resources: {limits: {cpus: '1', memory: 1g}, reservations: {memory: 100m}}}}",
            "1",
            "100 MiB",
        );
        check("a: {mem_limit: 1024t, scale: 99999999}", "0", "16777216 TiB");
        check("a: {mem_limit: 1.0005g}", "0", "1 GiB");
        check("a: {mem_limit: 2000t}, b: {mem_limit: 1 PiB}", "0", "2048 TiB");
        check("a: {mem_limit: 1e3}, b: {mem_limit: 0.5b}", "0", "1001 B");
    }

    #[test]
    fn what_the_service_says_goes_before_the_model() {
        let demand = demand("{cpu: 2, disk: 10g}", "a: {cpus: 1, mem_limit: 64m}");
        assert_eq!((demand.cpu, demand.memory, demand.disk), (Cpu(2000), Bytes(64 << 20), Bytes(10 << 30)));
    }

    #[test]
    fn graphics_processors_are_counted_in_every_form() {
        let check = |resources: &str, services: &str, expected: Option<Option<u32>>| {
            let gpus = demand(resources, services).gpus;
            assert_eq!(gpus.map(|gpus| gpus.count), expected, "{services}");
        };
        check("{}", "a: {image: x}", None);
        check("{}", "a: {gpus: all}", Some(None));
        check("{}", "a: {gpus: [{count: 2}]}, b: {gpus: [{device_ids: ['0']}]}", Some(Some(3)));
        let device = "{capabilities: [gpu], count: 1}";
        let devices =
            format!("a: {{deploy: {{replicas: 2, resources: {{reservations: {{devices: [{device}]}}}}}}}}");
        check("{}", &devices, Some(Some(2)));
        check("{}", &devices.replace("gpu", "tpu"), None);
        check("{gpus: {model: l4}}", "a: {gpus: all}", Some(Some(1)));
    }
}
