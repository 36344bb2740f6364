//! Reading requests: bodies and parameters, with errors that name the field.

use axum::body::Bytes;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// The body as JSON, whatever its media type says: agents and `curl` alike send nothing else.
pub(super) fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Malformed(format!("the body cannot be read: {error}")))
}

/// The body as JSON, or the default where there is none.
pub(super) fn json_or_default<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, ApiError> {
    if body.is_empty() { Ok(T::default()) } else { json(body) }
}

/// A name or digest in the path.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::Malformed(format!("{error}")))
}
