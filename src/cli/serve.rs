//! `gitops serve`

use std::io;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::error::{CliError, Exit};
use crate::config::{Config, ControlSettings, LogFormat};
use crate::daemon;

/// Run the daemon: watch a definitions repository and plan every node
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  $ gitops serve --source /srv/git/estate.git --state-dir /var/lib/gitops\n\n\
                  Every setting can also be a variable (GITOPS_STATE_DIR) or a line of control.toml (state_dir)."
)]
pub(super) struct Args {
    /// The file with settings [default: /etc/gitops/control.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: ControlSettings,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let config = Config::load(&args.settings, args.config.as_deref())
        .map_err(|error| CliError::because("the settings cannot be used", error))?;
    log_to_stderr(&config)?;
    let stopped =
        |error: Box<dyn std::error::Error + Send + Sync>| CliError::because("the daemon stopped", error);
    let runtime = daemon::runtime().map_err(|error| stopped(error.into()))?;
    runtime.block_on(async {
        let shutdown = daemon::stop_on_signals().map_err(|error| stopped(error.into()))?;
        let listener = daemon::listen(&config).await.map_err(|error| stopped(error.into()))?;
        daemon::serve(&config, listener, shutdown).await.map_err(|error| stopped(error.into()))
    })?;
    Ok(Exit::Done)
}

fn log_to_stderr(config: &Config) -> Result<(), CliError> {
    let filter = EnvFilter::builder().parse(&config.log).map_err(|error| {
        CliError::because(format!("`{}` is no log filter", config.log), error)
            .hint("use info, debug or gitops::daemon=trace")
    })?;
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => subscriber.with_ansi(colour).with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
