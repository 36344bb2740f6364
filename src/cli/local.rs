//! The daemon of this machine: where it listens and where its token lies, by the variables that it is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use reqwest::Url;

use super::error::CliError;
use crate::config::layer::Env;
use crate::config::{DEFAULT_LISTEN, DEFAULT_STATE_DIR};
use crate::daemon::operator_token;

/// The operator's token in the state folder.
pub(super) fn token_file(env: Env<'_>) -> PathBuf {
    let folder = env("GITOPS_STATE_DIR").map_or(DEFAULT_STATE_DIR.into(), PathBuf::from);
    folder.join(operator_token::FILE)
}

/// An address that a daemon on this machine answers at.
pub(super) fn url(env: Env<'_>) -> Result<Url, CliError> {
    let listen = match env("GITOPS_LISTEN") {
        None => DEFAULT_LISTEN,
        Some(text) => parse(&text.to_string_lossy())?,
    };
    let scheme = if env("GITOPS_TLS_CERT").is_some() { "https" } else { "http" };
    let text = format!("{scheme}://{}", reachable(listen));
    Ok(Url::parse(&text).expect("a scheme and a socket address are a URL"))
}

fn parse(text: &str) -> Result<SocketAddr, CliError> {
    text.parse().map_err(|_| {
        CliError::new(format!("GITOPS_LISTEN is `{text}`, which is no address such as 127.0.0.1:8470"))
            .hint("--url and GITOPS_URL say where the daemon is")
    })
}

/// Who listens on all addresses is reached at one of them.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_daemon_is_where_its_own_variables_say() {
        let check = |variables: &[(&str, &str)], expected_url: &str, expected_file: &str| {
            let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
            let env = |name: &str| value(name).map(OsString::from);
            assert_eq!(url(&env).expect("an address").as_str(), expected_url);
            assert_eq!(token_file(&env), Path::new(expected_file));
        };
        check(&[], "http://127.0.0.1:8470/", "/var/lib/gitops/operator.token");
        check(
            &[("GITOPS_STATE_DIR", "/s"), ("GITOPS_LISTEN", "127.0.0.1:7")],
            "http://127.0.0.1:7/",
            "/s/operator.token",
        );
        check(
            &[("GITOPS_LISTEN", "0.0.0.0:7"), ("GITOPS_TLS_CERT", "/c")],
            "https://127.0.0.1:7/",
            "/var/lib/gitops/operator.token",
        );
        check(&[("GITOPS_LISTEN", "[::]:7")], "http://[::1]:7/", "/var/lib/gitops/operator.token");
        assert!(url(&|name| (name == "GITOPS_LISTEN").then(|| "here".into())).is_err());
    }
}
