//! One request to a forge and its answer: the bounds of both, and what an answer that is none means.
//!
//! The token goes to one origin only: no redirect is followed, and plain HTTP reaches this machine alone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use serde_json::Value;

use super::error::{ForgeError, ForgeSettingsError, Why, said};
use crate::clock;
use crate::store::token::Secret;

/// A page of a hundred comments of 65,536 characters, as GitHub allows them, is under this in any script.
const MAX_ANSWER: usize = 32 << 20;
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// For a request and its answer.
const REQUEST: Duration = Duration::from_secs(30);

/// What is asked of a forge.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    /// What it is for, in words that follow “cannot”.
    pub(super) doing: String,
    pub(super) method: Method,
    /// After the address of the API, with its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl Ask {
    pub(super) fn get(doing: impl Into<String>, path: String) -> Self {
        Self { doing: doing.into(), method: Method::GET, path, body: None }
    }

    pub(super) fn send(doing: impl Into<String>, method: Method, path: String, body: Value) -> Self {
        Self { doing: doing.into(), method, path, body: Some(body) }
    }

    pub(super) fn delete(doing: impl Into<String>, path: String) -> Self {
        Self { doing: doing.into(), method: Method::DELETE, path, body: None }
    }
}

/// A connection to one API.
#[derive(Debug)]
pub(super) struct Connection {
    http: reqwest::Client,
    url: Url,
    token: Secret,
}

impl Connection {
    /// Opens nothing yet. `ca` are certificates to trust besides those of the machine.
    pub(super) fn new(url: &Url, token: Secret, ca: &[Certificate]) -> Result<Self, ForgeSettingsError> {
        check(url)?;
        HeaderValue::from_str(token.expose()).map_err(|_| ForgeSettingsError::Token)?;
        // A second installation of the same provider is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("gitops/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .tls_certs_merge(ca.iter().cloned());
        Ok(Self { http: builder.build().map_err(ForgeSettingsError::Http)?, url: url.clone(), token })
    }

    /// Sends a request; the body of a good answer, or why there is none.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Vec<u8>, ForgeError> {
        self.answer(ask).await.map_err(|why| self.error(ask, why))
    }

    pub(super) fn error(&self, ask: &Ask, why: Why) -> ForgeError {
        ForgeError { doing: ask.doing.clone(), at: self.url.to_string(), why }
    }

    async fn answer(&self, ask: &Ask) -> Result<Vec<u8>, Why> {
        let request = self
            .http
            .request(ask.method.clone(), address(&self.url, &ask.path))
            .bearer_auth(self.token.expose());
        let request = match &ask.body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = body(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(failure(status, &headers, said(&body, self.token.expose()), clock::now()))
    }
}

fn address(api: &Url, path: &str) -> String {
    format!("{}/{path}", api.as_str().trim_end_matches('/'))
}

/// A token in plain HTTP can be read on the way.
fn check(url: &Url) -> Result<(), ForgeSettingsError> {
    let host = url.host_str().unwrap_or_default();
    let is_private = url.scheme() == "https" || url.scheme() == "http" && crate::git::is_loopback(host);
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_private && is_bare && !host.is_empty() {
        return Ok(());
    }
    let origin = format!("{}://{host}{}", url.scheme(), url.path());
    Err(ForgeSettingsError::Address(origin))
}

/// Reads an answer as far as it may go.
async fn body(mut response: Response) -> Result<Vec<u8>, Why> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Why::TooLarge { limit: MAX_ANSWER });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> Why {
    // The address is in the error around this one.
    let source = Some(Box::new(error.without_url()).into());
    Why::Later { after: None, said: "it does not answer".into(), source }
}

/// What an answer means that is not a good one.
fn failure(status: StatusCode, headers: &HeaderMap, said: String, now: Timestamp) -> Why {
    let is_limit = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::FORBIDDEN
            // Of its second limit GitHub tells only in words, sometimes.
            && (is_used_up(headers) || headers.contains_key(RETRY_AFTER) || said.contains("rate limit"));
    match status {
        _ if is_limit => later(status, headers, "too much was asked of it", now),
        _ if status.is_server_error() => later(status, headers, "it is out of order", now),
        StatusCode::REQUEST_TIMEOUT => later(status, headers, "it does not answer in time", now),
        _ if status.is_redirection() => Why::Moved { to: target(headers) },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Why::Denied { said },
        StatusCode::NOT_FOUND | StatusCode::GONE => Why::Missing { said },
        _ => Why::Refused { status: status.as_u16(), said },
    }
}

fn later(status: StatusCode, headers: &HeaderMap, what: &str, now: Timestamp) -> Why {
    Why::Later { after: wait(headers, now), said: format!("{what} ({})", status.as_u16()), source: None }
}

/// Whether GitHub, or a forge that took over its headers, says that no request is left.
fn is_used_up(headers: &HeaderMap) -> bool {
    ["x-ratelimit-remaining", "ratelimit-remaining"].iter().any(|name| number(headers, name) == Some(0))
}

/// How long the forge wants us to wait. It may name the seconds or the time of the next try.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);
    let until = |name| {
        let reset = Timestamp::from_second(number(headers, name)?).ok()?;
        Some(reset.duration_since(now))
    };
    let seconds = number(headers, RETRY_AFTER.as_str()).map(SignedDuration::from_secs);
    let reset =
        || is_used_up(headers).then(|| until("x-ratelimit-reset").or_else(|| until("ratelimit-reset")));
    let wait = seconds.or_else(|| reset().flatten())?;
    Some(wait.clamp(SignedDuration::ZERO, LONGEST))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Where a redirect leads, without what a query may carry.
fn target(headers: &HeaderMap) -> String {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("another address");
    let end = text.find(['?', '#']).unwrap_or(text.len());
    text[..end].chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (reqwest::header::HeaderName::from_static(name), value.parse().expect("a header"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_only_time_mends_says_how_long_to_wait() {
        let check = |status: u16, pairs: &[(&'static str, &str)], expected: Option<Option<i64>>| {
            let now = Timestamp::from_second(1_000).expect("a time");
            let status = StatusCode::from_u16(status).expect("a status");
            let found = match failure(status, &headers(pairs), String::new(), now) {
                Why::Later { after, .. } => Some(after.map(|after| after.as_secs())),
                _ => None,
            };
            assert_eq!(found, expected, "{status} {pairs:?}");
        };
        check(429, &[], Some(None));
        check(429, &[("retry-after", "7")], Some(Some(7)));
        check(403, &[("retry-after", "60")], Some(Some(60)));
        check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1090")], Some(Some(90)));
        check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")], Some(Some(0)));
        check(429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1030")], Some(Some(30)));
        check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "soon")], Some(None));
        check(503, &[("retry-after", "99999999")], Some(Some(24 * 3_600)));
        check(503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], Some(None));
        check(502, &[], Some(None));
        check(408, &[], Some(None));
        // Time mends none of these.
        check(403, &[("x-ratelimit-remaining", "12")], None);
        check(403, &[], None);
        check(401, &[], None);
        check(404, &[], None);
        check(422, &[], None);
        check(301, &[], None);
    }

    #[test]
    fn a_limit_that_is_told_in_words_is_one() {
        let said = "You have exceeded a secondary rate limit".to_owned();
        let why = failure(StatusCode::FORBIDDEN, &HeaderMap::new(), said, Timestamp::UNIX_EPOCH);
        assert!(matches!(why, Why::Later { after: None, .. }), "{why:?}");
    }

    #[test]
    fn paths_follow_the_address_of_the_api() {
        let check = |api: &str, path: &str, expected: &str| {
            let url: Url = address(&api.parse().expect("a URL"), path).parse().expect("a URL");
            assert_eq!(url.as_str(), expected);
        };
        check("https://api.github.com", "repos/a/b", "https://api.github.com/repos/a/b");
        check("https://git.example/api/v1/", "user", "https://git.example/api/v1/user");
        check(
            "https://git.example/sub/api/v4",
            "projects/a%2Fb",
            "https://git.example/sub/api/v4/projects/a%2Fb",
        );
        // GitHub Enterprise Server.
        check("https://git.example/api/v3", "../graphql", "https://git.example/api/graphql");
    }

    #[test]
    fn a_token_goes_nowhere_in_plain_text() {
        let check = |url: &str, expected: bool| {
            assert_eq!(super::check(&url.parse().expect("a URL")).is_ok(), expected, "{url}");
        };
        check("https://api.github.com", true);
        check("https://git.example/api/v1", true);
        check("http://127.0.0.1:8080/api/v4", true);
        check("http://[::1]:8080", true);
        check("http://localhost", true);
        check("http://git.example/api/v1", false);
        check("http://127.0.0.1.example", false);
        check("https://user:pass@git.example", false);
        check("https://git.example?token=x", false);
        check("file:///etc/passwd", false);
    }
}
