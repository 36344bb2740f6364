//! Which of many: labels that must have certain values, all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::yaml::Scalar;

/// Labels, each with what it may be: a value, a list of values, or `"*"` for any. All of them must fit. One that names
/// no label chooses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Selector(pub BTreeMap<Arc<str>, Pattern>);

/// What a label may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `"*"`: it is there.
    Any,
    /// One of these values.
    OneOf(Vec<Arc<str>>),
}

impl Selector {
    /// Whether the labels that `value` looks up fit.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.0.is_empty() && self.first_misfit(value).is_none()
    }

    /// The first label that does not fit, with what it should be.
    pub fn first_misfit<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<(&str, &Pattern)> {
        let fits = |label: &str, pattern: &Pattern| value(label).is_some_and(|value| pattern.fits(value));
        self.0
            .iter()
            .find(|(label, pattern)| !fits(label, pattern))
            .map(|(label, pattern)| (&**label, pattern))
    }

    /// Whether it names no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Selector {
    /// `region=eu, disk=nvme|ssd, gpu=*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(label, pattern)| format!("{label}={pattern}")).collect();
        f.pad(&parts.join(", "))
    }
}

impl Pattern {
    /// Whether a value fits.
    pub fn fits(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(values) => values.iter().any(|one| **one == *value),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::OneOf(values) => f.write_str(&values.join("|")),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PatternVisitor;

        impl<'de> Visitor<'de> for PatternVisitor {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list of values, or `\"*\"` for any")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                Ok(if text == "*" { Pattern::Any } else { Pattern::OneOf(vec![text.into()]) })
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Pattern, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Pattern, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Pattern, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pattern, A::Error> {
                let mut values: Vec<Arc<str>> = Vec::new();
                while let Some(Scalar(value)) = seq.next_element()? {
                    values.push(value);
                }
                match values.is_empty() {
                    true => Err(de::Error::custom("an empty list fits no value: name one, or write `\"*\"`")),
                    false => Ok(Pattern::OneOf(values)),
                }
            }
        }

        deserializer.deserialize_any(PatternVisitor)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer", "boolean", "array"],
            "items": { "type": ["string", "integer", "boolean"] }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_labels_must_fit_and_an_empty_selector_chooses_nothing() {
        let labels = BTreeMap::from([("region", "eu"), ("disk", "ssd"), ("rack", "7")]);
        let check = |yaml: &str, expected: bool| {
            let selector: Selector = serde_yaml::from_str(yaml).expect("a selector");
            assert_eq!(selector.matches(|label| labels.get(label).copied()), expected, "{yaml}");
        };
        check("{region: eu}", true);
        check("{region: eu, disk: [nvme, ssd]}", true);
        check("{rack: 7}", true);
        check("{rack: '*'}", true);
        check("{gpu: '*'}", false);
        check("{region: eu, disk: nvme}", false);
        check("{}", false);
        assert!(serde_yaml::from_str::<Selector>("{region: []}").is_err());
        assert!(serde_yaml::from_str::<Selector>("{region: {}}").is_err());
    }
}
