//! The short forms of ports and volumes, where a text says what a mapping says elsewhere.

use serde_yaml::{Mapping, Value};

/// A range of more ports than this is kept as it is written instead of being written out.
const MAX_RANGE: u32 = 1_000;

/// A mapping of these fields.
pub(super) fn mapping<const N: usize>(fields: [(&str, Value); N]) -> Mapping {
    fields.into_iter().map(|(key, value)| (Value::String(key.to_owned()), value)).collect()
}

/// `[[host:]published:]target[/protocol]`, with ranges: one mapping for each port, or none if it is not exactly that.
pub(super) fn ports(text: &str) -> Option<Vec<Mapping>> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (host, published, target) = port_parts(rest)?;
    let (first, last) = range(target)?;
    let count = last - first + 1;
    if count > MAX_RANGE {
        return None;
    }
    let from = match published {
        "" => None,
        // Any free one.
        "0" => Some((0, 0)),
        _ => Some(range(published)?),
    };
    (0..count)
        .map(|number| {
            let mut port = mapping([
                ("mode", Value::String("ingress".to_owned())),
                ("protocol", Value::String(protocol.to_ascii_lowercase())),
                ("target", Value::Number((first + number).into())),
            ]);
            if let Some(published) = published_port(from, count, number)? {
                port.insert("published".into(), Value::String(published));
            }
            if !host.is_empty() {
                port.insert("host_ip".into(), Value::String(host.to_owned()));
            }
            Some(port)
        })
        .collect()
}

/// Ranges of one length stand side by side; a single target takes any port of a range.
fn published_port(from: Option<(u32, u32)>, count: u32, number: u32) -> Option<Option<String>> {
    match from {
        None => Some(None),
        Some((start, end)) if end - start + 1 == count => Some(Some((start + number).to_string())),
        Some((start, end)) if count == 1 => Some(Some(format!("{start}-{end}"))),
        Some(_) => None,
    }
}

/// Whether a text publishes this port of the host, or all of this range of ports.
pub(super) fn publishes(text: &str, ports: &str) -> bool {
    let (rest, _) = text.split_once('/').unwrap_or((text, ""));
    let published = port_parts(rest).and_then(|(_, published, _)| range(published));
    published.zip(range(ports)).is_some_and(|((first, last), (from, to))| first <= from && to <= last)
}

/// Whether a text is no port here only because it is a range of too many to write out.
pub(super) fn is_long_range(text: &str) -> bool {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let long = |target: &str| range(target).is_some_and(|(first, last)| last - first >= MAX_RANGE);
    let known = matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp");
    known
        && port_parts(rest).is_some_and(|(_, published, target)| {
            long(target) && (published.is_empty() || range(published).is_some())
        })
}

fn port_parts(text: &str) -> Option<(&str, &str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once("]:")?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let (published, target) = rest.split_once(':')?;
        return Some((host, published, target));
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [target] => Some(("", "", target)),
        [published, target] => Some(("", published, target)),
        [host, published, target] => {
            host.parse::<std::net::Ipv4Addr>().ok()?;
            Some((host, published, target))
        }
        _ => None,
    }
}

pub(super) fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits && (1..=65_535_u32).contains(port))
    };
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// `[source:]target[:options]`, or none if it is not exactly that.
pub(super) fn volume(text: &str) -> Option<Mapping> {
    let parts = volume_parts(text)?;
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return None,
    };
    let bind = is_path(source);
    let kind = if bind { "bind" } else { "volume" };
    let string = |text: &str| Value::String(text.to_owned());
    let mut volume = mapping([("type", string(kind)), ("target", string(&clean(target)))]);
    if !source.is_empty() {
        volume.insert("source".into(), string(source));
    }
    let mut details = Mapping::new();
    if bind {
        details.insert("create_host_path".into(), Value::Bool(true));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => drop(volume.insert("read_only".into(), Value::Bool(true))),
            "rw" => drop(volume.shift_remove("read_only")),
            "nocopy" if !bind => drop(details.insert("nocopy".into(), Value::Bool(true))),
            "z" | "Z" if bind => drop(details.insert("selinux".into(), string(option))),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" if bind => {
                details.insert("propagation".into(), string(option));
            }
            _ => return None,
        }
    }
    if !details.is_empty() {
        volume.insert(kind.into(), Value::Mapping(details));
    }
    Some(volume)
}

/// Split at colons, those after a Windows drive letter excepted.
fn volume_parts(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let drive = at == start + 1 && text.as_bytes()[start].is_ascii_alphabetic() && text.len() > 2;
        if byte == b':' && !drive {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    (parts.iter().all(|part| !part.is_empty()) && parts.len() <= 3).then_some(parts)
}

/// Whether Compose takes the source of a volume for a path and not for a name.
fn is_path(source: &str) -> bool {
    let bytes = source.as_bytes();
    matches!(bytes.first(), Some(b'.' | b'/' | b'~'))
        || source.starts_with("\\\\")
        || (bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':')
}

/// A path without `.`, `..`, doubled and trailing slashes, as far as that can be told from its text.
pub(super) fn clean(path: &str) -> String {
    let root = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if root => {}
            _ => parts.push(part),
        }
    }
    let cleaned = parts.join("/");
    match (root, cleaned.is_empty()) {
        (true, _) => format!("/{cleaned}"),
        (false, true) => ".".to_owned(),
        (false, false) => cleaned,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(mappings: Option<Vec<Mapping>>) -> String {
        let one = |mapping: Mapping| serde_json::to_value(Value::Mapping(mapping)).unwrap().to_string();
        mappings.map_or("none".to_owned(), |all| all.into_iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ports_in_short_form() {
        let check = |text, expected: &str| assert_eq!(show(ports(text)), expected, "{text}");
        check("80", r#"{"mode":"ingress","protocol":"tcp","target":80}"#);
        check("8080:80", r#"{"mode":"ingress","protocol":"tcp","published":"8080","target":80}"#);
        check(
            "127.0.0.1:8080:80/udp",
            r#"{"host_ip":"127.0.0.1","mode":"ingress","protocol":"udp","published":"8080","target":80}"#,
        );
        check("127.0.0.1::80", r#"{"host_ip":"127.0.0.1","mode":"ingress","protocol":"tcp","target":80}"#);
        check(
            "[::1]:8080:80",
            r#"{"host_ip":"::1","mode":"ingress","protocol":"tcp","published":"8080","target":80}"#,
        );
        check("0:80", r#"{"mode":"ingress","protocol":"tcp","published":"0","target":80}"#);
        check("8000-8001:80", r#"{"mode":"ingress","protocol":"tcp","published":"8000-8001","target":80}"#);
        check(
            "8000-8001:80-81",
            r#"{"mode":"ingress","protocol":"tcp","published":"8000","target":80} {"mode":"ingress","protocol":"tcp","published":"8001","target":81}"#,
        );
        for odd in
            ["", "x", "80:", "0", "65536", "8000-8002:80-81", "81-80", "1:2:3:4", "80/icmp", "+80", "1-65535"]
        {
            check(odd, "none");
        }
    }

    #[test]
    fn volumes_in_short_form() {
        let check =
            |text, expected: &str| assert_eq!(show(volume(text).map(|one| vec![one])), expected, "{text}");
        check("/data", r#"{"target":"/data","type":"volume"}"#);
        check("db:/data/", r#"{"source":"db","target":"/data","type":"volume"}"#);
        check(
            "db:/data:nocopy,ro",
            r#"{"read_only":true,"source":"db","target":"/data","type":"volume","volume":{"nocopy":true}}"#,
        );
        check(
            "./a:/a:ro,z",
            r#"{"bind":{"create_host_path":true,"selinux":"z"},"read_only":true,"source":"./a","target":"/a","type":"bind"}"#,
        );
        check(
            "C:\\x:/a",
            r#"{"bind":{"create_host_path":true},"source":"C:\\x","target":"/a","type":"bind"}"#,
        );
        for odd in ["", ":", "db:", "aa:bb:cc:dd", "db:/b:odd", "::"] {
            check(odd, "none");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9:./\\[\\]-]{0,20}|.{0,20}") {
            let _ = (ports(&text), volume(&text), clean(&text));
        }
    }
}
