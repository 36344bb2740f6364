//! Speaking to the daemon: where it is, who we are, and what its answers mean.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitops_core::protocol::Problem;
use gitops_core::reconcile::preview::difference::Difference;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::error::CliError;
use super::local;
use crate::config::layer::process_env;
use crate::git::is_loopback;

/// Where the daemon is and who asks
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Daemon")]
pub(super) struct Connection {
    /// Where the daemon listens [default: where GITOPS_LISTEN says, else http://127.0.0.1:8470]
    #[arg(long, global = true, env = "GITOPS_URL")]
    url: Option<Url>,
    /// The file with the operator token [default: operator.token in GITOPS_STATE_DIR, else in /var/lib/gitops]
    #[arg(long, global = true, env = "GITOPS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The operator token itself. A flag would show it to every user of the machine, so it is only an environment variable.
    #[arg(
        long = "token-from-environment",
        global = true,
        env = "GITOPS_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    token: Option<String>,
    /// A certificate that the daemon's is signed with, where the system does not know it
    #[arg(long, global = true, env = "GITOPS_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs a command that waits for the network.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::because("cannot start", error))?.block_on(future)
}

/// A connection to the daemon.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    token: String,
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    pub(super) fn new(connection: &Connection) -> Result<Self, CliError> {
        let url = match &connection.url {
            Some(url) => url.clone(),
            None => local::url(&process_env)?,
        };
        check_url(&url)?;
        let token = token(connection)?;
        let http = http(connection)?;
        Ok(Self { http, url, token })
    }

    /// A client of a daemon at `url`, without any settings.
    #[cfg(test)]
    pub(super) fn of(url: &str, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, url: url.parse().expect("a URL"), token: token.to_owned() }
    }

    /// Asks for a document.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.document(self.request(Method::GET, path)).await
    }

    /// Sends a request that has no body.
    pub(super) async fn send<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, CliError> {
        self.document(self.request(method, path)).await
    }

    /// Sends a request that has no body and whose answer has none.
    pub(super) async fn post(&self, path: &str) -> Result<(), CliError> {
        self.answer(self.request(Method::POST, path)).await.map(drop)
    }

    /// Sends a document, and allows `patience` for the answer. A refusal comes as it is.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        patience: Duration,
    ) -> Result<Result<T, Refused>, CliError> {
        let request = self.request(Method::POST, path).json(body).timeout(patience);
        let response = request.send().await.map_err(|error| self.failure(error))?;
        if !response.status().is_success() {
            return Ok(Err(Refused::of(self, response).await));
        }
        response.json().await.map(Ok).map_err(not_ours)
    }

    /// Opens a stream of server-sent events.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, CliError> {
        // A stream has no end, so it has no time limit of its own.
        let request = self.request(Method::GET, path).timeout(Duration::from_secs(365 * 24 * 3_600));
        self.answer(request.header("accept", "text/event-stream")).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn document<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CliError> {
        let response = self.answer(request).await?;
        response.json().await.map_err(not_ours)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|error| self.failure(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Refused::of(self, response).await.into())
    }

    fn failure(&self, error: reqwest::Error) -> CliError {
        // The address is in our own message; the client would print it again.
        CliError::Unreachable { url: self.url.to_string(), source: Box::new(error.without_url()) }
    }
}

fn not_ours(error: reqwest::Error) -> CliError {
    CliError::because("the answer of the daemon cannot be read", error)
        .hint("is it another version? `gitops --version` and GET /v1/version tell")
}

/// What the daemon says no with.
pub(super) struct Refused {
    /// Stable; empty where whoever answered is no daemon.
    pub(super) code: String,
    /// Of a plan that is another by now.
    pub(super) difference: Option<Box<Difference>>,
    error: CliError,
}

impl Refused {
    async fn of(client: &Client, response: Response) -> Self {
        let status = response.status();
        match response.json::<Problem>().await {
            Ok(Problem { code, detail, difference, .. }) => {
                let error = match status.is_server_error() {
                    true => CliError::Later { detail },
                    false => CliError::new(detail),
                };
                Self { code, difference, error }
            }
            Err(_) => {
                let error = CliError::new(format!("{} answers {status}", client.url));
                let error = error.hint("is this the address of a gitops daemon?");
                Self { code: String::new(), difference: None, error }
            }
        }
    }
}

impl From<Refused> for CliError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// A token in plain HTTP can be read on the way, so that is for this machine only.
fn check_url(url: &Url) -> Result<(), CliError> {
    let is_loopback = is_loopback(url.host_str().unwrap_or_default());
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err(CliError::new(format!("{url} would send the token in plain text"))
            .hint("use https://, or http:// to this machine only")),
        _ => {
            Err(CliError::new(format!("{url} is not an address of a daemon")).hint("use https:// or http://"))
        }
    }
}

fn token(connection: &Connection) -> Result<String, CliError> {
    let text = match &connection.token {
        Some(token) => token.clone(),
        None => {
            let path = connection.token_file.clone().unwrap_or_else(|| local::token_file(&process_env));
            fs::read_to_string(&path).map_err(|error| {
                let what = format!("cannot read the operator token from {}", path.display());
                CliError::because(what, error).hint(
                    "--token-file or GITOPS_TOKEN_FILE names it; the daemon writes it into its state folder",
                )
            })?
        }
    };
    Ok(text.trim().to_owned())
}

fn http(connection: &Connection) -> Result<reqwest::Client, CliError> {
    // A second installation of the same provider is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder =
        reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(30));
    if let Some(path) = &connection.ca_file {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(|error| CliError::because("cannot make a client", error))
}

/// The certificates in a file.
pub(super) fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, CliError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        CliError::because(format!("cannot use the certificate {}", path.display()), error)
    };
    let pem = fs::read(path).map_err(|error| failed(error.into()))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_plain_text_to_another_machine() {
        for good in ["http://127.0.0.1:8470", "http://localhost", "http://[::1]:1", "https://gitops.example"]
        {
            assert!(check_url(&good.parse().expect("a URL")).is_ok(), "{good}");
        }
        for bad in ["http://gitops.example", "http://10.0.0.1", "ftp://127.0.0.1", "http://127.0.0.1.example"]
        {
            assert!(check_url(&bad.parse().expect("a URL")).is_err(), "{bad}");
        }
    }
}
