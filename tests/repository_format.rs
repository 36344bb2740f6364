//! `docs/repository-format.md` says what the types say: its tables are made from the JSON Schemas, which are made from
//! the types.
//!
//! `UPDATE_GOLDENS=1 cargo test --test repository_format` writes them anew.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks read the environment and start programs")]

use std::fmt::Write as _;
use std::path::Path;

use gitops_core::definition::schema;
use serde_json::Value;

#[test]
fn every_field_is_in_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/repository-format.md");
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let mut expected = text.clone();
    for form in schema::FORMS {
        let schema = schema::of(form).expect("every form has a schema").to_value();
        expected = with_table(&expected, form, &table(&schema));
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &expected).expect("the document can be written");
    }
    assert!(
        text == expected,
        "run `UPDATE_GOLDENS=1 cargo test --test repository_format` and read what changed"
    );
}

/// Replaces what stands between the markers of a form.
fn with_table(text: &str, form: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- fields of {form} -->\n"), "<!-- end -->");
    let start = text.find(&begin).unwrap_or_else(|| panic!("there is no marker {begin}")) + begin.len();
    let stop = start + text[start..].find(end).expect("a table ends");
    format!("{}{table}{}", &text[..start], &text[stop..])
}

fn table(schema: &Value) -> String {
    let mut text = String::from("\n| field | type | what it is |\n|---|---|---|\n");
    rows(schema, schema, "", &mut text);
    text.push('\n');
    text
}

fn rows(root: &Value, object: &Value, prefix: &str, text: &mut String) {
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let target = resolved(root, field);
        let must = if required.contains(&name.as_str()) { "**must be there.** " } else { "" };
        let words = field["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let words = words.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| `{prefix}{name}` | {} | {must}{words} |", kind(root, target));
        below(root, target, &format!("{prefix}{name}"), text);
    }
}

/// The fields of a map, of each item of a list (`rules[].id`), and of each entry of a map that people name the keys of
/// (`environments.NAME.order`).
fn below(root: &Value, field: &Value, name: &str, text: &mut String) {
    let (items, entries) = (resolved(root, &field["items"]), resolved(root, &field["additionalProperties"]));
    if field["properties"].is_object() {
        rows(root, field, &format!("{name}."), text);
    }
    if items["properties"].is_object() {
        rows(root, items, &format!("{name}[]."), text);
    }
    if entries["properties"].is_object() {
        rows(root, entries, &format!("{name}.NAME."), text);
    }
}

/// Follows `$ref`, and an `anyOf` with null to what it is when it is there.
fn resolved<'a>(root: &'a Value, field: &'a Value) -> &'a Value {
    if let Some(name) = field["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return resolved(root, &root["$defs"][name]);
    }
    let choices =
        field["anyOf"].as_array().filter(|choices| choices.iter().any(|choice| choice["type"] == "null"));
    match choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
        Some(choice) => resolved(root, choice),
        None => field,
    }
}

fn kind(root: &Value, field: &Value) -> String {
    if let Some(choices) = field["oneOf"].as_array().or(field["anyOf"].as_array()) {
        let words: Vec<String> = choices.iter().map(|choice| kind(root, resolved(root, choice))).collect();
        return words.join(" or ");
    }
    if let Some(constant) = field["const"].as_str() {
        return format!("`{constant}`");
    }
    if let Some(values) = field["enum"].as_array() {
        let words: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    let types: Vec<&str> = match &field["type"] {
        Value::Array(types) => {
            types.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
        }
        other => other.as_str().into_iter().collect(),
    };
    let word = |kind: &&str| match *kind {
        "string" => "text".to_owned(),
        "integer" => "number".to_owned(),
        "array" => format!("list of {}", kind_of_items(root, field)),
        "object" => "map".to_owned(),
        other => other.to_owned(),
    };
    types.iter().map(word).collect::<Vec<_>>().join(" or ")
}

fn kind_of_items(root: &Value, field: &Value) -> String {
    kind(root, resolved(root, &field["items"]))
}
