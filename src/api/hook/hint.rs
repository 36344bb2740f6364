//! What a payload hints at: the source, or one pull request by its number.
//!
//! The body decides and not the header that names the event, because the body is what forges sign. All but the number
//! is passed over unread, whatever it holds.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::problem::ApiError;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The source: a push, a ping, and whatever else is not about a pull request as such.
    Source,
    /// The pull request of this number.
    PullRequest(u64),
}

/// The few fields that tell. A comment on a pull request is none of these: ours would call for the next one.
#[derive(Deserialize)]
struct Payload {
    /// Of GitHub, Gitea and Forgejo: beside `pull_request`, in events of the pull request itself.
    number: Option<u64>,
    pull_request: Option<IgnoredAny>,
    /// Of GitLab.
    object_kind: Option<String>,
    object_attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    iid: Option<u64>,
}

impl Hint {
    /// Reads a payload. An empty one, as of a script, hints at the source.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::Source);
        }
        let unreadable = |error: serde_json::Error| {
            let line = error.line();
            let why = "the payload is no JSON that a forge sends: set the content type of the webhook to application/json";
            ApiError::Malformed(format!("{why} (line {line})"))
        };
        let payload: Payload = serde_json::from_slice(body).map_err(unreadable)?;
        Ok(payload.pull_request().map_or(Self::Source, Self::PullRequest))
    }
}

impl Payload {
    fn pull_request(&self) -> Option<u64> {
        let number = match self.object_kind.as_deref() {
            Some("merge_request") => self.object_attributes.as_ref()?.iid,
            Some(_) => None,
            None => self.pull_request.and(self.number),
        };
        number.filter(|number| *number > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &str, expected: Hint) {
        assert_eq!(Hint::read(payload.as_bytes()).ok(), Some(expected), "{payload:.200}");
    }

    #[test]
    fn each_forge_names_its_pull_request_in_its_own_way() {
        for (payload, number) in [
            (include_str!("payloads/github-pull-request.json"), 17),
            (include_str!("payloads/gitea-pull-request.json"), 4),
            (include_str!("payloads/forgejo-pull-request.json"), 4),
            (include_str!("payloads/gitlab-merge-request.json"), 9),
        ] {
            check(payload, Hint::PullRequest(number));
        }
    }

    #[test]
    fn whatever_is_not_about_a_pull_request_as_such_hints_at_the_source() {
        for payload in [
            include_str!("payloads/github-push.json"),
            include_str!("payloads/gitlab-push.json"),
            include_str!("payloads/gitea-push.json"),
            include_str!("payloads/bitbucket-push.json"),
            include_str!("payloads/github-ping.json"),
            include_str!("payloads/gitea-comment.json"),
            include_str!("payloads/gitlab-note.json"),
            "",
            "{}",
            r#"{"number": 0, "pull_request": {}}"#,
            r#"{"number": 3, "pull_request": null}"#,
            r#"{"object_kind": "merge_request", "object_attributes": {}}"#,
            r#"{"object_kind": "pipeline", "object_attributes": {"iid": 3}, "number": 3, "pull_request": {}}"#,
        ] {
            check(payload, Hint::Source);
        }
    }

    #[test]
    fn what_no_forge_sends_is_refused_with_what_to_do() {
        let deep = format!("{{\"x\": {}}}", "[".repeat(100_000));
        for payload in
            ["payload=%7B%7D", "[]", "{", "{\"number\": \"17\"}", "{\"number\": -1}", &*deep, "\u{0}"]
        {
            let text = Hint::read(payload.as_bytes()).expect_err("refused").to_string();
            assert!(text.contains("application/json"), "{payload:.40}: {text}");
        }
    }
}
