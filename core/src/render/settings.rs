//! Settings of a program as it understands them, each with where it comes from.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DIM, inert, painted};

/// Stands where a secret would be.
pub const HIDDEN: &str = "(hidden)";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As in the settings file.
    pub key: String,
    /// None where it is not set and has no default.
    pub value: Option<Value>,
    /// `default`, `flag`, the name of a variable, or the path of a file.
    pub from: String,
}

impl Setting {
    /// A setting with its value as the file would write it; nothing for a value that is not set.
    pub fn new(key: &str, value: &impl Serialize, from: impl Into<String>) -> Self {
        let value = serde_json::to_value(value).expect("settings are texts, numbers and paths");
        Self { key: key.to_owned(), value: Some(value).filter(|value| !value.is_null()), from: from.into() }
    }
}

/// Lines that a settings file takes, each with where it comes from as a comment.
pub fn text(settings: &[Setting]) -> String {
    let line = |setting: &Setting| match &setting.value {
        // A text, number or word reads the same in JSON and in TOML.
        Some(value) => {
            let text = inert(&format!("{} = {value}", setting.key));
            format!("{text:<48}  {}\n", painted(DIM, &format!("# {}", inert(&setting.from))))
        }
        None => format!("{}\n", painted(DIM, &format!("# {} is not set", setting.key))),
    };
    settings.iter().map(line).collect()
}

/// `{"branch": {"value": "main", "from": "default"}, …}`
pub fn document(settings: &[Setting]) -> Value {
    let entry =
        |setting: &Setting| (setting.key.clone(), json!({ "value": setting.value, "from": setting.from }));
    Value::Object(settings.iter().map(entry).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_a_file_with_comments_and_as_a_document() {
        let settings = [
            Setting::new("branch", &"ma\"in", "default"),
            Setting::new("keep", &7, "GITOPS_KEEP"),
            Setting::new("folder", &None::<String>, "default"),
        ];
        let text = anstream::adapter::strip_str(&text(&settings)).to_string();
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            ["branch = \"ma\\\"in\" # default", "keep = 7 # GITOPS_KEEP", "# folder is not set"]
        );
        assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
        assert_eq!(
            document(&settings),
            json!({
                "branch": { "value": "ma\"in", "from": "default" },
                "keep": { "value": 7, "from": "GITOPS_KEEP" },
                "folder": { "value": null, "from": "default" },
            })
        );
    }
}
