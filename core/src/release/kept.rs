//! What a release did, as far as it is kept.
//!
//! A release that touches thousands of services has a document of hundreds of megabytes, which nobody reads and every
//! database would carry for months. So the summary is kept whole, and of each list only as much, in order, as fits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::services_of;
use crate::diff::{Change, Diff};
use crate::name::ServiceName;

/// Bytes of JSON that the changes of one release may take. One image that changes on a hundred nodes takes 3 kB; with 500
/// releases this bounds the database to 128 MB of them.
const MAX_CHANGES: usize = 256 << 10;

/// The same for each of the other lists.
const MAX_OTHERS: usize = 32 << 10;

/// The document of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptDiff {
    /// The comparison of what was with what the release asked for.
    pub diff: Diff,
    /// How many changes, the last in its order, are not in it for want of room.
    #[serde(default)]
    pub changes_left_out: usize,
    /// How many risks, features, controls, settings and ignored fields are not.
    #[serde(default)]
    pub others_left_out: usize,
}

impl KeptDiff {
    /// As much of `diff` as is kept.
    pub fn cut(diff: Diff) -> Self {
        Self::cut_to(diff, MAX_CHANGES, MAX_OTHERS)
    }

    fn cut_to(mut diff: Diff, changes: usize, others: usize) -> Self {
        let changes_left_out = cut(&mut diff.changes, changes);
        let others_left_out = cut(&mut diff.risks, others)
            + cut(&mut diff.features, others)
            + cut(&mut diff.controls, others)
            + cut(&mut diff.settings, others)
            + cut(&mut diff.ignored, others);
        Self { diff, changes_left_out, others_left_out }
    }

    /// What of it is about `service`.
    pub fn changes_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Change> + 'a {
        self.diff.changes.iter().filter(move |change| services_of(change).any(|of| of == service))
    }
}

/// Keeps as many from the start as take so many bytes, and says how many went.
fn cut<T: Serialize>(list: &mut Vec<T>, max: usize) -> usize {
    let mut bytes = 0;
    let fits = list.iter().take_while(|entry| {
        bytes += serde_json::to_vec(entry).expect("the keys of a diff are strings").len();
        bytes <= max
    });
    let kept = fits.count();
    let gone = list.len() - kept;
    list.truncate(kept);
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{ChangeKind, Ignored, Origin, Risk, Summary};

    fn change(service: &str) -> Change {
        Change {
            environment: None,
            nodes: vec!["edge-1".parse().expect("a name")],
            service: service.parse().expect("a name"),
            kind: ChangeKind::Create,
            from: None,
            because: Vec::new(),
            files: Vec::new(),
            effects: std::collections::BTreeMap::new(),
            capabilities: Vec::new(),
            volumes_kept: Vec::new(),
        }
    }

    fn diff(changes: usize) -> Diff {
        let service = |number: usize| format!("s{number:03}");
        let risk = |number| {
            let service = service(number).parse().expect("a name");
            Risk::Removal { service, nodes: 1, entirely: true, containers: Vec::new() }
        };
        let ignored = |number| Ignored {
            service: service(number).parse().expect("a name"),
            path: "x".into(),
            reason: "y".into(),
            changes: 1,
        };
        Diff {
            summary: Summary { create: changes, ..Summary::default() },
            changes: (0..changes).map(|number| change(&service(number))).collect(),
            risks: (0..changes).map(risk).collect(),
            ignored: (0..changes).map(ignored).collect(),
            ..Diff::default()
        }
    }

    #[test]
    fn of_a_huge_change_the_first_are_kept_and_all_are_counted() {
        let one = serde_json::to_vec(&change("s000")).expect("JSON").len();
        let check = |changes, max, kept: usize| {
            let cut = KeptDiff::cut_to(diff(changes), max, one);
            assert_eq!((cut.diff.changes.len(), cut.changes_left_out), (kept, changes - kept));
            assert_eq!(cut.diff.summary.create, changes);
            let others = cut.diff.risks.len() + cut.diff.ignored.len();
            assert_eq!(others + cut.others_left_out, 2 * changes);
        };
        check(0, one, 0);
        check(3, 3 * one, 3);
        check(3, 3 * one - 1, 2);
        check(100, 5 * one, 5);
        check(1, 1, 0);
    }

    #[test]
    fn a_change_is_about_the_service_and_about_the_name_that_it_had() {
        let name = |name: &str| name.parse::<ServiceName>().expect("a name");
        let from = Some(Origin { service: Some(name("old")), nodes: Vec::new() });
        let renamed = Change { from, ..change("new") };
        let kept = KeptDiff::cut(Diff { changes: vec![change("web"), renamed], ..Diff::default() });
        for (service, expected) in [("web", 1), ("new", 1), ("old", 1), ("api", 0)] {
            assert_eq!(kept.changes_of(&name(service)).count(), expected, "{service}");
        }
    }
}
