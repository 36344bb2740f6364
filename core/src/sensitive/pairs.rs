//! Names and values that stand apart: `name: DB_PASSWORD` with its `value: x` beside, above or below it, and the head of
//! a table with its columns.

use std::collections::BTreeSet;

use super::lines::{Assignment, names};
use super::words::is_part;
use super::{HIDDEN, NAMES, Sensitive};

/// The pair that the lines of a file are in.
#[derive(Default)]
pub(super) struct Pair {
    /// Where its keys begin.
    column: usize,
    is_secret: bool,
    /// The line of its value, where that came before its name.
    value: Option<usize>,
}

/// What a line says of the pair that it is part of.
pub(super) enum Found {
    /// Its value is a secret.
    Value(Assignment),
    /// The lines since this one hold its value.
    Since(usize),
}

impl Pair {
    /// Takes over the line of this number.
    pub(super) fn take(&mut self, sensitive: &Sensitive, number: usize, line: &str) -> Option<Found> {
        let item = line.trim_start();
        let text = item.trim_start_matches("- ").trim_start();
        let column = line.len() - text.len();
        if text.len() < item.len() || column < self.column || text.starts_with(['{', '}']) {
            *self = Self { column, ..Self::default() };
        }
        self.column = if self.is_empty() { column } else { self.column };
        let key = names(line).find(|name| name.start >= column).filter(|_| column == self.column)?;
        let (sign, found) = Assignment::of(line, key.clone());
        if !sign.contains([':', '=']) {
            return None;
        }
        let key = &line[key];
        if key.eq_ignore_ascii_case("value") {
            self.value = Some(number);
            return self.is_secret.then_some(Found::Value(found));
        }
        let value = names(&line[found.value..]).next().map(|name| &line[found.value..][name])?;
        self.is_secret |= is_name(key) && sensitive.names_a_secret(value);
        self.value.filter(|_| self.is_secret).map(Found::Since)
    }

    fn is_empty(&self) -> bool {
        !self.is_secret && self.value.is_none()
    }
}

fn is_name(key: &str) -> bool {
    NAMES.iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// The value of `{name: DB_PASSWORD, value: x}` and `<add key="DB_PASSWORD" value="x"/>`.
pub(super) fn of_line(sensitive: &Sensitive, line: &str) -> Option<Assignment> {
    let (mut value, mut is_secret, mut is_named) = (None, false, false);
    for name in names(line) {
        let (sign, found) = Assignment::of(line, name.clone());
        let (word, is_set) = (&line[name], sign.contains([':', '=']));
        if std::mem::take(&mut is_named) {
            is_secret |= sensitive.names_a_secret(word);
        } else if is_set && is_name(word) {
            is_named = true;
        } else if is_set && word.eq_ignore_ascii_case("value") {
            value = value.or(Some(found));
        }
    }
    value.filter(|_| is_secret)
}

/// A table whose head names secrets.
pub(super) struct Table {
    sign: char,
    width: usize,
    columns: BTreeSet<usize>,
}

impl Table {
    /// The one that these lines are, if they are one.
    pub(super) fn of(sensitive: &Sensitive, lines: &[&str]) -> Option<Self> {
        let [head, first, ..] = lines else { return None };
        let is_cell = |cell: &str| !cell.is_empty() && cell.chars().all(|c| is_part(c) || c == ' ');
        let read = |sign: char| {
            let cells: Vec<&str> = head.split(sign).map(|cell| cell.trim_matches(['"', '\'', ' '])).collect();
            let names = cells.iter().enumerate().filter(|(_, cell)| sensitive.names_a_secret(cell));
            let columns: BTreeSet<usize> = names.map(|(number, _)| number).collect();
            let is_table = cells.len() > 1 && cells.len() == first.split(sign).count();
            (is_table && !columns.is_empty() && cells.iter().all(|cell| is_cell(cell))).then_some(Self {
                sign,
                width: cells.len(),
                columns,
            })
        };
        [',', ';', '\t'].into_iter().find_map(read)
    }

    /// A line below the head. One that has other columns may have a sign within a cell.
    pub(super) fn shown(&self, line: &str) -> String {
        let cells: Vec<&str> = line.split(self.sign).collect();
        if line.trim().is_empty() {
            return line.to_owned();
        }
        if cells.len() != self.width {
            return HIDDEN.to_owned();
        }
        let cells = cells.into_iter().enumerate();
        let shown = cells.map(|(number, cell)| if self.columns.contains(&number) { HIDDEN } else { cell });
        shown.collect::<Vec<_>>().join(&self.sign.to_string())
    }
}
