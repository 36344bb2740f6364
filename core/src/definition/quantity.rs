//! Amounts of processor, memory and money, as people write them, held as whole numbers.
//!
//! Each has bounds far above any machine, so that a slip (`1e9`, `-1`, a missing unit) is an error where it stands and
//! a sum over a hundred thousand of them cannot overflow.

use std::fmt;
use std::str::FromStr;

use super::written::{Written, written_form};

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}: {rule}")]
pub struct QuantityError {
    text: String,
    expected: &'static str,
    rule: &'static str,
}

fn refuse<T: Written>(text: &str, rule: &'static str) -> QuantityError {
    QuantityError { text: text.chars().take(40).collect(), expected: T::EXPECTED, rule }
}

/// Processor time, in thousandths of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub u64);

/// An amount of memory or disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// An amount of money, in hundredths of the currency of the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

impl Cpu {
    /// A thousand cores and a few: more than any node has.
    pub const MAX: Self = Self(1_024_000);
}

impl Bytes {
    /// One pebibyte.
    pub const MAX: Self = Self(1 << 50);
}

impl Money {
    /// A hundred million.
    pub const MAX: Self = Self(10_000_000_000);
}

impl Written for Cpu {
    const EXPECTED: &'static str = "a number of cores such as `0.5`, `2` or `250m`";
}

impl Written for Bytes {
    const EXPECTED: &'static str = "an amount of memory such as `512MiB` or `2g`";
}

impl Written for Money {
    const EXPECTED: &'static str = "an amount of money such as `12.50`";
}

written_form!(Cpu, ["string", "number"], [0.5, 2, "250m"]);
written_form!(Bytes, ["string", "integer"], ["512MiB", "2g"]);
written_form!(Money, ["string", "number"], [12.5, 40]);

impl FromStr for Cpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let rule = "use 0.001 to 1024 cores, in steps of 0.001";
        let millis = match text.strip_suffix('m') {
            Some(digits) => decimal(digits, 0),
            None => decimal(text, 3),
        };
        let cpu = millis.map(Self).filter(|cpu| (Self(1)..=Self::MAX).contains(cpu));
        cpu.ok_or_else(|| refuse::<Self>(text, rule))
    }
}

impl FromStr for Money {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let rule = "use 0 to 100000000, with at most two decimals";
        let money = decimal(text, 2).map(Self).filter(|money| *money <= Self::MAX);
        money.ok_or_else(|| refuse::<Self>(text, rule))
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    /// As in Compose files: a unit is a power of 1024 in any spelling.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let rule = "use up to 1 PiB, as a whole number of bytes or with a unit: `k`, `m`, `g`, `t`";
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let bytes = unit_of(unit.trim_start()).and_then(|shift| {
            // Three decimals are enough for `1.5g`; finer ones are no amount that anyone means.
            let thousandths = u128::from(decimal(digits, 3)?);
            u64::try_from((thousandths << shift) / 1000).ok()
        });
        let bytes = bytes.map(Self).filter(|bytes| (Self(1)..=Self::MAX).contains(bytes));
        bytes.ok_or_else(|| refuse::<Self>(text, rule))
    }
}

/// By how many bits a unit shifts.
fn unit_of(unit: &str) -> Option<u32> {
    let unit = unit.to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    Some(match letter {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    })
}

/// `12.5` with two decimals is 1250. No sign, no exponent, no more decimals than that.
fn decimal(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || !digits(whole) || !digits(fraction) {
        return None;
    }
    if text.contains('.') && !(1..=decimals).contains(&fraction.len()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<decimals$}").parse().unwrap_or_default();
    let scale = 10_u64.checked_pow(u32::try_from(decimals).ok()?)?;
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction)
}

impl fmt::Display for Cpu {
    /// In cores: `0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        let rest = format!("{rest:03}");
        match rest.trim_end_matches('0') {
            "" => f.pad(&whole.to_string()),
            rest => f.pad(&format!("{whole}.{rest}")),
        }
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit that leaves no more than one decimal: `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = units.into_iter().find(|(shift, _)| self.0 >= 1 << shift);
        let Some((shift, unit)) = unit else { return f.pad(&format!("{} B", self.0)) };
        let tenths = (u128::from(self.0) * 10 + (1 << (shift - 1))) >> shift;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => f.pad(&format!("{whole} {unit}")),
            (whole, tenth) => f.pad(&format!("{whole}.{tenth} {unit}")),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Written + fmt::Display>(text: &str, expected: Option<&str>) {
        let shown = text.parse::<T>().ok().map(|value| value.to_string());
        assert_eq!(shown.as_deref(), expected, "{text}");
    }

    #[test]
    fn cores_are_bounded_thousandths() {
        for (text, shown) in
            [("2", "2"), ("0.5", "0.5"), ("250m", "0.25"), ("0.001", "0.001"), ("1024", "1024")]
        {
            check::<Cpu>(text, Some(shown));
        }
        for bad in
            ["", "0", "-1", "0.0001", "1e9", "1025", "1.", ".5", "NaN", "99999999999999999999", "1 core"]
        {
            check::<Cpu>(bad, None);
        }
    }

    #[test]
    fn memory_is_in_powers_of_1024() {
        let good = [
            ("1024", "1 KiB"),
            ("512MiB", "512 MiB"),
            ("512m", "512 MiB"),
            ("512 MB", "512 MiB"),
            ("1.5g", "1.5 GiB"),
            ("2T", "2 TiB"),
            ("100b", "100 B"),
            ("1023", "1023 B"),
            ("1024t", "1024 TiB"),
        ];
        for (text, shown) in good {
            check::<Bytes>(text, Some(shown));
        }
        for bad in ["", "0", "-1", "1e9", "2000000t", "1.5.5g", "5 parsecs", "0.0001g", "g"] {
            check::<Bytes>(bad, None);
        }
    }

    #[test]
    fn money_has_two_decimals() {
        check::<Money>("12.5", Some("12.50"));
        check::<Money>("0", Some("0.00"));
        for bad in ["-1", "1e9", "12.505", "1000000000000", "€5"] {
            check::<Money>(bad, None);
        }
    }

    #[test]
    fn a_mistake_says_what_is_expected() {
        let error = "1e9".parse::<Cpu>().expect_err("no exponent");
        assert_eq!(
            error.to_string(),
            "`1e9` is not a number of cores such as `0.5`, `2` or `250m`: use 0.001 to 1024 cores, in steps of 0.001"
        );
    }
}
