//! What was taken away by hand comes back.

use std::time::{Duration, Instant};

use super::docker::{Container, ids};
use super::world::{Side, World, compose};

use Side::Left;

/// Kills the one container of the node, and waits until one runs again. Returns how long that took.
fn kill_and_wait(world: &mut World) -> Duration {
    let before = world.containers(Left);
    let (_, id) = ids(&before).into_iter().next().expect("there is a container");
    let started = before.values().flatten().next().map(|container| container.started.clone());
    let begun = Instant::now();
    world.engine(Left).docker(&["kill", id]);
    world.wait("the container is back", |world| {
        let after = world.containers(Left);
        let mut running = after.values().flatten().filter(|container| container.is_running());
        running.any(|container: &Container| Some(&container.started) != started.as_ref())
    });
    begun.elapsed()
}

#[test]
fn a_container_killed_by_hand_is_back_within_two_seconds() {
    let Some(mut world) = World::new("kill") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one service");
    // Five times, and the middle one counts: a machine that tests run on has other things to do as well.
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        times.push(kill_and_wait(&mut world));
        world.settle();
    }
    times.sort();
    eprintln!("back after {times:?}");
    assert!(times[2] <= Duration::from_secs(2), "back after {times:?}");
    assert_eq!(ids(&world.containers(Left)).len(), 1);
}

#[test]
fn a_container_comes_back_while_the_daemon_is_away() {
    let Some(mut world) = World::new("away") else { return };
    world.service("web", &[Left], &compose(&[("app", "")]));
    world.start();
    world.deploy("one service");
    world.daemon.as_mut().expect("it was started").stop();

    kill_and_wait(&mut world);
    // Also an agent that starts while it is away knows what to run.
    world.agent(Left).stop();
    world.start_agent(Left);
    kill_and_wait(&mut world);

    world.start_daemon();
    world.settle();
    assert_eq!(ids(&world.containers(Left)).len(), 1);
}
