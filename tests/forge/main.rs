//! Pull requests: the client of forges, and `gitops review` as a job of a CI runs it, against a forge of our own that
//! answers as the documentation of each says and checks every request.

#![allow(clippy::disallowed_methods, reason = "the tests start the program")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod command;
mod fake;
