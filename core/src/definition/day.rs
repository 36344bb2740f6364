//! Days, as people write them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::written::{Written, written_form};

/// A day, as `2027-01-31`. It ends at midnight UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// The moment after its last.
    pub fn end(self) -> Timestamp {
        let next = self.0.saturating_add(1.day());
        next.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }
}

/// Why a text is no day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {}", <Day as Written>::EXPECTED)]
pub struct DayError {
    text: String,
}

impl Written for Day {
    const EXPECTED: &'static str = "a day such as `2027-01-31`";
}

written_form!(Day, "string", ["2027-01-31"]);

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let day = (text.len() == 10).then(|| text.parse().ok()).flatten().map(Self);
        day.ok_or_else(|| DayError { text: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight() {
        let day: Day = "2026-12-31".parse().expect("a day");
        assert_eq!(day.end().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(day.to_string(), "2026-12-31");
        for bad in ["", "2026-13-01", "2026-02-30", "31.12.2026", "2026-12-31T00:00", "soon"] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        assert_eq!("9999-12-31".parse::<Day>().expect("the last").end(), Timestamp::MAX);
    }
}
