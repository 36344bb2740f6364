//! Which values must not be shown.
//!
//! A Compose file may carry a password in plain text, and so may a file that it mounts and the message of a commit.
//! Reasons are printed, stored, sent and posted in reviews, so what looks like a secret is replaced before it becomes
//! one. The test is generous on purpose: a hidden harmless value costs a look at the file, a shown secret costs a
//! rotation. Three things make a secret: the name that it stands under, a form that only secrets have, and chance: a long
//! word that nobody would think of.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

/// What is shown instead.
pub const HIDDEN: &str = "(hidden)";

/// Parts of a name that say its value is secret. Compared in lower case without `_`, `-` and `.`.
const SECRET_NAMES: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "basicauth",
    "htpasswd",
    "authorization",
    "webhookurl",
    "dsn",
];

/// How well-known tokens begin.
const TOKEN_STARTS: [&str; 30] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "sk-ant-",
    "sk-proj-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "npm_",
    "pypi-",
    "hvs.",
    "dop_v1_",
    "shpat_",
    "SG.",
    "eyJ",
    "age-secret-key-",
];

/// How hashes of passwords begin: they can be guessed from.
const PASSWORD_HASHES: [&str; 11] =
    ["$apr1$", "$2a$", "$2b$", "$2y$", "$argon2", "$1$", "$5$", "$6$", "$y$", "$pbkdf2", "{SHA}"];

/// Names whose values are not to be shown, beyond those that speak for themselves: `*` at either end stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitive {
    patterns: BTreeSet<Arc<str>>,
}

impl Sensitive {
    /// With the patterns of a policy.
    pub fn new(patterns: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { patterns: patterns.into_iter().map(|pattern| pattern.to_lowercase().into()).collect() }
    }

    /// What either of both hides.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { patterns: self.patterns.union(&other.patterns).cloned().collect() }
    }

    /// Whether the value at this path of a model must be hidden, or anything within it.
    pub fn hides(&self, path: &[Arc<str>], value: &Value) -> bool {
        path.iter().any(|key| self.names_a_secret(key)) || self.holds_a_secret(value)
    }

    fn holds_a_secret(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => is_secret(text) || text.lines().any(|line| self.assigns(line)),
            Value::Array(items) => {
                let joined: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                items.iter().any(|item| self.holds_a_secret(item)) || self.assigns(&joined.join(" "))
            }
            Value::Object(fields) => {
                fields.iter().any(|(key, value)| self.names_a_secret(key) || self.holds_a_secret(value))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Whether a name says that its value is secret.
    pub fn names_a_secret(&self, name: &str) -> bool {
        names_a_secret(name) || !self.patterns.is_empty() && self.fits(name)
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

    /// Whether `--password=x`, `--token x`, `PGPASSWORD=x` or the like is in it.
    fn assigns(&self, line: &str) -> bool {
        self.secret_in(line).is_some()
    }

    /// Where the secret of a line begins: after the first name that says so, if anything comes after it.
    fn secret_in(&self, line: &str) -> Option<usize> {
        let mut start = 0;
        while start < line.len() {
            let rest = &line[start..];
            let begin = start + rest.find(is_part)?;
            let end = line[begin..].find(|c| !is_part(c)).map_or(line.len(), |length| begin + length);
            let is_sign =
                |c: char| matches!(c, '=' | ':' | '"' | '\'' | '>' | ',' | ' ' | '\t' | '[' | '{' | '(');
            let after = line[end..].trim_start_matches(is_sign);
            let sign = &line[end..line.len() - after.len()];
            let is_given = sign.contains(['=', ':', '>', '"', '\'']) || line[begin..end].starts_with('-');
            if self.names_a_secret(&line[begin..end]) && is_given && !after.is_empty() {
                return Some(line.len() - after.len());
            }
            start = end;
        }
        None
    }

    /// A text that somebody wrote, such as the message of a commit, with what looks like a secret taken out of it.
    pub fn redacted(&self, text: &str) -> String {
        let lines: Vec<String> = text.split('\n').map(|line| self.line(line)).collect();
        lines.join("\n")
    }

    fn line(&self, line: &str) -> String {
        if let Some(at) = self.secret_in(line) {
            let quote = if line[..at].ends_with(['"', '\'']) { &line[at - 1..at] } else { "" };
            return format!("{}{HIDDEN}{quote}", &line[..at]);
        }
        if !is_secret(line) {
            return line.to_owned();
        }
        let words: Vec<&str> =
            line.split(' ').map(|word| if is_secret(word) { HIDDEN } else { word }).collect();
        let words = words.join(" ");
        if is_secret(&words) { HIDDEN.to_owned() } else { words }
    }

    /// The lines of a file with secrets taken out. What stands below a name that says so, further in or as its list, is
    /// hidden with it.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let mut within: Option<usize> = None;
        let shown = |line: &str| {
            let depth = line.len() - line.trim_start().len();
            let is_blank = line.trim().is_empty();
            if let Some(top) = within {
                let is_below = depth > top || depth == top && line.trim_start().starts_with("- ");
                if is_below && !is_blank {
                    return format!("{}{HIDDEN}", &line[..depth]);
                }
                if !is_blank {
                    within = None;
                }
            }
            if self.opens_a_secret(line) {
                within = Some(depth);
                return line.to_owned();
            }
            self.line(line)
        };
        text.lines().map(shown).collect()
    }

    /// `password:`, `secrets:`, `token: |`, `[credentials]`.
    fn opens_a_secret(&self, line: &str) -> bool {
        let line = line.trim().trim_start_matches("- ");
        let is_open = line.ends_with([':', '|', '>', '-', '+', '{', '[', ']', '=', '(']);
        let key =
            line.trim_end_matches(['|', '>', '-', '+', ' ', '{', '[', '(']).trim_end_matches([':', '=', ' ']);
        let key = key.trim_matches(['"', '\'', '[', ']']);
        is_open && key.chars().all(is_part) && self.names_a_secret(key)
    }

    /// Why nothing of a file is shown, if that is so.
    pub fn hides_file(&self, path: &str, content: &str) -> Option<&'static str> {
        const KEYS: [&str; 9] = [".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".age", ".gpg", ".asc"];
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        if KEYS.iter().any(|end| name.ends_with(end))
            || name.starts_with("id_")
            || path.split('/').any(names_a_secret)
        {
            return Some("its name says that it holds a secret");
        }
        content.contains("-----BEGIN").then_some("it holds a key or a certificate")
    }
}

/// Whether the value of `field` (a path such as `services.db.environment.POSTGRES_PASSWORD`) must be hidden, whatever a
/// policy says.
pub fn is_sensitive(field: &str, value: &str) -> bool {
    let none = Sensitive::default();
    names_a_secret(field) || is_secret(value) || value.lines().any(|line| none.assigns(line))
}

/// What names are made of.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn names_a_secret(text: &str) -> bool {
    let folded: String =
        text.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|name| folded.contains(name))
}

/// Whether a text holds something that only a secret looks like.
fn is_secret(text: &str) -> bool {
    has_credentials(text) || text.split(is_separator).any(is_secret_word)
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '"' | '\'' | '`' | ',' | ';' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '&' | '?'
        )
}

/// `scheme://user:password@host`, and what begins a key.
fn has_credentials(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or("");
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    }) || value.contains("-----BEGIN")
        || value.contains("Bearer ")
        || PASSWORD_HASHES.iter().any(|start| value.contains(start))
}

fn is_secret_word(word: &str) -> bool {
    let starts = |word: &str| {
        TOKEN_STARTS.iter().any(|start| word.len() >= start.len() + 8 && word.starts_with(start))
    };
    // The value of `NAME=value` and of `name:value`, with their names before them and the digest of an image apart.
    let value = word.rsplit(['=', ':', '@']).find(|part| !part.is_empty()).unwrap_or(word);
    let is_digest = word.contains("sha256:") || word.contains("sha512:");
    starts(word) || starts(value) || !is_digest && value.split(['/', '.']).any(is_random)
}

/// A word that looks drawn by chance: long, of mixed kinds of characters, with few of them twice.
fn is_random(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '~' | '=');
    if word.len() < 20 || !word.chars().all(is_part) {
        return false;
    }
    let kind = |c: char| match c {
        'a'..='z' => 0,
        'A'..='Z' => 1,
        '0'..='9' => 2,
        _ => 3,
    };
    let kinds: BTreeSet<u8> = word.chars().map(kind).collect();
    let turns =
        word.chars().zip(word.chars().skip(1)).filter(|(one, next)| kind(*one) != kind(*next)).count();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let is_hex = word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && digits >= 4;
    let is_mixed = kinds.contains(&2) && (kinds.contains(&0) || kinds.contains(&1)) && digits >= 3;
    is_hex || is_mixed && turns * 4 >= word.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (field, value) in [
            ("services.db.environment.POSTGRES_PASSWORD", "x"),
            ("services.db.environment.API_KEY", "x"),
            ("services.db.environment.STRIPE_SECRET", "x"),
            ("services.a.environment.GITHUB_TOKEN", "x"),
            ("services.a.environment.DATABASE", "postgres://app:hunter2@db/app"),
            ("services.a.command", "redis-server --requirepass=hunter2 --password x"),
            ("services.a.command", "[\"psql\",\"PGPASSWORD=x\"]"),
            ("services.a.environment", "{\"DB_PASSWORD\":\"x\"}"),
            ("services.a.healthcheck.test", "curl -H 'Authorization: Bearer abc' x"),
            ("configs.a.content", "-----BEGIN PRIVATE KEY-----"),
            ("services.a.labels.users", "admin:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"),
            ("services.a.environment.X", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
            ("services.a.environment.X", "AKIAIOSFODNN7EXAMPLE"),
            ("services.a.environment.X", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1a2B3c4D5e6F7g8H9"),
            ("services.a.environment.X", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
            ("services.a.environment.X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"),
            ("services.a.environment.X", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ] {
            assert!(is_sensitive(field, value), "{field} = {value}");
        }
    }

    #[test]
    fn what_people_review_is_shown() {
        for (field, value) in [
            ("services.web.image", "nginx:1.27"),
            ("services.web.image", "ghcr.io/our-team/shop-frontend-service:2026-11-21-rc.4"),
            (
                "services.web.image",
                "nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
            ("services.web.environment.LOG_LEVEL", "debug"),
            ("services.web.environment.KEYBOARD", "de"),
            ("services.web.ports", "127.0.0.1:8080:80"),
            ("services.web.environment.URL", "http://api:8080/v1@next"),
            ("services.web.command", "httpd -f -p 8080 -h /www"),
            ("services.web.volumes", "/srv/media/photos-of-the-year-2026/originals:/data:ro"),
            ("services.web.labels.rule", "Host(`shop.example.org`) && PathPrefix(`/api/v2`)"),
            ("services.web.environment.JAVA_OPTS", "-XX:MaxRAMPercentage=75.0 -XX:+UseG1GC"),
            ("services.web.environment.HOST", "prometheus-node-exporter-9100.internal.example.org"),
        ] {
            assert!(!is_sensitive(field, value), "{field} = {value}");
        }
    }

    #[test]
    fn a_policy_names_what_else_is_hidden() {
        let sensitive = Sensitive::new(["*_LICENSE", "internal*", "*mid*", "exact"].map(Arc::from));
        for (name, expected) in [
            ("APP_LICENSE", true),
            ("APP_LICENSE_URL", false),
            ("InternalHost", true),
            ("my-internal", false),
            ("amidst", true),
            ("Exact", true),
            ("exactly", false),
        ] {
            assert_eq!(sensitive.names_a_secret(name), expected, "{name}");
        }
    }

    #[test]
    fn a_secret_is_found_however_deep_it_is() {
        let sensitive = Sensitive::default();
        let path = ["services".into(), "a".into()];
        for value in [
            json!({"environment": {"DB_PASSWORD": "x"}}),
            json!(["run", "--token", "x"]),
            json!([{"name": "a", "secret": 1}]),
            json!("a\nb\npassword = x"),
        ] {
            assert!(sensitive.hides(&path, &value), "{value}");
        }
        assert!(!sensitive.hides(&path, &json!({"environment": {"A": "x"}, "ports": [80, 443]})));
    }

    #[test]
    fn lines_of_a_file_come_without_their_secrets() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Sensitive::default().lines(text).join("\n"), expected, "{text}");
        };
        check("a = 1\npassword = hunter2", "a = 1\npassword = (hidden)");
        check(
            "db:\n  password: |\n    hun\n    ter2\n  port: 1",
            "db:\n  password: |\n    (hidden)\n    (hidden)\n  port: 1",
        );
        check("tokens:\n- hunter2\nport: 1", "tokens:\n(hidden)\nport: 1");
        check("secrets:\n  a: hunter2\n\n  b: hunter2\nc: 1", "secrets:\n  (hidden)\n\n  (hidden)\nc: 1");
        check("[credentials]\n  a = hunter2\n[other]", "[credentials]\n  (hidden)\n[other]");
        check("<password>hunter2</password>", "<password>(hidden)");
        check("url = http://u:hunter2@db/x # note", "url = (hidden) # note");
        check("proxy_set_header Authorization \"hunter2\";", "proxy_set_header Authorization \"(hidden)\"");
        check("# where passwords are kept", "# where passwords are kept");
        check("{\"token\": \"x\", \"a\": 1}", "{\"token\": \"(hidden)\"");
    }

    #[test]
    fn messages_come_without_their_secrets() {
        let check = |text: &str, expected: &str| assert_eq!(Sensitive::default().redacted(text), expected);
        check("web: nginx 1.28", "web: nginx 1.28");
        check("rotate: password=hunter2", "rotate: password=(hidden)");
        check("use ghp_16C7e42F292c6912E7710c838347Ae178B4a now", "use (hidden) now");
        check("use it\n\ntoken: x", "use it\n\ntoken: (hidden)");
    }

    #[test]
    fn files_of_keys_are_not_shown_at_all() {
        let hides = |path: &str, content: &str| Sensitive::default().hides_file(path, content).is_some();
        assert!(hides("tls/site.key", ""));
        assert!(hides("secrets/db.txt", ""));
        assert!(hides("id_ed25519", ""));
        assert!(hides("app.conf", "x\n-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(!hides("nginx/site.conf", "listen 80;"));
    }
}
