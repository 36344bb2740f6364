//! The way in: accepted connections, with TLS wherever anyone else could listen.
//!
//! **Invariant:** plain HTTP is served on loopback only. On any other address there is a certificate or there is no
//! daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::Metrics;

/// A client that does not finish its handshake or its headers in this time is cut off.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Open answers get this long to end when the daemon stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);
/// Streams of one HTTP/2 connection at a time: an agent needs three.
const MAX_STREAMS: u32 = 32;

/// Why the daemon does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Plain HTTP where others could read it.
    #[error(
        "refusing to serve plain HTTP on {0}: set `tls_cert` and `tls_key`, or listen on a loopback address"
    )]
    PlainOutside(SocketAddr),
    /// The certificate or its key.
    #[error("cannot use the {what} in the TLS settings: {why}")]
    Tls {
        /// `certificate` or `private key`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The address is not known.
    #[error("cannot tell the address that the listener is bound to")]
    Address(#[source] std::io::Error),
}

/// A certificate chain and its key, ready to serve TLS 1.2 and 1.3 with HTTP/2 or 1.1.
///
/// # Errors
///
/// If either is not PEM, is empty, or the two do not belong together.
pub fn tls(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, ListenError> {
    let wrong = |what| move |why: String| ListenError::Tls { what, why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong("certificate")(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("certificate")("there is no PEM certificate in the file".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| wrong("private key")(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong("certificate")(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where and how to serve.
pub struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    max_connections: usize,
}

impl Door {
    /// A door at an address that is already bound.
    ///
    /// # Errors
    ///
    /// If it would serve plain HTTP beyond loopback.
    pub fn new(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        max_connections: usize,
    ) -> Result<Self, ListenError> {
        let address = listener.local_addr().map_err(ListenError::Address)?;
        // `::ffff:127.0.0.1` is loopback too.
        if tls.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::PlainOutside(address));
        }
        Ok(Self { listener, tls: tls.map(TlsAcceptor::from), max_connections })
    }

    /// Serves until `shutdown`, then lets open answers end.
    pub async fn serve(self, router: Router, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let Self { listener, tls, max_connections } = self;
        let (tracker, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(max_connections)));
        let cut = CancellationToken::new();
        loop {
            // Beyond the limit, callers wait in the kernel's backlog.
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        // Out of descriptors: trying at once would only spin.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = shutdown.cancelled() => break,
            };
            let open = open(stream, tls.clone(), router.clone(), shutdown.clone());
            let (metrics, cut) = (metrics.clone(), cut.clone());
            tracker.spawn(async move {
                metrics.connections.inc();
                cut.run_until_cancelled(open).await;
                metrics.connections.dec();
                drop(slot);
            });
        }
        drop(listener);
        tracker.close();
        if tokio::time::timeout(DRAIN_WITHIN, tracker.wait()).await.is_err() {
            tracing::warn!(connections = tracker.len(), "some connections did not end in time and are cut");
            cut.cancel();
            tracker.wait().await;
        }
    }
}

/// One connection, from handshake to end.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, shutdown: CancellationToken) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => talk(stream, router, shutdown).await,
        Some(tls) => match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, router, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(HEAD_WITHIN);
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended badly");
    }
}
