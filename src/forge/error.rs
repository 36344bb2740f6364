//! What can go wrong between us and a forge: what was being done in the error itself, why not in its cause.
//!
//! A forge answers with prose of its own, and what it says may quote what it was sent. So its words are bounded, taken for
//! hostile, and dropped where they look like a secret.

use std::error::Error;

use gitops_core::sensitive::{HIDDEN, Sensitive};
use jiff::SignedDuration;

/// Something that a forge did not do for us.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} at {at}")]
pub struct ForgeError {
    /// What was being done, as `comment on pull request 7`.
    pub doing: String,
    /// The address of the forge.
    pub at: String,
    /// Why it was not.
    #[source]
    pub why: Why,
}

impl ForgeError {
    /// After what time it may work, where only time is wrong: as long as the forge says, if it says.
    pub fn later(&self) -> Option<Option<SignedDuration>> {
        match &self.why {
            Why::Later { after, .. } => Some(*after),
            _ => None,
        }
    }

    /// Whether the token does not open it.
    pub fn is_denied(&self) -> bool {
        matches!(self.why, Why::Denied { .. })
    }

    /// Whether it is not there, or not shown.
    pub fn is_missing(&self) -> bool {
        matches!(self.why, Why::Missing { .. })
    }
}

/// Why a forge did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot now: too much was asked of it, it is down, or it cannot be reached.
    #[error("{said}")]
    Later {
        /// How long it wants us to wait, if it says.
        after: Option<SignedDuration>,
        /// What is the matter.
        said: String,
        /// What the network says.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The token does not open it.
    #[error("the token may not{}", appended(said))]
    Denied {
        /// What the forge says.
        said: String,
    },
    /// There is no such thing, or not for this token.
    #[error("there is no such thing, or the token does not show it{}", appended(said))]
    Missing {
        /// What the forge says.
        said: String,
    },
    /// It was moved, or the address is another one.
    #[error("it sends us on to {to}: give the address and the name as they are now")]
    Moved {
        /// Where to, without what follows the path.
        to: String,
    },
    /// It does not want what was sent.
    #[error("it answers {status}{}", appended(said))]
    Refused {
        /// The status code.
        status: u16,
        /// What the forge says.
        said: String,
    },
    /// Its answer is not what a forge of this kind answers.
    #[error("its answer cannot be read: is it a {kind} of a version that is still looked after?")]
    Unreadable {
        /// The kind of the forge.
        kind: &'static str,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Its answer has no end.
    #[error("its answer is larger than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: usize,
    },
}

fn appended(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// A client that cannot be made of what was given.
#[derive(Debug, thiserror::Error)]
pub enum ForgeSettingsError {
    /// An address that a token must not be sent to.
    #[error(
        "`{0}` is no address to send a token to: use https, or http to this machine only, without a user name"
    )]
    Address(String),
    /// Not the name of a repository.
    #[error("`{0}` is no repository of a forge: give it as OWNER/NAME")]
    Repository(String),
    /// A token that no header can carry.
    #[error("the token has characters that no token has: does its file hold anything else?")]
    Token,
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
}

/// What a forge says in its answer to a request that failed, in one short line. It may quote what was sent.
pub(super) fn said(body: &[u8], secret: &str) -> String {
    const MAX: usize = 300;
    let text = match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(answer)) => {
            let field = ["message", "error_description", "error"].iter().find_map(|name| answer.get(*name));
            field.map(|field| field.as_str().map_or_else(|| field.to_string(), str::to_owned))
        }
        // A page of HTML, as a proxy sends it, says nothing that the status does not.
        _ => None,
    };
    let text = text.unwrap_or_default();
    let quotes_secret = !secret.is_empty() && text.contains(secret);
    let shown = if quotes_secret { HIDDEN.to_owned() } else { Sensitive::default().redacted(&text) };
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect()
}
