//! The picture of a container: what Docker reported of it once it was in place, in a form in which equal is unchanged.
//!
//! Only what is set is in it, in one order; what Docker fills in, and what changes by itself (ids, addresses, times), is
//! not. Values of the environment are digests. Whether it runs is not part of it either: that is compared with what the
//! plan wants, because a container that ended by itself was changed by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::status::{Container, Difference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Fields that are kept of one container. A thousand variables and labels fit; what has more is compared in part.
const MAX_FIELDS: usize = 2000;
/// Bytes of a value that are kept as they are; of a longer one its digest.
const MAX_VALUE: usize = 4096;

/// A container as it is meant to stay. Fields are named by paths: a section, and after the first dot one key, which may
/// have dots in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The Compose service.
    pub service: Arc<str>,
    /// Its name, without the leading `/`.
    pub name: Arc<str>,
    /// All that is set, by path: `resources.memory`, `labels.com.example.team`.
    pub fields: BTreeMap<Arc<str>, Value>,
}

/// A field that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Its path.
    pub field: Arc<str>,
    /// What it was.
    pub wanted: Option<Value>,
    /// What it is.
    pub found: Option<Value>,
}

impl Picture {
    /// Of these fields, as many as are kept.
    pub fn new(service: &str, name: &str, fields: impl IntoIterator<Item = (String, Value)>) -> Self {
        let fields = fields.into_iter().map(|(field, value)| (Arc::from(field), bounded(value)));
        let all: BTreeMap<Arc<str>, Value> = fields.collect();
        let fields = all.into_iter().take(MAX_FIELDS).collect();
        Self { service: service.into(), name: name.into(), fields }
    }

    /// What `found` shows otherwise, its name included, by path.
    pub fn changed(&self, found: &Self) -> Vec<Changed> {
        let fields: BTreeSet<&Arc<str>> = self.fields.keys().chain(found.fields.keys()).collect();
        let side = |picture: &Self, field: &str| picture.fields.get(field).cloned();
        let changed = |field: &Arc<str>| Changed {
            field: field.clone(),
            wanted: side(self, field),
            found: side(found, field),
        };
        let name = |picture: &Self| Some(Value::String(picture.name.to_string()));
        let renamed = Changed { field: "name".into(), wanted: name(self), found: name(found) };
        let all = fields.into_iter().map(changed).chain([renamed]);
        all.filter(|changed| changed.wanted != changed.found).collect()
    }
}

impl Changed {
    /// As it is told of a container.
    pub fn told(&self, container: &str) -> Difference {
        let [wanted, found] = [&self.wanted, &self.found].map(|value| value.as_ref());
        if self.field.starts_with("env.") {
            // The values are digests, which say nothing, and of a short secret too much.
            let found = found.map(|_| if wanted.is_some() { "changed" } else { "set" });
            return Difference::new(container, &self.field, wanted.map(|_| "set"), found);
        }
        let words = |value: &Value| in_words(&self.field, value);
        Difference::new(container, &self.field, wanted.map(words), found.map(words))
    }
}

fn bounded(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= MAX_VALUE {
        value
    } else {
        Value::String(gitops_core::name::Digest::of(text).to_string())
    }
}

fn in_words(field: &str, value: &Value) -> String {
    const MIB: u64 = 1 << 20;
    let is_bytes = field.starts_with("resources.memory") || field == "resources.shm_size";
    match value.as_u64() {
        Some(bytes) if is_bytes && bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        Some(bytes) if is_bytes => format!("{bytes} bytes"),
        Some(nanos) if field == "resources.cpus" => format!("{}", nanos as f64 / 1e9),
        _ => plain(value),
    }
}

/// A value without the signs of JSON where they say nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(fields) if fields.is_empty() => "as by default".to_owned(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key}: {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// A container that should be there, one that is there, or both.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Docker's id, and the picture.
    pub kept: Option<(&'a Arc<str>, &'a Arc<Picture>)>,
    /// What is there now.
    pub seen: Option<&'a Container>,
}

/// Pairs pictures with what is there: by id, then, for what somebody made anew, by name.
pub fn pairs<'a>(kept: &'a BTreeMap<Arc<str>, Arc<Picture>>, seen: &'a [Container]) -> Vec<Pair<'a>> {
    let mut left: Vec<&Container> = seen.iter().collect();
    let mut take = |is_it: &dyn Fn(&Container) -> bool| {
        left.iter().position(|container| is_it(container)).map(|at| left.remove(at))
    };
    let by_id: Vec<_> =
        kept.iter().map(|(id, picture)| (id, picture, take(&|seen| seen.id == *id))).collect();
    let pair = |(id, picture, seen): (&'a Arc<str>, &'a Arc<Picture>, Option<&'a Container>)| {
        let is_same = |seen: &Container| (&seen.service, &seen.name) == (&picture.service, &picture.name);
        Pair { kept: Some((id, picture)), seen: seen.or_else(|| take(&is_same)) }
    };
    let mut pairs: Vec<Pair<'a>> = by_id.into_iter().map(pair).collect();
    pairs.extend(left.into_iter().map(|seen| Pair { kept: None, seen: Some(seen) }));
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picture(fields: Value) -> Picture {
        let fields = fields.as_object().unwrap().clone();
        Picture::new("app", "web-app-1", fields)
    }

    #[test]
    fn what_changed_is_named_by_field_and_values_of_the_environment_are_not_told() {
        let check = |before: Value, after: Value, expected: &[&str]| {
            let changed = picture(before).changed(&picture(after));
            let told: Vec<_> = changed.iter().map(|one| one.told("web-app-1").line()).collect();
            let expected: Vec<_> = expected.iter().map(|line| format!("web-app-1 {line}")).collect();
            assert_eq!(told, expected);
        };
        check(json!({"image": "a"}), json!({"image": "a"}), &[]);
        check(
            json!({"resources.memory": 134_217_728, "resources.cpus": 500_000_000, "restart": "always"}),
            json!({"resources.memory": 67_108_865, "resources.pids": 5}),
            &[
                "resources.cpus 0.5 → none",
                "resources.memory 128 MiB → 67108865 bytes",
                "resources.pids none → 5",
                "restart always → none",
            ],
        );
        check(
            json!({"env.A": "d1", "env.B": "d2"}),
            json!({"env.A": "d3", "env.C": "d4"}),
            &["env.A set → changed", "env.B set → none", "env.C none → set"],
        );
        check(
            json!({"networks.web_default": {"Aliases": ["app", "x"]}, "networks.y": {}}),
            json!({}),
            &["networks.web_default Aliases: app x → none", "networks.y as by default → none"],
        );
    }

    #[test]
    fn a_picture_is_bounded() {
        let fields = (0..9000).map(|number| (format!("labels.{number:05}"), json!("x".repeat(10_000))));
        let picture = Picture::new("app", "a", fields);
        assert_eq!(picture.fields.len(), MAX_FIELDS);
        assert!(serde_json::to_vec(&picture).unwrap().len() < 400_000);
    }
}
