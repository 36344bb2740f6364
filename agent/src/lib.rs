//! The agent: pulls the plan of one node, makes it true with Docker Compose, keeps it true, and says so.
//!
//! Modules stand in reading order. What decides is pure ([`decide`], [`health`], [`apply`], [`agent::state`]): it
//! takes the time and its dice as arguments and returns what is to be done. What touches the world is thin and
//! decides nothing. [`host`] is the seam between the two.
//!
//! ```text
//!  daemon ──plan──▶ client ──▶ ┌────────────────────────┐ ──Begin──▶ host ──▶ Docker Compose
//!  ledger ──at start─────────▶ │ agent::state::State    │ ──Save───▶ ledger
//!  Docker ──containers───────▶ │ step(event, moment)    │ ──Report─▶ client ──▶ daemon
//!                              └────────────────────────┘
//! ```

pub mod clock;
pub mod host;

// The state folder.
pub mod attempt;
pub mod blobs;
pub mod disk;
pub mod journal;
pub mod ledger;

// What decides about steps.
pub mod apply;
pub mod checks;
pub mod decide;
pub mod drift;
pub mod health;
pub mod moment;
pub mod picture;
pub mod streak;

// The machine: `docker` reads the engine, `compose` changes it, `files` keeps the folder of each instance.
pub mod compose;
pub mod docker;
pub mod files;
pub mod text;

// The daemon, the loop, the program.
pub mod agent;
pub mod cli;
pub mod client;
pub mod config;

#[cfg(test)]
mod testing;
