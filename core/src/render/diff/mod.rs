//! A diff for people: as text for a terminal and as Markdown for a pull request. What both say of a thing is said here.

mod markdown;
mod text;
mod words;

pub use markdown::{LIMIT, markdown, markdown_under};
pub use text::{reason_text, text};
pub use words::summary;
