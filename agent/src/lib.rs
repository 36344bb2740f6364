//! The agent: pulls the plan of one node, makes it true with Docker Compose, keeps it true, and says so.
//!
//! Modules stand in reading order. Everything that decides is pure ([`decide`], [`health`], [`apply`],
//! [`agent::state`]): it takes the time and its dice as arguments and returns what is to be done. Everything that
//! touches the world is thin and decides nothing.
//!
//! ```text
//!  daemon ──plan──▶ client ──▶ ┌────────────────────────┐ ──Ensure/Remove──▶ host ──▶ Docker Compose
//!  ledger ──at start─────────▶ │ agent::state::State    │ ──Save───────────▶ ledger
//!  Docker ──containers───────▶ │ step(event, moment)    │ ──Report─────────▶ client ──▶ daemon
//!                              └────────────────────────┘
//! ```

pub mod host;

// Pure.
pub mod moment;
pub mod decide;
pub mod health;
pub mod apply;

// The state folder.
pub mod disk;
pub mod ledger;
pub mod blobs;

// The world and the loop.
pub mod client;
pub mod agent;
pub mod config;
pub mod cli;
