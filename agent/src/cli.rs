//! The command line: `run`, `status`, `config`, `plan`.
//!
//! Exit codes: 0 done, 1 a mistake in what was given or a failure. There is no code for a daemon that cannot be
//! reached: `run` tries for ever, and `status` and `plan` read the state folder only.

mod show;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use gitops_core::status::AgentInfo;
use tokio::sync::mpsc;

use crate::agent::state::{Settings, State};
use crate::agent::{self, Parts, chain};
use crate::apply::Limits;
use crate::attempt::LogDir;
use crate::blobs::BlobDir;
use crate::client::{ClientConfig, HttpDaemon};
use crate::config::{self, Config, Surroundings, Typed};
use crate::disk::{DiskError, StateDir};
use crate::docker::{DockerConfig, DockerHost};
use crate::ledger::{Ledger, Loaded};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A stop waits this long for calls of Compose: less than the 90 s after which systemd kills.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Until the daemon names its own rhythm.
const HEARTBEAT: Duration = Duration::from_secs(15);

const EXAMPLES: &str = "\
Examples:
  gitops-agent run --server https://control.example --node edge-1 --token-file /etc/gitops/token
  gitops-agent status
  gitops-agent plan -o json

Exit codes:
  0  done; `run`: stopped by SIGTERM or SIGINT
  1  a mistake in what was given, or a failure
A daemon or an engine that cannot be reached ends nothing: `run` tries again for ever, and `status` and `plan` only read
the state folder.";

/// Applies the plan of one node with Docker Compose, keeps it so, and reports
#[derive(Parser, Debug)]
#[command(name = "gitops-agent", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Typed,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Pull plans and apply them until stopped
    #[command(
        after_help = "Example:\n  GITOPS_AGENT_TOKEN_FILE=/etc/gitops/token gitops-agent run --node edge-1 \
                            --server https://control.example"
    )]
    Run {
        /// Log what this filter lets through
        #[arg(long, value_name = "FILTER", env = "GITOPS_AGENT_LOG", default_value = "info")]
        log: String,
        /// Log in this form, to standard error
        #[arg(
            long,
            value_enum,
            value_name = "FORM",
            env = "GITOPS_AGENT_LOG_FORMAT",
            default_value = "text"
        )]
        log_format: Form,
    },
    /// Show how the node stands, as its agent last knew it
    #[command(after_help = "Example:\n  gitops-agent status --state-dir /var/lib/gitops-agent -o json")]
    Status {
        /// Print in this form
        #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Show the settings that `gitops-agent run` would run with
    #[command(after_help = "Example:\n  gitops-agent config show --config /etc/gitops/agent.toml")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the plan that the agent accepted
    #[command(after_help = "Example:\n  gitops-agent plan --state-dir /var/lib/gitops-agent")]
    Plan {
        /// Print in this form
        #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
        output: Form,
    },
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Show every setting and where it comes from: flag, variable, file or default
    Show {
        /// Print in this form
        #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
        output: Form,
    },
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// The whole program.
pub fn main() -> ExitCode {
    let parsed = Cli::command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        // clap's own code for a mistake is 2, which means "changes pending" in this product.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match execute(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli, matches: &ArgMatches) -> Result<(), Error> {
    let given = cli.settings.clone();
    let settings = cli.settings.with_file()?;
    match cli.command {
        Command::Run { log, log_format } => {
            start_log(&log, log_format)?;
            let config = settings.resolve(Surroundings::of_process())?;
            // One thread is enough: the agent waits, and what works are other processes.
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(config))
        }
        Command::Status { output } => show::status(settings.state_dir(), output == Form::Json),
        Command::Config { command: ConfigCommand::Show { output } } => {
            let config = settings.resolve(Surroundings::of_process())?;
            // The settings are those of the whole program, so each level of the command line knows all of them.
            show::settings(&config::show::settings(&given, matches, &config), output == Form::Json)
        }
        Command::Plan { output } => show::plan(settings.state_dir(), output == Form::Json),
    }
}

fn start_log(filter: &str, form: Form) -> Result<(), Error> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match form {
        Form::Text => log.with_target(false).init(),
        Form::Json => log.json().init(),
    }
    Ok(())
}

async fn run(config: Config) -> Result<(), Error> {
    // Fails only where another provider was installed first, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = StateDir::open(&config.state_dir)?;
    let agent = who(&folder)?;
    let blobs = BlobDir::open(folder.join("blobs"))?;
    let logs = LogDir::open(folder.join("logs"))?;
    let daemon = HttpDaemon::new(ClientConfig {
        server: config.server.clone(),
        token_file: config.token_file.clone(),
        ca_file: config.ca_file.clone(),
        node: config.node.clone(),
        agent: agent.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })?;
    let host = Arc::new(DockerHost::connect(docker(&config, &folder, &blobs))?);
    let ledger = Ledger::at(&config.state_dir);
    let held = found("the accepted plan", ledger.load(&config.node)?);
    let record = found("what is in place", ledger.load_record()?).unwrap_or_default();
    let journal = found("what was begun", ledger.load_journal()?).unwrap_or_default();
    tracing::info!(
        node = %config.node,
        server = %config.server.origin().ascii_serialization(),
        plan = held.as_ref().map_or(0, |plan| plan.generation.0),
        "started"
    );
    let pictures = found("how containers are meant to stay", ledger.load_pictures()?).unwrap_or_default();
    let state = State::new(settings(&config, agent), held, record, journal).with_pictures(pictures);
    let (wake, wakes) = mpsc::channel(64);
    let watching = host.clone();
    let watch = tokio::spawn(async move { watching.watch(wake).await });
    let snapshot = folder.join("status.json");
    let parts = Parts {
        host,
        daemon: Arc::new(daemon),
        ledger,
        blobs,
        logs,
        snapshot,
        wakes,
        stop_within: STOP_WITHIN,
    };
    agent::run(state, parts, stop_signal()?).await;
    watch.abort();
    tracing::info!("stopped");
    Ok(())
}

/// What its id and this start are. A start that cannot be counted is one all the same: on a full disk, too, containers are healed.
fn who(folder: &StateDir) -> Result<AgentInfo, DiskError> {
    let (id, start) = (folder.agent_id()?.into(), folder.next_start()?);
    if let Err(error) = folder.count_start(start) {
        tracing::warn!("cannot count this start, so the next one may have to wait: {}", chain(&error));
    }
    Ok(AgentInfo { id, version: env!("CARGO_PKG_VERSION").into(), start: Some(start) })
}

fn docker(config: &Config, folder: &StateDir, blobs: &BlobDir) -> DockerConfig {
    let Surroundings { path, home, docker_config } = config.surroundings.clone();
    DockerConfig {
        node: config.node.clone(),
        socket: config.socket.clone(),
        instances: folder.join("instances"),
        blobs: Arc::new(blobs.clone()),
        program: "docker".into(),
        path,
        home,
        docker_config,
        compose_within: config.compose_within,
    }
}

fn settings(config: &Config, agent: AgentInfo) -> Settings {
    Settings {
        node: config.node.clone(),
        agent,
        limits: Limits { concurrency: config.concurrency, settle: config.settle },
        observe_every: config.observe_every,
        heartbeat: HEARTBEAT,
    }
}

fn found<T>(what: &str, loaded: Loaded<T>) -> Option<T> {
    match loaded {
        Loaded::Found(content) => Some(content),
        Loaded::Missing => None,
        Loaded::Corrupt { aside, problem } => {
            tracing::error!(
                "{what} cannot be read from the state folder ({problem}); kept as {}",
                aside.display()
            );
            None
        }
    }
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
