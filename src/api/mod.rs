//! HTTP for agents and operators: JSON under `/v1`, bearer tokens, refusals as problem details.
//!
//! The straight line of a request: [`listen`] accepts it, [`routes`] finds its row in the one route table and puts the
//! checks of that row in front of it (time, token, size), a handler in [`agent`], [`operator`], [`events`] or [`hook`]
//! reads it, and [`control`] answers what only the daemon can decide. [`wire`] has the types for both ends.

pub mod access;
mod agent;
pub mod control;
mod decisions;
mod events;
mod history;
mod hook;
pub mod listen;
mod live;
mod logs;
pub mod metrics;
mod openapi;
mod operator;
mod probe;
pub mod problem;
mod read;
mod routes;
mod tokens;
pub mod wire;

pub use control::Control;
pub use hook::Hooks;
pub use routes::router;

#[cfg(test)]
mod tests;
