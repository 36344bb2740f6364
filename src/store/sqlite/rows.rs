//! Many rows in one statement.
//!
//! The columns of all rows travel as one JSON array, which the statement opens with `json_each`; their documents and
//! contents travel as one byte string, of which each row names its span. So the text of the statement is constant,
//! and SQLite never parses a document.

use serde::Serialize;

/// Where a row's content lies in the byte string, as SQL's `substr` wants it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Span {
    /// From 1.
    start: usize,
    /// Bytes.
    len: usize,
}

/// Rows for one execution of a statement.
#[derive(Debug)]
pub(super) struct Rows<R> {
    columns: Vec<R>,
    content: Vec<u8>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { columns: Vec::new(), content: Vec::new() }
    }
}

impl<R: Serialize> Rows<R> {
    /// The two arguments of the statement: the array and the byte string.
    pub(super) fn into_arguments(self) -> (String, Vec<u8>) {
        let columns = serde_json::to_string(&self.columns).expect("columns are names, numbers and digests");
        (columns, self.content)
    }
}

/// Rows for as many executions as it takes: SQLite bounds the length of a value (one gigabyte), and memory is dear.
#[derive(Debug)]
pub(super) struct Batches<R>(Vec<Rows<R>>);

impl<R> Batches<R> {
    /// A batch is closed when it holds so many bytes of content.
    const MAX_BYTES: usize = 16 << 20;

    /// Or so many rows: some two megabytes of columns.
    const MAX_ROWS: usize = 20_000;

    /// None yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// One more row.
    pub(super) fn push(&mut self, content: &[u8], columns: impl FnOnce(Span) -> R) {
        let full =
            |rows: &Rows<R>| rows.content.len() >= Self::MAX_BYTES || rows.columns.len() >= Self::MAX_ROWS;
        if self.0.last().is_none_or(full) {
            self.0.push(Rows::default());
        }
        let rows = self.0.last_mut().expect("one was just made where there was none");
        let span = Span { start: rows.content.len() + 1, len: content.len() };
        rows.content.extend_from_slice(content);
        rows.columns.push(columns(span));
    }
}

impl<R> IntoIterator for Batches<R> {
    type Item = Rows<R>;
    type IntoIter = std::vec::IntoIter<Rows<R>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
