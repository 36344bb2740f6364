use super::*;
use crate::testing::{container, ensure};

const RULES: Rules = Rules { settle: Duration::from_secs(3), window: Duration::from_secs(60) };

fn at(seconds: u64) -> Moment {
    let wall = Timestamp::from_second(1_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Moment { elapsed: Duration::from_secs(seconds), wall, dice: 0 }
}

/// Shows one container at each second in turn and says what the gate said last.
fn watch(looks: &[(u64, Container)]) -> Gate {
    let step = ensure("web", "1").0;
    let mut tracks = Tracks::default();
    let mut said = Gate::Healthy;
    for (second, container) in looks {
        let containers = vec![container.clone()];
        let observation = Observation {
            instances: [("web".parse().unwrap(), containers.clone())].into(),
            ..Default::default()
        };
        tracks.see(&observation, at(*second));
        said = gate(&step, &containers, &tracks, RULES, at(*second));
    }
    said
}

fn with(change: impl FnOnce(&mut Container)) -> Container {
    let mut container = container("web", "1");
    change(&mut container);
    container
}

fn word(gate: &Gate) -> &'static str {
    match gate {
        Gate::Healthy => "healthy",
        Gate::Pending { .. } => "pending",
        Gate::Unhealthy(_) => "unhealthy",
        Gate::Killed(_) => "killed",
        Gate::Looping(_) => "looping",
    }
}

#[test]
fn without_a_health_check_a_container_must_run_for_the_settle_time() {
    let app = || with(|_| {});
    let Gate::Pending { settles_in, .. } = watch(&[(0, app()), (1, app())]) else { panic!("not pending") };
    assert_eq!(settles_in, Some(Duration::from_secs(2)));
    assert_eq!(watch(&[(0, app()), (3, app())]), Gate::Healthy);
    let restarted = || with(|c| c.restarts = 1);
    assert_eq!(word(&watch(&[(0, app()), (2, restarted()), (4, restarted())])), "pending");
    assert_eq!(word(&watch(&[(0, app()), (2, restarted()), (5, restarted())])), "healthy");
}

#[test]
fn what_was_killed_for_want_of_memory_is_named_until_it_is_well() {
    let starved = |state| with(|c| (c.state, c.oom_killed) = (state, true));
    let said = |gate: &Gate| match gate {
        Gate::Killed(trouble) => trouble.message.clone(),
        other => word(other).to_owned(),
    };
    let killed = "container web-app-1 was killed for want of memory";
    assert_eq!(said(&watch(&[(0, starved(ContainerState::Restarting))])), killed);
    assert_eq!(said(&watch(&[(0, starved(ContainerState::Exited))])), killed);
    let runs = || starved(ContainerState::Running);
    assert_eq!(said(&watch(&[(0, runs()), (2, runs())])), killed);
    assert_eq!(said(&watch(&[(0, runs()), (3, runs())])), "healthy");
}

#[test]
fn what_ran_before_the_agent_started_has_settled_long_ago() {
    let started = |seconds_ago: i64| {
        with(|c| c.started_at = Some(at(100).wall - SignedDuration::from_secs(seconds_ago)))
    };
    assert_eq!(watch(&[(100, started(3))]), Gate::Healthy);
    assert_eq!(word(&watch(&[(100, started(2))])), "pending");
    assert_eq!(word(&watch(&[(100, started(-500))])), "pending", "a clock that was set back settles nothing");
}

#[test]
fn a_health_check_decides_alone() {
    for (health, expected) in
        [(Health::Starting, "pending"), (Health::Healthy, "healthy"), (Health::Unhealthy, "unhealthy")]
    {
        assert_eq!(word(&watch(&[(0, with(|c| c.health = health))])), expected);
    }
}

#[test]
fn three_restarts_within_the_window_are_a_loop_until_they_are_old() {
    let restarts = |n: u64| with(|c| c.restarts = n);
    assert_eq!(word(&watch(&[(0, restarts(0)), (1, restarts(2))])), "pending");
    assert_eq!(
        word(&watch(&[(0, restarts(0)), (1, restarts(1)), (2, restarts(2)), (3, restarts(3))])),
        "looping"
    );
    assert_eq!(word(&watch(&[(0, restarts(0)), (3, restarts(3)), (50, restarts(3))])), "looping");
    assert_eq!(word(&watch(&[(0, restarts(0)), (3, restarts(3)), (64, restarts(3))])), "healthy");
    let slow = [(0, restarts(0)), (40, restarts(1)), (80, restarts(2)), (120, restarts(3))];
    assert_eq!(word(&watch(&slow)), "pending", "each restart is older than the window when the third comes");
    let caught = with(|c| (c.state, c.restarts) = (ContainerState::Restarting, 3));
    assert_eq!(word(&watch(&[(0, caught)])), "looping", "also right after the agent started");
    assert_eq!(
        word(&watch(&[(0, restarts(9)), (4, restarts(9))])),
        "healthy",
        "restarts of long ago do not count"
    );
}

#[test]
fn the_gravest_trouble_is_named_with_what_docker_says_of_it() {
    let step = ensure("web", "1").0;
    let calm = with(|_| {});
    let ended = with(|c| {
        c.name = "web-app-2".into();
        (c.state, c.exit_code, c.restarts) = (ContainerState::Restarting, Some(3), 2);
    });
    let both = [calm, ended];
    let Gate::Pending { trouble, .. } = gate(&step, &both, &Tracks::default(), RULES, at(0)) else {
        panic!("not pending")
    };
    assert_eq!(trouble.message, "container web-app-2 is being restarted, exit code 3, restarted 2 times");
}

#[test]
fn a_stopped_instance_and_completed_containers_are_well() {
    let exited = with(|c| (c.state, c.exit_code) = (ContainerState::Exited, Some(0)));
    let observed = [exited];
    let judge = |step: &Ensure| word(&gate(step, &observed, &Tracks::default(), RULES, at(0)));
    assert_eq!(judge(&ensure("web", "1").0), "pending");
    assert_eq!(judge(&ensure("web", "1").app(|app| app.completes = true).0), "healthy");
    assert_eq!(judge(&ensure("web", "1").with(|step| step.state = RunState::Stopped).0), "healthy");
}
