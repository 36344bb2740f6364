//! `[review]` of `gitops.toml`: what a review of a change says, and what it lets fail.
//!
//! It is read from the main branch: a change cannot loosen the review that it is under.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a pull request is reviewed. What counts is what the main branch says, not the branch under review.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Review {
    /// When a comment is made: `always`, when there are `changes`, warnings or mistakes, or `never`. Default: `always`.
    pub comment: Saying,
    /// What lets the commit status fail: a change that does one of `remove`, `recreate`, `capability` (one more is used)
    /// and `cost` (more than before). A change with mistakes always fails.
    pub fail_on: BTreeSet<FailOn>,
}

/// When a comment is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Saying {
    /// On every pull request.
    #[default]
    Always,
    /// Where there is something to look at.
    Changes,
    /// Never.
    Never,
}

/// What a change may do that people want to be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    /// An instance goes.
    Remove,
    /// A container is replaced by a new one.
    Recreate,
    /// A dangerous power of Compose is used that was not used before.
    Capability,
    /// More is paid for.
    Cost,
}

impl FailOn {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Recreate => "recreate",
            Self::Capability => "capability",
            Self::Cost => "cost",
        }
    }
}
