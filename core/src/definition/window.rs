//! `[[window]]` of `gitops.toml`: when changes may begin, and when not.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::cron::Cron;
use super::length::Length;
use super::selector::Selector;
use super::zone::Zone;
use crate::name::{EnvironmentName, ServiceName};

/// Times in which changes may begin, or may not. It concerns what all of its selectors fit; without any, everything.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// What it is called where something waits for it.
    pub name: Arc<str>,
    /// `allow`: what it concerns changes within such windows only; `deny`: it does not change within this one, whatever is
    /// allowed.
    pub kind: WindowKind,
    /// When it opens, in the five fields of cron: minute, hour, day of the month, month, day of the week. `0 22 * * 1-5` is
    /// ten in the evening from Monday to Friday.
    pub cron: Cron,
    /// How long it stays open each time: `8h`, `2d`.
    pub duration: Length,
    /// The time zone whose clock opens it, such as `Europe/Berlin`. A time that the clock shows twice in a night opens it
    /// twice; one that it leaves out, as much later. Default: `UTC`.
    pub timezone: Option<Zone>,
    /// The services that it concerns.
    #[schemars(with = "Option<Vec<String>>")]
    pub services: Option<Vec<ServiceName>>,
    /// The environments whose nodes it concerns.
    #[schemars(with = "Option<Vec<String>>")]
    pub environments: Option<Vec<EnvironmentName>>,
    /// Labels of the nodes that it concerns.
    pub nodes: Option<Selector>,
    /// Labels of the services that it concerns.
    pub labels: Option<Selector>,
    /// Why: it is told where something waits for it.
    pub reason: Arc<str>,
}

impl Window {
    /// More are refused: each is looked at in every pass.
    pub const MAX: usize = 100;
}

/// Whether changes may begin in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}
