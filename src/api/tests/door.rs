//! The way in: where plain HTTP is served, TLS, and how many may come.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::api::listen::{ListenError, tls};

fn certificate() -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    (cert.pem(), signing_key.serialize_pem())
}

#[tokio::test]
async fn beyond_loopback_there_is_a_certificate_or_no_daemon() {
    let outside = || async { TcpListener::bind("0.0.0.0:0").await.expect("a port") };
    let refused = Door::new(outside().await, None, 1).err().expect("refused");
    assert!(matches!(refused, ListenError::PlainOutside(_)), "{refused}");
    assert!(refused.to_string().contains("tls_cert"), "{refused}");
    let (cert, key) = certificate();
    let tls = tls(cert.as_bytes(), key.as_bytes()).expect("fits");
    assert!(Door::new(outside().await, Some(tls), 1).is_ok());
}

#[tokio::test]
async fn https_is_served_with_http_2_and_with_http_1() {
    let (cert, key) = certificate();
    let tls = tls(cert.as_bytes(), key.as_bytes()).expect("fits");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusting = || {
        let root = Certificate::from_pem(cert.as_bytes()).expect("PEM");
        reqwest::Client::builder().tls_certs_only([root])
    };
    let api = Api::start_with(trusting(), "https", Some(tls), 100).await;
    let response = send(api.get("/v1/status", &api.operator)).await;
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));

    let old = trusting().http1_only().no_proxy().build().expect("a client");
    let response = send(old.get(format!("{}/healthz", api.base))).await;
    assert_eq!((response.status().as_u16(), response.version()), (204, Version::HTTP_11));

    let distrusting = reqwest::Client::builder().no_proxy().build().expect("a client");
    assert!(distrusting.get(format!("{}/healthz", api.base)).send().await.is_err());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let (cert, key) = certificate();
    let (_, other_key) = certificate();
    for (cert, key, expected) in [
        ("", &*key, "there is no PEM certificate"),
        ("no PEM", &*key, "there is no PEM certificate"),
        (&*cert, "no PEM", "private key"),
        (&*cert, &*other_key, "certificate"),
    ] {
        let error = tls(cert.as_bytes(), key.as_bytes()).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let api = Api::start_with(reqwest::Client::builder(), "http", None, 1).await;
    let address = api.base.trim_start_matches("http://").to_owned();
    let mut first = TcpStream::connect(&address).await.expect("accepted");
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 204");

    let mut second = TcpStream::connect(&address).await.expect("in the backlog");
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let early = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(early.is_err(), "answered beyond the limit");
    drop(first);
    tokio::time::timeout(PATIENCE, second.read_exact(&mut answer)).await.expect("in time").expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 204");
}
