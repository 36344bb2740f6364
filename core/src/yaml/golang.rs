//! Plain scalars as Go's YAML reader takes them, which is the one that Compose uses.
//!
//! It keeps some of YAML 1.1: `022` is 18, `1_000` is 1000 and `2024-01-31` is a time. The reader here is one of YAML
//! 1.2, to which these are text. Only what the two take differently is looked at, and only where it stands without
//! quotes; so a file without such scalars pays a glance at each of its texts.
//!
//! The rules are those of `resolve.go` of `gopkg.in/yaml.v3`; `tests/compose_config.rs` asks Compose itself.

use jiff::civil::{Date, Time};
use serde_yaml::Value;

use super::{Document, Text, Trail};

/// Puts numbers and times where Go's reader has them and ours has text.
pub(super) fn resolve(text: &Text<'_>, document: &mut Document) {
    let number = document.number;
    let is_plain = |trail: &Trail<'_>| text.is_plain(number, &trail.steps());
    walk(&mut document.value, &Trail::ROOT, &is_plain);
}

fn walk(value: &mut Value, trail: &Trail<'_>, is_plain: &dyn Fn(&Trail<'_>) -> bool) {
    match value {
        Value::String(scalar) => {
            let resolved = if is_candidate(scalar) { resolved(scalar) } else { None };
            if let Some(resolved) = resolved.filter(|_| is_plain(trail)) {
                *value = resolved;
            }
        }
        Value::Sequence(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                walk(item, &trail.to(number), is_plain);
            }
        }
        Value::Mapping(fields) => {
            for (key, field) in fields.iter_mut() {
                walk(field, &trail.to(key.as_str().unwrap_or_default()), is_plain);
            }
        }
        Value::Tagged(tagged) => walk(&mut tagged.value, trail, is_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the two readers may differ: a number with a leading zero, an underscore or too many digits, or a time.
/// What is a number to both is none of these; as text it was in quotes.
fn is_candidate(scalar: &str) -> bool {
    let digits = scalar.trim_start_matches(['+', '-']).as_bytes();
    let Some(first) = digits.first().filter(|first| first.is_ascii_digit()) else { return false };
    let zero =
        *first == b'0' && digits.get(1).is_some_and(|next| next.is_ascii_digit() || b"XOB".contains(next));
    zero || digits.contains(&b'_') || digits.len() > 18 || digits.get(4) == Some(&b'-')
}

fn resolved(scalar: &str) -> Option<Value> {
    if let Some(time) = time(scalar) {
        return Some(Value::String(time));
    }
    let plain = scalar.replace('_', "");
    let number = integer(&plain).or_else(|| float(&plain).map(Into::into))?;
    Some(Value::Number(number))
}

/// `0x1F`, `0o17`, `0b11` and, with a leading zero alone, octal.
fn integer(text: &str) -> Option<serde_yaml::Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if text.starts_with('-') {
        i64::from_str_radix(&format!("-{digits}"), radix).ok().map(Into::into)
    } else {
        u64::from_str_radix(digits, radix).ok().map(Into::into)
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let allowed = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.bytes().all(allowed).then(|| text.parse::<f64>().ok()).flatten().filter(|float| float.is_finite())
}

/// A time, as Go prints it: `2024-01-31 00:00:00 +0000 UTC`. It may be a date alone, or have a time behind `T`, `t` or a
/// blank, and behind the first two a zone.
fn time(text: &str) -> Option<String> {
    let (date, rest) = text.find(['T', 't', ' ']).map_or((text, None), |at| (&text[..at], Some(&text[at..])));
    let date = date_of(date)?;
    let Some(rest) = rest else { return Some(format!("{date} 00:00:00 +0000 UTC")) };
    let (time, zone) = match rest.strip_prefix(' ') {
        Some(time) => (time, "+0000 UTC".to_owned()),
        None => {
            let zone_at = rest.find(['Z', '+', '-'])?;
            (&rest[1..zone_at], zone_of(&rest[zone_at..])?)
        }
    };
    Some(format!("{date} {} {zone}", time_of(time)?))
}

/// `2024-1-5`: four digits, then one or two each.
fn date_of(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = if year.len() == 4 { number(year)? } else { return None };
    let (month, day) = (short(month)?, short(day)?);
    if parts.next().is_some() { None } else { Date::new(year, month, day).ok() }
}

fn time_of(text: &str) -> Option<Time> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (short(parts.next()?)?, short(parts.next()?)?, short(parts.next()?)?);
    let nanos: i32 = number(&format!("{fraction:0<9}")).filter(|_| fraction.len() <= 9)?;
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, nanos).ok() }
}

/// `Z`, `+02:00`. Go names a zone that it does not know by its offset.
fn zone_of(text: &str) -> Option<String> {
    if text == "Z" {
        return Some("+0000 UTC".to_owned());
    }
    let (sign, offset) = text.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let two = |text: &str| text.len() == 2 && number::<u8>(text).is_some();
    match (hours, minutes) {
        ("00", "00") => Some("+0000 UTC".to_owned()),
        _ if two(hours) && two(minutes) => Some(format!("{sign}{hours}{minutes} {sign}{hours}{minutes}")),
        _ => None,
    }
}

fn short(text: &str) -> Option<i8> {
    if matches!(text.len(), 1 | 2) { number(text) } else { None }
}

fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_for_a_number_or_a_time_is_one() {
        let check = |scalar: &str, expected: &str| {
            let found = if is_candidate(scalar) { resolved(scalar) } else { None };
            let shown = found.map(|value| serde_json::to_value(value).unwrap_or_default().to_string());
            assert_eq!(shown.as_deref().unwrap_or("text"), expected, "{scalar}");
        };
        for (scalar, expected) in [
            ("022", "18"),
            ("-022", "-18"),
            ("+022", "18"),
            ("0_7", "7"),
            ("089", "89.0"),
            ("00", "0"),
            ("1_000", "1000"),
            ("1_", "1"),
            ("1_0.5", "10.5"),
            ("0x_1F", "31"),
            ("0X1F", "31"),
            ("0B11", "3"),
            ("0O17", "15"),
            ("1_e3", "1000.0"),
            ("12345678901234567890123", "1.2345678901234568e+22"),
            ("01777777777777777777777", "18446744073709551615"),
        ] {
            check(scalar, expected);
        }
        check("2024-1-31", "\"2024-01-31 00:00:00 +0000 UTC\"");
        check("2024-01-31T10:00:00.5+02:00", "\"2024-01-31 10:00:00.5 +0200 +0200\"");
        check("2024-01-31t1:2:3Z", "\"2024-01-31 01:02:03 +0000 UTC\"");
        check("2024-01-31 10:00:00", "\"2024-01-31 10:00:00 +0000 UTC\"");
        for text in
            ["_1", "1.2.3", "0o8", "0_xg", "127.0.0.1", "80:80", "2024-13-01", "1:30", "0", "--1", "1-2", "é"]
        {
            check(text, "text");
        }
    }
}
