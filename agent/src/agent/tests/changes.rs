//! What surrounds a change: windows, hooks, and what is written down, in the whole state machine.

use std::time::Duration;

use gitops_core::name::{Digest, ServiceName};
use gitops_core::plan::{Ensure, Hook, Span, Step};
use gitops_core::status::{ContainerState, StepOutcome};
use jiff::{SignedDuration, Timestamp};

use super::world::{Behaviour, World};
use super::{settled, web};
use crate::testing::{ensure, plan, remove};

/// An instance with these hooks; `attempt` is its version.
fn hooked(version: &str, hooks: [&[&str]; 3]) -> Step {
    let [before, after, on_failure] = hooks.map(|services| {
        services.iter().map(|service| Hook { service: (*service).into(), timeout: 60 }).collect::<Vec<_>>()
    });
    let with = |step: &mut Ensure| {
        let hooks = &mut step.terms.hooks;
        (hooks.before, hooks.after, hooks.on_failure) = (before, after, on_failure);
        hooks.attempt = Some(Digest::of(version));
    };
    ensure("web", version).with(with).step()
}

fn name(service: &str) -> ServiceName {
    service.parse().unwrap()
}

/// From one second to another of the world's time.
fn span(from: i64, until: i64) -> Span {
    let at = |second| Timestamp::from_second(1_000_000 + second).unwrap();
    Span { from: at(from), until: at(until) }
}

fn within(version: &str, spans: &[Span]) -> Step {
    ensure("web", version).with(|step| step.terms.spans = spans.to_vec()).step()
}

#[test]
fn hooks_run_in_order_around_a_change_and_never_for_healing() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.publish(plan(2, vec![hooked("2", [&["backup", "migrate"], &["warm"], &["alarm"]])]));
    world.run_for(60);
    assert_eq!(world.called(), ["hook backup", "hook migrate", "up web", "hook warm"]);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    assert!(world.hooks.is_empty(), "their containers are gone: {:?}", world.hooks);

    world.calls.clear();
    world.kill("web");
    world.run_for(20);
    world.restart();
    world.run_for(60);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Satisfied));
}

#[test]
fn a_hook_before_that_fails_leaves_what_runs_and_what_it_was_comes_back_whole() {
    let mut world = settled(plan(1, vec![web("1")]));
    let before = world.docker.clone();
    world.failing_hooks.insert("migrate");
    world.publish(plan(2, vec![hooked("2", [&["migrate", "never"], &["never"], &["alarm"]])]));
    world.run_for(600);
    assert_eq!((world.called(), &world.docker), (vec!["hook migrate", "hook alarm"], &before));
    let result = world.result("web");
    let expected = "hook migrate (before) failed: ended with exit code 3\nits last lines:\nno such table\n\
                    nothing of the change was begun";
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Failed, Some(expected)));
    world.restart();
    world.run_for(60);
    assert_eq!((world.called().len(), world.result("web")), (2, result), "the disk tells the same");

    // The files of the change are in place: going back is not over before they are put back.
    world.publish(plan(3, vec![hooked("1", [&["migrate"], &["never"], &[]])]));
    world.run_for(60);
    assert_eq!(world.called(), ["hook migrate", "hook alarm", "up web"]);
    assert_eq!((world.outcome("web"), &world.docker), (StepOutcome::Satisfied, &before));
    world.run_for(600);
    assert_eq!(world.calls.len(), 3);
}

#[test]
fn a_hook_after_that_fails_fails_the_step_for_good() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.failing_hooks.extend(["warm", "alarm"]);
    world.publish(plan(2, vec![hooked("2", [&[], &["warm"], &["alarm"]])]));
    world.run_for(300);
    assert_eq!(world.called(), ["up web", "hook warm", "hook alarm"]);
    let result = world.result("web");
    let expected = "hook warm (after) failed: ended with exit code 3\nits last lines:\nno such table\n\
                    hook alarm (on_failure) failed: ended with exit code 3\nits last lines:\nno such table";
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Failed, Some(expected)));
}

#[test]
fn what_failed_once_tells_it_once() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.behaviour.insert("web", Behaviour::Refuses);
    world.publish(plan(2, vec![hooked("2", [&["migrate"], &[], &["alarm"]])]));
    world.run_for(300);
    let hooks: Vec<_> = world.called().into_iter().filter(|call| call.starts_with("hook")).collect();
    assert_eq!(hooks, ["hook migrate", "hook alarm"], "{:?}", world.calls);
    assert_eq!(world.outcome("web"), StepOutcome::Failed);
    // What happens once the change is over is no part of it.
    world.behaviour.clear();
    world.run_for(600);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    world.behaviour.insert("web", Behaviour::Ends(1));
    world.kill("web");
    world.run_for(100);
    let hooks = world.called().into_iter().filter(|call| call.starts_with("hook")).count();
    assert_eq!((hooks, world.outcome("web")), (2, StepOutcome::Failed));
}

#[test]
fn an_agent_that_is_killed_anywhere_runs_each_hook_once() {
    let first = plan(1, vec![web("1")]);
    let second = plan(2, vec![hooked("2", [&["backup", "migrate"], &["warm"], &[]])]);
    let play = |crash_at: Option<usize>, compose_dies: bool| {
        let mut world = World::new();
        (world.crash_at, world.compose_dies) = (crash_at, compose_dies);
        world.publish(first.clone());
        world.run_for(15);
        world.publish(second.clone());
        world.run_for(60);
        world
    };
    let calm = play(None, false);
    for (crash_at, compose_dies) in (1..=calm.effects).flat_map(|at| [(at, false), (at, true)]) {
        let world = play(Some(crash_at), compose_dies);
        let mut hooks = world.called();
        hooks.retain(|call| call.starts_with("hook"));
        assert_eq!(hooks, ["hook backup", "hook migrate", "hook warm"], "crash {crash_at}");
        assert!(world.last_status().acks(&second), "crash {crash_at}: {:?}", world.last_status().steps);
        assert!(world.hooks.is_empty(), "crash {crash_at}: {:?}", world.hooks);
    }
}

#[test]
fn a_hook_that_runs_is_awaited_whatever_the_plan_says_by_then() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.publish(plan(2, vec![hooked("2", [&["migrate"], &["warm"], &[]])]));
    world.run_for(2);
    assert!(world.hooks.values().all(|runs| *runs) && world.hooks.len() == 1, "{:?}", world.hooks);
    world.publish(plan(3, vec![hooked("3", [&["migrate"], &["warm"], &[]])]));
    // Also by an agent that knows only the newer plan.
    world.run_for(1);
    world.restart();
    world.run_for(60);
    assert_eq!(world.called(), ["hook migrate", "hook migrate", "up web", "hook warm"]);
    let ended = world.calls[0].0 + 3;
    assert!(world.calls[1].0 >= ended, "the second begins when the first is over: {:?}", world.calls);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
}

#[test]
fn nothing_is_begun_that_cannot_be_written_down() {
    let mut world = settled(plan(1, vec![web("1")]));
    let next = plan(2, vec![hooked("2", [&["migrate"], &[], &[]])]);
    world.journal_full = true;
    world.publish(next.clone());
    world.run_for(60);
    assert_eq!(world.called(), [""; 0]);
    let message = world.result("web").message.unwrap();
    assert!(message.contains("cannot be written down: No space left on device"), "{message}");
    world.journal_full = false;
    world.run_for(400);
    assert_eq!(world.called(), ["hook migrate", "up web"]);
    assert!(world.last_status().acks(&next));
}

#[test]
fn a_change_begins_in_its_window_and_healing_at_any_time() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.publish(plan(2, vec![within("2", &[span(100, 110), span(5_000, 5_010)])]));
    world.run_for(20);
    let result = world.result("web");
    let expected = format!("its window opens at {}", span(100, 0).from);
    assert_eq!((result.outcome, result.message), (StepOutcome::Waiting, Some(expected)));
    world.run_for(40);
    assert_eq!(world.calls, [(100, "up web".to_owned())], "it wakes at the opening");
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);

    world.run_for(100);
    world.kill("web");
    world.run_for(10);
    assert_eq!(
        (world.calls.len(), world.outcome("web")),
        (2, StepOutcome::Satisfied),
        "healing is no change"
    );
    world.publish(plan(3, vec![within("3", &[span(100, 110)])]));
    world.run_for(1_000);
    let result = world.result("web");
    let expected = "its window is over: waits for a new plan";
    assert_eq!((result.outcome, result.message.as_deref()), (StepOutcome::Waiting, Some(expected)));
    assert_eq!(world.calls.len(), 2);
}

/// What may begin from one second to another: another form of `web`, and its removal.
fn changes_within(from: i64, until: i64) -> [Step; 2] {
    let Step::Remove(mut removal) = remove("web") else { unreachable!("it is a removal") };
    removal.spans = vec![span(from, until)];
    [within("2", &[span(from, until)]), Step::Remove(removal)]
}

#[test]
fn what_is_in_place_is_healed_until_the_window_of_its_change_opens() {
    for (change, done) in changes_within(400, 410).into_iter().zip(["up web", "down web"]) {
        let mut world = settled(plan(1, vec![web("1")]));
        let config = world.docker[&name("web")][0].config;
        let digest = change.as_ensure().map(|step| step.digest);
        world.publish(plan(2, vec![change]));
        world.run_for(20);
        world.kill("web");
        world.run_for(60);
        // What was put in place is on the disk, and the plan that asked for it is not any more.
        world.restart();
        world.kill("web");
        world.run_for(60);
        assert_eq!(world.called(), ["up web", "up web"], "{done}");
        let healed = &world.docker[&name("web")][0];
        assert_eq!((healed.config, healed.state), (config, ContainerState::Running), "{done}");
        let expected = format!("its window opens at {}", span(400, 0).from);
        let result = world.result("web");
        assert_eq!((result.outcome, result.digest), (StepOutcome::Waiting, digest), "{done}");
        assert_eq!(result.message, Some(expected), "{done}");
        world.run_for(300);
        assert_eq!((world.calls.len(), world.calls[2].clone()), (3, (400, done.to_owned())));
        assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    }
}

#[test]
fn what_others_change_of_what_is_in_place_is_undone_while_its_change_waits() {
    for change in changes_within(5_000, 5_010) {
        let mut world = settled(plan(1, vec![web("1")]));
        world.publish(plan(2, vec![change]));
        world.run_for(20);
        world.update("web", "resources.memory", 1 << 26);
        world.run_for(60);
        assert_eq!((world.called(), world.outcome("web")), (vec!["update web"], StepOutcome::Waiting));
        assert_eq!(world.drift("web").len(), 1);
    }
}

#[test]
fn what_keeps_ending_while_its_change_waits_is_tried_with_growing_pauses_and_told() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.publish(plan(2, changes_within(50_000, 50_010)[..1].to_vec()));
    world.run_for(20);
    world.behaviour.insert("web", Behaviour::Ends(1));
    world.kill("web");
    world.run_for(600);
    assert!((3..12).contains(&world.calls.len()), "{:?}", world.calls);
    let result = world.result("web");
    let message = result.message.unwrap_or_default();
    assert_eq!(result.outcome, StepOutcome::Waiting);
    assert!(
        message.contains("opens at") && message.contains("what is in place meanwhile failed:"),
        "{message}"
    );
}

#[test]
fn what_is_healed_waits_for_no_change_of_another_and_what_changes_does() {
    let db = |version: &str, spans: &[Span]| {
        ensure("db", version).with(|step| step.terms.spans = spans.to_vec()).step()
    };
    let mut world = settled(plan(1, vec![db("1", &[]), ensure("web", "1").after("db").step()]));
    let spans = [span(5_000, 5_010)];
    world.publish(plan(2, vec![db("2", &spans), ensure("web", "1").after("db").step()]));
    world.run_for(20);
    world.kill("web");
    world.run_for(60);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Satisfied));
    world.publish(plan(3, vec![db("2", &spans), ensure("web", "2").after("db").step()]));
    world.run_for(60);
    assert_eq!((world.calls.len(), world.result("web").message.as_deref()), (1, Some("waits on db")));
}

#[test]
fn content_of_what_is_in_place_is_kept_until_it_is_not_any_more() {
    let with = |version: &str, content: &str, spans: &[Span]| {
        ensure("web", version).file("app.conf", content).with(|step| step.terms.spans = spans.to_vec()).step()
    };
    let mut world = settled(plan(1, vec![with("1", "one", &[])]));
    let [one, two] = ["one", "two"].map(Digest::of);
    world.publish(plan(2, vec![with("2", "two", &[span(200, 210)])]));
    world.run_for(20);
    assert_eq!(world.kept, [one, two].into());
    world.run_for(200);
    world.publish(plan(3, vec![with("2", "two", &[])]));
    world.run_for(20);
    assert_eq!(world.kept, [two].into());
}

#[test]
fn a_record_that_does_not_say_what_is_in_place_learns_it_from_the_plan() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.forget_steps();
    world.restart();
    world.run_for(20);
    world.publish(plan(2, changes_within(5_000, 5_010)[..1].to_vec()));
    world.run_for(20);
    world.kill("web");
    world.run_for(60);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Waiting));
}

#[test]
fn a_removal_waits_for_its_window() {
    let mut world = settled(plan(1, vec![web("1")]));
    let Step::Remove(mut step) = remove("web") else { unreachable!("it is a removal") };
    step.spans = vec![span(200, 210)];
    world.publish(plan(2, vec![Step::Remove(step)]));
    world.run_for(100);
    assert_eq!((world.called(), world.outcome("web")), (vec![], StepOutcome::Waiting));
    world.run_for(100);
    assert_eq!(world.calls, [(200, "down web".to_owned())]);
}

#[test]
fn a_clock_that_jumps_starts_nothing_outside_a_window() {
    for jump in [SignedDuration::from_secs(-10_000), SignedDuration::from_secs(10_000)] {
        let mut world = settled(plan(1, vec![web("1")]));
        world.publish(plan(2, vec![within("2", &[span(100, 130)])]));
        world.run_for(35);
        assert_eq!(world.now, Duration::from_secs(95));
        // The alarm that was set for the opening rings, and the clock says something else.
        world.clock_off += jump;
        world.run_for(60);
        assert_eq!((world.called(), world.outcome("web")), (vec![], StepOutcome::Waiting), "{jump}");
        world.clock_off -= jump + SignedDuration::from_secs(54);
        world.run_for(15);
        assert_eq!(world.called(), ["up web"], "{jump}: once the clock says so");
    }
}

#[test]
fn a_change_whose_hook_ran_in_the_window_is_made_though_it_closed_and_another_try_waits() {
    let mut world = settled(plan(1, vec![web("1")]));
    let windowed = |step: Step| match step {
        Step::Ensure(mut step) => {
            step.terms.spans = vec![span(100, 102)];
            Step::Ensure(step)
        }
        other => other,
    };
    world.publish(plan(2, vec![windowed(hooked("2", [&["migrate"], &["warm"], &[]]))]));
    world.run_for(60);
    let expected = [(101, "hook migrate"), (104, "up web"), (109, "hook warm")];
    let calls: Vec<_> = world.calls.iter().map(|(at, call)| (*at, call.as_str())).collect();
    assert_eq!(calls, expected);
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);

    // Without a hook nothing tells that it began, and each try is a beginning.
    let mut world = settled(plan(1, vec![web("1")]));
    world.behaviour.insert("web", Behaviour::Refuses);
    world.publish(plan(2, vec![within("2", &[span(100, 104)])]));
    world.run_for(300);
    assert_eq!((world.called(), world.outcome("web")), (vec!["up web"], StepOutcome::Failed));
}
