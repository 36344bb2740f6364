//! The layers, and what the daemon's settings refuse.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Parser as _;
use gitops_core::render::settings::Setting;

use super::*;

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    settings: ControlSettings,
}

/// Resolves a command line, variables and a file.
fn resolve(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Config, ConfigError> {
    let program = Program::parse_from([&["gitops"], flags].concat());
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let env = |name: &str| variables.get(name).map(OsString::from);
    let folder = tempfile::tempdir().expect("a folder");
    let path = file.map(|text| {
        let path = folder.path().join("control.toml");
        std::fs::write(&path, text).expect("written");
        path
    });
    Config::resolve(&program.settings, &env, path.as_deref())
}

fn error(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> String {
    match resolve(flags, variables, file) {
        Ok(config) => panic!("should be refused: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let file = Some("source = '/file'\nbranch = 'file'\nfolder = '/file/'");
    let variables = [("GITOPS_SOURCE", "/variable"), ("GITOPS_BRANCH", "variable")];
    let config = resolve(&["--source", "/flag"], &variables, file).expect("fits");
    assert_eq!((&*config.source.url, &*config.source.branch), ("/flag", "variable"));
    assert_eq!(config.source.folder.as_deref(), Some("file"));
    assert_eq!(config.source.poll, SignedDuration::from_secs(30), "the default");
    let shown = |key| {
        let setting = config.settings().into_iter().find(|setting| setting.key == key).expect(key);
        (setting.value.unwrap_or_default(), setting.from)
    };
    assert_eq!(shown("source"), ("/flag".into(), "flag".to_owned()));
    assert_eq!(shown("branch"), ("variable".into(), "GITOPS_BRANCH".to_owned()));
    let (folder, from) = shown("folder");
    assert!(folder == "file" && from.ends_with("/control.toml"), "{folder} {from}");
    assert_eq!(shown("poll_interval"), ("30s".into(), "default".to_owned()));
    assert_eq!(shown("ssh_key"), (serde_json::Value::Null, "default".to_owned()));
}

#[test]
fn every_setting_can_be_set_in_all_three_ways() {
    let examples = [
        ("source", "/repo"),
        ("branch", "main"),
        ("folder", "deploy"),
        ("poll_interval", "1m"),
        ("source_token_file", "/dev/null"),
        ("source_ca_file", "/ca.pem"),
        ("ssh_key", "/key"),
        ("ssh_known_hosts", "/hosts"),
        ("state_dir", "/state"),
        ("listen", "127.0.0.1:1"),
        ("tls_cert", "/cert"),
        ("tls_key", "/key"),
        ("hook_secret_file", "/secret"),
        ("deploy", "manual"),
        ("forge", "gitea"),
        ("forge_url", "https://git.example/api/v1"),
        ("forge_repository", "acme/estate"),
        ("forge_token_file", "/dev/null"),
        ("forge_context", "deploy"),
        ("heartbeat", "10s"),
        ("keep_plans", "7"),
        ("keep_releases", "7"),
        ("keep_events", "7"),
        ("keep_log_lines", "7"),
        ("keep_days", "7"),
        ("max_connections", "7"),
        ("max_file_bytes", "7"),
        ("max_total_bytes", "7"),
        ("max_files", "7"),
        ("log", "debug"),
        ("log_format", "json"),
    ];
    let command = <ControlSettings as clap::Args>::augment_args(clap::Command::new("settings"));
    assert_eq!(command.get_arguments().count(), examples.len(), "an example for each setting");
    for (key, value) in examples {
        let flag = Program::parse_from(["gitops".to_owned(), format!("--{}={value}", key.replace('_', "-"))])
            .settings;
        let variable = format!("GITOPS_{}", key.to_ascii_uppercase());
        let env = |name: &str| (name == variable).then(|| OsString::from(value));
        let from_env = layered(&ControlSettings::default(), &env, None).expect(key).settings;
        let text = if value.parse::<u64>().is_ok() {
            format!("{key} = {value}")
        } else {
            format!("{key} = '{value}'")
        };
        let from_file: ControlSettings = toml::from_str(&text).expect(key);
        assert_ne!(flag, ControlSettings::default(), "{key}");
        assert_eq!((&from_env, &from_file), (&flag, &flag), "{key}");
    }
}

#[test]
fn a_mistake_in_the_file_is_shown_with_its_line() {
    let text = error(&[], &[], Some("source = '/repo'\nbranhc = 'main'\n"));
    assert!(text.contains("control.toml") && text.contains("line 2") && text.contains("branhc"), "{text}");
    let text = error(&[], &[], Some("source = '/repo'\nheartbeat = 'soon'\n"));
    assert!(text.contains("line 2") && text.contains("`30s`"), "{text}");
}

#[test]
fn a_mistake_in_the_environment_is_shown_with_its_variable() {
    let text = error(&[], &[("GITOPS_SOURCE", "/repo"), ("GITOPS_LISTEN", "everywhere")], None);
    assert!(text.starts_with("GITOPS_LISTEN in the environment: ") && text.contains("everywhere"), "{text}");
}

#[test]
fn what_does_not_fit_together_is_refused_with_what_to_do() {
    for (flags, expected) in [
        (&[][..], "set `source`"),
        (&["--source=https://me:hush@forge/repo"], "source_token_file"),
        (&["--source=/r", "--listen=0.0.0.0:1"], "set `tls_cert` and `tls_key`"),
        (&["--source=/r", "--tls-cert=/c"], "without `tls_key`"),
        (&["--source=/r", "--tls-key=/c"], "without `tls_cert`"),
        (&["--source=/r", "--forge-repository=a/b"], "`forge_repository` is set without `forge`"),
        (&["--source=/r", "--forge=github"], "`forge_repository` is not: name the repository as OWNER/NAME"),
        (&["--source=/r", "--forge=gitea", "--forge-repository=a/b"], "`forge_url` is not"),
        (
            &["--source=/r", "--forge=github", "--forge-repository=a/b"],
            "`forge_token_file` or GITOPS_FORGE_TOKEN",
        ),
        (&["--source=/r", "--forge=github", "--forge-url=api"], "`forge_url` is no URL"),
        (
            &["--source=/r", "--forge=github", "--forge-url=https://me:hush@forge/"],
            "holds a user name or password",
        ),
        (&["--source=/r", "--forge=github", "--forge-url=http://forge/"], "begin it with https://"),
        (&["--source=/r", "--heartbeat=2h"], "`heartbeat` is 2h"),
        (&["--source=/r", "--poll-interval=1ms"], "`poll_interval` is 1ms"),
        (&["--source=/r", "--keep-plans=0"], "at least 1"),
        (&["--source=/r", "--hook-secret-file=/nowhere"], "/nowhere, named by `hook_secret_file`"),
    ] {
        let text = error(flags, &[], None);
        assert!(text.contains(expected), "{flags:?}: {text}");
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(resolve(&["--source=ssh://git@forge/repo", "--listen=[::1]:1"], &[], None).is_ok());
}

#[test]
fn a_secret_comes_from_a_file_or_a_variable_and_is_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, " hush \n").expect("written");
    let by_file = format!("--hook-secret-file={}", path.display());
    let config = resolve(&["--source=/r", &by_file], &[], None).expect("fits");
    assert_eq!(config.hook_secret.as_ref().map(Secret::expose), Some("hush"));
    let by_variable =
        [("GITOPS_HOOK_SECRET", "hush"), ("GITOPS_SOURCE_TOKEN", "hush"), ("GITOPS_FORGE_TOKEN", "hush")];
    let forge = ["--source=/r", "--forge=gitlab", "--forge-repository=a/b"];
    let config = resolve(&forge, &by_variable, None).expect("fits");
    let resolved = config.forge.as_ref().expect("it is set");
    assert_eq!((resolved.token.expose(), resolved.url.as_str()), ("hush", "https://gitlab.com/api/v4"));
    assert_eq!(config.source.token.as_ref().map(Secret::expose), Some("hush"));
    let shown = config.settings();
    assert!(!format!("{config:?}{shown:?}").contains("hush"));
    for key in ["source_token", "hook_secret", "forge_token"] {
        let setting = Setting::new(key, &"(hidden)", format!("GITOPS_{}", key.to_ascii_uppercase()));
        assert!(shown.contains(&setting), "{shown:?}");
    }
    let address = resolve(&["--source=https://hush@forge/repo"], &[], None).expect("judged by the source");
    assert!(!format!("{:?}", address.settings()).contains("hush"));

    let both = error(&["--source=/r", &by_file], &by_variable, None);
    assert!(both.contains("keep one of them"), "{both}");
    std::fs::write(&path, "\n").expect("written");
    assert!(error(&["--source=/r", &by_file], &[], None).contains("is empty"));
}
