//! Documents as JSON, for programs.

use serde::Serialize;

/// Pretty JSON with a newline at the end.
pub fn document(value: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("documents have no map with keys that are not strings");
    text.push('\n');
    text
}
