//! Git in, plans out, one pure function between.
//!
//! No file, process, network, clock, environment or randomness; no `async fn`; ordered maps only. Modules stand in
//! reading order; each imports only those above it, which `tests/architecture.rs` checks.

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
pub mod spread;
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
pub mod applied;
pub mod check;
pub mod reconcile;
pub mod protocol;
pub mod render;
