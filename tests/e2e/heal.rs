//! What was taken away by hand comes back.

use std::time::{Duration, Instant};

use super::docker::{Container, OwnEngine, ids};
use super::world::{Side, World, compose, engines};

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
    // Three times, and the middle one counts: a machine that tests run on has other things to do as well. Whoever does it more
    // often is one who does it again and again, for whom the agent makes pauses.
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..3 {
        times.push(kill_and_wait(&mut world));
        world.settle();
    }
    times.sort();
    eprintln!("back after {times:?}");
    assert!(times[1] <= Duration::from_secs(2), "back after {times:?}");
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

#[test]
fn an_agent_that_lost_its_state_folder_gives_containers_their_files_back() {
    let Some(mut world) = World::new("lost") else { return };
    let mounting = "volumes: [\"./site:/site:ro\"]";
    world.service("web", &[Left], &compose(&[("front", mounting), ("back", "")]));
    world.define("services/lost-web/site/page", "one");
    world.start();
    world.deploy("one service");
    let before = world.containers(Left);
    let state = world.sandbox.path("state").join(world.node(Left));

    world.agent(Left).stop();
    std::fs::remove_dir_all(&state).expect("the state folder is there");
    let page = |world: &World, id: &str| world.engine(Left).docker(&["exec", id, "ls", "/site"]);
    assert_eq!(page(&world, ids(&before)["lost-web/front"]), "", "a container does not notice by itself");
    // Another agent, for all that the daemon knows: it waits until the lease of the first one is over.
    world.start_agent(Left);
    world.wait("the container has its file again", |world| {
        let after = world.containers(Left);
        let front = after.get("lost-web/front").and_then(|of_front| of_front.first()).cloned();
        front.is_some_and(|front| {
            front.is_running()
                && front.id != before["lost-web/front"][0].id
                && page(world, &front.id) == "page\n"
        })
    });
    world.settle();
    let after = world.containers(Left);
    assert_eq!(ids(&after)["lost-web/back"], ids(&before)["lost-web/back"]);
    world.wait("the log says why", |world| {
        let logs = world.gitops(&["logs", "lost-web"]);
        String::from_utf8_lossy(&logs.stdout)
            .contains("what some containers mount was gone from their folder")
    });
}

#[test]
fn an_engine_that_stops_is_reported_and_all_runs_again_when_it_is_back() {
    let Some([_, right]) = engines() else { return };
    let (own, left) = OwnEngine::start();
    let mut world = World::on("stop", [left, right]);
    world.service("web", &[Left], &compose(&[("plain", ""), ("always", "restart: always")]));
    world.start();
    world.deploy("one service");
    let before = world.containers(Left);

    own.stop();
    world.wait("it is reported", |world| world.node_status(Left)["state"] == "failing");
    let shown = world.gitops(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("Docker does not answer at unix:///"), "{shown}");

    own.start_again();
    world.wait("all is well", |world| {
        let runs = world.containers(Left).values().flatten().all(Container::is_running);
        runs && world.node_status(Left)["state"] == "ok"
    });
    let after = world.containers(Left);
    assert_eq!(ids(&after), ids(&before), "the same containers, each of them once");
    assert!(after.values().flatten().all(Container::is_running), "{after:?}");
}
