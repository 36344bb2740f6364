//! The one comment that is kept up to date: found again by its marker and its author, and never two of them.
//!
//! Several runs may do this at once, and a forge has no lock to take. So whoever has made a comment looks again, keeps the
//! oldest that is ours and deletes the others. The oldest is the same for all who look, and it is deleted by nobody, so
//! in the end it is the only one. Who finds that the comment it meant to update is gone begins again.
//!
//! A comment counts as ours only by its author: anyone may copy a marker, and then change the words below it.

use gitops_core::review::Marker;

use super::{Author, Client, Comment, ForgeError, Why};

/// The most comments that are looked at: no forge lets a pull request have more (GitHub 2,500, GitLab 5,000).
const MAX_COMMENTS: usize = 5_000;
/// How often it begins again. Each time, another run has deleted a comment in between.
const ATTEMPTS: usize = 5;

/// What became of the comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It is new.
    Created,
    /// It has another text now.
    Updated,
    /// It says so already.
    Unchanged,
    /// There was none to bring up to date.
    Absent,
}

impl Client {
    /// Makes the comment with this marker say `text`, and no other one beside it.
    ///
    /// # Errors
    ///
    /// If the forge does not let us. It is safe to try again.
    pub async fn upsert_comment(
        &self,
        number: u64,
        marker: &Marker,
        text: &str,
    ) -> Result<Stuck, ForgeError> {
        let body = marker.on(text);
        let mut me = self.me().await?;
        for _ in 0..ATTEMPTS {
            let mut ours = self.ours(number, marker, me).await?;
            let is_first = ours.is_empty();
            if is_first {
                let created = self.create(number, &body).await?;
                me = created.author.or(me);
                ours = self.ours(number, marker, me).await?;
                // A list may be behind, and who does not know who we are finds none.
                if ours.iter().all(|comment| comment.id != created.id) {
                    ours.push(created);
                }
            }
            match self.settle(number, &ours, &body).await? {
                Some(_) if is_first => return Ok(Stuck::Created),
                Some(done) => return Ok(done),
                None => {}
            }
        }
        let ask = self.dialect.create_comment(&self.repository, number, "");
        let said = "others delete our comment as soon as it is there".to_owned();
        Err(self.connection.error(&ask, Why::Later { after: None, said, source: None }))
    }

    /// The same if there is such a comment; none is made.
    ///
    /// # Errors
    ///
    /// If the forge does not let us. It is safe to try again.
    pub async fn refresh_comment(
        &self,
        number: u64,
        marker: &Marker,
        text: &str,
    ) -> Result<Stuck, ForgeError> {
        let ours = self.ours(number, marker, self.me().await?).await?;
        let settled = self.settle(number, &ours, &marker.on(text)).await?;
        Ok(settled.unwrap_or(Stuck::Absent))
    }

    /// Who we are. Some tokens are not told.
    async fn me(&self) -> Result<Option<Author>, ForgeError> {
        let ask = self.dialect.me();
        match self.connection.send(&ask).await {
            Ok(body) => self.read(&ask, self.dialect.read_me(&body)),
            Err(ForgeError { why: Why::Denied { .. } | Why::Missing { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Our comments with this marker, the oldest first. Who does not know who we are finds none; then one is made, and by
    /// its author the others are found.
    async fn ours(
        &self,
        number: u64,
        marker: &Marker,
        me: Option<Author>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let size = self.dialect.page_size().unwrap_or(MAX_COMMENTS);
        let mut ours = Vec::new();
        for page in 1..=MAX_COMMENTS.div_ceil(size) {
            let ask = self.dialect.comments(&self.repository, number, page);
            let body = self.connection.send(&ask).await?;
            let comments = self.read(&ask, self.dialect.read_comments(&body))?;
            let is_last = comments.len() < size;
            let is_ours =
                |comment: &Comment| me.is_some() && comment.author == me && marker.is_in(&comment.body);
            ours.extend(comments.into_iter().filter(is_ours));
            if is_last || self.dialect.page_size().is_none() {
                break;
            }
        }
        ours.sort_by_key(|comment| comment.id);
        Ok(ours)
    }

    async fn create(&self, number: u64, body: &str) -> Result<Comment, ForgeError> {
        let ask = self.dialect.create_comment(&self.repository, number, body);
        let answer = self.connection.send(&ask).await?;
        self.read(&ask, self.dialect.read_comment(&answer))
    }

    /// Makes the oldest comment say `body`, and deletes the others. None if there is none, or it is gone.
    async fn settle(&self, number: u64, ours: &[Comment], body: &str) -> Result<Option<Stuck>, ForgeError> {
        let Some((oldest, others)) = ours.split_first() else { return Ok(None) };
        let mut done = Stuck::Unchanged;
        if !same(&oldest.body, body) {
            let ask = self.dialect.update_comment(&self.repository, number, oldest.id, body);
            if !self.is_there(self.connection.send(&ask).await)? {
                return Ok(None);
            }
            done = Stuck::Updated;
        }
        for other in others {
            let ask = self.dialect.delete_comment(&self.repository, number, other.id);
            self.is_there(self.connection.send(&ask).await)?;
        }
        Ok(Some(done))
    }

    /// Whether what was changed was still there.
    fn is_there(&self, sent: Result<Vec<u8>, ForgeError>) -> Result<bool, ForgeError> {
        match sent {
            Ok(_) => Ok(true),
            Err(ForgeError { why: Why::Missing { .. }, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Forges change the ends of lines, and drop those at the end.
fn same(there: &str, wanted: &str) -> bool {
    there.replace("\r\n", "\n").trim_end() == wanted.trim_end()
}
