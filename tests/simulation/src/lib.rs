//! The simulator: the state machines of daemons and agents, the real stores, and a world in which everything goes wrong,
//! driven by a seeded queue of events in virtual time.
//!
//! A seed is a story ([`plot`]): how many daemons and nodes, what people commit, and what goes wrong when. It is played in
//! a [`world`], and a [`witness`] says which rule was broken, if one was. The same seed gives the same story, so that a
//! failure can be looked at as often as it takes: see `README.md`.
//!
//! ```text
//!  plot ──▶ world ── queue ──▶ daemon ── gitops::daemon::state::step ──▶ storage (MemoryStore, SqliteStore)
//!             │                  ▲ network ▼
//!             │                agent ── gitops_agent::agent::state::State::step ──▶ docker
//!             └─ every fact ──▶ witness ──▶ Violation
//! ```

mod dice;
mod clock;
mod rollout;
mod repository;
mod git;
mod docker;
mod network;
mod storage;
mod defects;
mod witness;
mod plot;
mod world;
mod daemon;
mod agent;
mod trouble;
mod ending;
mod spoiling;

pub use defects::{DEFECTS, Defect};
pub use plot::Plot;
pub use witness::{RULES, Violation};

use world::World;

/// What became of a story.
#[derive(Debug)]
pub struct Played {
    /// The rule that was broken, if one was.
    pub broken: Option<Violation>,
    /// What happened, as lines; none where nobody wanted them.
    pub trace: Vec<String>,
    /// How much happened.
    pub happenings: u64,
    /// How long it took in the world, in milliseconds.
    pub time: u64,
}

/// Plays a story.
pub fn play(plot: Plot, is_traced: bool) -> Played {
    let mut world = World::new(plot, is_traced);
    let broken = world.play();
    Played { broken, trace: world.trace(), happenings: world.happenings, time: world.now }
}
