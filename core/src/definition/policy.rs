//! What `gitops.toml` asks of all services: policy, quotas, a budget, and the environments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::approvals::Approvals;
use super::control::Enforcement;
use super::image::ImageSource;
use super::quantity::{Bytes, Cpu, Money};
use super::rollout::{Amount, Rollout};
use super::selector::Selector;
use crate::yaml::Scalar;

/// What is asked of every service. An environment may ask for more, never for less.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whether a service may use only features that are there: a planned one is an error then. Default: `false`.
    pub features_must_be_implemented: Option<bool>,
    /// The least that a control weighs when it is not met: `strict`, `advisory` or `informative`.
    pub controls: Option<Enforcement>,
    /// Where images may come from: a registry and the start of a path, such as `ghcr.io/our-team/`. Default: anywhere.
    pub images_from: Option<Vec<ImageSource>>,
    /// Tags that an image must not have, such as `latest`. No tag at all counts as `latest`; of an image that is named
    /// by digest no tag counts.
    pub tags_forbidden: Option<Vec<Arc<str>>>,
    /// Whether every image must be named by digest, as `…@sha256:…`. Default: `false`.
    pub digest_required: Option<bool>,
    /// Ports of the host below this one need the capability `host-port:PORT`. Default: 1024.
    pub host_port_floor: Option<u16>,
    /// Names whose values are never shown, beyond those that speak for themselves such as `DB_PASSWORD`: of environment
    /// variables, labels and settings in files. A `*` at either end stands for anything: `*_LICENSE`.
    pub sensitive: Option<Vec<Arc<str>>>,
}

/// Ports of the host below this one are asked for as a capability, where a policy names no other.
const HOST_PORT_FLOOR: u16 = 1024;

impl Policy {
    /// The first port of the host that needs no capability.
    pub fn host_port_floor(&self) -> u16 {
        self.host_port_floor.unwrap_or(HOST_PORT_FLOOR)
    }

    /// The names of the fields that are given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> + use<> {
        let fields = [
            ("features_must_be_implemented", self.features_must_be_implemented.is_some()),
            ("controls", self.controls.is_some()),
            ("images_from", self.images_from.is_some()),
            ("tags_forbidden", self.tags_forbidden.is_some()),
            ("digest_required", self.digest_required.is_some()),
            ("host_port_floor", self.host_port_floor.is_some()),
            ("sensitive", self.sensitive.is_some()),
        ];
        fields.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field)
    }

    /// What holds where `env` is asked for beyond this: of each field the one that allows less. So an environment never
    /// allows what its repository denies, whatever it says.
    #[must_use]
    pub fn tightened(&self, env: &Self) -> Self {
        Self {
            features_must_be_implemented: both(
                self.features_must_be_implemented,
                env.features_must_be_implemented,
                bool::max,
            ),
            controls: both(self.controls, env.controls, Ord::min),
            images_from: both(self.images_from.clone(), env.images_from.clone(), common_sources),
            tags_forbidden: both(self.tags_forbidden.clone(), env.tags_forbidden.clone(), all_of_both),
            digest_required: both(self.digest_required, env.digest_required, bool::max),
            host_port_floor: env
                .host_port_floor
                .map(|floor| floor.max(self.host_port_floor()))
                .or(self.host_port_floor),
            sensitive: both(self.sensitive.clone(), env.sensitive.clone(), all_of_both),
        }
    }

    /// What `env` would allow although it is denied here: none of it counts, and whoever wrote it thinks it does.
    pub fn loosened_by(&self, env: &Self) -> Vec<Loosened> {
        let truths = [
            (
                Loosened::FeaturesMustBeImplemented,
                self.features_must_be_implemented,
                env.features_must_be_implemented,
            ),
            (Loosened::DigestRequired, self.digest_required, env.digest_required),
        ];
        let untrue = truths.into_iter().filter(|(_, here, env)| (*here, *env) == (Some(true), Some(false)));
        let mut found: Vec<Loosened> = untrue.map(|(field, ..)| field).collect();
        if let (Some(here), Some(there)) = (self.controls, env.controls)
            && there > here
        {
            found.push(Loosened::Controls(here));
        }
        found.extend(self.wider_sources(env));
        if let Some(there) = &env.tags_forbidden {
            let there: BTreeSet<&Arc<str>> = there.iter().collect();
            let missing = self.tags_forbidden.iter().flatten().filter(|tag| !there.contains(tag));
            found.extend(missing.cloned().map(Loosened::TagsForbidden));
        }
        if env.host_port_floor.is_some_and(|floor| floor < self.host_port_floor()) {
            found.push(Loosened::HostPortFloor(self.host_port_floor()));
        }
        found
    }

    fn wider_sources(&self, env: &Self) -> Vec<Loosened> {
        let Some(here) = &self.images_from else { return Vec::new() };
        let allowed = in_full(here);
        let is_wider = |source: &ImageSource| !is_within(source, &allowed);
        let sources = env.images_from.iter().flatten().enumerate();
        sources.filter(|(_, source)| is_wider(source)).map(|(item, _)| Loosened::ImagesFrom(item)).collect()
    }
}

/// A field of an environment's policy that would allow what the repository denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loosened {
    /// `features_must_be_implemented`, which is `true` for all.
    FeaturesMustBeImplemented,
    /// `controls`, which is this for all.
    Controls(Enforcement),
    /// The item of this number in `images_from`, from 0.
    ImagesFrom(usize),
    /// `tags_forbidden`, which names this tag for all.
    TagsForbidden(Arc<str>),
    /// `digest_required`, which is `true` for all.
    DigestRequired,
    /// `host_port_floor`, which is this for all.
    HostPortFloor(u16),
}

impl Loosened {
    /// The field, as it is written.
    pub fn field(&self) -> &'static str {
        match self {
            Self::FeaturesMustBeImplemented => "features_must_be_implemented",
            Self::Controls(_) => "controls",
            Self::ImagesFrom(_) => "images_from",
            Self::TagsForbidden(_) => "tags_forbidden",
            Self::DigestRequired => "digest_required",
            Self::HostPortFloor(_) => "host_port_floor",
        }
    }
}

/// What both ask for, where both ask for something.
fn both<T>(one: Option<T>, other: Option<T>, tighter: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(tighter(one, other)),
        (one, other) => one.or(other),
    }
}

/// Every source of either that the other has too.
fn common_sources(one: Vec<ImageSource>, other: Vec<ImageSource>) -> Vec<ImageSource> {
    let (all_here, all_there) = (in_full(&one), in_full(&other));
    let here = one.iter().filter(|source| is_within(source, &all_there));
    let there = other.iter().filter(|source| is_within(source, &all_here));
    let common: BTreeSet<ImageSource> = here.chain(there).cloned().collect();
    common.into_iter().collect()
}

fn in_full(sources: &[ImageSource]) -> BTreeSet<&str> {
    sources.iter().map(ImageSource::in_full).collect()
}

/// Whether all of a source is in one of these.
fn is_within(source: &ImageSource, sources: &BTreeSet<&str>) -> bool {
    source.around().any(|around| sources.contains(around))
}

fn all_of_both(one: Vec<Arc<str>>, other: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let all: BTreeSet<Arc<str>> = one.into_iter().chain(other).collect();
    all.into_iter().collect()
}

/// What the services of one project may take together.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// How many services.
    pub services: Option<u32>,
    /// Cores.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Graphics processors.
    pub gpus: Option<u32>,
}

/// What everything may cost in a month.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The most that the nodes may cost together.
    pub monthly: Option<Money>,
    /// What amounts are shown in. Default: `EUR`.
    pub currency: Option<Arc<str>>,
    /// Per cent of `monthly` from which on there is a warning. Default: 80.
    pub warn_at: Option<Vec<u32>>,
}

/// Some of the nodes, and what holds for them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Labels of its nodes. A node is in one environment at most.
    pub nodes: Selector,
    /// Its place on the way of a change, from 1: what is promoted goes to the next greater one.
    pub order: Option<u32>,
    /// Values for `${NAME}` in Compose files. Those of a node and of a service go before them, name by name.
    #[serde(default)]
    pub variables: BTreeMap<Arc<str>, Scalar>,
    /// What is asked of services here, beyond what is asked everywhere.
    #[serde(default)]
    pub policy: Policy,
    /// How a release brings services to its nodes, where they do not say so themselves.
    #[serde(default)]
    pub rollout: Rollout,
    /// On how many of its nodes something may be changed at once.
    pub max_parallel: Option<Amount>,
    /// Who says yes to a change here that needs it, field by field.
    #[serde(default)]
    pub approvals: Approvals,
}

/// What happens to a service that uses a capability which it was not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capabilities {
    /// An error.
    #[default]
    Deny,
    /// A warning: while a repository moves in.
    Warn,
}
