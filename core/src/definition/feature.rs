//! `features/*.yaml`: the capabilities of the platform, each with a state.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::offer::Offer;
use super::selector::Selector;
use super::value_path::ValuePath;
use crate::name::FeatureName;
use crate::yaml::Scalar;

/// A feature: a capability of the platform that services use, and what it adds to them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gitops feature")]
pub struct Feature {
    /// The id by which services and controls name it, such as `log.audit`.
    #[schemars(with = "String")]
    pub feature: FeatureName,
    /// What people call it.
    pub name: Option<String>,
    /// How far it is. What each state does is fixed.
    pub state: FeatureState,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The version or date since when it has been there.
    pub since: Option<String>,
    /// The version or date for which a planned one is meant.
    pub target_version: Option<String>,
    /// The feature to use instead of a deprecated or removed one.
    #[schemars(with = "Option<String>")]
    pub replaced_by: Option<FeatureName>,
    /// The date after which a deprecated one goes.
    pub remove_after: Option<String>,
    /// A Compose file, relative to the folder `features/`, that is merged over the Compose model of every service that
    /// uses the feature. Its service `"*"` stands for each service of that model.
    pub overlay: Option<Arc<str>>,
    /// What a node must have for a service that uses the feature to run there.
    #[serde(default)]
    pub needs: Needs,
    /// What in a service or in its Compose model means that the service uses the feature without naming it.
    #[serde(default)]
    pub used_by: Vec<UsedBy>,
    /// Where one reads more about it.
    pub docs: Option<String>,
}

/// What a node must have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// Labels, all of them: `{gpu: "*"}`.
    pub labels: Option<Selector>,
    /// Capabilities, all of them: `gpu@1`.
    pub capabilities: Vec<Offer>,
}

/// A path that means use.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsedBy {
    /// Keys with dots between them, `*` for any one, quotes around a key with a dot of its own. Where its first key is a
    /// field of `service.yaml` it is looked for there, else in the Compose model: `services.*.gpus`, `place.slot`.
    pub path: ValuePath,
    /// What must be there. Default: anything but `false`, nothing or emptiness.
    pub value: Option<Scalar>,
}

/// The five states of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeatureState {
    /// There, and nothing is said about it.
    Implemented,
    /// There, and may change: a service that uses it gets a warning.
    Experimental,
    /// Not there yet: a service that uses it gets a warning.
    Planned,
    /// Goes away: a service that uses it gets a warning that names the replacement and the date.
    Deprecated,
    /// Gone: a service that uses it is an error.
    Removed,
}

impl FeatureState {
    /// All of them, from the one that says nothing on.
    pub const ALL: [Self; 5] =
        [Self::Implemented, Self::Experimental, Self::Planned, Self::Deprecated, Self::Removed];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Implemented => "implemented",
            Self::Experimental => "experimental",
            Self::Planned => "planned",
            Self::Deprecated => "deprecated",
            Self::Removed => "removed",
        }
    }

    /// Whether a service that uses the feature really gets it.
    pub fn is_available(self) -> bool {
        matches!(self, Self::Implemented | Self::Experimental | Self::Deprecated)
    }
}
