//! Who calls: a bearer token becomes an [`Identity`], and the identity opens routes.
//!
//! **Invariant:** there is no way to switch this off. A route without it is listed as [`Access::Anyone`] in the route
//! table, tells nothing about the fleet, and changes nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use gitops_core::name::{NodeName, OperatorName, RoleName};

use super::control::Control;
use super::problem::ApiError;
use crate::store::token::{self, Secret};
use crate::store::{Identity, Store, StoreError, StoredToken};

/// How often tokens are read again: so long may pass until a token that another daemon over this store gave or revoked
/// is known or refused here. What this daemon itself does counts at once.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// All tokens, as stored, at hand for each request.
#[derive(Debug)]
pub struct TokenBook {
    tokens: RwLock<Arc<[StoredToken]>>,
    /// Held from reading to replacing, so that what was read earlier is never put in the place of what was read later.
    reading: tokio::sync::Mutex<()>,
}

impl TokenBook {
    /// With what the store holds.
    pub fn new(tokens: Vec<StoredToken>) -> Self {
        Self { tokens: RwLock::new(tokens.into()), reading: tokio::sync::Mutex::default() }
    }

    fn current(&self) -> Arc<[StoredToken]> {
        // A panic cannot come between two halves of a replacement.
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them again.
    ///
    /// # Errors
    ///
    /// Those of the store; what was known stays.
    pub async fn reload(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        let tokens = store.tokens().await?;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
        Ok(())
    }
}

/// Reads the tokens again and again until the daemon stops.
pub async fn follow_tokens(control: Control) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = control.stopping.cancelled() => return,
        }
        if let Err(error) = control.tokens.reload(&*control.store).await {
            tracing::debug!(%error, "the tokens cannot be read again");
        }
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Without a token: probes.
    Anyone,
    /// With any known token.
    Known,
    /// The agent of a node.
    Agent,
    /// An operator.
    Operator,
    /// An operator, or whoever knows the hook secret: the route checks for itself.
    Hook,
}

impl Access {
    pub(super) fn opens_to(self, identity: &Identity) -> Result<(), ApiError> {
        match (self, identity) {
            (Self::Agent, Identity::Operator(_)) => Err(ApiError::WrongIdentity("agents")),
            (Self::Operator | Self::Hook, Identity::Node(_)) => Err(ApiError::WrongIdentity("operators")),
            _ => Ok(()),
        }
    }
}

/// The caller of a route that needs a token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
    /// The roles of an operator.
    pub roles: BTreeSet<RoleName>,
    secret: Secret,
}

impl Caller {
    /// Whether its token is still good: asked again after a long wait.
    pub fn is_still_known(&self, control: &Control) -> bool {
        let tokens = control.tokens.current();
        token::identify(&self.secret, &tokens).is_some_and(|token| token.identity == self.identity)
    }
}

/// The node whose agent calls. It is never a parameter.
#[derive(Clone, Debug)]
pub struct CallingNode(pub NodeName, pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for CallingNode {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Caller>() {
            Some(caller @ Caller { identity: Identity::Node(node), .. }) => {
                Ok(Self(node.clone(), caller.clone()))
            }
            Some(_) => Err(ApiError::WrongIdentity("agents")),
            None => Err(ApiError::NoToken),
        }
    }
}

/// The operator who calls.
#[derive(Clone, Debug)]
pub struct CallingOperator {
    /// Their name.
    pub name: OperatorName,
    /// Their roles.
    pub roles: BTreeSet<RoleName>,
}

impl<S: Send + Sync> FromRequestParts<S> for CallingOperator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Caller>() {
            Some(Caller { identity: Identity::Operator(name), roles, .. }) => {
                Ok(Self { name: name.clone(), roles: roles.clone() })
            }
            Some(_) => Err(ApiError::WrongIdentity("operators")),
            None => Err(ApiError::NoToken),
        }
    }
}

/// The text of the bearer token, if one was sent. The scheme is not case-sensitive (RFC 9110, 11.1).
pub(super) fn bearer(headers: &axum::http::HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Finds out who calls.
pub(super) fn authenticate(control: &Control, headers: &axum::http::HeaderMap) -> Result<Caller, ApiError> {
    let secret = Secret::presented(bearer(headers).ok_or(ApiError::NoToken)?);
    let known = token::identify(&secret, &control.tokens.current()).cloned();
    let StoredToken { identity, roles, .. } = known.ok_or(ApiError::UnknownToken)?;
    Ok(Caller { identity, roles, secret })
}

/// In front of every route but those for [`Access::Anyone`] and [`Access::Hook`].
pub(super) async fn require(
    State((control, access)): State<(Control, Access)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = authenticate(&control, request.headers())?;
    access.opens_to(&caller.identity)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}
