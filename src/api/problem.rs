//! Every refusal of the API: a stable code, an HTTP status, and a sentence that says what to do.
//!
//! Answers are RFC 9457 problem details. Nothing of the inside leaks: what failed within the daemon is logged where
//! it failed and named here only by kind.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gitops_core::name::{NodeName, OperatorName, Revision};
use gitops_core::protocol::{HelloError, Problem};
use gitops_core::reconcile::preview::difference::Difference;
use jiff::Timestamp;

use crate::store::StoreError;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No bearer token.
    #[error(
        "send `Authorization: Bearer <token>`; the operator's token is in `operator.token` in the daemon's state folder"
    )]
    NoToken,
    /// A token that opens nothing.
    #[error("the token is not known: it was revoked, or belongs to another daemon")]
    UnknownToken,
    /// A token that opens something else.
    #[error("this route is for {0}: the token speaks for somebody else")]
    WrongIdentity(&'static str),
    /// What only the first operator may do.
    #[error(
        "`{0}` may not do this: only the operator whose token is in `operator.token` in the daemon's state folder says who operates it"
    )]
    NotFirst(OperatorName),
    /// The headers of the agent.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Another agent speaks for the node.
    #[error(
        "agent `{agent}` on `{host}` speaks for this node since {}, last heard {heard_at}: {}; the node is free at {free_at} if the other stays silent",
        since.map_or("before the daemon started".to_owned(), |at| at.to_string()),
        which_to_stop(*is_copy)
    )]
    SecondAgent {
        /// The id of the one that came first.
        agent: Arc<str>,
        /// The machine of the one that came first.
        host: Arc<str>,
        /// Since when it has; none where it already did when the daemon started.
        since: Option<Timestamp>,
        /// When it was last heard.
        heard_at: Timestamp,
        /// When the node is free for another.
        free_at: Timestamp,
        /// It has the id of the one that is refused.
        is_copy: bool,
    },
    /// The agent was given the token of another node.
    #[error(
        "the token is that of node `{token}`, and the agent is set up for `{agent}`: give it a token of its own (`gitops node token {agent}`), or set its `node` to `{token}`"
    )]
    WrongNode {
        /// Whose token it is.
        token: NodeName,
        /// What the agent is set up for.
        agent: NodeName,
    },
    /// The status does not fit the caller.
    #[error("{0}")]
    WrongStatus(String),
    /// Something in the request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// More than the route takes.
    #[error("the body is larger than {0} bytes, the most that this route takes")]
    TooLarge(usize),
    /// Not there, or not for this caller: the two are not told apart.
    #[error("{0}")]
    NotFound(String),
    /// The path exists, with other methods.
    #[error("this path does not take this method: see GET /v1/openapi.json")]
    MethodNotAllowed,
    /// A webhook whose signature or token does not fit.
    #[error(
        "the signature or token of this webhook does not fit: give the forge the secret of the daemon's `hook_secret_file`"
    )]
    BadSignature,
    /// A webhook that was taken already.
    #[error("this delivery was taken already, and had its effect: nothing was done")]
    Replayed,
    /// Too many webhook calls.
    #[error("too many calls: the source is looked at anyway; try again in {0} seconds")]
    TooMany(u64),
    /// It took too long.
    #[error("the request was not complete in {0} seconds")]
    TimedOut(u64),
    /// What a preview was asked against is not deployed any more.
    #[error("{}", base_moved(.0.as_ref()))]
    BaseMoved(Option<Revision>),
    /// What would be deployed is not what was asked for.
    #[error(
        "deploying the newest revision is another plan by now, so nothing was changed: look at it with `gitops diff REVISION --live`, and ask for the plan id that it shows"
    )]
    PlanMoved(Box<Difference>),
    /// What was asked for is a plan of a commit that is not there.
    #[error(
        "commit {} is not on the watched branch yet, so nothing was changed: push it, and ask for its plan again",
        .0.short()
    )]
    NotPushed(Revision),
    /// Nothing waits under the id that was named.
    #[error("{0}")]
    NotAwaited(String),
    /// Who wrote a change does not approve it.
    #[error("you are the author of commit {}, and authors do not approve their own changes: ask somebody else", .0.short())]
    OwnChange(Revision),
    /// Too much of the kind is being done.
    #[error("too many previews at once: try again in a second")]
    Busy,
    /// The daemon has just started.
    #[error("the daemon has not read the deployed revision yet: try again in a second")]
    NotReady,
    /// The store could not write or read.
    #[error("the store failed, see the daemon's log; nothing was changed: try again")]
    NotStored,
    /// The daemon is stopping.
    #[error("the daemon is stopping: try again when it is back")]
    Stopping,
}

fn which_to_stop(is_copy: bool) -> &'static str {
    match is_copy {
        true => {
            "this one has the same id, so one of the two runs on a copy or an old backup of the other's state folder: stop that one, and before it starts again delete its state folder and give it a node and a token of its own"
        }
        false => "stop one of the two, or give this one its own node and token",
    }
}

fn base_moved(deployed: Option<&Revision>) -> String {
    match deployed {
        Some(deployed) => format!(
            "{deployed} is deployed, and not what the changes were found against: fetch it, and find the changes against it"
        ),
        None => "nothing is deployed yet: send all files as changes, without `base`".to_owned(),
    }
}

impl ApiError {
    /// Status, code and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, "no-token", "a token is needed"),
            Self::UnknownToken => (StatusCode::UNAUTHORIZED, "unknown-token", "the token is not known"),
            Self::WrongIdentity(_) => (StatusCode::FORBIDDEN, "wrong-identity", "not for this token"),
            Self::NotFirst(_) => (StatusCode::FORBIDDEN, "not-first", "for the first operator"),
            Self::Hello(HelloError::NoCommonProtocol { .. }) => {
                (StatusCode::UPGRADE_REQUIRED, "no-common-protocol", "no protocol version in common")
            }
            Self::Hello(_) => (StatusCode::BAD_REQUEST, "bad-hello", "not the headers of an agent"),
            Self::SecondAgent { .. } => {
                (StatusCode::CONFLICT, "second-agent", "another agent speaks for the node")
            }
            Self::WrongNode { .. } => {
                (StatusCode::FORBIDDEN, "wrong-node", "the token belongs to another node")
            }
            Self::WrongStatus(_) => {
                (StatusCode::BAD_REQUEST, "wrong-status", "the status does not fit the caller")
            }
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "the request cannot be read"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed")
            }
            Self::BadSignature => (StatusCode::UNAUTHORIZED, "bad-signature", "the signature does not fit"),
            Self::Replayed => (StatusCode::CONFLICT, "replayed", "taken already"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many", "too many calls"),
            Self::TimedOut(_) => (StatusCode::REQUEST_TIMEOUT, "timed-out", "the request took too long"),
            Self::BaseMoved(_) => (StatusCode::CONFLICT, "base-moved", "another revision is deployed"),
            Self::PlanMoved(_) => (StatusCode::CONFLICT, "plan-moved", "the plan is another by now"),
            Self::NotPushed(_) => (StatusCode::CONFLICT, "not-pushed", "the commit is not on the branch yet"),
            Self::NotAwaited(_) => (StatusCode::CONFLICT, "not-awaited", "no such changes wait"),
            Self::OwnChange(_) => (StatusCode::FORBIDDEN, "own-change", "not by its author"),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "too much at once"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the daemon has just started"),
            Self::NotStored => (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "the store failed"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping"),
        }
    }

    /// As it is sent.
    pub fn problem(&self) -> Problem {
        let (status, code, title) = self.kind();
        let difference = match self {
            Self::PlanMoved(difference) => Some(difference.clone()),
            _ => None,
        };
        let (code, title, detail) = (code.into(), title.into(), self.to_string());
        Problem { code, status: status.as_u16(), title, detail, difference }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany(seconds) => Some(*seconds),
            Self::NotStored | Self::Stopping | Self::Busy | Self::NotReady => Some(1),
            _ => None,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed during a request");
        Self::NotStored
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind();
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
