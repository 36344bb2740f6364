//! The secrets by which callers are known: made here, shown once, stored as digests.
//!
//! A secret is 256 random bits behind a prefix that says what it opens, so that people and secret scanners know one
//! when they see it. The prefix gives no right: who a caller is, only the stored digest says.

use std::fmt::{self, Write as _};

use gitops_core::name::Digest;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::{Identity, StoredToken};

/// A bearer token in the clear. It prints only where [`Secret::expose`] is called.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Makes a new one for `identity`: `gitops_op_` or `gitops_node_`, and 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn generate(identity: &Identity) -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        let mut text = String::from(match identity {
            Identity::Operator(_) => "gitops_op_",
            Identity::Node(_) => "gitops_node_",
        });
        for byte in bits {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        }
        Ok(Self(text.into()))
    }

    /// What a caller presents, whatever it is: only [`identify`] tells whether it opens anything.
    pub fn presented(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, to be shown once or sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The token that `secret` is, if it opens anything. Takes the same time whichever it is, or none.
pub fn identify<'a>(secret: &Secret, tokens: &'a [StoredToken]) -> Option<&'a StoredToken> {
    let digest = secret.digest();
    let mut found = u64::MAX;
    for (index, token) in (0..).zip(tokens) {
        let same: Choice = token.digest.as_bytes().ct_eq(digest.as_bytes());
        found.conditional_assign(&index, same);
    }
    tokens.get(usize::try_from(found).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gitops_core::name::OperatorName;

    use super::*;

    fn node(name: &str) -> Identity {
        Identity::Node(name.parse().unwrap())
    }

    fn operator() -> Identity {
        Identity::Operator(OperatorName::first())
    }

    fn stored(secret: &Secret, identity: Identity) -> StoredToken {
        let created_at = jiff::Timestamp::UNIX_EPOCH;
        StoredToken { digest: secret.digest(), identity, roles: BTreeSet::new(), created_at }
    }

    #[test]
    fn a_secret_says_what_it_opens_and_has_256_bits() {
        for (identity, prefix) in [(operator(), "gitops_op_"), (node("edge-1"), "gitops_node_")] {
            let secret = Secret::generate(&identity).unwrap();
            let digits = secret.expose().strip_prefix(prefix).unwrap();
            assert_eq!(digits.len(), 64);
            assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            assert_ne!(secret.expose(), Secret::generate(&identity).unwrap().expose());
        }
    }

    #[test]
    fn a_secret_is_not_printed_by_accident() {
        let secret = Secret::presented("gitops_op_hush");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }

    #[test]
    fn only_the_stored_secret_is_known_and_only_as_what_it_was_stored_for() {
        let secrets: Vec<Secret> = (0..3).map(|_| Secret::generate(&operator()).unwrap()).collect();
        let identities = [operator(), node("edge-1"), node("edge-2")];
        let tokens: Vec<StoredToken> = secrets
            .iter()
            .zip(&identities)
            .map(|(secret, identity)| stored(secret, identity.clone()))
            .collect();

        for (secret, identity) in secrets.iter().zip(&identities) {
            let known = identify(secret, &tokens).map(|token| &token.identity);
            assert_eq!(known, Some(identity));
            let longer = Secret::presented(&format!("{}0", secret.expose()));
            assert_eq!(identify(&longer, &tokens), None);
        }
        assert_eq!(identify(&Secret::presented(""), &tokens), None);
        assert_eq!(identify(&secrets[0], &tokens[1..]), None);
        assert_eq!(identify(&secrets[0], &[]), None);
    }
}
