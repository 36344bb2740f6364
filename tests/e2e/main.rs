//! The product from end to end, with nothing in the place of anything: real `git push`, the real daemon and agents,
//! and two real Docker engines.
//!
//! `GITOPS_TEST_ENGINES` names the sockets of two engines that have `busybox:1.36`; `tests/run` starts them. Where
//! `CI` is `true`, their absence is a failure. Every test has its own daemon, agents, nodes and services, so that all
//! can run at once on the same engines.

#![allow(clippy::disallowed_methods, reason = "the tests start programs, and measure")]

mod crash;
mod deploy;
mod docker;
mod documents;
mod fake;
mod gates;
mod heal;
mod hook;
mod live;
mod program;
mod quickstart;
mod refuse;
mod release;
mod world;

#[path = "../support/mod.rs"]
mod support;
