//! `health:` of a service: how long it may take, and what is asked of it beside what Docker reports.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::seconds::Seconds;
use super::written::{Written, written_form};

/// When an instance counts as healthy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// The time in which every container must become healthy. Default: `2m`.
    pub within: Option<Seconds>,
    /// What is asked of its containers beside what Docker reports. All checks must pass.
    pub checks: Option<Vec<Check>>,
}

impl Health {
    /// More are refused: each is asked of each container again and again.
    pub const MAX_CHECKS: usize = 20;

    /// What is given here, and else what `base` gives.
    #[must_use]
    pub fn or(self, base: &Self) -> Self {
        Self { within: self.within.or(base.within), checks: self.checks.or_else(|| base.checks.clone()) }
    }
}

/// A question that is asked of containers again and again. It has one of `http`, `tcp` and `exec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// What it is called in messages. Default: what it asks, such as `http-8080`.
    pub name: Option<CheckName>,
    /// The Compose service whose containers are asked, each of them. Default: the only one that there is.
    pub service: Option<Arc<str>>,
    /// A `GET` over HTTP.
    pub http: Option<HttpCheck>,
    /// A TCP connection that is accepted.
    pub tcp: Option<TcpCheck>,
    /// A command in the container that ends with 0: the program and its arguments. No shell is in between.
    pub exec: Option<Vec<Arc<str>>>,
    /// The time from one answer to the next question. Default: `10s`.
    pub interval: Option<Seconds>,
    /// The time after which no answer is a bad one. Default: `3s`.
    pub timeout: Option<Seconds>,
    /// So many good answers in a row make it healthy. Default: 1.
    pub healthy_after: Option<Times>,
    /// So many bad answers in a row make it unhealthy. Default: 3.
    pub unhealthy_after: Option<Times>,
}

/// A `GET` over HTTP to a container.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The port in the container.
    pub port: Port,
    /// Path and query. Default: `/`.
    pub path: Option<HttpPath>,
    /// The status that is a good answer, such as `204`, or its first digit, such as `2xx`. Default: any `2xx` or `3xx`.
    pub status: Option<Status>,
    /// Text that must be in the first 64 KiB of the body.
    pub body: Option<Arc<str>>,
}

/// A TCP connection to a container.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// The port in the container.
    pub port: Port,
}

/// Why a text is no part of a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct CheckError {
    text: String,
    expected: &'static str,
}

fn read<T: Written>(text: &str, value: Option<T>) -> Result<T, CheckError> {
    value.ok_or_else(|| CheckError { text: text.chars().take(40).collect(), expected: T::EXPECTED })
}

/// What a check is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckName(pub Arc<str>);

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

/// How often in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times(pub u32);

/// Path and query of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPath(pub Arc<str>);

/// A status of HTTP, or all with one first digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status(pub Arc<str>);

impl Written for CheckName {
    const EXPECTED: &'static str = "a name such as `api`: up to 63 lower-case letters, digits, `.`, `_` and `-`, with a letter or digit first";
}

impl Written for Port {
    const EXPECTED: &'static str = "a port from 1 to 65535";
}

impl Written for Times {
    const EXPECTED: &'static str = "a number from 1 to 100";
}

impl Written for HttpPath {
    const EXPECTED: &'static str = "a path such as `/health?full=1`: it begins with `/`, and has no blanks";
}

impl Written for Status {
    const EXPECTED: &'static str = "a status of HTTP such as `204`, or its first digit such as `2xx`";
}

written_form!(CheckName, "string", ["api"]);
written_form!(Port, "integer", [8080]);
written_form!(Times, "integer", [3]);
written_form!(HttpPath, "string", ["/health"]);
written_form!(Status, ["string", "integer"], [204, "2xx"]);

impl FromStr for CheckName {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = text.len() <= 63
            && text.bytes().next().is_some_and(letter)
            && text.bytes().all(|byte| letter(byte) || b"._-".contains(&byte));
        read(text, good.then(|| Self(text.into())))
    }
}

impl FromStr for Port {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        read(text, text.parse().ok().filter(|port| *port > 0).map(Self))
    }
}

impl FromStr for Times {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        read(text, text.parse().ok().filter(|times| (1..=100).contains(times)).map(Self))
    }
}

impl FromStr for HttpPath {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let good =
            text.starts_with('/') && text.len() <= 2_000 && text.bytes().all(|byte| byte.is_ascii_graphic());
        read(text, good.then(|| Self(text.into())))
    }
}

impl FromStr for Status {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let good = match text.as_bytes() {
            [b'1'..=b'5', b'x', b'x'] => true,
            [b'1'..=b'5', tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit(),
            _ => false,
        };
        read(text, good.then(|| Self(text.into())))
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_with_its_mistakes() {
        let check = |yaml: &str, expected: bool| {
            assert_eq!(serde_yaml::from_str::<Check>(yaml).is_ok(), expected, "{yaml}");
        };
        for good in [
            "http: {port: 80}",
            "http: {port: '80', path: '/a?b=c', status: 204, body: ok}",
            "http: {port: 80, status: 5xx}",
            "{name: db-1, tcp: {port: 5432}, service: db}",
            "{exec: [pg_isready, -q], interval: 1m, timeout: 90s, healthy_after: 2, unhealthy_after: 100}",
        ] {
            check(good, true);
        }
        for bad in [
            "http: {}",
            "http: {port: 0}",
            "http: {port: 65536}",
            "http: {port: -1}",
            "http: {port: 80, path: health}",
            "http: {port: 80, path: '/a b'}",
            "http: {port: 80, path: \"/a\\nHost: b\"}",
            "http: {port: 80, status: 2XX}",
            "http: {port: 80, status: 600}",
            "http: {port: 80, status: 20}",
            "http: {port: 80, status: +20}",
            "tcp: 5432",
            "exec: pg_isready",
            "name: ''",
            "name: Über",
            "name: '-a'",
            "healthy_after: 0",
            "unhealthy_after: 101",
            "interval: 0s",
            "udp: {port: 1}",
        ] {
            check(bad, false);
        }
    }
}
