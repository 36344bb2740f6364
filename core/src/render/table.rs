//! Columns of text, aligned by what is seen.

use anstyle::Style;

use super::{DIM, painted};

/// One cell: text and how it is painted.
pub(super) struct Cell(pub(super) String, pub(super) Style);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.to_owned(), Style::new())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Style::new())
    }
}

/// Rows under a head. The last column is not padded, so that lines have no trailing spaces.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[Cell; N]>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].0.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [(&str, Style); N]| {
        let padded = cells.iter().zip(widths).map(|((text, style), width)| {
            let pad = " ".repeat(width - text.chars().count());
            format!("{}{pad}", painted_if_any(*style, text))
        });
        let text = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", text.trim_end())
    };
    let mut text = line(head.map(|name| (name, DIM)));
    for row in &rows {
        text.push_str(&line(std::array::from_fn(|column| (row[column].0.as_str(), row[column].1))));
    }
    text
}

fn painted_if_any(style: Style, text: &str) -> String {
    if style == Style::new() { text.to_owned() } else { painted(style, text) }
}
