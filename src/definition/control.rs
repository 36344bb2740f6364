//! `controls/*.yaml`: the rules that services must meet.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::diagnostic::Severity;
use crate::name::{ControlName, FeatureName};

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
