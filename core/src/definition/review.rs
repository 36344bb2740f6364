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
    /// What lets the commit status fail: a change that takes something away (`remove`), replaces containers (`recreate`),
    /// uses one more `capability`, raises the `cost`, or leaves a `control` not met. A change with mistakes always fails.
    pub fail_on: BTreeSet<Gate>,
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

/// Something that an automatic check may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// Something goes, or leaves its volumes behind.
    Remove,
    /// A container is replaced.
    Recreate,
    /// A capability is used that was not used before.
    Capability,
    /// It costs more.
    Cost,
    /// A control is not met any more.
    Control,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Remove, Self::Recreate, Self::Capability, Self::Cost, Self::Control];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Recreate => "recreate",
            Self::Capability => "capability",
            Self::Cost => "cost",
            Self::Control => "control",
        }
    }
}
