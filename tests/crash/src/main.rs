//! Crash points: each write, sync, rename and deletion of what must last is a place at which the process is killed once, and
//! what it left is started again.
//!
//! The process under test is this program, started anew with the real code of the product in it. It is traced by `ptrace`
//! ([`trace`]), and dies by `SIGKILL` right before the call in question; so after the last of them every state that `kill -9`
//! can leave on the disk was there once. From the same run it is known what had been synced ([`synced`]): a second recovery
//! starts from only that, as after power loss.
//!
//! ```text
//! cargo test --workspace --test crash                  all points of all work
//! cargo test --workspace --test crash -- store         all points of the store
//! cargo test --workspace --test crash -- store:137     one point; the folders that it left are kept and named
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "it starts itself as another process, and measures how long that takes"
)]

mod agent;
mod facts;
mod migration;
mod points;
mod store;
mod synced;
mod trace;
mod work;

use std::path::Path;
use std::process::ExitCode;

use crate::agent::Agent;
use crate::migration::Migration;
use crate::points::Outcome;
use crate::store::Daemon;
use crate::work::{Problem, Work};

/// As the first argument: this is the process under test, and the others say which work, and where.
const UNDER_TEST: &str = "--under-test";

/// So many points there are at the very least, in what the agent and the daemon write.
const LEAST: usize = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [UNDER_TEST, work, folder, outside] => be_tested(work, Path::new(folder), Path::new(outside)),
        words => try_points(words.iter().copied().find(|word| !word.starts_with('-'))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for whoever traces it, and works.
fn be_tested(work: &str, folder: &Path, outside: &Path) -> Result<(), Problem> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(work::told)?;
    match work {
        "agent" => agent::carry_out(folder, outside),
        "migration" => migration::carry_out(folder, outside),
        "nothing" => Ok(()),
        part => store::carry_out(part, folder, outside),
    }
}

/// Containers may forbid it.
fn without_tracing(error: &std::io::Error) -> Result<(), Problem> {
    let problem = format!("no process can be traced here: {error}");
    match std::env::var("CI").as_deref() {
        Ok("true") => Err(problem),
        _ => {
            println!("skipped: {problem}");
            Ok(())
        }
    }
}

/// All work whose name is in `chosen`; only one point of it where a number follows.
fn try_points(chosen: Option<&str>) -> Result<(), Problem> {
    let mut works: Vec<Box<dyn Work>> = vec![Box::new(Agent::new()?), Box::new(Migration::new()?)];
    works.extend(Daemon::parts()?.into_iter().map(|part| Box::new(part) as Box<dyn Work>));
    let (name, number) = match chosen.map(|chosen| chosen.split_once(':').unwrap_or((chosen, ""))) {
        Some((name, number)) => (Some(name), number.parse().ok()),
        None => (None, None),
    };
    let mut outcome = Outcome::default();
    if let Err(error) = points::can_trace() {
        return without_tracing(&error);
    }
    for work in works.iter().filter(|work| name.is_none_or(|name| work.name().contains(name))) {
        match number {
            Some(number) => return points::replay(&**work, number),
            None => outcome.add(points::try_all(&**work)?),
        }
    }
    println!("{outcome}");
    let least = if name.is_none() { LEAST } else { 1 };
    match outcome.points < least {
        true => Err(format!(
            "there should be {least} points at least: something is not traced, or has another name"
        )),
        false => outcome.verdict(),
    }
}
