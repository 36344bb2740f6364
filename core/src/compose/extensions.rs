//! What a Compose file may hold and Compose gives no meaning to.
//!
//! It goes before variables are replaced, so that an unused `x-…` with a variable of its own is no mistake. What people
//! write at the top of a file and in its services is kept beside the model, as it was written: a feature may be found
//! there, but no digest covers it.

use serde_yaml::{Mapping, Value};

use super::emit::canonical_json;
use super::normal::untagged;
use crate::plan::Model;

/// Takes out what Compose gives no meaning to: `x-…`, `version` and `develop`. The `x-…` at the top and in services are
/// given back as a document of their own.
pub(super) fn take_extensions(document: &mut Mapping) -> Mapping {
    document.shift_remove("version");
    let mut taken = taken_of(document);
    let mut services = Mapping::new();
    for (section, value) in document.iter_mut() {
        let Some(section @ ("services" | "networks" | "volumes" | "configs" | "secrets")) = section.as_str()
        else {
            continue;
        };
        for (name, thing) in fields_of(value).into_iter().flatten() {
            let Some(thing) = fields_of(thing) else { continue };
            let extensions = taken_of(thing);
            if section == "services" && !extensions.is_empty() {
                services.insert(name.clone(), Value::Mapping(extensions));
            }
            thing.shift_remove("develop");
            let parts = thing.iter_mut().filter(|(key, _)| PARTS.contains(&key.as_str().unwrap_or_default()));
            for part in parts.filter_map(|(_, part)| fields_of(part)) {
                part.retain(|key, _| !is_extension(key));
            }
        }
    }
    if !services.is_empty() {
        taken.insert("services".into(), Value::Mapping(services));
    }
    taken
}

/// Puts them back where they were.
pub(super) fn put_back(document: &mut Mapping, mut taken: Mapping) {
    let services = taken.shift_remove("services");
    document.extend(taken);
    for (name, extensions) in services.iter().filter_map(Value::as_mapping).flatten() {
        let service = document.get_mut("services").and_then(fields_of).and_then(|all| all.get_mut(name));
        if let (Some(service), Some(extensions)) = (service.and_then(fields_of), extensions.as_mapping()) {
            service.extend(extensions.clone());
        }
    }
}

/// What is kept of them beside the model that they were taken from.
pub(super) fn beside(mut taken: Mapping, model: &Mapping) -> Option<Model> {
    if let Some(services) = taken.get_mut("services").and_then(Value::as_mapping_mut) {
        let there = model.get("services").and_then(Value::as_mapping);
        services.retain(|name, _| there.is_some_and(|there| there.contains_key(name)));
    }
    taken.retain(|_, value| value.as_mapping().is_none_or(|fields| !fields.is_empty()));
    (!taken.is_empty()).then(|| Model::from_canonical(canonical_json(&Value::Mapping(taken))))
}

fn taken_of(fields: &mut Mapping) -> Mapping {
    let names: Vec<Value> = fields.keys().filter(|key| is_extension(key)).cloned().collect();
    names.into_iter().filter_map(|name| fields.shift_remove_entry(&name)).collect()
}

/// Fields of a service whose own fields are Compose's, and not names that people choose.
const PARTS: &[&str] = &["blkio_config", "credential_spec", "deploy", "healthcheck", "logging"];

fn is_extension(key: &Value) -> bool {
    key.as_str().is_some_and(|key| key.starts_with("x-"))
}

fn fields_of(value: &mut Value) -> Option<&mut Mapping> {
    match untagged(value) {
        Value::Mapping(fields) => Some(fields),
        _ => None,
    }
}
