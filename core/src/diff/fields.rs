//! Field-level changes between two Compose models: which path, what it was, what it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::sensitive::{HIDDEN, Sensitive};

/// One field that differs, by its path in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldChange {
    /// The keys that lead to it.
    pub(super) path: Vec<Arc<str>>,
    /// Before, as people write it.
    pub(super) old: Option<Arc<str>>,
    /// After.
    pub(super) new: Option<Arc<str>>,
}

/// Values are shown up to here; a whole config file as one field must not fill the screen.
const MAX_VALUE: usize = 160;

/// Every field that differs, in the order of the model. Maps are entered, those that are new or gone, too; lists are
/// mostly compared as wholes, because a shifted element would otherwise read as many changes.
pub(super) fn changed(old: &Value, new: &Value, sensitive: &Sensitive) -> Vec<FieldChange> {
    let mut walk = Walk { sensitive, path: Vec::new(), changes: Vec::new() };
    walk.compare(Some(old), Some(new));
    walk.changes
}

struct Walk<'a> {
    sensitive: &'a Sensitive,
    path: Vec<Arc<str>>,
    changes: Vec<FieldChange>,
}

impl Walk<'_> {
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let nothing = Map::new();
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => self.enter(old, new),
            (Some(Value::Array(old)), Some(Value::Array(new))) if is_same_list(old, new) => {
                for (number, (old, new)) in old.iter().zip(new).enumerate() {
                    self.path.push(number.to_string().into());
                    self.compare(Some(old), Some(new));
                    self.path.pop();
                }
            }
            // An empty one has no field that could be named instead.
            (Some(Value::Object(old)), None) if !old.is_empty() => self.enter(old, &nothing),
            (None | Some(Value::Null), Some(Value::Object(new))) if !new.is_empty() => {
                self.enter(&nothing, new)
            }
            _ => self.differs(old, new),
        }
    }

    fn enter(&mut self, old: &Map<String, Value>, new: &Map<String, Value>) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            self.path.push(key.as_str().into());
            self.compare(old.get(key), new.get(key));
            self.path.pop();
        }
    }

    fn differs(&mut self, old: Option<&Value>, new: Option<&Value>) {
        let shown = |value: &Value| shown(&self.path, value, self.sensitive);
        let (old, new) = (old.map(shown), new.map(shown));
        self.changes.push(FieldChange { path: self.path.clone(), old, new });
    }
}

/// Whether the items of two lists may be compared one by one: as many maps, which have no short way to be written.
fn is_same_list(old: &[Value], new: &[Value]) -> bool {
    let is_long = |item: &Value| item.is_object() && short(item).is_none();
    old.len() == new.len() && old.iter().chain(new).all(is_long)
}

/// The items of a list as people write them, `8080:80/tcp, 8443:443/tcp`, where there is a short way.
fn items(value: &Value) -> Option<String> {
    let items = value.as_array().filter(|items| !items.is_empty())?;
    let short: Option<Vec<String>> = items.iter().map(short).collect();
    short.map(|short| short.join(", "))
}

fn short(item: &Value) -> Option<String> {
    let text = |key: &str| match item.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let joined = |parts: &[Option<String>]| parts.iter().flatten().cloned().collect::<Vec<_>>().join(":");
    let target = text("target")?;
    match text("type").as_deref() {
        None if item.get("source").is_some() => Some(joined(&[text("source"), Some(target)])),
        None | Some("") => {
            let protocol = text("protocol").unwrap_or_else(|| "tcp".to_owned());
            Some(joined(&[text("host_ip"), text("published"), Some(format!("{target}/{protocol}"))]))
        }
        Some("bind" | "volume") => {
            let read_only = item.get("read_only") == Some(&Value::Bool(true));
            Some(joined(&[text("source"), Some(target), read_only.then(|| "ro".to_owned())]))
        }
        Some(_) => None,
    }
}

/// A value as people write it, hidden where it may be a secret, on one line and bounded.
fn shown(path: &[Arc<str>], value: &Value, sensitive: &Sensitive) -> Arc<str> {
    if sensitive.hides(path, value) {
        return HIDDEN.into();
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => items(other).unwrap_or_else(|| other.to_string()),
    };
    bounded(text.chars().map(|c| if c.is_control() { ' ' } else { c }), MAX_VALUE).into()
}

/// The first `max` characters, and `…` where there are more.
pub(super) fn bounded(mut chars: impl Iterator<Item = char>, max: usize) -> String {
    let shown: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(old: Value, new: Value, expected: &[&str]) {
        let changes: Vec<String> = changed(&old, &new, &Sensitive::default())
            .iter()
            .map(|change| {
                let side = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("-").to_owned();
                format!("{}: {} → {}", change.path.join("."), side(&change.old), side(&change.new))
            })
            .collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn only_what_differs_is_named_and_by_its_full_path() {
        check(json!({"a": 1}), json!({"a": 1}), &[]);
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}}), &["a.c: 2 → 3"]);
        check(
            json!({}),
            json!({"p": [{"mode": "ingress", "published": "80", "target": 80, "host_ip": "::1", "protocol": "udp"}]}),
            &["p: - → ::1:80:80/udp"],
        );
        check(
            json!({"v": [{"type": "bind", "source": "/a", "target": "/b", "read_only": true}]}),
            json!({"v": [{"type": "volume", "target": "/b"}]}),
            &["v: /a:/b:ro → /b"],
        );
        check(json!({"g": [{"a": 1}, {"b": 1}]}), json!({"g": [{"a": 1}, {"b": 2}]}), &["g.1.b: 1 → 2"]);
        check(json!({"a": 1}), json!({"b": 1}), &["a: 1 → -", "b: - → 1"]);
        check(json!({"p": [1, 2]}), json!({"p": [2]}), &["p: [1,2] → [2]"]);
        check(json!({"a": {"b": 1}}), json!({"a": "x"}), &["a: {\"b\":1} → x"]);
        check(json!({}), json!({"a": {"b": {"c": 1, "d": {}}}}), &["a.b.c: - → 1", "a.b.d: - → {}"]);
        check(json!({"a": {"b": 1}}), json!({"a": {}}), &["a.b: 1 → -"]);
    }

    #[test]
    fn secrets_and_control_characters_do_not_come_through() {
        check(
            json!({"DB_PASSWORD": "a"}),
            json!({"DB_PASSWORD": "b"}),
            &["DB_PASSWORD: (hidden) → (hidden)"],
        );
        check(json!({"x": "a"}), json!({"x": "\u{1b}[31mred\n"}), &["x: a → \u{20}[31mred "]);
    }

    #[test]
    fn long_values_are_cut() {
        let changes = changed(&json!({"x": "a"}), &json!({"x": "é".repeat(1000)}), &Sensitive::default());
        assert_eq!(changes[0].new.as_ref().map(|new| new.chars().count()), Some(MAX_VALUE + 1));
    }
}
