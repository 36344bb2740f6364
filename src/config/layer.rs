//! Settings from flags, environment and file, in one way for every program.
//!
//! A program writes its settings once, as a struct of `Option`s that is both clap's arguments and serde's document.
//! From that one table come the flag `--state-dir`, the variable `GITOPS_STATE_DIR` and the key `state_dir`. Flags go
//! before variables, variables before the file, the file before the defaults, setting by setting.
//!
//! **Invariant:** a settings struct holds no secret, only the path of the file with it; [`secret`] reads that file, or
//! the variable without `_FILE`. So a secret is never an argument, and a dump of the settings shows none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{ArgMatches, Args, Command};
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::token::Secret;

/// What each variable begins with.
const PREFIX: &str = "GITOPS_";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}, named by {by}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The setting, flag or variable that names it.
        by: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file has a mistake; the text shows the line.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the line and a caret.
        why: String,
    },
    /// A variable has a value that the setting does not take.
    #[error("{variable} in the environment: {why}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting is missing, or does not fit another.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process. A variable that is set to nothing counts as not set.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// This variable.
    Variable(String),
    /// This file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Settings as typed in, from all layers, and where each comes from.
#[derive(Clone, Debug)]
pub struct Layered<S> {
    /// The settings.
    pub settings: S,
    /// By key. What is not in it was not set.
    pub origins: BTreeMap<String, Origin>,
}

/// Puts the layers together. The variable of a setting is its key in capitals after `GITOPS_`.
///
/// # Errors
///
/// If the file cannot be read, has unknown keys or values of the wrong type, or a variable has.
pub fn layered<S>(flags: &S, env: Env<'_>, file: Option<(&Path, &str)>) -> Result<Layered<S>, ConfigError>
where
    S: Args + Serialize + DeserializeOwned,
{
    let mut merged = toml::Table::new();
    let mut origins = BTreeMap::new();
    let mut lay = |table: toml::Table, origin: Origin| {
        origins.extend(table.keys().map(|key| (key.clone(), origin.clone())));
        merged.extend(table);
    };
    if let Some((path, by)) = file {
        lay(table(&read_file::<S>(path, by)?), Origin::File(path.to_owned()));
    }
    for (variable, settings) in from_env::<S>(env)? {
        lay(table(&settings), Origin::Variable(variable));
    }
    lay(table(flags), Origin::Flag);
    let settings =
        merged.try_into().map_err(|error: toml::de::Error| ConfigError::Invalid(error.to_string()))?;
    Ok(Layered { settings, origins })
}

/// What is set, by key: `None` has no entry.
fn table<S: Serialize>(settings: &S) -> toml::Table {
    toml::Table::try_from(settings).expect("settings are options of texts, numbers and paths")
}

fn read_file<S: DeserializeOwned>(path: &Path, by: &str) -> Result<S, ConfigError> {
    let text = read(path, by)?;
    toml::from_str(&text).map_err(|error| ConfigError::File { path: path.into(), why: error.to_string() })
}

fn read(path: &Path, by: &str) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.into(), by: by.to_owned(), source };
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Each variable that is set, parsed by the rule of its flag.
fn from_env<S: Args>(env: Env<'_>) -> Result<Vec<(String, S)>, ConfigError> {
    let command = S::augment_args(Command::new("settings").no_binary_name(true));
    let mut found = Vec::new();
    for argument in command.get_arguments() {
        let (Some(flag), key) = (argument.get_long(), argument.get_id().as_str()) else { continue };
        let variable = format!("{PREFIX}{}", key.to_ascii_uppercase());
        let Some(value) = env(&variable) else { continue };
        let mut typed = OsString::from(format!("--{flag}="));
        typed.push(value);
        let parsed = command.clone().try_get_matches_from([typed]);
        let settings = parsed.and_then(|matches: ArgMatches| S::from_arg_matches(&matches));
        let settings = settings
            .map_err(|error| ConfigError::Variable { variable: variable.clone(), why: why(&error) })?;
        found.push((variable, settings));
    }
    Ok(found)
}

/// The first line of what clap says, which is the sentence.
fn why(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The secret behind the setting `<key>_file`: the content of that file, or the variable `GITOPS_<KEY>`, without the
/// white space around it. The two together are a mistake, since one of them would be ignored.
///
/// # Errors
///
/// If both are set, the file cannot be read, or the secret is empty or not text.
pub fn secret(key: &str, file: Option<&Path>, env: Env<'_>) -> Result<Option<Secret>, ConfigError> {
    let variable = format!("{PREFIX}{}", key.to_ascii_uppercase());
    let by = format!("`{key}_file`");
    let text = match (file, env(&variable)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(ConfigError::Invalid(format!("both {by} and {variable} are set: keep one of them")));
        }
        (Some(path), None) => read(path, &by)?,
        (None, Some(value)) => {
            let not_text =
                |_| ConfigError::Variable { variable: variable.clone(), why: "it is not UTF-8".to_owned() };
            value.into_string().map_err(not_text)?
        }
    };
    match text.trim() {
        "" => Err(ConfigError::Invalid(format!("the secret of {by} or {variable} is empty"))),
        text => Ok(Some(Secret::presented(text))),
    }
}

/// A span of time as people write it: `30s`, `5m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub SignedDuration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Result<SignedDuration, _> = text.trim().parse();
        match span {
            Ok(span) if span.is_positive() => Ok(Self(span)),
            _ => Err("write a span of time such as `30s`, `5m` or `1h 30m`".to_owned()),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
