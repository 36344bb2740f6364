//! Validated names: what a service, node, feature or control may be called, and the three identifiers of a
//! roll-out (revision, generation, digest).
//!
//! Each is its own type so that a node cannot be passed where a service is meant, and each is checked once, on
//! the way in. Names end up in container labels, file paths, URLs and Compose project names, so the alphabet is
//! the narrowest of those: a DNS label for services and nodes.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} name: {rule}")]
pub struct NameError {
    /// What was being named: `service`, `node`, ….
    pub kind: &'static str,
    /// The text as it was written, cut to 80 characters.
    pub text: String,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "use 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit";
const DOTTED_RULE: &str =
    "use 1 to 100 letters, digits, `.`, `_` and `-`, starting and ending with a letter or digit";

/// RFC 1123 label, lower case only: fits DNS, Compose project names and file names alike.
fn is_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63)
        && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
}

const PERSON_RULE: &str =
    "use 1 to 100 letters, digits, `.`, `_`, `-`, `+` and `@`, starting with a letter or digit";

fn is_dotted(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=100)
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// What an e-mail address or a login may be, and fits into the path of a URL as it is.
fn is_person(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=100)
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
        && bytes[0].is_ascii_alphanumeric()
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { kind: $kind, text: text.chars().take(80).collect(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// A service: one Compose project, and the folder under `services/` that defines it.
    ServiceName, "service", is_label, LABEL_RULE
);
name_type!(
    /// A node: one Docker host, and the identity of its agent.
    NodeName, "node", is_label, LABEL_RULE
);
name_type!(
    /// A platform capability, such as `log.audit`.
    FeatureName, "feature", is_dotted, DOTTED_RULE
);
name_type!(
    /// A rule that services must meet, such as `pci-dss-4.0`.
    ControlName, "control", is_dotted, DOTTED_RULE
);

name_type!(
    /// An environment: some of the nodes, and what holds for them, such as `production`.
    EnvironmentName, "environment", is_label, LABEL_RULE
);
name_type!(
    /// A person or a script with a token: `ada`, `ada@example.org`.
    OperatorName, "operator", is_person, PERSON_RULE
);
name_type!(
    /// What an operator may speak for when changes wait for approval: `dba`, `security`.
    RoleName, "role", is_dotted, DOTTED_RULE
);

impl OperatorName {
    /// The operator of a daemon whose people have no names of their own: its first token is theirs.
    pub fn first() -> Self {
        Self("operator".into())
    }
}
/// A commit id, in full: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(Arc<str>);

impl Revision {
    /// Stands for files that no commit names yet.
    pub fn uncommitted() -> Self {
        Self("0".repeat(40).into())
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits: enough for people, never used as a key.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for Revision {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.into()))
        } else {
            let rule = "a revision is a full commit id of 40 or 64 hexadecimal digits";
            Err(NameError { kind: "revision", text: text.chars().take(80).collect(), rule })
        }
    }
}

impl TryFrom<String> for Revision {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.0.as_ref().to_owned()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The number of a node's plan. It only rises; 0 means that no plan was ever made. It comes in from agents too, so no
/// number beyond [`Generation::LAST`] is ever read.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "u64")]
pub struct Generation(pub u64);

impl Generation {
    /// The greatest that there can be: up to it, every reader of JSON tells neighbouring integers apart (RFC 8259, 6).
    pub const LAST: Self = Self(1 << 53);

    /// The one after this; none after the last.
    pub fn next(self) -> Option<Self> {
        (self < Self::LAST).then(|| Self(self.0 + 1))
    }
}

impl TryFrom<u64> for Generation {
    type Error = NameError;

    fn try_from(number: u64) -> Result<Self, NameError> {
        let rule = "a generation is a number up to 2^53";
        let error = || NameError { kind: "generation", text: number.to_string(), rule };
        Some(Self(number)).filter(|generation| *generation <= Self::LAST).ok_or_else(error)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of some bytes, written `sha256:` and 64 hexadecimal digits, as container registries write theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve digits: enough for people and labels on screen, never used as a key.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// The 64 digits without the `sha256:` in front: fit for a file name.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl FromStr for Digest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let digits = text.strip_prefix("sha256:")?.as_bytes();
            let mut bytes = [0; 32];
            if digits.len() != 64 {
                return None;
            }
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
            Some(Self(bytes))
        };
        let rule = "a digest is `sha256:` and 64 lower-case hexadecimal digits";
        parse().ok_or_else(|| NameError { kind: "digest", text: text.chars().take(80).collect(), rule })
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sha256:{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}…", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lower_case_dns_labels() {
        for good in ["a", "web", "edge-1", "0day", &"x".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Web", "a_b", "a.b", "a/b", "..", "é", &"x".repeat(64), "a\n"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn features_and_controls_may_have_dots_and_capitals() {
        for good in ["log.audit", "PCI-DSS-4.0", "a"] {
            assert!(good.parse::<FeatureName>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "a.", "a b", "a/b", &"x".repeat(101)] {
            assert!(bad.parse::<ControlName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn operators_are_called_as_people_sign() {
        for good in ["ada", "Ada.Lovelace", "ada+ops@example.org", "0"] {
            assert!(good.parse::<OperatorName>().is_ok(), "{good}");
        }
        for bad in ["", ".ada", "@ada", "ada lovelace", "a/b", "a?b", "a%2f", "ä", &"x".repeat(101)] {
            assert!(bad.parse::<OperatorName>().is_err(), "{bad:?}");
        }
        assert_eq!(OperatorName::first().as_str().parse(), Ok(OperatorName::first()));
    }

    #[test]
    fn generations_end_before_numbers_do() {
        let read = |text: &str| serde_json::from_str::<Generation>(text).ok();
        assert_eq!(read("0").and_then(Generation::next), Some(Generation(1)));
        assert_eq!(read("9007199254740991").and_then(Generation::next), Some(Generation::LAST));
        assert_eq!(read("9007199254740992").map(Generation::next), Some(None));
        for bad in ["9007199254740993", "18446744073709551615", "18446744073709551616", "-1", "1.5"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(serde_json::to_string(&Generation(7)).ok().as_deref(), Some("7"));
    }

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest::of("hello");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:zz".parse::<Digest>().is_err());
        assert!(digest.hex().parse::<Digest>().is_err(), "the algorithm is part of the name");
    }
}
