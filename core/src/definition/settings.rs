//! `gitops.toml`: what holds for the whole repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::approvals::Approvals;
use super::drift::Drift;
use super::health::Health;
use super::policy::{Budget, Capabilities, Environment, Policy, Quota};
use super::review::Review;
use super::rollout::{Amount, Rollout};
use super::toml_text;
use super::window::Window;
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{ControlName, EnvironmentName, FeatureName};
use crate::plan::{OnFileChange, RunState};
use crate::yaml::{Scalar, Step};

/// The settings of a definitions repository.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gitops settings")]
pub struct Settings {
    /// The version of the repository format. This program knows 1.
    pub format: u32,
    /// What this estate is called.
    pub name: String,
    /// Values for fields that a service does not give.
    #[serde(default)]
    pub defaults: Defaults,
    /// What happens to a service that uses a capability which it was not granted: `deny` or, while a repository moves
    /// in, `warn`. Default: `deny`.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What is asked of every service.
    #[serde(default)]
    pub policy: Policy,
    /// How a release brings services to their nodes, where neither they nor their environment say so.
    #[serde(default)]
    pub rollout: Rollout,
    /// On how many nodes of an environment something may be changed at once: a number, or a part such as `25%`. Default:
    /// `100`.
    pub max_parallel: Option<Amount>,
    /// Who says yes to a change that needs it.
    #[serde(default)]
    pub approvals: Approvals,
    /// What the services of a project may take together, by the value of their label `project`; `"*"` stands for every
    /// project that is not named.
    #[serde(default)]
    pub quota: BTreeMap<Arc<str>, Quota>,
    /// What everything may cost in a month.
    #[serde(default)]
    pub budget: Budget,
    /// How a pull request is reviewed. What counts is what the main branch says, not the branch under review.
    #[serde(default)]
    pub review: Review,
    /// Some of the nodes each, and what holds for them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Environment>")]
    pub environments: BTreeMap<EnvironmentName, Environment>,
    /// When changes may begin, and when not.
    #[serde(default)]
    pub window: Vec<Window>,
}

impl Settings {
    /// What stands for a `gitops.toml` that cannot be read.
    pub fn empty() -> Self {
        Self {
            format: Self::FORMAT,
            name: String::new(),
            defaults: Defaults::default(),
            capabilities: Capabilities::default(),
            policy: Policy::default(),
            rollout: Rollout::default(),
            max_parallel: None,
            approvals: Approvals::default(),
            quota: BTreeMap::new(),
            budget: Budget::default(),
            review: Review::default(),
            environments: BTreeMap::new(),
            window: Vec::new(),
        }
    }

    /// The repository format that this program knows.
    pub const FORMAT: u32 = 1;

    /// Reads `gitops.toml`.
    ///
    /// # Errors
    ///
    /// Every mistake in it.
    pub fn parse(path: &Arc<str>, content: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        toml_text::decode(path, content)
    }

    /// Where each of these values of `gitops.toml` stands, or else the nearest thing around it that exists.
    pub fn places(path: &Arc<str>, content: &[u8], fields: &[&[Step<'_>]]) -> Vec<Place> {
        toml_text::places(path, content, fields)
    }
}

/// Fields of a service, for every service that does not give them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// `running` or `stopped`.
    pub state: Option<RunState>,
    /// Values for `${NAME}` in Compose files. Those of a node and of a service go before them, name by name.
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// The features that a service uses.
    #[schemars(with = "Option<Vec<String>>")]
    pub features: Option<Vec<FeatureName>>,
    /// The controls that a service must meet.
    #[schemars(with = "Option<Vec<String>>")]
    pub controls: Option<Vec<ControlName>>,
    /// When an instance counts as healthy, field by field.
    pub health: Health,
    /// What is done where others change containers, field by field.
    pub drift: Drift,
    /// What happens to a container when nothing but a file that it mounts changes.
    pub on_file_change: Option<OnFileChange>,
    /// The Compose profiles that are active.
    pub profiles: Option<Vec<Arc<str>>>,
}
