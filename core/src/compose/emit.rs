//! A model as bytes: JSON with sorted keys for digests and plans, YAML for people and for Compose.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_yaml::Value;

use super::scalar::number_text;
use crate::plan::Model;

/// JSON without blanks, keys sorted: one text for one value.
pub(super) fn canonical_json(value: &Value) -> String {
    let mut json = String::with_capacity(1_024);
    write_json(value, &mut json);
    json
}

/// The same for a mapping of these fields.
pub(super) fn canonical_object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let mut json = String::with_capacity(512);
    write_object(fields, &mut json);
    json
}

fn write_json(value: &Value, json: &mut String) {
    match value {
        Value::Null => json.push_str("null"),
        Value::Bool(truth) => json.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) if number.as_f64().is_some_and(f64::is_finite) => {
            json.push_str(&number_text(number))
        }
        // JSON has no infinity.
        Value::Number(number) => write_string(&number.to_string(), json),
        Value::String(text) => write_string(text, json),
        Value::Sequence(items) => {
            json.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    json.push(',');
                }
                write_json(item, json);
            }
            json.push(']');
        }
        Value::Mapping(fields) => {
            write_object(fields.iter().map(|(key, value)| (key.as_str().unwrap_or_default(), value)), json);
        }
        Value::Tagged(tagged) => write_json(&tagged.value, json),
    }
}

fn write_object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>, json: &mut String) {
    let mut sorted: Vec<(&str, &Value)> = fields.into_iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    json.push('{');
    for (number, (key, value)) in sorted.into_iter().enumerate() {
        if number > 0 {
            json.push(',');
        }
        write_string(key, json);
        json.push(':');
        write_json(value, json);
    }
    json.push('}');
}

fn write_string(text: &str, json: &mut String) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    }
}

/// The Compose file that a node gets, as readable YAML: the model with these labels by Compose service, and every `$`
/// doubled, so that Compose leaves it as it stands.
pub fn labelled(model: &Model, labels: &BTreeMap<Arc<str>, BTreeMap<String, String>>) -> String {
    let mut value = model.value();
    for (service, labels) in labels {
        let Some(service) = value.get_mut("services").and_then(|services| services.get_mut(&**service))
        else {
            continue;
        };
        for (label, text) in labels {
            service["labels"][label] = text.as_str().into();
        }
    }
    let mut yaml = String::with_capacity(model.as_str().len() * 2);
    for key in ["name", "services", "networks", "volumes", "configs", "secrets"] {
        if let Some(section) = value.as_object_mut().and_then(|sections| sections.remove(key)) {
            write_field(key, &section, 0, &mut yaml);
        }
    }
    for (key, section) in value.as_object().into_iter().flatten() {
        write_field(key, section, 0, &mut yaml);
    }
    yaml
}

fn write_field(key: &str, value: &serde_json::Value, indent: usize, yaml: &mut String) {
    let blanks = " ".repeat(indent);
    yaml.push_str(&blanks);
    yaml.push_str(&scalar_text(key));
    yaml.push(':');
    match value.as_u64() {
        // The one number that people read in octal; YAML 1.1 and Compose read it so, too.
        Some(mode) if key == "mode" => writeln!(yaml, " 0{mode:o}").expect("writing to a String cannot fail"),
        _ => write_value(value, indent, yaml),
    }
}

/// What follows `key:` or `-`, up to the end of the line and beyond.
fn write_value(value: &serde_json::Value, indent: usize, yaml: &mut String) {
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => {
            yaml.push('\n');
            for (key, value) in fields {
                write_field(key, value, indent + 2, yaml);
            }
        }
        serde_json::Value::Array(items) if !items.is_empty() => {
            yaml.push('\n');
            for item in items {
                write_item(item, indent + 2, yaml);
            }
        }
        serde_json::Value::String(text) => {
            let text = text.replace('$', "$$");
            match block(&text, indent + 2) {
                Some(block) => yaml.push_str(&block),
                None => {
                    yaml.push(' ');
                    yaml.push_str(&scalar_text(&text));
                    yaml.push('\n');
                }
            }
        }
        plain => writeln!(yaml, " {plain}").expect("writing to a String cannot fail"),
    }
}

fn write_item(item: &serde_json::Value, indent: usize, yaml: &mut String) {
    let mut inner = String::new();
    match item {
        // The first field stands on the line of the dash.
        serde_json::Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                write_field(key, value, indent + 2, &mut inner);
            }
            yaml.push_str(&" ".repeat(indent));
            yaml.push_str("- ");
            yaml.push_str(inner.trim_start_matches(' '));
        }
        _ => {
            yaml.push_str(&" ".repeat(indent));
            yaml.push('-');
            write_value(item, indent, yaml);
        }
    }
}

/// Text of several lines as it stands, where that is safe.
fn block(text: &str, indent: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let safe_line = |line: &str| {
        !line.ends_with([' ', '\t']) && line.chars().all(|c| c == '\t' || !(c.is_control() || is_odd(c)))
    };
    let starts_well = !body.starts_with([' ', '\t', '\n']);
    if !body.contains('\n') || body.ends_with('\n') || !starts_well || !body.split('\n').all(safe_line) {
        return None;
    }
    let mut block = String::from(if text.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in body.split('\n') {
        if !line.is_empty() {
            block.push_str(&" ".repeat(indent));
            block.push_str(line);
        }
        block.push('\n');
    }
    Some(block)
}

/// Characters that YAML takes for line breaks, or that no file should hold as they are.
fn is_odd(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A scalar that reads back as this text: plain where no reader can take it for anything else, else in quotes.
fn scalar_text(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in serde_json::to_string(text).expect("a string is always JSON").chars() {
        if c != ' ' && (c.is_control() || is_odd(c)) {
            write!(quoted, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
        } else {
            quoted.push(c);
        }
    }
    quoted
}

fn is_plain(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_/.$".contains(&byte));
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@=+$%-".contains(&byte);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let number = text.trim_start_matches('.').bytes().next().is_none_or(|byte| byte.is_ascii_digit());
    let special = [".inf", ".nan"].contains(&text.to_ascii_lowercase().as_str());
    first
        && text.bytes().all(rest)
        && !text.ends_with(':')
        && !number
        && !special
        && !words.contains(&text.to_ascii_lowercase().as_str())
}
