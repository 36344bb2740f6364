use super::*;
use crate::testing::{EnsureMaker, config, container, ensure, remove};

/// In one word and the reason, for the table.
fn shown(action: &Action) -> String {
    match action {
        Action::Nothing => "nothing".to_owned(),
        Action::Change { reason } => format!("change: {reason}"),
        Action::Heal { reason, .. } => format!("heal: {reason}"),
        Action::Remove { reason } => format!("remove: {reason}"),
        Action::Report(trouble) => format!("report: {}", trouble.message),
    }
}

fn web() -> EnsureMaker {
    ensure("web", "1")
}

fn applied(version: &str) -> Known {
    Known { applied: Some(Digest::of(version)), ..Known::default() }
}

#[track_caller]
fn check(step: EnsureMaker, observed: &[Container], known: &Known, expected: &str) {
    assert_eq!(shown(&decide(&step.step(), observed, known)), expected);
}

fn with(change: impl FnOnce(&mut Container)) -> [Container; 1] {
    let mut container = container("web", "1");
    change(&mut container);
    [container]
}

#[test]
fn an_instance_that_is_as_the_plan_says_asks_for_nothing() {
    check(web(), &with(|_| {}), &applied("1"), "nothing");
    let done = with(|c| (c.state, c.exit_code) = (ContainerState::Exited, Some(0)));
    check(web().app(|app| app.completes = true), &done, &applied("1"), "nothing");
    let stopped = || web().with(|step| step.state = RunState::Stopped);
    for state in [ContainerState::Created, ContainerState::Exited, ContainerState::Dead] {
        check(stopped(), &with(|c| c.state = state), &applied("1"), "nothing");
    }
    check(web().app(|app| app.replicas = 0), &[], &applied("1"), "nothing");
}

#[test]
fn what_the_plan_wants_otherwise_is_a_change() {
    check(web(), &[], &Known::default(), "change: it is not here yet");
    check(web(), &with(|_| {}), &Known::default(), "change: it is not known how it was put in place");
    check(web(), &with(|_| {}), &applied("0"), "change: its definition changed");
    let reason = |old: Option<&str>, new: Option<&str>| Reason {
        field: "services.app.image".into(),
        old: old.map(Into::into),
        new: new.map(Into::into),
        source: Some("services/web/compose.yaml:4".into()),
    };
    let because = web().with(|step| step.because = vec![reason(Some("a:1"), Some("a:2"))]);
    check(
        because,
        &with(|_| {}),
        &applied("0"),
        "change: services.app.image: a:1 → a:2 (services/web/compose.yaml:4)",
    );
    let wrong = with(|c| c.config = Some(config("0")));
    check(web(), &wrong, &applied("1"), "change: container web-app-1 was made from another definition");
    let bare = with(|c| c.config = None);
    check(web(), &bare, &applied("1"), "change: container web-app-1 does not carry its digest");
    let extra = with(|c| c.service = "worker".into());
    check(web(), &extra, &applied("1"), "change: container web-app-1 is not part of it");
    let two = [container("web", "1"), container("web", "1")];
    check(web(), &two, &applied("1"), "change: app has 2 containers instead of 1");
    let stopped = || web().with(|step| step.state = RunState::Stopped);
    for state in [ContainerState::Running, ContainerState::Restarting, ContainerState::Paused] {
        let runs = with(|c| c.state = state);
        check(stopped(), &runs, &applied("1"), "change: container web-app-1 runs and should not");
    }
}

#[test]
fn changed_files_count_only_where_containers_are_recreated_for_them() {
    let files = || web().app(|app| app.files = Some(Digest::of("new")));
    let old = with(|c| c.files = Some(Digest::of("old")));
    check(files(), &old, &applied("1"), "change: container web-app-1 was made with other files");
    for rule in [OnFileChange::Restart, OnFileChange::Nothing] {
        check(files().with(|step| step.on_file_change = rule), &with(|_| {}), &applied("1"), "nothing");
    }
}

#[test]
fn a_digest_of_another_rule_is_adopted_and_restarts_nothing() {
    let other = with(|c| {
        c.config = Some(gitops_core::plan::ContainerDigest { rule: 0, digest: Digest::of("1") });
        c.files = Some(Digest::of("by the old rule"));
    });
    check(web(), &other, &applied("1"), "nothing");
}

#[test]
fn what_ended_or_is_gone_is_healed() {
    let killed = with(|c| (c.state, c.exit_code) = (ContainerState::Exited, Some(137)));
    check(web(), &killed, &applied("1"), "heal: container web-app-1 has ended, exit code 137");
    let failed = with(|c| (c.state, c.exit_code) = (ContainerState::Exited, Some(2)));
    let job = || web().app(|app| app.completes = true);
    check(job(), &failed, &applied("1"), "heal: container web-app-1 has ended, exit code 2");
    check(
        web(),
        &with(|c| c.state = ContainerState::Dead),
        &applied("1"),
        "heal: container web-app-1 has ended",
    );
    let created = with(|c| c.state = ContainerState::Created);
    check(web(), &created, &applied("1"), "heal: container web-app-1 was created and not started");
    check(web(), &[], &applied("1"), "heal: app has 0 of its 1 containers");
    check(
        web().with(|step| step.state = RunState::Stopped),
        &[],
        &applied("1"),
        "heal: app has 0 of its 1 containers",
    );
}

#[test]
fn what_docker_or_a_person_is_at_is_left_alone() {
    for state in [ContainerState::Restarting, ContainerState::Paused, ContainerState::Removing] {
        check(web(), &with(|c| c.state = state), &applied("1"), "nothing");
    }
}

#[test]
fn a_restart_loop_is_told_and_not_fed_but_a_new_definition_ends_it() {
    let known = |version: &str| Known {
        looping: Some(Trouble { container: None, message: "container a is in a restart loop".into() }),
        ..applied(version)
    };
    check(web(), &[], &known("1"), "report: container a is in a restart loop");
    check(web(), &[], &known("0"), "change: its definition changed");
}

#[test]
fn a_removal_is_done_when_neither_container_nor_record_is_left() {
    let check = |observed: &[Container], known: &Known, expected: &str| {
        assert_eq!(shown(&decide(&remove("web"), observed, known)), expected);
    };
    check(&[], &Known::default(), "nothing");
    check(&[], &applied("1"), "remove: the plan removes it");
    check(&with(|_| {}), &Known::default(), "remove: the plan removes it");
}
