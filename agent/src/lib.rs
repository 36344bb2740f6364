//! The agent of one node: it accepts a plan, makes it true with Docker Compose, and says so.
//!
//! `host` is the seam between deciding and doing. On this side of it `docker` reads the engine, `compose` changes
//! it, and `files` keeps the folder of each instance.

pub mod compose;
pub mod docker;
pub mod files;
pub mod host;
pub mod text;
