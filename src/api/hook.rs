//! Webhooks: "something was pushed, look now".
//!
//! A hook only wakes the daemon: nothing in its body is believed or even read, so a forged one can do no more than
//! make it look. It still must prove that it knows the secret, and it is bounded in rate.

use std::sync::Mutex;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::access::{Access, authenticate, bearer};
use super::control::{Control, Request};
use super::problem::ApiError;
use crate::clock;

/// Webhook calls that are let through at once, and how long each takes to come back.
const BURST: u32 = 10;
const REFILL: SignedDuration = SignedDuration::from_secs(1);

/// Wakes the daemon.
pub(super) async fn source(
    State(control): State<Control>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    if !knows_secret(control.hook_secret.as_deref(), &headers, &body) {
        Access::Hook.opens_to(&authenticate(&control, &headers)?.identity)?;
    }
    control.hooks.take(clock::now()).map_err(ApiError::TooMany)?;
    control.ask(Request::Wake).await?;
    Ok(StatusCode::ACCEPTED)
}

/// In the way of GitHub, Gitea and Forgejo (a signature of the body), of GitLab (the secret itself), or as a bearer.
fn knows_secret(secret: Option<&str>, headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(secret) = secret else { return false };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let shown = [text("x-gitlab-token"), bearer(headers)];
    let signed = [
        text("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256=")),
        text("x-gitea-signature"),
    ];
    shown.into_iter().flatten().any(|shown| same(shown, secret))
        || signed.into_iter().flatten().any(|signature| is_signed(secret, signature, body))
}

/// Compares digests, which have one length: neither the text nor its length shows in the time it takes.
fn same(shown: &str, secret: &str) -> bool {
    let digest = |text: &str| crate::name::Digest::of(text);
    digest(shown).as_bytes().ct_eq(digest(secret).as_bytes()).into()
}

/// Whether `signature` is HMAC-SHA256 of the body under the secret, in hexadecimal digits.
fn is_signed(secret: &str, signature: &str, body: &[u8]) -> bool {
    let digest: Result<crate::name::Digest, _> = format!("sha256:{signature}").parse();
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    digest.is_ok_and(|digest| mac.chain_update(body).verify_slice(digest.as_bytes()).is_ok())
}

/// A token bucket.
#[derive(Debug, Default)]
pub struct Rate(Mutex<Option<(u32, Timestamp)>>);

impl Rate {
    /// Lets a call through, or says how many seconds to wait.
    fn take(&self, now: Timestamp) -> Result<(), u64> {
        let mut bucket = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (left, since) = bucket.unwrap_or((BURST, now));
        let passed = now.duration_since(since).max(SignedDuration::ZERO);
        let back = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        let left = left.saturating_add(back).min(BURST);
        let since = if back == 0 { since } else { now };
        *bucket = Some((left.saturating_sub(1), since));
        if left == 0 { Err(REFILL.as_secs().unsigned_abs()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().expect("ASCII"))])
    }

    #[test]
    fn each_forge_proves_the_secret_in_its_own_way() {
        // From RFC 4231, test case 2: key "Jefe".
        let body = b"what do ya want for nothing?";
        let signature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let wrong = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3844";
        for (name, value, expected) in [
            ("x-hub-signature-256", format!("sha256={signature}"), true),
            ("x-hub-signature-256", signature.to_owned(), false),
            ("x-hub-signature-256", format!("sha256={wrong}"), false),
            ("x-gitea-signature", signature.to_owned(), true),
            ("x-gitea-signature", String::new(), false),
            ("x-gitlab-token", "Jefe".to_owned(), true),
            ("x-gitlab-token", "jefe".to_owned(), false),
            ("authorization", "Bearer Jefe".to_owned(), true),
            ("authorization", "Basic Jefe".to_owned(), false),
        ] {
            assert_eq!(knows_secret(Some("Jefe"), &headers(name, &value), body), expected, "{name}: {value}");
            assert!(!knows_secret(None, &headers(name, &value), body), "no secret is set");
        }
    }

    #[test]
    fn calls_beyond_the_burst_wait_for_the_refill() {
        let rate = Rate::default();
        let start = Timestamp::UNIX_EPOCH;
        for _ in 0..BURST {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(1));
        assert_eq!(rate.take(start + REFILL), Ok(()));
        assert_eq!(rate.take(start + REFILL), Err(1));
        assert_eq!(rate.take(start + REFILL * 1000), Ok(()));
    }
}
