//! Looking for a path in a document.

use std::sync::Arc;

use serde_json::Value;

use crate::definition::{Part, UsedBy, ValuePath};

/// The way to the first value that counts, if there is one: keys in their order, items in theirs. `first` stands for the
/// first key of the path.
pub(super) fn find(document: &Value, first: &str, wanted: &UsedBy) -> Option<Vec<Arc<str>>> {
    let mut way = Vec::new();
    let (_, rest) = wanted.path.parts().split_first()?;
    descend(document.get(first)?, rest, wanted, &mut way).then(|| {
        way.push(first.into());
        way.reverse();
        way
    })
}

/// Depth first; the way is noted backwards, once it is known to lead somewhere.
fn descend(value: &Value, parts: &[Part], wanted: &UsedBy, way: &mut Vec<Arc<str>>) -> bool {
    let Some((part, rest)) = parts.split_first() else { return counts(value, wanted) };
    let mut into = |key: &str, value: &Value| {
        let found = descend(value, rest, wanted, way);
        if found {
            way.push(key.into());
        }
        found
    };
    match (part, value) {
        (Part::Key(key), Value::Object(fields)) => fields.get(&**key).is_some_and(|value| into(key, value)),
        (Part::Key(key), Value::Array(items)) => {
            key.parse().ok().and_then(|number: usize| items.get(number)).is_some_and(|value| into(key, value))
        }
        (Part::Any, Value::Object(fields)) => fields.iter().any(|(key, value)| into(key, value)),
        (Part::Any, Value::Array(items)) => {
            items.iter().enumerate().any(|(number, value)| into(&number.to_string(), value))
        }
        _ => false,
    }
}

/// Whether what is there means use.
fn counts(value: &Value, wanted: &UsedBy) -> bool {
    match (&wanted.value, value) {
        (None, Value::Null | Value::Bool(false)) => false,
        (None, Value::String(text)) => !text.is_empty(),
        (None, Value::Array(items)) => !items.is_empty(),
        (None, Value::Object(fields)) => !fields.is_empty(),
        (None, _) => true,
        (Some(wanted), Value::String(text)) => *wanted.0 == **text,
        (Some(wanted), Value::Bool(_) | Value::Number(_)) => *wanted.0 == *value.to_string(),
        (Some(_), _) => false,
    }
}

/// Whether a text may be of a document that has the path: most are not, and need not be read. A backslash may hide any
/// letter of a key.
pub(super) fn may_have(text: &str, path: &ValuePath) -> bool {
    let is_there = |part: &Part| match part {
        Part::Key(key) => key.parse::<usize>().is_ok() || text.contains(&**key),
        Part::Any => true,
    };
    path.parts().iter().all(is_there) || text.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &str, value: Option<&str>) -> UsedBy {
        let value = value.map(|value| crate::yaml::Scalar(value.into()));
        UsedBy { path: path.parse().expect("a path"), value }
    }

    #[test]
    fn a_path_leads_to_the_first_value_that_counts() {
        let document = serde_json::json!({
            "services": {
                "app": { "gpus": [], "labels": { "com.example.tls": "on" }, "tty": false },
                "db": { "gpus": "all", "cap_add": ["A", "B"], "cpus": 2, "tty": true },
            },
            "x-tls": { "rotation": "daily" },
        });
        let check = |path: &str, value: Option<&str>, expected: &str| {
            let wanted = wanted(path, value);
            let found =
                find(&document, wanted.path.first(), &wanted).map(|way| way.join("/")).unwrap_or_default();
            assert_eq!(found, expected, "{path} {value:?}");
            assert!(found.is_empty() || may_have(&document.to_string(), &wanted.path), "{path}");
        };
        check("services.*.gpus", None, "services/db/gpus");
        check("services.app.gpus", None, "");
        check("services.*.tty", None, "services/db/tty");
        check("services.*.tty", Some("false"), "services/app/tty");
        check("services.*.cap_add.*", Some("B"), "services/db/cap_add/1");
        check("services.*.cap_add.0", None, "services/db/cap_add/0");
        check("services.*.cap_add", Some("B"), "");
        check("services.*.cap_add.2", None, "");
        check("services.*.cpus", Some("2"), "services/db/cpus");
        check("services.*.labels.\"com.example.tls\"", None, "services/app/labels/com.example.tls");
        check("services.*.labels.com.example.tls", None, "");
        check("x-tls.rotation", Some("daily"), "x-tls/rotation");
        check("x-tls.rotation.strategy", None, "");
        check("x-tls.rotation", Some("weekly"), "");
    }

    #[test]
    fn what_cannot_have_the_path_is_not_read() {
        let check = |text: &str, expected: bool| {
            assert_eq!(may_have(text, &wanted("services.*.gpus.0", None).path), expected, "{text}");
        };
        check(r#"{"services":{"app":{"image":"i"}}}"#, false);
        check(r#"{"services":{"app":{"gpus":["i"]}}}"#, true);
        check(r#""gp\u0075s""#, true);
    }
}
