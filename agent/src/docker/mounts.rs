//! What containers mount from the folder of their instance, and which of them hold on to something that is gone.
//!
//! A mount is of a folder or a file itself, not of its name: where the name was deleted and made anew, a container
//! that runs goes on seeing what was deleted. Docker shows nothing of it. One that does not run finds what is there
//! when it is started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::plan::{Ensure, RunState};
use gitops_core::status::ContainerState;
use serde_json::Value;

use super::rows::Row;
use crate::files::Record;

/// Notes which containers run while something had to be made anew. Says whether the record is another by now.
///
/// Noted once, before anything is applied: what a call that fails later has made mounts what is there, and a retry
/// must leave it alone.
pub(super) fn note_outlived(record: &mut Record, rows: &[Row]) -> bool {
    let renewed = std::mem::take(&mut record.renewed);
    if renewed.is_empty() {
        return false;
    }
    for row in rows.iter().filter(|row| runs(row)) {
        record.outlived.entry(row.container.id.clone()).or_default().extend(renewed.iter().cloned());
    }
    true
}

/// The Compose services with a container that runs and mounts something that was made anew under it: see
/// [`Record::outlived`].
pub(super) fn held(step: &Ensure, rows: &[Row], record: &Record) -> BTreeSet<Arc<str>> {
    if record.outlived.is_empty() || step.state == RunState::Stopped {
        return BTreeSet::new();
    }
    let mounted = mounted(&step.model.value());
    let holds = |row: &&Row| {
        let mut paths = mounted.get(&row.container.service).into_iter().flatten();
        let gone = record.outlived.get(&row.container.id);
        paths.any(|path| gone.into_iter().flatten().any(|gone| leads_through(path, gone)))
    };
    let held = rows.iter().filter(|row| runs(row)).filter(holds).map(|row| row.container.service.clone());
    held.filter(|service| step.containers.contains_key(service)).collect()
}

fn runs(row: &Row) -> bool {
    !row.one_off && matches!(row.container.state, ContainerState::Running | ContainerState::Paused)
}

/// Whether `path` is `gone` itself or lies below it. The empty path is the instance's folder.
fn leads_through(path: &str, gone: &str) -> bool {
    let rest = path.strip_prefix(gone);
    rest.is_some_and(|rest| gone.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// The paths that each Compose service mounts from the instance's folder, from there.
fn mounted(model: &Value) -> BTreeMap<Arc<str>, BTreeSet<String>> {
    let services = model.get("services").and_then(Value::as_object).into_iter().flatten();
    services.map(|(name, service)| (name.as_str().into(), mounted_by(service, model))).collect()
}

fn mounted_by(service: &Value, model: &Value) -> BTreeSet<String> {
    let entries = |field: &'static str| {
        let listed = service.get(field).and_then(Value::as_array).into_iter().flatten();
        listed.filter_map(move |entry| Some((field, source(entry)?)))
    };
    let of = |(section, source): (&str, &str)| {
        let named = || model.get(section)?.get(source);
        let path = inside(source).or_else(|| inside(place(named()?)?))?;
        Some(path.to_owned())
    };
    ["volumes", "configs", "secrets"].into_iter().flat_map(entries).filter_map(of).collect()
}

/// `source:target:mode`, or `{source: …}`.
fn source(entry: &Value) -> Option<&str> {
    let short = entry.as_str().map(|text| text.split(':').next().unwrap_or(text));
    short.or_else(|| entry.get("source")?.as_str())
}

/// Where a config, a secret, or a volume with a folder of its own lies.
fn place(thing: &Value) -> Option<&str> {
    thing.get("file").or_else(|| thing.get("driver_opts")?.get("device"))?.as_str()
}

/// A path of the canonical form that leads into the instance's folder, without its `./`.
fn inside(path: &str) -> Option<&str> {
    if path == "." { Some("") } else { path.strip_prefix("./") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_mounts_its_binds_and_the_files_of_what_it_names() {
        let model = json!({
            "services": {
                "long": {"volumes": [
                    {"type": "bind", "source": "./site", "target": "/s"},
                    {"type": "bind", "source": "/etc/hosts", "target": "/h"},
                    {"type": "volume", "source": "data", "target": "/d"},
                    {"type": "volume", "source": "own", "target": "/o"},
                    {"type": "tmpfs", "target": "/t"},
                ]},
                "short": {"volumes": ["./a/b:/b:ro", "data:/d", "/var/x"], "configs": ["c"]},
                "named": {"configs": [{"source": "c"}], "secrets": [{"source": "s"}, {"source": "none"}]},
                "all": {"volumes": ["./:/all"], "env_file": ["./e"]},
                "nothing": {"image": "i"},
            },
            "configs": {"c": {"file": "./conf/c"}},
            "secrets": {"s": {"file": "./s"}},
            "volumes": {"data": {}, "own": {"driver_opts": {"type": "none", "device": "./own"}}},
        });
        let shown: Vec<String> =
            mounted(&model).into_iter().map(|(name, paths)| format!("{name}: {paths:?}")).collect();
        let expected = [
            r#"all: {""}"#,
            r#"long: {"own", "site"}"#,
            r#"named: {"conf/c", "s"}"#,
            "nothing: {}",
            r#"short: {"a/b", "conf/c"}"#,
        ];
        assert_eq!(shown, expected);
    }

    fn rows(states: &[(&str, &str)]) -> Vec<Row> {
        let summary = |(id, state): &(&str, &str)| json!({"Id": id, "Names": [id], "State": state});
        let listed = states.iter().map(summary).map(|json| serde_json::from_value(json).unwrap());
        listed.filter_map(super::super::rows::row).collect()
    }

    #[test]
    fn only_what_runs_when_something_is_made_anew_outlives_it() {
        let paths =
            |paths: &[&str]| paths.iter().map(|path| Arc::from(*path)).collect::<BTreeSet<Arc<str>>>();
        let mut record = Record::default();
        let mut check =
            |renewed: &[&str], states: &[(&str, &str)], noted: bool, expected: &[(&str, &[&str])]| {
                record.renewed.extend(paths(renewed));
                assert_eq!(note_outlived(&mut record, &rows(states)), noted);
                let expected = expected.iter().map(|(id, gone)| (Arc::from(*id), paths(gone))).collect();
                assert_eq!((&record.outlived, record.renewed.len()), (&expected, 0));
            };
        check(&[""], &[], true, &[]);
        check(&[], &[("a", "running")], false, &[]);
        let two = [("a", "running"), ("b", "exited"), ("c", "paused")];
        check(&["x"], &two, true, &[("a", &["x"]), ("c", &["x"])]);
        check(
            &["y"],
            &[("a", "running"), ("d", "running")],
            true,
            &[("a", &["x", "y"]), ("c", &["x"]), ("d", &["y"])],
        );
    }

    #[test]
    fn a_mount_is_lost_with_everything_on_the_way_to_it() {
        for (path, gone, expected) in [
            ("a/b", "", true),
            ("", "", true),
            ("a/b", "a", true),
            ("a/b", "a/b", true),
            ("a", "a/b", false),
            ("ab", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(leads_through(path, gone), expected, "{path} {gone}");
        }
    }
}
