//! Which start of an agent speaks: what tells an agent that was started again from a copy of it.
//!
//! An agent's id lies in its state folder, so whoever copies the folder has it, too. But an agent also counts its starts
//! there, and draws a number at each. Of two processes with one id, the one with the greater count was started later; two with
//! one count were started from two folders, or from one that was put back as it had been.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One start of an agent, written `17-9f3c2a5d00c4e1b8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Start {
    /// Which start from this state folder it is: the first is 1.
    pub count: u64,
    /// Drawn at this start.
    pub nonce: u64,
}

/// A text that names no start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a start is its number, `-` and 16 lower-case hexadecimal digits: `17-9f3c2a5d00c4e1b8`")]
pub struct StartError;

impl Start {
    /// Whether it is later than the other one, if both are of one state folder.
    pub fn is_after(self, other: Self) -> bool {
        self.count > other.count
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.count, self.nonce)
    }
}

impl FromStr for Start {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        let parse = || {
            let (count, nonce) = text.split_once('-')?;
            let start = Self { count: count.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? };
            // One start has one name.
            (start.to_string() == text).then_some(start)
        };
        parse().ok_or(StartError)
    }
}

impl TryFrom<String> for Start {
    type Error = StartError;

    fn try_from(text: String) -> Result<Self, StartError> {
        text.parse()
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_reads_back_what_it_prints_and_nothing_else() {
        for start in [Start { count: 1, nonce: 0 }, Start { count: u64::MAX, nonce: u64::MAX }] {
            assert_eq!(start.to_string().parse(), Ok(start));
        }
        assert_eq!(Start { count: 17, nonce: 0xc0ffee }.to_string(), "17-0000000000c0ffee");
        for bad in [
            "",
            "17",
            "17-",
            "-1-0000000000c0ffee",
            "017-0000000000c0ffee",
            "17-c0ffee",
            "17-0000000000C0FFEE",
        ] {
            assert_eq!(bad.parse::<Start>(), Err(StartError), "{bad}");
        }
    }
}
