//! The JSON Schemas of the forms, for editors.

use schemars::{Schema, schema_for};

use super::{Control, Feature, Node, Service, Settings};

/// The forms that have a schema, by the word that `gitops schema` takes.
pub const FORMS: [&str; 5] = ["service", "node", "feature", "control", "settings"];

/// The schema of a form; none if there is no such form.
pub fn of(form: &str) -> Option<Schema> {
    match form {
        "service" => Some(schema_for!(Service)),
        "node" => Some(schema_for!(Node)),
        "feature" => Some(schema_for!(Feature)),
        "control" => Some(schema_for!(Control)),
        "settings" => Some(schema_for!(Settings)),
        _ => None,
    }
}
