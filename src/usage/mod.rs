//! Which features a service uses, how it comes to use them, and what they ask of a node.
//!
//! It stands below placement, which asks what a node must have, and below the rules, which ask what is used and what is
//! available: all of them get one answer.

mod node;

pub use node::{Lack, Need, available_on, needs, offered_by};
