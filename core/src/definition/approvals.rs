//! `[approvals]` of `gitops.toml`, and what a control asks of releases: who says yes to a change that needs it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::health::Times;
use super::length::Length;
use crate::name::RoleName;

/// Who says yes to a change that needs it, where nothing else is said. Whoever wrote a change does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approvals {
    /// How many people. Default: 1.
    pub count: Option<Times>,
    /// Roles of which each of them must have one. Default: anybody may.
    #[schemars(with = "Option<Vec<String>>")]
    pub roles: Option<Vec<RoleName>>,
    /// How long they are waited for; then it is told that none came. Default: for ever.
    pub timeout: Option<Length>,
}

impl Approvals {
    /// What is given here, and else what `base` gives.
    #[must_use]
    pub fn or(self, base: &Self) -> Self {
        Self {
            count: self.count.or(base.count),
            roles: self.roles.or_else(|| base.roles.clone()),
            timeout: self.timeout.or(base.timeout),
        }
    }
}

/// Who says yes to each release that changes a service which must meet a control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseApproval {
    /// How many people. Default: 1.
    pub count: Option<Times>,
    /// Roles of which each of them must have one. Default: anybody may.
    #[schemars(with = "Option<Vec<String>>")]
    pub roles: Option<Vec<RoleName>>,
}
