//! Where pull requests are reviewed: all of it is set, or none.

use std::sync::Arc;

use reqwest::Url;

use super::ControlSettings;
use super::layer::{ConfigError, Env, secret};
use crate::forge::Kind;
use crate::git::is_loopback;
use crate::store::token::Secret;

/// What the status that tells how a release goes is called if nothing else is said.
const DEPLOY: &str = "gitops/deploy";

/// A repository of a forge.
#[derive(Clone, Debug)]
pub struct ForgeConfig {
    /// What kind of forge.
    pub kind: Kind,
    /// The address of its API.
    pub url: Url,
    /// The repository there.
    pub repository: String,
    /// What opens it.
    pub token: Secret,
    /// What the status of a commit is called that tells how its release goes.
    pub context: Arc<str>,
}

/// The forge of the settings, if they name one.
pub(super) fn resolve(settings: &ControlSettings, env: Env<'_>) -> Result<Option<ForgeConfig>, ConfigError> {
    let Some(kind) = settings.forge else { return without(settings) };
    let url = url(kind, settings.forge_url.as_deref())?;
    let missing = |what: &str| ConfigError::Invalid(format!("`forge` is set and {what}"));
    let repository = settings.forge_repository.clone();
    let token = secret("forge_token", settings.forge_token_file.as_deref(), env)?;
    Ok(Some(ForgeConfig {
        kind,
        url,
        repository: repository
            .ok_or_else(|| missing("`forge_repository` is not: name the repository as OWNER/NAME"))?,
        token: token
            .ok_or_else(|| missing("its token is not: set `forge_token_file` or GITOPS_FORGE_TOKEN"))?,
        context: settings.forge_context.as_deref().unwrap_or(DEPLOY).into(),
    }))
}

/// A setting that would do nothing is a mistake.
fn without(settings: &ControlSettings) -> Result<Option<ForgeConfig>, ConfigError> {
    let ControlSettings { forge_url, forge_repository, forge_token_file, forge_context, .. } = settings;
    let set = [
        ("forge_url", forge_url.is_some()),
        ("forge_repository", forge_repository.is_some()),
        ("forge_token_file", forge_token_file.is_some()),
        ("forge_context", forge_context.is_some()),
    ];
    match set.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(ConfigError::Invalid(format!(
            "`{key}` is set without `forge`: set it to github, gitlab, gitea or forgejo"
        ))),
        None => Ok(None),
    }
}

fn url(kind: Kind, typed: Option<&str>) -> Result<Url, ConfigError> {
    let invalid = |why: &str| ConfigError::Invalid(why.to_owned());
    let text = match (typed, kind) {
        (Some(text), _) => text,
        (None, Kind::Github) => "https://api.github.com",
        (None, Kind::Gitlab) => "https://gitlab.com/api/v4",
        (None, Kind::Gitea | Kind::Forgejo) => {
            return Err(invalid(
                "`forge` is set and `forge_url` is not: set it, such as https://git.example/api/v1",
            ));
        }
    };
    let url: Url =
        text.parse().map_err(|_| invalid("`forge_url` is no URL: write it as https://git.example/api/v1"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "`forge_url` holds a user name or password: put the token into `forge_token_file`",
        ));
    }
    let is_private =
        url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
    if !is_private {
        return Err(invalid("`forge_url` would send the token in the clear: begin it with https://"));
    }
    Ok(url)
}
