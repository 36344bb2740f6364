//! What a Compose file may hold and Compose gives no meaning to.
//!
//! It goes before variables are replaced, so that an unused `x-…` with a variable of its own is no mistake.

use serde_yaml::{Mapping, Value};

use super::normal::untagged;

/// Drops what Compose gives no meaning to: `x-…` and `version`.
pub(super) fn drop_extensions(document: &mut Mapping) {
    document.retain(|key, _| !is_extension(key) && key != "version");
    for (section, value) in document.iter_mut() {
        if !matches!(section.as_str(), Some("services" | "networks" | "volumes" | "configs" | "secrets")) {
            continue;
        }
        for thing in fields_of(value).into_iter().flat_map(Mapping::values_mut).filter_map(fields_of) {
            thing.retain(|key, _| !is_extension(key) && key != "develop");
            for (_, part) in
                thing.iter_mut().filter(|(key, _)| PARTS.contains(&key.as_str().unwrap_or_default()))
            {
                if let Some(part) = fields_of(part) {
                    part.retain(|key, _| !is_extension(key));
                }
            }
        }
    }
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
