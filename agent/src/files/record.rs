//! What the agent remembers of an instance: which files it wrote, and what it last applied with success.
//!
//! It lies outside the folder that containers can mount. Losing it is harmless: files that are no longer named
//! stay, and Compose is asked once more than needed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use gitops_core::name::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Folder;

const NAME: &str = "record.json";

/// Names of files and digests: a thousand files with long paths stay far below it.
const MAX_BYTES: u64 = 64 << 20;

/// The path of the instance's folder from itself.
pub const WHOLE: &str = "";

/// The memory of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Files that the agent wrote, or was about to when it was stopped, relative to the instance's folder.
    pub files: BTreeSet<Arc<str>>,
    /// Folders that it made for them. Kept while the instance lives, even empty: a container may have one mounted,
    /// and would go on seeing the deleted one after another was made under its name.
    pub folders: BTreeSet<Arc<str>>,
    /// What was gone from the instance's folder and had to be made anew, by path; [`WHOLE`] for the folder itself.
    /// Until it was looked at which containers run since before.
    pub renewed: BTreeSet<Arc<str>>,
    /// Those containers, by id, each with what was made anew under it: if it mounts that, it sees what is gone,
    /// whatever lies in its place by now. Containers that were made since are not among them. Until the instance was
    /// applied with success.
    pub outlived: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Some file was changed, and nothing was applied with success since.
    pub pending: bool,
    /// What ran once the changed files were all in place, and has read the old ones: containers by id, with when each
    /// was started. Start times are compared with each other and with no clock, as clocks jump. None until it was
    /// looked at.
    pub ran: Option<BTreeMap<Arc<str>, Timestamp>>,
    /// What was last applied with success: a digest of all that Compose itself reads.
    pub applied: Option<Digest>,
    /// The same, by Compose service.
    pub services: BTreeMap<Arc<str>, Applied>,
}

/// What was last applied of one Compose service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Of its part of the model, without our labels.
    pub model: Digest,
    /// Of the files that it mounts or reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

impl Record {
    /// Reads it from the instance's state folder. One that is missing or cannot be parsed is an empty one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn load(state: &Folder) -> io::Result<Self> {
        let Some(bytes) = state.read(NAME, MAX_BYTES)? else { return Ok(Self::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            let path = state.path().join(NAME);
            tracing::warn!(path = %path.display(), %error, "the record of an instance is damaged and starts anew");
            Self::default()
        }))
    }

    /// Writes it there, durable when it returns.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn save(&self, state: &Folder) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).expect("a record has no map with keys that are not strings");
        state.replace(NAME, &bytes, 0o600)
    }

    /// Forgets it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn delete(state: &Folder) -> io::Result<()> {
        state.delete_file(NAME)
    }
}
