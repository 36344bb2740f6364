//! Fields that a service asks not to be told of: a build stamp that changes with every commit hides what matters.
//!
//! What is ignored is still applied, and what it does to containers is still said: only its lines are left out, and
//! counted. What only the change itself asks to ignore is told: nobody agreed to that yet.

use std::collections::{BTreeMap, BTreeSet};

use super::Side;
use super::document::{Change, Ignored};
use crate::definition::{Ignore, Part, ValuePath};
use crate::name::{EnvironmentName, ServiceName};

/// Takes out of the changes what their services ignore, and counts it.
pub(super) fn taken_out(changes: &mut [Change], old: &Side<'_>, new: &Side<'_>) -> Vec<Ignored> {
    let mut counts: BTreeMap<(ServiceName, &Ignore), usize> = BTreeMap::new();
    for change in changes {
        let stood = change.from.as_ref().and_then(|from| from.service.as_ref()).unwrap_or(&change.service);
        let before = ignored_by(old, stood, change.environment.as_ref());
        let agreed = |entry: &&Ignore| before.iter().any(|known| known.path == entry.path);
        let entries = ignored_by(new, &change.service, change.environment.as_ref()).iter().filter(agreed);
        let entries: Vec<&Ignore> = entries.collect();
        if entries.is_empty() {
            continue;
        }
        let nodes = change.nodes.len();
        change.because.retain(|reason| {
            match entries.iter().find(|entry| covers(&entry.path, &reason.field)) {
                Some(entry) => {
                    *counts.entry((change.service.clone(), entry)).or_default() += nodes;
                    false
                }
                None => true,
            }
        });
    }
    let ignored = |((service, entry), changes): ((ServiceName, &Ignore), usize)| Ignored {
        service,
        path: entry.path.as_str().into(),
        reason: new.desired.sensitive.redacted(&entry.reason).into(),
        changes,
    };
    counts.into_iter().map(ignored).collect()
}

fn ignored_by<'a>(
    side: &Side<'a>,
    service: &ServiceName,
    environment: Option<&EnvironmentName>,
) -> &'a [Ignore] {
    let entry = side.catalog.services.get(service);
    let deployment = entry.and_then(|entry| {
        let number = entry.deployment_in(environment).or_else(|| entry.deployment_in(None));
        entry.deployments.get(number?)
    });
    deployment.map_or(&[], |deployment| &deployment.service.ignore)
}

/// Whether a field is at the path or below it. Keys may have dots of their own, so every way to part the field counts.
fn covers(path: &ValuePath, field: &str) -> bool {
    let mut ends: BTreeSet<usize> = BTreeSet::from([0]);
    for (number, part) in path.parts().iter().enumerate() {
        let mut next = BTreeSet::new();
        for end in ends {
            let Some(rest) = field.get(end..) else { continue };
            let (rest, start) = match (number, rest.strip_prefix('.')) {
                (0, _) => (rest, end),
                (_, Some(rest)) => (rest, end + 1),
                (_, None) => continue,
            };
            match part {
                Part::Key(key) if rest.strip_prefix(&**key).is_some_and(is_end) => {
                    next.insert(start + key.len());
                }
                Part::Key(_) => {}
                Part::Any => {
                    let dots = rest.match_indices('.').map(|(at, _)| at);
                    next.extend(dots.chain([rest.len()]).filter(|at| *at > 0).map(|at| start + at));
                }
            }
        }
        ends = next;
    }
    !ends.is_empty()
}

fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_what_is_there_and_below() {
        let check = |path: &str, field: &str, expected: bool| {
            let path: ValuePath = path.parse().expect("a path");
            assert_eq!(covers(&path, field), expected, "{path:?} {field}");
        };
        check("services.app.image", "services.app.image", true);
        check("services.app", "services.app.image", true);
        check("services.app", "services.apple.image", false);
        check("services.*.labels.build", "services.app.labels.build", true);
        check("services.*.labels.build", "services.app.labels.builder", false);
        check("services.*.labels.\"com.x.build\"", "services.app.labels.com.x.build", true);
        check("services.*.build", "services.a.b.build", true);
        check("services.app.image", "services.app", false);
        check("volumes.*", "volumes.data", true);
    }
}
