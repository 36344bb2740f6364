//! From settings to a running daemon: opens the store and the source, and gives both to [`super::run`].

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gitops_core::name::Revision;
use gitops_core::release::Commit;
use gitops_core::tree::Tree;
use reqwest::Certificate;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::state::Policy;
use super::{BoxError, DaemonError, Forge, Parts, Repository, operator_token, run};
use crate::api::listen::{Door, ListenError, tls};
use crate::config::{Config, ForgeConfig, SourceConfig};
use crate::forge::{Client, ForgeSettingsError};
use crate::git::{Access, RemoteUrl, Scope, SshOptions, Token, UrlError};
use crate::source::{self, Source, Wake, Wakes, WakesConfig};
use crate::store::sqlite;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address of the definitions repository.
    #[error("the setting `source` cannot be used")]
    Source(#[from] UrlError),
    /// The state folder.
    #[error("cannot make the state folder {path}")]
    StateDir {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file that the TLS settings name.
    #[error("cannot read {path}, named in the TLS settings")]
    TlsFile {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The address to listen on.
    #[error("cannot listen on {address}: is another daemon running there?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The forge cannot be spoken to as the settings say.
    #[error("the settings of the forge cannot be used")]
    Forge(#[from] ForgeSettingsError),
    /// The way in is not safe.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It started, and could not run.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

/// A small runtime: two threads carry the loop and a thousand agents, a few more wait for Git and the core.
///
/// # Errors
///
/// If the system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(16).enable_all().build()
}

/// Cancelled by SIGTERM or SIGINT.
///
/// # Errors
///
/// If the signals cannot be caught.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// Binds the address of the settings.
///
/// # Errors
///
/// If it is taken or not ours.
pub async fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.listen;
    let give_up = tokio::time::Instant::now() + BUSY;
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && tokio::time::Instant::now() < give_up =>
            {
                tokio::time::sleep(BUSY / 20).await;
            }
            bound => return bound.map_err(|source| ServeError::Bind { address, source }),
        }
    }
}

/// How long an address may stay in use: when a daemon is killed in the moment in which it starts `git`, that child has its
/// sockets until it has become `git`.
const BUSY: Duration = Duration::from_secs(1);

/// Runs the daemon over a listener until `shutdown`.
///
/// # Errors
///
/// If it cannot start. Failures of the source and the store after that are waited out.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let door = door(config, listener)?;
    let url: RemoteUrl = config.source.url.parse()?;
    make_state_dir(&config.state_dir)?;
    let store =
        Arc::new(sqlite::open(&config.state_dir.join("gitops.db")).await.map_err(DaemonError::Store)?);
    let made =
        operator_token::ensure(&*store, &config.state_dir).await.map_err(DaemonError::OperatorToken)?;
    if made {
        let path = config.state_dir.join(operator_token::FILE);
        tracing::info!(path = %path.display(), "made the operator's token");
    }
    tracing::info!(source = %url, branch = %config.source.branch, listen = %config.listen, "starting");
    let parts = Parts {
        policy: policy(config, &url),
        store: store.clone(),
        repository: Arc::new(Source::open(source_config(config, &url))),
        wakes: watch(&config.source, url),
        retention: config.retention,
        door,
        forge: forge(config)?.map(Arc::new),
        hook_secret: config.hook_secret.as_ref().map(|secret| secret.expose().into()),
    };
    let ended = run(parts, shutdown).await;
    store.close().await;
    tracing::info!("stopped");
    Ok(ended?)
}

fn door(config: &Config, listener: TcpListener) -> Result<Door, ServeError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| ServeError::TlsFile { path: path.to_owned(), source })
    };
    let tls = match &config.tls {
        Some((cert, key)) => Some(tls(&read(cert)?, &read(key)?)?),
        None => None,
    };
    Ok(Door::new(listener, tls, config.max_connections)?)
}

/// A client for the forge, if there is one. A forge of one's own is trusted by the certificates that its repository is.
fn forge(config: &Config) -> Result<Option<Forge>, ServeError> {
    let Some(forge) = &config.forge else { return Ok(None) };
    let ForgeConfig { kind, url, repository, token, .. } = forge;
    let certificates = match &config.source.ca_file {
        None => Vec::new(),
        Some(path) => {
            let unread = |source| ServeError::TlsFile { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(unread)?;
            Certificate::from_pem_bundle(&pem).map_err(|error| unread(io::Error::other(error)))?
        }
    };
    let client = Client::trusting(*kind, url, repository, token.clone(), &certificates)?;
    let folder = config.source.folder.as_deref().unwrap_or_default().to_owned();
    Ok(Some(Forge { client, kind: *kind, folder }))
}

fn make_state_dir(path: &Path) -> Result<(), ServeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ServeError::StateDir { path: path.to_owned(), source })
}

fn policy(config: &Config, url: &RemoteUrl) -> Policy {
    let mut seed = [0; 8];
    // Without randomness the jitter is the same for all daemons, which is no reason not to start.
    let _ = getrandom::fill(&mut seed);
    Policy {
        url: url.to_string().into(),
        branch: config.source.branch.clone(),
        poll: config.source.poll,
        deploy: config.deploy,
        heartbeat: config.heartbeat,
        prune: jiff::SignedDuration::from_hours(1),
        forge: config.forge.as_ref().map(|forge| forge.context.clone()),
        seed: u64::from_ne_bytes(seed),
    }
}

fn source_config(config: &Config, url: &RemoteUrl) -> source::SourceConfig {
    let SourceConfig { branch, folder, token, ca_file, ssh_key, ssh_known_hosts, limits, .. } =
        &config.source;
    let ssh =
        SshOptions { key: ssh_key.clone(), known_hosts: ssh_known_hosts.clone(), ..SshOptions::default() };
    source::SourceConfig {
        url: url.clone(),
        branch: branch.to_string(),
        access: Access {
            token: token.as_ref().map(|token| Token::new(Token::ANY_USER, token.expose())),
            ca_file: ca_file.clone(),
            ssh,
        },
        state_dir: config.state_dir.clone(),
        scope: Scope { folder: folder.as_deref().unwrap_or_default().to_owned(), limits: *limits },
        timeout: source::SourceConfig::TIMEOUT,
    }
}

/// Passes on that the branch of a repository on this machine moved. When to look otherwise is decided by the state
/// machine; the watch's own interval only lets it notice a repository that was put in the place of another.
fn watch(config: &SourceConfig, url: RemoteUrl) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    if url.local_path().is_none() {
        return receiver;
    }
    let interval = config.poll.unsigned_abs();
    let mut wakes = Wakes::start(WakesConfig { url, branch: config.branch.to_string(), interval });
    tokio::spawn(async move {
        loop {
            let wake = tokio::select! {
                wake = wakes.next() => wake,
                () = sender.closed() => return,
            };
            if wake == Wake::Moved {
                // A full slot is a wake that was not taken yet: one is enough.
                let _ = sender.try_send(());
            }
        }
    });
    receiver
}

#[async_trait]
impl Repository for Source {
    async fn fetch(&self) -> Result<Option<Revision>, BoxError> {
        Ok(Self::fetch(self).await?)
    }

    async fn tree(&self, revision: &Revision) -> Result<Tree, BoxError> {
        Ok(Self::tree(self, revision).await?)
    }

    async fn descends(&self, newest: &Revision, base: &Revision) -> Result<bool, BoxError> {
        Ok(Self::descends(self, newest, base).await?)
    }

    async fn commit(&self, revision: &Revision) -> Result<Commit, BoxError> {
        Ok(Self::commit(self, revision).await?)
    }

    async fn fetch_head(&self, reference: &str) -> Result<Option<Revision>, BoxError> {
        Ok(Self::fetch_head(self, reference).await?)
    }

    async fn merge_base(&self, one: &Revision, two: &Revision) -> Result<Option<Revision>, BoxError> {
        Ok(Self::merge_base(self, one, two).await?)
    }

    async fn keep(&self, revision: &Revision) -> Result<(), BoxError> {
        Ok(Self::keep(self, revision).await?)
    }
}

#[cfg(test)]
mod tests;
