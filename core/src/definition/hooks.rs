//! `hooks:` of a service: one-shot Compose services that run around a change.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::seconds::Seconds;

/// Compose services of the same files that run once around a change of the instance, each in its order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Before anything is touched, such as the migration of a database. Where one fails, nothing is changed.
    pub before: Vec<Hook>,
    /// Once the instance is healthy. Where one fails, the change has failed.
    pub after: Vec<Hook>,
    /// Once the change has failed.
    pub on_failure: Vec<Hook>,
}

impl Hooks {
    /// Each list by the name of its field.
    pub fn lists(&self) -> [(&'static str, &[Hook]); 3] {
        let Self { before, after, on_failure } = self;
        [("before", before), ("after", after), ("on_failure", on_failure)]
    }

    /// The Compose services that are hooks.
    pub fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lists().into_iter().flat_map(|(_, hooks)| hooks).map(|hook| &hook.service)
    }
}

/// A Compose service that runs once. As text, its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// The Compose service.
    pub service: Arc<str>,
    /// The time after which it is stopped and has failed. Default: `5m`.
    pub timeout: Option<Seconds>,
}

/// The long form of a hook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    service: Arc<str>,
    timeout: Option<Seconds>,
}

/// Written by hand, because an untagged enum would lose the place of a mistake.
impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HookVisitor;

        impl<'de> Visitor<'de> for HookVisitor {
            type Value = Hook;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a Compose service, or a mapping with `service` and `timeout`")
            }

            fn visit_str<E: de::Error>(self, service: &str) -> Result<Hook, E> {
                Ok(Hook { service: service.into(), timeout: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hook, A::Error> {
                let Long { service, timeout } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Hook { service, timeout })
            }
        }

        deserializer.deserialize_any(HookVisitor)
    }
}

impl JsonSchema for Hook {
    fn schema_name() -> Cow<'static, str> {
        "Hook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let seconds = generator.subschema_for::<Seconds>();
        json_schema!({
            "type": ["string", "object"],
            "properties": {
                "service": { "type": "string", "description": "The Compose service." },
                "timeout": {
                    "anyOf": [seconds, { "type": "null" }],
                    "description": "The time after which it is stopped and has failed. Default: `5m`."
                }
            },
            "required": ["service"],
            "additionalProperties": false,
            "examples": ["migrate"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_a_name_or_says_more() {
        let check = |yaml: &str, expected: Option<(&str, Option<u32>)>| {
            let hook = serde_yaml::from_str::<Hook>(yaml).ok();
            let read = hook.as_ref().map(|hook| (&*hook.service, hook.timeout.map(|time| time.0)));
            assert_eq!(read, expected, "{yaml}");
        };
        check("migrate", Some(("migrate", None)));
        check("{service: migrate}", Some(("migrate", None)));
        check("{service: migrate, timeout: 10m}", Some(("migrate", Some(600))));
        check("{timeout: 10m}", None);
        check("{service: migrate, within: 10m}", None);
        check("[migrate]", None);
        check("7", None);
    }
}
