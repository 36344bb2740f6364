//! Where a definitions repository is: a local path, `file://`, `ssh://` or `user@host:path`, `https://`.
//!
//! A URL is checked once, here, so that nothing after it can be turned against us: no part of it can be taken for
//! an option by `ssh` or `git`, no transport is reached that runs a command (`ext::…`) or that anyone on the way may
//! change (`git://`, `http://` beyond loopback), and no credential is in it, so that it may be logged and shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a Git repository, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteUrl {
    /// A bare or non-bare repository on this machine, by absolute path.
    Local(PathBuf),
    /// Reached by the `ssh` program.
    Ssh(SshAddress),
    /// Reached by HTTPS, or by plain HTTP on loopback.
    Http(reqwest::Url),
}

/// The parts of an `ssh://` or `user@host:path` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAddress {
    /// The account on the host; that of the SSH configuration where it is `None`.
    pub user: Option<String>,
    /// A host name, an address, or a `Host` of the SSH configuration.
    pub host: String,
    /// The port; that of the SSH configuration where it is `None`.
    pub port: Option<u16>,
    /// The path on the host: absolute, or from the home folder of the account.
    pub path: String,
}

/// Why a text is not the address of a repository. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing was given.
    #[error("the repository's address is empty: give a path, file://, ssh:// or https:// address")]
    Empty,
    /// Would be taken for an option.
    #[error(
        "the repository's address, its host, user or path starts with `-`: write `./-name` for such a path"
    )]
    Dash,
    /// Control characters or more than [`RemoteUrl::MAX_LEN`] bytes.
    #[error(
        "the repository's address holds control characters or is over 4,096 bytes: check how it was written"
    )]
    Unprintable,
    /// A transport that is not offered.
    #[error("this kind of address is not supported: use a path, file://, ssh:// or https://")]
    Scheme,
    /// Plain HTTP to another machine.
    #[error(
        "http:// is only allowed to this machine, since anyone on the way could change a commit: use https://"
    )]
    PlainHttp,
    /// A password or token in the address.
    #[error(
        "the repository's address holds credentials: take them out and give them by the token or SSH key settings"
    )]
    Credentials,
    /// A host that no machine can have.
    #[error("the host of the repository's address is missing or not a host name")]
    Host,
    /// A user name with characters that no account has.
    #[error("the user of the repository's address may only have letters, digits, `.`, `_`, `+` and `-`")]
    User,
    /// Not a number from 1 to 65535.
    #[error("the port of the repository's address is not a number from 1 to 65535")]
    Port,
    /// No path, or one that only a shell would understand.
    #[error("the path of the repository's address is missing or starts with `~`: write it in full")]
    Path,
    /// An HTTPS address with `?` or `#`, or not an address at all.
    #[error("the repository's https:// address is malformed: write https://HOST/PATH, without `?` and `#`")]
    Malformed,
}

impl RemoteUrl {
    /// Longest address that is accepted, in bytes: the longest path that Linux opens.
    pub const MAX_LEN: usize = 4096;

    /// The repository's path, when it is on this machine.
    pub fn local_path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Ssh(_) | Self::Http(_) => None,
        }
    }
}

impl FromStr for RemoteUrl {
    type Err = UrlError;

    /// Reads an address as `git clone` would. A relative path is taken from the current folder.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        refuse_dash(text)?;
        if text.len() > Self::MAX_LEN || text.chars().any(char::is_control) {
            return Err(UrlError::Unprintable);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "file" => local(rest.strip_prefix("localhost").unwrap_or(rest), true),
                "ssh" => ssh_url(rest),
                "https" | "http" => http(text),
                _ => Err(UrlError::Scheme),
            };
        }
        // As Git does: a colon before the first slash makes it `host:path`, and `./a:b` stays a path.
        match text.split_once(':') {
            Some((head, rest)) if !head.contains('/') && !head.starts_with('[') && rest.starts_with(':') => {
                Err(UrlError::Scheme)
            }
            Some((head, _)) if !head.contains('/') => scp_like(text),
            _ => local(text, false),
        }
    }
}

fn refuse_dash(text: &str) -> Result<(), UrlError> {
    if text.starts_with('-') { Err(UrlError::Dash) } else { Ok(()) }
}

fn local(path: &str, absolute_only: bool) -> Result<RemoteUrl, UrlError> {
    if path.starts_with('~') || (absolute_only && !path.starts_with('/')) {
        return Err(UrlError::Path);
    }
    std::path::absolute(path).map(RemoteUrl::Local).map_err(|_| UrlError::Path)
}

/// `[user@]host[:port]/path`, what follows `ssh://`.
fn ssh_url(rest: &str) -> Result<RemoteUrl, UrlError> {
    let (authority, path) = rest.split_once('/').ok_or(UrlError::Path)?;
    // A password has its colon before the `@`, an IPv6 address in brackets; a port can only follow both.
    let start = authority.rfind([']', '@']).map_or(0, |end| end + 1);
    let (host, port) = match authority[start..].rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(start + at);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    };
    let port =
        port.map(|port| port.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)).transpose()?;
    // `ssh://host/~user/x` is how Git writes a path that starts at a home folder.
    if path.starts_with('~') { ssh(host, port, path) } else { ssh(host, port, &format!("/{path}")) }
}

/// `[user@]host:path`, where an IPv6 address stands in brackets.
fn scp_like(text: &str) -> Result<RemoteUrl, UrlError> {
    let after_bracket = if text.contains('[') { text.find(']').map_or(0, |end| end + 1) } else { 0 };
    let (_, path) = text[after_bracket..].split_once(':').ok_or(UrlError::Host)?;
    ssh(&text[..text.len() - path.len() - 1], None, path)
}

fn ssh(host: &str, port: Option<u16>, path: &str) -> Result<RemoteUrl, UrlError> {
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, host),
    };
    if let Some(user) = user {
        refuse_dash(user)?;
        if user.contains(':') {
            return Err(UrlError::Credentials);
        }
        if user.is_empty()
            || !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
        {
            return Err(UrlError::User);
        }
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    refuse_dash(host)?;
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte)) {
        return Err(UrlError::Host);
    }
    // A relative path starts at the home folder anyway.
    let path = path.strip_prefix("~/").unwrap_or(path);
    refuse_dash(path)?;
    if matches!(path, "" | "/" | "~") {
        return Err(UrlError::Path);
    }
    Ok(RemoteUrl::Ssh(SshAddress {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    }))
}

fn http(text: &str) -> Result<RemoteUrl, UrlError> {
    let url: reqwest::Url = text.parse().map_err(|_| UrlError::Malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UrlError::Malformed);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::Host)?;
    if url.scheme() == "http" && !is_loopback(host) {
        return Err(UrlError::PlainHttp);
    }
    if url.path() == "/" {
        return Err(UrlError::Path);
    }
    Ok(RemoteUrl::Http(url))
}

/// Whether a host is this machine: what is sent to it in plain text can be read by nobody on the way.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Ssh(address) => address.fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.path.strip_prefix('/') {
            Some(path) => write!(f, "/{path}"),
            None if self.path.starts_with('~') => write!(f, "/{}", self.path),
            None => write!(f, "/~/{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_git_reads_them_and_shown_in_one_form() {
        for (text, shown) in [
            ("/srv/git/estate.git", "/srv/git/estate.git"),
            ("file:///srv/git/estate.git", "/srv/git/estate.git"),
            ("file://localhost/srv/estate", "/srv/estate"),
            ("/srv/with:colon", "/srv/with:colon"),
            ("git@example.org:team/estate.git", "ssh://git@example.org/~/team/estate.git"),
            ("host:/srv/estate.git", "ssh://host/srv/estate.git"),
            ("ssh://git@example.org:2222/srv/estate.git", "ssh://git@example.org:2222/srv/estate.git"),
            ("ssh://example.org/~git/estate", "ssh://example.org/~git/estate"),
            ("ssh://[::1]:22/estate", "ssh://[::1]:22/estate"),
            ("[::1]:estate", "ssh://[::1]/~/estate"),
            ("https://example.org/team/estate.git", "https://example.org/team/estate.git"),
            ("http://127.0.0.1:3000/estate", "http://127.0.0.1:3000/estate"),
            ("http://[::1]:3000/estate", "http://[::1]:3000/estate"),
            ("http://localhost/estate", "http://localhost/estate"),
        ] {
            assert_eq!(text.parse::<RemoteUrl>().map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_address_shown_reads_back_as_the_same_repository() {
        for text in ["/srv/estate", "ssh://u@h:1/~x/y", "host:/abs", "https://h/p", "ssh://[::1]/p"] {
            let url: RemoteUrl = text.parse().unwrap();
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let url: RemoteUrl = "./a:b".parse().unwrap();
        assert!(url.local_path().unwrap().is_absolute() && url.to_string().ends_with("/a:b"), "{url}");
    }

    #[test]
    fn what_could_run_a_command_leak_a_secret_or_be_tampered_with_is_refused() {
        use UrlError::*;
        for (text, why) in [
            ("", Empty),
            ("--upload-pack=touch x", Dash),
            ("-oProxyCommand=x:estate", Dash),
            ("ssh://-oProxyCommand=x/estate", Dash),
            ("ssh://-l@host/estate", Dash),
            ("git@-oProxyCommand=x:estate", Dash),
            ("host:-path", Dash),
            ("ext::sh -c touch% x", Scheme),
            ("ext://sh", Scheme),
            ("git://example.org/estate", Scheme),
            ("ftp://example.org/estate", Scheme),
            ("http://example.org/estate", PlainHttp),
            ("http://127.0.0.1.example.org/estate", PlainHttp),
            ("https://user:secret@example.org/estate", Credentials),
            ("https://token@example.org/estate", Credentials),
            ("ssh://git:secret@example.org/estate", Credentials),
            ("https://example.org/estate?private_token=x", Malformed),
            ("https://example.org/", Path),
            ("https://", Malformed),
            ("ssh://host", Path),
            ("ssh:///estate", Host),
            ("ssh://host;reboot/estate", Host),
            ("ssh://ho st/estate", Host),
            ("ssh://us er@host/estate", User),
            ("ssh://host:0/estate", Port),
            ("ssh://host:99999/estate", Port),
            ("file://other-host/estate", Path),
            ("~/estate", Path),
            ("/srv/a\nb", Unprintable),
        ] {
            assert_eq!(text.parse::<RemoteUrl>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn the_error_never_repeats_a_password() {
        let error = "https://user:hunter2@example.org/x".parse::<RemoteUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"));
    }
}
