//! The forms people write: `gitops.toml` and the YAML files under `nodes/`, `features/`, `controls/` and
//! `services/`.
//!
//! One type per form, and the type is the whole truth about it: the parser, the refusal of unknown fields, the
//! JSON Schema that editors complete from and the field table in `docs/repository-format.md` are all derived from
//! it, doc comments included. A doc comment here is therefore written for the person who writes the file.

mod approvals;
mod control;
mod cron;
mod day;
mod drift;
mod feature;
mod health;
mod hooks;
mod image;
mod length;
mod node;
mod offer;
mod placement;
mod policy;
mod quantity;
mod review;
mod rollout;
pub mod schema;
mod seconds;
mod selector;
mod service;
mod settings;
mod taint;
mod toml_text;
mod value_path;
mod window;
mod written;
mod zone;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use approvals::{Approvals, ReleaseApproval};
pub use control::{Approval, Control, Enforcement, Grant, Level, Rule};
pub use cron::{Cron, CronError};
pub use day::Day;
pub use drift::{Drift, DriftPath, IgnoredDrift};
pub use feature::{Feature, FeatureState, Needs, UsedBy};
pub use health::{Check, CheckName, Health, HttpCheck, HttpPath, Port, Status, TcpCheck, Times};
pub use hooks::{Hook, Hooks};
pub use image::{ImageName, ImageSource, ImageSourceError};
pub use length::Length;
pub use node::{Capacity, Gpu, Node, Slot};
pub use offer::Offer;
pub use placement::{GpuRequest, Placement, Preference, Resources};
pub use policy::{Budget, Capabilities, Environment, Loosened, Policy, Quota};
pub use quantity::{Bytes, Cpu, Money};
pub use review::{Gate, Review, Saying};
pub use rollout::{Amount, Offline, OnFailure, Recreate, Rollout, RolloutStep, Strategy};
pub use seconds::Seconds;
pub use selector::{Pattern, Selector};
pub use service::{ComposeFiles, Ignore, Moved, Override, Service};
pub use settings::{Defaults, Settings};
pub use taint::{Taint, TaintEffect, Toleration};
pub use value_path::{Part, ValuePath, ValuePathError};
pub use window::{Window, WindowKind};
pub use zone::Zone;

/// A definition and the document it came from, so that any of its fields can be found again and pointed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// The file, from the root of the repository.
    pub path: Arc<str>,
    /// Which document of the file, from 0.
    pub document: usize,
    /// The fields that have a mistake, and are left out of `value` or wrong in it. None where the definition is right.
    pub broken: BTreeSet<String>,
}
