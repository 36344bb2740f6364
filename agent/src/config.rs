//! Settings: as typed in on the command line, in the environment and in `agent.toml`, and as resolved, once.
//!
//! A flag wins over the environment, that over the file, that over the default. The first two are one for us: clap
//! reads the environment where a flag is missing.

pub mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use gitops_core::name::NodeName;
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// The settings file that is read where none is named, if it is there.
const DEFAULT_FILE: &str = "/etc/gitops/agent.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/gitops-agent";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be understood.
    #[error("the settings file {} has a mistake", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: toml::de::Error,
    },
    /// A setting that has no default.
    #[error("`{name}` is not set: give --{flag}, {env}, or `{name}` in {DEFAULT_FILE}")]
    Missing {
        /// In the file.
        name: &'static str,
        /// On the command line.
        flag: &'static str,
        /// In the environment.
        env: &'static str,
    },
    /// A setting that makes no sense.
    #[error("`{name}` cannot be {value}: {rule}")]
    Invalid {
        /// In the file.
        name: &'static str,
        /// As it was given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

/// Settings as typed in; each may come from any source.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Typed {
    /// Read settings from this file [default: /etc/gitops/agent.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "GITOPS_AGENT_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Keep the accepted plan and the instances' files here [default: /var/lib/gitops-agent]
    #[arg(long, global = true, value_name = "DIR", env = "GITOPS_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Pull plans from the daemon at this address, such as https://control.example
    #[arg(long, global = true, value_name = "URL", env = "GITOPS_AGENT_SERVER")]
    pub server: Option<String>,

    /// Apply the plan of this node
    #[arg(long, global = true, value_name = "NAME", env = "GITOPS_AGENT_NODE")]
    pub node: Option<NodeName>,

    /// Read this node's token from a file; `gitops node token NODE` makes one
    #[arg(long, global = true, value_name = "FILE", env = "GITOPS_AGENT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Trust the certificate authorities in this PEM file beside those of the system
    #[arg(long, global = true, value_name = "FILE", env = "GITOPS_AGENT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Use the Docker engine at this socket [default: /var/run/docker.sock]
    #[arg(long, global = true, value_name = "SOCKET", env = "GITOPS_AGENT_DOCKER")]
    pub docker: Option<String>,

    /// Apply at most this many steps at once [default: 4]
    #[arg(long, global = true, value_name = "N", env = "GITOPS_AGENT_CONCURRENCY")]
    pub concurrency: Option<usize>,

    /// Let a container without a health check run this long before it counts as healthy [default: 3]
    #[arg(long, global = true, value_name = "SECONDS", env = "GITOPS_AGENT_SETTLE_SECONDS")]
    pub settle_seconds: Option<u32>,

    /// Look at Docker this often when nothing happens [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", env = "GITOPS_AGENT_OBSERVE_SECONDS")]
    pub observe_seconds: Option<u32>,

    /// Give one call of Docker Compose this long, pulls included [default: 1800]
    #[arg(long, global = true, value_name = "SECONDS", env = "GITOPS_AGENT_COMPOSE_SECONDS")]
    pub compose_seconds: Option<u32>,
}

/// What a running agent needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder.
    pub state_dir: PathBuf,
    /// Where the daemon is.
    pub server: Url,
    /// Which node this is.
    pub node: NodeName,
    /// The file with the token.
    pub token_file: PathBuf,
    /// A certificate authority of one's own.
    pub ca_file: Option<PathBuf>,
    /// The engine's socket.
    pub socket: PathBuf,
    /// Steps at once.
    pub concurrency: usize,
    /// Settle time.
    pub settle: Duration,
    /// Between looks at Docker.
    pub observe_every: Duration,
    /// For one call of Compose.
    pub compose_within: Duration,
    /// What programs that the agent starts see.
    pub surroundings: Surroundings,
}

/// What the environment says of programs; read here and nowhere else.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `PATH`.
    pub path: OsString,
    /// `HOME`.
    pub home: PathBuf,
    /// `DOCKER_CONFIG`.
    pub docker_config: Option<PathBuf>,
}

impl Surroundings {
    /// Of this process.
    #[expect(clippy::disallowed_methods, reason = "settings are resolved here")]
    pub fn of_process() -> Self {
        use std::env::var_os;
        Self {
            path: var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            home: var_os("HOME").unwrap_or_else(|| "/root".into()).into(),
            docker_config: var_os("DOCKER_CONFIG").map(PathBuf::from),
        }
    }
}

impl Typed {
    /// Fills in from the settings file what neither flag nor environment gave.
    ///
    /// # Errors
    ///
    /// Where the file that was named cannot be read, or has a mistake.
    pub fn with_file(self) -> Result<Self, ConfigError> {
        let path = self.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.config.is_none() => {
                return Ok(self);
            }
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let file = toml::from_str(&text).map_err(|source| ConfigError::Parse { path, source })?;
        Ok(self.or(file))
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            state_dir: self.state_dir.or(file.state_dir),
            server: self.server.or(file.server),
            node: self.node.or(file.node),
            token_file: self.token_file.or(file.token_file),
            ca_file: self.ca_file.or(file.ca_file),
            docker: self.docker.or(file.docker),
            concurrency: self.concurrency.or(file.concurrency),
            settle_seconds: self.settle_seconds.or(file.settle_seconds),
            observe_seconds: self.observe_seconds.or(file.observe_seconds),
            compose_seconds: self.compose_seconds.or(file.compose_seconds),
        }
    }

    /// The state folder: all that `status` and `plan` need.
    pub fn state_dir(&self) -> &Path {
        self.state_dir.as_deref().unwrap_or(Path::new(DEFAULT_STATE_DIR))
    }

    /// Checks everything that `run` needs.
    ///
    /// # Errors
    ///
    /// The first setting that is missing or makes no sense.
    pub fn resolve(self, surroundings: Surroundings) -> Result<Config, ConfigError> {
        let missing = |name, flag, env| ConfigError::Missing { name, flag, env };
        Ok(Config {
            state_dir: self.state_dir().to_owned(),
            server: address(self.server.ok_or(missing("server", "server", "GITOPS_AGENT_SERVER"))?)?,
            node: self.node.ok_or(missing("node", "node", "GITOPS_AGENT_NODE"))?,
            token_file: self.token_file.ok_or(missing(
                "token_file",
                "token-file",
                "GITOPS_AGENT_TOKEN_FILE",
            ))?,
            ca_file: self.ca_file,
            socket: socket(self.docker.as_deref().unwrap_or(DEFAULT_SOCKET))?,
            concurrency: within("concurrency", self.concurrency.unwrap_or(4), 1..=64, "it is 1 to 64")?,
            settle: seconds("settle_seconds", self.settle_seconds.unwrap_or(3), 0..=600, "it is 0 to 600")?,
            observe_every: seconds(
                "observe_seconds",
                self.observe_seconds.unwrap_or(10),
                1..=600,
                "it is 1 to 600",
            )?,
            compose_within: seconds(
                "compose_seconds",
                self.compose_seconds.unwrap_or(1800),
                10..=86_400,
                "it is 10 to 86400",
            )?,
            surroundings,
        })
    }
}

fn within<T: PartialOrd + ToString>(
    name: &'static str,
    value: T,
    range: std::ops::RangeInclusive<T>,
    rule: &'static str,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::Invalid { name, value: value.to_string(), rule })
    }
}

fn seconds(
    name: &'static str,
    value: u32,
    range: std::ops::RangeInclusive<u32>,
    rule: &'static str,
) -> Result<Duration, ConfigError> {
    within(name, value, range, rule).map(|value| Duration::from_secs(value.into()))
}

fn address(text: String) -> Result<Url, ConfigError> {
    let rule = "it is the address of the daemon, such as https://control.example";
    Url::parse(&text).map_err(|_| ConfigError::Invalid { name: "server", value: text, rule })
}

/// A path, or the same as `DOCKER_HOST` writes it.
fn socket(text: &str) -> Result<PathBuf, ConfigError> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        let rule = "the agent uses a local engine, by the absolute path of its socket";
        Err(ConfigError::Invalid { name: "docker", value: text.to_owned(), rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings { path: "/bin".into(), home: "/home/a".into(), docker_config: None }
    }

    fn complete() -> Typed {
        Typed {
            server: Some("https://control.example".into()),
            node: Some("edge-1".parse().unwrap()),
            token_file: Some("/t".into()),
            ..Typed::default()
        }
    }

    #[test]
    fn what_is_typed_wins_over_the_file_and_the_file_over_the_default() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("agent.toml");
        std::fs::write(&path, "node = \"edge-2\"\nconcurrency = 2\ndocker = \"unix:///run/d.sock\"\n")
            .unwrap();
        let typed = Typed { config: Some(path), ..complete() };
        let config = typed.with_file().unwrap().resolve(surroundings()).unwrap();
        assert_eq!((config.node.as_str(), config.concurrency), ("edge-1", 2));
        assert_eq!(config.socket, Path::new("/run/d.sock"));
        assert_eq!(
            (config.settle, config.state_dir.as_path()),
            (Duration::from_secs(3), Path::new(DEFAULT_STATE_DIR))
        );
    }

    #[test]
    fn mistakes_say_what_to_do() {
        fn check(change: impl FnOnce(&mut Typed), expected: &str) {
            let mut typed = complete();
            change(&mut typed);
            let error = typed.resolve(surroundings()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(
            |typed| typed.node = None,
            "give --node, GITOPS_AGENT_NODE, or `node` in /etc/gitops/agent.toml",
        );
        check(|typed| typed.server = Some("control".into()), "such as https://control.example");
        check(|typed| typed.token_file = None, "--token-file");
        check(|typed| typed.concurrency = Some(0), "`concurrency` cannot be 0: it is 1 to 64");
        check(|typed| typed.docker = Some("tcp://host:2375".into()), "absolute path of its socket");
    }

    #[test]
    fn an_unknown_setting_and_a_missing_file_are_mistakes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("agent.toml");
        let typed = Typed { config: Some(path.clone()), ..complete() };
        assert!(matches!(typed.clone().with_file(), Err(ConfigError::Read { .. })));
        std::fs::write(&path, "serverr = \"https://a\"\n").unwrap();
        assert!(matches!(typed.with_file(), Err(ConfigError::Parse { .. })));
    }
}
