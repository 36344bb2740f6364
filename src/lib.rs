//! Git in, plans out, one pure function between.
//!
//! Modules stand in reading order; each imports only those above it, which `tests/architecture.rs` checks.

// The core: no file, process, network, clock, environment or randomness; no `async fn`; ordered maps only.
pub mod name;
pub mod diagnostic;
pub mod sensitive;
mod align;
pub mod tree;
pub mod plan;
pub mod status;
pub mod holders;
pub mod decision;
pub mod yaml;
pub mod definition;
mod spread;
pub mod condition;
pub mod compose;
pub mod catalog;
pub mod usage;
pub mod place;
pub mod desired;
pub mod window;
pub mod govern;
pub mod capacity;
pub mod explain;
pub mod diff;
pub mod promote;
pub mod review;
pub mod planner;
pub mod fleet;
pub mod event;
pub mod log;
pub mod release;
pub mod check;
pub mod reconcile;
pub mod render;

// The shell: touches the world and decides nothing.
pub mod clock;
pub mod git;
pub mod source;
pub mod store;
pub mod forge;
pub mod api;
pub mod config;
pub mod daemon;
pub mod cli;
