//! The settings as the agent understands them, and where each comes from. There is no secret among them: the token
//! is in a file of its own.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command};
use gitops_core::render::settings::Setting;

use super::{Config, DEFAULT_FILE, Typed};

/// Every setting, in the order of `--help`. `given` and `matches` are the command line with the environment, before
/// the file was read.
pub fn settings(given: &Typed, matches: &ArgMatches, config: &Config) -> Vec<Setting> {
    let values = serde_json::to_value(filled_in(config)).expect("settings are texts, numbers and paths");
    let command = Typed::augment_args(Command::new("settings"));
    let in_file = serde_json::to_value(given.clone().with_file().unwrap_or_default())
        .expect("settings are texts, numbers and paths");
    let file = given.config.as_deref().map_or(DEFAULT_FILE.to_owned(), |path| path.display().to_string());
    let show = |argument: &clap::Arg| {
        let key = argument.get_id().as_str();
        let from = match matches.value_source(key) {
            Some(ValueSource::CommandLine) => "flag".to_owned(),
            Some(ValueSource::EnvVariable) => argument.get_env()?.to_string_lossy().into_owned(),
            _ if !in_file[key].is_null() => file.clone(),
            _ => "default".to_owned(),
        };
        Some(Setting::new(key, &values[key], from))
    };
    command.get_arguments().filter(|argument| argument.get_id() != "config").filter_map(show).collect()
}

/// All fields are named, so that a new setting cannot be forgotten.
fn filled_in(config: &Config) -> Typed {
    let whole = |span: std::time::Duration| u32::try_from(span.as_secs()).ok();
    Typed {
        config: None,
        state_dir: Some(config.state_dir.clone()),
        server: Some(without_user(config.server.clone())),
        node: Some(config.node.clone()),
        token_file: Some(config.token_file.clone()),
        ca_file: config.ca_file.clone(),
        docker: Some(config.socket.display().to_string()),
        concurrency: Some(config.concurrency),
        settle_seconds: whole(config.settle),
        observe_seconds: whole(config.observe_every),
        compose_seconds: whole(config.compose_within),
    }
}

/// Who writes a password into the address should not find it in a bug report.
fn without_user(mut server: reqwest::Url) -> String {
    // They fail for addresses that have no host, and those hold no user.
    let _ = server.set_username("");
    let _ = server.set_password(None);
    server.to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::FromArgMatches as _;

    use super::*;
    use crate::config::Surroundings;

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "node = 'edge-2'\nconcurrency = 2\ntoken_file = '/t'\n").unwrap();
        let file = path.display().to_string();
        let words =
            ["agent", "--config", &file, "--server", "https://me:hush@control.example", "--node", "edge-1"];
        let matches = Typed::augment_args(Command::new("agent")).get_matches_from(words);
        let given = Typed::from_arg_matches(&matches).unwrap();
        let surroundings =
            Surroundings { path: "/bin".into(), home: PathBuf::from("/home/a"), docker_config: None };
        let config = given.clone().with_file().unwrap().resolve(surroundings).unwrap();
        let settings = settings(&given, &matches, &config);
        let check = |setting: Setting| assert!(settings.contains(&setting), "{setting:?} in {settings:?}");
        check(Setting::new("node", &"edge-1", "flag"));
        check(Setting::new("server", &"https://control.example/", "flag"));
        check(Setting::new("concurrency", &2, &*file));
        check(Setting::new("settle_seconds", &3, "default"));
        check(Setting::new("ca_file", &None::<PathBuf>, "default"));
        assert_eq!(settings.len(), 10);
    }
}
