//! `controls/*.yaml`: the rules that services must meet.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::approvals::ReleaseApproval;
use super::day::Day;
use super::selector::Selector;
use crate::diagnostic::Severity;
use crate::name::{ControlName, FeatureName, ServiceName};

/// A control: a rule that the services which name it must meet.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gitops control")]
pub struct Control {
    /// The id by which services name it, such as `pci-dss-4.0`.
    #[schemars(with = "String")]
    pub control: ControlName,
    /// What people call it.
    pub name: Option<String>,
    /// Who answers for it: who is asked for a grant or an approval.
    pub owner: Option<String>,
    /// What it weighs when a service does not meet it: `strict` (error), `advisory` (warning), `informative` (recorded).
    pub enforcement: Enforcement,
    /// Features that a service must use, and that must be available.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub requires: Vec<FeatureName>,
    /// Features that are good to use: told, never enforced.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub optional: Vec<FeatureName>,
    /// The version or date since when it has been asked for.
    pub introduced: Option<String>,
    /// Labels of the services that must meet it, whether they name it or not. A service may also name it.
    pub applies_to: Option<Selector>,
    /// Controls that a service which must meet this one must meet, too.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub depends_on: Vec<ControlName>,
    /// What must hold for each instance.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Dangerous powers of Compose that services may use.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Services that need not meet a rule of level `require-approval`.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// Who says yes to each release that changes a service which must meet the control. Without it, nobody is asked.
    pub release_approval: Option<ReleaseApproval>,
}

impl Control {
    /// More rules are refused: each is asked of every instance of every service that must meet the control.
    pub const MAX_RULES: usize = 100;
}

/// A condition on each instance of a service.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called within the control.
    pub id: Arc<str>,
    /// What it weighs when it does not hold.
    pub level: Level,
    /// A condition in CEL over `service`, `compose`, `node`, `instance`, `before` and `after`. It must be true.
    pub expression: Arc<str>,
    /// What is wrong when it is not, in a sentence.
    pub message: String,
    /// What to do then, fit to be pasted.
    pub fix: Option<String>,
}

/// What a rule weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A warning.
    Warn,
    /// An error, until an approval in the control names the service.
    RequireApproval,
    /// An error. Nothing overrides it.
    Deny,
}

impl Level {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::RequireApproval => "require-approval",
            Self::Deny => "deny",
        }
    }
}

/// Dangerous powers of Compose that services may use.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The capabilities by name, with `*` at the end for any ending: `docker-socket`, `bind:/srv/media/*`.
    pub capabilities: Vec<Arc<str>>,
    /// The services that may use them, by name, or `*` for all.
    pub services: Vec<Arc<str>>,
    /// Labels of the nodes where they may. Default: everywhere.
    pub nodes: Option<Selector>,
    /// The last day on which it holds, as `2027-01-31`. Default: it holds on.
    pub until: Option<Day>,
    /// Why.
    pub reason: String,
}

/// A decision that services need not meet a rule.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The id of the rule.
    pub rule: Arc<str>,
    /// The services, by name.
    #[schemars(with = "Vec<String>")]
    pub services: Vec<ServiceName>,
    /// The last day on which it holds, as `2027-01-31`. Default: it holds on.
    pub until: Option<Day>,
    /// Why.
    pub reason: String,
}

/// What a control weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// Not meeting it is an error.
    Strict,
    /// Not meeting it is a warning.
    Advisory,
    /// Not meeting it is recorded.
    Informative,
}

impl Enforcement {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Advisory => "advisory",
            Self::Informative => "informative",
        }
    }

    /// What a finding about an unmet control weighs.
    pub fn severity(self) -> Severity {
        match self {
            Self::Strict => Severity::Error,
            Self::Advisory => Severity::Warning,
            Self::Informative => Severity::Info,
        }
    }
}
