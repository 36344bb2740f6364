//! What a commit says of itself: who made it, what for, and which key its signature names.
//!
//! All of it was written by whoever made the commit, so nothing here is proof of anything. It is shown, and decides
//! nothing.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sensitive::Sensitive;

/// Who made a commit, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub email: String,
    /// The name of whoever committed it.
    pub committer: String,
    /// The first line of the message.
    pub subject: String,
    /// When it was committed, as it claims.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Its signature; none where it is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

impl Commit {
    /// The same, without what looks like a secret: people paste them into messages.
    #[must_use]
    pub fn without_secrets(self) -> Self {
        let hide = |text: String| Sensitive::default().redacted(&text);
        Self {
            author: hide(self.author),
            email: hide(self.email),
            committer: hide(self.committer),
            subject: hide(self.subject),
            ..self
        }
    }
}

/// What the signature of a commit names. It was not verified: anyone can write a signature that names any key, and only
/// a check against keys that are trusted would tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// What it is.
    pub format: SignatureFormat,
    /// The kind of key, where the signature tells: `ssh-ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<Arc<str>>,
    /// Which key, as `ssh-keygen -l` and `gpg --list-keys` print it; none where the signature does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
}

/// The kind of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureFormat {
    /// By an SSH key.
    Ssh,
    /// By an OpenPGP key.
    OpenPgp,
    /// By an X.509 certificate.
    X509,
    /// Something else, or damaged.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_in_a_message_is_hidden() {
        let commit = |subject: &str| Commit {
            author: "Ada".into(),
            email: "ada@example.org".into(),
            committer: "Ada".into(),
            subject: subject.into(),
            time: Timestamp::UNIX_EPOCH,
            signature: None,
        };
        let check = |subject, expected: &str| {
            assert_eq!(commit(subject).without_secrets(), commit(expected), "{subject}");
        };
        check("web: nginx 1.28", "web: nginx 1.28");
        check("rotate the database password", "rotate the database password");
        check("set POSTGRES_PASSWORD=hunter2", "set POSTGRES_PASSWORD=(hidden)");
        check("use postgres://app:hunter2@db/app", "use (hidden)");
    }
}
