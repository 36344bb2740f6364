//! What a Compose that was killed left in the middle of replacing a container.
//!
//! Compose makes the new container under a name of its own, `<first 12 digits of the old id>_<name>`, then stops and
//! removes the old one, renames the new one, and starts it (`recreateContainer` in `pkg/compose/convergence.go`). Where
//! it ended in between, its next call makes a container of the same name once more and fails on it, each time.

use std::collections::BTreeSet;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use gitops_core::status::ContainerState;

use super::rows::Row;

/// How to end one replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The old container is still there: the new one, which never ran, goes, and Compose begins again.
    Remove {
        /// The new container.
        id: String,
    },
    /// The old one is gone: the new one takes its name, and keeps the volumes that only it still holds.
    Rename {
        /// The new container.
        id: String,
        /// The name that it was meant to have.
        name: String,
    },
}

/// The replacements of one Compose project that did not end. None is under way: the caller has the project's lock.
pub(super) fn endings<'r>(rows: &'r [Row]) -> Vec<Ending> {
    let mut taken: BTreeSet<&str> = rows.iter().map(|row| &*row.container.name).collect();
    let unfinished = rows.iter().filter(|row| row.container.state == ContainerState::Created);
    let ending = |row: &'r Row| {
        let (id, name) = (row.container.id.to_string(), meant(&row.container.name)?);
        let is_free = taken.insert(name);
        Some(if is_free { Ending::Rename { id, name: name.to_owned() } } else { Ending::Remove { id } })
    };
    unfinished.filter_map(ending).collect()
}

/// The name that a container was meant to have, if it has one of those that Compose gives meanwhile.
fn meant(name: &str) -> Option<&str> {
    let (old, name) = name.split_at_checked(12)?;
    let is_id = old.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name.strip_prefix('_').filter(|name| is_id && !name.is_empty())
}

/// Ends a replacement.
///
/// # Errors
///
/// What the engine says.
pub(super) async fn end(engine: &Docker, ending: &Ending) -> Result<(), Error> {
    let ended = match ending {
        Ending::Remove { id } => {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            engine.remove_container(id, Some(options)).await
        }
        Ending::Rename { id, name } => {
            let options = RenameContainerOptionsBuilder::default().name(name).build();
            engine.rename_container(id, options).await
        }
    };
    match ended {
        Err(error) if is_ended(&error) => Ok(()),
        ended => ended,
    }
}

/// Whether it has that name already (400), or is gone (404): a Compose that outlived the agent that began it came to its end
/// meanwhile.
fn is_ended(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 400 | 404, .. })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerSummary;
    use serde_json::json;

    use super::*;
    use crate::docker::rows;

    fn project(containers: &[(&str, &str)]) -> Vec<Row> {
        let row = |(name, state): &(&str, &str)| {
            let summary =
                json!({"Id": format!("id of {name}"), "Names": [format!("/{name}")], "State": state});
            let summary: ContainerSummary = serde_json::from_value(summary).unwrap();
            rows::row(summary).unwrap()
        };
        containers.iter().map(row).collect()
    }

    #[test]
    fn a_replacement_begins_again_or_takes_its_name() {
        let check = |containers: &[(&str, &str)], expected: &[(&str, Option<&str>)]| {
            let ending = |(container, name): &(&str, Option<&str>)| {
                let id = format!("id of {container}");
                match name {
                    Some(name) => Ending::Rename { id, name: (*name).to_owned() },
                    None => Ending::Remove { id },
                }
            };
            let expected: Vec<Ending> = expected.iter().map(ending).collect();
            assert_eq!(endings(&project(containers)), expected, "{containers:?}");
        };
        let (new, other) = ("e8a58c720dff_web-b-1", "0123456789ab_web-b-1");
        check(&[("web-b-1", "running"), ("web-a-1", "created")], &[]);
        check(&[("web-b-1", "running"), (new, "created")], &[(new, None)]);
        check(&[(new, "created"), ("web-b-1", "exited")], &[(new, None)]);
        check(&[("web-a-1", "running"), (new, "created")], &[(new, Some("web-b-1"))]);
        check(&[(new, "created"), (other, "created")], &[(new, Some("web-b-1")), (other, None)]);
        // It was started under that name once: it works, and Compose gets along with it.
        check(&[(new, "running")], &[]);
        // A name that a person chose.
        check(
            &[("my-favourite_container", "created"), ("e8a58c720dff_", "created"), ("kurz", "created")],
            &[],
        );
    }
}
