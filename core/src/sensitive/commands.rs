//! Passwords that programs take after a flag, and databases in their own words: nothing but the program says that `-p` is
//! one and not a port.

use std::ops::Range;

/// How a program takes a password.
struct Flag {
    programs: &'static [&'static str],
    flags: &'static [&'static str],
    /// `-px`.
    is_joined: bool,
    /// `-p x`.
    is_apart: bool,
    /// `user:x`, and else only a user.
    has_user: bool,
}

const FLAGS: [Flag; 4] = [
    Flag {
        programs: &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlcheck",
            "mysqlimport",
            "mysqlshow",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
            "mariadb-check",
            "mariadb-import",
            "mariadb-backup",
            "mariabackup",
            "xtrabackup",
        ],
        flags: &["-p"],
        is_joined: true,
        is_apart: false,
        has_user: false,
    },
    Flag {
        programs: &["curl"],
        flags: &["-u", "-U", "--user", "--proxy-user"],
        is_joined: true,
        is_apart: true,
        has_user: true,
    },
    Flag {
        programs: &["sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"],
        flags: &["-p"],
        is_joined: true,
        is_apart: true,
        has_user: false,
    },
    Flag {
        programs: &["redis-cli", "valkey-cli", "ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"],
        flags: &["-a", "-w"],
        is_joined: false,
        is_apart: true,
        has_user: false,
    },
];

/// Where a line gives a password to a program: the flag, and where the value begins.
pub(super) fn password(line: &str) -> Option<(Range<usize>, usize)> {
    let mut taken: Option<&Flag> = None;
    let mut waiting: Option<(Range<usize>, &Flag)> = None;
    for word in words(line) {
        let text = &line[word.clone()];
        if let Some((flag, taken)) = waiting.take()
            && !text.starts_with('-')
            && is_value(text, taken)
        {
            return Some((flag, word.start));
        }
        if is_end(text) {
            taken = None;
        } else if let Some(program) = program(text) {
            taken = Some(program);
        } else if let Some(taken) = taken
            && let Some(flag) = taken.flags.iter().find(|flag| text.starts_with(**flag))
        {
            let (name, value) = (word.start..word.start + flag.len(), &text[flag.len()..]);
            if value.is_empty() {
                waiting = taken.is_apart.then_some((name, taken));
            } else if taken.is_joined && !flag.starts_with("--") && is_value(value, taken) {
                let start = name.end;
                return Some((name, start));
            }
        }
    }
    identified(line)
}

fn is_value(text: &str, flag: &Flag) -> bool {
    !flag.has_user || text.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

/// `/usr/bin/mysql` is `mysql`.
fn program(word: &str) -> Option<&'static Flag> {
    let name = word.rsplit('/').next().unwrap_or(word);
    FLAGS.iter().find(|flag| flag.programs.contains(&name))
}

/// What ends a command.
fn is_end(word: &str) -> bool {
    matches!(word, "|" | "||" | "&&" | "&" | ";")
}

fn words(line: &str) -> impl Iterator<Item = Range<usize>> {
    let parts = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '[' | ']' | '(' | ')');
    let mut end = 0;
    std::iter::from_fn(move || {
        let start = end + line[end..].find(|c| !parts(c))?;
        let ends = |c: char| parts(c) || c == ';';
        end = match line[start..].find(ends) {
            Some(0) => start + 1,
            Some(length) => start + length,
            None => line.len(),
        };
        Some(start..end)
    })
}

/// `IDENTIFIED BY 'x'`, and with what comes between.
fn identified(line: &str) -> Option<(Range<usize>, usize)> {
    let mut is_identified = false;
    let mut last = "";
    for word in words(line) {
        let text = &line[word.clone()];
        is_identified |= text.eq_ignore_ascii_case("identified");
        let is_quoted = line[..word.start].ends_with(['"', '\'']);
        if is_identified && is_quoted && last.eq_ignore_ascii_case("by") {
            return Some((word.start..word.start, word.start));
        }
        last = text;
    }
    None
}
