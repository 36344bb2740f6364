//! What a release did, as far as it is kept.
//!
//! A release that touches thousands of services has a document of hundreds of megabytes, which nobody reads and every
//! database would carry for months. So the counts are kept whole, and of the changes only as many, in order, as fit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diff::{Change, ChangeKind, Diff};
use crate::name::ServiceName;

/// Bytes of JSON that the changes of one release may take. The change of one image on a hundred nodes is 20 kB, and with
/// 500 releases this bounds the database to 64 MB of them.
const MAX_BYTES: usize = 128 << 10;

/// The document of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptDiff {
    /// The comparison of what was with what the release asked for.
    pub diff: Diff,
    /// How many changes, the last in its order, are not in it for want of room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changes_left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl KeptDiff {
    /// As much of `diff` as is kept.
    pub fn cut(diff: Diff) -> Self {
        Self::cut_to(diff, MAX_BYTES)
    }

    fn cut_to(mut diff: Diff, max: usize) -> Self {
        let mut bytes = 0;
        let fits = diff.changes.iter().take_while(|change| {
            bytes += size(change);
            bytes <= max
        });
        let kept = fits.count();
        let changes_left_out = diff.changes.len() - kept;
        diff.changes.truncate(kept);
        Self { diff, changes_left_out }
    }

    /// What of it is about `service`.
    pub fn changes_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Change> + 'a {
        self.diff.changes.iter().filter(move |change| change.service == *service)
    }
}

fn size(change: &Change) -> usize {
    serde_json::to_vec(change).expect("a change has no map with keys that are not strings").len()
}

/// How much a release changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Instances that are new.
    pub create: usize,
    /// Instances that change.
    pub update: usize,
    /// Instances that go.
    pub remove: usize,
    /// Instances that stay as they are.
    pub unchanged: usize,
}

impl Counts {
    /// Of all changes of `diff`.
    pub(super) fn of(diff: &Diff) -> Self {
        let number = |kind| diff.changes.iter().filter(|change| change.kind == kind).count();
        Self {
            create: number(ChangeKind::Create),
            update: number(ChangeKind::Update),
            remove: number(ChangeKind::Remove),
            unchanged: diff.unchanged,
        }
    }
}
