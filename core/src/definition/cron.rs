//! Times that come again, as people write them: the five fields of cron.
//!
//! Read here and not by a crate: a window is asked when it opened *last* as well as when it opens next, by the clock of
//! any place and without a look at the time zones of the machine, and in bounded time however odd the fields are. Sets of
//! bits, one for each field, give all of that.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, time};

use super::written::{Written, written_form};

/// Times that come again, in the five fields of cron: minute, hour, day of the month, month, day of the week. `0 22 * * 1-5`
/// is ten in the evening from Monday to Friday.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: Arc<str>,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// A day must fit both fields where one of them is `*`, and else either, as in every cron.
    fits_both: bool,
}

/// Why a text names no times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// More or fewer fields than there are.
    #[error(
        "`{0}` does not have the five fields of cron: minute, hour, day of the month, month, day of the week, as in `0 22 * * 1-5`"
    )]
    Fields(String),
    /// A field that cannot be read.
    #[error(
        "`{text}` is not {field} in a time such as `30 4 * * *`: use {first} to {last}, `*`, ranges `a-b`, steps `*/n`, and lists of these with commas"
    )]
    Field {
        /// The field as it was written.
        text: String,
        /// Which field.
        field: &'static str,
        /// The least that it can be.
        first: u32,
        /// The most.
        last: u32,
    },
    /// No month has such a day.
    #[error("`{0}` never comes: none of its months has such a day, as in `0 0 29 2 *`")]
    Never(String),
}

/// What a field can be.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Words for numbers, from the first on.
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "a minute", first: 0, last: 59, words: &[] };
const HOUR: Field = Field { name: "an hour", first: 0, last: 23, words: &[] };
const DAY: Field = Field { name: "a day of the month", first: 1, last: 31, words: &[] };
const MONTH: Field = Field {
    name: "a month",
    first: 1,
    last: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is both 0 and 7.
const WEEKDAY: Field = Field {
    name: "a day of the week",
    first: 0,
    last: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Cron {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a day on which the times come.
    pub fn is_on(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| number >= 0 && set & (1 << number) != 0;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let is_day = if self.fits_both { day && weekday } else { day || weekday };
        is_day && has(self.months, date.month())
    }

    /// The times of a day on which they come, in order.
    pub fn times(&self, date: Date) -> impl DoubleEndedIterator<Item = DateTime> + '_ {
        let numbers = |set: u64, last: i8| (0..=last).filter(move |number| set & (1 << number) != 0);
        let of_hour = move |hour| {
            numbers(self.minutes, 59).map(move |minute| date.to_datetime(time(hour, minute, 0, 0)))
        };
        numbers(self.hours, 23).flat_map(of_hour)
    }
}

impl Field {
    /// The numbers of a field, as bits.
    fn read(&self, text: &str) -> Result<u64, CronError> {
        let parts = text.split(',').map(|part| self.part(part));
        let set = parts.reduce(|one, other| Some(one? | other?)).flatten();
        set.ok_or_else(|| CronError::Field {
            text: text.chars().take(40).collect(),
            field: self.name,
            first: self.first,
            last: self.last,
        })
    }

    /// `*`, `5`, `1-5`, `*/2`, `10-30/5`, and `5/10`, which is from 5 on.
    fn part(&self, text: &str) -> Option<u64> {
        let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        let step = step.map_or(Some(1), digits).filter(|step| (1..=60).contains(step))?;
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None if text.contains('/') => (self.number(range)?, self.last),
            None => (self.number(range)?, self.number(range)?),
        };
        let numbers = (first..=last).step_by(usize::try_from(step).ok()?);
        (first <= last).then(|| numbers.fold(0, |set, number| set | 1 << number))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let number = match word {
            Some(word) => self.first + u32::try_from(word).ok()?,
            None => digits(text)?,
        };
        (self.first..=self.last).contains(&number).then_some(number)
    }
}

/// A number of at most two digits, and nothing else.
fn digits(text: &str) -> Option<u32> {
    let good = matches!(text.len(), 1..=2) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| good)
}

impl Written for Cron {
    const EXPECTED: &'static str = "a time in the fields of cron such as `0 22 * * 1-5`";
}

written_form!(Cron, "string", ["0 22 * * 1-5", "30 4 * * *"]);

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().take(6).collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields(text.chars().take(80).collect()));
        };
        let weekdays = WEEKDAY.read(weekday)?;
        let cron = Self {
            text: text.into(),
            minutes: MINUTE.read(minute)?,
            hours: HOUR.read(hour)?,
            days: DAY.read(day)?,
            months: MONTH.read(month)?,
            weekdays: weekdays & 0x7f | weekdays >> 7,
            fits_both: day.starts_with('*') || weekday.starts_with('*'),
        };
        if cron.comes() { Ok(cron) } else { Err(CronError::Never(text.chars().take(80).collect())) }
    }
}

impl Cron {
    /// Whether any month has one of its days: `0 0 30 2 *` never comes.
    fn comes(&self) -> bool {
        const LAST_DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first_day = self.days.trailing_zeros();
        let has_day = |(month, last): (u32, u32)| self.months & 1 << month != 0 && first_day <= last;
        !self.fits_both || (1..).zip(LAST_DAYS).any(has_day)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;

    use super::*;

    /// The first times from the start of 2027, a Friday, on.
    fn first(text: &str, count: usize) -> Vec<String> {
        let cron: Cron = text.parse().expect("it is cron");
        let days = date(2027, 1, 1).series(1.day()).take(366).filter(|day| cron.is_on(*day));
        let times = days.flat_map(|day| cron.times(day).collect::<Vec<_>>());
        times.take(count).map(|time| time.strftime("%a %m-%d %H:%M").to_string()).collect()
    }

    #[test]
    fn fields_name_times() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(first(text, expected.len()), expected, "{text}");
        };
        check("0 22 * * 1-5", &["Fri 01-01 22:00", "Mon 01-04 22:00"]);
        check("*/20 4 * * *", &["Fri 01-01 04:00", "Fri 01-01 04:20", "Fri 01-01 04:40", "Sat 01-02 04:00"]);
        check("5/25 0 * * SUN", &["Sun 01-03 00:05", "Sun 01-03 00:30", "Sun 01-03 00:55"]);
        check("0 0 * * 7", &["Sun 01-03 00:00", "Sun 01-10 00:00"]);
        check("0 0 * * 6-7", &["Sat 01-02 00:00", "Sun 01-03 00:00"]);
        check("0 0 29,31 feb,Mar *", &["Mon 03-29 00:00", "Wed 03-31 00:00"]);
        check(
            "0 8-18/5 1 * *",
            &["Fri 01-01 08:00", "Fri 01-01 13:00", "Fri 01-01 18:00", "Mon 02-01 08:00"],
        );
        // Both days are given: either will do. One of them is any: both must fit.
        check("0 0 2 * mon", &["Sat 01-02 00:00", "Mon 01-04 00:00"]);
        check("0 0 */2 * mon", &["Mon 01-11 00:00", "Mon 01-25 00:00"]);
        check("  0   0\t*  * * ", &["Fri 01-01 00:00"]);
    }

    #[test]
    fn what_names_no_time_says_which_field_it_is() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Cron>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        for few in ["", "*", "* * * *", "* * * * * *", "@daily"] {
            check(few, "five fields");
        }
        check("60 * * * *", "a minute");
        check("* 24 * * *", "an hour");
        check("* * 0 * *", "a day of the month");
        check("* * * 13 *", "a month");
        check("* * * * 8", "a day of the week");
        check("* * * * monday", "a day of the week");
        for bad in
            ["5-1", "*/0", "*/99", "1,,2", ",", "-5", "+5", "1-", "L", "5#3", "1/2/3", "005", "*-5", "**"]
        {
            check(&format!("{bad} * * * *"), "is not a minute");
        }
        check("0 0 30 2 *", "never comes");
        check("0 0 31 4,6,9,11 *", "never comes");
        assert!("0 0 29 2 *".parse::<Cron>().is_ok());
        assert!("0 0 30 2 mon".parse::<Cron>().is_ok());
    }
}
