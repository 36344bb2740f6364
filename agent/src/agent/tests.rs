mod changes;
mod checks;
mod drifting;
mod running;
mod world;

use std::time::Duration;

use gitops_core::plan::{NodePlan, Retries, RunState, Step};
use gitops_core::status::{ContainerState, PlanId, StepOutcome};
use jiff::SignedDuration;

use self::world::{Behaviour, World};
use super::state::{Cause, Effect, Event, Failed, Message, Offer};
use crate::moment::Moment;
use crate::testing::{ensure, plan, remove};

fn web(version: &str) -> Step {
    ensure("web", version).step()
}

/// A world in which `plan` was applied and everything is well.
fn settled(plan: NodePlan) -> World {
    let mut world = World::new();
    world.publish(plan);
    world.run_for(60);
    for (service, result) in &world.last_status().steps {
        assert_eq!(result.outcome, StepOutcome::Satisfied, "{service}: {:?}", result.message);
    }
    world.calls.clear();
    world
}

#[test]
fn a_plan_is_applied_in_its_order_and_acknowledged() {
    let mut world = World::new();
    let steps = vec![
        ensure("db", "1").step(),
        ensure("api", "1").after("db").step(),
        ensure("web", "1").after("api").step(),
    ];
    let plan = plan(1, steps);
    world.publish(plan.clone());
    world.run_for(60);
    assert_eq!(world.called(), ["up db", "up api", "up web"]);
    let gaps: Vec<_> = world.calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| (4..=7).contains(gap)), "each is well before the next begins: {gaps:?}");
    assert!(world.last_status().acks(&plan));
    assert_eq!(world.ledger.as_deref(), Some(&plan));
}

#[test]
fn nothing_is_called_when_nothing_changed_and_the_daemon_hears_heartbeats() {
    let mut world = settled(plan(1, vec![web("1"), ensure("db", "1").step()]));
    world.reported.clear();
    world.run_for(3600);
    assert_eq!(world.called(), [""; 0]);
    assert!((230..=245).contains(&world.reported.len()), "{}", world.reported.len());
    assert!(world.reported.iter().all(|message| matches!(message, Message::Heartbeat { .. })));
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    let timeline = |jumps: [SignedDuration; 3]| {
        let mut world = World::new();
        world.behaviour.insert("job", Behaviour::Ends(3));
        world.publish(plan(1, vec![web("1"), ensure("job", "1").step()]));
        let mut seen = Vec::new();
        // In the midst of the first steps, between two tries of what fails, and when all is at rest.
        for (jump, seconds) in jumps.into_iter().zip([3, 60, 600]) {
            world.run_for(seconds);
            seen.push((world.outcome("web"), world.outcome("job")));
            world.clock_off += jump;
        }
        world.kill("web");
        world.run_for(600);
        seen.push((world.outcome("web"), world.outcome("job")));
        (world.calls, world.reported.len(), world.polls, seen)
    };
    let calm = timeline([SignedDuration::ZERO; 3]);
    assert!(calm.0.len() > 5, "{:?}", calm.0);
    for jumps in [[DAY, -DAY, DAY], [-DAY, DAY, -DAY], [-DAY, -DAY, -DAY], [DAY, DAY, DAY]] {
        assert_eq!(timeline(jumps), calm, "{jumps:?}");
    }
}

#[test]
fn a_daemon_that_forgot_gets_the_full_state() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.reported.clear();
    world.forget_status();
    world.run_for(40);
    let kinds: Vec<_> = world.reported.iter().map(|message| matches!(message, Message::Full(_))).collect();
    assert!(kinds.starts_with(&[false, true, false]), "{kinds:?}");
}

#[test]
fn steps_run_side_by_side_but_not_more_than_allowed() {
    let mut world = World::new();
    world.publish(plan(1, ["a", "b", "c"].map(|service| ensure(service, "1").step()).into()));
    world.run_for(1);
    assert_eq!(world.called(), ["up a", "up b"]);
    assert_eq!(world.result("c").message.as_deref(), Some("2 other steps are under way"));
    world.run_for(10);
    assert_eq!(world.called(), ["up a", "up b", "up c"]);
}

#[test]
fn a_failed_step_holds_up_only_what_comes_after_it_and_is_tried_with_growing_pauses() {
    let mut world = World::new();
    world.behaviour.insert("db", Behaviour::Refuses);
    world.publish(plan(1, vec![ensure("db", "1").step(), ensure("api", "1").after("db").step(), web("1")]));
    world.run_for(200);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    assert_eq!(world.result("db").message.as_deref(), Some("docker compose up failed: no such image"));
    let waiting = world.result("api");
    assert_eq!(
        (waiting.outcome, waiting.message.as_deref()),
        (StepOutcome::Waiting, Some("waits on db, which failed"))
    );
    let tries: Vec<_> = world.calls.iter().filter(|(_, call)| call == "up db").map(|(at, _)| *at).collect();
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [7, 12, 22, 42, 82], "5 s doubling, and two seconds of Compose");

    world.behaviour.clear();
    world.publish(plan(2, vec![ensure("db", "2").step(), ensure("api", "1").after("db").step(), web("1")]));
    world.run_for(20);
    assert_eq!(world.outcome("api"), StepOutcome::Satisfied, "a new digest begins at once");
}

#[test]
fn what_is_not_healthy_in_time_fails_and_may_still_come_good() {
    let mut world = World::new();
    world.behaviour.insert("web", Behaviour::NeverHealthy);
    world.publish(plan(1, vec![ensure("web", "1").with(|step| step.health_within = 30).step()]));
    world.run_for(20);
    assert_eq!(world.outcome("web"), StepOutcome::Applying);
    world.run_for(20);
    let result = world.result("web");
    assert_eq!(result.outcome, StepOutcome::Failed);
    let expected = "not healthy within 30 seconds: container web-app-1 has not passed its health check yet\n\
                    its last lines:\nno such table: users";
    assert_eq!(result.message.as_deref(), Some(expected));
    assert_eq!(world.called(), ["up web"], "Compose would not make it healthy");
    world.docker.get_mut("web").unwrap()[0].health = gitops_core::status::Health::Healthy;
    world.run_for(5);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
}

#[test]
fn what_ends_before_it_was_well_is_tried_again_with_growing_pauses() {
    let mut world = World::new();
    world.behaviour.insert("web", Behaviour::Ends(3));
    world.publish(plan(1, vec![web("1")]));
    world.run_for(80);
    let tries: Vec<_> = world.calls.iter().map(|(at, _)| *at).collect();
    assert_eq!(tries.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [7, 12, 22]);
    let message = world.result("web").message.unwrap();
    assert!(message.starts_with("container web-app-1 has ended, exit code 3\nits last lines:"), "{message}");
}

#[test]
fn what_docker_refuses_is_tried_again_before_it_has_failed() {
    let retries = Some(Retries { number: 2, pause: 10 });
    let mut world = World::new();
    world.behaviour.insert("web", Behaviour::Refuses);
    world.publish(plan(1, vec![ensure("web", "1").with(|step| step.terms.retries = retries).step()]));
    world.run_for(5);
    let result = world.result("web");
    assert_eq!(result.outcome, StepOutcome::Applying);
    let message = result.message.unwrap();
    assert!(message.starts_with("try 1 of 3 failed: "), "{message}");
    world.run_for(40);
    assert_eq!((world.called().len(), world.outcome("web")), (3, StepOutcome::Failed));
    let tries: Vec<_> = world.calls.iter().map(|(at, _)| *at).collect();
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((10..13).contains(&pauses[0]) && (20..23).contains(&pauses[1]), "{pauses:?}");
    world.behaviour.clear();
    world.run_for(60);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied, "it is tried again for ever");
}

#[test]
fn a_restart_loop_is_reported_and_not_fed() {
    let mut world = World::new();
    world.behaviour.insert("web", Behaviour::Loops);
    world.publish(plan(1, vec![web("1")]));
    world.run_for(300);
    assert_eq!(world.called(), ["up web"]);
    let result = world.result("web");
    assert_eq!(result.outcome, StepOutcome::Failed);
    assert!(result.message.as_deref().unwrap().contains("is in a restart loop"), "{result:?}");
    assert!(result.message.as_deref().unwrap().ends_with("no such table: users"), "{result:?}");
}

#[test]
fn a_container_killed_by_hand_is_back_within_two_seconds_of_the_event() {
    let mut world = settled(plan(1, vec![web("1")]));
    let killed_at = world.now;
    world.kill("web");
    world.run_for(2);
    assert_eq!(world.called(), ["up web"]);
    assert_eq!(world.calls[0].0, killed_at.as_secs(), "begun at once");
    assert_eq!(world.docker["web"][0].state, ContainerState::Running);
    world.run_for(10);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
}

#[test]
fn what_keeps_ending_after_it_was_well_is_healed_ever_more_slowly() {
    let mut world = settled(plan(1, vec![web("1")]));
    for _ in 0..200 {
        world.run_for(5);
        if world.docker["web"][0].state == ContainerState::Running {
            world.kill("web");
        }
    }
    assert!((5..=12).contains(&world.calls.len()), "{:?}", world.calls);
    assert!(world.result("web").message.unwrap().contains("keeps ending"), "{:?}", world.result("web"));
}

#[test]
fn an_instance_whose_folder_was_deleted_is_put_in_place_again() {
    let mut world = settled(plan(1, vec![web("1"), ensure("db", "1").step()]));
    world.lost.insert("web".parse().unwrap());
    world.run_for(60);
    let says = |status: &gitops_core::status::NodeStatus| {
        let result = status.steps.get("web").and_then(|result| result.message.clone());
        result.as_deref() == Some("its folder was deleted from the agent's state folder")
    };
    assert!(
        world.reported.iter().any(|message| matches!(message, Message::Full(status) if says(status))),
        "{:?}",
        world.reported
    );
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Satisfied));
}

#[test]
fn with_the_daemon_away_the_ledger_is_enough_also_after_a_restart() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.daemon_answers = false;
    world.run_for(100);
    world.kill("web");
    world.run_for(10);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Satisfied));
    world.docker.clear();
    world.restart();
    world.run_for(10);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web", "up web"], StepOutcome::Satisfied));
}

#[test]
fn a_daemon_that_is_away_is_asked_ever_more_seldom_and_heard_when_it_is_back() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.daemon_answers = false;
    world.run_for(60);
    world.polls.clear();
    world.run_for(3600);
    assert!((55..=125).contains(&world.polls.len()), "every 30 to 60 s: {}", world.polls.len());
    assert!(world.polls.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(61)));
    world.daemon_answers = true;
    world.publish(plan(2, vec![web("2")]));
    world.run_for(70);
    assert_eq!(world.called(), ["up web"]);
    assert!(world.last_status().acks(world.ledger.as_ref().unwrap()));
}

#[test]
fn a_newer_plan_takes_over_at_the_next_step_boundary() {
    let mut world = World::new();
    let chain = |version| vec![ensure("db", version).step(), ensure("web", version).after("db").step()];
    world.publish(plan(1, chain("1")));
    world.run_for(1);
    assert_eq!(world.called(), ["up db"]);
    world.publish(plan(2, chain("2")));
    world.run_for(30);
    assert_eq!(world.called(), ["up db", "up db", "up web"], "web is never made as the first plan said");
    assert!(world.last_status().acks(&plan(2, chain("2"))));
}

#[test]
fn refused_plans_are_reported_by_name_and_not_asked_for_in_a_circle() {
    let check = |offered: NodePlan, rule: &str| {
        let held = plan(5, vec![web("1")]);
        let mut world = settled(held.clone());
        world.polls.clear();
        world.publish(offered.clone());
        world.run_for(120);
        let refused = world.last_status().refused.clone().expect("it was refused");
        assert_eq!((&*refused.rule, refused.plan), (rule, PlanId::of(&offered)));
        assert_eq!(world.ledger.as_deref(), Some(&held));
        assert_eq!(world.called(), [""; 0]);
        assert!(world.polls.len() <= 9, "{:?}", world.polls);
        world.publish(plan(9, vec![web("2")]));
        world.run_for(120);
        assert_eq!(world.last_status().refused, None, "a good plan ends it");
    };
    check(plan(4, vec![web("0")]), "older-generation");
    check(plan(5, vec![web("2")]), "changed-plan");
    check(NodePlan { generation: gitops_core::name::Generation(8), ..plan(9, vec![web("2")]) }, "bad-digest");
    let mut foreign = NodePlan { node: "edge-2".parse().unwrap(), ..plan(9, vec![web("1")]) };
    foreign.digest = foreign.content_digest();
    check(foreign, "wrong-node");
}

#[test]
fn a_plan_is_not_accepted_before_all_its_content_is_here() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.blobs_answer = false;
    world.publish(plan(2, vec![web("2")]));
    world.run_for(30);
    assert_eq!(world.ledger.as_ref().unwrap().generation.0, 1);
    assert_eq!(world.called(), [""; 0]);
    world.blobs_answer = true;
    world.run_for(120);
    assert_eq!((world.ledger.as_ref().unwrap().generation.0, world.called()), (2, vec!["up web"]));
}

#[test]
fn a_full_disk_is_reported_by_name_and_what_was_held_stands_until_there_is_room() {
    let held = plan(1, vec![web("1")]);
    let mut world = settled(held.clone());
    world.disk_full = true;
    let next = plan(2, vec![web("2")]);
    world.publish(next.clone());
    world.run_for(5);
    let refused = world.last_status().refused.clone().expect("it is reported");
    assert_eq!((&*refused.rule, refused.plan), ("not-stored", PlanId::of(&next)));
    assert!(refused.message.contains("No space left on device"), "{refused:?}");
    world.kill("web");
    world.run_for(300);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Satisfied));
    assert_eq!(world.ledger.as_deref(), Some(&held));
    assert!(world.polls.len() < 30, "not in a circle: {:?}", world.polls);
    world.disk_full = false;
    world.run_for(70);
    assert!(world.last_status().acks(&next) && world.last_status().refused.is_none());
}

#[test]
fn while_another_agent_has_its_identity_nothing_is_begun() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.rival = true;
    world.run_for(60);
    world.kill("web");
    world.run_for(60);
    assert_eq!(world.called(), [""; 0]);
    world.rival = false;
    world.run_for(70);
    assert_eq!(world.called(), ["up web"]);
}

#[test]
fn an_answer_to_what_was_asked_before_a_refusal_does_not_lift_it() {
    let mut world = settled(plan(1, vec![web("1")]));
    let mut is_lifted = |event, seconds| {
        let elapsed = world.now + Duration::from_secs(seconds);
        let moment = Moment { elapsed, wall: jiff::Timestamp::UNIX_EPOCH, dice: 0 };
        let effects = world.state.step(event, moment);
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Tell(_, text) if text.contains("the only one again")))
    };
    let refused = Failed { message: "stop one of the two".to_owned(), cause: Cause::SecondAgent };
    assert!(!is_lifted(Event::Reported(Err(refused.clone())), 1), "none is out");
    assert!(!is_lifted(Event::Tick, 20), "a report is out");
    assert!(!is_lifted(Event::Reported(Err(refused)), 21));
    assert!(!is_lifted(Event::Polled(Ok(Offer::Nothing)), 22), "it was held since before");
    assert!(is_lifted(Event::Polled(Ok(Offer::Nothing)), 24));
}

#[test]
fn only_what_the_plan_says_to_remove_is_removed() {
    let mut world = settled(plan(1, vec![web("1"), ensure("db", "1").step(), ensure("old", "1").step()]));
    world.publish(plan(2, vec![web("1"), remove("old")]));
    world.run_for(20);
    assert_eq!(world.called(), ["down old"]);
    let left: Vec<_> = world.docker.keys().map(|service| service.as_str()).collect();
    assert_eq!(left, ["db", "web"], "the plan does not name db, so it stays");
    assert_eq!(world.outcome("old"), StepOutcome::Satisfied);
}

#[test]
fn a_stopped_instance_stands_and_does_not_run() {
    let stopped = ensure("web", "stopped").with(|step| step.state = RunState::Stopped).step();
    let mut world = settled(plan(1, vec![stopped]));
    assert_eq!(world.docker["web"][0].state, ContainerState::Created);
    world.docker.get_mut("web").unwrap()[0].state = ContainerState::Running;
    world.run_for(20);
    assert_eq!((world.called(), world.docker["web"][0].state), (vec!["up web"], ContainerState::Created));
}

#[test]
fn a_crash_before_any_effect_ends_in_the_same_state_without_a_second_container() {
    let first = plan(
        1,
        vec![ensure("db", "1").step(), ensure("web", "1").after("db").step(), ensure("old", "1").step()],
    );
    let second =
        plan(2, vec![ensure("db", "1").step(), ensure("web", "2").after("db").step(), remove("old")]);
    let play = |crash_at: Option<usize>, compose_dies: bool| {
        let mut world = World::new();
        (world.crash_at, world.compose_dies) = (crash_at, compose_dies);
        world.publish(first.clone());
        world.run_for(60);
        world.publish(second.clone());
        world.run_for(120);
        world
    };
    let calm = play(None, false);
    for (crash_at, compose_dies) in (1..=calm.effects).flat_map(|at| [(at, false), (at, true)]) {
        let world = play(Some(crash_at), compose_dies);
        assert!(world.last_status().acks(&second), "crash {crash_at}: {:?}", world.last_status().steps);
        assert_eq!(world.docker["db"].len() + world.docker["web"].len(), 2, "crash {crash_at}");
        assert_eq!(world.docker["db"][0].id, calm.docker["db"][0].id, "crash {crash_at}: db was made once");
        assert!(!world.docker.contains_key("old"), "crash {crash_at}");
    }
}

#[test]
fn a_docker_that_is_away_is_reported_and_looked_for_without_haste() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.docker_answers = false;
    world.run_for(20);
    assert_eq!(world.last_status().host.problem.as_deref(), Some("Docker does not answer"));
    world.looks = (0, 0);
    world.run_for(200);
    assert!((15..=45).contains(&world.looks.0) && world.looks.1 <= 1, "{:?}", world.looks);
    world.docker_answers = true;
    world.docker.clear();
    world.run_for(30);
    assert_eq!(world.called(), ["up web"]);
    assert_eq!(
        (world.last_status().host.problem.as_deref(), world.outcome("web")),
        (None, StepOutcome::Satisfied)
    );
}

#[test]
fn logs_are_handed_over_once_a_second_and_again_until_the_daemon_has_them() {
    let mut world = settled(plan(1, vec![web("1")]));
    assert_eq!(world.log_pieces.len(), 1, "what an earlier process left");
    world.log_pieces.clear();
    for _ in 0..30 {
        world.log();
        world.run_for(0);
    }
    world.run_for(60);
    assert_eq!(world.log_pieces.len(), 2, "one at once, one for what came meanwhile");

    world.daemon_answers = false;
    world.log_pieces.clear();
    world.log();
    world.run_for(600);
    assert!((8..=25).contains(&world.log_pieces.len()), "{:?}", world.log_pieces);
    world.daemon_answers = true;
    world.run_for(60);
    world.log_pieces.clear();
    world.run_for(600);
    assert!(world.log_pieces.is_empty(), "{:?}", world.log_pieces);
}
