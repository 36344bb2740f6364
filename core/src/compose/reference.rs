//! The names of images, by the grammar of <https://pkg.go.dev/github.com/distribution/reference>.

/// Longer names are refused by registries and by Docker.
const MAX_NAME: usize = 255;

/// `[domain/]path[:tag][@digest]`.
pub(super) fn is_reference(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // A colon in front of a slash is that of the port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let bare_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() <= MAX_NAME
        && !bare_id
        && is_name(name)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => path,
        _ => name,
    };
    path.split('/').all(is_component)
}

/// What Docker takes for the name of a registry: with a dot, a port or a capital, or `localhost`.
fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let address = text.starts_with('[')
        && text
            .split_once(']')
            .is_some_and(|(address, _)| address[1..].parse::<std::net::Ipv6Addr>().is_ok());
    let known = host.contains('.')
        || port.is_some()
        || host == "localhost"
        || host.bytes().any(|b| b.is_ascii_uppercase());
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    address || (known && host.split('.').all(label) && port.is_none_or(digits))
}

/// Lower-case letters and digits, parted by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    let separated = text
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-'));
    edges && separated
}

/// Up to 128 letters, digits, `_`, `.` and `-`; the first no dot and no dash.
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

/// `sha256:` and the like, with at least 32 hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
            && hex.len() >= 32
            && (algorithm != "sha256" || hex.len() == 64)
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_from_others() {
        let digest = "a".repeat(64);
        for text in [
            "busybox",
            "i",
            "busybox:1.36",
            "library/busybox",
            "ghcr.io/owner/app:v1",
            "localhost/x",
            "localhost:5000/x:1",
            "host:5000/a/b",
            "a__b/c.d-e--f",
            "Host.example/x",
            "HOST/x",
            "[::1]:5000/x",
            "a:b",
            "192.168.0.1:80/x",
        ] {
            assert!(is_reference(text), "{text}");
        }
        assert!(is_reference(&format!("x:1@sha256:{digest}")));
        for text in [
            "",
            "UPPER",
            "a b",
            "-a",
            "a//b",
            "a:",
            "a:b:c",
            "a/",
            "/a",
            "a@sha256:abc",
            "ghcr.io/Owner/x",
            "a..b",
            "a___b",
            "a:-x",
            "https://x/y",
            "é",
            "a:é",
            "[x/y",
        ] {
            assert!(!is_reference(text), "{text}");
        }
        assert!(!is_reference(&digest));
        assert!(!is_reference(&format!("{}:x", "a".repeat(300))));
    }
}
