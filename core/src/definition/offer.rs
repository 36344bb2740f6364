//! What a node can do beyond running containers, as `kind@version`: what it promises, and what services need.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::written::{Written, written_form};

/// A thing that a node can do, with the version of it: `compose@2`, `gpu@1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// What it is.
    pub kind: Arc<str>,
    /// From 1. A greater one does all that a smaller one does.
    pub version: u32,
}

/// Why a text names no such thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {}", <Offer as Written>::EXPECTED)]
pub struct OfferError {
    text: String,
}

impl Offer {
    /// Whether whoever offers this can do what `needed` asks.
    pub fn serves(&self, needed: &Self) -> bool {
        self.kind == needed.kind && self.version >= needed.version
    }
}

impl Written for Offer {
    const EXPECTED: &'static str = "a capability of a node such as `compose@2`: a word of lower-case letters, digits and `-`, `@`, a version from 1";
}

written_form!(Offer, "string", ["compose@2", "gpu@1"]);

impl FromStr for Offer {
    type Err = OfferError;

    fn from_str(text: &str) -> Result<Self, OfferError> {
        let parsed = text.split_once('@').and_then(|(kind, version)| {
            let is_word =
                kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-:.".contains(&b));
            let digits = version.bytes().all(|b| b.is_ascii_digit());
            let version = version.parse().ok().filter(|version| digits && (1..=9999).contains(version))?;
            ((1..=63).contains(&kind.len()) && is_word).then(|| Self { kind: kind.into(), version })
        });
        parsed.ok_or_else(|| OfferError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.kind, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_version_serves_a_smaller_need() {
        let offer = |text: &str| text.parse::<Offer>().expect("an offer");
        assert!(offer("compose@2").serves(&offer("compose@1")));
        assert!(!offer("compose@2").serves(&offer("compose@3")));
        assert!(!offer("compose@2").serves(&offer("gpu@1")));
        for bad in ["", "compose", "@1", "compose@", "compose@0", "compose@-1", "Compose@1", "compose@+1"] {
            assert!(bad.parse::<Offer>().is_err(), "{bad}");
        }
    }
}
