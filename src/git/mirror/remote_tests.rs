//! Fetching over the real transports: a real `sshd`, and a real HTTPS server in front of `git http-backend`.

#[path = "../../../tests/support/sshd.rs"]
mod sshd;

use std::process::Stdio;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::server::TlsStream;

use self::sshd::{Sshd, run};
use super::*;
use crate::git::testing::{Origin, git_command};
use crate::git::{SshOptions, Token};

fn mirror(origin: &Origin, url: &str, access: Access) -> Mirror {
    let config = MirrorConfig {
        state_dir: origin.folder().join("state"),
        url: url.parse().unwrap(),
        branch: "main".into(),
        access,
        timeout: Duration::from_secs(20),
    };
    Mirror::open(config).unwrap()
}

fn fetch(mirror: &Mirror) -> Result<Option<Revision>, GitError> {
    mirror.fetch(&AtomicBool::new(false))
}

fn access(sshd: &Sshd, key: &str, known_hosts: &str) -> Access {
    let ssh = SshOptions {
        key: Some(sshd.folder.join(key)),
        known_hosts: Some(sshd.folder.join(known_hosts)),
        ..SshOptions::default()
    };
    Access { ssh, ..Access::default() }
}

#[test]
fn ssh_fetches_with_a_key_and_tells_what_keeps_it_out() {
    let origin = Origin::new();
    let Some(sshd) = Sshd::start(origin.folder()) else { return };
    let pushed = origin.push_file("gitops.toml", "one");
    let url = sshd.url(&origin.bare());
    let with_key = mirror(&origin, &url, access(&sshd, "client", "known_hosts"));
    assert_eq!(fetch(&with_key).unwrap(), Some(pushed));
    let next = origin.push_file("gitops.toml", "two");
    assert_eq!(fetch(&with_key).unwrap(), Some(next));

    let unknown_host = fetch(&mirror(&origin, &url, access(&sshd, "client", "none"))).unwrap_err();
    assert!(matches!(unknown_host, GitError::HostKey { .. }), "{unknown_host:?}");
    let stranger = fetch(&mirror(&origin, &url, access(&sshd, "stranger", "known_hosts"))).unwrap_err();
    assert!(matches!(stranger, GitError::Denied { .. }), "{stranger:?}");
    let missing = sshd.url(Path::new("/nonexistent/estate.git"));
    let missing = fetch(&mirror(&origin, &missing, access(&sshd, "client", "known_hosts"))).unwrap_err();
    assert!(matches!(missing, GitError::NoRepository { .. }), "{missing:?}");
    let closed = url.replace(&format!(":{}/", sshd.port), ":1/");
    let closed = fetch(&mirror(&origin, &closed, access(&sshd, "client", "known_hosts"))).unwrap_err();
    assert!(matches!(closed, GitError::Unreachable { .. }), "{closed:?}");
}

/// `ci:hunter2`, as basic authentication writes it.
const AUTHORIZATION: &str = "Basic Y2k6aHVudGVyMg==";

/// Answers one request by `git http-backend`, as a web server would by CGI.
async fn http_backend(root: PathBuf, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    if uri.path().starts_with("/closed/") && header("authorization") != AUTHORIZATION {
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=estate")]).into_response();
    }
    let mut command = git_command(&root, &["http-backend"]);
    command
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path().trim_start_matches("/closed"))
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        response = match line.split_once(": ").unwrap() {
            ("Status", status) => response.status(&status[..3]),
            (name, value) => response.header(name, value),
        };
    }
    response.body(output[end + 4..].to_vec().into()).unwrap()
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // A client that does not trust us hangs up here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Serves the repositories in `root` over HTTPS and plain HTTP until the test is over, and gives both ports.
async fn serve(root: &Path) -> (u16, u16) {
    let (certificate, key) = (root.join("certificate.pem"), root.join("key.pem"));
    let (certificate_name, key_name) = (certificate.display().to_string(), key.display().to_string());
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=estate",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key_name,
            "-out",
            &certificate_name,
        ],
    );
    let certificates = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let tls = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    let root = root.to_owned();
    let router = axum::Router::new()
        .fallback(move |method, uri, headers, body| http_backend(root.clone(), method, uri, headers, body));
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = (secure.local_addr().unwrap().port(), plain.local_addr().unwrap().port());
    let secure = TlsListener { listener: secure, acceptor: TlsAcceptor::from(std::sync::Arc::new(tls)) };
    tokio::spawn(axum::serve(secure, router.clone()).into_future());
    tokio::spawn(axum::serve(plain, router).into_future());
    ports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_fetches_with_a_token_and_tells_what_keeps_it_out() {
    let origin = Origin::new();
    let pushed = origin.push_file("gitops.toml", "one");
    let (secure, plain) = serve(origin.folder()).await;
    let trusting = |token: Option<&str>| Access {
        token: token.map(|secret| Token::new("ci", secret)),
        ca_file: Some(origin.folder().join("certificate.pem")),
        ..Access::default()
    };
    // The fetches block, on this thread of two; the server answers on the other.
    let fetch = |url: &str, access| tokio::task::block_in_place(|| fetch(&mirror(&origin, url, access)));
    let closed = format!("https://localhost:{secure}/closed/estate.git");
    let open = format!("https://localhost:{secure}/estate.git");
    for (url, access) in [
        (&open, trusting(None)),
        (&closed, trusting(Some("hunter2"))),
        (&format!("http://localhost:{plain}/estate.git"), Access::default()),
    ] {
        assert_eq!(fetch(url, access).unwrap(), Some(pushed.clone()), "{url}");
    }
    let untrusted = fetch(&open, Access::default());
    let no_token = fetch(&closed, trusting(None));
    let missing = fetch(&format!("https://localhost:{secure}/nothing.git"), trusting(None));
    let wrong_token = fetch(&closed, trusting(Some("wrong-secret")));
    assert!(matches!(untrusted, Err(GitError::Unreachable { .. })), "{untrusted:?}");
    assert!(matches!(no_token, Err(GitError::Denied { .. })), "{no_token:?}");
    assert!(matches!(missing, Err(GitError::NoRepository { .. })), "{missing:?}");
    let wrong_token = wrong_token.unwrap_err();
    assert!(matches!(wrong_token, GitError::Denied { .. }), "{wrong_token:?}");
    assert!(!format!("{wrong_token} {wrong_token:?}").contains("wrong-secret"));
}
