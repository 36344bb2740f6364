//! Health checks and failing fast, in the whole state machine.

use std::time::Duration;

use gitops_core::plan::{Probe, Step};
use gitops_core::status::{ContainerState, StepOutcome};

use super::world::{Behaviour, World};
use super::{settled, web};
use crate::checks::Answer;
use crate::testing::{check, ensure, plan};

fn checked(version: &str) -> Step {
    let probe = Probe::Http { port: 8080, path: "/health".into(), status: None, body: None };
    ensure("web", version).with(|step| step.terms.checks = vec![check("api", probe)]).step()
}

fn bad() -> Answer {
    Answer::Bad("GET /health on 8080 answered 503".to_owned())
}

#[test]
fn a_step_is_satisfied_when_its_checks_have_passed_and_they_go_on() {
    let mut world = World::new();
    world.publish(plan(1, vec![checked("1")]));
    world.run_for(9);
    let result = world.result("web");
    let expected = "container web-app-1 has not passed check api yet";
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Applying, Some(expected)));
    world.run_for(10);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    world.questions.clear();
    let looks = world.looks.0;
    world.run_for(1_000);
    assert!((95..=107).contains(&world.questions.len()), "each 9 to 11 seconds: {}", world.questions.len());
    assert!(world.looks.0 - looks <= 101, "Docker is not looked at for it: {}", world.looks.0 - looks);
}

#[test]
fn a_check_that_does_not_pass_in_time_fails_the_step_with_its_reason_and_may_still_come_good() {
    let mut world = World::new();
    world.answer = bad();
    world.publish(plan(1, vec![checked("1")]));
    world.run_for(20);
    let result = world.result("web");
    let expected = "container web-app-1 has not passed check api yet: GET /health on 8080 answered 503";
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Applying, Some(expected)));
    world.run_for(50);
    let expected = "not healthy within 60 seconds: container web-app-1 fails check api: GET /health on 8080 answered \
                    503\nits last lines:\nno such table: users";
    let result = world.result("web");
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Failed, Some(expected)));
    world.answer = Answer::Good;
    world.run_for(25);
    assert_eq!((world.outcome("web"), world.called()), (StepOutcome::Satisfied, vec!["up web"]));
}

#[test]
fn a_check_that_fails_after_it_passed_fails_the_step_after_so_many_bad_answers() {
    let mut world = settled(plan(1, vec![checked("1")]));
    let outcomes = |world: &mut World, answers: [Answer; 5]| {
        answers.map(|answer| {
            world.answer = answer;
            let asked = world.questions.len();
            while world.questions.len() == asked {
                world.run_for(1);
            }
            world.run_for(0);
            world.state.status().unwrap().steps["web"].outcome
        })
    };
    let (failed, satisfied) = (StepOutcome::Failed, StepOutcome::Satisfied);
    // Three in a row, and nothing less. What cannot be asked counts neither way.
    let seen = outcomes(&mut world, [bad(), bad(), Answer::Good, bad(), Answer::NotAsked]);
    assert_eq!(seen, [satisfied; 5]);
    let seen = outcomes(&mut world, [bad(), bad(), bad(), Answer::Good, Answer::Good]);
    assert_eq!(seen, [satisfied, failed, failed, failed, satisfied]);
}

#[test]
fn another_run_of_the_container_is_asked_anew() {
    let mut world = settled(plan(1, vec![checked("1")]));
    world.answer = bad();
    world.kill("web");
    world.run_for(8);
    assert_eq!(world.docker["web"][0].state, ContainerState::Running);
    assert_eq!(world.outcome("web"), StepOutcome::Applying);
    world.answer = Answer::Good;
    world.run_for(25);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
}

#[test]
fn questions_under_way_are_bounded() {
    let checks = (0..40).map(|number| check(&format!("c{number}"), Probe::Tcp { port: number })).collect();
    let mut world = World::new();
    world.publish(plan(1, vec![ensure("web", "1").with(|step| step.terms.checks = checks).step()]));
    world.run_for(60);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    let moments: std::collections::BTreeSet<_> = world.questions.iter().collect();
    for moment in moments {
        let near =
            world.questions.iter().filter(|at| **at >= *moment && **at < *moment + Duration::from_millis(5));
        assert!(near.count() <= 8, "{moment:?}");
    }
}

#[test]
fn without_checks_nothing_is_asked() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.run_for(600);
    assert_eq!(world.questions.len(), 0);
}

#[test]
fn a_container_that_lacks_memory_fails_the_step_at_once_though_docker_starts_it_again() {
    let mut world = World::new();
    world.behaviour.insert("web", Behaviour::Starves);
    world.publish(plan(1, vec![web("1")]));
    world.run_for(4);
    let result = world.result("web");
    assert_eq!(result.outcome, StepOutcome::Failed);
    let message = result.message.unwrap();
    assert!(
        message.starts_with("container web-app-1 was killed for want of memory\nits last lines:"),
        "{message}"
    );
    assert_eq!(world.called(), ["up web"], "Docker is at it");
    // Docker started it, and the same did not happen again.
    world.docker.get_mut("web").unwrap()[0].state = ContainerState::Running;
    world.run_for(15);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    // What was well is not out of a roll-out for one bad moment.
    let container = &mut world.docker.get_mut("web").unwrap()[0];
    (container.state, container.oom_killed) = (ContainerState::Restarting, true);
    world.run_for(11);
    assert_eq!(world.outcome("web"), StepOutcome::Applying);
}
