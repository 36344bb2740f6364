//! The daemon's settings: as typed in ([`ControlSettings`]), and resolved ([`Config`]), once.
//!
//! [`layer`] brings flags, environment and `control.toml` together; here their defaults are filled in, what belongs
//! together is checked together, and secrets are read. After that nothing reads the environment again.

pub mod layer;
mod forge;
mod show;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gitops_core::tree::Limits;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use self::forge::ForgeConfig;
use self::layer::{ConfigError, Env, Layered, Span, layered, process_env, secret};
use crate::forge::Kind;
use crate::store::Retention;
use crate::store::token::Secret;

/// Read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "/etc/gitops/control.toml";
/// Where the daemon keeps its state if nothing else is said.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/gitops";
/// Where it listens then.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8470);
/// Names the file where the flag `--config` does not.
const FILE_VARIABLE: &str = "GITOPS_CONFIG";

/// The settings of `gitops serve`. Each is a flag, a variable (`--state-dir` is `GITOPS_STATE_DIR`) and a key of
/// `control.toml` (`state_dir`).
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlSettings {
    /// Where the definitions repository is: a path, or an ssh, https or file URL
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Branch to deploy [default: main]
    #[arg(long)]
    pub branch: Option<String>,
    /// Folder of the repository that holds the definitions [default: its root]
    #[arg(long)]
    pub folder: Option<String>,
    /// How often to look at the repository when nothing wakes the daemon [default: 30s]
    #[arg(long, value_name = "SPAN")]
    pub poll_interval: Option<Span>,
    /// File with the token for an https repository; or set GITOPS_SOURCE_TOKEN
    #[arg(long, value_name = "FILE")]
    pub source_token_file: Option<PathBuf>,
    /// File with the certificates that an https repository is trusted by, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub source_ca_file: Option<PathBuf>,
    /// Private key for an ssh repository [default: what ssh itself finds]
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Known hosts for an ssh repository [default: what ssh itself finds]
    #[arg(long, value_name = "FILE")]
    pub ssh_known_hosts: Option<PathBuf>,
    /// Folder for the mirror, the database and the operator's token [default: /var/lib/gitops]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address to listen on; beyond loopback only with a certificate [default: 127.0.0.1:8470]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// File with the certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File with the certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// File with the secret that webhooks prove to know; or set GITOPS_HOOK_SECRET
    #[arg(long, value_name = "FILE")]
    pub hook_secret_file: Option<PathBuf>,
    /// Forge whose pull requests to review, and to tell how releases go
    #[arg(long, value_name = "KIND")]
    pub forge: Option<Kind>,
    /// Address of the forge's API [default for GitHub: https://api.github.com, for GitLab: https://gitlab.com/api/v4]
    #[arg(long, value_name = "URL")]
    pub forge_url: Option<String>,
    /// The definitions repository as the forge names it, OWNER/NAME
    #[arg(long, value_name = "NAME")]
    pub forge_repository: Option<String>,
    /// File with the token for the forge; or set GITOPS_FORGE_TOKEN
    #[arg(long, value_name = "FILE")]
    pub forge_token_file: Option<PathBuf>,
    /// What the status of a commit is called that tells how its release goes [default: gitops/deploy]
    #[arg(long, value_name = "NAME")]
    pub forge_context: Option<String>,
    /// Whether the newest valid revision is deployed by itself, or waits for `gitops sync` [default: auto]
    #[arg(long, value_name = "HOW")]
    pub deploy: Option<Deploy>,
    /// How often agents report; silent for three of them, a node is stale [default: 15s]
    #[arg(long, value_name = "SPAN")]
    pub heartbeat: Option<Span>,
    /// How many plans of each node to keep [default: 100]
    #[arg(long, value_name = "N")]
    pub keep_plans: Option<u32>,
    /// How many releases to keep [default: 500]
    #[arg(long, value_name = "N")]
    pub keep_releases: Option<u32>,
    /// How many events to keep [default: 100000]
    #[arg(long, value_name = "N")]
    pub keep_events: Option<u64>,
    /// How many lines to keep of what the agent of each node did [default: 2000]
    #[arg(long, value_name = "N")]
    pub keep_log_lines: Option<u64>,
    /// How many days to keep plans, releases, events and those lines [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// How many connections to serve at once [default: 4096]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,
    /// Largest file of the definitions to read, in bytes [default: 1 MiB]
    #[arg(long, value_name = "BYTES")]
    pub max_file_bytes: Option<u64>,
    /// Most bytes of definitions to read in all [default: 256 MiB]
    #[arg(long, value_name = "BYTES")]
    pub max_total_bytes: Option<u64>,
    /// Most files of definitions to read [default: 200000]
    #[arg(long, value_name = "N")]
    pub max_files: Option<usize>,
    /// What to log: error, warn, info, debug or trace, also by module [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// What makes the daemon deploy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deploy {
    /// A push.
    #[default]
    Auto,
    /// An operator, with `gitops sync`.
    Manual,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The daemon's settings, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The definitions repository.
    pub source: SourceConfig,
    /// For the mirror, the database and the operator's token.
    pub state_dir: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate chain and private key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What webhooks prove to know.
    pub hook_secret: Option<Secret>,
    /// Where pull requests are reviewed, if they are.
    pub forge: Option<ForgeConfig>,
    /// What makes the daemon deploy.
    pub deploy: Deploy,
    /// How often agents report.
    pub heartbeat: SignedDuration,
    /// How much history is kept.
    pub retention: Retention,
    /// How many connections are served at once.
    pub max_connections: usize,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
    /// As typed in, for [`Config::settings`].
    typed: Layered<ControlSettings>,
}

/// The definitions repository.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// A path or URL, without credentials.
    pub url: Arc<str>,
    /// The branch that is deployed.
    pub branch: Arc<str>,
    /// The folder with the definitions, without `/` at either end; none for the root.
    pub folder: Option<Arc<str>>,
    /// How often to look when nothing wakes the daemon.
    pub poll: SignedDuration,
    /// For https.
    pub token: Option<Secret>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For ssh.
    pub ssh_key: Option<PathBuf>,
    /// For ssh.
    pub ssh_known_hosts: Option<PathBuf>,
    /// How much is read.
    pub limits: Limits,
}

impl Config {
    /// From the command line, the environment of the process, and a file: the one named by `--config` or
    /// `GITOPS_CONFIG`, else [`DEFAULT_FILE`] if it is there.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read, or the settings do not fit together.
    pub fn load(flags: &ControlSettings, file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::resolve(flags, &process_env, file)
    }

    /// The same with any environment.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn resolve(flags: &ControlSettings, env: Env<'_>, file: Option<&Path>) -> Result<Self, ConfigError> {
        let from_env = env(FILE_VARIABLE).map(PathBuf::from);
        let default = Path::new(DEFAULT_FILE);
        let file = match (file, &from_env) {
            (Some(path), _) => Some((path, "`--config`")),
            (None, Some(path)) => Some((path.as_path(), FILE_VARIABLE)),
            (None, None) => default.exists().then_some((default, "default")),
        };
        let typed = layered(flags, env, file)?;
        let settings = typed.settings.clone();
        let hook_secret = secret("hook_secret", settings.hook_secret_file.as_deref(), env)?;
        let heartbeat = settings.heartbeat.map_or(SignedDuration::from_secs(15), |span| span.0);
        let listen = settings.listen.unwrap_or(DEFAULT_LISTEN);
        let tls = tls(&settings, listen)?;
        within("heartbeat", heartbeat, 1, 3600)?;
        Ok(Self {
            source: source(&settings, env)?,
            state_dir: settings.state_dir.clone().unwrap_or_else(|| DEFAULT_STATE_DIR.into()),
            listen,
            tls,
            hook_secret,
            forge: forge::resolve(&settings, env)?,
            deploy: settings.deploy.unwrap_or_default(),
            heartbeat,
            retention: retention(&settings)?,
            max_connections: positive("max_connections", settings.max_connections.unwrap_or(4096))?,
            log: settings.log.unwrap_or_else(|| "info".to_owned()),
            log_format: settings.log_format.unwrap_or_default(),
            typed,
        })
    }
}

fn source(settings: &ControlSettings, env: Env<'_>) -> Result<SourceConfig, ConfigError> {
    let missing = "no definitions repository: set `source` in control.toml, GITOPS_SOURCE or --source";
    let url = settings.source.as_deref().ok_or_else(|| ConfigError::Invalid(missing.to_owned()))?;
    if has_password(url) {
        let why = "`source` holds a password: put it into a file and name that in `source_token_file`";
        return Err(ConfigError::Invalid(why.to_owned()));
    }
    let poll = settings.poll_interval.map_or(SignedDuration::from_secs(30), |span| span.0);
    within("poll_interval", poll, 1, 24 * 3600)?;
    let limits = Limits::default();
    Ok(SourceConfig {
        url: url.into(),
        branch: settings.branch.as_deref().unwrap_or("main").into(),
        folder: settings
            .folder
            .as_deref()
            .map(|text| text.trim_matches('/'))
            .filter(|text| !text.is_empty())
            .map(Arc::from),
        poll,
        token: secret("source_token", settings.source_token_file.as_deref(), env)?,
        ca_file: settings.source_ca_file.clone(),
        ssh_key: settings.ssh_key.clone(),
        ssh_known_hosts: settings.ssh_known_hosts.clone(),
        limits: Limits {
            file_bytes: positive("max_file_bytes", settings.max_file_bytes.unwrap_or(limits.file_bytes))?,
            total_bytes: positive("max_total_bytes", settings.max_total_bytes.unwrap_or(limits.total_bytes))?,
            files: positive("max_files", settings.max_files.unwrap_or(limits.files))?,
        },
    })
}

/// Whether the URL has `user:password@` in it. A user alone is no secret.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
}

fn tls(settings: &ControlSettings, listen: SocketAddr) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let invalid = |why: String| Err(ConfigError::Invalid(why));
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
        (Some(_), None) => invalid("`tls_cert` is set without `tls_key`: set both".to_owned()),
        (None, Some(_)) => invalid("`tls_key` is set without `tls_cert`: set both".to_owned()),
        (None, None) if listen.ip().to_canonical().is_loopback() => Ok(None),
        (None, None) => invalid(format!(
            "`listen` is {listen}, which is not loopback: set `tls_cert` and `tls_key` to serve it"
        )),
    }
}

fn retention(settings: &ControlSettings) -> Result<Retention, ConfigError> {
    Ok(Retention {
        plans_per_node: positive("keep_plans", settings.keep_plans.unwrap_or(100))?,
        releases: positive("keep_releases", settings.keep_releases.unwrap_or(500))?,
        events: positive("keep_events", settings.keep_events.unwrap_or(100_000))?,
        log_lines_per_node: positive("keep_log_lines", settings.keep_log_lines.unwrap_or(2000))?,
        days: positive("keep_days", settings.keep_days.unwrap_or(90))?,
    })
}

fn positive<T: Default + PartialEq>(key: &str, number: T) -> Result<T, ConfigError> {
    if number == T::default() {
        Err(ConfigError::Invalid(format!("`{key}` must be at least 1")))
    } else {
        Ok(number)
    }
}

fn within(key: &str, span: SignedDuration, least: i64, most: i64) -> Result<(), ConfigError> {
    let (least, most) = (SignedDuration::from_secs(least), SignedDuration::from_secs(most));
    if (least..=most).contains(&span) {
        return Ok(());
    }
    Err(ConfigError::Invalid(format!("`{key}` is {span:#}: it may be {least:#} to {most:#}")))
}

#[cfg(test)]
mod tests;
