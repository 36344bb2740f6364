//! What a secret looks like by itself: the names that announce one, and words that are one by form or by chance.

use std::collections::BTreeSet;

use super::HIDDEN;

/// Parts of a name that say its value is secret. Compared in lower case without `_`, `-` and `.`.
const SECRET_NAMES: [&str; 28] = [
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
    "requirepass",
    "masterauth",
    "presharedkey",
    "authkey",
    "licensekey",
    "appkey",
    "sessionkey",
    "userkey",
    "accountkey",
];

/// What says so where it is a whole word of a name: of `DB_PASS`, and not of `COMPASS`.
const SECRET_WORDS: [&str; 11] =
    ["pass", "auth", "pw", "psk", "pat", "jwt", "bearer", "creds", "otp", "cookie", "mnemonic"];
/// What says so where it is the whole name. In small letters `key` is mostly one of a map.
const SECRET_WHOLES: [&str; 5] = ["KEY", "PIN", "pin", "SALT", "salt"];
/// Words that end like `DBPASS` and are none.
const NO_PASSES: [&str; 5] = ["bypass", "compass", "encompass", "surpass", "trespass"];

/// How well-known tokens begin.
const TOKEN_STARTS: [&str; 32] = [
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
    "tskey-",
    "age-secret-key-",
    // `-----BEGIN` in base64.
    "LS0tLS1CRUdJTi",
];

/// How hashes of passwords begin: they can be guessed from.
const PASSWORD_HASHES: [&str; 11] =
    ["$apr1$", "$2a$", "$2b$", "$2y$", "$argon2", "$1$", "$5$", "$6$", "$y$", "$pbkdf2", "{SHA}"];

/// What names are made of.
pub(super) fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Whether a name says that its value is secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let is_pass = |word: &str| word.ends_with("pass") && !NO_PASSES.contains(&word);
    speaks_of_secrets(name)
        || SECRET_WHOLES.contains(&name)
        || words(name).split(' ').any(|word| SECRET_WORDS.contains(&word) || is_pass(word))
}

/// Whether the name of a secret is part of a text, however it is written.
pub(super) fn speaks_of_secrets(text: &str) -> bool {
    let folded: String =
        text.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|name| folded.contains(name))
}

/// `SMTP_PASS2`, `smtp-pass` and `smtpPass` as words in lower case: `smtp pass`.
fn words(name: &str) -> String {
    let mut words = String::new();
    let mut chars = name.chars().peekable();
    let mut was_lower = false;
    while let Some(c) = chars.next() {
        let is_hump = c.is_uppercase() && (was_lower || chars.peek().is_some_and(|next| next.is_lowercase()));
        words.extend(is_hump.then_some(' '));
        words.push(if c.is_alphabetic() { c.to_ascii_lowercase() } else { ' ' });
        was_lower = c.is_lowercase();
    }
    words
}

/// `url` of `TOKEN_URL2`.
pub(super) fn last_word(name: &str) -> String {
    words(name).split_whitespace().last().unwrap_or_default().to_owned()
}

/// Whether a text holds something that only a secret looks like.
pub(super) fn is_secret(text: &str) -> bool {
    has_credentials(text) || text.split(is_separator).any(is_secret_word)
}

/// A line with the words that look like secrets taken out.
pub(super) fn without_secrets(line: &str) -> String {
    if !is_secret(line) {
        return line.to_owned();
    }
    let words: Vec<&str> = line.split(' ').map(|word| if is_secret(word) { HIDDEN } else { word }).collect();
    let words = words.join(" ");
    if is_secret(&words) { HIDDEN.to_owned() } else { words }
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
    value.split("://").skip(1).any(has_user_with_password)
        || value.contains("-----BEGIN")
        || value.contains("Bearer ")
        || PASSWORD_HASHES.iter().any(|start| value.contains(start))
}

/// Of what follows `://`. People write `#`, `/` and `?` into passwords as they are, so that only the last `@` ends one.
fn has_user_with_password(rest: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let url = rest.split(ends).next().unwrap_or_default();
    let Some((user, password)) = url.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) else {
        return false;
    };
    // `host:8080/v1@next` and `host/image:1.2@sha256:…` have no user.
    let is_number = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let is_port = password.split_once('/').is_some_and(|(port, _)| is_number(port));
    !user.contains(['/', '?']) && !is_port
}

/// Whether any part of a word is a secret: of `NAME=value`, `name:value`, `https://token@host/path`. The digest of an
/// image is none.
fn is_secret_word(word: &str) -> bool {
    let is_token = |part: &str| {
        TOKEN_STARTS.iter().any(|start| part.len() >= start.len() + 8 && part.starts_with(start))
    };
    let mut before = "";
    word.split(['=', ':', '@', '/']).any(|part| {
        let is_digest = before.ends_with("sha256") || before.ends_with("sha512");
        before = part;
        is_token(part) || !is_digest && part.split('.').any(is_random)
    })
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
    // Dashes part the words of names.
    let marks: Vec<char> = word.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    let turns = marks.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let is_hex = word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && digits >= 4;
    let is_mixed = kinds.contains(&2) && (kinds.contains(&0) || kinds.contains(&1)) && digits >= 3;
    is_hex || is_mixed && turns * 4 >= marks.len()
}
