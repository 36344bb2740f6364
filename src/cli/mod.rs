//! The command line: one file per command, and error kinds that choose the exit code.
//!
//! Commands that only read a repository run without a daemon, without Docker and without a network; the others
//! speak to the daemon through [`client`].

mod approve;
mod capacity;
mod client;
mod completions;
mod config;
mod controls;
mod diff;
mod error;
mod events;
mod explain;
mod features;
mod history;
mod hold;
mod hook;
mod init;
mod load;
mod local;
mod lock;
mod logs;
mod node;
mod operator;
mod output;
mod pager;
mod patience;
mod promote;
mod release;
mod render;
mod retry;
mod review;
mod rollback;
mod schema;
mod serve;
mod show;
mod status;
mod suspend;
mod sync;
mod target;
mod trace;
mod validate;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::{CliError, Exit};

/// Git push to deploy, on your own machines
#[derive(Debug, Parser)]
#[command(name = "gitops", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Validate(validate::Args),
    Diff(diff::Args),
    Hook(hook::Args),
    Render(render::Args),
    Explain(explain::Args),
    Capacity(capacity::Args),
    Features(features::Args),
    Controls(controls::Args),
    Promote(promote::Args),
    Review(Box<review::Args>),
    Serve(Box<serve::Args>),
    Status(status::Args),
    Lock(lock::Args),
    Unlock(lock::UnlockArgs),
    Suspend(suspend::Args),
    Resume(suspend::ResumeArgs),
    Holds(hold::Args),
    Approvals(approve::ListArgs),
    Approve(approve::Args),
    Reject(approve::RejectArgs),
    Rollback(Box<rollback::Args>),
    Unpin(rollback::UnpinArgs),
    Retry(retry::Args),
    Node(node::Args),
    Operator(operator::Args),
    Events(events::Args),
    Logs(logs::Args),
    Why(why::Args),
    Trace(trace::Args),
    /// Show what was deployed when, by whom, and how it went: the newest first
    #[command(visible_alias = "releases")]
    History(history::Args),
    Release(release::Args),
    Show(show::Args),
    Sync(sync::Args),
    Config(config::Args),
    Schema(schema::Args),
    Completions(completions::Args),
}

/// Runs one command. Whatever goes wrong is printed here, once.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.print();
            error.exit().into()
        }
    }
}

/// clap ends with 2 on a wrong flag; here 2 means that changes are pending.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell it to if the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { Exit::Failed.into() } else { Exit::Done.into() }
}

fn dispatch(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Hook(args) => hook::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Capacity(args) => capacity::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Controls(args) => controls::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Status(args) => client::block_on(status::run(&args)),
        Command::Lock(args) => client::block_on(lock::run(&args)),
        Command::Unlock(args) => client::block_on(lock::unlock(&args)),
        Command::Suspend(args) => client::block_on(suspend::run(&args)),
        Command::Resume(args) => client::block_on(suspend::resume(&args)),
        Command::Holds(args) => client::block_on(hold::run(&args)),
        Command::Approvals(args) => client::block_on(approve::list(&args)),
        Command::Approve(args) => client::block_on(approve::run(&args)),
        Command::Reject(args) => client::block_on(approve::reject(&args)),
        Command::Rollback(args) => rollback::run(&args),
        Command::Unpin(args) => client::block_on(rollback::unpin(&args)),
        Command::Retry(args) => client::block_on(retry::run(&args)),
        Command::Operator(args) => client::block_on(operator::run(&args)),
        Command::Node(args) => client::block_on(node::run(&args)),
        Command::Events(args) => client::block_on(events::run(&args)),
        Command::Logs(args) => client::block_on(logs::run(&args)),
        Command::Why(args) => client::block_on(why::run(&args)),
        Command::Trace(args) => client::block_on(trace::run(&args)),
        Command::Release(args) => client::block_on(release::run(&args)),
        Command::History(args) => client::block_on(history::run(&args)),
        Command::Show(args) => client::block_on(show::run(&args)),
        Command::Sync(args) => client::block_on(sync::run(&args)),
        Command::Config(args) => config::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    /// The blocks of the page about reviews that are written in a language.
    fn blocks(language: &str) -> Vec<&'static str> {
        let page = include_str!("../../docs/review.md");
        let blocks = page.split("\n```").skip(1).step_by(2);
        blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
    }

    /// What a recipe runs: the texts under `run` and `script`.
    fn scripts(recipe: &serde_yaml::Value, scripts: &mut Vec<String>) {
        let text = |value: &serde_yaml::Value| value.as_str().map(str::to_owned);
        for (key, value) in recipe.as_mapping().into_iter().flatten() {
            if matches!(key.as_str(), Some("run" | "script")) {
                scripts.extend(text(value));
                scripts.extend(value.as_sequence().into_iter().flatten().filter_map(text));
            }
            self::scripts(value, scripts);
        }
        recipe.as_sequence().into_iter().flatten().for_each(|value| self::scripts(value, scripts));
    }

    #[test]
    fn the_recipes_of_reviews_run_commands_that_there_are() {
        let mut lines: Vec<String> =
            blocks("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect();
        let recipes = blocks("yaml");
        for recipe in &recipes {
            for host in ["docker.io", "ghcr.io", "quay.io", "registry", "localhost"] {
                assert!(!recipe.contains(host), "{host} in {recipe}");
            }
            let before = lines.len();
            scripts(&serde_yaml::from_str(recipe).expect("a recipe is YAML"), &mut lines);
            assert!(lines.len() > before, "nothing is run in {recipe}");
        }
        blocks("toml").iter().for_each(|block| _ = block.parse::<toml::Table>().expect("settings are TOML"));
        lines.retain(|line| line.contains("gitops"));
        assert!(recipes.len() == 4 && lines.len() >= 10, "{} recipes and {lines:?}", recipes.len());
        for line in lines {
            let command = line.strip_prefix("exec ").unwrap_or(&line);
            if let Err(error) = Cli::try_parse_from(command.split_whitespace()) {
                panic!("`{line}`: {error}");
            }
        }
    }

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains("$ gitops"), "`gitops {} --help` shows no example", command.get_name());
        }
    }
}
