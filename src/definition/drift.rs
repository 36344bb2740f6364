//! `drift:` of a service: what is done where others change its containers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::service::Ignore;
use crate::plan::DriftAction;

/// What is done where others change containers. As text, what is done: `report`, `correct` or `correct-in-window`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// What is done. Default: `correct`.
    pub action: Option<DriftAction>,
    /// What does not count.
    pub ignore: Option<Vec<Ignore>>,
}

impl Drift {
    /// What is given here, and else what `base` gives.
    #[must_use]
    pub fn or(self, base: &Self) -> Self {
        Self { action: self.action.or(base.action), ignore: self.ignore.or_else(|| base.ignore.clone()) }
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    action: Option<DriftAction>,
    ignore: Option<Vec<Ignore>>,
}

/// Written by hand, because an untagged enum would lose the place of a mistake.
impl<'de> Deserialize<'de> for Drift {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DriftVisitor;

        impl<'de> Visitor<'de> for DriftVisitor {
            type Value = Drift;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`report`, `correct` or `correct-in-window`, or a mapping with `action` and `ignore`",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Drift, E> {
                let action = DriftAction::deserialize(StrDeserializer::new(word))?;
                Ok(Drift { action: Some(action), ignore: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Drift, A::Error> {
                let Long { action, ignore } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Drift { action, ignore })
            }
        }

        deserializer.deserialize_any(DriftVisitor)
    }
}

impl JsonSchema for Drift {
    fn schema_name() -> Cow<'static, str> {
        "Drift".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let actions = ["report", "correct", "correct-in-window"];
        let ignore = generator.subschema_for::<Ignore>();
        json_schema!({
            "type": ["string", "object"],
            "examples": actions,
            "properties": {
                "action": {
                    "enum": actions,
                    "description": "`report`: it is told, and left; `correct`: made as it was; `correct-in-window`: made as it was within the windows in which the service may be changed. Default: `correct`."
                },
                "ignore": {
                    "type": "array",
                    "items": ignore,
                    "description": "What does not count, by the path under which drift is told, such as `labels.build` or `resources.*`."
                }
            },
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_a_word_or_says_more() {
        let check = |yaml: &str, expected: Option<(Option<DriftAction>, usize)>| {
            let drift = serde_yaml::from_str::<Drift>(yaml).ok();
            let read = drift.map(|drift| (drift.action, drift.ignore.map_or(0, |paths| paths.len())));
            assert_eq!(read, expected, "{yaml}");
        };
        check("report", Some((Some(DriftAction::Report), 0)));
        check("correct-in-window", Some((Some(DriftAction::CorrectInWindow), 0)));
        check("{action: correct}", Some((Some(DriftAction::Correct), 0)));
        check("{ignore: [{path: labels.build, reason: the build sets it}]}", Some((None, 1)));
        check("{}", Some((None, 0)));
        for bad in ["never", "{action: never}", "{on: report}", "{ignore: [labels.build]}", "7", "[report]"] {
            check(bad, None);
        }
    }
}
