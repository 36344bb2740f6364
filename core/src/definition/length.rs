//! How long something lasts that people count in hours and days.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

use super::written::{Written, written_form};

/// How long something lasts, such as `45m`, `8h`, `2d` or `1d 12h`. From one minute to 60 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(SignedDuration);

/// Why a text is no such length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {}: it is from 1m to 60d", <Length as Written>::EXPECTED)]
pub struct LengthError {
    text: String,
}

impl Length {
    /// The most.
    pub const MAX: SignedDuration = SignedDuration::from_hours(60 * 24);
    const MIN: SignedDuration = SignedDuration::from_mins(1);

    /// As a span of time. A day is 24 hours.
    pub fn duration(self) -> SignedDuration {
        self.0
    }
}

impl Written for Length {
    const EXPECTED: &'static str = "a length of time such as `8h` or `2d`";
}

written_form!(Length, "string", ["8h", "2d", "1d 12h"]);

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let length = parse(text).filter(|length| (Self::MIN..=Self::MAX).contains(length)).map(Self);
        length.ok_or_else(|| LengthError { text: text.chars().take(40).collect() })
    }
}

/// `2d`, `1d 12h`, or hours and less in any form.
fn parse(text: &str) -> Option<SignedDuration> {
    let is_number =
        |text: &str| matches!(text.len(), 1..=4) && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((days, rest)) = text.split_once('d').filter(|(days, _)| is_number(days)) else {
        return text.parse().ok();
    };
    let days = SignedDuration::from_hours(24 * days.parse::<i64>().ok()?);
    match rest.trim_start() {
        "" => Some(days),
        rest => days.checked_add(rest.parse().ok().filter(|rest: &SignedDuration| !rest.is_negative())?),
    }
}

impl fmt::Display for Length {
    /// As short as it can be: `1d 12h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) =
            (self.0.as_hours() / 24, self.0 - SignedDuration::from_hours(self.0.as_hours() / 24 * 24));
        match (days, rest.is_zero()) {
            (0, _) => f.pad(&format!("{rest:#}")),
            (days, true) => f.pad(&format!("{days}d")),
            (days, false) => f.pad(&format!("{days}d {rest:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded_and_have_days() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                text.parse::<Length>().ok().map(|length| length.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check("8h", Some("8h"));
        check("90m", Some("1h 30m"));
        check("2d", Some("2d"));
        check("1d 12h", Some("1d 12h"));
        check("1d12h30m", Some("1d 12h 30m"));
        check("36h", Some("1d 12h"));
        check("60d", Some("60d"));
        check("60d 1s", None);
        check("59s", None);
        check("90 seconds", Some("1m 30s"));
        for bad in ["", "0", "-1d", "-8h", "2d -1h", "d", "1e9d", "99999d", "2 fortnights", "8"] {
            check(bad, None);
        }
    }
}
