//! Git in, plans out, one pure function between.
//!
//! Modules stand in reading order; each imports only those above it, which `tests/architecture.rs` checks.

// The core: no file, process, network, clock, environment or randomness; no `async fn`; ordered maps only.
pub mod catalog;
pub mod check;
pub mod compose;
pub mod definition;
pub mod desired;
pub mod diagnostic;
pub mod diff;
pub mod fleet;
pub mod govern;
pub mod name;
pub mod plan;
pub mod planner;
pub mod reconcile;
pub mod render;
pub mod status;
pub mod tree;
pub mod yaml;

// The shell: touches the world and decides nothing.
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod git;
pub mod source;
pub mod store;
