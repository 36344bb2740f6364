//! The shell around `gitops_core`: it touches the world and decides nothing.
//!
//! Modules stand in reading order; each imports only those above it, which `tests/architecture.rs` checks.

pub mod clock;
pub mod git;
pub mod source;
pub mod store;
pub mod forge;
pub mod api;
pub mod config;
pub mod daemon;
pub mod cli;
