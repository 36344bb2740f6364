//! Field-level changes between two Compose models: which path, what it was, what it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::sensitive::{HIDDEN, is_sensitive};

/// One field that differs, by its path in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The keys that lead to it.
    pub path: Vec<Arc<str>>,
    /// Before, as people write it.
    pub old: Option<Arc<str>>,
    /// After.
    pub new: Option<Arc<str>>,
}

/// Values are shown up to here; a whole config file as one field must not fill the screen.
const MAX_VALUE: usize = 160;

/// Every field that differs, in the order of the model. Maps are entered; lists are compared as wholes, because a
/// shifted element would otherwise read as many changes.
pub fn changed(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk(&mut Vec::new(), Some(old), Some(new), &mut changes);
    changes
}

fn walk(path: &mut Vec<Arc<str>>, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                path.push(key.as_str().into());
                walk(path, old.get(key), new.get(key), changes);
                path.pop();
            }
        }
        (old, new) => {
            let field = path.join(".");
            changes.push(FieldChange {
                path: path.clone(),
                old: old.map(|value| shown(&field, value)),
                new: new.map(|value| shown(&field, value)),
            });
        }
    }
}

/// A value as people write it, hidden where it may be a secret, on one line and bounded.
pub fn shown(field: &str, value: &Value) -> Arc<str> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if is_sensitive(field, &text) {
        return HIDDEN.into();
    }
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_VALUE + 1).collect();
    if line.chars().count() > MAX_VALUE {
        let cut: String = line.chars().take(MAX_VALUE).collect();
        return format!("{cut}…").into();
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(old: Value, new: Value, expected: &[&str]) {
        let changes: Vec<String> = changed(&old, &new)
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
        check(json!({"a": 1}), json!({"b": 1}), &["a: 1 → -", "b: - → 1"]);
        check(json!({"p": [1, 2]}), json!({"p": [2]}), &["p: [1,2] → [2]"]);
        check(json!({"a": {"b": 1}}), json!({"a": "x"}), &["a: {\"b\":1} → x"]);
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
        let changes = changed(&json!({"x": "a"}), &json!({"x": "é".repeat(1000)}));
        assert_eq!(changes[0].new.as_ref().map(|new| new.chars().count()), Some(MAX_VALUE + 1));
    }
}
