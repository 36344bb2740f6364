//! `drift:` of a service: what is done where others change its containers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::written::{Written, written_form};
use crate::plan::DriftAction;
use crate::status::SECTIONS;

/// What is done where others change containers. As text, what is done: `report`, `correct` or `correct-in-window`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// What is done. Default: `correct`.
    pub action: Option<DriftAction>,
    /// What does not count.
    pub ignore: Option<Vec<IgnoredDrift>>,
}

/// What others may change of containers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoredDrift {
    /// The field, by the path under which drift is told, with all that is below it: `labels.com.example.build`, `resources`.
    /// What is after the first dot is one key; a `*` stands for any one.
    pub path: DriftPath,
    /// Why.
    pub reason: String,
}

/// A field of a container: a section, and after the first dot one key, which may have dots in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftPath(pub Arc<str>);

/// Why a text is no such field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {}", <DriftPath as Written>::EXPECTED)]
pub struct DriftPathError {
    text: String,
}

impl Written for DriftPath {
    const EXPECTED: &'static str =
        "a field of a container such as `labels.build`, `resources.memory` or `mounts`";
}

written_form!(DriftPath, "string", ["labels.build", "resources.*"]);

impl FromStr for DriftPath {
    type Err = DriftPathError;

    fn from_str(text: &str) -> Result<Self, DriftPathError> {
        let (section, key) = text.split_once('.').map_or((text, None), |(section, key)| (section, Some(key)));
        let is_section = SECTIONS.contains(&section) || section == "*" && key.is_some_and(|key| key != "*");
        let good = is_section && key != Some("") && text.len() <= 300 && !text.chars().any(char::is_control);
        let error = || DriftPathError { text: text.chars().take(80).collect() };
        good.then(|| Self(text.into())).ok_or_else(error)
    }
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
    ignore: Option<Vec<IgnoredDrift>>,
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
        let ignore = generator.subschema_for::<IgnoredDrift>();
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
                    "description": "What others may change."
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
        for good in ["image", "labels.com.example.build", "resources.*", "*.memory", "env.A"] {
            assert!(good.parse::<DriftPath>().is_ok(), "{good}");
        }
        for bad in ["", "*", "*.*", "label.build", "labels.", ".build", "services.app.image", "labels.a\nb"] {
            assert!(bad.parse::<DriftPath>().is_err(), "{bad}");
        }
        for bad in ["never", "{action: never}", "{on: report}", "{ignore: [labels.build]}", "7", "[report]"] {
            check(bad, None);
        }
    }
}
