//! Networks, volumes, configs and secrets in canonical form.

use serde_yaml::{Mapping, Value};

use super::normal::{Normal, untagged};
use crate::yaml::Trail;

impl Normal<'_, '_, '_> {
    pub(super) fn network(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.resource(value, trail, |normal, key, value, trail| match key {
            "internal" | "attachable" | "enable_ipv4" | "enable_ipv6" => normal.truth(value, trail),
            _ => {}
        });
    }

    pub(super) fn volume(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.resource(value, trail, |_, _, _, _| {});
        // A volume of the local driver may be a folder of the host in disguise.
        let Some(Value::Mapping(options)) = untagged(value).get_mut("driver_opts") else { return };
        let flags = options.get("o").and_then(Value::as_str).unwrap_or_default();
        let bind = flags.split(',').any(|flag| flag == "bind");
        if let Some(device) = options.get_mut("device").filter(|_| bind) {
            self.path(device, &trail.to("driver_opts").to("device"));
        }
    }

    /// A config or a secret.
    pub(super) fn source(&mut self, value: &mut Value, trail: &Trail<'_>) {
        self.resource(value, trail, |normal, key, value, trail| {
            if key == "file" {
                normal.path(value, trail);
            }
        });
    }

    /// What networks, volumes, configs and secrets have in common.
    fn resource(
        &mut self,
        value: &mut Value,
        trail: &Trail<'_>,
        mut each: impl FnMut(&mut Self, &str, &mut Value, &Trail<'_>),
    ) {
        if value.is_null() {
            *value = Value::Mapping(Mapping::new());
        }
        self.each_field(value, trail, |normal, key, value, trail| match key {
            "labels" => normal.pairs(value, trail, Value::String(String::new())),
            "driver_opts" => normal.texts(value, trail),
            "name" => normal.text(value, trail),
            "external" if !value.is_mapping() => normal.truth(value, trail),
            _ => each(normal, key, value, trail),
        });
        if let Value::Mapping(fields) = untagged(value) {
            external(fields);
        }
    }
}

/// `external: {name: x}` is the old form of `external: true` with `name: x`; `external: false` says nothing.
fn external(fields: &mut Mapping) {
    let name = match fields.get_mut("external") {
        Some(Value::Bool(false) | Value::Null) => {
            fields.shift_remove("external");
            return;
        }
        Some(Value::Mapping(old)) => old.shift_remove("name"),
        _ => return,
    };
    fields.insert("external".into(), Value::Bool(true));
    if let Some(name) = name {
        fields.entry("name".into()).or_insert(name);
    }
}
