//! Gitea and Forgejo: GitHub's paths under `/api/v1`, with all comments in one answer.

use super::dialect::Dialect;
use super::http::Ask;

/// The dialect of both.
pub(super) struct Gitea;

impl Dialect for Gitea {
    /// The list of comments has no pages, and a page that is asked for is the whole list again.
    fn page_size(&self) -> Option<usize> {
        None
    }

    fn me(&self) -> Ask {
        Ask::get("find out whose token it is", "user".to_owned())
    }
}
