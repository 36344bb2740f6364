//! What others change: told, undone, left, and not fought for ever.

use gitops_core::plan::{DriftAction, RunState, Span, Step};
use gitops_core::status::{ContainerState, Orphan, Orphans, StepOutcome};
use jiff::Timestamp;

use super::world::World;
use super::{settled, web};
use crate::drift::Act;
use crate::testing::{ensure, plan, remove};

fn with_action(action: DriftAction) -> Step {
    ensure("web", "1").with(|step| step.terms.drift.action = action).step()
}

/// The world's clock begins here.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

#[test]
fn each_change_is_named_with_what_did_it_and_undone_at_once() {
    let check = |change: &dyn Fn(&mut World), call: &str, told: &str| {
        let mut world = settled(plan(1, vec![web("1"), ensure("db", "1").step()]));
        change(&mut world);
        world.run_for(2);
        assert_eq!(world.called(), [call]);
        world.run_for(10);
        assert_eq!(world.drift("web"), [told]);
        assert_eq!((world.called(), world.outcome("web")), (vec![call], StepOutcome::Satisfied));
        assert_eq!(world.docker["web"][0].state, ContainerState::Running);
        assert!(world.drift("db").is_empty());
        // Forgotten after an hour, and nothing is done in it.
        world.run_for(3700);
        assert_eq!((world.called(), world.drift("web")), (vec![call], Vec::new()));
    };
    check(
        &|world| world.update("web", "resources.memory", 1 << 26),
        "update web",
        "web-app-1 resources.memory 128 MiB → 64 MiB (docker update): corrected",
    );
    check(
        &|world| world.stop("web"),
        "start web",
        "web-app-1 state running → exited (143) (docker stop): corrected",
    );
    check(
        &|world| {
            world.docker.get_mut("web").unwrap()[0].state = ContainerState::Paused;
            world.touch("web", Act::Pause);
        },
        "unpause web",
        "web-app-1 state running → paused (docker pause): corrected",
    );
    check(
        &|world| world.remove_by_hand("web"),
        "up web",
        "web-app-1 container busybox → none (docker rm): corrected",
    );
    check(
        &|world| world.update("web", "security.privileged", 1),
        "recreate web",
        "web-app-1 security.privileged none → 1: corrected",
    );
}

#[test]
fn what_ends_by_itself_is_healed_and_no_drift_and_a_restart_is_told() {
    let mut world = settled(plan(1, vec![web("1")]));
    world.touch("web", Act::Die);
    world.kill("web");
    world.run_for(20);
    assert_eq!((world.called(), world.drift("web")), (vec!["up web"], Vec::new()));
    for act in [Act::Stop, Act::Die, Act::Stop, Act::Start, Act::Restart] {
        world.touch("web", act);
    }
    world.run_for(20);
    assert_eq!(world.called(), ["up web"]);
    assert_eq!(
        world.drift("web"),
        ["web-app-1 state running → restarted (docker restart): passed by itself"]
    );
}

#[test]
fn what_is_only_reported_is_left_also_after_a_restart_of_the_agent() {
    let mut world = settled(plan(1, vec![with_action(DriftAction::Report)]));
    world.stop("web");
    world.run_for(60);
    world.restart();
    world.run_for(600);
    let told = "web-app-1 state running → exited (143) (docker stop): reported and left";
    assert_eq!((world.called(), world.drift("web")), (vec![""; 0], vec![told.to_owned()]));
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);
    assert_eq!(world.result("web").message.as_deref(), Some(told));
    world.update("web", "resources.memory", 1 << 26);
    world.run_for(60);
    assert_eq!((world.called().len(), world.drift("web").len()), (0, 2));
    // What the plan says otherwise is done all the same.
    world.publish(plan(2, vec![web("2")]));
    world.run_for(60);
    assert_eq!((world.called(), world.drift("web")), (vec!["up web"], Vec::new()));
}

#[test]
fn within_a_window_only_it_is_corrected_once_that_opens() {
    let spans = vec![Span { from: at(-1000), until: at(60) }, Span { from: at(500), until: at(900) }];
    let step = ensure("web", "1").with(|step| {
        step.terms.drift.action = DriftAction::CorrectInWindow;
        step.terms.spans = spans;
    });
    let mut world = World::new();
    world.publish(plan(1, vec![step.step()]));
    world.run_for(100);
    world.calls.clear();
    world.update("web", "resources.memory", 1 << 26);
    world.run_for(60);
    let told =
        |outcome: &str| format!("web-app-1 resources.memory 128 MiB → 64 MiB (docker update): {outcome}");
    assert_eq!(
        (world.called().len(), world.drift("web")),
        (0, vec![told("to be corrected when its window opens")])
    );
    world.run_for(500);
    assert_eq!(
        (world.calls.clone(), world.drift("web")),
        (vec![(500, "update web".to_owned())], vec![told("corrected")])
    );
}

#[test]
fn what_is_ignored_is_neither_told_nor_undone() {
    let ignoring = |paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).into()).collect();
        ensure("web", "1").with(|step| step.terms.drift.ignore = paths).step()
    };
    let mut world = settled(plan(1, vec![ignoring(&["resources.memory", "state"])]));
    world.update("web", "resources.memory", 1 << 26);
    world.stop("web");
    world.run_for(600);
    assert_eq!((world.called().len(), world.drift("web").len()), (0, 0));
    assert_eq!(world.docker["web"][0].state, ContainerState::Exited);
    world.update("web", "resources.pids", 5);
    world.run_for(60);
    assert_eq!(world.called(), ["update web"]);
}

#[test]
fn nobody_is_fought_for_ever_and_a_new_plan_or_quiet_starts_over() {
    let mut world = settled(plan(1, vec![web("1")]));
    let fight = |world: &mut World, times: u64| {
        for _ in 0..times {
            if world.altered.is_empty() {
                world.update("web", "resources.memory", 1 << 26);
            }
            world.run_for(20);
        }
    };
    fight(&mut world, 6 * 180);
    assert!((10..=14).contains(&world.calls.len()), "{}", world.calls.len());
    let gaps: Vec<_> = world.calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps[..2].iter().all(|gap| *gap <= 20) && gaps[gaps.len() - 1] >= 3600, "{gaps:?}");
    let told = world.drift("web");
    assert!(told[0].contains("somebody or something changes it again and again"), "{told:?}");
    assert_eq!(world.outcome("web"), StepOutcome::Satisfied);

    world.calls.clear();
    world.altered.clear();
    world.publish(plan(2, vec![web("2")]));
    world.run_for(30);
    assert_eq!(world.called(), ["up web"]);
    fight(&mut world, 3);
    assert_eq!(world.called(), ["up web", "update web", "update web", "update web"], "it starts over");

    world.run_for(7200);
    world.calls.clear();
    fight(&mut world, 3);
    assert_eq!(world.calls.len(), 3, "after quiet as well");
}

#[test]
fn an_unchanged_world_is_never_touched_and_never_written_down_again() {
    let stopped = ensure("off", "1").with(|step| step.state = RunState::Stopped).step();
    let mut world = settled(plan(1, vec![web("1"), ensure("db", "1").after("web").step(), stopped]));
    let saved = world.saves;
    world.run_for(4 * 3600);
    world.restart();
    world.run_for(3600);
    assert_eq!((world.called().len(), world.saves), (0, saved));
}

#[test]
fn drift_while_the_agent_was_away_is_seen_and_undone() {
    let mut world = settled(plan(1, vec![web("1")]));
    let fields = [("resources.memory".into(), (1_u64 << 26).into())];
    world.altered.insert(world.docker["web"][0].id.clone(), fields.into());
    world.restart();
    world.run_for(5);
    assert_eq!(world.called(), ["update web"]);
    let told = "web-app-1 resources.memory 128 MiB → 64 MiB: corrected";
    assert_eq!(world.drift("web"), [told], "who did it is not known then");
}

#[test]
fn containers_that_no_plan_made_are_listed_and_left() {
    let mut world = settled(plan(1, vec![web("1")]));
    let (name, image, state) = ("stray".into(), "redis".into(), ContainerState::Running);
    world.orphans = Orphans::of(vec![Orphan { name, image, state, project: None }]);
    world.run_for(61);
    assert_eq!(world.last_status().orphans, world.orphans);
    assert!(world.called().is_empty());
}

#[test]
fn pictures_of_what_is_removed_go_although_the_agent_is_killed_before_they_are_written_down() {
    let db = ensure("db", "1").step();
    let mut world = settled(plan(1, vec![web("1"), db.clone()]));
    let digest = db.as_ensure().unwrap().digest;
    let before = world.pictures.clone();
    assert!(before.has(db.service(), digest));
    world.publish(plan(2, vec![web("1"), remove("db")]));
    world.run_for(60);
    assert!(!world.pictures.has(db.service(), digest));
    world.pictures = before;
    world.restart();
    world.run_for(60);
    assert!(!world.pictures.has(db.service(), digest));
}
