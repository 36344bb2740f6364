//! Which values must not be shown.
//!
//! A Compose file may carry a password in plain text, and so may a file that it mounts and the message of a commit.
//! Reasons are printed, stored, sent and posted in reviews, so what looks like a secret is replaced before it becomes
//! one. The test is generous on purpose: a hidden harmless value costs a look at the file, a shown secret costs a
//! rotation. Three things make a secret: the name that it stands under, here or elsewhere; a form that only secrets have;
//! and chance: a long word that nobody would think of.

mod commands;
mod known;
mod lines;
mod pairs;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use known::Known;
use words::{is_secret, speaks_of_secrets};

/// What is shown instead.
pub const HIDDEN: &str = "(hidden)";

/// What names a thing whose `value` stands beside it.
const NAMES: [&str; 3] = ["name", "key", "variable"];

/// Files that programs keep passwords in.
const SECRET_FILES: [&str; 9] = [
    ".netrc",
    "_netrc",
    ".pgpass",
    "pgpass.conf",
    ".dockercfg",
    ".my.cnf",
    ".mylogin.cnf",
    ".pypirc",
    ".vault_pass",
];

/// How the names of files of keys and passwords end.
const SECRET_ENDS: [&str; 14] = [
    ".pem", ".key", ".p12", ".pfx", ".p8", ".jks", ".jceks", ".kdb", ".kdbx", ".age", ".gpg", ".asc", ".ppk",
    ".keytab",
];

/// What is not to be shown, beyond what speaks for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitive {
    /// Names whose values are not: `*` at either end stands for anything.
    patterns: BTreeSet<Arc<str>>,
    /// Values that are not, wherever they stand.
    known: Option<Arc<Known>>,
}

impl Sensitive {
    /// With the patterns of a policy.
    pub fn new(patterns: impl IntoIterator<Item = Arc<str>>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| pattern.to_lowercase().into()).collect();
        Self { patterns, known: None }
    }

    /// What either of both hides.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let patterns = self.patterns.union(&other.patterns).cloned().collect();
        Self { patterns, known: None }.knowing_values(self.values().chain(other.values()).cloned().collect())
    }

    /// The same, and hidden is also what stands in `documents` or `variables` under a name that says that it is secret,
    /// wherever else it stands.
    #[must_use]
    pub fn knowing<'v>(
        &self,
        documents: impl IntoIterator<Item = &'v Value>,
        variables: impl IntoIterator<Item = (&'v str, &'v str)>,
    ) -> Self {
        let named = documents.into_iter().flat_map(known::named).chain(variables);
        let secret = named.filter(|(name, _)| self.names_a_secret(name) && known::holds_one(name));
        let found = secret.flat_map(|(_, value)| known::lines_of(value)).map(Arc::from);
        self.knowing_values(found.chain(self.values().cloned()).collect())
    }

    fn knowing_values(&self, values: BTreeSet<Arc<str>>) -> Self {
        let patterns = self.patterns.clone();
        if self.values().count() == values.len() {
            return Self { patterns, known: self.known.clone() };
        }
        Self { patterns, known: Known::new(values).map(Arc::new) }
    }

    fn values(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.iter().flat_map(|known| known.values())
    }

    /// Whether the value at this path of a model must be hidden, or anything within it.
    pub fn hides(&self, path: &[Arc<str>], value: &Value) -> bool {
        let keys: Vec<&str> = path.iter().map(|key| &**key).collect();
        let names = match (keys.as_slice(), value) {
            // `token-api:1.2` is a name and its version.
            (["services", _, "image"], Value::String(image)) => return is_secret(image),
            (["secrets", _, "file" | "name" | "external"], _) => &[],
            (["secrets", _, _, ..], _) => return true,
            // The second says which service or volume it is.
            (["services" | "volumes" | "networks" | "configs" | "secrets", _, names @ ..], _) => names,
            (names, _) => names,
        };
        names.iter().any(|name| self.names_a_secret(name)) || self.holds_a_secret(value)
    }

    fn holds_a_secret(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => {
                is_secret(text) || self.knows(text) || self.lines(text).iter().ne(text.lines())
            }
            Value::Array(items) => {
                let joined: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                let joined = joined.join(" ");
                items.iter().any(|item| self.holds_a_secret(item)) || self.redacted(&joined) != joined
            }
            Value::Object(fields) => {
                known::pair(fields).is_some_and(|(name, _)| self.names_a_secret(name))
                    || fields
                        .iter()
                        .any(|(key, value)| self.names_a_secret(key) || self.holds_a_secret(value))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn without_known(&self, line: &str) -> String {
        self.known.as_ref().map_or_else(|| line.to_owned(), |known| known.taken_out(line))
    }

    fn knows(&self, text: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_in(text))
    }

    /// Whether a name says that its value is secret.
    pub fn names_a_secret(&self, name: &str) -> bool {
        words::names_a_secret(name) || self.fits(name)
    }

    fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(_), Some(_)) => name.contains(pattern.trim_matches('*')),
            (Some(end), None) => name.ends_with(end),
            (None, Some(start)) => name.starts_with(start),
            (None, None) => name == **pattern,
        })
    }

    /// A text that somebody wrote, such as the message of a commit, with what looks like a secret taken out of it.
    pub fn redacted(&self, text: &str) -> String {
        lines::shown(self, text.split('\n'), lines::Kind::Prose).join("\n")
    }

    /// The lines of a file with secrets taken out. What stands below a name that says so, further in or as its list, is
    /// hidden with it.
    pub fn lines(&self, text: &str) -> Vec<String> {
        lines::shown(self, text.lines(), lines::Kind::File)
    }

    /// Why nothing of a file is shown, if that is so.
    pub fn hides_file(&self, path: &str, content: &str) -> Option<&'static str> {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let is_named = |part: &str| {
            let stem = part.split('.').find(|stem| !stem.is_empty()).unwrap_or(part);
            speaks_of_secrets(part) || self.fits(part) || self.fits(stem)
        };
        if SECRET_FILES.contains(&&*name)
            || SECRET_ENDS.iter().any(|end| name.ends_with(end))
            || name.starts_with("id_")
            || path.split('/').any(is_named)
        {
            return Some("its name says that it holds a secret");
        }
        content.contains("-----BEGIN").then_some("it holds a key or a certificate")
    }
}

/// Whether the value of `field` (a path such as `services.db.environment.POSTGRES_PASSWORD`) must be hidden, whatever a
/// policy says.
pub fn is_sensitive(field: &str, value: &str) -> bool {
    let path: Vec<Arc<str>> = field.split('.').map(Arc::from).collect();
    Sensitive::default().hides(&path, &Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests;
