//! SSH signatures (`PROTOCOL.sshsig` of OpenSSH): the key comes with the signature, so its fingerprint can be told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gitops_core::release::{Signature, SignatureFormat};
use sha2::{Digest as _, Sha256};

use super::bytes::Bytes;

/// What a certificate's kind of key ends with.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// The kinds of keys, and of how many fields the public half of each is made.
const KEYS: [(&str, usize); 8] = [
    ("ssh-ed25519", 1),
    ("ssh-rsa", 2),
    ("ssh-dss", 4),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519", 2),
    ("sk-ecdsa-sha2-nistp256", 3),
];

/// Reads a signature: its magic, its version, and the public key.
pub(super) fn read(blob: &[u8]) -> Option<Signature> {
    let mut rest = Bytes(blob);
    if rest.take(6)? != b"SSHSIG" || rest.number(4)? != 1 {
        return None;
    }
    let key = rest.counted(4)?;
    let key_type = std::str::from_utf8(Bytes(key).counted(4)?).ok().filter(|text| is_name(text))?;
    let fingerprint = match key_type.strip_suffix(CERTIFICATE) {
        Some(kind) => certified(key, kind).map(|key| fingerprint(&key)),
        None => Some(fingerprint(key)),
    };
    Some(Signature {
        format: SignatureFormat::Ssh,
        key_type: Some(key_type.into()),
        key: fingerprint.map(Into::into),
    })
}

/// As a protocol name may be (RFC 4251, 6).
fn is_name(text: &str) -> bool {
    matches!(text.len(), 1..=64) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As `ssh-keygen -l` prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// The key within a certificate, as it would be without it: OpenSSH tells the fingerprint of that.
fn certified(certificate: &[u8], kind: &str) -> Option<Vec<u8>> {
    let (_, fields) = KEYS.iter().find(|(name, _)| *name == kind)?;
    let mut rest = Bytes(certificate);
    let (_kind, _nonce) = (rest.counted(4)?, rest.counted(4)?);
    // Security keys keep their suffix.
    let kind = if kind.starts_with("sk-") { format!("{kind}@openssh.com") } else { kind.to_owned() };
    let mut key = field(kind.as_bytes());
    for _ in 0..*fields {
        key.extend(field(rest.counted(4)?));
    }
    Some(key)
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("it is part of what is at most 64 kB");
    [&length.to_be_bytes(), bytes].concat()
}
