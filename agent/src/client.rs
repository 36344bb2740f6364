//! The daemon, as the agent sees it: three requests over HTTPS.
//!
//! The token is read from its file for each request, so that it can be replaced without a restart. It never
//! appears in a message.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gitops_core::log::LogLine;
use gitops_core::name::{Digest, Generation, NodeName};
use gitops_core::plan::{NodePlan, SCHEMA};
use gitops_core::protocol::{Hello, LogUpload, Problem, Receipt, Report, SPOKEN};
use gitops_core::status::{AgentInfo, PlanId};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use crate::agent::state::{Answer, Cause, Failed, Message, Offer};
use crate::blobs::{BlobError, BlobWriter};
use crate::ledger::Refused;

/// How long the daemon may hold the request for a plan, in seconds.
const WAIT_SECONDS: u64 = 55;
/// For a request that is answered at once, and beyond [`WAIT_SECONDS`] for the other.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of a plan: models of some hundred services, and then ten times that.
const MAX_PLAN_BYTES: usize = 32 << 20;
/// Bytes of any other answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The control side.
#[async_trait]
pub trait Daemon: Send + Sync {
    /// The plan, if it is another than `known`; waits for one for a while.
    async fn plan(&self, known: Option<Digest>) -> Result<Offer, DaemonError>;

    /// Content by digest, into `writer`.
    async fn blob(&self, digest: Digest, writer: &mut BlobWriter) -> Result<(), DaemonError>;

    /// Hands over what was done for steps. It is durable when this returns.
    async fn logs(&self, lines: &[LogLine]) -> Result<(), DaemonError>;

    /// Says how the node stands.
    async fn report(&self, message: Message) -> Result<Answer, DaemonError>;
}

/// Why the daemon did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The address cannot be used.
    #[error("{0}")]
    Address(String),
    /// A file that the connection needs.
    #[error("cannot use {}", path.display())]
    File {
        /// Token or certificate.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection, or it broke.
    #[error("cannot reach the daemon")]
    Unreachable(#[source] reqwest::Error),
    /// It refused.
    #[error("the daemon refuses ({code}): {detail}")]
    Refused {
        /// Stable, kebab-case.
        code: String,
        /// What it says.
        detail: String,
    },
    /// It answered what cannot be read.
    #[error("the daemon answered with a {what} that cannot be read: {problem}")]
    Unreadable {
        /// `plan`, `receipt`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Content could not be taken in.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl DaemonError {
    /// As the state machine hears of it.
    pub fn failed(&self) -> Failed {
        let cause = match self {
            Self::Refused { code, .. } if code == "second-agent" => Cause::SecondAgent,
            Self::Blob(BlobError::Disk(_)) => Cause::Disk,
            Self::Blob(_) | Self::Unreadable { .. } => Cause::Answer,
            Self::Refused { code, .. } if code == "not-found" => Cause::Answer,
            Self::Refused { .. } | Self::Address(_) | Self::File { .. } | Self::Unreachable(_) => Cause::Away,
        };
        Failed { message: crate::agent::chain(self), cause }
    }
}

/// How to reach the daemon.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it is.
    pub server: Url,
    /// The file with this node's token.
    pub token_file: PathBuf,
    /// A certificate authority to trust beside those of the system, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The node that it is set up for.
    pub node: NodeName,
    /// Who calls.
    pub agent: AgentInfo,
    /// The name of this machine.
    pub host: String,
}

/// The daemon over HTTP.
#[derive(Debug)]
pub struct HttpDaemon {
    client: Client,
    server: Url,
    token_file: PathBuf,
}

impl HttpDaemon {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where the address is not one that may be used, or a file cannot be read.
    pub fn new(config: ClientConfig) -> Result<Self, DaemonError> {
        check_address(&config.server)?;
        let mut builder = Client::builder()
            .default_headers(headers(&config))
            .connect_timeout(Duration::from_secs(10))
            // Silence, not length, ends a large download.
            .read_timeout(Duration::from_secs(WAIT_SECONDS) + ANSWER_WITHIN)
            .pool_max_idle_per_host(2)
            // A plan must not be fetched from elsewhere than from where it was asked for.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(config.server.scheme() == "https");
        if let Some(path) = &config.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        let client = builder.build().map_err(DaemonError::Unreachable)?;
        let daemon = Self { client, server: config.server, token_file: config.token_file };
        daemon.token()?;
        Ok(daemon)
    }

    /// Read for each request: a new token is taken without a restart, and none stays in memory.
    fn token(&self) -> Result<HeaderValue, DaemonError> {
        let file = |source| DaemonError::File { path: self.token_file.clone(), source };
        let text = std::fs::read_to_string(&self.token_file).map_err(|error| file(error.into()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| file("the token has characters that no token has".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn url(&self, path: &[&str]) -> Result<Url, DaemonError> {
        let mut url = self.server.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| DaemonError::Address("the address has no path".to_owned()))?;
        segments.pop_if_empty().extend(["v1", "agent"]).extend(path);
        drop(segments);
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, DaemonError> {
        let request = request.header(AUTHORIZATION, self.token()?);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = body(response, MAX_ANSWER_BYTES, "refusal").await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(Problem { code, detail, .. }) => DaemonError::Refused { code, detail },
            Err(_) => DaemonError::Refused { code: status.as_str().to_owned(), detail: status.to_string() },
        })
    }
}

#[async_trait]
impl Daemon for HttpDaemon {
    async fn plan(&self, known: Option<Digest>) -> Result<Offer, DaemonError> {
        let mut url = self.url(&["plan"])?;
        url.query_pairs_mut().append_pair("wait", &WAIT_SECONDS.to_string());
        let mut request = self.client.get(url).timeout(Duration::from_secs(WAIT_SECONDS) + ANSWER_WITHIN);
        if let Some(digest) = known {
            request = request.header(IF_NONE_MATCH, format!("\"{digest}\""));
        }
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => offer(&body(response, MAX_PLAN_BYTES, "plan").await?),
            _ => Ok(Offer::Nothing),
        }
    }

    async fn blob(&self, digest: Digest, writer: &mut BlobWriter) -> Result<(), DaemonError> {
        let request = self.client.get(self.url(&["blobs", &digest.to_string()])?);
        let mut response = self.send(request).await?;
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            writer.write(&chunk)?;
        }
        Ok(())
    }

    async fn logs(&self, lines: &[LogLine]) -> Result<(), DaemonError> {
        let upload = LogUpload { lines: lines.to_vec() };
        let request = self.client.put(self.url(&["logs"])?).timeout(ANSWER_WITHIN).json(&upload);
        self.send(request).await.map(drop)
    }

    async fn report(&self, message: Message) -> Result<Answer, DaemonError> {
        let report = match &message {
            Message::Full(status) => Report::Status(Arc::new((**status).clone())),
            Message::Heartbeat { digest } => Report::Heartbeat { digest: *digest },
        };
        let request = self.client.put(self.url(&["status"])?).timeout(ANSWER_WITHIN).json(&report);
        let body = body(self.send(request).await?, MAX_ANSWER_BYTES, "receipt").await?;
        let Receipt { want_status, heartbeat_seconds } = parse(&body, "receipt")?;
        Ok(Answer { heartbeat_seconds: heartbeat_seconds.into(), want_full: want_status })
    }
}

/// A newer document may differ in anything but these three fields, so they are read first.
fn offer(body: &[u8]) -> Result<Offer, DaemonError> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
        generation: Generation,
        digest: Digest,
    }
    let Head { schema, generation, digest } = parse(body, "plan")?;
    let unusable = |refused| Offer::Unusable { plan: PlanId { generation, digest }, refused };
    if schema > SCHEMA {
        return Ok(unusable(Refused::NewerSchema { found: schema }));
    }
    Ok(match serde_json::from_slice::<NodePlan>(body) {
        Ok(plan) => Offer::Plan(Arc::new(plan)),
        Err(error) => unusable(Refused::Unreadable { problem: error.to_string() }),
    })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &'static str) -> Result<T, DaemonError> {
    let unreadable = |error: serde_json::Error| DaemonError::Unreadable { what, problem: error.to_string() };
    serde_json::from_slice(body).map_err(unreadable)
}

async fn body(mut response: Response, limit: usize, what: &'static str) -> Result<Vec<u8>, DaemonError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > limit {
            return Err(DaemonError::Unreadable {
                what,
                problem: format!("it is larger than {limit} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> DaemonError {
    // The address is in the settings and may hold a user's secrets; the cause is what helps.
    DaemonError::Unreachable(error.without_url())
}

/// Plain HTTP would show the token to the network.
fn check_address(server: &Url) -> Result<(), DaemonError> {
    let host = server.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match server.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err(DaemonError::Address(format!(
            "plain http would show the token to the network: use https://{host}"
        ))),
        other => Err(DaemonError::Address(format!("the daemon is reached by https, not by {other}"))),
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate>, DaemonError> {
    let file = |source| DaemonError::File { path: path.clone(), source };
    let pem = std::fs::read(path).map_err(|error| file(error.into()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| file(error.into()))?;
    if found.is_empty() { Err(file("there is no certificate in it".into())) } else { Ok(found) }
}

fn headers(config: &ClientConfig) -> HeaderMap {
    let AgentInfo { id, version, start } = config.agent.clone();
    let hello = Hello {
        protocols: SPOKEN,
        agent: id,
        version,
        host: config.host.as_str().into(),
        node: Some(config.node.clone()),
        start,
    };
    let header = |(name, value): (&'static str, String)| {
        let value = HeaderValue::from_str(&value).expect("a hello is visible ASCII");
        (HeaderName::from_static(name), value)
    };
    hello.to_headers().into_iter().map(header).collect()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
