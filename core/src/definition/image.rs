//! Names of images as Docker understands them, and where images may come from.
//!
//! People write `nginx` and mean `docker.io/library/nginx:latest`. A policy compares what is meant: the registry and the
//! path in full, part by part, so that `ghcr.io/our-team` does not cover `ghcr.io/our-team-2/app`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::written::{Written, written_form};

/// The registry of a name that begins with none.
const DOCKER_HUB: &str = "docker.io";

/// The name of an image, taken apart. What it is made from is a valid reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// Registry and path in full: `docker.io/library/nginx`.
    pub repository: String,
    /// The tag, where one is written.
    pub tag: Option<&'a str>,
    /// The digest, where one is written: it alone decides what runs then.
    pub digest: Option<&'a str>,
}

impl<'a> ImageName<'a> {
    /// `[registry/]path[:tag][@digest]`.
    pub fn of(reference: &'a str) -> Self {
        let (rest, digest) = split_off(reference.split_once('@'), reference);
        // A colon in front of a slash is that of a port.
        let tagged = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let (name, tag) = split_off(tagged, rest);
        Self { repository: in_full(name), tag, digest }
    }

    /// The tag that Docker would pull; none where the digest says what is pulled.
    pub fn effective_tag(&self) -> Option<&str> {
        if self.digest.is_some() { None } else { Some(self.tag.unwrap_or("latest")) }
    }
}

fn split_off<'a>(split: Option<(&'a str, &'a str)>, whole: &'a str) -> (&'a str, Option<&'a str>) {
    split.map_or((whole, None), |(rest, part)| (rest, Some(part)))
}

/// Registry and path, with what Docker adds where they are not written.
fn in_full(name: &str) -> String {
    match name.split_once('/').filter(|(first, _)| is_registry(first)) {
        Some((first, path)) => match registry(first) {
            hub if hub == DOCKER_HUB && !path.contains('/') => format!("{hub}/library/{path}"),
            registry => format!("{registry}/{path}"),
        },
        None if name.contains('/') => format!("{DOCKER_HUB}/{name}"),
        None => format!("{DOCKER_HUB}/library/{name}"),
    }
}

/// A registry by the one name that it is compared by: names of hosts do not tell capitals apart.
fn registry(host: &str) -> String {
    match host.to_ascii_lowercase() {
        hub if hub == "index.docker.io" => DOCKER_HUB.to_owned(),
        host => host,
    }
}

/// What Docker takes for a registry and not for the start of a path.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Longer names of images are refused by registries and by Docker.
const MAX_LEN: usize = 255;

/// Where images may come from: a registry, or a registry and the start of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageSource {
    /// In full, without a slash at the end.
    prefix: Arc<str>,
    written: Arc<str>,
}

impl ImageSource {
    /// Whether an image of this repository, named in full, comes from here.
    pub fn covers(&self, repository: &str) -> bool {
        repository.strip_prefix(&*self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// As Docker understands it: `docker.io/library/nginx` of `nginx`.
    pub fn in_full(&self) -> &str {
        &self.prefix
    }

    /// Every source that has all of this one, in full, itself last: `ghcr.io`, `ghcr.io/our-team`.
    pub fn around(&self) -> impl Iterator<Item = &str> {
        let slashes = self.prefix.match_indices('/').map(|(at, _)| &self.prefix[..at]);
        slashes.chain([&*self.prefix])
    }
}

impl fmt::Display for ImageSource {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

/// Why a text says nowhere that images could come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageSourceError {
    /// It names one image, not a place of many.
    #[error(
        "leave out the tag and the digest: name a registry and the start of a path, such as `ghcr.io/our-team/`"
    )]
    OneImage,
    /// It is an address or a pattern.
    #[error(
        "name a registry and the start of a path, such as `ghcr.io/our-team/`, without `https://` and without `*`"
    )]
    NoPrefix,
}

impl FromStr for ImageSource {
    type Err = ImageSourceError;

    fn from_str(text: &str) -> Result<Self, ImageSourceError> {
        if text.contains("://") || text.len() > MAX_LEN {
            return Err(ImageSourceError::NoPrefix);
        }
        let name = text.strip_suffix('/').unwrap_or(text);
        let (first, rest) = split_off(name.split_once('/'), name);
        let path = if is_host(first) { rest } else { Some(name) };
        path.iter().flat_map(|path| path.split('/')).try_for_each(check_part)?;
        let prefix = match path {
            None => registry(first),
            Some(path) if path != name => format!("{}/{path}", registry(first)),
            // One word is an image, `bitnami/` all that is below it.
            Some(name) if text.ends_with('/') => format!("{DOCKER_HUB}/{name}"),
            Some(name) => in_full(name),
        };
        Ok(Self { prefix: prefix.into(), written: text.into() })
    }
}

/// A registry, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-[:]".contains(&byte);
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_registry(text) && !host.is_empty() && host.bytes().all(known) && port.is_none_or(digits)
}

fn check_part(part: &str) -> Result<(), ImageSourceError> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let known = |byte: u8| word(byte) || b"._-".contains(&byte);
    if part.contains('@') || part.split_once(':').is_some_and(|(name, _)| name.bytes().all(known)) {
        return Err(ImageSourceError::OneImage);
    }
    let edges = part.bytes().next().is_some_and(word) && part.bytes().last().is_some_and(word);
    if edges && part.bytes().all(known) { Ok(()) } else { Err(ImageSourceError::NoPrefix) }
}

impl Written for ImageSource {
    const EXPECTED: &'static str = "a registry and the start of a path, such as `ghcr.io/our-team/`";
}

written_form!(ImageSource, "string", ["ghcr.io/our-team/", "docker.io/library/"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_means_what_docker_makes_of_it() {
        let check = |reference: &str, repository: &str, tag: Option<&str>, digest: Option<&str>| {
            let name = ImageName::of(reference);
            assert_eq!((&*name.repository, name.tag, name.digest), (repository, tag, digest), "{reference}");
        };
        check("nginx", "docker.io/library/nginx", None, None);
        check("nginx:1.27", "docker.io/library/nginx", Some("1.27"), None);
        check("docker.io/nginx", "docker.io/library/nginx", None, None);
        check("index.docker.io/nginx", "docker.io/library/nginx", None, None);
        check("bitnami/redis:7", "docker.io/bitnami/redis", Some("7"), None);
        check("ghcr.io/our-team/app", "ghcr.io/our-team/app", None, None);
        check("GHCR.io/our-team/app", "ghcr.io/our-team/app", None, None);
        check("localhost/x", "localhost/x", None, None);
        check("localhost:5000/x:1", "localhost:5000/x", Some("1"), None);
        check("registry:5000/x", "registry:5000/x", None, None);
        check("[::1]:5000/x", "[::1]:5000/x", None, None);
        check("x:1@sha256:ab", "docker.io/library/x", Some("1"), Some("sha256:ab"));
        check("x@sha256:ab", "docker.io/library/x", None, Some("sha256:ab"));
    }

    #[test]
    fn no_tag_is_latest_and_a_digest_leaves_tags_without_a_say() {
        let check = |reference: &str, expected| {
            assert_eq!(ImageName::of(reference).effective_tag(), expected, "{reference}");
        };
        check("nginx", Some("latest"));
        check("localhost:5000/nginx", Some("latest"));
        check("nginx:1", Some("1"));
        check("nginx@sha256:ab", None);
        check("nginx:latest@sha256:ab", None);
    }

    #[test]
    fn a_source_covers_whole_parts_of_a_path() {
        let check = |source: &str, reference: &str, expected: bool| {
            let source: ImageSource = source.parse().expect("a source");
            let image = ImageName::of(reference);
            assert_eq!(source.covers(&image.repository), expected, "{source:?} {reference}");
        };
        for source in ["ghcr.io/our-team", "ghcr.io/our-team/", "GHCR.IO/our-team"] {
            check(source, "ghcr.io/our-team/x:1", true);
            check(source, "ghcr.io/our-team/deep/x", true);
            check(source, "ghcr.io/our-team", true);
            check(source, "ghcr.io/our-team-evil/x", false);
            check(source, "ghcr.io/our", false);
            check(source, "evil.example/ghcr.io/our-team/x", false);
        }
        check("ghcr.io", "ghcr.io/x/y", true);
        check("ghcr.io", "ghcr.io:8443/x/y", false);
        check("ghcr.io", "ghcr.io.evil.example/x", false);
        check("docker.io", "nginx", true);
        check("docker.io", "bitnami/redis", true);
        check("docker.io", "ghcr.io/x", false);
        check("docker.io/library/", "nginx", true);
        check("docker.io/library/", "bitnami/redis", false);
        check("index.docker.io/library", "nginx", true);
        check("nginx", "nginx:1", true);
        check("nginx", "docker.io/library/nginx", true);
        check("nginx", "bitnami/nginx", false);
        check("bitnami/", "bitnami/redis", true);
        check("bitnami", "bitnami/redis", false);
        check("docker.io/bitnami", "bitnami/redis", true);
        check("docker.io/bitnami/", "bitnami/redis", true);
        check("localhost:5000", "localhost:5000/x", true);
        check("registry.example:5000/a", "registry.example:5000/a/b", true);
        check("[::1]:5000/a", "[::1]:5000/a/b", true);
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let check = |text: &str, expected: ImageSourceError| {
            assert_eq!(text.parse::<ImageSource>(), Err(expected), "{text}");
        };
        for text in
            ["", "/", "ghcr.io/*", "https://ghcr.io", "ghcr.io//x", "a b", "ghcr.io/x/..", "ghcr.io/X", "*"]
        {
            check(text, ImageSourceError::NoPrefix);
        }
        for text in ["nginx:1.27", "ghcr.io/x/y:1", "ghcr.io/x/y@sha256:ab", "nginx:latest"] {
            check(text, ImageSourceError::OneImage);
        }
    }
}
