//! Which values must not be shown.
//!
//! A Compose file may carry a password in plain text. Reasons are printed, stored, sent and posted in reviews, so
//! a value that looks like a secret is replaced before it becomes one. The test is generous on purpose: a hidden
//! harmless value costs a look at the file, a shown secret costs a rotation.

/// What is shown instead.
pub const HIDDEN: &str = "(hidden)";

/// Parts of a name that say its value is secret. Compared in lower case without `_`, `-` and `.`.
const SECRET_NAMES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "signingkey",
    "encryptionkey",
    "dsn",
];

/// Whether the value of `field` (a path such as `services.db.environment.POSTGRES_PASSWORD`) must be hidden.
pub fn is_sensitive(field: &str, value: &str) -> bool {
    names_a_secret(field) || has_credentials(value) || assigns_a_secret(value)
}

fn names_a_secret(text: &str) -> bool {
    let folded: String =
        text.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|name| folded.contains(name))
}

/// `scheme://user:password@host`.
fn has_credentials(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or("");
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    }) || value.contains("-----BEGIN")
}

/// `--password=x`, `--token x`, `PGPASSWORD=x`, `{"password": "x"}` within a longer text.
fn assigns_a_secret(value: &str) -> bool {
    value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&' | '?' | '{' | '"' | '\'')).any(
        |word| {
            let name = word.split(['=', ':']).next().unwrap_or(word);
            (word.contains(['=', ':']) || word.starts_with('-')) && names_a_secret(name)
        },
    ) || value.contains("Bearer ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("services.a.healthcheck.test", "curl -H 'Authorization: Bearer abc' x"),
            ("configs.a.content", "-----BEGIN PRIVATE KEY-----"),
        ] {
            assert!(is_sensitive(field, value), "{field} = {value}");
        }
    }

    #[test]
    fn what_people_review_is_shown() {
        for (field, value) in [
            ("services.web.image", "nginx:1.27"),
            ("services.web.environment.LOG_LEVEL", "debug"),
            ("services.web.environment.KEYBOARD", "de"),
            ("services.web.ports", "127.0.0.1:8080:80"),
            ("services.web.environment.URL", "http://api:8080/v1@next"),
            ("services.web.command", "httpd -f -p 8080 -h /www"),
        ] {
            assert!(!is_sensitive(field, value), "{field} = {value}");
        }
    }
}
