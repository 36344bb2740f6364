//! The terms of a step as settings that people read: one line each for what is asked, what runs around a change, and what is
//! done about drift.

use std::collections::BTreeMap;

use crate::plan::{DriftAction, HealthCheck, Hook, Probe, Retries, Terms};
use crate::sensitive::Sensitive;

/// Every setting by its field. What is as it is where nothing is said is left out.
pub fn terms_in_words(terms: &Terms, sensitive: &Sensitive) -> BTreeMap<String, String> {
    let mut settings = lists(terms, sensitive);
    let pairs = single(terms).into_iter().zip(single(&Terms::default()));
    let said = pairs.filter(|(said, default)| said != default).map(|(said, _)| said);
    settings.extend(said.map(|(field, text)| (field.to_owned(), text)));
    settings
}

/// What every step has.
pub(super) fn single(terms: &Terms) -> [(&'static str, String); 3] {
    let Terms { wave, drift, retries, .. } = terms;
    [
        ("rollout.wave", wave.to_string()),
        ("rollout.retries", retries.map_or("0".to_owned(), retries_text)),
        ("drift.action", action_text(drift.action).to_owned()),
    ]
}

/// `3, the first after 5s`.
fn retries_text(Retries { number, pause }: Retries) -> String {
    format!("{number}, the first after {pause}s")
}

/// What a step may have several of.
pub(super) fn lists(terms: &Terms, sensitive: &Sensitive) -> BTreeMap<String, String> {
    let Terms { wave: _, checks, hooks, drift, retries: _, spans: _ } = terms;
    let mut settings = BTreeMap::new();
    for check in checks {
        let text = sensitive.redacted(&check_text(check));
        settings.insert(format!("health.checks.{}", check.name), text);
    }
    let lists = [("before", &hooks.before), ("after", &hooks.after), ("on_failure", &hooks.on_failure)];
    for (list, hooks) in lists.into_iter().filter(|(_, hooks)| !hooks.is_empty()) {
        let hook = |hook: &Hook| format!("{} within {}s", hook.service, hook.timeout);
        settings.insert(format!("hooks.{list}"), hooks.iter().map(hook).collect::<Vec<_>>().join(", "));
    }
    if !drift.ignore.is_empty() {
        settings.insert("drift.ignore".to_owned(), drift.ignore.join(", "));
    }
    settings
}

fn action_text(action: DriftAction) -> &'static str {
    match action {
        DriftAction::Report => "report",
        DriftAction::Correct => "correct",
        DriftAction::CorrectInWindow => "correct-in-window",
    }
}

/// `GET :8080/health of app, 2xx, every 10s within 3s, good after 1, bad after 3`.
fn check_text(check: &HealthCheck) -> String {
    let HealthCheck { container, interval, timeout, healthy_after, unhealthy_after, .. } = check;
    let question = match &check.probe {
        Probe::Http { port, path, status, body } => {
            let status = status.as_ref().map(|status| format!(" is {status}")).unwrap_or_default();
            let body = body.as_ref().map(|body| format!(" with `{body}`")).unwrap_or_default();
            format!("GET :{port}{path} of {container}{status}{body}")
        }
        Probe::Tcp { port } => format!("connect to :{port} of {container}"),
        Probe::Exec { command } => format!("`{}` in {container}", command.join(" ")),
    };
    format!(
        "{question}, every {interval}s within {timeout}s, good after {healthy_after}, bad after {unhealthy_after}"
    )
}
