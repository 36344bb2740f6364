//! How a webhook proves that it knows the secret, in the way of each forge.
//!
//! GitHub, Gitea, Forgejo and Bitbucket sign the body (HMAC-SHA256). GitLab shows the secret itself, or signs the body
//! together with the id and the time of the delivery, by the rules of Standard Webhooks, with a key that it writes as
//! `whsec_…`. A script shows it as a bearer token. All comparisons take the same time whatever they compare.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gitops_core::name::Digest;
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::api::access::bearer;
use crate::api::problem::ApiError;

/// A signature of the body in a header, and the header that names the delivery.
struct Scheme {
    signature: &'static str,
    prefix: &'static str,
    delivery: &'static str,
}

const SCHEMES: [Scheme; 5] = [
    Scheme { signature: "x-hub-signature-256", prefix: "sha256=", delivery: "x-github-delivery" },
    Scheme { signature: "x-forgejo-signature", prefix: "", delivery: "x-forgejo-delivery" },
    Scheme { signature: "x-gitea-signature", prefix: "", delivery: "x-gitea-delivery" },
    // Bitbucket in the cloud, and Bitbucket in a data centre.
    Scheme { signature: "x-hub-signature", prefix: "sha256=", delivery: "x-request-uuid" },
    Scheme { signature: "x-hub-signature", prefix: "sha256=", delivery: "x-request-id" },
];

const GITLAB_TOKEN: &str = "x-gitlab-token";
/// Versions of GitLab before 17.4 send only the second.
const GITLAB_DELIVERY: [&str; 2] = ["idempotency-key", "x-gitlab-event-uuid"];

const STANDARD_SIGNATURE: &str = "webhook-signature";
const STANDARD_KEY: &str = "whsec_";
/// How far the time of a delivery may be from ours, as Standard Webhooks recommends.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// A call that knows the secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof<'a> {
    /// It signed the body, and names its delivery.
    Signed(Option<&'a str>),
    /// It showed the secret: it could name any delivery, so that a missing name costs nothing.
    Shown(Option<&'a str>),
}

impl<'a> Proof<'a> {
    /// What the delivery is called.
    pub(super) fn delivery(&self) -> Result<Option<&'a str>, ApiError> {
        match *self {
            Self::Signed(None) => Err(ApiError::Malformed(
                "a signed webhook names its delivery, such as in `X-GitHub-Delivery`: this one does not"
                    .to_owned(),
            )),
            Self::Signed(id) | Self::Shown(id) => Ok(id),
        }
    }
}

/// The proof in a call, if it holds one.
pub(super) fn of<'a>(secret: &str, headers: &'a HeaderMap, body: &[u8], now: Timestamp) -> Option<Proof<'a>> {
    signed(secret, headers, body)
        .or_else(|| standard(secret, headers, body, now))
        .or_else(|| shown(secret, headers))
}

/// Whether a call says that it comes from a forge that knows the secret.
pub(super) fn is_claimed(headers: &HeaderMap) -> bool {
    let claims = SCHEMES.iter().map(|scheme| scheme.signature).chain([GITLAB_TOKEN, STANDARD_SIGNATURE]);
    claims.into_iter().any(|name| headers.contains_key(name))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn signed<'a>(secret: &str, headers: &'a HeaderMap, body: &[u8]) -> Option<Proof<'a>> {
    let fits = |scheme: &&Scheme| {
        let signature = text(headers, scheme.signature).and_then(|value| value.strip_prefix(scheme.prefix));
        signature.is_some_and(|signature| is_hex_mac(secret, signature, body))
    };
    let fitting: Vec<&Scheme> = SCHEMES.iter().filter(fits).collect();
    let id = fitting.iter().find_map(|scheme| text(headers, scheme.delivery));
    (!fitting.is_empty()).then_some(Proof::Signed(id))
}

/// By Standard Webhooks: the id and the time are signed too, so that an old delivery is refused by its time.
fn standard<'a>(secret: &str, headers: &'a HeaderMap, body: &[u8], now: Timestamp) -> Option<Proof<'a>> {
    let key = BASE64.decode(secret.strip_prefix(STANDARD_KEY)?).ok()?;
    let (id, time) = (text(headers, "webhook-id")?, text(headers, "webhook-timestamp")?);
    let at = Timestamp::from_second(time.parse().ok()?).ok()?;
    let near = now.duration_since(at).abs() <= TOLERANCE;
    let signed = mac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
    let fits = |signature: &str| {
        let signature = signature.strip_prefix("v1,").and_then(|text| BASE64.decode(text).ok());
        signature.is_some_and(|signature| signed.clone().verify_slice(&signature).is_ok())
    };
    (near && text(headers, STANDARD_SIGNATURE)?.split(' ').any(fits)).then_some(Proof::Signed(Some(id)))
}

fn shown<'a>(secret: &str, headers: &'a HeaderMap) -> Option<Proof<'a>> {
    let id = || GITLAB_DELIVERY.iter().find_map(|name| text(headers, name));
    let by_gitlab = text(headers, GITLAB_TOKEN).is_some_and(|token| is_same(token, secret));
    let by_bearer = bearer(headers).is_some_and(|token| is_same(token, secret));
    (by_gitlab || by_bearer).then(|| Proof::Shown(id()))
}

/// Compares digests, which have one length: neither the text nor its length shows in the time it takes.
fn is_same(shown: &str, secret: &str) -> bool {
    Digest::of(shown).as_bytes().ct_eq(Digest::of(secret).as_bytes()).into()
}

/// Whether `signature` is HMAC-SHA256 of the body under the secret, in hexadecimal digits.
fn is_hex_mac(secret: &str, signature: &str, body: &[u8]) -> bool {
    let digest: Result<Digest, _> = format!("sha256:{signature}").parse();
    digest.is_ok_and(|digest| mac(secret.as_bytes(), &[body]).verify_slice(digest.as_bytes()).is_ok())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mac = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().fold(mac, |mac, part| mac.chain_update(part))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    /// From RFC 4231, test case 2: key "Jefe".
    const BODY: &[u8] = b"what do ya want for nothing?";
    const SIGNATURE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const WRONG: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3844";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("ASCII"))
        };
        pairs.iter().map(header).collect()
    }

    fn check(secret: &str, pairs: &[(&'static str, &str)], at: i64, expected: Option<Proof<'_>>) {
        let now = Timestamp::from_second(at).expect("a time");
        assert_eq!(of(secret, &headers(pairs), BODY, now), expected, "{pairs:?} at {at}");
    }

    #[test]
    fn each_forge_signs_the_body_in_its_own_way() {
        let prefixed = format!("sha256={SIGNATURE}");
        let signed = Some(Proof::Signed(Some("d1")));
        for (signature, value, delivery) in [
            ("x-hub-signature-256", &*prefixed, "x-github-delivery"),
            ("x-gitea-signature", SIGNATURE, "x-gitea-delivery"),
            ("x-forgejo-signature", SIGNATURE, "x-forgejo-delivery"),
            ("x-hub-signature", &prefixed, "x-request-uuid"),
            ("x-hub-signature", &prefixed, "x-request-id"),
        ] {
            check(
                "Jefe",
                &[(signature, value), (delivery, "d1")],
                0,
                signed.as_ref().map(|_| Proof::Signed(Some("d1"))),
            );
            check("Jefe", &[(signature, value)], 0, Some(Proof::Signed(None)));
            check("jefe", &[(signature, value), (delivery, "d1")], 0, None);
            let wrong = value.replace(SIGNATURE, WRONG);
            check("Jefe", &[(signature, &wrong), (delivery, "d1")], 0, None);
            for bad in ["", "sha256=", "sha1=5bdc", &SIGNATURE[..62]] {
                check("Jefe", &[(signature, bad), (delivery, "d1")], 0, None);
            }
        }
        check("Jefe", &[("x-hub-signature-256", SIGNATURE)], 0, None);
        check("Jefe", &[("x-hub-signature", SIGNATURE)], 0, None);
    }

    #[test]
    fn the_secret_is_shown_by_gitlab_and_by_scripts() {
        check("Jefe", &[("x-gitlab-token", "Jefe")], 0, Some(Proof::Shown(None)));
        check("Jefe", &[("authorization", "Bearer Jefe")], 0, Some(Proof::Shown(None)));
        let both = [("x-gitlab-token", "Jefe"), ("x-gitlab-event-uuid", "u"), ("idempotency-key", "k")];
        check("Jefe", &both, 0, Some(Proof::Shown(Some("k"))));
        check("Jefe", &both[..2], 0, Some(Proof::Shown(Some("u"))));
        for (name, value) in
            [("x-gitlab-token", "jefe"), ("x-gitlab-token", ""), ("authorization", "Basic Jefe")]
        {
            check("Jefe", &[(name, value)], 0, None);
        }
    }

    #[test]
    fn a_signed_delivery_of_gitlab_counts_for_five_minutes() {
        let key = b"0123456789abcdef0123456789abcdef";
        let secret = format!("whsec_{}", BASE64.encode(key));
        let tag = mac(key, &[b"k.1000.", BODY]).finalize().into_bytes();
        let signature = format!("v1,AAAA v1,{} v2,x", BASE64.encode(tag));
        let call = [("webhook-id", "k"), ("webhook-timestamp", "1000"), ("webhook-signature", &*signature)];
        for (at, fits) in [(1000, true), (1300, true), (700, true), (1301, false), (699, false)] {
            check(&secret, &call, at, fits.then_some(Proof::Signed(Some("k"))));
        }
        for (place, value) in [(0, "other"), (1, "1001"), (1, "soon"), (2, "v1,"), (2, "v1,AAAA")] {
            let mut forged = call;
            forged[place].1 = value;
            check(&secret, &forged, 1000, None);
        }
        check("whsec_?", &call, 1000, None);
        check("Jefe", &call, 1000, None);
    }

    #[test]
    fn a_claim_is_told_from_a_call_without_one() {
        for name in [
            "x-hub-signature-256",
            "x-hub-signature",
            "x-gitea-signature",
            "x-gitlab-token",
            "webhook-signature",
        ] {
            assert!(is_claimed(&headers(&[(name, "")])), "{name}");
        }
        assert!(!is_claimed(&headers(&[("authorization", "Bearer x"), ("x-github-event", "push")])));
        assert!(Proof::Signed(None).delivery().is_err());
        assert_eq!(Proof::Shown(None).delivery().ok(), Some(None));
    }
}
