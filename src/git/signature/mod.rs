//! What the signature of a commit names: the key of an SSH signature, the issuer of an OpenPGP one.
//!
//! Only what is said there is read, which takes no keys and no programs; nothing is verified. The bytes come from whoever
//! made the commit, so everything is bounded and whatever does not fit is a signature of unknown format, not an error.

mod bytes;
mod openpgp;
mod ssh;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gitops_core::release::{Signature, SignatureFormat};

/// The headers that carry a signature: of SHA-1 repositories, and of SHA-256 ones.
pub(super) const HEADERS: [&str; 2] = ["gpgsig", "gpgsig-sha256"];

/// Bytes. A signature by an RSA key of 16,384 bits has 6,000 in its armour, one by a certificate as much again.
const MAX: usize = 64 << 10;

/// What a signature names. `text` is the value of the header, without the spaces that fold it.
pub(super) fn read(text: &[u8]) -> Signature {
    let known = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX).and_then(known);
    known.unwrap_or(Signature { format: SignatureFormat::Unknown, key_type: None, key: None })
}

fn known(text: &str) -> Option<Signature> {
    let text = text.trim();
    if let Some(body) = armoured(text, "SSH SIGNATURE") {
        return ssh::read(&decoded(body)?);
    }
    if let Some(body) = armoured(text, "PGP SIGNATURE") {
        return openpgp::read(&decoded(openpgp::without_headers(body))?);
    }
    armoured(text, "SIGNED MESSAGE")?;
    Some(Signature { format: SignatureFormat::X509, key_type: None, key: None })
}

/// What stands between the two lines.
fn armoured<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let begin = format!("-----BEGIN {kind}-----");
    let end = format!("-----END {kind}-----");
    text.strip_prefix(&begin)?.strip_suffix(&end)
}

/// Base64 over several lines. A line that starts with `=` is a checksum of OpenPGP, which guards against accidents only.
fn decoded(body: &str) -> Option<Vec<u8>> {
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with('='));
    STANDARD.decode(lines.collect::<String>()).ok()
}

#[cfg(test)]
mod tests;
