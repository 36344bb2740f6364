//! Spans of time, as people write them.

use std::borrow::Cow;
use std::fmt;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A span of time in whole seconds: a number of seconds, or text such as `90s`, `5m` or `1h 30m`. From one second to a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

const DAY: i64 = 24 * 60 * 60;

impl Seconds {
    fn checked<E: de::Error>(seconds: i64) -> Result<Self, E> {
        match u32::try_from(seconds) {
            Ok(seconds) if (1..=DAY).contains(&i64::from(seconds)) => Ok(Self(seconds)),
            _ => Err(E::custom("a span of time is from 1s to 24h")),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time such as `90s` or `5m`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
        if let Ok(seconds) = text.parse() {
            return Seconds::checked(seconds);
        }
        let span: SignedDuration = text
            .parse()
            .map_err(|_| E::custom(format_args!("`{text}` is not a span of time such as `90s` or `5m`")))?;
        Seconds::checked(span.as_secs())
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
        Seconds::checked(seconds)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
        Seconds::checked(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["90s", "5m", 60] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_bounded() {
        let check = |yaml: &str, expected: Option<u32>| {
            assert_eq!(serde_yaml::from_str::<Seconds>(yaml).ok().map(|s| s.0), expected, "{yaml}");
        };
        check("60", Some(60));
        check("\"60\"", Some(60));
        check("90s", Some(90));
        check("1m 30s", Some(90));
        check("24h", Some(86_400));
        check("25h", None);
        check("0", None);
        check("-5", None);
        check("1e9", None);
        check("soon", None);
        check("99999999999999999999", None);
    }
}
