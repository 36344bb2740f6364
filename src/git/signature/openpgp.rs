//! OpenPGP signatures (RFC 9580): the key does not come with the signature, which names it by its fingerprint or, in old
//! ones, by the last half of that.

use gitops_core::release::{Signature, SignatureFormat};

use super::bytes::Bytes;

/// The packet that is a signature.
const SIGNATURE: u8 = 2;
/// The subpackets that name the key.
const ISSUER_ID: u8 = 16;
const ISSUER_FINGERPRINT: u8 = 33;

/// The body of the armour: headers (`Version: …`) end at an empty line, where there are any.
pub(super) fn without_headers(body: &str) -> &str {
    let body = body.trim_start_matches(['\r', '\n']);
    let end = ["\n\n", "\r\n\r\n"].into_iter().find_map(|end| Some((body.find(end)?, end.len())));
    end.map_or(body, |(at, length)| &body[at + length..])
}

/// Reads the first packet.
pub(super) fn read(blob: &[u8]) -> Option<Signature> {
    let key = issuer(packet(&mut Bytes(blob))?);
    Some(Signature { format: SignatureFormat::OpenPgp, key_type: None, key: key.map(Into::into) })
}

/// The body of a signature packet.
fn packet<'a>(rest: &mut Bytes<'a>) -> Option<&'a [u8]> {
    let head = rest.byte()?;
    let is_new = head & 0x40 != 0;
    let tag = if is_new { head & 0x3f } else { head >> 2 & 0x0f };
    if head & 0x80 == 0 || tag != SIGNATURE {
        return None;
    }
    match (is_new, head & 3) {
        (true, _) => {
            let length = length(rest)?;
            rest.take(length)
        }
        (false, 3) => Some(rest.0),
        (false, size) => rest.counted(1 << size),
    }
}

/// A length of one, two or five bytes. A length in parts is never that of a signature.
fn length(rest: &mut Bytes<'_>) -> Option<usize> {
    match rest.byte()? {
        one @ 0..=191 => Some(one.into()),
        first @ 192..=223 => Some(((usize::from(first) - 192) << 8) + usize::from(rest.byte()?) + 192),
        224..=254 => None,
        255 => rest.number(4),
    }
}

/// The key that a signature says it is by: the fingerprint if it is there.
fn issuer(body: &[u8]) -> Option<String> {
    let mut rest = Bytes(body);
    let size = match rest.byte()? {
        3 => return old_issuer(rest),
        6 => 4,
        _ => 2,
    };
    let _kind_and_algorithms = rest.take(3)?;
    let areas = [rest.counted(size)?, rest.counted(size).unwrap_or_default()];
    let named = |kind| areas.iter().find_map(|area| subpacket(area, kind));
    // A fingerprint is preceded by the version of its key.
    let fingerprint = named(ISSUER_FINGERPRINT).and_then(|found| found.split_first());
    fingerprint.map(|(_, digits)| digits).or_else(|| named(ISSUER_ID)).and_then(hexadecimal)
}

/// Version 3: five hashed bytes, then the key.
fn old_issuer(mut rest: Bytes<'_>) -> Option<String> {
    let _hashed = rest.counted(1)?;
    hexadecimal(rest.take(8)?)
}

fn subpacket(area: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = Bytes(area);
    while let Some(length) = subpacket_length(&mut rest) {
        let (kind, content) = rest.take(length)?.split_first()?;
        // The highest bit says that it is critical.
        if kind & 0x7f == wanted {
            return Some(content);
        }
    }
    None
}

/// Like that of a packet, but for the two-byte form, which goes further.
fn subpacket_length(rest: &mut Bytes<'_>) -> Option<usize> {
    match rest.byte()? {
        one @ 0..=191 => Some(one.into()),
        255 => rest.number(4),
        first => Some(((usize::from(first) - 192) << 8) + usize::from(rest.byte()?) + 192),
    }
}

/// As `gpg` prints fingerprints and key ids; nothing that has another length than those.
fn hexadecimal(bytes: &[u8]) -> Option<String> {
    let is_known = matches!(bytes.len(), 8 | 20 | 32);
    is_known.then(|| bytes.iter().map(|byte| format!("{byte:02X}")).collect())
}
