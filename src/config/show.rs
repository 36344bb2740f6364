//! The settings as the daemon understands them: typed in or by default, and from where. It holds no secret.

use gitops_core::render::settings::{HIDDEN, Setting};

use super::layer::{Origin, Span};
use super::{Config, ControlSettings};
use crate::git::RemoteUrl;

impl Config {
    /// Every setting in the order of `gitops serve --help`.
    pub fn settings(&self) -> Vec<Setting> {
        let values = serde_json::to_value(self.filled_in()).expect("settings are texts, numbers and paths");
        let command = <ControlSettings as clap::Args>::augment_args(clap::Command::new("settings"));
        let show = |key: &str| {
            let from = self.typed.origins.get(key).map_or("default".to_owned(), Origin::to_string);
            self.secret_of_variable(key).unwrap_or_else(|| Setting::new(key, &values[key], from))
        };
        command.get_arguments().map(|argument| show(argument.get_id().as_str())).collect()
    }

    /// A secret that came as a variable stands where its file would.
    fn secret_of_variable(&self, key: &str) -> Option<Setting> {
        let (secret, key, variable) = match key {
            "source_token_file" => (&self.source.token, "source_token", "GITOPS_SOURCE_TOKEN"),
            "forge_token_file" => {
                (&self.forge.as_ref().map(|forge| forge.token.clone()), "forge_token", "GITOPS_FORGE_TOKEN")
            }
            "hook_secret_file" => (&self.hook_secret, "hook_secret", "GITOPS_HOOK_SECRET"),
            _ => return None,
        };
        let by_file = self.typed.origins.contains_key(&format!("{key}_file"));
        (secret.is_some() && !by_file).then(|| Setting::new(key, &HIDDEN, variable))
    }

    /// The settings with every default; all fields are named, so that a new one cannot be forgotten.
    fn filled_in(&self) -> ControlSettings {
        let Self {
            source,
            state_dir,
            listen,
            forge,
            deploy,
            heartbeat,
            retention,
            max_connections,
            log,
            log_format,
            ..
        } = self;
        let typed = &self.typed.settings;
        let limits = source.limits;
        ControlSettings {
            // An address that cannot be used may hold a password.
            source: Some(source.url.parse().map_or(HIDDEN.to_owned(), |url: RemoteUrl| url.to_string())),
            branch: Some(source.branch.to_string()),
            folder: source.folder.as_deref().map(str::to_owned),
            poll_interval: Some(Span(source.poll)),
            source_token_file: typed.source_token_file.clone(),
            source_ca_file: source.ca_file.clone(),
            ssh_key: source.ssh_key.clone(),
            ssh_known_hosts: source.ssh_known_hosts.clone(),
            state_dir: Some(state_dir.clone()),
            listen: Some(*listen),
            tls_cert: typed.tls_cert.clone(),
            tls_key: typed.tls_key.clone(),
            hook_secret_file: typed.hook_secret_file.clone(),
            forge: forge.as_ref().map(|forge| forge.kind),
            forge_url: forge.as_ref().map(|forge| forge.url.to_string()),
            forge_repository: forge.as_ref().map(|forge| forge.repository.clone()),
            forge_token_file: typed.forge_token_file.clone(),
            forge_context: forge.as_ref().map(|forge| forge.context.to_string()),
            deploy: Some(*deploy),
            heartbeat: Some(Span(*heartbeat)),
            keep_plans: Some(retention.plans_per_node),
            keep_releases: Some(retention.releases),
            keep_events: Some(retention.events),
            keep_log_lines: Some(retention.log_lines_per_node),
            keep_days: Some(retention.days),
            max_connections: Some(*max_connections),
            max_file_bytes: Some(limits.file_bytes),
            max_total_bytes: Some(limits.total_bytes),
            max_files: Some(limits.files),
            log: Some(log.clone()),
            log_format: Some(*log_format),
        }
    }
}
